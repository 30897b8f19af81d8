"""The Wide ResNets: what is widened, and what is not."""

from __future__ import annotations

import math

import pytest
from torch import nn

import convzoo
from convzoo.resnet.blocks import Basic


def layers(name: str) -> list[list[nn.Module]]:
    return [list(stage) for stage in convzoo.create_model(name, device="meta").stages]


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
