"""A plugin written by the documentation alone: that it installs, passes its own suite and goes with the zoo."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import convzoo
from convzoo.plugins.host import plugins
from convzoo.testing import NotApplicable, checks

from .environments import environment, pip, plugins_of, run

PACKAGE = Path(__file__).resolve().parent / "third_party" / "res2net"
NETWORKS = ("res2net50_26w_4s", "res2net50_48w_2s", "res2net50_14w_8s", "res2net101_26w_4s")


@pytest.fixture
def res2net(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Its plugin in this process, as if it were installed."""
    monkeypatch.syspath_prepend(PACKAGE / "src")
    plugin = importlib.import_module("convzoo_res2net.plugin")
    convzoo.register(*plugin.convzoo_contribute(), plugin="res2net")
    yield plugin
    plugins().remove("res2net")
    for name in [name for name in sys.modules if name.partition(".")[0] == "convzoo_res2net"]:
        monkeypatch.delitem(sys.modules, name)


SLOW = ("compiles", "exports", "holds_no_memory")


@pytest.mark.large
def test_res2net_keeps_its_promises(res2net: ModuleType) -> None:
    """Those of its convolution, and the costs of its networks; the rest is for the suite that it brings."""
    passed = []
    for check in checks("res2net"):
        subject, promise = str(check).rsplit("/", 1)
        if promise not in SLOW and (subject == "conv/res2net" or promise == "costs_what_it_pins"):
            try:
                check()
            except NotApplicable:
                continue
            passed.append(str(check))
    assert {f"model/{network}/costs_what_it_pins" for network in NETWORKS} <= set(passed)
    assert len([name for name in passed if name.startswith("conv/res2net/")]) > 5


@pytest.mark.large
def test_res2net_installs_and_passes_its_suite(tmp_path: Path) -> None:
    before = plugins_of(sys.executable, tmp_path)
    folder = tmp_path / "res2net"
    # Building leaves files in the folder.
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))

    python = environment(tmp_path / "venv")
    pip(python, "install", folder, cwd=tmp_path)
    assert plugins_of(python, tmp_path) == {**before, "res2net": "ok"}

    out = run(python, "-m", "pytest", "-v", "-p", "no:cacheprovider", cwd=folder)
    assert re.search(r"= \d+ passed, \d+ skipped in ", out), out
    for network in NETWORKS:
        for check in ("costs_what_it_pins", "equals_its_reference", "uses_every_weight"):
            assert f"test_conformance[model/{network}/{check}] PASSED" in out, out
    assert set(re.findall(r"test_conformance\[(\S+)\] SKIPPED", out)) == {
        f"conv/res2net/{check}"
        for check in (
            "deploys_by_the_rules",
            "drops_only_in_training",
            "follows_the_schedule",
            "penalizes_by_the_rules",
        )
    }
    assert len(re.findall(r"test_res2net\.py::\S+ PASSED", out)) == out.count("test_res2net.py::"), out

    (readme,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    run(python, "-c", readme, cwd=tmp_path)
    assert plugins_of(sys.executable, tmp_path) == before
    assert "convzoo-res2net" not in {each.name for each in importlib.metadata.distributions()}
