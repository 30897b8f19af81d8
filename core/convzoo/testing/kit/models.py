"""Checks of contributed models, and of the plugin as a whole."""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys

import torch

from convzoo.api import build, create_model
from convzoo.errors import WeightsError
from convzoo.network.counting import count
from convzoo.network.keys import key_map
from convzoo.network.model import ConvNet
from convzoo.plugins.registry import Owner
from convzoo.spec.model import Model, Stage
from convzoo.testing.kit.promises import CheckFailed, NotApplicable, promise
from convzoo.testing.numerics import jitter, silent_weights
from convzoo.testing.parity import compare, reference_model

IMAGE = 64
"""Side of the images, in pixels, that networks are compared on."""
DOUBLE = 10_000_000
"""Networks with fewer parameters are compared in float64."""


class ModelProbe:
    """A contributed model under examination."""

    def __init__(self, name: str, spec: Model) -> None:
        self.name = name
        self.spec = spec

    @functools.cached_property
    def structure(self) -> ConvNet:
        """The network without storage, in eval mode."""
        return build(self.spec, device="meta").eval()


@promise("model")
def builds_on_meta(probe: ModelProbe) -> None:
    """It builds on the meta device and gives as many outputs as it has classes."""
    spec = probe.spec
    try:
        out = probe.structure(torch.empty(2, spec.in_chans, spec.input_size, spec.input_size, device="meta"))
    except Exception as error:
        raise CheckFailed(
            f"{type(error).__name__}: {error}",
            means="nobody can create it",
            mend="follow what the message says of the spec or the part",
        ) from error
    if spec.num_classes and tuple(out.shape) != (2, spec.num_classes):
        raise CheckFailed(
            f"its output is {tuple(out.shape)}",
            means=f"it does not tell {spec.num_classes} classes apart",
            mend="let the head give (N, num_classes)",
        )


@promise("model")
def goes_by_its_aliases(probe: ModelProbe) -> None:
    """Under each of its other names it builds, with what that name overrides."""
    for alias in probe.spec.aliases:
        try:
            model = create_model(alias.name, device="meta").eval()
            size = model.spec.input_size
            out = model(torch.empty(2, model.spec.in_chans, size, size, device="meta"))
        except Exception as error:
            raise CheckFailed(
                f"as {alias.name!r}: {type(error).__name__}: {error}",
                means="nobody can create it by this name, though listings show it",
                mend="give aliases=(ref(name, ...),) only options that the model takes, with values that they can have",
            ) from error
        if model.spec.num_classes and tuple(out.shape) != (2, model.spec.num_classes):
            raise CheckFailed(
                f"as {alias.name!r}, its output is {tuple(out.shape)}",
                means=f"it does not tell {model.spec.num_classes} classes apart",
                mend="let the head give (N, num_classes)",
            )


@promise("model")
def costs_what_it_pins(probe: ModelProbe) -> None:
    """It pins its parameters and MACs, and they are what they are measured to be."""
    spec = probe.spec
    measured = count(probe.structure, (spec.in_chans, spec.input_size, spec.input_size))
    if (spec.params, spec.macs) != measured:
        raise CheckFailed(
            f"it pins params={spec.params}, macs={spec.macs}; measured are params={measured.params},"
            f" macs={measured.macs}",
            means="a change of a part would change this network without anybody noticing",
            mend="find out which of the two is right by the paper's tables, then pin Model(..., params=, macs=)",
        )


