"""The Wide ResNets: what is widened, and what is not."""

from __future__ import annotations

import math

import pytest
from torch import nn

import convzoo
from convzoo.builtin.blocks import Basic
from convzoo.counting import count

# name, parameters, multiply-accumulates
COUNTS = (
    ("wide_resnet50_2", 68_883_240, 11_398_021_120),
    ("wide_resnet101_2", 126_886_696, 22_753_050_624),
    ("wide_resnet18_1.5", 25_875_816, 3_866_327_040),
    ("wide_resnet34_1.5", 48_613_608, 8_028_125_184),
    ("wide_resnet18_2.0", 45_618_216, 6_695_706_624),
    ("wide_resnet34_2.0", 86_036_008, 14_094_458_880),
    ("wrn16_4", 2_748_890, 392_612_352),
    ("wrn28_10_dropout", 36_479_194, 5_243_328_768),
)
WIDTHS = {
    10: [10],
    16: [1, 2, 4, 8, 10],
    22: [8, 10],
    28: [1, 2, 4, 8, 10, 12],
    34: [10],
    40: [1, 2, 4, 8, 10],
}
"""Of the listed networks for small images, by depth."""


def layers(name: str) -> list[list[nn.Module]]:
    return [list(stage) for stage in convzoo.create_model(name, device="meta").stages]


def test_plugin_contributes_its_variants_and_no_others() -> None:
    wide = set(convzoo.list_models(plugin="wide_resnet", family="wide_resnet"))
    assert wide == {name for name, _, _ in COUNTS} - {"wrn16_4", "wrn28_10_dropout"}
    assert set(convzoo.list_models(plugin="wide_resnet")) - wide == {
        *(f"wrn{n}_{k}" for n, ks in WIDTHS.items() for k in ks),
        "wrn28_10_dropout",
        "se_wrn16_8",
    }


@pytest.mark.parametrize(("name", "params", "macs"), COUNTS)
def test_pinned_counts_are_what_the_network_has(name: str, params: int, macs: int) -> None:
    spec = convzoo.model_info(name).spec
    assert (spec.params, spec.macs) == (params, macs)
    assert count(convzoo.create_model(name, device="meta"), (3, spec.input_size, spec.input_size)) == (params, macs)


@pytest.mark.parametrize(("wide", "plain"), [("wide_resnet50_2", "resnet50"), ("wide_resnet101_2", "resnet101")])
def test_bottlenecks_double_their_inner_widths_and_keep_their_outputs(wide: str, plain: str) -> None:
    for ours, theirs in zip(layers(wide), layers(plain), strict=True):
        assert len(ours) == len(theirs)
        for layer, other in zip(ours, theirs, strict=True):
            assert layer.out_channels == other.out_channels
            for conv in ("conv1", "conv2.conv"):
                inner, narrow = layer.branch.get_submodule(conv), other.branch.get_submodule(conv)
                assert inner.out_channels == 2 * narrow.out_channels


def test_bottlenecks_stride_on_the_3x3() -> None:
    for stage in layers("wide_resnet50_2")[1:]:
        assert (stage[0].branch.conv1.stride, stage[0].branch.conv2.conv.stride) == ((1, 1), (2, 2))


@pytest.mark.parametrize(
    ("name", "depths", "factor"),
    [
        ("wide_resnet18_1.5", [2, 2, 2, 2], 1.5),
        ("wide_resnet34_1.5", [3, 4, 6, 3], 1.5),
        ("wide_resnet18_2.0", [2, 2, 2, 2], 2),
        ("wide_resnet34_2.0", [3, 4, 6, 3], 2),
    ],
)
def test_basic_networks_widen_their_layers_and_not_their_stem(name: str, depths: list[int], factor: float) -> None:
    net = convzoo.create_model(name, device="meta")
    assert net.stem.out_channels == 64
    for stage, depth, planes in zip(net.stages, depths, (64, 128, 256, 512), strict=True):
        assert [type(layer) for layer in stage] == [Basic] * depth
        widths = {conv.out_channels for layer in stage for conv in (layer.branch.conv1.conv, layer.branch.conv2)}
        assert widths == {int(planes * factor)}


def test_first_stage_of_a_widened_basic_network_projects() -> None:
    first = layers("wide_resnet18_1.5")[0]
    assert isinstance(first[0].shortcut[0], nn.Conv2d)
    assert isinstance(first[1].shortcut, nn.Identity)


def test_basic_networks_start_by_fan_in_and_with_a_zero_classifier_bias() -> None:
    net = convzoo.create_model("wide_resnet18_1.5")
    conv = net.stages[3][0].branch.conv1.conv
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 384)), rel=0.01)
    assert not net.head.fc.bias.any()
