"""Comparing a variant with the model of timm or torchvision that it must equal.

The other library's weights go in through the variant's key map, after every norm's scale, shift and statistics
have been jittered: fresh networks start the last norm of each branch at 0, and what stands before it could be anything.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from convzoo.api import create_model
from convzoo.counting import Counts, count
from convzoo.errors import ConvzooError, OptionError
from convzoo.features import FeatureNet
from convzoo.model import ConvNet
from convzoo.plugins import registry
from convzoo.specs import DATASETS, Options, Reference
from convzoo.weights import COUNTER, key_map, load_weights, reference_state_dict

LIBRARIES = ("timm", "torchvision")
DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
INPUTS = ("random", "photos")


@dataclass(frozen=True)
class Difference:
    """The largest difference of a check: absolute, relative to the reference's largest value, and where."""

    absolute: float
    relative: float
    where: str = ""


@dataclass
class Comparison:
    """What comparing one variant gave: a :class:`Difference` for each check, and what was allowed."""

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
    """What a model must equal.

    Raises:
        UnknownNameError: there is no such model.
        OptionError: ``library`` has no such network.
    """
    spec = registry().model(name).spec
    reference = spec.reference(library)
    if reference is None:
        raise OptionError(f"{name} has no counterpart in {library} to compare with")
    return reference


def reference_model(reference: Reference) -> nn.Module:
    """The other library's model, freshly started.

    Raises:
        ConvzooError: the library is not installed.
    """
    try:
        if reference.library == "timm":
            import timm

            return timm.create_model(reference.name, **_thawed(reference.options))
        import torchvision

        return torchvision.models.get_model(reference.name, weights=None, **_thawed(reference.options))
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
            other kernels, whose last bits flip a few ReLUs; gradients are therefore compared in float64 only.
        seed: of the weights, the jitter and random images.

    Raises:
        OptionError: there is nothing to compare with, or an impossible value.
        WeightsError: the reference's state dict does not fit the variant.
    """
    if dtype not in DTYPES:
        raise OptionError(f"dtype={dtype!r}: known are {', '.join(DTYPES)}")
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


def jitter_norms(model: nn.Module) -> None:
    """Move the scale, shift and statistics of every norm away from 1 and 0."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.modules.batchnorm._NormBase, nn.GroupNorm)):
                if module.weight is not None:
                    module.weight.uniform_(0.4, 0.8)
                    module.bias.normal_(0, 0.1)
                for name, buffer in module.named_buffers():
                    if name == "running_mean":
                        buffer.normal_(0, 0.1)
                    elif name == "running_var":
                        buffer.uniform_(0.5, 1.5)


def jitter(model: nn.Module) -> None:
    """Move the norms, and whatever else starts as a constant, such as a bias or the scale of a branch, away from it.

    Fresh networks hide much behind such constants: a branch whose last scale is 0 can compute anything.
    """
    jitter_norms(model)
    parameters = {id(parameter) for parameter in model.parameters()}
    with torch.no_grad():
        for tensor in model.state_dict(keep_vars=True).values():
            # A buffer that is one number is a setting, not a weight.
            weight = tensor.is_floating_point() and (tensor.numel() > 1 or id(tensor) in parameters)
            if weight and (tensor == tensor.flatten()[:1]).all():
                tensor.add_(torch.randn_like(tensor), alpha=0.1)


def silent_weights(model: ConvNet, images: torch.Tensor, among: Container[str] | None = None) -> list[str]:
    """Tensors of the state dict that can be changed without changing the eval output: of a sound network, none.

    Args:
        model: in any mode; its norms should be jittered. It is put into eval mode, and its weights come back as they
            were.
        images: a batch for it.
        among: only these are tried; all by default.
    """
    model.eval()
    layers = {"stem": model.stem}
    for number, stage in enumerate(model.stages):
        layers |= {f"stages.{number}.{name}": layer for name, layer in stage.named_children()}
    layers["head"] = model.head
    rest = nn.Sequential(*layers.values())
    silent = []
    with torch.no_grad():
        before = model(images)
        for place, layer in layers.items():
            for name, tensor in layer.state_dict(prefix=f"{place}.").items():
                if name.endswith(COUNTER) or (among is not None and name not in among):
                    continue
                saved = tensor.clone()
                if tensor.is_floating_point():
                    tensor.mul_(1.5).add_(0.1)
                else:  # a mask or an index
                    tensor.copy_(~tensor if tensor.dtype == torch.bool else tensor.flip(-1))
                if torch.equal(rest(images), before):
                    silent.append(name)
                tensor.copy_(saved)
            images, rest = layer(images), rest[1:]  # what comes before a changed tensor gives what it gave
    return silent


