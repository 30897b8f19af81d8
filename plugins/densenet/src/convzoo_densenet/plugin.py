"""What the DenseNet plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from convzoo import Component, Dialect, Model, Ref, Reference, hookimpl, ref
from convzoo.layouts import FAN_IN_ZERO_BIAS, FAN_OUT_ZERO_BIAS, dense_stages

PAPER = "Huang et al., Densely Connected Convolutional Networks, CVPR 2017, arXiv:1608.06993"

COMPONENTS = (
    Component(
        "block",
        "dense",
        "convzoo_densenet.layers:DenseLayer",
        "appends new features to its input",
        example=({"growth_rate": 32}, {"growth_rate": 32, "bottleneck": 0}),
    ),
    Component("block", "transition", "convzoo_densenet.layers:Transition", "1x1 convolution and average pool"),
)

KEYS = (
    (r"^stem\.(conv|norm)\.", "features.{1}0."),
    (r"^stages\.0\.(\d+)\.branch\.", "features.denseblock1.denselayer{1+1}."),
    (r"^stages\.(\d+)\.0\.", "features.transition{1}."),
    (r"^stages\.(\d+)\.(\d+)\.branch\.", "features.denseblock{1+1}.denselayer{2}."),
    (r"^stages\.\d+\.\d+\.norm\.", "features.norm5."),
    (r"^head\.fc\.", "classifier."),
)
"""From this library's state-dict keys to those of torchvision and timm, which count layers from 1.

So does this library, but for the first stage: a transition stands before the layers of every other.
"""
DEEP_KEYS = (
    (r"^stem\.conv\.0\.", "features.conv0."),
    (r"^stem\.conv\.1\.", "features.norm0."),
    (r"^stem\.conv\.3\.", "features.conv1."),
    (r"^stem\.conv\.4\.", "features.norm1."),
    (r"^stem\.conv\.6\.", "features.conv2."),
    (r"^stem\.norm\.", "features.norm2."),
    *KEYS,
)
"""The same behind a deep stem."""

DOTTED = (r"(\.denselayer\d+\.(?:norm|conv))(\d)\.", r"\1.\2.")
FINAL = (r"^features\.norm5\.", "features.norm_final.")
EFFICIENT = "efficient_densenet_pytorch"
PYTORCHCV_KEYS = (
    (r"^stages\.0\.(\d+)\.branch\.", "features.stage1.unit{1+1}."),
    (r"^stages\.(\d+)\.0\.norm\.", "features.stage{1+1}.trans{1+1}.conv.bn."),
    (r"^stages\.(\d+)\.0\.conv\.", "features.stage{1+1}.trans{1+1}.conv.conv."),
    (r"^stages\.(\d+)\.(\d+)\.branch\.", "features.stage{1+1}.unit{2}."),
    (r"^stages\.\d+\.\d+\.norm\.", "features.post_activ.bn."),
    (r"\.norm(\d)\.", ".conv{1}.bn."),
    (r"\.conv([12])\.(?!bn\.)", ".conv{1}.conv."),
    (r"^head\.fc\.", "output."),
)
"""pytorchcv's names, but for the stem."""


def dialects(*, bare_stem: bool) -> tuple[Dialect, ...]:
    """Who else has dense networks, whose stem has no norm if it is bare.

    torchvision's published files have the names that its code had before 0.3; so has the efficient code in its first
    versions, which calls the last norm otherwise.
    """
    stem = "features.init_block." if bare_stem else "features.init_block.conv."
    stems = ((r"^stem\.conv\.", stem), (r"^stem\.norm\.", "features.init_block.bn."))
    return (
        Dialect("torchvision before 0.3", (*KEYS, DOTTED)),
        Dialect("pytorchcv", (*stems, *PYTORCHCV_KEYS)),
        Dialect(EFFICIENT, (*KEYS, FINAL)),
        Dialect(f"{EFFICIENT}, its first version", (*KEYS, DOTTED, FINAL)),
        *((Dialect("torchvision", KEYS),) if bare_stem else ()),
    )


