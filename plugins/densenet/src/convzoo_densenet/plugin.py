"""What the DenseNet plugin contributes, as data. This module imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from convzoo.hookspecs import hookimpl
from convzoo.layouts import TORCH7_INIT
from convzoo.specs import Component, Model, Ref, Reference, Stage, ref

PAPER = "Huang et al., Densely Connected Convolutional Networks, CVPR 2017, arXiv:1608.06993"

COMPONENTS = (
    Component("block", "dense", "convzoo_densenet.layers:DenseLayer", "appends new features to its input"),
    Component("block", "transition", "convzoo_densenet.layers:Transition", "1x1 convolution and average pool"),
)

# name, growth rate, layers per stage, parameters, MACs
IMAGENET = (
    ("densenet121", 32, (6, 12, 24, 16), 7_978_856, 2_834_161_664),
    ("densenet161", 48, (6, 12, 36, 24), 28_681_000, 7_727_907_072),
    ("densenet169", 32, (6, 12, 32, 32), 14_149_480, 3_359_843_328),
    ("densenet201", 32, (6, 12, 48, 32), 20_013_928, 4_291_365_888),
    ("densenet264d", 48, (6, 12, 64, 48), 72_736_216, 13_470_266_880),
    ("densenet264", 32, (6, 12, 64, 48), 33_337_704, 5_751_653_376),
    ("densenet264_k48", 48, (6, 12, 64, 48), 72_686_632, 12_850_693_632),
    ("densenet232_k48", 48, (6, 12, 48, 48), 55_570_984, 10_119_129_600),
)

# name, growth rate, layers per stage, width of the stem, parameters, MACs
CIFAR = (
    ("densenet40_k12", 12, 12, 16, 1_019_722, 264_812_928),
    ("densenet100_k12", 12, 32, 16, 6_979_642, 1_769_516_448),
    ("densenet100_k24", 24, 32, 16, 27_249_082, 6_889_347_744),
    ("densenet100_k12_bc", 12, 16, 24, 769_162, 287_929_692),
    ("densenet250_k24_bc", 24, 41, 48, 15_324_406, 5_418_785_724),
    ("densenet190_k40_bc", 40, 31, 80, 25_624_430, 9_301_945_740),
    ("densenet40_k12_bc", 12, 6, 24, 176_122, 72_365_352),
    ("densenet40_k24_bc", 24, 6, 48, 690_346, 288_131_664),
    ("densenet40_k36_bc", 36, 6, 72, 1_542_682, 647_298_936),
    ("densenet40_k48_bc", 48, 6, 96, 2_733_130, 1_149_867_168),
    ("densenet40_k60_bc", 60, 6, 120, 4_261_690, 1_795_836_360),
)

IN_TIMM = ("densenet121", "densenet161", "densenet169", "densenet201", "densenet264d")
IN_TORCHVISION = ("densenet121", "densenet161", "densenet169", "densenet201")
TIMM_INIT = ref("kaiming", mode="fan_in", linear_bias="zero")
"""torchvision's, and so timm's."""


def _keys(depths: Sequence[int], deep: bool) -> tuple[tuple[str, str], ...]:
    """From this library's state-dict keys to those of torchvision and timm."""
    keys = [(r"^stem\.conv\.", "features.conv0."), (r"^stem\.norm\.", "features.norm0.")]
    if deep:
        keys = [(rf"^stem\.conv\.{3 * n}\.", f"features.conv{n}.") for n in range(3)]
        keys += [(rf"^stem\.conv\.{3 * n + 1}\.", f"features.norm{n}.") for n in range(2)]
        keys += [(r"^stem\.norm\.", "features.norm2.")]
    last = len(depths) - 1
    for stage, depth in enumerate(depths):
        first = 0 if stage == 0 else 1  # the transition stands before
        if first:
            keys.append((rf"^stages\.{stage}\.0\.", f"features.transition{stage}."))
        for layer in range(depth):
            theirs = f"features.denseblock{stage + 1}.denselayer{layer + 1}."
            keys.append((rf"^stages\.{stage}\.{layer + first}\.branch\.", theirs))
    keys.append((rf"^stages\.{last}\.{depths[last] + 1}\.norm\.", "features.norm5."))
    return (*keys, (r"^head\.fc\.", "classifier."))


def dense_stages(layer: Ref, depths: Sequence[int], compression: float) -> tuple[Stage, ...]:
    """Runs of dense layers with transitions between them, and a norm and activation at the end."""
    transition = ref("transition", compression=compression)
    stages = []
    for number, depth in enumerate(depths):
        before = (transition,) if number else ()
        after = (ref("norm_act"),) if number == len(depths) - 1 else ()
        stages.append(Stage((*before, *(layer,) * depth, *after), stride=2 if number else 1))
    return tuple(stages)


@hookimpl
def convzoo_contribute() -> Iterator[Component | Model]:
    yield from COMPONENTS
    for name, growth_rate, depths, params, macs in IMAGENET:
        deep = name.endswith("d")
        fields: dict[str, Any] = {"init": TORCH7_INIT, "params": params, "macs": macs}
        if name in IN_TIMM:
            libraries = ("timm", "torchvision") if name in IN_TORCHVISION else ("timm",)
            references = tuple(Reference(library, name) for library in libraries)
            fields |= {"init": TIMM_INIT, "references": references, "keys": _keys(depths, deep)}
        stem = ref("deep", width=growth_rate) if deep else ref("conv", width=2 * growth_rate)
        stages = dense_stages(ref("dense", growth_rate=growth_rate), depths, compression=0.5)
        yield Model(name, "densenet", stem, stages, paper=PAPER, **fields)
    for name, growth_rate, depth, width, params, macs in CIFAR:
        layer, compression = ref("dense", growth_rate=growth_rate), 0.5
        if not name.endswith("_bc"):
            layer, compression = layer.with_options(bottleneck=0), 1.0
        yield Model(
            name,
            "densenet_cifar",
            ref("cifar", width=width, norm=ref("none"), act=ref("none")),
            dense_stages(layer, (depth,) * 3, compression),
            init=TORCH7_INIT,
            num_classes=10,
            input_size=32,
            dataset="cifar10",
            paper=PAPER,
            params=params,
            macs=macs,
        )
