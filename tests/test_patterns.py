"""A pattern stands for models by a rule; one that fails is named and costs nobody else anything."""

from __future__ import annotations

import re

import pytest

import convzoo
from convzoo import Model, PluginError, Stage, ref
from convzoo.plugins.host import plugins

from .sites import PARTS, Site, discover, discover_with_warnings, hook, net, notes


def test_strict_environment_raises_for_a_pattern_that_fails(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("bad", pattern("1 / 0"))
    monkeypatch.setenv("CONVZOO_STRICT", "1")
    found = discover()
    with pytest.raises(PluginError, match="fails on 'pat1': ZeroDivisionError") as caught:
        found.registry.model("pat1")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


PATTERN = """
def make(number):
    if number == "0":
        raise SpecError("0 is refused")
    {body}

@hookimpl
def convzoo_contribute():
    yield from PARTS
    yield Pattern("pat{{number}}", r"pat(?P<number>\\d+)", make)
"""


def pattern(body: str) -> str:
    """A plugin's source with a pattern whose models are made so."""
    return f"from convzoo import Pattern, SpecError\n{PARTS}{PATTERN.format(body=body)}"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("return number", "it makes '1', not a Model"),
        ("return None", "it makes None, not a Model"),
    ],
)
def test_pattern_that_fails_costs_nobody_else_anything_and_is_named_once(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], body: str, reason: str
) -> None:
    site.install("bad", pattern(body))
    site.install("other", hook("yield Model('pat1', 'other', ref('cifar'), STAGES)").replace("bad_", "other_"))
    found, [message] = discover_with_warnings()
    assert message.startswith("pattern 'pat{number}' of plugin 'bad' (bad-zoo 1.2.3) fails on 'pat1': " + reason)
    assert "CONVZOO_DISABLE=bad-zoo" in message
    assert {name: found.records[name].status for name in ("bad", "other")} == {"bad": "ok", "other": "ok"}
    assert found.registry.model("pat1").owner.name == "other"
    culprit = re.escape("pattern 'pat{number}' of plugin 'bad' (bad-zoo 1.2.3) fails on ")
    with pytest.raises(convzoo.UnknownNameError, match=f"There is no model 'pat2': {culprit}"):
        found.registry.model("pat2")
    with pytest.raises(convzoo.UnknownNameError, match="0 is refused"):
        found.registry.model("pat0")
    assert message in notes(found, monkeypatch, capsys)[1]


def test_pattern_that_is_registered_again_is_given_a_new_chance(mine: str) -> None:
    def make(fail: bool) -> convzoo.Pattern:
        return convzoo.Pattern("pat", "pat1", lambda: net("pat1") if not fail else 1 / 0)

    for _ in range(2):
        convzoo.register(make(True), plugin=mine)
        with pytest.warns(convzoo.PluginWarning, match="Mend what you have registered"):
            assert not convzoo.is_model("pat1")
        assert not convzoo.is_model("pat1")
    convzoo.register(make(False), plugin=mine)
    assert convzoo.model_info("pat1").plugin.name == mine


def test_pattern_stands_for_models_by_a_rule_and_goes_with_its_plugin(mine: str) -> None:
    def make(width: str) -> Model:
        if int(width) % 2:
            raise convzoo.SpecError("the width is even")
        return Model(f"net{width}", "own", ref("cifar", width=int(width)), [Stage([ref("basic", planes=int(width))])])

    convzoo.register(convzoo.Pattern("net{width}", r"net(?P<width>\d+)", make), plugin=mine)
    assert convzoo.create_model("net6", device="meta").num_features == 6
    assert convzoo.model_info("net6").plugin.name == mine
    assert [convzoo.is_model(name) for name in ("net6", "net7", "net")] == [True, False, False]
    with pytest.raises(convzoo.UnknownNameError, match="the width is even"):
        convzoo.create_model("net7")
    plugins().remove(mine)
    assert not convzoo.is_model("net6")
    convzoo.register(plugin=mine)
