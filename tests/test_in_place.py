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


# The sum of a residual block


def block(**options: Any) -> Any:
    return create_model("resnet20", **options).stages[0][1].eval()


def places_of_sums(layer: Any) -> tuple[int, int]:
    """Where the block's output lies in inference, and where its norm's was."""
    norms: list[int] = []
    forward = layer.branch.norm2.forward

    def noted(x: torch.Tensor) -> torch.Tensor:
        out = forward(x)
        norms.append(out.data_ptr())
        return out

    layer.branch.norm2.forward = noted
    with torch.no_grad():
        return layer(torch.randn(2, 16, 8, 8)).data_ptr(), norms[0]


def test_a_sum_in_inference_takes_no_memory_of_its_own() -> None:
    output, norm = places_of_sums(block())
    assert output == norm


@pytest.mark.parametrize("which", ["branch", "branch.norm2"])
def test_a_hook_sees_what_a_layer_gave_and_not_the_sum(which: str) -> None:
    layer, seen = block(), {}
    layer.act = nn.Identity()
    layer.get_submodule(which).register_forward_hook(lambda module, given, out: seen.update(out=out))
    with torch.no_grad():
        images = torch.randn(2, 16, 8, 8)
        total = layer(images)
    assert torch.equal(seen["out"] + images, total)


@pytest.mark.parametrize("options", [{"norm": "none"}, {"attention": "se"}, {"drop_path_rate": 0.1}])
def test_a_sum_does_not_overwrite_what_others_may_have(options: dict[str, Any]) -> None:
    layer, (given, out) = block(**options), (torch.randn(2, 16, 8, 8), torch.randn(2, 16, 8, 8))
    kept = out.clone()
    last = list(layer.branch)[-1]
    last.forward = lambda x: out
    with torch.no_grad():
        layer(given)
    assert torch.equal(out, kept)


def test_a_block_that_was_cut_to_its_shortcut_does_not_overwrite_its_input() -> None:
    for branch in (nn.Identity(), nn.Sequential()):
        layer, images = block(), torch.randn(2, 16, 8, 8)
        layer.branch = branch
        kept = images.clone()
        with torch.no_grad():
            layer(images)
        assert torch.equal(images, kept)


def test_a_sum_in_inference_is_as_precise_as_in_training() -> None:
    layer = block()
    layer.branch.norm2.forward = lambda x: x.bfloat16()
    images = torch.randn(2, 16, 8, 8)
    with torch.no_grad():
        output = layer(images)
    assert output.dtype == torch.float32
    assert torch.equal(output, layer(images))


def test_tracing_in_inference_gives_a_graph_that_overwrites_no_sum() -> None:
    with torch.no_grad():
        graph = torch.fx.symbolic_trace(create_model("resnet20").eval())
    assert "iadd" not in {getattr(node.target, "__name__", "") for node in graph.graph.nodes}


def test_gradients_of_the_last_norm_can_be_looked_at() -> None:
    layer, seen = block().train(), []
    layer.branch.norm2.register_full_backward_hook(lambda module, given, out: seen.append(out[0].shape))
    layer(torch.randn(2, 16, 8, 8, requires_grad=True)).sum().backward()
    assert seen == [(2, 16, 8, 8)]
