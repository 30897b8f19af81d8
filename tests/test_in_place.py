"""No layer overwrites what another still reads, whatever the norm is, one that gives its very input included."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import convzoo
from convzoo import Component, create_model, ref
from convzoo.layers import out_of_place

from .sites import smallest_of_each_family

SMALLEST = smallest_of_each_family()
PREACTIVATED = ["wrn16_1", "densenet40_k12_bc", "condensenet50_cifar", "shakeshake20_2x16d"]
"""Families whose blocks have a norm before the first convolution, or hand on what they are given."""

OWN = ["resnest14d", "skresnet18"]
"""Of the larger ones, those with a convolution of their own; the others differ from the small ones in widths alone."""


class Passing(nn.Module):
    """A norm that does nothing until it is told to, and so gives its very input."""

    def __init__(self, channels: int, *, on: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.on = on

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight[:, None, None] if self.on else x


def assert_nothing_is_overwritten(model: nn.Module, training: bool) -> None:
    """Outputs and gradients are those of a copy in which nothing works in place."""
    model.train(training)
    results = []
    for network in (out_of_place(copy.deepcopy(model)), model):
        torch.manual_seed(1)
        images = torch.randn(2, 3, 32, 32)
        kept = images.clone()
        output = network(images)
        assert torch.equal(images, kept)
        # Without norms values grow, layer by layer; the gradients of a scaled loss do not.
        (output / output.detach().abs().max()).square().sum().backward()
        results.append((output.detach(), [p.grad for p in network.parameters() if p.grad is not None]))
    (wanted, gradients), (output, given) = results
    assert wanted.isfinite().all()
    assert wanted.std() > 0
    assert torch.equal(output, wanted)
    assert len(given) == len(gradients) > 0
    assert all(torch.equal(one, other) for one, other in zip(given, gradients, strict=True))


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[] if convzoo.model_info(name).spec.params < 6e6 or name in OWN else [pytest.mark.large]
        )
        for name in SMALLEST
    ],
)
def test_without_norms_nothing_is_overwritten(name: str, training: bool) -> None:
    torch.manual_seed(0)
    assert_nothing_is_overwritten(create_model(name, norm="none", num_classes=5), training)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", PREACTIVATED)
def test_with_a_third_partys_norm_that_gives_its_input_nothing_is_overwritten(
    mine: str, name: str, training: bool
) -> None:
    convzoo.register(Component("norm", "passing", Passing), plugin=mine)
    torch.manual_seed(0)
    assert_nothing_is_overwritten(create_model(name, norm="passing", num_classes=5), training)


@pytest.mark.parametrize("name", ["wrn16_1", "condensenet50_cifar"])
def test_norm_that_only_one_layer_has_is_seen_too(name: str) -> None:
    spec = create_model(name, device="meta", num_classes=5).spec
    first, *others = spec.stages
    stage = type(first)((first.layers[0].with_options(norm=ref("none")), *first.layers[1:]), first.stride)
    torch.manual_seed(0)
    assert_nothing_is_overwritten(convzoo.build(spec.derived(stages=(stage, *others))), training=False)


def test_activations_behind_norms_that_make_new_tensors_stay_in_place() -> None:
    def in_place(**options: Any) -> set[bool]:
        model = create_model("wrn16_1", device="meta", **options)
        return {m.inplace for m in model.modules() if isinstance(m, nn.ReLU)}

    assert in_place() == in_place(norm=ref("group", groups=4)) == {True}
    assert in_place(norm="none") == {False}
