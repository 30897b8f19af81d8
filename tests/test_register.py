"""Registering without packaging."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

import convzoo
from convzoo import Component, Model, PluginError, ref
from convzoo.plugins.host import Plugins, plugins

from .sites import Site, contents, discover, net


class Grow(nn.Module):
    """A block of one convolution."""

    def __init__(self, in_channels: int, *, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.out_channels = planes
        self.conv = nn.Conv2d(in_channels, planes, 3, stride, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def test_registered_class_is_what_the_network_is_built_from(mine: str) -> None:
    convzoo.register(Component("block", "grow", Grow), net("mine_net", block="grow"), plugin=mine)
    model = convzoo.create_model("mine_net", num_classes=5)
    assert [type(layer) for layer in model.stages[0]] == [Grow, Grow]
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 5)
    assert model.stages(model.stem(torch.rand(1, 3, 8, 8))).shape == (1, 8, 4, 4)
    assert str(convzoo.model_info("mine_net").plugin) == "plugin 'mine' (none 0)"


def test_registering_again_replaces_what_the_name_had(mine: str) -> None:
    convzoo.register(net("mine_net"), net("mine_old"), Component("block", "grow", Grow), plugin=mine)
    convzoo.register(net("mine_net", num_classes=7), net("mine_new"), plugin=mine)
    assert convzoo.list_models(plugin=mine) == ["mine_net", "mine_new"]
    assert convzoo.model_info("mine_net").spec.num_classes == 7
    with pytest.raises(convzoo.UnknownNameError, match="There is no block 'grow'"):
        plugins().registry.component("block", "grow")


def test_registering_nothing_empties_the_name(mine: str) -> None:
    convzoo.register(net("mine_net"), plugin=mine)
    convzoo.register(plugin=mine)
    assert convzoo.list_models(plugin=mine) == []


class Own(Model):
    """A model that says of itself what it likes."""

    family = 3  # type: ignore[assignment]


OWN = Own("own", "own", ref("cifar"), net("own").stages)


@pytest.mark.parametrize("wrong", [3, OWN, net("resnet18")], ids=["not a contribution", "own class", "taken name"])
def test_failing_registration_leaves_the_one_before(mine: str, wrong: object) -> None:
    first = net("mine_net", aliases=(ref("mine_alias", num_classes=3),))
    convzoo.register(first, Component("block", "grow", Grow), plugin=mine)
    before = contents(plugins())
    with pytest.raises(PluginError):
        convzoo.register(net("mine_new"), wrong, plugin=mine)  # type: ignore[arg-type]
    assert contents(plugins()) == before
    assert convzoo.create_model("mine_alias", device="meta").num_classes == 3
    convzoo.register(net("mine_new"), plugin=mine)
    assert convzoo.list_models(plugin=mine) == ["mine_new"]


@pytest.mark.parametrize(
    ("item", "taken"),
    [
        (net("resnet18"), "model 'resnet18' is taken by plugin 'builtin' (convzoo 0."),
        (net("resnest50d"), "model 'resnest50d' is taken by plugin 'resnest' (convzoo-resnest 0."),
        (net("mine_net", aliases=("resnest50",)), "model 'resnest50' is taken by plugin 'resnest' (convzoo-resnest 0."),
        (net("wrn34_2"), "model 'wrn34_2' is taken by plugin 'wide_resnet' (convzoo-wide-resnet 0."),
        (Component("attention", "se", Grow), "attention 'se' is taken by plugin 'attention' (convzoo-attention 0."),
    ],
    ids=["model", "alias", "own alias", "pattern", "component"],
)
def test_registration_cannot_take_a_first_party_name(mine: str, item: Component | Model, taken: str) -> None:
    before = contents(plugins())
    with pytest.raises(PluginError, match=f"^{re.escape(taken)}") as caught:
        convzoo.register(net("mine_other"), item, plugin=mine)
    assert "comes before plugin 'mine' (none 0); choose another name" in str(caught.value)
    assert contents(plugins()) == before
    assert mine not in plugins().records


@pytest.mark.parametrize("name", ["builtin", "resnest"])
def test_registration_cannot_go_by_the_name_of_an_installed_plugin(name: str) -> None:
    before = contents(plugins())
    with pytest.raises(PluginError, match="register under another"):
        convzoo.register(net("mine_net"), plugin=name)
    assert contents(plugins()) == before


@pytest.mark.parametrize("name", ["resnest", "wide-resnet", "my zoo", "", 3, ["mine"]])
def test_registration_cannot_go_by_a_name_that_no_plugin_may_have(
    site: Site, monkeypatch: pytest.MonkeyPatch, name: Any
) -> None:
    monkeypatch.setenv("CONVZOO_PLUGINS", "good")
    found = Plugins()
    before = contents(found)
    with pytest.raises(PluginError, match=r"choose another name|a name has letters|a plugin's name is text"):
        found.register([net("mine_net")], name)
    assert contents(found) == before


def test_registration_cannot_take_the_name_of_an_installed_plugin_until_that_is_out(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("good_net", "good_alias"):
        found = discover()
        with pytest.raises(
            PluginError, match=rf"model '{name}' is taken by plugin 'good' \(good-zoo 1\.2\.3\)"
        ) as caught:
            found.register([net(name)], "mine")
        assert "choose another name, or keep that plugin out: CONVZOO_DISABLE=good-zoo" in str(caught.value)
        assert "mine" not in found.records
    monkeypatch.setenv("CONVZOO_DISABLE", "good-zoo")
    found = discover()
    found.register([net("good_net")], "mine")
    assert found.registry.model("good_net").owner.name == "mine"


def test_registration_cannot_take_what_another_registration_has_until_that_is_gone(mine: str) -> None:
    convzoo.register(Component("block", "grow", Grow), net("mine_net", block="grow"), plugin=mine)
    try:
        for item in (Component("block", "grow", Grow), net("mine_net"), net("theirs", aliases=("mine_net",))):
            with pytest.raises(
                PluginError, match=r"is taken by plugin 'mine' \(none 0\), which comes before"
            ) as caught:
                convzoo.register(item, plugin="theirs")
            assert "CONVZOO_DISABLE" not in str(caught.value)
            assert "theirs" not in plugins().records
        assert convzoo.create_model("mine_net", device="meta").num_features == 8
        convzoo.register(plugin=mine)
        convzoo.register(Component("block", "grow", Grow), net("mine_net", block="grow"), plugin="theirs")
        assert convzoo.model_info("mine_net").plugin.name == "theirs"
    finally:
        if "theirs" in plugins().records:
            plugins().remove("theirs")
