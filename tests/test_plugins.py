"""Plugins are let in whole or kept out whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings

import pytest
import torch

import convzoo
from convzoo import PluginWarning
from convzoo.building.builder import build
from convzoo.building.compose import compose
from convzoo.plugins.catalogue import normalized

from .sites import (
    PARTS,
    Site,
    assert_builds,
    assert_kept_out,
    contents,
    discover,
    discover_with_warnings,
    hook,
    notes,
    returns,
)


def test_good_plugin_is_let_in_and_builds(site: Site) -> None:
    found = discover()
    assert found.records["good"].status == "ok"
    assert str(found.registry.model("good_alias").owner) == "plugin 'good' (good-zoo 1.2.3)"
    model = build(compose(found.registry.model("good_net").spec, found.registry), found.registry)
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 1000)


MUTE = "class Mute(BaseException):\n    def __str__(self): return str(1 / 0)\n"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        pytest.param("import no_such_module", "No module named 'no_such_module'", id="missing dependency"),
        pytest.param("from convzoo import no_such_name", "cannot import name 'no_such_name'", id="ImportError"),
        pytest.param("def broken(:", "SyntaxError", id="SyntaxError"),
        pytest.param("raise SystemExit('bye')", "SystemExit: bye", id="SystemExit"),
        pytest.param("1 / 0", "ZeroDivisionError", id="ZeroDivisionError"),
        pytest.param(None, "No module named 'bad_zoo'", id="no module"),
    ],
)
def test_plugin_that_does_not_import_is_kept_out(site: Site, source: str | None, reason: str) -> None:
    before = discover()
    site.install("bad", source)
    assert_kept_out(before, reason)


@pytest.mark.parametrize("fails", ["1 / 0", ""])
def test_which_warnings_are_shown_is_not_a_plugins_to_say(site: Site, fails: str) -> None:
    site.install("bad", f"import warnings\nwarnings.simplefilter('error')\n{fails}\n{hook()}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        before = list(warnings.filters)
        assert discover().records["bad"].status == ("broken" if fails else "ok")
        assert warnings.filters == before


def test_plugin_whose_entry_point_names_nothing_is_kept_out(site: Site) -> None:
    before = discover()
    site.install("bad", hook(), target="bad_zoo:nothing")
    assert_kept_out(before, "has no attribute 'nothing'")


@pytest.mark.parametrize("raised", ["RuntimeError", "SystemExit"])
def test_plugin_that_raises_half_way_is_kept_out_whole(site: Site, raised: str) -> None:
    before = discover()
    site.install("bad", hook(f"raise {raised}('half-way')"))
    assert_kept_out(before, f"{raised}: half-way")


@pytest.mark.parametrize("source", ["raise KeyboardInterrupt", hook("raise KeyboardInterrupt")], ids=["import", "hook"])
def test_only_the_users_interrupt_is_not_a_plugins_fault(site: Site, source: str) -> None:
    site.install("bad", source)
    with pytest.raises(KeyboardInterrupt):
        discover()


def test_plugin_with_a_misspelt_hook_is_kept_out(site: Site) -> None:
    before = discover()
    site.install("bad", hook().replace("convzoo_contribute", "convzoo_contribut"))
    assert_kept_out(before, "unknown hook 'convzoo_contribut'")


def test_plugin_with_a_misspelt_second_hook_is_kept_out_whole(site: Site) -> None:
    before = discover()
    site.install("bad", hook() + "\n@hookimpl\ndef convzoo_contribut():\n    return []\n")
    assert_kept_out(before, "unknown hook 'convzoo_contribut'")


def test_plugin_without_a_hook_is_kept_out(site: Site) -> None:
    before = discover()
    site.install("bad", PARTS)
    assert_kept_out(before, "no convzoo_contribute() marked with @convzoo.hookimpl")


def test_plugin_with_an_undecorated_hook_is_kept_out(site: Site) -> None:
    before = discover()
    site.install("bad", hook().replace("@hookimpl", ""))
    assert_kept_out(before, "no convzoo_contribute() marked with @convzoo.hookimpl")


def test_plugin_whose_hook_wants_an_argument_is_kept_out(site: Site) -> None:
    before = discover()
    site.install("bad", hook().replace("convzoo_contribute()", "convzoo_contribute(registry)"))
    assert_kept_out(before, "registry")


@pytest.mark.parametrize("item", ["'resnet18'", "None", "Model", "STAGES[0]"])
def test_plugin_that_yields_something_else_is_kept_out_whole(site: Site, item: str) -> None:
    before = discover()
    site.install("bad", hook(f"yield {item}"))
    assert_kept_out(before, "neither a Component nor a Model")


def test_plugin_whose_hook_returns_no_iterable_is_kept_out(site: Site) -> None:
    before = discover()
    site.install("bad", returns("PARTS[0]"))
    assert_kept_out(before, "not iterable")


def test_plugin_may_have_several_hooks(site: Site) -> None:
    more = "@hookimpl(specname='convzoo_contribute')\ndef more():\n    yield Component('attention', 'more', 'a:b')\n"
    site.install("bad", f"{hook()}\n{more}")
    assert {("attention", "more"), ("attention", "bad_gate")} <= contents(discover()).keys()


LIAR = "type('Liar', (), {'__class__': Model, '__repr__': lambda self: 1 / 0})()"
OWN = "type('Own', (Model,), {})('net', 'f', ref('cifar'), STAGES)"
BROKEN = [
    ("class Stop(BaseException): ...\nraise Stop('here')", "Stop: here"),
    ("raise GeneratorExit", "GeneratorExit"),
    (f"{MUTE}raise Mute", "Mute: its text cannot be had, for a ZeroDivisionError"),
    ("raise OSError('/tmp/\\udcff\\x1b[1m\\n x')", r"OSError: /tmp/\udcff\x1b[1m x"),
    (f"raise ValueError({'x' * 5000!r})", "ValueError: xxxxx"),
    (hook("raise BaseException('half-way')"), "BaseException: half-way"),
    (returns("3"), "returns 3, which is not iterable"),
    (returns("'resnet18'"), "returns 'resnet18', which is no sequence of contributions"),
    (returns("{}"), "returns {}, which is no sequence of contributions"),
    (hook(f"yield {LIAR}"), "neither a Component nor a Model"),
    (hook(f"yield {OWN}"), "neither a Component nor a Model"),
    (hook("yield Model('net', 3, ref('cifar'), STAGES)"), "net: family is text, got 3"),
    (hook("yield Model('net', 'f', ref('cifar'), STAGES, paper=['He'])"), "net: paper is text, got ['He']"),
    (hook("yield Model('net', 'f\\udcff', ref('cifar'), STAGES)"), "net: family is text that can be written down"),
    (hook("yield Model('net', 'f', ref('cifar'), STAGES, macs=10**400)"), "net: macs must be an integer of at most"),
    (hook("yield Component('attention', 'gate', 'a:b', 3)"), "attention 'gate': summary is text, got 3"),
]
"""Sources of plugins, and why they are kept out."""
UNUSABLE = "its metadata cannot be used: "
MALFORMED: list[tuple[str, bytes | None, str]] = [
    ("METADATA", None, f"{UNUSABLE}it lacks a name or a version"),
    ("METADATA", b"Name: malformed1-zoo\n", f"{UNUSABLE}it lacks a name or a version"),
    ("METADATA", b"Version: 1.2.3\n", f"{UNUSABLE}it lacks a name or a version"),
    ("METADATA", b"Name: \xff\n", f"{UNUSABLE}UnicodeDecodeError"),
    ("entry_points.txt", b"\xff", "its entry_points.txt cannot be read: UnicodeDecodeError"),
    ("entry_points.txt", b"[convzoo]\nbad\n", "'bad' in its entry_points.txt should read"),
    ("entry_points.txt", b"[convzoo]\nbad = a b\n", "'bad = a b' in its entry_points.txt should read"),
    ("entry_points.txt", b"[convzoo]\n= bad_zoo\n", "'= bad_zoo' in its entry_points.txt should read"),
    ("entry_points.txt", b"[convzoo\nbad = bad_zoo\n", "'[convzoo' in its entry_points.txt should read '[convzoo]'"),
]
"""What stands in a distribution's file, and why it is kept out."""


