"""Plugins are let in whole or kept out whole."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import torch

import convzoo
from convzoo import Component, Model, PluginError, Stage, cli, ref
from convzoo.building.builder import build
from convzoo.building.compose import compose
from convzoo.plugins.catalogue import normalized
from convzoo.plugins.environment import core_version
from convzoo.plugins.host import Plugins, plugins

from .sites import (
    ENVIRONMENT,
    FIRST_PARTY,
    GOOD,
    PARTS,
    Site,
    assert_builds,
    assert_kept_out,
    contents,
    discover,
    discover_with_warnings,
    hook,
    net,
)


def test_good_plugin_is_let_in_and_builds(site: Site) -> None:
    found = discover()
    assert found.records["good"].status == "ok"
    assert str(found.registry.model("good_alias").owner) == "plugin 'good' (good-zoo 1.2.3)"
    model = build(compose(found.registry.model("good_net").spec, found.registry), found.registry)
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 1000)


# A broken plugin


def returns(value: str) -> str:
    """A plugin's source whose hook returns this."""
    return PARTS + f"@hookimpl\ndef convzoo_contribute():\n    return {value}\n"


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


# What is wrong with an installation


def test_malformed_entry_point_of_another_group_is_nobodys_business(site: Site) -> None:
    site.install("bad", hook())
    with site.info("bad-zoo").joinpath("entry_points.txt").open("a") as file:
        file.write("[console_scripts]\nno script\n")
    assert discover().records["bad"].status == "ok"


def test_entry_point_may_name_extras(site: Site) -> None:
    site.install("bad", hook(), target="bad_zoo")
    site.info("bad-zoo").joinpath("entry_points.txt").write_text("; of ours\n[convzoo]\nbad = bad_zoo [all]\n")
    assert discover().records["bad"].status == "ok"


def test_what_an_old_version_has_left_behind_does_not_hide_the_new_one(site: Site) -> None:
    site.install("bad", hook())
    for name in ("bad_zoo", "convzoo", "convzoo_resnest"):
        old = site.folder / f"{name}-0.0.1.dist-info"
        old.mkdir()
        if name != "convzoo":  # which has none
            old.joinpath("entry_points.txt").write_text("[convzoo]\nbad = bad_zoo\n")
    code = (
        "from convzoo.plugins.host import plugins; print({r.status for r in plugins().records.values()}, len(plugins()"
    )
    told = site.run("-c", f"{code}.registry.models()), plugins().records['bad'].owner)")
    assert told.stdout == f"{{'ok'}} {len(plugins().registry.models()) + 2} plugin 'bad' (bad-zoo 1.2.3)\n", told.stderr


def test_one_module_under_two_entry_points_is_named_with_the_plugin_that_has_it(site: Site) -> None:
    site.install("bad", hook())
    before = discover()
    site.install("bad2", None, target="bad_zoo")
    assert_kept_out(before, "names the same module or object as that of plugin 'bad' (bad-zoo 1.2.3)", name="bad2")


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


# Versions


@pytest.mark.parametrize(
    "requirement",
    ["ConvZoo>=9.0,<9.1", "convzoo>=9.0,<9.1", "convzoo (>=9.0,<9.1)", "convzoo[all] >= 9.0, < 9.1", "convzoo==9.*"],
)
def test_plugin_for_another_core_version_is_kept_out(site: Site, requirement: str) -> None:
    before = discover()
    site.install("bad", hook(), requires=("torch", requirement))
    assert_kept_out(before, f"and this is convzoo {core_version()}")


def test_plugin_for_another_core_version_is_not_imported(site: Site) -> None:
    site.install("bad", "1 / 0", requires=("convzoo>=9.0,<9.1",))
    _, [message] = discover_with_warnings()
    assert re.search(r"it was built for convzoo (>=9\.0,<9\.1|<9\.1,>=9\.0), and this is", message)
    assert "bad_zoo" not in sys.modules


@pytest.mark.parametrize(
    "requirement",
    [
        "convzoo",
        "convzoo>=0.1",
        "convzoo[all]~=0.1 ; python_version >= '3.10'",
        "another-convzoo>=9",
        "convzoo-attention>=0.1",
        "convzootopia>=9",
        "convzoo @ file:///src/convzoo",
        "convzoo>=9 ; extra == 'next'",
    ],
)
def test_plugin_with_a_requirement_that_holds_is_let_in(site: Site, requirement: str) -> None:
    site.install("other", hook(), requires=(requirement,))
    assert discover().records["other"].status == "ok"


