"""A network is checked once and assembled once: each part is constructed once, and each tensor stays the part's own."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

import convzoo
from convzoo import Component, Model, OptionError, Stage, create_model, ref
from convzoo.building import parts
from convzoo.building.builder import build
from convzoo.layers import Maker, Position, conv2d
from convzoo.plugins.host import registry

from .allocations import Allocations, refused
from .sites import whole


class Counted(nn.Module):
    """A block that counts its constructions, by its place in the network, and may refuse to stand at one."""

    made: ClassVar[Counter[int]] = Counter()

    def __init__(
        self,
        in_channels: int,
        *,
        planes: int,
        stride: int = 1,
        refuses: int = -1,
        position: Position | None = None,
        conv: Maker = convzoo.part("conv", "plain"),
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
    ) -> None:
        super().__init__()
        index = position.index if position else -1
        self.made[index] += 1
        self.out_channels = planes
        self.conv = conv(in_channels, planes, stride=stride, norm=norm, act=act)
        if index == refuses:
            raise OptionError(f"refuses={refuses}: this one will not have it")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


@pytest.fixture
def counted(mine: str) -> Model:
    """Seven such blocks in three stages."""
    convzoo.register(Component("block", "counted", Counted), plugin=mine)
    Counted.made.clear()
    layer = ref("counted", planes=8)
    stages = (Stage((layer,) * 3), Stage((layer,) * 2, stride=2), Stage((layer,) * 2, stride=2))
    return Model("counted", "own", ref("cifar"), stages, num_classes=3)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("options", [{}, {"attention": None, "features_only": True}, {"act": "silu", "planes": 16}])
def test_each_layer_is_constructed_once(counted: Model, options: dict[str, Any], device: str) -> None:
    options.pop("attention", None)
    create_model(counted, device=device, **options)
    assert Counted.made == Counter(range(7))


def test_what_was_composed_is_not_checked_again_when_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    value = parts.Part.value

    def counting(self: Any, name: str, *arguments: Any) -> Any:
        checked.append(f"{self} {name}")
        return value(self, name, *arguments)

    monkeypatch.setattr(parts.Part, "value", counting)
    spec = whole("seresnet50", attention=ref("se", reduction=8), num_classes=7)
    composing = len(checked)
    build(spec, registry(), device="meta")
    assert len(checked) == composing > 0
    # Layers that are alike are checked together: there are 4 stages of 4 options at most, each with a first layer.
    assert composing < 60


@pytest.mark.parametrize("refuses", [0, 3, 6])
def test_error_in_any_layer_comes_before_any_weight_is_allocated(counted: Model, refuses: int) -> None:
    message = refused(lambda: create_model(counted, refuses=refuses))
    assert f"refuses={refuses}: this one will not have it" in message
    assert Counted.made == Counter(range(refuses + 1))


def test_error_in_the_head_comes_before_any_weight_is_allocated(counted: Model) -> None:
    assert "global_pool" in refused(lambda: create_model(counted, global_pool=""))
    with Allocations() as recorded:
        create_model(counted)
    assert recorded.seen != []


class Tied(nn.Module):
    """A block whose two convolutions share a weight, with a list that holds one and a buffer that stands twice."""

    def __init__(self, in_channels: int, *, planes: int) -> None:
        super().__init__()
        self.out_channels = planes
        self.first = conv2d(in_channels, planes, 3)
        self.second = conv2d(planes, planes, 3)
        self.third = conv2d(planes, planes, 3)
        self.third.weight = self.second.weight
        self.kept = [self.first.weight, self.second.weight]
        self.own = nn.Parameter(torch.empty(planes))
        self.others = {"own": self.own}
        self.register_buffer("seen", torch.zeros(planes))
        self.inner = nn.Module()
        self.inner.register_buffer("seen", self.get_buffer("seen"))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.own, 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.third(self.second(self.first(x))) * self.own[:, None, None]


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("dtype", [None, torch.float64])
@pytest.mark.parametrize("init", ["default", "kaiming"])
def test_tensors_that_a_part_shares_or_holds_stay_the_models_own(
    mine: str, device: str, dtype: torch.dtype | None, init: str
) -> None:
    convzoo.register(Component("block", "tied", Tied), plugin=mine)
    model = create_model(
        Model("tied", "own", ref("cifar"), (Stage((ref("tied", planes=8),)),), init=ref(init)),
        device=device,
        dtype=dtype,
    )
    block: Any = model.stages[0][0]
    assert block.third.weight is block.second.weight
    assert block.kept[0] is block.first.weight
    assert block.kept[1] is block.second.weight
    assert block.others["own"] is block.own
    assert {id(p) for p in model.parameters()} >= {id(p) for p in (*block.kept, block.own)}
    assert isinstance(block.kept[0], nn.Parameter)
    if device == "cpu":
        assert block.own.tolist() == [0.5] * 8
        assert block.kept[1].std() > 0
        if dtype is None:
            assert block.inner.seen is block.seen


def test_parameter_that_a_part_holds_is_trained_with_the_model(mine: str) -> None:
    convzoo.register(Component("block", "tied", Tied), plugin=mine)
    model = create_model(Model("tied", "own", ref("cifar"), (Stage((ref("tied", planes=8),)),), num_classes=3))
    block: Any = model.stages[0][0]
    before = block.kept[1].detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1)
    model(torch.randn(4, 3, 8, 8)).logsumexp(1).sum().backward()
    optimizer.step()
    assert not torch.equal(block.kept[1], before)
    assert torch.equal(block.kept[1], model.state_dict()["stages.0.0.third.weight"])
