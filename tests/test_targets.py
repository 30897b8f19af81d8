"""A component whose target does not load, or ends the program, is named where it is used."""

from __future__ import annotations

import sys

import pytest

import convzoo
from convzoo import Component, PluginError, cli
from convzoo.plugins.host import plugins

from .sites import Site, net


@pytest.mark.parametrize("target", ["json:no_such_gate", "no_such_module:Gate"], ids=["name", "module"])
def test_broken_target_is_named_when_it_is_used(mine: str, target: str) -> None:
    convzoo.register(Component("attention", "lost", target), plugin=mine)
    with pytest.raises((ImportError, convzoo.ConvzooError), match="attention 'lost'"):
        convzoo.create_model("resnet18", attention="lost", device="meta")


def test_broken_target_does_not_hinder_others(mine: str) -> None:
    convzoo.register(Component("block", "lost", "no_such_module:Lost"), net("mine_net", block="lost"), plugin=mine)
    assert "mine_net" in convzoo.list_models()
    assert [c.name for c, owner in plugins().registry.components("block") if owner.name == mine] == ["lost"]
    with pytest.raises((ImportError, convzoo.ConvzooError), match="no_such_module"):
        convzoo.create_model("mine_net", device="meta")
    convzoo.create_model("resnet18", device="meta")


def test_target_whose_module_breaks_is_not_blamed_on_a_missing_name(site: Site, mine: str) -> None:
    site.folder.joinpath("crumbling_zoo.py").write_text("import json\ndef gate(channels): ...\njson.no_such_name\n")
    convzoo.register(Component("attention", "crumbling", "crumbling_zoo:gate"), plugin=mine)
    with pytest.raises((ImportError, convzoo.ConvzooError)) as caught:
        convzoo.create_model("resnet18", attention="crumbling", device="meta")
    assert "no attribute 'gate'" not in str(caught.value)


@pytest.fixture
def exits(site: Site, mine: str) -> str:
    """A module whose functions end the program, as importing ``exits_too`` does."""
    body = "import sys\ndef gate(channels): sys.exit(3)\ndef start(model):\n    sys.exit(3)\n    yield\n"
    body += (
        "class Odd:\n    def __call__(self): ...\n    __signature__ = property(lambda self: sys.exit(3))\nodd = Odd()\n"
    )
    site.folder.joinpath("exits.py").write_text(body)
    site.folder.joinpath("exits_too.py").write_text("raise SystemExit(3)")
    site.modules += ["exits", "exits_too"]
    targets = {"gate": "exits:gate", "import": "exits_too:gate", "odd": "exits:odd"}
    parts = [Component("attention", name, target) for name, target in targets.items()]
    convzoo.register(*parts, Component("init", "start", "exits:start"), plugin=mine)
    return mine


@pytest.mark.parametrize(
    ("kind", "name"), [("attention", "gate"), ("attention", "import"), ("attention", "odd"), ("init", "start")]
)
def test_target_that_ends_the_program_is_an_error_of_ours(
    exits: str, capsys: pytest.CaptureFixture[str], kind: str, name: str
) -> None:
    with pytest.raises(PluginError, match=rf"^{kind} '{name}' of plugin 'mine' .*SystemExit: 3.* Mend what you have"):
        convzoo.create_model("resnet20", **{kind: name})
    assert cli.main(["list", "--parts", kind]) == 0
    assert name in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gate", "attention 'gate' of plugin 'mine' (none 0) cannot be made: SystemExit: 3, in "),
        (
            "import",
            "attention 'import' of plugin 'mine' (none 0) cannot be imported from exits_too:gate: SystemExit: 3",
        ),
    ],
)
def test_command_line_reports_a_target_that_ends_the_program(
    exits: str, capsys: pytest.CaptureFixture[str], name: str, reason: str
) -> None:
    assert cli.main(["show", "resnet20", f"attention={name}", "--build"]) == 2
    assert f"convzoo show: {reason}" in capsys.readouterr().err


def test_command_line_is_ended_by_nothing_that_it_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("convzoo.cli.plugins.plugins", lambda: sys.exit(3))
    assert cli.main(["plugins"]) == 2
    assert f"it was ended by a part or a plugin: SystemExit: 3, in {__file__}" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["json:no_such_gate", "no_such_module:Gate"], ids=["name", "module"])
def test_command_line_reports_a_broken_target(mine: str, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    convzoo.register(Component("attention", "lost", target), plugin=mine)
    assert cli.main(["show", "resnet18", "attention=lost"]) == 2
    assert "lost" in capsys.readouterr().err
