"""A plugin written by the documentation alone: that it installs, passes its own suite and goes with the zoo."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
from pathlib import Path

from .test_scaffold import environment, plugins_of, run

PACKAGE = Path(__file__).resolve().parent / "third_party" / "res2net"
NETWORKS = ("res2net50_26w_4s", "res2net50_48w_2s", "res2net50_14w_8s", "res2net101_26w_4s")


def test_res2net_installs_and_passes_its_suite(tmp_path: Path) -> None:
    before = plugins_of(sys.executable, tmp_path)
    folder = tmp_path / "res2net"
    # Building leaves files in the folder.
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))

    python = environment(tmp_path / "venv")
    pip = (sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", folder, cwd=tmp_path)
    assert plugins_of(python, tmp_path) == {**before, "res2net": "ok"}

    out = run(python, "-m", "pytest", "-v", "-p", "no:cacheprovider", cwd=folder)
    assert re.search(r"= \d+ passed, \d+ skipped in ", out), out
    for network in NETWORKS:
        for check in ("costs_what_it_pins", "equals_its_reference", "uses_every_weight"):
            assert f"test_conformance[model/{network}/{check}] PASSED" in out, out
    assert set(re.findall(r"test_conformance\[(\S+)\] SKIPPED", out)) == {
        f"conv/res2net/{check}" for check in ("deploys_by_the_rules", "follows_the_schedule", "penalizes_by_the_rules")
    }
    assert len(re.findall(r"test_res2net\.py::\S+ PASSED", out)) == out.count("test_res2net.py::"), out

    (readme,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    run(python, "-c", readme, cwd=tmp_path)
    assert plugins_of(sys.executable, tmp_path) == before
    assert "convzoo-res2net" not in {each.name for each in importlib.metadata.distributions()}