@pytest.mark.parametrize("requirement", ["convzoo=>0.1", "convzoo>=latest", "convzoo>0.1;", "two words", ""])
def test_plugin_with_a_requirement_that_says_nothing_is_kept_out(site: Site, requirement: str) -> None:
    before = discover()
    site.install("bad", hook(), requires=(requirement,))
    assert_kept_out(before, "InvalidRequirement")


# The environment


@pytest.mark.parametrize(
    ("allow", "deny", "expected"),
    [
        pytest.param(None, None, {*FIRST_PARTY, "good", "other"}, id="unset"),
        pytest.param("", None, set(), id="allow nothing"),
        pytest.param(" , ", None, set(), id="allow blanks"),
        pytest.param("good", None, {"good"}, id="allow by entry point"),
        pytest.param("good-zoo", None, {"good"}, id="allow by distribution"),
        pytest.param(" good , convzoo-resnest ,", None, {"good", "resnest"}, id="allow two"),
        pytest.param(None, "", {*FIRST_PARTY, "good", "other"}, id="deny nothing"),
        pytest.param(None, "good", {*FIRST_PARTY, "other"}, id="deny by entry point"),
        pytest.param(None, "good-zoo, convzoo-sknet", {*FIRST_PARTY, "other"} - {"sknet"}, id="deny by distribution"),
        pytest.param("good,other", "other", {"good"}, id="both"),
        pytest.param("good,other", "other-zoo,good-zoo", set(), id="both by other names"),
        pytest.param("builtin", None, set(), id="allow the core alone"),
    ],
)
def test_environment_chooses_the_plugins(
    site: Site, monkeypatch: pytest.MonkeyPatch, allow: str | None, deny: str | None, expected: set[str]
) -> None:
    site.install("other", hook())
    for variable, value in zip(ENVIRONMENT, (allow, deny), strict=False):
        if value is not None:
            monkeypatch.setenv(variable, value)
    found = discover()
    status = {key: record.status for key, record in found.records.items()}
    chosen = {"builtin", *expected}
    assert status == {key: "ok" if key in chosen else "disabled" for key in {"builtin", "good", "other", *FIRST_PARTY}}
    assert {entry.owner.name for entry in found.registry.models().values()} <= chosen
    assert ("good_zoo" in sys.modules) == ("good" in expected)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("CONVZOO_STRICT", "yes", "CONVZOO_STRICT='yes' is neither 0 nor 1"),
        ("CONVZOO_DISABLE", "goood", "CONVZOO_DISABLE names 'goood', which no plugin is called. Did you mean 'good"),
        (
            "CONVZOO_PLUGINS",
            "good,sk-net",
            "CONVZOO_PLUGINS names 'sk-net', which no plugin is called. Did you mean 'sk",
        ),
    ],
)
def test_mistake_in_the_environment_is_told_of_with_the_cure(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    message: str,
) -> None:
    monkeypatch.setenv(variable, value)
    found, [told] = discover_with_warnings()
    assert told.startswith(message)
    assert found.records["good"].status == "ok"
    assert message in notes(found, monkeypatch, capsys)[1]
    if variable != "CONVZOO_STRICT":
        monkeypatch.setenv("CONVZOO_STRICT", "1")
        with pytest.raises(PluginError, match=re.escape(message)):
            discover()


def test_disabled_plugin_is_broken_in_silence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("bad", "1 / 0")
    monkeypatch.setenv("CONVZOO_DISABLE", "bad")
    assert discover().records["bad"].status == "disabled"


@pytest.mark.parametrize(
    ("name", "distribution"),
    [
        ("bad", "bad-zoo"),
        ("good", "second-zoo"),
    ],
)
def test_cure_that_a_warning_names_leaves_out_just_the_broken_plugin(
    site: Site, monkeypatch: pytest.MonkeyPatch, name: str, distribution: str
) -> None:
    before = discover()
    site.install(name, hook("raise RuntimeError"), distribution=distribution)
    _, [message] = discover_with_warnings()
    cures = re.findall(r"CONVZOO_DISABLE=([\w-]+)", message)
    monkeypatch.setenv("CONVZOO_DISABLE", cures[-1])
    assert contents(discover()) == contents(before)


