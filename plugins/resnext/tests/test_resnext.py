"""The ResNeXt networks: their groups, their widths, and the sum over paths that a grouped bottleneck computes."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convzoo
from convzoo.resnet.blocks import Bottleneck
from convzoo.testing.numerics import jitter_norms

NAME = re.compile(r"resnext\d+d?_(\d+)x(\d+)d")


@pytest.mark.parametrize("name", [*filter(NAME.fullmatch, convzoo.list_models(plugin="resnext"))])
def test_every_3x3_has_the_groups_and_the_width_of_the_name(name: str) -> None:
    cardinality, base_width = map(int, NAME.fullmatch(name).groups())
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
    jitter_norms(block)
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