@promise("model")
def equals_its_reference(probe: ModelProbe) -> None:
    """With the weights of each reference that it names, it gives that one's outputs, gradients and features."""
    installed = [r.library for r in probe.spec.references if importlib.util.find_spec(r.library)]
    if not installed:
        named = ", ".join(r.library for r in probe.spec.references)
        raise NotApplicable(f"{named} is not installed" if named else "it names no reference")
    for library in installed:
        dtype = "float64" if (probe.spec.params or 0) < DOUBLE else "float32"
        try:
            result = compare(probe.name, against=library, dtype=dtype, image_size=min(IMAGE, probe.spec.input_size))
        except WeightsError as error:
            raise CheckFailed(
                f"the weights of {library}'s model do not fit: {_strangers(probe, library)}",
                means="its keys do not turn the names of this model's state dict into those of the other",
                mend="give Model(keys=) every rule, the most special first; on a layout of convzoo.layouts these are"
                " keys=(*those_of_your_part, *KEYS)",
            ) from error
        if not result.equal:
            raise CheckFailed(
                f"compared with {library}'s {result.reference}: {result.verdict}",
                means="the name promises a network that this one is not",
                mend="find the first layer that differs with convzoo.testing.transplant, or drop the reference",
            )


@promise("model")
def has_keys_that_keep_names_apart(probe: ModelProbe) -> None:
    """Its keys give every tensor of its state dict a name of its own."""
    if not probe.spec.keys:
        raise NotApplicable("it has no keys")
    try:
        key_map(probe.structure)
    except WeightsError as error:
        raise CheckFailed(
            str(error),
            means="convzoo.reference_state_dict fails, and weights of another library cannot be loaded",
            mend="write rules that keep the number of the stage and of the layer: (r'^stages\\.(\\d)', r'layer\\1')",
        ) from error


def _strangers(probe: ModelProbe, library: str) -> str:
    """Names that the other library's model does not have, as the key map makes them."""
    reference = probe.spec.reference(library)
    assert reference is not None
    with torch.device("meta"):
        known = reference_model(reference).state_dict()
    try:
        names = key_map(probe.structure)
    except WeightsError as error:
        return str(error)
    strangers = [
        f"{ours} becomes {theirs}, which is not there" for ours, theirs in names.items() if theirs not in known
    ]
    missing = sorted(set(known) - set(names.values()))
    nothing = f". Nothing becomes {', '.join(missing[:3])}" if missing else ""
    return ("; ".join(strangers[:3]) or "shapes differ") + nothing


@promise("model")
def uses_every_weight(probe: ModelProbe) -> None:
    """Changing any one tensor of its state dict changes its output: no weight is idle, no comparison blind."""
    spec = probe.spec
    size = 16 if spec.input_size <= 32 else 32
    silent: list[str] = []
    for seed in range(5):  # a narrow layer may be shut by its activation for all images of one draw
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            model = build(_thinned(spec))
            jitter(model)
            images = torch.randn(4, spec.in_chans, size, size) * torch.tensor([0.2, 0.7, 1.5, 3]).view(4, 1, 1, 1)
        silent = silent_weights(model, images, silent or None)
        if not silent:
            return
    raise CheckFailed(
        f"changing any of these changes nothing: {', '.join(silent[:8])}",
        means="they are dead weight, and an equality that was shown says nothing of them",
        mend="use them in forward, or remove them",
    )


def _thinned(spec: Model) -> Model:
    """The model with no more than two layers of each run of equal ones, which are enough to see what a layer does."""
    stages = (Stage(tuple(layer for n, layer in s.runs() for _ in range(min(n, 2))), s.stride) for s in spec.stages)
    return spec.derived(stages=tuple(stages))


@promise("plugin")
def lists_without_torch(owner: Owner) -> None:
    """Loading it to list the zoo does not import torch."""
    if owner.distribution == "none":
        raise NotApplicable("it is not packaged")
    code = (
        "import sys; from convzoo.plugins.host import plugins;"
        f" r = [r for r in plugins().records.values() if r.owner.name == {owner.name!r}][0];"
        " print(r.status, 'torch' in sys.modules)"
    )
    allowed = {} if owner.name == "builtin" else {"CONVZOO_PLUGINS": owner.name}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CONVZOO_")} | allowed
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    if done.stdout.split() != ["ok", "False"]:
        raise CheckFailed(
            f"a fresh process that loads it says: {done.stdout.strip() or done.stderr.strip()[-300:]}",
            means="listing the zoo takes seconds instead of a tenth of one",
            mend="import torch only in the modules that targets name, never in the plugin module or the package's"
            " __init__",
        )
