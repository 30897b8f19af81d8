"""The norm and the activation of a model reach every layer that has one, and learn there."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import convzoo
from convzoo import Ref, ref
from convzoo.network.model import ConvNet
from convzoo.resnet.norms import InstanceNorm
from convzoo.testing.numerics import jitter_norms, load_images, silent_weights

from .combinations import VARIANTS, assert_it_learns, by_hand, count_of, layers_of, names, some, spec


class Operations(TorchDispatchMode):
    """The names of all operations within."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(func.__name__)
        return func(*args, **(kwargs or {}))


def operations(model: ConvNet) -> set[str]:
    with Operations() as recorded:
        model(torch.empty(2, 3, 64, 64, device="meta"))
    return recorded.seen


NORM_OPTIONS = {"group": {"groups": 1}}


def norm_type(name: str) -> type[nn.Module]:
    return type(by_hand("norm", name, 32))


@functools.cache
def of_batch_norms_and_relus(variant: str) -> tuple[int, int]:
    model = convzoo.create_model(variant, norm="batch", act="relu", device="meta")
    return count_of(model, nn.BatchNorm2d), count_of(model, nn.ReLU)


@pytest.mark.parametrize("norm", [name for name in names("norm") if name != "batch"])
@pytest.mark.parametrize("variant", some(VARIANTS))
def test_the_norm_reaches_every_layer_that_has_one(variant: str, norm: str) -> None:
    model = convzoo.create_model(variant, norm=ref(norm, **NORM_OPTIONS.get(norm, {})), device="meta")
    wanted = {norm_type(norm)} - {nn.Identity}
    if InstanceNorm in wanted:  # which a pooled vector cannot have
        wanted.add(nn.GroupNorm)
    others = {norm_type(name) for name in names("norm")} - {*wanted, nn.Identity}
    assert [name for name, m in model.named_modules() if type(m) in others] == []
    if wanted:
        assert sum(count_of(model, kind) for kind in wanted) == of_batch_norms_and_relus(variant)[0] > 0


@pytest.mark.parametrize("act", ["silu", "prelu"])
@pytest.mark.parametrize("variant", some(VARIANTS))
def test_the_activation_reaches_every_layer_that_has_one(variant: str, act: str) -> None:
    model = convzoo.create_model(variant, act=act, device="meta")
    assert count_of(model, nn.ReLU) == 0
    assert count_of(model, type(by_hand("act", act))) == of_batch_norms_and_relus(variant)[1] > 0


@pytest.mark.parametrize("act", names("act"))
def test_a_network_learns_with_any_activation(act: str) -> None:
    assert_it_learns(convzoo.create_model(spec("basic"), act=act, attention="se"))


@pytest.mark.parametrize("norm", names("norm"))
def test_a_network_learns_with_any_norm(norm: str) -> None:
    assert_it_learns(convzoo.create_model(spec("basic"), norm=norm, attention="se"))


def test_the_norm_and_activation_of_one_part_hold_within_it_and_nowhere_else() -> None:
    own = {"act": ref("silu"), "norm": ref("instance")}
    block = convzoo.create_model(spec("basic", conv=ref("plain"), attention=ref("se"), **own), device="meta")
    for each in layers_of(block):
        assert {type(m) for m in each.modules()} & {nn.ReLU, nn.BatchNorm2d} == set()
    assert type(block.stem.act) is nn.ReLU
    slot = convzoo.create_model(spec("basic", attention=ref("cbam", **own)), device="meta")
    for each in layers_of(slot):
        kinds = [type(m) for m in each.branch.attention.modules()]
        assert (kinds.count(nn.SiLU), kinds.count(InstanceNorm)) == (1, 1)
        assert (count_of(each, nn.BatchNorm2d) >= 2, count_of(each, nn.ReLU)) == (True, 2)


@pytest.mark.parametrize("variant", some(VARIANTS))
def test_no_layer_has_a_norm_or_activation_of_its_own_in_its_forward(variant: str) -> None:
    model = convzoo.create_model(variant, norm="none", act="silu", device="meta")
    assert [name for name in operations(model) if "relu" in name or "_norm" in name] == []
    usual = operations(convzoo.create_model(variant, device="meta"))
    assert any("relu" in name for name in usual)
    assert any("batch_norm" in name for name in usual)


@pytest.mark.parametrize("norm", ["group", "instance"])
@pytest.mark.parametrize("conv", names("conv"))
def test_a_conv_learns_from_one_image_with_a_norm_of_each_image(conv: str, norm: str) -> None:
    """A norm of a pooled vector must not take each number as a group of its own, which leaves nothing of it."""
    torch.manual_seed(0)
    model = convzoo.create_model(spec("basic", conv=ref(conv)), norm=norm)
    output = model(torch.randn(1, 3, 32, 32))
    output.square().sum().backward()
    assert output.isfinite().all()
    assert [name for name, p in model.named_parameters() if p.ndim > 1 and not p.grad.any()] == []


POOLING = [{"conv": ref("split_attention")}, {"conv": ref("selective_kernel")}, {"attention": ref("cbam", reduction=2)}]


@pytest.mark.parametrize("norm", ["group", "instance"])
@pytest.mark.parametrize("slot", POOLING, ids=lambda slot: str(*slot.values()))
def test_norms_by_sample_leave_something_of_pooled_features(slot: dict[str, Ref], norm: str) -> None:
    torch.manual_seed(0)
    model = convzoo.create_model(spec("basic", **slot), norm=norm)
    jitter_norms(model)
    images = load_images("random", 32)
    assert [key for key in silent_weights(model, images) if key.endswith(".weight")] == []
    assert model.train()(images).isfinite().all()
