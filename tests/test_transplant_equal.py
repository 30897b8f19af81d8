"""A transplant is equal only where everything was seen to matter, and nothing to differ on the way."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convzoo.testing import transplant

from .nets import IMAGES, Net, Run, conv, first, not_equal, pair, refused

pytestmark = pytest.mark.usefixtures("same_weights")

# What an example does not examine


def test_what_no_output_depends_on_is_idle_and_the_two_are_not_equal() -> None:
    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        return net.layers[0](x) + net.layers[1](torch.relu(net.layers[2](x) - 1e6))

    result = not_equal(*pair(run, conv, conv, conv))
    assert (result.largest_difference, result.divergence, result.unused_model) == (0, None, ())
    assert result.idle_reference == result.idle_model == ("layers.1.weight", "layers.2.weight", "layers.2.bias")
    assert "idle in the model, 3: layers.1.weight, layers.2.weight, layers.2.bias" in str(result)


def test_what_is_idle_in_one_network_only_is_found_there() -> None:
    """Each runs two layers, but the outputs of only one depend on both."""

    def run(net: Net, x: torch.Tensor, keep: float = 1.0) -> torch.Tensor:
        return net.layers[0](x) + net.layers[1](x.relu() * 0) * keep

    model = Net(lambda net, x: run(net, x, 0.0), conv(), conv(bias=False))
    result = not_equal(Net(run, conv(), conv(bias=False)), model)
    assert result.idle_model == ("layers.1.weight",)


def test_each_place_of_a_window_must_have_seen_more_than_padding() -> None:
    reference = Net(first, conv())
    model = Net(first, nn.Conv2d(4, 4, 3, padding=2, dilation=2))
    result = not_equal(reference, model, torch.randn(2, 4, 1, 1))
    assert (result.largest_difference, result.idle_model) == (0, ("layers.0.weight",))
    assert not_equal(reference, model).largest_difference > 0.01
    # The last dimensions of a kernel that is kept in another order are no window: here a channel shows in no output.
    theirs = Net(lambda net, x: F.conv2d(x, net.w.permute(3, 2, 0, 1))[:, 1:], w=nn.Parameter(torch.randn(3, 3, 4, 8)))
    model = Net(lambda net, x: net.layers[0](x)[:, 1:], nn.Conv2d(4, 8, 3, bias=False))
    assert transplant(theirs, model, IMAGES, adapt=lambda t: {"layers.0.weight": t["w"].permute(3, 2, 0, 1)}).equal


@pytest.mark.parametrize(
    ("run", "state"),
    [
        (lambda net, x: F.conv2d(x, net.layers[0].weight.sign(), net.layers[0].bias), None),
        (lambda net, x: net.layers[0](x).flatten(1).argmax(1), None),
        (lambda net, x: net.layers[0](x)[:, net.state], lambda: torch.zeros(4, dtype=torch.long)),
        (lambda net, x: net.layers[0](x)[:, net.state], lambda: torch.randperm(4)),
        (lambda net, x: net.layers[0](x) * net.state, lambda: torch.ones(4, 1, 1, dtype=torch.bool)),
        (
            lambda net, x: (net.layers[0](x) * 2 + net.state).softmax(1),
            lambda: torch.tensor([0.0] * 3 + [-torch.inf]).view(4, 1, 1),
        ),
        (lambda net, x: torch.fft.fft2(net.layers[0](x)) * net.state, lambda: torch.randn(4, 1, 1, dtype=torch.cfloat)),
        (lambda net, x: (net.layers[0](x), net.state.item()), lambda: torch.tensor(3)),
    ],
)
def test_what_has_no_gradient_is_changed_to_see_whether_it_matters(
    run: Run, state: Callable[[], torch.Tensor] | None
) -> None:
    reference, model = pair(run, lambda: conv(kernel=1), **({"state": state} if state else {}))
    result = transplant(reference, model, IMAGES, pairs={"state": "state"} if state else {})
    assert result.equal, result
    if state:
        assert torch.equal(model.state, reference.state)  # type: ignore[arg-type]
        result = not_equal(
            *pair(lambda net, x: net.layers[0](x), lambda: conv(kernel=1), state=state), pairs={"state": "state"}
        )
        assert result.idle_model == ("state",)


def test_running_statistics_matter_by_their_gradient_and_not_each_by_a_run_of_its_own() -> None:
    runs: list[int] = []

    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        runs.append(1)
        for layer in net.layers:
            x = layer(x)
        return x

    def called(net: Net, x: torch.Tensor) -> torch.Tensor:
        """The norm has no gradient by its statistics; the others have one all the same."""
        x, norm = run(net, x), net.layers[1]
        return torch.batch_norm(
            x,
            norm.weight,
            norm.bias,
            norm.running_mean,
            norm.running_var,
            False,
            0.1,
            1e-5,
            False,  # type: ignore[arg-type]
        )

    norms = [nn.BatchNorm2d, lambda n: nn.InstanceNorm2d(n, track_running_stats=True)] * 2
    layers = [layer for norm in norms for layer in (conv, lambda norm=norm: norm(4), nn.ReLU)]
    assert transplant(*pair(run, *layers), IMAGES).equal
    assert len(runs) < 12
    del runs[:]
    result = not_equal(*pair(lambda net, x: run(net, x) * 0 + x, *layers))
    assert len(result.idle_model) == 2 * (2 + 4 + 2 + 2)
    del runs[:]
    assert transplant(*pair(called, conv, lambda: nn.BatchNorm2d(4), conv, conv), IMAGES).equal
    assert len(runs) < 20


def test_indices_are_changed_within_their_range_first() -> None:
    seen: list[int] = []

    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        seen.append(int(net.index.max()))  # type: ignore[operator, arg-type, union-attr]
        return net.layers[0](x)[:, net.index]

    assert transplant(*pair(run, conv, index=lambda: torch.tensor([0, 2, 1, 3])), IMAGES).equal
    assert set(seen) == {3}


def test_the_first_of_many_plain_layers_still_matters() -> None:
    """With the statistics of a fresh network the signal of 20 layers would be lost in their shifts."""

    def layers() -> list[nn.Module]:
        return [layer for _ in range(20) for layer in (conv(bias=False), nn.BatchNorm2d(4), nn.ReLU())]

    model = nn.Sequential(*layers())
    assert transplant(nn.Sequential(*layers()), model, IMAGES).equal
    assert torch.equal(model[1].running_mean, torch.zeros(4))


def test_scripted_networks_are_examined_too() -> None:
    reference, model = (nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU(), conv()) for _ in range(2))
    for theirs in (torch.jit.script(reference), torch.jit.trace(reference.eval(), IMAGES)):
        nn.init.zeros_(model[3].weight)
        assert transplant(theirs, model, IMAGES).equal
        assert torch.equal(model[3].weight, reference[3].weight)


# What else two outputs that agree may hide


def test_a_difference_on_the_way_is_one_though_the_outputs_agree() -> None:
    reference = Net(lambda net, x: net.layers[0](2 * x), conv(bias=False))
    result = not_equal(reference, Net(lambda net, x: 2 * net.layers[0](x), conv(bias=False)))
    assert result.largest_relative < 1e-12
    assert (result.idle_model, result.unused_model) == ((), ())
    assert "first difference: the input of conv2d with layers.0.weight" in str(result)


def test_infinities_on_the_way_are_equal_but_not_in_the_end() -> None:
    reference, model = pair(lambda net, x: (1 / (net.layers[0](x).relu() * 0) + net.layers[0](x)).clamp(max=1), conv)
    assert transplant(reference, model, IMAGES).divergence is None
    for bad in (float("nan"), float("inf")):
        result = not_equal(*pair(lambda net, x, bad=bad: net.layers[0](x) * bad, conv))
        assert "not finite" in str(result)
        assert result.random == ()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (lambda y: torch.complex(y, y), lambda y: torch.complex(y, 2 * y)),
        (lambda y: (y * 1e6).long() + 10**12, lambda y: (y * 1e6).long() + 10**12 + 1),
        (lambda y: y > 0, lambda y: y >= -0.1),
        (lambda y: {"y": y, "loss": 1.0}, lambda y: {"y": y, "loss": 1.1}),
        (lambda y: y[:0], lambda y: y[:0]),
        (lambda y: (y, y.mean().item()), lambda y: (y, y.mean().item() * 2)),
    ],
)
def test_outputs_of_every_kind_are_compared(theirs: Callable[..., Any], ours: Callable[..., Any]) -> None:
    reference, model = (Net(lambda net, x, of=of: of(net.layers[0](x)), conv()) for of in (theirs, ours))
    not_equal(reference, model)


@pytest.mark.parametrize("change", [lambda y: y.sum(1, keepdim=True), lambda y: y.long(), lambda y: (y, 1.0), str])
def test_outputs_of_other_shapes_or_kinds_are_refused(change: Callable[..., Any]) -> None:
    model = Net(lambda net, x: change(net.layers[0](x)), conv())
    assert "the outputs cannot be compared" in refused(Net(first, conv()), model)


GENERATOR = torch.Generator()


@pytest.mark.parametrize(
    "draw",
    [
        lambda y: F.dropout(y),
        lambda y: y + 0 * torch.rand(()),
        lambda y: y * (1 + random.random()),
        lambda y: y * (1 + numpy.random.rand()),
        lambda y: y * (1 + torch.rand((), generator=GENERATOR)),
    ],
)
def test_what_is_random_in_eval_mode_is_never_equal(draw: Callable[[torch.Tensor], torch.Tensor]) -> None:
    result = not_equal(*pair(lambda net, x: draw(net.layers[0](x)), conv))
    assert result.random == ("the reference", "the model")
    assert "the model draws random numbers in eval mode" in str(result)


def test_what_changes_with_every_run_is_not_equal() -> None:
    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        net.count.add_(1)  # type: ignore[operator, union-attr]
        return net.layers[0](x) * net.count

    assert not_equal(*pair(run, conv, count=lambda: torch.zeros(1))).random == ("the reference", "the model")


def test_weights_that_are_computed_once_and_kept_follow_the_weights_that_they_come_from() -> None:
    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        if "kept" not in vars(net):
            net.kept = net.layers[0].weight * 2
        return F.conv2d(x, net.kept, net.layers[0].bias, padding=1)  # type: ignore[arg-type]

    reference, model = pair(run, conv)
    assert transplant(reference, model, IMAGES).equal
    assert "kept" not in vars(reference)
