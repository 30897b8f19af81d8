"""The tables of results are made of the committed results, and never typed."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from convzoo.bench.results import append

from .bench_rows import cell, row

ROOT = Path(__file__).parent.parent


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_what_the_results_say() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tables = script("tables")
    assert tables.written(text) == text, "run `make tables`"
    assert text.count("<!-- results: ") == 2
    assert (tables.RESULTS / "README.md").read_text(encoding="utf-8") == tables.page(), "run `make tables`"


def test_a_table_without_results_is_owed(tmp_path: Path) -> None:
    tables = script("tables")
    assert "`make gpu` makes them" in tables.ratios(tmp_path / "gpu.jsonl")
    assert "`make results` makes them" in tables.ratios(tmp_path / "cpu.jsonl")


def test_ratios_stand_by_variant_and_by_how_it_was_run(tmp_path: Path) -> None:
    file = tmp_path / "cpu.jsonl"
    machine = {"processor": "a processor", "cores": 2, "gpu": None}

    def add(
        name: str, ratio: float, verdict: str, *, library: str = "timm", form: str = "training", **how: Any
    ) -> None:
        made = {**cell(name, library), **how}
        made["ours"] = {**made["ours"], "form": form}
        found = {"value": ratio, "low": ratio - 0.01, "high": ratio + 0.01, "verdict": verdict}
        each = row(cell=made, ratio=found, stamp={"machine": machine, "versions": {"torch": "2.15"}})
        append(file, dataclasses.replace(each, id=f"{name} {library} {form} {sorted(how)}", time="2026-01-31T12"))

    add("resnet50", 0.9, "slower")
    add("resnet50", 1.3, "faster", form="deployed", engine="openvino")
    add("resnet50", 1.02, "unresolved", mode="train", image_size=64)
    add("resnest50", 1.6, "faster")
    add("resnest50", 1.0, "same", library="torchvision")
    assert script("tables").ratios(file).splitlines()[:5] == [
        "| variant | as it is | deployed in OpenVINO | training step | as it is, by torchvision's |",
        "|---|---|---|---|---|",
        "| `resnet50` | *0.900 [0.890, 0.910]* | **1.300 [1.290, 1.310]** | 1.020 [1.010, 1.030] |  |",
        "| `resnest50` | **1.600 [1.590, 1.610]** |  |  | 1.000 [0.990, 1.010] |",
        "| geometric mean | 1.200 |  |  |  |",
    ]
    text = script("tables").ratios(file)
    assert "a processor, 2 cores, torch 2.15, 2026-01-31." in text
    assert "\n- training step: train, eager, float32, contiguous, batch of 1, 64 px, cpu, 2 threads." in text
    assert "\n- as it is, as it is, by torchvision's: infer, eager, float32, contiguous, batch of 1, 224 px" in text


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
