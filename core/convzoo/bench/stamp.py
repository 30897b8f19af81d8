"""Where and with what a row was measured, and which stamps may be compared. torch is imported when it stamps."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from convzoo.bench.cells import Cell
from convzoo.bench.engines import engine_of
from convzoo.bench.settings import cores
from convzoo.bench.watch import text_of

VARIABLES = re.compile(
    r"(OMP|MKL|KMP|GOMP|DNNL|ONEDNN|OPENBLAS|TORCH|TORCHINDUCTOR|PYTORCH|CUDA|CUDNN|NVIDIA)_|LD_PRELOAD"
)
"""Of the environment, what may change speed."""
ALIKE = ("machine", "versions", "flags", "environment")
"""The parts of a stamp that must be the same where two rows are compared; of ``versions`` all but convzoo's own."""


def stamp(cells: Iterable[Cell], settings: dict[str, Any]) -> dict[str, Any]:
    """The stamp of a run.

    Args:
        cells: that it has.
        settings: of the measurement, plain values.
    """
    every = list(cells)
    packages = {"torch", "numpy"} | {c.library for cell in every for c in (cell.ours, cell.theirs)}
    packages |= {package for cell in every for package in engine_of(cell.settings.engine).packages}
    devices = {cell.settings.device for cell in every}
    return {
        "machine": machine(next((device for device in sorted(devices) if device != "cpu"), "cpu")),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in sorted(packages)}},
        "flags": flags(),
        "environment": {name: os.environ[name] for name in sorted(os.environ) if VARIABLES.match(name)},
        "settings": settings,
        "commit": commit(),
    }


def machine(device: str = "cpu") -> dict[str, Any]:
    """The hardware and its system; what cannot be found out is None."""
    found = {
        "processor": _field("model name", text_of("/proc/cpuinfo")) or platform.processor() or platform.machine(),
        "cores": cores(),
        "cores_of_machine": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None,
        "governor": text_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        "boost": text_of("/sys/devices/system/cpu/cpufreq/boost").strip() or None,
        "system": f"{platform.system()} {platform.release()}",
        "gpu": None,
        "gpu_memory_bytes": None,
        "driver": None,
    }
    if device.startswith("cuda"):
        import torch

        properties = torch.cuda.get_device_properties(device)
        found["gpu"], found["gpu_memory_bytes"] = properties.name, properties.total_memory
        found["driver"] = _field("NVRM version", text_of("/proc/driver/nvidia/version"))
    return found


def flags() -> dict[str, Any]:
    """What torch is told for all cells, and what it was built with."""
    import torch

    return {
        "cudnn.benchmark": True,
        "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.version.cuda else None,
    }


def version(package: str) -> str | None:
    """Of an installed package; None if it says none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> dict[str, str | None]:
    """``id`` of the commit that convzoo runs from, and ``changed``, a digest of what differs from it, or empty."""
    folder = Path(__file__).parent
    if _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is None:  # installed, or not in git
        return {"id": None, "changed": None}
    changed = _git(folder.parents[2], "diff", "HEAD", "--", "core", "plugins") or ""
    return {
        "id": _git(folder, "rev-parse", "--short=12", "HEAD"),
        "changed": hashlib.sha256(changed.encode()).hexdigest()[:12] if changed else "",
    }


def row_id(cell: Cell, stamped: dict[str, Any]) -> str:
    """The id of a cell's row: the same for the same cell, machine, versions, flags, environment and commit."""
    parts = {name: stamped.get(name) for name in (*ALIKE, "commit")}
    text = json.dumps([cell.to_dict(), parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def unlike(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What keeps rows of two stamps from being compared: ``part.name`` to the two values; empty if nothing does.

    That convzoo itself differs, its version and commit, is what one compares.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for part in ALIKE:
        a, b = one.get(part) or {}, other.get(part) or {}
        for name in sorted({*a, *b}):
            if a.get(name) != b.get(name) and (part, name) != ("versions", "convzoo"):
                found[f"{part}.{name}"] = a.get(name), b.get(name)
    return found


def _field(name: str, text: str) -> str | None:
    found = re.search(rf"^{re.escape(name)}\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else None


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