def densenet(
    name: str,
    *,
    growth_rate: int,
    depths: Sequence[int],
    stem: Ref,
    bottleneck: bool = True,
    compression: float = 0.5,
    libraries: Sequence[str] = (),
    **fields: Any,
) -> Model:
    """A DenseNet, started as ``libraries`` start theirs, or, if none has it, as its authors do.

    Its ``stem`` is twice as wide as what a layer adds, unless it says how wide it is.
    """
    layer = ref("dense", growth_rate=growth_rate, **({} if bottleneck else {"bottleneck": 0}))
    stem = ref(stem.name, **{"width": 2 * growth_rate, **stem.options})
    stages = dense_stages([layer] * len(depths), depths, transition=ref("transition", compression=compression))
    defaults: dict[str, Any] = {"init": FAN_OUT_ZERO_BIAS, "paper": PAPER}
    defaults["dialects"] = OF_CIFAR if fields.get("dataset") == "cifar10" else OF_IMAGENET
    if libraries:
        references = tuple(Reference(library, name) for library in libraries)
        defaults |= {"init": FAN_IN_ZERO_BIAS, "references": references, "keys": KEYS}
    return Model(name, stem=stem, stages=stages, **{**defaults, **fields})


OF_IMAGENET, OF_CIFAR = dialects(bare_stem=False), dialects(bare_stem=True)
imagenet = partial(densenet, family="densenet", stem=ref("conv"))
in_torchvision = partial(imagenet, libraries=("timm", "torchvision"))
cifar = partial(densenet, family="densenet_cifar", num_classes=10, input_size=32, dataset="cifar10")
plain = partial(
    cifar, stem=ref("cifar", width=16, norm=ref("none"), act=ref("none")), bottleneck=False, compression=1.0
)
bc = partial(cifar, stem=ref("cifar", norm=ref("none"), act=ref("none")))

MODELS = (
    in_torchvision("densenet121", growth_rate=32, depths=(6, 12, 24, 16), params=7_978_856, macs=2_834_161_664),
    in_torchvision("densenet161", growth_rate=48, depths=(6, 12, 36, 24), params=28_681_000, macs=7_727_907_072),
    in_torchvision("densenet169", growth_rate=32, depths=(6, 12, 32, 32), params=14_149_480, macs=3_359_843_328),
    in_torchvision("densenet201", growth_rate=32, depths=(6, 12, 48, 32), params=20_013_928, macs=4_291_365_888),
    imagenet(
        "densenet264d",
        growth_rate=48,
        depths=(6, 12, 64, 48),
        stem=ref("deep", width=48),
        libraries=("timm",),
        keys=DEEP_KEYS,
        params=72_736_216,
        macs=13_470_266_880,
    ),
    imagenet("densenet264", growth_rate=32, depths=(6, 12, 64, 48), params=33_337_704, macs=5_751_653_376),
    imagenet("densenet264_k48", growth_rate=48, depths=(6, 12, 64, 48), params=72_686_632, macs=12_850_693_632),
    imagenet("densenet232_k48", growth_rate=48, depths=(6, 12, 48, 48), params=55_570_984, macs=10_119_129_600),
    plain("densenet40_k12", growth_rate=12, depths=(12, 12, 12), params=1_019_722, macs=264_812_928),
    plain("densenet100_k12", growth_rate=12, depths=(32, 32, 32), params=6_979_642, macs=1_769_516_448),
    plain("densenet100_k24", growth_rate=24, depths=(32, 32, 32), params=27_249_082, macs=6_889_347_744),
    bc("densenet100_k12_bc", growth_rate=12, depths=(16, 16, 16), params=769_162, macs=287_929_692),
    bc("densenet250_k24_bc", growth_rate=24, depths=(41, 41, 41), params=15_324_406, macs=5_418_785_724),
    bc("densenet190_k40_bc", growth_rate=40, depths=(31, 31, 31), params=25_624_430, macs=9_301_945_740),
    bc("densenet40_k12_bc", growth_rate=12, depths=(6, 6, 6), params=176_122, macs=72_365_352),
    bc("densenet40_k24_bc", growth_rate=24, depths=(6, 6, 6), params=690_346, macs=288_131_664),
    bc("densenet40_k36_bc", growth_rate=36, depths=(6, 6, 6), params=1_542_682, macs=647_298_936),
    bc("densenet40_k48_bc", growth_rate=48, depths=(6, 6, 6), params=2_733_130, macs=1_149_867_168),
    bc("densenet40_k60_bc", growth_rate=60, depths=(6, 6, 6), params=4_261_690, macs=1_795_836_360),
)


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model]:
    yield from COMPONENTS
    yield from MODELS
