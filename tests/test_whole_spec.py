"""A spec is the whole network: it names every part, and naming again what is there changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

import convzoo
from convzoo import Component, Model, Ref, Stage, create_model, per_stage, ref
from convzoo.layers import ConvNormAct, Maker, conv2d

from .sites import parts_of, smallest_of_each_family, whole

SMALLEST = smallest_of_each_family()
SHARED = ("norm", "act")
each_family = pytest.mark.parametrize("name", SMALLEST)


@each_family
def test_spec_names_the_part_in_every_slot(name: str) -> None:
    spec = create_model(name, device="meta").spec
    for part, named in parts_of(spec):
        for slot in part.slots:
            default = part.signature.parameters[slot].default
            value = named.options.get(slot)
            # Without its own, a part has the model's norm and act.
            assert isinstance(value, Ref) or (value is None and (default is None or slot in SHARED)), (named, slot)


def test_parts_of_parts_are_named_with_their_own() -> None:
    [layer] = whole("resnet20", attention="cbam").stages[0].layers[:1]
    assert layer.options["conv"] == ref("plain")
    assert layer.options["attention"] == ref("cbam")
    spec = whole("resnet20", shortcut="conv", act="prelu")
    assert {part.component.name for part, _ in parts_of(spec)} >= {"cifar", "basic", "plain", "conv", "prelu", "batch"}


@each_family
def test_spec_keeps_the_claims_of_the_variant(name: str) -> None:
    info, spec = convzoo.model_info(name).spec, create_model(name, device="meta").spec
    assert (spec.params, spec.macs, spec.references, spec.aliases) == (
        info.params,
        info.macs,
        info.references,
        info.aliases,
    )
    assert spec.params is not None


def slots_of_layers(spec: Model) -> dict[str, set[Ref | None]]:
    """What the layers of a network have in each of their slots, norms and activations aside."""
    found: dict[str, set[Ref | None]] = {}
    for part, named in parts_of(spec):
        if part.component.kind == "block":
            for slot in set(part.slots) - set(SHARED):
                found.setdefault(slot, set()).add(named.options.get(slot))
    return found


@each_family
def test_naming_what_is_in_a_slot_changes_nothing(name: str) -> None:
    spec = whole(name)
    slots = slots_of_layers(spec)
    again: list[dict[str, Any]] = []
    for slot, values in slots.items():
        if len(values) == 1:
            [value] = values
            again.append({slot: value})
            again.append({slot: per_stage(*[value] * len(spec.stages))})
            if value is not None:
                again += [{slot: value.name}, {slot: ref(value.name)}, {slot: str(value)}]
    for part in ("stem", "head", "norm", "act", "init"):
        value = getattr(spec, part)
        again += [{part: value}, {part: value.name}, {part: str(value)}]
    again += [{"num_classes": spec.num_classes, "in_chans": 3}, {}]
    for options in again:
        changed = whole(name, **options)
        assert changed == spec, options
        assert (changed.params, changed.macs, changed.references) == (spec.params, spec.macs, spec.references)
    assert whole(name, **{key: value for options in again for key, value in options.items()}) == spec


def test_every_slot_of_the_layers_was_named_in_some_family() -> None:
    named = {slot for name in SMALLEST for slot, values in slots_of_layers(whole(name)).items() if len(values) == 1}
    assert named >= {"attention", "conv", "shortcut"}


@pytest.mark.parametrize("options", [{}, {"shortcut": "conv"}, {"conv": "plain", "attention": None, "norm": "batch"}])
def test_created_model_has_the_claims_of_the_variant_whatever_is_named_again(options: dict[str, Any]) -> None:
    spec = create_model("resnet18", device="meta", **options).spec
    assert spec == whole("resnet18")
    assert (spec.params, spec.references) == (11_689_512, convzoo.model_info("resnet18").spec.references)


def test_naming_something_else_drops_the_claims_and_going_back_does_not_bring_them() -> None:
    changed = whole("resnet18", shortcut="avg")
    assert (changed.params, changed.macs, changed.references, changed.aliases) == (None, None, (), ())
    assert whole(changed, shortcut="conv").stages == whole("resnet18").stages
    assert whole(changed, shortcut="conv").params is None


@each_family
def test_spec_builds_the_same_network_again_and_through_json(name: str) -> None:
    model = create_model(name, device="meta")
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    again = create_model(Model.from_dict(json.loads(json.dumps(model.spec.to_dict()))), device="meta")
    assert again.spec == model.spec
    assert {key: tensor.shape for key, tensor in again.state_dict().items()} == shapes


def other_conv(
    in_channels: int, out_channels: int, *, stride: int = 1, groups: int = 1, dilation: int = 1
) -> nn.Module:
    """A callable that nobody has registered."""
    return conv2d(in_channels, out_channels, 3, stride=stride, groups=groups, dilation=dilation)


class TwoSlots(nn.Module):
    """A block with parts as defaults: one that a component names, one that none does, one by name."""

    def __init__(
        self,
        in_channels: int,
        *,
        planes: int,
        stride: int = 1,
        conv: Maker = ConvNormAct,
        shortcut: Maker = other_conv,
        attention: Maker = convzoo.part("attention", "se", reduction=4),
        norm: Maker = nn.BatchNorm2d,
        act: Maker = nn.ReLU,
    ) -> None:
        super().__init__()
        self.out_channels = planes
        self.conv = conv(in_channels, planes, stride=stride, norm=norm, act=act)
        self.shortcut = shortcut(in_channels, planes, stride=stride)
        self.attention = attention(planes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(self.conv(x)) + self.shortcut(x)


@pytest.fixture
def two_slots(mine: str) -> Model:
    convzoo.register(Component("block", "two_slots", TwoSlots), plugin=mine)
    return Model("two", "two", ref("cifar"), (Stage((ref("two_slots", planes=8),), stride=2),), num_classes=3)


def test_bare_callable_that_a_component_names_is_named_in_the_spec(two_slots: Model) -> None:
    model = create_model(two_slots, act="silu")
    [layer] = model.spec.stages[0].layers
    assert layer == ref("two_slots", planes=8, conv=ref("plain"), attention=ref("se", reduction=4))
    block: Any = model.stages[0][0]
    assert type(block.conv) is ConvNormAct
    assert type(block.attention).__name__ == "SqueezeExcite"
    # It is a part like any other: it gets the model's activation, inside and out.
    assert [type(m).__name__ for m in block.modules() if isinstance(m, (nn.ReLU, nn.SiLU))] == ["SiLU", "SiLU"]


def test_bare_callable_that_nobody_registered_is_left_alone_and_works(two_slots: Model) -> None:
    model = create_model(two_slots)
    assert isinstance(model.stages[0][0].shortcut, nn.Conv2d)
    assert "shortcut" not in model.spec.stages[0].layers[0].options
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 3)
    again = create_model(Model.from_dict(json.loads(json.dumps(model.spec.to_dict()))), device="meta")
    assert again.spec == model.spec


def test_default_that_is_a_bare_callable_can_be_named_replaced_and_given_options(two_slots: Model) -> None:
    assert whole(two_slots, conv="plain") == whole(two_slots)
    wide: Any = create_model(two_slots, conv=ref("plain", kernel_size=5), shortcut="conv").stages[0][0]
    assert wide.conv.conv.kernel_size == (5, 5)
    assert isinstance(wide.shortcut, nn.Sequential)
    with pytest.raises(convzoo.OptionError, match="conv=None"):
        create_model(two_slots, conv=None)
