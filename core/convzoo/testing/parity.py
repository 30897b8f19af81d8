"""Comparing a variant with the model of timm or torchvision that it must equal.

The other library's weights are loaded through the variant's key map, after every norm's scale, shift and statistics
were jittered: in a fresh network the last norm of each branch has scale 0, which hides errors in the layers before it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from convzoo.api import create_model
from convzoo.errors import ConvzooError, OptionError, listed
from convzoo.network.backbone import FeatureNet
from convzoo.network.counting import Counts, count
from convzoo.network.keys import key_map, reference_state_dict
from convzoo.network.model import ConvNet
from convzoo.network.weights import load_weights
from convzoo.plugins.host import registry
from convzoo.spec.references import Reference
from convzoo.spec.refs import Options
from convzoo.testing.numerics import Difference, jitter_norms, largest_difference, load_images

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass
class Comparison:
    """The result of comparing one variant.

    Args:
        name: the variant's.
        library: that it was compared with.
        reference: the model's name there.
        counts: parameters and MACs of the variant.
        differences: by check, the largest.
        tolerances: by check, the largest relative difference that counts as equal.
    """

    name: str
    library: str
    reference: str
    counts: Counts
    differences: dict[str, Difference] = field(default_factory=dict)
    tolerances: dict[str, float] = field(default_factory=dict)

    @property
    def worst(self) -> Difference:
        """The check with the largest relative difference."""
        return max(self.differences.values(), key=lambda d: (d.relative, d.absolute))

    @property
    def equal(self) -> bool:
        """Whether every check is within its tolerance."""
        return all(d.relative <= self.tolerances[name] for name, d in self.differences.items())

    @property
    def verdict(self) -> str:
        """``"exact"``, ``"equal"`` within the tolerances, or ``"DIFFERS"`` with the checks that do."""
        if all(d.absolute == 0 for d in self.differences.values()):
            return "exact"
        wrong = [name for name, d in self.differences.items() if not d.relative <= self.tolerances[name]]
        return f"DIFFERS in {', '.join(wrong)}" if wrong else "equal"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; a difference that is not finite is None."""
        return {
            "name": self.name,
            "against": f"{self.library}/{self.reference}",
            "params": self.counts.params,
            "macs": self.counts.macs,
            "checks": {
                name: {
                    "absolute": d.absolute if math.isfinite(d.absolute) else None,
                    "relative": d.relative if math.isfinite(d.relative) else None,
                    "tolerance": self.tolerances[name],
                }
                for name, d in self.differences.items()
            },
            "verdict": self.verdict,
        }


def reference_of(name: str, library: str = "timm") -> Reference:
    """The model of ``library`` that a variant must equal.

    Args:
        name: a model's name or alias.
        library: ``"timm"`` or ``"torchvision"``.

    Raises:
        UnknownNameError: there is no such model.
        OptionError: ``library`` has no counterpart.
    """
    spec = registry().model(name).spec
    reference = spec.reference(library)
    if reference is None:
        raise OptionError(f"{name} has no counterpart in {library} to compare with")
    return reference


def reference_model(reference: Reference) -> nn.Module:
    """The other library's model, freshly initialised.

    Raises:
        ConvzooError: the library is not installed.
    """
    try:
        if reference.library == "timm":
            import timm

            return timm.create_model(reference.name, **_as_dict(reference.options))
        import torchvision

        return torchvision.models.get_model(reference.name, weights=None, **_as_dict(reference.options))
    except ImportError as error:
        raise ConvzooError(f"comparing needs {reference.library}: pip install 'convzoo[parity]'") from error


def compare(
    name: str,
    *,
    against: str = "timm",
    device: str = "cpu",
    dtype: str = "float32",
    image_size: int | None = None,
    images: str | torch.Tensor = "random",
    channels_last: bool = False,
    seed: int = 0,
) -> Comparison:
    """Compare a variant with its reference: state dict both ways, eval and train outputs, gradients, feature levels.

    Args:
        name: a model's name or alias.
        against: ``"timm"`` or ``"torchvision"``, which has no feature levels.
        device: where both run.
        dtype: ``"float32"``, ``"float64"``; or ``"bfloat16"``, ``"float16"``, under autocast.
        image_size: side of the images in pixels; by default the variant's own.
        images: ``"random"``, ``"photos"``, or a batch ``(N, 3, H, W)``.
        channels_last: give both networks and the images that memory format. Where the reference loses it, the two run
            different kernels, and rounding flips a few ReLUs; gradients are therefore compared in float64 only.
        seed: of the weights, the jitter and random images.

    Raises:
        OptionError: the library has no counterpart, or an argument is impossible.
        WeightsError: the reference's state dict does not fit the variant.
    """
    if dtype not in DTYPES:
        raise OptionError(f"dtype={dtype!r}: known are {listed(DTYPES)}")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise OptionError(f"device={device!r} cannot be used here: {error}") from None
    reference = reference_of(name, against)
    autocast = DTYPES[dtype] if dtype in ("bfloat16", "float16") else None
    place, precision = torch.device(device), torch.float32 if autocast else DTYPES[dtype]
    layout = torch.channels_last if channels_last else torch.contiguous_format

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        theirs = reference_model(reference)
        jitter_norms(theirs)
        theirs.to(place, precision).to(memory_format=layout)
    ours = _network(name, reference)
    spec = ours.spec
    size = image_size or spec.input_size
    batch = images if isinstance(images, torch.Tensor) else load_images(images, size, seed=seed, dataset=spec.dataset)
    batch = batch.to(place, precision).to(memory_format=layout)
    counts = count(ours, (3, size, size))
    ours.to(precision)
    load_weights(ours, {key: value.clone() for key, value in theirs.state_dict().items()})
    ours.to(memory_format=layout)

    result = Comparison(name, against, reference.name, counts)
    with _same_arithmetic(device, autocast):
        _compare_state(ours, theirs, result)
        _compare_eval(ours, theirs, batch, result)
        if against == "timm":
            _compare_features(ours, theirs, batch, reference, result)
        _compare_training(ours, theirs, batch, result, gradients=not channels_last or dtype == "float64")
    allowed = {"float64": 1e-10, "float32": 1e-5 if place.type == "cpu" else 1e-4}.get(dtype, 2e-2)
    result.tolerances = {
        check: max(allowed, 1e-4) if check == "gradients" and dtype == "float32" else allowed
        for check in result.differences
    }
    return result


