"""Graphs of whoever: rewritten they give the same, and nothing that others still read is overwritten."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convzoo import deploy
from convzoo.deploying.convolution import FusedConv2d
from convzoo.deploying.deploy import deployed_by
from convzoo.deploying.rewrites import REWRITES
from convzoo.testing.numerics import jitter_norms

from .deployed import BOUNDS, LAST, assert_same, images, off


class Plain(nn.Module):
    """A function of its layers and its input."""

    def __init__(self, run: Callable[[Any, torch.Tensor], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: torch.Tensor) -> Any:
        return self.run(self, x)


def conv() -> nn.Conv2d:
    return nn.Conv2d(8, 8, 3, padding=1)


def norm() -> nn.BatchNorm2d:
    return nn.BatchNorm2d(8)


def view_before_product(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    part = y[:, :4]
    return torch.cat([y * 2, part], 1)


def read_later(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    z = y * 3
    return z + y


def read_by_itself(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    return y * y + (y + y)


def input_is_kept(m: Any, x: torch.Tensor) -> torch.Tensor:
    return F.relu(x * 2 + m.n(m.a(x))) + x


def broadcast(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.a(x).mean((2, 3), keepdim=True) * m.b(x) + m.a2(x).amax((2, 3), keepdim=True)


def sum_of_two(m: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.relu(m.n(m.a(x)) + m.n2(m.b(x)))


def broadcast_sum(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.a(x) + m.b(x).mean((2, 3), keepdim=True)


def norm_read_elsewhere(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.n(m.a(x)) * m.n.weight.view(-1, 1, 1)


def conv_twice(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.n(m.a(m.a(x)))


def conv_read_twice(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    return m.n(y) - y


def several_outputs(m: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    y = m.n(m.a(x))
    return y.add(1), y


def chunks(m: Any, x: torch.Tensor) -> torch.Tensor:
    first, second = m.a(x).chunk(2, 1)[0], m.a2(x).chunk(2, 1)[1]
    return first * second + second * 2


def gate(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.n(m.a(x))
    return F.relu(y * y.mean((2, 3), keepdim=True).sigmoid() + x)


def scalar_sums(m: Any, x: torch.Tensor) -> torch.Tensor:
    return 1 + m.a(x) * 2.5 + 3


def inplace_methods(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    y += m.b(x)
    return y.mul_(2).relu_()


def expanded(m: Any, x: torch.Tensor) -> torch.Tensor:
    return (m.a(x).sum(1, keepdim=True).expand_as(x) + x) * 2


def sum_with_its_own_input(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    return m.b(y) + y


def sum_after_its_input_was_summed_into(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    first = m.b(y)
    second = m.a2(x) + y
    return first + second


def convolved_before_it_is_overwritten(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    first = m.b(y)
    return first + F.relu_(y)


def multiplied_before_it_is_overwritten(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    first = y * m.b(x)
    return first + F.relu_(y)


def multiplied_twice(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    first, second = y * x, y * 2
    return first + second


def changed_and_not_read_as_a_result(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.n(m.a(x))
    y.relu_()
    F.relu(y, inplace=True)
    y.add_(x)
    return y


def changed_by_a_module(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.n(m.a(x))
    m.r(y)
    return y + x


def changed_in_part(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.n(m.a(x))
    y[:, :4].mul_(2)
    y[:, 4:] = 1
    return y * 2 + x


def changed_under_another_name(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.n(m.a(x))
    z = y.add_(1)
    w = y * 3
    return w + z


def read_by_two_sums(m: Any, x: torch.Tensor) -> torch.Tensor:
    y, z = m.a(x), m.b(x)
    return (y + z) * (m.a2(x) + z)


RUNS = (
    *(view_before_product, read_later, read_by_itself, input_is_kept, broadcast, sum_of_two, broadcast_sum),
    *(norm_read_elsewhere, conv_twice, conv_read_twice, several_outputs, chunks, gate, scalar_sums),
    *(inplace_methods, expanded, sum_with_its_own_input, sum_after_its_input_was_summed_into, multiplied_twice),
    *(convolved_before_it_is_overwritten, multiplied_before_it_is_overwritten, changed_and_not_read_as_a_result),
    *(changed_by_a_module, changed_in_part, changed_under_another_name, read_by_two_sums),
)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_any_graph_gives_the_same_and_its_input_stays_as_it_is(run: Callable[[Any, torch.Tensor], Any]) -> None:
    torch.manual_seed(0)
    net = Plain(run, a=conv(), b=conv(), a2=conv(), n=norm(), n2=norm(), r=nn.ReLU(inplace=True))
    jitter_norms(net)
    deployed, x = deploy(net.eval()), images(6, 8)
    for dtype, layout in itertools.product(BOUNDS, (torch.contiguous_format, LAST)):
        given = x.to(dtype).to(memory_format=layout)
        with torch.no_grad():
            expected = copy.deepcopy(net).double()(x.double())
            kept = given.clone()
            found = copy.deepcopy(deployed).to(dtype)(given)
        if not isinstance(found, tuple):
            found, expected = (found,), (expected,)
        bound = BOUNDS[torch.float32]  # folded in float32
        assert all(off(one, other) <= bound for one, other in zip(found, expected, strict=True))
        assert torch.equal(given, kept)


class Opaque(nn.Module):
    """What torch.fx cannot trace."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum() > math.inf else x + 1


def test_a_part_without_a_graph_is_called_whole_and_the_rest_is_rewritten() -> None:
    net = nn.Sequential(conv(), norm(), Opaque(), conv(), nn.ReLU()).eval()
    deployed, counts = deployed_by(net, REWRITES)
    assert (counts["fold norms into convolutions"], counts["activate in convolutions"]) == (1, 1)
    assert_same(deployed, net, images(6, 8))
    alone = deploy(nn.ModuleDict({"a": nn.Sequential(conv(), norm())}).eval())  # has no forward at all
    assert [type(module) for module in alone["a"].children()] == [FusedConv2d]


def test_convolutions_with_hooks_other_paddings_and_weights_of_their_own_stay() -> None:
    hooked = nn.Sequential(conv(), norm()).eval()
    seen: list[int] = []
    hooked[0].register_forward_hook(lambda *given: seen.append(1))
    reflected = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), norm()).eval()
    named = nn.Sequential(nn.Conv2d(8, 8, 3, padding="same"), norm()).eval()
    weighted = nn.Sequential(nn.utils.parametrizations.weight_norm(conv()), norm()).eval()
    for net in (hooked, reflected, named, weighted):
        assert_same(deploy(net), net, images(6, 8))
    assert seen


def test_a_module_with_hooks_is_called_as_it_is_and_its_hooks_run() -> None:
    seen: list[torch.Size] = []
    net = nn.Sequential(nn.Sequential(conv(), norm()), nn.Sequential(conv(), norm())).eval()
    net[0].register_forward_hook(lambda module, given, out: seen.append(out.shape))
    whole = nn.Sequential(conv(), norm()).eval()
    whole.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape))
    for each in (net, whole):
        deployed = deploy(each)
        seen.clear()
        with torch.no_grad():
            deployed(images(6, 8))
        assert seen == [(2, 8, 6, 6)]
        assert_same(deployed, each, images(6, 8))