def test_strict_environment_raises_what_would_be_a_warning(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("bad", hook("raise RuntimeError('half-way')"))
    monkeypatch.setenv("CONVZOO_STRICT", "1")
    with pytest.raises(PluginError, match=r"plugin 'bad' \(bad-zoo 1\.2\.3\) is broken.*half-way") as caught:
        discover()
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_strict_environment_raises_for_a_pattern_that_fails(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("bad", pattern("1 / 0"))
    monkeypatch.setenv("CONVZOO_STRICT", "1")
    found = discover()
    with pytest.raises(PluginError, match="fails on 'pat1': ZeroDivisionError") as caught:
        found.registry.model("pat1")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_strict_environment_lets_good_plugins_in(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVZOO_STRICT", "1")
    assert discover().records["good"].status == "ok"


# In a process of their own


def test_broken_plugin_warns_once_a_process_and_costs_nothing_else(site: Site) -> None:
    site.install("bad", hook("raise RuntimeError('half-way')"))
    code = "import convzoo as c; c.list_models(); print(c.model_info('good_net').spec.name, c.is_model('bad_net'))"
    result = site.run("-c", code)
    assert result.returncode == 0
    assert result.stdout.split() == ["good_net", "False"]
    assert result.stderr.count("is broken and was skipped") == 1


def test_strict_environment_ends_the_process(site: Site) -> None:
    site.install("bad", "raise SystemExit(0)")
    code = "import convzoo; print('imported'); convzoo.list_models(); print('listed')"
    result = site.run("-c", code, CONVZOO_STRICT="1")
    assert result.returncode == 1
    assert result.stdout.split() == ["imported"]
    assert "PluginError: plugin 'bad' (bad-zoo 1.2.3) is broken" in result.stderr


def test_command_line_reports_a_broken_plugin(site: Site) -> None:
    site.install("bad", hook("raise RuntimeError('half-way')"))
    command = "import sys; from convzoo.cli import main; sys.exit(main())"
    result = site.run("-c", command, "plugins", "--json")
    records = {record["plugin"]: record for record in json.loads(result.stdout)}
    assert result.returncode == 0
    assert 0 <= records["bad"].pop("seconds") < 60
    assert records["bad"] == {
        "plugin": "bad",
        "distribution": "bad-zoo",
        "version": "1.2.3",
        "status": "broken",
        "models": 0,
        "components": 0,
        "imported_torch": False,
        "error": "RuntimeError: half-way",
    }
    assert (records["good"]["status"], records["good"]["models"], records["good"]["components"]) == ("ok", 1, 1)
    assert result.stderr.startswith("warning: plugin 'bad' (bad-zoo 1.2.3) is broken")
    assert site.run("-c", command, "plugins", CONVZOO_STRICT="1").returncode == 2


# What loading costs


class Clock:
    """Stands in for the module ``time``: it goes on only when a plugin says so."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


SLEEPS = "import convzoo.plugins.host\nconvzoo.plugins.host.time.now += {}\n"


PRINTS = "convzoo.cli.plugins"
"""The module that prints them."""


def notes(found: Plugins, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """The table and the rest that ``convzoo plugins`` prints."""
    monkeypatch.setattr(f"{PRINTS}.plugins", lambda: found)
    assert cli.main(["plugins"]) == 0
    table, _, rest = capsys.readouterr().out.partition("\n\n")
    return table, rest


def test_plugin_that_loads_slowly_is_told_of_with_both_cures(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("convzoo.plugins.host.time", Clock())
    site.install("slow", SLEEPS.format(0.5) + hook("convzoo.plugins.host.time.now += 2.0"))
    site.install("quick", SLEEPS.format(1.0) + GOOD.replace("good", "quick"))
    found = discover()
    assert {name: record.seconds for name, record in found.records.items() if record.seconds} == {
        "slow": 2.5,
        "quick": 1.0,
    }
    table, rest = notes(found, monkeypatch, capsys)
    assert re.search(r"^slow +slow-zoo +1\.2\.3 +ok +1 +1 +2\.5$", table, re.MULTILINE)
    assert re.search(r"^quick +quick-zoo +1\.2\.3 +ok +1 +1 +1\.0$", table, re.MULTILINE)
    assert rest.replace("slow-zoo.", "slow.") == (
        "plugin 'slow' (slow-zoo 1.2.3) took 2.5 s on loading, so that every listing is slow. Import torch, and what"
        " else is slow, only in the modules that its targets name, or leave it out: CONVZOO_DISABLE=slow.\n"
    )


def test_slow_plugin_that_is_broken_is_told_of_for_both(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("convzoo.plugins.host.time", Clock())
    site.install("bad", SLEEPS.format(3) + "1 / 0")
    found, _ = discover_with_warnings()
    assert found.records["bad"].seconds == 3
    _, rest = notes(found, monkeypatch, capsys)
    assert "plugin 'bad' (bad-zoo 1.2.3) is broken: ZeroDivisionError: division by zero." in rest
    assert "plugin 'bad' (bad-zoo 1.2.3) took 3.0 s on loading" in rest
    assert len(re.findall(r"CONVZOO_DISABLE=bad(-zoo)?\.", rest)) == 2


def test_plugin_that_imports_torch_on_loading_is_told_of(site: Site) -> None:
    site.folder.joinpath("torch.py").write_text("")  # in place of the real one, which takes seconds
    site.install("heavy", f"import torch\n{GOOD.replace('good', 'heavy')}")
    site.install("heavy2", f"import torch\n{GOOD.replace('good', 'other')}")
    code = (
        "import json, sys; from convzoo.cli import main; main(['plugins', '--json']); print('---'); main(['plugins'])"
    )
    rows, _, text = site.run("-c", code).stdout.partition("---")
    assert [row["plugin"] for row in json.loads(rows) if row["imported_torch"]] == ["heavy"]
    assert re.search(
        r"^plugin 'heavy' \(heavy-zoo 1\.2\.3\) (took .* s and )?imported torch on loading, .*=heavy(-zoo)?\.$",
        text,
        re.MULTILINE,
    )


@pytest.mark.parametrize(
    ("name", "distribution", "handle"), [("bad", "bad-zoo", "bad(-zoo)?"), ("good", "second-zoo", "second-zoo")]
)
def test_broken_plugin_is_told_of_with_its_error_and_how_to_leave_just_it_out(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    distribution: str,
    handle: str,
) -> None:
    site.install(name, hook("raise RuntimeError('half-way')"), distribution=distribution)
    found, _ = discover_with_warnings()
    table, rest = notes(found, monkeypatch, capsys)
    assert re.search(rf"^{name} +{distribution} +1\.2\.3 +broken +0 +0 +\d+\.\d$", table, re.MULTILINE)
    assert f"plugin '{name}' ({distribution} 1.2.3) is broken: " in rest
    assert found.records.get(f"{name} ({distribution})", found.records[name]).error in rest
    assert re.search(rf"leave it out: CONVZOO_DISABLE={handle}\.\n", rest)


def test_plugin_that_claims_a_taken_name_is_told_of_with_both_and_both_cures(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site.install("rival", GOOD)
    found, _ = discover_with_warnings()
    table, rest = notes(found, monkeypatch, capsys)
    assert re.search(r"^good +good-zoo +1\.2\.3 +ok +1 +1 ", table, re.MULTILINE)
    assert re.search(r"^rival +rival-zoo +1\.2\.3 +broken +0 +0 ", table, re.MULTILINE)
    assert rest.startswith("plugin 'rival' (rival-zoo 1.2.3) is broken: ")
    assert "attention 'good_gate' is taken by plugin 'good' (good-zoo 1.2.3)" in rest
    assert "CONVZOO_DISABLE=good-zoo" in rest
    assert re.search(r"CONVZOO_DISABLE=rival(-zoo)?\.\n", rest)


# Patterns that fail


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


# Targets that do not load


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


def test_third_plugin_of_a_name_is_told_of_the_one_that_holds_it(site: Site) -> None:
    site.install("twin", "1 / 0", distribution="a-zoo")
    site.install("twin", hook(), distribution="b-zoo")
    site.install("twin", hook(), distribution="c-zoo")
    found, messages = discover_with_warnings()
    assert ["a-zoo" in messages[0], "b-zoo" in messages[1], "c-zoo" in messages[1]] == [True, True, True]
    assert [record.status for record in found.records.values() if record.owner.name == "twin"] == [
        "broken",
        "ok",
        "broken",
    ]
    assert "CONVZOO_DISABLE=a-zoo" in messages[0]


def test_hook_that_gives_nothing_back_is_broken(site: Site) -> None:
    site.install("mute", "import convzoo\n@convzoo.hookimpl\ndef convzoo_contribute():\n    convzoo.ref('se')\n")
    found, [message] = discover_with_warnings()
    assert "should yield" in message
    assert found.records["mute"].status == "broken"


def test_names_in_the_environment_are_compared_as_packaging_compares_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVZOO_DISABLE", "Wide-ResNet, convzoo_sknet")
    disabled = {name for name, record in discover().records.items() if record.status == "disabled"}
    assert disabled == {"wide_resnet", "sknet"}


def test_plugin_that_uses_the_zoo_while_it_is_imported_is_told_not_to(site: Site) -> None:
    site.install("eager", "import convzoo\nconvzoo.list_models()\n")
    program = "import convzoo; print(len(convzoo.list_models()))"
    environment = {**os.environ, "PYTHONPATH": str(site.folder)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert int(done.stdout) >= len(convzoo.list_models())
    assert "may not use the zoo while it is being imported" in done.stderr


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
