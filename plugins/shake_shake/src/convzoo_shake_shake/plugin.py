"""What the Shake-Shake plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convzoo import Component, Model, hookimpl, ref
from convzoo.layouts import cifar, cifar_depths

PAPER = "Gastaldi, Shake-Shake regularization, 2017, arXiv:1705.07485"
SE_PAPER = "Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, arXiv:1709.01507"

COMPONENTS = (
    Component("stem", "cifar_linear", "convzoo_shake_shake.ends:linear_stem", "3x3 convolution and norm alone"),
    Component(
        "block",
        "shake_shake",
        "convzoo_shake_shake.blocks:ShakeShake",
        "two mixed branches of two 3x3",
        example=({"planes": 64}, {"planes": 32, "backward_mode": "keep", "level": "batch"}),
    ),
    Component(
        "block",
        "shake_shake_bottleneck",
        "convzoo_shake_shake.blocks:ShakeShakeBottleneck",
        "two mixed branches of 1x1, 3x3, 1x1",
        example={"planes": 16, "cardinality": 2},
    ),
    Component(
        "shortcut",
        "two_path",
        "convzoo_shake_shake.shortcut:TwoPathShortcut",
        "two strided paths, one shifted",
        example=({}, {"shift": "up_left"}),
    ),
    Component("head", "activated", "convzoo_shake_shake.ends:ActivatedClassifier", "activation, then the classifier"),
)

SHAKE_SHAKE = ref("shake_shake", shortcut=ref("two_path"))


def shake_shake(name: str, *, depth: int, width: int, **fields: Any) -> Model:
    """A network of ``depth`` layers, whose branches are ``width`` wide in the first stage."""
    defaults: dict[str, Any] = {
        "family": "shake_shake",
        "layer": SHAKE_SHAKE,
        "stem": ref("cifar_linear", width=16),
        "head": ref("activated"),
        "paper": PAPER,
    }
    depths = cifar_depths(depth, convs_per_layer=2)
    return cifar(name, depths=depths, planes=(width, 2 * width, 4 * width), **{**defaults, **fields})


MODELS = (
    shake_shake("shakeshake20_2x16d", depth=20, width=16, params=541_082, macs=80_921_216),
    shake_shake("shakeshake26_2x32d", depth=26, width=32, params=2_923_162, macs=426_689_792),
    shake_shake("shakeshake26_2x64d", depth=26, width=64, params=11_653_978, macs=1_685_506_560),
    shake_shake("shakeshake26_2x96d", depth=26, width=96, params=26_192_922, macs=3_776_892_672),
    shake_shake("shakeshake26_2x112d", depth=26, width=112, params=35_640_442, macs=5_134_799_232),
    shake_shake(
        "se_shakeshake26_2x96d",
        depth=26,
        width=96,
        family="se_shake_shake",
        layer=SHAKE_SHAKE.with_options(attention=ref("se")),
        paper=SE_PAPER,
        params=26_292_546,
        macs=3_776_989_440,
    ),
    cifar(
        "shakeshake29_2x4x64d",
        family="shake_shake",
        layer=ref("shake_shake_bottleneck", cardinality=4, base_width=64),
        depths=cifar_depths(29, convs_per_layer=3),
        planes=(64, 128, 256),
        width=64,
        paper=PAPER,
        params=34_437_450,
        macs=5_387_266_048,
    ),
)


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model]:
    yield from COMPONENTS
    yield from MODELS
