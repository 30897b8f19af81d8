"""The ResNeXt networks: their groups, their widths, and the sum over paths that a grouped bottleneck computes."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convzoo
from convzoo.builtin.blocks import Bottleneck
from convzoo.counting import count

# name, parameters, multiply-accumulates
IMAGENET = (
    ("resnext50_32x4d", 25_028_904, 4_230_479_872),
    ("resnext50d_32x4d", 25_048_136, 4_470_120_448),
    ("resnext101_32x4d", 44_177_704, 7_969_996_800),
    ("resnext101_32x8d", 88_791_336, 16_414_015_488),
    ("resnext101_32x16d", 194_026_792, 36_163_289_088),
    ("resnext101_32x32d", 468_530_472, 87_106_781_184),
    ("resnext101_64x4d", 83_455_272, 15_460_270_080),
)
CIFAR = (
    ("resnext29_1x64d", 4_914_250, 748_365_824),
    ("resnext29_2x64d", 9_130_314, 1_411_065_856),
    ("resnext29_4x64d", 17_562_442, 2_736_465_920),
    ("resnext29_8x64d", 34_426_698, 5_387_266_048),
    ("resnext29_16x64d", 68_155_210, 10_688_866_304),
    ("resnext29_32x4d", 4_775_754, 774_055_936),
    ("resnext29_16x32d", 25_136_970, 4_028_311_552),
    ("resnext29_4x24d", 4_845_002, 761_210_880),
)


def test_plugin_contributes_its_variants_and_no_others() -> None:
    assert set(convzoo.list_models(plugin="resnext", family="resnext")) == {name for name, _, _ in IMAGENET}
    assert set(convzoo.list_models(plugin="resnext", family="resnext_cifar")) == {name for name, _, _ in CIFAR}
    assert len(convzoo.list_models(plugin="resnext")) == len(IMAGENET) + len(CIFAR)


@pytest.mark.parametrize(("name", "params", "macs"), [*IMAGENET, *CIFAR])
def test_pinned_counts_are_those_of_the_literature(name: str, params: int, macs: int) -> None:
    spec = convzoo.model_info(name).spec
    assert (spec.params, spec.macs) == (params, macs)


@pytest.mark.parametrize("name", ["resnext50_32x4d", "resnext50d_32x4d", "resnext29_8x64d", "resnext29_4x24d"])
def test_pinned_counts_are_what_the_network_has(name: str) -> None:
    spec = convzoo.model_info(name).spec
    found = count(convzoo.create_model(name, device="meta"), (3, spec.input_size, spec.input_size))
    assert found == (spec.params, spec.macs)


@pytest.mark.parametrize("name", [name for name, _, _ in [*IMAGENET, *CIFAR]])
def test_every_3x3_has_the_groups_and_the_width_of_the_name(name: str) -> None:
    match = re.fullmatch(r"resnext\d+d?_(\d+)x(\d+)d", name)
    cardinality, base_width = int(match[1]), int(match[2])
    for number, stage in enumerate(convzoo.create_model(name, device="meta").stages):
        width = cardinality * base_width * 2**number
        for layer in stage:
            conv = layer.branch.conv2.conv
            assert (conv.kernel_size, conv.groups) == ((3, 3), cardinality)
            assert (conv.in_channels, conv.out_channels) == (width, width)
            assert layer.out_channels == 256 * 2**number


def test_stride_is_on_the_grouped_convolution() -> None:
    net = convzoo.create_model("resnext50_32x4d", device="meta")
    for stage in list(net.stages)[1:]:
        assert (stage[0].branch.conv1.stride, stage[0].branch.conv2.conv.stride) == ((1, 1), (2, 2))


def test_cifar_networks_have_three_stages_after_a_stem_of_64() -> None:
    net = convzoo.create_model("resnext29_8x64d", device="meta")
    assert (net.stem.out_channels, net.stem.reduction) == (64, 1)
    assert [len(stage) for stage in net.stages] == [3, 3, 3]
    assert [stage[0].branch.conv2.conv.stride[0] for stage in net.stages] == [1, 2, 2]
    assert (net.num_features, net.num_classes) == (1024, 10)


def test_grouped_bottleneck_is_the_sum_of_its_paths() -> None:
    torch.manual_seed(0)
    block = Bottleneck(12, planes=16, cardinality=4, base_width=12).double().eval()
    for norm in block.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    x = torch.randn(2, 12, 5, 6, dtype=torch.float64)

    def normed(y: torch.Tensor, norm: nn.BatchNorm2d, channels: slice = slice(None)) -> torch.Tensor:
        mean, var = norm.running_mean[channels], norm.running_var[channels]
        return F.batch_norm(y, mean, var, norm.weight[channels], norm.bias[channels])

    branch, total = block.branch, 0
    for path in range(4):
        channels = slice(3 * path, 3 * path + 3)
        y = normed(F.conv2d(x, branch.conv1.weight[channels]), branch.norm1, channels).clamp(min=0)
        y = F.conv2d(y, branch.conv2.conv.weight[channels], padding=1)
        y = normed(y, branch.conv2.norm, channels).clamp(min=0)
        total = total + F.conv2d(y, branch.conv3.weight[:, channels])
    wanted = normed(total, branch.norm3) + block.shortcut(x)
    assert torch.allclose(block(x), wanted.clamp(min=0), atol=1e-12)
