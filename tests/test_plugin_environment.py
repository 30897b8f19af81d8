"""The environment chooses the plugins, and whether a broken one is a warning or an error."""

from __future__ import annotations

import re
import sys

import pytest

from convzoo import PluginError

from .sites import BESIDE, ENVIRONMENT, FIRST_PARTY, Site, contents, discover, discover_with_warnings, hook, notes


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
    status = {key: record.status for key, record in found.records.items() if key not in BESIDE}
    chosen = {"builtin", *expected}
    assert status == {key: "ok" if key in chosen else "disabled" for key in {"builtin", "good", "other", *FIRST_PARTY}}
    assert {entry.owner.name for entry in found.registry.models().values()} <= chosen | BESIDE
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


def test_strict_environment_lets_good_plugins_in(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVZOO_STRICT", "1")
    assert discover().records["good"].status == "ok"


def test_strict_environment_ends_the_process(site: Site) -> None:
    site.install("bad", "raise SystemExit(0)")
    code = "import convzoo; print('imported'); convzoo.list_models(); print('listed')"
    result = site.run("-c", code, CONVZOO_STRICT="1")
    assert result.returncode == 1
    assert result.stdout.split() == ["imported"]
    assert "PluginError: plugin 'bad' (bad-zoo 1.2.3) is broken" in result.stderr


def test_names_in_the_environment_are_compared_as_packaging_compares_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVZOO_DISABLE", "Wide-ResNet, convzoo_sknet")
    disabled = {name for name, record in discover().records.items() if record.status == "disabled"}
    assert disabled - BESIDE == {"wide_resnet", "sknet"}
