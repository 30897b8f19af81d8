"""`convzoo plugins` tells of plugins that are broken or slow, with the cure."""

from __future__ import annotations

import json
import re

import pytest

from .sites import GOOD, Site, discover, discover_with_warnings, hook, notes


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


class Clock:
    """Stands in for the module ``time``: it goes on only when a plugin says so."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


SLEEPS = "import convzoo.plugins.host\nconvzoo.plugins.host.time.now += {}\n"


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
