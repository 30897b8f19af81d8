"""The pre-activation block against its definition, and the networks for small images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convzoo
from convzoo import OptionError, UnknownNameError, part, ref
from convzoo.testing.numerics import jitter_norms
from convzoo_wide_resnet.preactivation import Preactivation


def made(channels: int, **options: Any) -> Preactivation:
    """A block of 8 planes, in double precision and eval mode, with norms that are not at their start."""
    torch.manual_seed(0)
    block = Preactivation(channels, planes=8, **options).double().eval()
    jitter_norms(block)
    return block


def rectified(x: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
    scale = norm.weight / torch.sqrt(norm.running_var + 1e-5)
    return ((x - norm.running_mean.view(-1, 1, 1)) * scale.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)).clamp(min=0)


def images(channels: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(2, channels, 9, 9, dtype=torch.float64)


@pytest.mark.parametrize(("channels", "stride"), [(6, 1), (6, 2), (8, 2)])
def test_where_the_shape_changes_branch_and_shortcut_share_the_first_activation(channels: int, stride: int) -> None:
    block, x = made(channels, stride=stride), images(channels)
    h = rectified(x, block.first.norm)
    inner = rectified(F.conv2d(h, block.branch.conv1.weight, stride=stride, padding=1), block.branch.norm2)
    expected = F.conv2d(inner, block.branch.conv2.weight, padding=1)
    torch.testing.assert_close(block(x), expected + F.conv2d(h, block.shortcut.weight, stride=stride))
    assert block.shortcut.bias is None


def test_where_the_shape_stays_the_shortcut_is_the_input_itself() -> None:
    block, x = made(8), images(8)
    inner = F.conv2d(rectified(x, block.first.norm), block.branch.conv1.weight, padding=1)
    expected = F.conv2d(rectified(inner, block.branch.norm2), block.branch.conv2.weight, padding=1)
    torch.testing.assert_close(block(x), x + expected)


def test_a_norm_that_gives_its_very_input_leaves_the_shortcut_what_it_reads() -> None:
    options: dict[str, Any] = {"planes": 8, "norm": ref("none"), "act": ref("relu")}
    torch.manual_seed(0)
    block, x = part("block", "preactivation", **options)(8).double(), images(8)
    inner = F.conv2d(x.clamp(min=0), block.branch.conv1.weight, padding=1).clamp(min=0)
    expected = x + F.conv2d(inner, block.branch.conv2.weight, padding=1)
    torch.testing.assert_close(block(x), expected)


def test_the_default_shortcut_of_a_block_by_hand_is_that_of_the_builder() -> None:
    built = convzoo.create_model("wrn10_1", device="meta").stages[1][0]
    by_hand = Preactivation(16, planes=32, stride=2)
    assert type(by_hand.shortcut) is nn.Conv2d
    assert str(by_hand.shortcut) == str(built.shortcut)


def test_the_first_stage_of_width_1_has_an_identity_shortcut() -> None:
    narrow, wide = (convzoo.create_model(name, device="meta").stages[0][0].shortcut for name in ("wrn16_1", "wrn16_2"))
    assert isinstance(narrow, nn.Identity)
    assert isinstance(wide, nn.Conv2d)


@pytest.mark.parametrize("kernel_sizes", [(3, 3), (1, 3), (3, 1, 3), (3, 1, 1), (3,)])
def test_other_shapes_of_the_block_have_these_kernels(kernel_sizes: tuple[int, ...]) -> None:
    model = convzoo.create_model("wrn16_2", kernel_sizes=kernel_sizes, dropout=0.3)
    branch = model.stages[1][1].branch
    assert tuple(m.kernel_size[0] for m in branch if isinstance(m, nn.Conv2d)) == kernel_sizes
    assert sum(isinstance(m, nn.Dropout) for m in branch) == len(kernel_sizes) - 1
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_dropout_stands_between_the_second_activation_and_the_second_convolution() -> None:
    branch = convzoo.create_model("wrn28_10_dropout", device="meta").stages[0][0].branch
    assert list(dict(branch.named_children())) == ["conv1", "norm2", "act2", "dropout2", "conv2"]
    assert branch.dropout2.p == 0.3
    plain = convzoo.create_model("wrn28_10", device="meta").stages[0][0].branch
    assert not any(isinstance(m, nn.Dropout) for m in plain)


def test_neither_norm_nor_activation_follow_the_stem_and_both_end_the_last_stage() -> None:
    model = convzoo.create_model("wrn16_1", device="meta")
    assert isinstance(model.stem.norm, nn.Identity)
    assert isinstance(model.stem.act, nn.Identity)
    assert [type(m) for m in model.stages[2][-1]] == [nn.BatchNorm2d, nn.ReLU]
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in model.modules()) == 13


@pytest.mark.parametrize(("name", "layers", "channels"), [("wrn70_1", 11, 64), ("wrn10_3", 1, 192)])
def test_any_depth_and_width_that_the_rule_allows_is_a_model(name: str, layers: int, channels: int) -> None:
    assert convzoo.is_model(name)
    assert name not in convzoo.list_models()
    model = convzoo.create_model(name, device="meta")
    assert [len(stage) for stage in model.stages] == [layers, layers, layers + 1]
    assert model.num_features == channels
    assert convzoo.build(model.spec, device="meta").spec == model.spec


@pytest.mark.parametrize("name", ["wrn27_10", "wrn4_1", "wrn16_0"])
def test_another_depth_or_width_is_refused_with_the_rule(name: str) -> None:
    assert not convzoo.is_model(name)
    with pytest.raises(UnknownNameError, match=r"n = 6N \+ 4"):
        convzoo.create_model(name)


@pytest.mark.parametrize("options", [{"kernel_sizes": ()}, {"kernel_sizes": (2, 3)}, {"dropout": 1.0}, {"planes": 0}])
def test_impossible_values_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        convzoo.create_model("wrn16_1", device="meta", **options)
