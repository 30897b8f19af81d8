"""Stochastic depth drops whole branches of single samples, more of them the deeper they stand."""

from __future__ import annotations

import pytest
import torch

import convzoo
from convzoo.layers import DropPath
from convzoo.network.model import ConvNet
from convzoo.resnet.blocks import ResidualBlock
from convzoo.testing.numerics import jitter_norms

from .combinations import blocks_with, layer, layers_of, on_meta, part, spec

WITH_DROP_PATH = blocks_with("drop_path_rate")
RESIDUAL = [name for name in WITH_DROP_PATH if issubclass(part("block", name).target, ResidualBlock)]


def drop_rates(model: ConvNet) -> list[float]:
    return [sum(m.rate for m in layer.modules() if isinstance(m, DropPath)) for layer in layers_of(model)]


def lone_block(block: str, rate: float, *, channels: int = 16, stride: int = 2) -> ResidualBlock:
    """A block out of the builder, with norms that do something."""
    torch.manual_seed(0)
    made = convzoo.part("block", block, **layer(block).options)(channels, stride=stride, drop_path_rate=rate)
    jitter_norms(made)
    return made.train()


@pytest.mark.parametrize("block", WITH_DROP_PATH)
def test_drop_path_grows_linearly_from_0_with_depth(block: str) -> None:
    model = convzoo.create_model(spec(block, depth=3), drop_path_rate=0.4, device="meta")
    assert drop_rates(model) == pytest.approx([0.05 * index for index in range(9)])


@pytest.mark.parametrize("variant", ["resnet18", "resnet50", "resnest50", "resnest18", "sknet50", "seresnet20"])
def test_drop_path_reaches_every_layer_but_the_first_of_a_variant(variant: str) -> None:
    rates = drop_rates(on_meta(variant, drop_path_rate=0.2))
    assert rates == pytest.approx([0.2 * index / (len(rates) - 1) for index in range(len(rates))])


@pytest.mark.parametrize("block", WITH_DROP_PATH)
def test_drop_path_changes_nothing_in_eval(block: str) -> None:
    dropping = convzoo.create_model(spec(block), drop_path_rate=0.9)
    jitter_norms(dropping)
    plain = convzoo.build(spec(block))
    plain.load_state_dict(dropping.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(dropping.eval()(x), plain.eval()(x))
    assert not torch.equal(dropping.train()(x), plain.train()(x))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("block", RESIDUAL)
def test_drop_path_drops_the_whole_branch_of_a_sample_or_scales_it_up(block: str, stride: int) -> None:
    out_channels = lone_block(block, 0.0).out_channels
    # The stride 1 with as many channels as come out is the identity block.
    made = lone_block(block, 0.5, channels=16 if stride == 2 else out_channels, stride=stride)
    x = torch.randn(32, 16 if stride == 2 else out_channels, 8, 8)
    branch = x
    for module in made.branch:
        branch = branch if isinstance(module, DropPath) else module(branch)
    shortcut = made.shortcut(x)
    output = made(x)
    dropped = (output - made.act(shortcut.clone())).flatten(1).abs().amax(1) < 1e-5
    kept = (output - made.act(shortcut + branch / 0.5)).flatten(1).abs().amax(1) < 1e-4
    assert (dropped ^ kept).all()
    assert 4 < dropped.sum() < 28


@pytest.mark.parametrize("block", RESIDUAL)
def test_with_a_rate_close_to_1_only_the_shortcut_is_left(block: str) -> None:
    made = lone_block(block, 1 - 1e-9)
    x = torch.randn(4, 16, 8, 8)
    assert torch.equal(made(x), made.act(made.shortcut(x)))


def test_drop_path_keeps_the_mean_and_draws_once_for_each_sample() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.3).train()
    output = drop(torch.ones(20_000, 2, 2, 2))
    per_sample = output.flatten(1)
    assert torch.equal(per_sample.amin(1), per_sample.amax(1))
    assert per_sample.unique().tolist() == pytest.approx([0, 1 / 0.7])
    # The standard error is sqrt(0.3 / 0.7 / 20000) = 0.0046.
    assert abs(output.mean().item() - 1) < 0.02
    assert torch.equal(drop.eval()(output), output)