def load_images(images: str, size: int, *, seed: int = 0, dataset: str = "imagenet") -> torch.Tensor:
    """Two images, ``(2, 3, size, size)``, normalised.

    ``"random"`` ones are noise of different brightness and contrast; ``"photos"`` the two that scikit-learn ships.

    Raises:
        OptionError: neither of the two.
        ConvzooError: the photographs need scikit-learn and Pillow.
    """
    if images == "random":
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(2, 3, size, size, generator=generator)
        # Images of one brightness and contrast look alike once they are pooled, and a batch norm that sees little
        # more than rounding between two samples blows that up.
        return noise * torch.tensor([0.2, 2.0]).view(2, 1, 1, 1) + torch.randn(2, 3, 1, 1, generator=generator)
    if images != "photos":
        raise OptionError(f"images={images!r}: known are {', '.join(INPUTS)}")
    try:
        from sklearn.datasets import load_sample_images

        photos = load_sample_images().images
    except ImportError as error:
        raise ConvzooError(
            f"the photographs need scikit-learn and Pillow ({error}): pip install 'convzoo[parity]'"
        ) from error
    batch = torch.stack([torch.from_numpy(photo.copy()) for photo in photos]).permute(0, 3, 1, 2).float() / 255
    side = min(batch.shape[2:])
    top, left = (batch.shape[2] - side) // 2, (batch.shape[3] - side) // 2
    batch = batch[:, :, top : top + side, left : left + side]
    batch = nn.functional.interpolate(batch, (size, size), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(DATASETS[dataset][key]).view(3, 1, 1) for key in ("mean", "std"))
    return (batch - mean) / std


def _thawed(options: Options) -> dict[str, Any]:
    return {key: _thawed(value) if isinstance(value, Options) else value for key, value in options.items()}


def _network(name: str, reference: Reference, **options: Any) -> Any:
    return create_model(name, device="meta", **dict(reference.overrides), **options)


@contextlib.contextmanager
def _same_arithmetic(device: str, autocast: torch.dtype | None) -> Iterator[None]:
    """Full precision but for autocast, and the same kernel for the same convolution every time."""
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
    """Their state dict went in; it must come back out the same."""
    back, state = reference_state_dict(ours), theirs.state_dict()
    if set(back) != set(state):
        raise OptionError(
            f"{result.name}: the key map gives {sorted(set(back) ^ set(state))[:8]}, of which the reference differs"
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
    ours: ConvNet,
    theirs: nn.Module,
    images: torch.Tensor,
    reference: Reference,
    result: Comparison,
) -> None:
    import timm

    with torch.device("meta"):
        cut = timm.create_model(reference.name, features_only=True, **_thawed(reference.options))
    state = theirs.state_dict()
    # timm joins the first two names of what it takes out of a Sequential.
    state |= {key.replace(".", "_", 1): tensor for key, tensor in state.items()}
    cut.load_state_dict({key: state[key] for key in cut.state_dict()}, assign=True)
    levels: FeatureNet = _network(result.name, reference, features_only=True, dtype=images.dtype)
    load_weights(levels, ours.state_dict())
    with torch.no_grad():
        pairs = list(zip(levels.eval()(images), cut.eval()(images), strict=True))
    for what in ("channels", "reduction"):
        mine, yours = getattr(levels.feature_info, what)(), getattr(cut.feature_info, what)()
        if mine != yours:
            raise OptionError(f"{result.name}: feature levels have {what} {mine}, the reference's have {yours}")
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
        mine, yours = parameter.grad, theirs_by_name[names[name]].grad
        if mine is None or yours is None:
            raise OptionError(f"{result.name}: no gradient reaches {name}")
        pairs[name] = (mine, yours)
    # A gradient that is 0 but for rounding, as a bias's before a batch norm, is measured by the largest of all.
    scale = max(float(yours.abs().max()) for _, yours in pairs.values())
    if gradients:
        result.differences["gradients"] = largest_difference(pairs, floor=1e-4 * scale)
    buffers = dict(theirs.named_buffers())
    result.differences["statistics"] = largest_difference(
        {name: (b, buffers[names[name]]) for name, b in ours.named_buffers()} or {"none": (images, images)}
    )


def largest_difference(pairs: Mapping[str, Sequence[torch.Tensor]], floor: float = 0.0) -> Difference:
    """The largest difference of ``name: (ours, theirs)``, relative to theirs, whose scale is at least ``floor``.

    Raises:
        OptionError: shapes differ.
    """
    worst = Difference(0.0, 0.0)
    for name, (mine, theirs) in pairs.items():
        if mine.shape != theirs.shape:
            raise OptionError(f"{name}: shape {tuple(mine.shape)}, the reference's {tuple(theirs.shape)}")
        if torch.equal(mine, theirs) and mine.isfinite().all():
            continue
        difference = float((mine.double() - theirs.double()).abs().max())
        scale = max(float(theirs.double().abs().max()), floor)
        relative = difference / scale if scale else (math.inf if difference else 0.0)
        if not (math.isfinite(difference) and math.isfinite(scale)):
            difference = relative = math.inf
        if relative > worst.relative or (relative == worst.relative and difference > worst.absolute):
            worst = Difference(difference, relative, name)
    return worst