def _as_dict(options: Options) -> dict[str, Any]:
    """``options`` as a plain dict, and so those inside it."""
    return {key: _as_dict(value) if isinstance(value, Options) else value for key, value in options.items()}


def _network(name: str, reference: Reference, **options: Any) -> Any:
    return create_model(name, device="meta", **dict(reference.overrides), **options)


@contextlib.contextmanager
def _same_arithmetic(device: str, autocast: torch.dtype | None) -> Iterator[None]:
    """Full precision outside of autocast, and deterministic kernels."""
    flags: list[tuple[Any, str, bool]] = [
        (torch.backends.cuda.matmul, "allow_tf32", False),
        (torch.backends.cudnn, "allow_tf32", False),
        (torch.backends.cudnn, "deterministic", True),
        (torch.backends.cudnn, "benchmark", False),
    ]
    before = [getattr(holder, name) for holder, name, _ in flags]
    for holder, name, value in flags:
        setattr(holder, name, value)
    try:
        with torch.autocast(torch.device(device).type, autocast, enabled=autocast is not None):
            yield
    finally:
        for (holder, name, _), value in zip(flags, before, strict=True):
            setattr(holder, name, value)


def _compare_state(ours: ConvNet, theirs: nn.Module, result: Comparison) -> None:
    """Written back with the reference's keys, the weights must be those that were loaded."""
    back, state = reference_state_dict(ours), theirs.state_dict()
    if set(back) != set(state):
        raise OptionError(
            f"{result.name}: only the key map or only the reference has {listed(set(back) ^ set(state), limit=8)}"
        )
    result.differences["state dict"] = largest_difference({key: (back[key], state[key]) for key in state})


def _compare_eval(ours: ConvNet, theirs: nn.Module, images: torch.Tensor, result: Comparison) -> None:
    ours.eval(), theirs.eval()
    with torch.no_grad():
        result.differences["eval"] = largest_difference({"output": (ours(images), theirs(images))})
        if result.library == "timm":
            dialect: Any = theirs
            maps = ours.forward_features(images), dialect.forward_features(images)
            heads = ours.forward_head(maps[0], pre_logits=True), dialect.forward_head(maps[1], pre_logits=True)
            result.differences["forward_features"] = largest_difference({"map": maps, "pre_logits": heads})


def _compare_features(
    ours: ConvNet, theirs: nn.Module, images: torch.Tensor, reference: Reference, result: Comparison
) -> None:
    import timm

    with torch.device("meta"):
        cut = timm.create_model(reference.name, features_only=True, **_as_dict(reference.options))
    state = theirs.state_dict()
    # timm joins the first two names of the layers that it takes out of a Sequential.
    state |= {key.replace(".", "_", 1): tensor for key, tensor in state.items()}
    cut.load_state_dict({key: state[key] for key in cut.state_dict()}, assign=True)
    levels: FeatureNet = _network(result.name, reference, features_only=True, dtype=images.dtype)
    load_weights(levels, ours.state_dict())
    with torch.no_grad():
        pairs = list(zip(levels.eval()(images), cut.eval()(images), strict=True))
    for what in ("channels", "reduction"):
        own, wanted = getattr(levels.feature_info, what)(), getattr(cut.feature_info, what)()
        if own != wanted:
            raise OptionError(f"{result.name}: feature levels have {what} {own}, the reference's have {wanted}")
    result.differences["features"] = largest_difference({f"level {i}": pair for i, pair in enumerate(pairs)})


def _compare_training(
    ours: ConvNet, theirs: nn.Module, images: torch.Tensor, result: Comparison, gradients: bool
) -> None:
    """One step in training mode: the outputs, every parameter's gradient, and the norms' statistics after it."""
    ours.train(), theirs.train()
    outputs = []
    for model in (ours, theirs):
        output = model(images)
        weights = torch.linspace(-1, 1, output.numel(), device=output.device).view_as(output)
        (output.float() * weights).sum().backward()
        outputs.append(output.detach())
    result.differences["train"] = largest_difference({"output": (outputs[0], outputs[1])})
    names = key_map(ours)
    theirs_by_name = dict(theirs.named_parameters())
    pairs: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for name, parameter in ours.named_parameters():
        own, wanted = parameter.grad, theirs_by_name[names[name]].grad
        if own is None or wanted is None:
            raise OptionError(f"{result.name}: no gradient reaches {name}")
        pairs[name] = (own, wanted)
    # The gradient of a bias before a batch norm is rounding only, and is measured against the largest gradient.
    scale = max(float(wanted.abs().max()) for _, wanted in pairs.values())
    if gradients:
        result.differences["gradients"] = largest_difference(pairs, floor=1e-4 * scale)
    buffers = dict(theirs.named_buffers())
    result.differences["statistics"] = largest_difference(
        {name: (b, buffers[names[name]]) for name, b in ours.named_buffers()} or {"none": (images, images)}
    )
