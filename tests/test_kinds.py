"""What a kind is stands in one table, and whether an option is a slot is its annotation alone."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import pytest
import torch
from torch import nn

import convzoo
from convzoo import Component, Model, SpecError, Stage, create_model, ref
from convzoo.building.parts import read
from convzoo.layers import Maker, Position
from convzoo.plugins.host import registry
from convzoo.spec.kinds import KINDS, RESERVED, kind_fault

from .sites import parts_of, smallest_of_each_family, whole

SMALLEST = smallest_of_each_family()


def strings(hint: Any) -> set[str]:
    """The strings that an annotation allows by name."""
    if typing.get_origin(hint) is typing.Literal:
        return {choice for choice in typing.get_args(hint) if isinstance(choice, str)}
    return {name for argument in typing.get_args(hint) for name in strings(argument)}


def options_as_kinds() -> dict[str, set[str]]:
    """Every option of a first-party part whose name is free for a kind, and the strings that it may be set to."""
    found: dict[str, set[str]] = {}
    for component, owner in registry().components():
        part = read(component, owner)
        for option in set(part.options) - KINDS.keys() - RESERVED:
            words = strings(part.hints.get(option))
            found.setdefault(option, {"avg"}).update(word for word in words if word)
    return found


@pytest.fixture
def invented(mine: str) -> dict[str, set[str]]:
    """A kind for every such option, with a component for each such string."""
    kinds = options_as_kinds()
    convzoo.register(*(Component(kind, name, nn.Identity) for kind in kinds for name in kinds[kind]), plugin=mine)
    return kinds


def test_kinds_that_are_called_like_options_change_no_model(mine: str) -> None:
    names = convzoo.list_models()
    before = {name: whole(name) for name in names}
    kinds = options_as_kinds()
    convzoo.register(*(Component(kind, name, nn.Identity) for kind in kinds for name in kinds[kind]), plugin=mine)
    assert {"pool", "mode", "width", "stride_on", "global_pool", "order"} <= kinds.keys()
    assert [name for name in names if whole(name) != before[name]] == []
    for name in SMALLEST:
        model = create_model(name, device="meta")
        assert model.spec == before[name]
        assert sum(p.numel() for p in model.parameters()) == before[name].params


@pytest.mark.parametrize(
    ("name", "options", "option", "value"),
    [
        ("cbam_resnet18_cifar", {"stem": ref("conv", pool="max")}, "pool", "max"),
        ("resnet18", {"init": ref("kaiming", mode="fan_in")}, "mode", "fan_in"),
        ("resnet50", {"stride_on": "1x1"}, "stride_on", "1x1"),
        ("resnet50", {"global_pool": "catavgmax"}, "global_pool", "catavgmax"),
        ("resnet50", {"attention": ref("cbam", pools=("avg", "max"))}, "pools", ("avg", "max")),
        ("shakeshake20_2x16d", {"forward_mode": "even"}, "forward_mode", "even"),
    ],
)
def test_string_stays_a_string_where_a_kind_is_called_like_its_option(
    invented: dict[str, set[str]], name: str, options: dict[str, Any], option: str, value: Any
) -> None:
    assert option in invented
    spec = create_model(name, device="meta", **options).spec
    assert {part.options[option] for _, part in parts_of(spec) if option in part.options} == {value}


@pytest.mark.parametrize(
    "kind", ["", "Pool", "my-kind", "my kind", "3d", "_pool", "ä", "class", "lambda", "is", None, 3, "pool\n"]
)
def test_malformed_kind_is_refused_with_the_rule(kind: Any) -> None:
    with pytest.raises(SpecError, match=r"a component's kind cannot be .*lower-case letters, digits and '_'") as caught:
        Component(kind, "mine", nn.Identity)
    assert repr(kind) in str(caught.value)
    assert "'mine'" in str(caught.value)


@pytest.mark.parametrize(
    "kind",
    [
        *("num_classes", "in_chans", "output_stride", "drop_path_rate", "name", "stages", "input_size"),
        *("stride", "dilation", "first_dilation", "groups", "position", "channels", "in_channels", "out_channels"),
        *("features_only", "out_indices", "out_strides", "weights", "device", "dtype", "model", "ref", "per_stage"),
    ],
)
def test_kind_called_like_a_word_with_a_meaning_of_its_own_is_refused(kind: str) -> None:
    with pytest.raises(SpecError, match=f"kind cannot be '{kind}'.*{kind} means something else.*choose another name"):
        Component(kind, "mine", nn.Identity)


def test_every_known_kind_may_be_contributed() -> None:
    assert [Component(kind, "mine", nn.Identity).kind for kind in KINDS] == list(KINDS)


class Gated(nn.Module):
    """A block with a slot that the core has never heard of, and an option called like a kind that is none."""

    def __init__(
        self,
        in_channels: int,
        *,
        planes: int,
        stride: int = 1,
        gate: Maker | None = None,
        mode: str = "sum",
    ) -> None:
        super().__init__()
        self.out_channels, self.mode = planes, mode
        self.conv = nn.Conv2d(in_channels, planes, 3, stride, 1)
        self.gate = gate(planes) if gate else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gate(self.conv(x))


class Half(nn.Module):
    """A gate."""

    def __init__(self, channels: int, *, share: float = 0.5, position: Position | None = None) -> None:
        super().__init__()
        self.share, self.position = share, position

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.share


@pytest.fixture
def gated(mine: str) -> Model:
    """A network of two such blocks."""
    convzoo.register(
        Component("block", "gated", Gated),
        Component("gate", "half", Half),
        Component("gate", "my-half", Half),
        Component("mode", "sum", Half),
        plugin=mine,
    )
    return Model("gated", "gated", ref("cifar"), (Stage((ref("gated", planes=8),) * 2),))


@pytest.mark.parametrize("gate", ["half(share=0.25)", ref("half", share=0.25), "ref('my-half', share=0.25)"], ids=str)
def test_annotation_makes_an_option_a_slot_of_an_invented_kind(gated: Model, gate: Any) -> None:
    blocks: Any = create_model(gated, gate=gate).stages[0]
    assert [(block.gate.share, block.gate.position.layer) for block in blocks] == [(0.25, 0), (0.25, 1)]


def test_option_without_that_annotation_is_none_whatever_it_is_called(gated: Model) -> None:
    for model in (create_model(gated, mode="sum"), create_model(gated)):
        assert [block.mode for block in model.stages[0].children()] == ["sum", "sum"]
    with pytest.raises(convzoo.OptionError, match=r"mode=.*wants str there, not a component"):
        create_model(gated, mode=ref("sum"))


def test_slot_of_an_invented_kind_knows_its_components(gated: Model) -> None:
    with pytest.raises(convzoo.UnknownNameError, match=r"There is no gate 'halff'\. Did you mean 'half'"):
        create_model(gated, gate="halff")


def test_no_argument_of_create_model_can_be_a_kind() -> None:
    arguments = set(inspect.signature(convzoo.create_model).parameters) - {"options"}
    assert [name for name in arguments if not kind_fault(name, set())] == []
