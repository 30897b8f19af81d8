"""What the plugin of convolutions contributes, as data. This module imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from convzoo import Component, hookimpl

COMPONENTS = (
    Component(
        "conv",
        "depthwise_separable",
        "convzoo_convs.separable:DepthwiseSeparable",
        "depthwise, then pointwise",
        example=({}, {"kernel_size": 5}),
    ),
    Component(
        "conv",
        "spatially_separable",
        "convzoo_convs.separable:SpatiallySeparable",
        "1xN, then Nx1",
        example=({}, {"kernel_size": 7}),
    ),
    Component(
        "conv",
        "shuffled",
        "convzoo_convs.shuffled:Shuffled",
        "grouped, then channel shuffle",
        example=({}, {"shuffle_groups": 4}),
    ),
    Component(
        "conv", "dilated", "convzoo_convs.dilated:dilated", "3x3 with a dilation of its own", example=({}, {"rate": 3})
    ),
    Component(
        "conv",
        "deformable",
        "convzoo_convs.deformable:Deformable",
        "3x3 that learns where to look",
        example=({}, {"modulation": False, "offset_groups": 4}),
    ),
    Component("conv", "inception", "convzoo_convs.inception:Inception", "parallel branches, concatenated"),
)


@hookimpl
def convzoo_contribute() -> Iterator[Component]:
    yield from COMPONENTS
