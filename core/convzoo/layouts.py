"""Layouts of residual networks as data, for plugins that contribute variants. This module imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convzoo.errors import SpecError
from convzoo.specs import Model, Options, Ref, Reference, Stage, ref

HE = "He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385"
TRICKS = (
    "He et al., Bag of Tricks for Image Classification with Convolutional Neural Networks, CVPR 2019, arXiv:1812.01187"
)

BASIC = ref("basic")
BOTTLENECK = ref("bottleneck")

DEPTHS: dict[int, tuple[int, ...]] = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    269: (3, 30, 48, 8),
}
"""Layers of each stage of the bottleneck networks, by depth."""

TIMM_INIT = ref("kaiming", mode="fan_out")
TORCH7_INIT = ref("kaiming", mode="fan_out", linear_bias="zero")
"""The start that the Torch7 codes of the CIFAR networks share (fb.resnet.torch)."""

KEYS = (
    (r"^stem\.conv\.", "conv1."),
    (r"^stem\.norm\.", "bn1."),
    (r"^stem\.pool\.", "maxpool."),
    (r"^stages\.0\.", "layer1."),
    (r"^stages\.1\.", "layer2."),
    (r"^stages\.2\.", "layer3."),
    (r"^stages\.3\.", "layer4."),
    (r"\.branch\.conv([12])\.conv\.", r".conv\1."),
    (r"\.branch\.conv([12])\.norm\.", r".bn\1."),
    (r"\.branch\.norm(\d)\.", r".bn\1."),
    (r"\.branch\.attention\.", ".se."),
    (r"\.branch\.", "."),
    (r"\.shortcut\.", ".downsample."),
    (r"^head\.fc\.", "fc."),
)
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

AVERAGE_DOWN = "det"
"""Letters whose projection shortcuts average before they project."""


def stages(layer: Ref, depths: Sequence[int], planes: Sequence[int]) -> tuple[Stage, ...]:
    """Stages of ``layer`` with ``planes``, every one but the first with stride 2."""
    return tuple(
        Stage((layer.with_options(planes=width),) * depth, stride=1 if number == 0 else 2)
        for number, (depth, width) in enumerate(zip(depths, planes, strict=True))
    )


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
    """
    if letter and letter in AVERAGE_DOWN:
        layer = layer.with_options(shortcut=ref("avg"))
    references = []
    if timm is not None:
        references.append(Reference("timm", timm or name))
        layer = Ref(layer.name, Options({"zero_init_last": True, **layer.options}))
    if torchvision:
        references.append(Reference("torchvision", name))
    defaults: dict[str, Any] = {
        "stem": STEMS[letter],
        "init": TIMM_INIT,
        "keys": KEYS,
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
    """
    defaults: dict[str, Any] = {
        "stem": ref("cifar", width=width),
        "num_classes": 10,
        "input_size": 32,
        "dataset": "cifar10",
        "init": TORCH7_INIT,
        "paper": f"{HE}, section 4.2",
    }
    return Model(name, family, stages=stages(layer, depths, planes), **{**defaults, **fields})


def cifar_depths(depth: int, convs_per_layer: int, count: int = 3) -> tuple[int, ...]:
    """Layers of each of ``count`` equal stages of a CIFAR network of ``depth`` weighted layers.

    Raises:
        SpecError: ``depth`` is not ``count * convs_per_layer * n + 2``.
    """
    unit = count * convs_per_layer
    layers, rest = divmod(depth - 2, unit)
    if rest or layers < 1:
        raise SpecError(f"depth {depth} is not {unit}n + 2")
    return (layers,) * count
