"""The README's tables of results are made of the committed results, and never typed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readmes_tables_are_what_the_results_say() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert script("tables").written(text) == text, "run `make tables`"
    assert text.count("<!-- results: ") == 2


def test_a_table_without_results_is_owed(tmp_path: Path) -> None:
    tables = script("tables")
    assert "`make gpu` makes them" in tables.table(tmp_path / "gpu.jsonl")
    assert "`make results` makes them" in tables.table(tmp_path / "cpu.jsonl")


def test_gpu_finds_the_zoo_where_nothing_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    gpu = script("gpu")
    monkeypatch.setattr(gpu.subprocess, "run", lambda *_, **__: type("Done", (), {"returncode": 1}))
    path = gpu.installed(tmp_path)["PYTHONPATH"].split(":")
    assert str(ROOT / "core") in path
    assert str(tmp_path) in path
    (found,) = importlib.metadata.Distribution.discover(name="convzoo-resnest", path=[str(tmp_path)])
    assert [point.group for point in found.entry_points] == ["convzoo"]
    sys.modules.pop("families", None)
