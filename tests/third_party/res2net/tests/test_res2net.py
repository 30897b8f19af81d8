"""The convolution of Res2Net: its formula, its options, its place in a stage, and the networks of the authors."""

from typing import Any

import pytest
import timm
import torch
from timm.layers import SEModule
from torch.nn import functional as F

import convzoo
from convzoo.layers import ConvNormAct, Position
from convzoo.testing import transplant
from convzoo.testing.numerics import jitter_norms
from convzoo_res2net.res2net import MultiScaleConv


def by_hand(layer: ConvNormAct, x: torch.Tensor, stride: int, groups: int, dilation: int, pad: int) -> torch.Tensor:
    """``K_i(x)`` of the paper, in eval mode: convolution, norm and ReLU."""
    x = F.conv2d(x, layer.conv.weight, None, stride, pad, dilation, groups)
    norm = layer.norm
    mean, variance, scale, shift = (
        tensor.view(-1, 1, 1) for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return ((x - mean) / (variance + 1e-5).sqrt() * scale + shift).clamp(min=0)


def made(*args: int, **options: Any) -> MultiScaleConv:
    """In eval mode and float64, with norms that do something."""
    torch.manual_seed(0)
    conv = MultiScaleConv(*args, **options).double().eval()
    jitter_norms(conv)
    return conv


@pytest.mark.parametrize(("groups", "dilation"), [(1, 1), (3, 2)])
def test_inside_a_stage_each_split_is_given_the_result_of_the_one_before(groups: int, dilation: int) -> None:
    conv = made(12, 12, groups=groups, dilation=dilation, position=Position(0, 1, 1, 2))
    k1, k2, k3 = conv.convs
    x = torch.randn(2, 12, 7, 8, dtype=torch.float64)
    size = (1, groups, dilation, dilation)
    y1 = by_hand(k1, x[:, 0:3], *size)
    y2 = by_hand(k2, x[:, 3:6] + y1, *size)
    y3 = by_hand(k3, x[:, 6:9] + y2, *size)
    torch.testing.assert_close(conv(x), torch.cat([y1, y2, y3, x[:, 9:12]], 1))


@pytest.mark.parametrize(("stride", "layer"), [(1, 0), (2, 0), (2, 1)])
def test_at_the_start_of_a_stage_the_splits_are_apart_and_the_last_is_pooled(stride: int, layer: int) -> None:
    conv = made(6, 6, stride=stride, scale=3, position=Position(1, layer, 3 + layer, 8))
    k1, k2 = conv.convs
    x = torch.randn(2, 6, 7, 8, dtype=torch.float64)
    y1 = by_hand(k1, x[:, 0:2], stride, 1, 1, 1)
    y2 = by_hand(k2, x[:, 2:4], stride, 1, 1, 1)
    mean = F.conv2d(x[:, 4:6], torch.full((2, 1, 3, 3), 1 / 9, dtype=torch.float64), None, stride, 1, 1, 2)
    torch.testing.assert_close(conv(x), torch.cat([y1, y2, mean], 1))


def test_a_change_of_width_keeps_the_splits_apart_and_projects_the_last() -> None:
    conv = made(4, 6, scale=2)
    x = torch.randn(2, 4, 7, 8, dtype=torch.float64)
    mean = F.conv2d(x[:, 2:4], torch.full((2, 1, 3, 3), 1 / 9, dtype=torch.float64), None, 1, 1, 1, 2)
    parts = [by_hand(conv.convs[0], x[:, 0:2], 1, 1, 1, 1), by_hand(conv.last.project, mean, 1, 1, 1, 0)]
    torch.testing.assert_close(conv(x), torch.cat(parts, 1))


def test_one_split_is_a_plain_convolution() -> None:
    conv = made(4, 6, scale=1, stride=2)
    x = torch.randn(2, 4, 7, 8, dtype=torch.float64)
    torch.testing.assert_close(conv(x), by_hand(conv.convs[0], x, 2, 1, 1, 1))


@pytest.mark.parametrize("options", [{"scale": 0}, {"scale": 3}, {"stride": 0}, {"groups": 4}, {"dilation": 0}])
def test_impossible_sizes_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(convzoo.OptionError, match=next(iter(options))):
        MultiScaleConv(8, 8, **options)


@pytest.mark.parametrize("output_stride", [None, 8])
def test_only_the_first_layer_of_a_stage_adds_nothing(output_stride: int | None) -> None:
    model = convzoo.create_model("res2net50_26w_4s", device="meta", output_stride=output_stride)
    for stage in model.stages:
        convs = [module for module in stage.modules() if isinstance(module, MultiScaleConv)]
        assert [conv.hierarchical for conv in convs] == [False] + [True] * (len(stage) - 1)


@pytest.mark.parametrize(
    ("theirs", "ours", "options"),
    [
        ("res2next50", "resnet50", {"cardinality": 8, "base_width": 16}),
        ("res2net50d", "resnet50d", {"base_width": 104}),
    ],
)
def test_set_into_other_networks_it_gives_those_of_the_authors(theirs: str, ours: str, options: dict[str, int]) -> None:
    reference = timm.create_model(theirs, num_classes=10)
    model = convzoo.create_model(ours, conv="res2net", num_classes=10, **options)
    result = transplant(reference, model, torch.randn(2, 3, 64, 48))
    assert result.equal, result


def test_with_se_of_the_plugin_attention_it_is_the_paper_s_se_res2net() -> None:
    reference = timm.create_model("res2net50_48w_2s", num_classes=10, block_args={"scale": 2, "attn_layer": SEModule})
    model = convzoo.create_model("res2net50_48w_2s", attention="se", num_classes=10)
    result = transplant(reference, model, torch.randn(2, 3, 64, 48))
    assert result.equal, result


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("resnet18", {"attention": "eca"}),
        ("resnet20", {"shortcut": "avg", "act": "silu"}),
        ("resnet14t", {"stem": "cifar", "norm": convzoo.ref("group", groups=2), "attention": "cbam"}),
    ],
)
def test_goes_with_the_parts_of_others(network: str, options: dict[str, Any]) -> None:
    model = convzoo.create_model(network, conv="res2net", num_classes=10, **options)
    found = [module for module in model.modules() if isinstance(module, MultiScaleConv)]
    assert len(found) == sum(len(stage) for stage in model.stages)
    out = model(torch.randn(2, 3, 32, 32))
    assert out.shape == (2, 10)
    out.square().sum().backward()
    assert all(parameter.grad is not None for module in found for parameter in module.parameters())
