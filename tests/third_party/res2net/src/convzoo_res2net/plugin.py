"""What this plugin contributes, as data. It imports no torch, so that listing the zoo stays quick."""

from __future__ import annotations

from collections.abc import Iterator

from convzoo import Component, Model, hookimpl, ref
from convzoo.layouts import KEYS, imagenet

PAPER = "Gao et al., Res2Net: A New Multi-scale Backbone Architecture, TPAMI 2021, arXiv:1904.01169"

COMPONENTS = (
    Component(
        "conv",
        "res2net",
        "convzoo_res2net.res2net:MultiScaleConv",
        "3x3 convolutions of splits of the channels, each fed with the one before",
    ),
)

# From a key of the convolution's state dict to timm's; the layout's rules turn the others.
CONV_KEYS = (
    (r"\.branch\.conv2\.convs\.(\d+)\.conv\.", r".convs.\1."),
    (r"\.branch\.conv2\.convs\.(\d+)\.norm\.", r".bns.\1."),
)

# Layers of each stage; width of a split at 64 planes and number of splits, w and s in the paper; what they cost.
NETWORKS = {
    "res2net50_26w_4s": ((3, 4, 6, 3), 26, 4, 25_699_120, 4_255_166_464),
    "res2net50_48w_2s": ((3, 4, 6, 3), 48, 2, 25_287_304, 4_159_832_064),
    "res2net50_14w_8s": ((3, 4, 6, 3), 14, 8, 25_059_816, 4_178_898_944),
    "res2net101_26w_4s": ((3, 4, 23, 3), 26, 4, 45_206_688, 8_066_974_464),
}


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model]:
    yield from COMPONENTS
    for name, (depths, width, scale, params, macs) in NETWORKS.items():
        yield imagenet(
            name,
            "res2net",
            ref("bottleneck", base_width=width * scale, conv=ref("res2net", scale=scale)),
            depths,
            keys=CONV_KEYS + KEYS,
            paper=PAPER,
            params=params,
            macs=macs,
        )
