"""Rows as flat columns: for CSV, and for the tables of the terminal and the README. This module imports no torch."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from convzoo.bench.results import Row

SETTINGS = ("mode", "engine", "dtype", "memory_format", "batch_size", "image_size", "device", "threads")
"""Of a cell, in the order in which they are shown."""
COLUMNS: dict[str, tuple[str, ...]] = {
    "variant": ("cell", "ours", "label"),
    "against": ("cell", "theirs", "label"),
    "family": ("family",),
    **{name: ("cell", name) for name in SETTINGS},
    "status": ("status",),
    "why": ("why",),
    "same_work": ("work", "same"),
    "work_why": ("work", "why"),
    "params": ("work", "ours", "params"),
    "macs": ("work", "ours", "macs"),
    "params_theirs": ("work", "theirs", "params"),
    "macs_theirs": ("work", "theirs", "macs"),
    "median_s": ("figures", "ours", "median_s"),
    "images_per_second": ("figures", "ours", "images_per_second"),
    "median_s_theirs": ("figures", "theirs", "median_s"),
    "images_per_second_theirs": ("figures", "theirs", "images_per_second"),
    "ratio": ("ratio", "value"),
    "ratio_low": ("ratio", "low"),
    "ratio_high": ("ratio", "high"),
    "pairs": ("ratio", "pairs"),
    "verdict": ("ratio", "verdict"),
    "noise_floor": ("noise", "floor"),
    **{
        f"{name}{end}": (part, who, name)
        for who, end in (("ours", ""), ("theirs", "_theirs"))
        for part, names in (
            ("memory", ("peak", "saved", "allocated", "reserved", "process")),
            ("startup", ("import_s", "create_s", "compile_s", "first_s")),
        )
        for name in names
    },
    "id": ("id",),
    "time": ("time",),
    "processor": ("stamp", "machine", "processor"),
    "gpu": ("stamp", "machine", "gpu"),
    "torch": ("stamp", "versions", "torch"),
    "commit": ("stamp", "commit", "id"),
}
"""The name of a column, and where in a row it stands."""


def value(row: Row, column: str) -> Any:
    """Of a column of :data:`COLUMNS`; None where the row has none."""
    first, *rest = COLUMNS[column]
    found: Any = getattr(row, first)
    for key in rest:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def discarded(row: Row) -> int:
    """Pairs that were disturbed."""
    return len(row.discarded)


def write_csv(rows: Iterable[Row], path: str | Path) -> None:
    """One line a row, with all of :data:`COLUMNS` and the number of discarded pairs."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "discarded"])
        for row in rows:
            writer.writerow([*("" if (v := value(row, name)) is None else v for name in COLUMNS), discarded(row)])


def shown_settings(rows: Sequence[Row]) -> tuple[list[str], str]:
    """The settings in which rows differ, and the rest of them in a line."""
    varying = [name for name in SETTINGS if len({value(row, name) for row in rows}) > 1]
    if not rows:
        return varying, ""
    fixed = [text for name in SETTINGS if name not in varying and (text := setting(rows[0], name))]
    return varying, ", ".join(fixed)


def setting(row: Row, name: str) -> str:
    """A setting in words: ``224 px``, ``batch of 8``."""
    found = value(row, name)
    words = {"batch_size": "batch of {}", "image_size": "{} px", "threads": "{} threads"}
    return words.get(name, "{}").format(found)


def seconds(number: float | None) -> str:
    """``12.3 ms``; a dash for None."""
    if number is None:
        return "-"
    return f"{number * 1e3:.3g} ms" if number < 1 else f"{number:.3g} s"


def megabytes(number: float | None) -> str:
    """``345 MB``; a dash for None."""
    return "-" if number is None else f"{number / 1e6:,.0f} MB"


def ratio(row: Row) -> str:
    """``1.02 [1.00, 1.03]``, with an interval where there is one; a dash for none."""
    found = row.ratio
    if not found:
        return "-"
    interval = f" [{found['low']:.3f}, {found['high']:.3f}]" if found["low"] and found["high"] else ""
    return f"{found['value']:.3f}{interval}"


def judgement(row: Row) -> str:
    """``faster``, ``slower``, ``same``, ``unresolved``; or the status of what has no figures."""
    return str(row.ratio["verdict"]) if row.ratio else row.status


def cells_of(row: Row, varying: Sequence[str]) -> list[str]:
    """What a table shows of a row, below :func:`header`."""
    work = {True: "yes", False: "no", None: "?"}[value(row, "same_work")] if row.work else "-"
    noise = value(row, "noise_floor")
    memory = value(row, "allocated") or value(row, "peak"), value(row, "allocated_theirs") or value(row, "peak_theirs")
    figures = row.figures or {"ours": {}, "theirs": {}}
    return [
        *(str(value(row, name)) for name in ("variant", "against")),
        *(setting(row, name) for name in varying),
        *(seconds(figures[who].get("median_s")) for who in ("ours", "theirs")),
        f"{images:,.1f}" if (images := value(row, "images_per_second")) is not None else "-",
        ratio(row),
        judgement(row),
        f"{noise:.1%}" if noise is not None and noise < math.inf else "-",
        work,
        *map(megabytes, memory),
    ]


def header(varying: Sequence[str]) -> list[str]:
    """Of a table."""
    return [
        "variant",
        "against",
        *(name.replace("_", " ") for name in varying),
        "ours",
        "theirs",
        "images/s",
        "speed of ours / theirs",
        "verdict",
        "noise",
        "same work",
        "memory",
        "of theirs",
    ]


RIGHT = ("ours", "theirs", "images/s", "noise", "memory", "of theirs")
"""Columns that are aligned to the right."""


def remarks(rows: Sequence[Row]) -> list[str]:
    """What rows say besides, a line each."""
    found = []
    for row in rows:
        about = [row.why, value(row, "work_why") and f"not shown to be the same work: {value(row, 'work_why')}"]
        if said := "; ".join(filter(None, about)):
            where = " ".join(str(value(row, name)) for name in ("mode", "engine", "dtype", "batch_size"))
            found.append(f"{value(row, 'variant')} | {value(row, 'against')}, {where}: {row.status}: {said}")
    return found
