"""What the Shake-Shake plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from convzoo.hookspecs import hookimpl
from convzoo.layouts import cifar, cifar_depths
from convzoo.specs import Component, Model, ref

PAPER = "Gastaldi, Shake-Shake regularization, 2017, arXiv:1705.07485"
SE_PAPER = "Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, arXiv:1709.01507"

COMPONENTS = (
    Component("stem", "cifar_linear", "convzoo_shake_shake.ends:linear_stem", "3x3 convolution and norm alone"),
    Component("block", "shake_shake", "convzoo_shake_shake.blocks:ShakeShake", "two mixed branches of two 3x3"),
    Component(
        "block",
        "shake_shake_bottleneck",
        "convzoo_shake_shake.blocks:ShakeShakeBottleneck",
        "two mixed branches of 1x1, 3x3, 1x1",
    ),
    Component("shortcut", "two_path", "convzoo_shake_shake.shortcut:TwoPathShortcut", "two strided paths, one shifted"),
    Component("head", "activated", "convzoo_shake_shake.ends:ActivatedClassifier", "activation, then the classifier"),
)

BLOCK = ref("shake_shake", shortcut=ref("two_path"))
ENDS = {"stem": ref("cifar_linear", width=16), "head": ref("activated")}

# name, depth, base width, parameters, MACs
SHAKE_SHAKE = (
    ("shakeshake20_2x16d", 20, 16, 541_082, 80_921_216),
    ("shakeshake26_2x32d", 26, 32, 2_923_162, 426_689_792),
    ("shakeshake26_2x64d", 26, 64, 11_653_978, 1_685_506_560),
    ("shakeshake26_2x96d", 26, 96, 26_192_922, 3_776_892_672),
    ("shakeshake26_2x112d", 26, 112, 35_640_442, 5_134_799_232),
)


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model]:
    yield from COMPONENTS
    for name, depth, width, params, macs in SHAKE_SHAKE:
        fields = {"planes": _planes(width), "paper": PAPER, "params": params, "macs": macs}
        yield cifar(name, "shake_shake", BLOCK, cifar_depths(depth, 2), **ENDS, **fields)
    yield cifar(
        "shakeshake29_2x4x64d",
        "shake_shake",
        ref("shake_shake_bottleneck", cardinality=4, base_width=64),
        cifar_depths(29, 3),
        planes=_planes(64),
        width=64,
        paper=PAPER,
        params=34_437_450,
        macs=5_387_266_048,
    )
    yield cifar(
        "se_shakeshake26_2x96d",
        "se_shake_shake",
        BLOCK.with_options(attention=ref("se")),
        cifar_depths(26, 2),
        planes=_planes(96),
        **ENDS,
        paper=SE_PAPER,
        params=26_292_546,
        macs=3_776_989_440,
    )


def _planes(width: int) -> tuple[int, ...]:
    return width, 2 * width, 4 * width
