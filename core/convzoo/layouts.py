"""Layouts of residual networks as data, for plugins that contribute variants. This module imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from convzoo.dialects import TORCHVISION_KEYS, of_cifar, of_imagenet
from convzoo.errors import LARGEST, SpecError, require_choice, require_int, shown
from convzoo.spec.model import Model, Stage
from convzoo.spec.options import MOST
from convzoo.spec.references import Reference
from convzoo.spec.refs import Options, Ref, ref

HE = "He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385"
TRICKS = (
    "He et al., Bag of Tricks for Image Classification with Convolutional Neural Networks, CVPR 2019, arXiv:1812.01187"
)

BASIC = ref("basic")
"""Two 3x3 convolutions."""
BOTTLENECK = ref("bottleneck")
"""1x1, spatial and 1x1 convolution."""

DEPTHS: dict[int, tuple[int, ...]] = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    269: (3, 30, 48, 8),
}
"""Layers of each stage of the bottleneck networks, by depth."""

FAN_OUT = ref("kaiming", mode="fan_out")
"""The start of timm's ResNets."""
FAN_OUT_ZERO_BIAS = ref("kaiming", mode="fan_out", linear_bias="zero")
"""The start that the Torch7 codes of CIFAR networks share (fb.resnet.torch)."""
FAN_IN_ZERO_BIAS = ref("kaiming", mode="fan_in", linear_bias="zero")
"""The start of torchvision's dense networks. The authors of the wide ones start convolutions and the classifier so too,
but leave their norms' scales at what Torch7 drew, uniformly from 0 to 1."""

KEYS = TORCHVISION_KEYS
"""From this library's state-dict keys of residual networks to those of torchvision and timm."""

STEMS = {
    "": ref("conv"),
    "c": ref("deep", width=32),
    "d": ref("deep", width=32),
    "e": ref("deep", width=64),
    "s": ref("deep", width=64),
    "t": ref("deep", width=32, tiered=True),
}
"""Stems by the letter that GluonCV and timm put after a depth."""

AVERAGE_DOWN = ("d", "e", "t")
"""Letters whose projection shortcuts average before they project."""


def stages(layer: Ref, depths: Sequence[int], planes: Sequence[int]) -> tuple[Stage, ...]:
    """Stages of residual networks, every one but the first with stride 2.

    Args:
        layer: the block with its options, without ``planes``.
        depths, planes: layers and nominal width of each stage.

    Raises:
        SpecError: there are more depths than planes, or fewer; or a depth or width cannot be.
    """
    return tuple(
        Stage((layer.with_options(planes=width),) * depth, stride=2 if number else 1)
        for number, (depth, width) in enumerate(_with_depths(depths, planes, "planes"))
    )


def _with_depths(depths: Sequence[int], others: Sequence[Any], what: str) -> Iterator[tuple[int, Any]]:
    """Each depth, which is a number of layers, beside what else a stage has; SpecError unless there is one for each."""
    if not isinstance(depths, Sequence) or not isinstance(others, Sequence) or len(depths) != len(others):
        raise SpecError(f"depths {shown(depths)} and {what} {shown(others)} are two sequences, one of each for a stage")
    for depth, other in zip(depths, others, strict=True):
        yield require_int("depths", depth, at_least=1, at_most=MOST), other


def dense_stages(layers: Sequence[Ref], depths: Sequence[int], *, transition: Ref) -> tuple[Stage, ...]:
    """Stages of dense networks, every one but the first with stride 2; a norm and activation end the last.

    Args:
        layers, depths: the block with its options, and how many of it, for each stage.
        transition: the block that stands before the layers of every stage but the first, and takes its stride.

    Raises:
        SpecError: there are more layers than depths, or fewer; or a depth cannot be.
    """
    made = []
    for number, (depth, layer) in enumerate(_with_depths(depths, layers, "layers")):
        before = (transition,) if number else ()
        after = (ref("norm_act"),) if number == len(depths) - 1 else ()
        made.append(Stage((*before, *(layer,) * depth, *after), stride=2 if number else 1))
    return tuple(made)


def imagenet(
    name: str,
    family: str,
    layer: Ref,
    depths: Sequence[int],
    *,
    letter: str = "",
    planes: Sequence[int] = (64, 128, 256, 512),
    timm: str | None = "",
    torchvision: bool = False,
    **fields: Any,
) -> Model:
    """A residual network for ImageNet, started as timm starts it.

    Args:
        name, family: of the model.
        layer: the block with its options, without ``planes``.
        depths, planes: layers and nominal width of each stage.
        letter: the stem and the shortcut, see :data:`STEMS`.
        timm: the model of timm that it equals; ``""`` for the one of the same name, None for none.
        torchvision: whether torchvision has a model of this name.
        **fields: further fields of the :class:`~convzoo.Model`.

    Raises:
        SpecError: no stem has this letter; there are more depths than planes, or fewer; or one of them cannot be.
    """
    letter = require_choice("letter", letter, STEMS)
    if letter in AVERAGE_DOWN:
        layer = layer.with_options(shortcut=ref("avg"))
    references = []
    if timm is not None:
        references.append(Reference("timm", timm or name))
        layer = Ref(layer.name, Options({"zero_init_last": True, **layer.options}))
    if torchvision:
        references.append(Reference("torchvision", name))
    defaults: dict[str, Any] = {
        "stem": STEMS[letter],
        "init": FAN_OUT,
        "keys": KEYS,
        "dialects": of_imagenet(deep=letter != "", average=letter in AVERAGE_DOWN),
        "references": tuple(references),
        "paper": HE if letter == "" else TRICKS,
    }
    return Model(name, family, stages=stages(layer, depths, planes), **{**defaults, **fields})


def cifar(
    name: str,
    family: str,
    layer: Ref,
    depths: Sequence[int],
    *,
    planes: Sequence[int] = (16, 32, 64),
    width: int = 16,
    **fields: Any,
) -> Model:
    """A residual network for images of 32 px and 10 classes, started as fb.resnet.torch starts it.

    Args:
        name, family: of the model.
        layer: the block with its options, without ``planes``.
        depths, planes: layers and nominal width of each stage.
        width: of the 3x3 stem.
        **fields: further fields of the :class:`~convzoo.Model`.

    Raises:
        SpecError: there are more depths than planes, or fewer; or one of them cannot be.
    """
    defaults: dict[str, Any] = {
        "stem": ref("cifar", width=width),
        "num_classes": 10,
        "input_size": 32,
        "dataset": "cifar10",
        "init": FAN_OUT_ZERO_BIAS,
        "dialects": of_cifar(),
        "paper": f"{HE}, section 4.2",
    }
    return Model(name, family, stages=stages(layer, depths, planes), **{**defaults, **fields})


def cifar_depths(depth: int, convs_per_layer: int, count: int = 3) -> tuple[int, ...]:
    """Layers of each stage of a CIFAR network, whose stages are equally deep.

    Args:
        depth: weighted layers of the whole network, as its name counts them.
        convs_per_layer: how many of them a block has.
        count: of stages.

    Raises:
        SpecError: ``depth`` is not ``count * convs_per_layer * n + 2``.
    """
    unit = require_int("count", count, at_least=1) * require_int("convs_per_layer", convs_per_layer, at_least=1)
    layers, rest = divmod(require_int("depth", depth, at_least=1, at_most=LARGEST) - 2, unit)
    if rest or layers < 1:
        raise SpecError(f"depth {depth} is not {unit}n + 2")
    return (layers,) * count