def test_everything_that_is_broken_is_named_and_shown_and_nothing_else_is_touched(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = discover()
    reasons = {}
    for number, (source, reason) in enumerate(BROKEN):
        site.install(f"broken{number}", source)
        reasons[f"broken{number}-zoo"] = reason
    for number, (file, data, reason) in enumerate(MALFORMED):
        site.install(f"malformed{number}", hook())
        path = site.info(f"malformed{number}-zoo") / file
        path.unlink() if data is None else path.write_bytes(data)
        reasons[f"malformed{number}-zoo"] = reason
    found, messages = discover_with_warnings()
    assert contents(found) == contents(before)
    assert_builds(found, "resnet18", "resnest50", "good_net")
    table, rest = notes(found, monkeypatch, capsys)
    told = {normalized(re.findall(r"\((\S+) 1\.2\.3\) is broken", note)[0]): note for note in rest.splitlines() if note}
    assert len(messages) == len(told) == len(reasons) == len(re.findall(" 1.2.3 +broken +0 +0 ", table))
    assert [name for name, reason in reasons.items() if reason not in told[name]] == []
    assert [reason for reason in reasons.values() if not any(reason in message for message in messages)] == []
    assert max(map(len, [*messages, *told.values()])) < 600
    cures = [re.findall(r"CONVZOO_DISABLE=(\S+) to silence", message)[0] for message in messages]
    monkeypatch.setenv("CONVZOO_DISABLE", ",".join(cures))
    assert contents(discover()) == contents(before)


def test_broken_plugin_warns_once_a_process_and_costs_nothing_else(site: Site) -> None:
    site.install("bad", hook("raise RuntimeError('half-way')"))
    code = "import convzoo as c; c.list_models(); print(c.model_info('good_net').spec.name, c.is_model('bad_net'))"
    result = site.run("-c", code)
    assert result.returncode == 0
    assert result.stdout.split() == ["good_net", "False"]
    assert result.stderr.count("is broken and was skipped") == 1


def test_hook_that_gives_nothing_back_is_broken(site: Site) -> None:
    site.install("mute", "import convzoo\n@convzoo.hookimpl\ndef convzoo_contribute():\n    convzoo.ref('se')\n")
    found, [message] = discover_with_warnings()
    assert "should yield" in message
    assert found.records["mute"].status == "broken"


def test_plugin_that_uses_the_zoo_while_it_is_imported_is_told_not_to(site: Site) -> None:
    site.install("eager", "import convzoo\nconvzoo.list_models()\n")
    program = "import convzoo; print(len(convzoo.list_models()))"
    environment = {**os.environ, "PYTHONPATH": str(site.folder)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert int(done.stdout) >= len(convzoo.list_models())
    assert "may not use the zoo while it is being imported" in done.stderr
