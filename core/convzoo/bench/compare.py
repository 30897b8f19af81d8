"""Two result files row by row: what became faster or slower, and what cannot be told apart. Imports no torch.

Where the other competitor is of another library, what is compared is our speed by its speed, pair by pair: a machine
that was slower on one of the two days slows both. Where it is of convzoo too, it changes with us, and our times are
compared as they are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from convzoo.bench.flat import SETTINGS, setting, value
from convzoo.bench.ranks import LEAST, p_value, shift
from convzoo.bench.results import ResultsError, Row, read
from convzoo.bench.stamp import unlike
from convzoo.bench.statistics import speeds
from convzoo.errors import OptionError, first_of, shown

CONFIDENCE = 0.99
"""Of the test and of the interval. Files have many rows, and one in twenty would be wrong too often."""
UNTOLD = "not to be told apart"
VERDICTS = ("slower", "faster", "same", UNTOLD)
"""``faster`` and ``slower``: beyond chance, and all of the interval beyond the noise of both runs. ``same``: all of it
within the precision that was asked of the two runs together, so that a noisy machine does not make things the same.
Otherwise the two are not to be told apart."""
MODES = ("events", "flush", "in_process")
"""Settings of the measurement that change what a time is."""


@dataclass(frozen=True)
class Change:
    """What became of a row.

    Args:
        old: row.
        new: row of the same cell.
        verdict: one of :data:`VERDICTS`.
        value: the new speed by the old one, above 1 where the new is faster; None without figures.
        low: the lower end of its interval.
        high: the upper end.
        p: of the rank test.
        floor: the largest ratio, less 1, that the noise of both runs explains.
        why: a sentence where the two are not to be told apart, or where something is to be said.
    """

    old: Row
    new: Row
    verdict: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    floor: float | None = None
    why: str = ""

    @property
    def lost(self) -> bool:
        """Whether the old run has figures, and the new one has none."""
        return bool(_pairs(self.old)) and not _pairs(self.new)

    def slower_by(self) -> float:
        """How much slower the new one is at least, by all of the interval: 0.05 where a batch takes 5 % longer."""
        return 1 / self.high - 1 if self.verdict == "slower" and self.high else 0.0


@dataclass
class Comparison:
    """The ``changes`` of rows that both files have, the rows that one alone has, and ``notes``, a sentence each."""

    changes: list[Change] = field(default_factory=list)
    only_old: list[Row] = field(default_factory=list)
    only_new: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def slower(self, limit: float) -> list[Change]:
        """The changes that are slower by more than the ``limit``, clearly: by all of their interval."""
        return [change for change in self.changes if change.slower_by() > limit]


def compare(old: str | Path, new: str | Path, allow_unlike: bool = False) -> Comparison:
    """What became of the rows of the file ``old`` in the file ``new``.

    Of a cell that a file has more than once, the last row counts.

    Args:
        old: result file.
        new: result file.
        allow_unlike: compare rows of unlike stamps too, and say that they are.

    Raises:
        ResultsError: a file cannot be read, or is no result file, or the two share no row.
        OptionError: rows have unlike stamps, and that was not allowed.
    """
    first, second = read(old), read(new)
    before, after = _by_cell(first.current()), _by_cell(second.current())
    shared = [key for key in before if key in after]
    if not shared:
        raise ResultsError(
            f"{old} has {len(before)} cells and {new} has {len(after)}, and none is in both: nothing to compare."
            f" A cell is a pair of competitors and {', '.join(SETTINGS)}"
        )
    found = Comparison(notes=[*first.notes, *second.notes])
    differing = {key: fields for key in shared if (fields := _unlike(before[key], after[key]))}
    if differing:
        said = _said_unlike(differing.values(), len(shared))
        if not allow_unlike:
            raise OptionError(f"{said}. Such rows are not compared, unless with --allow-unlike")
        found.notes.append(said)
    found.changes = [change(before[key], after[key]) for key in shared]
    found.only_old = [row for key, row in before.items() if key not in after]
    found.only_new = [row for key, row in after.items() if key not in before]
    return found


def change(old: Row, new: Row) -> Change:
    """What became of a row, by its raw samples."""
    without = [f"{age}: {row.status}: {row.why}" for age, row in (("old", old), ("new", new)) if not _pairs(row)]
    if without:
        return Change(old, new, UNTOLD, why="; ".join(each.rstrip(": ") for each in without))
    a, b = _logs(new), _logs(old)
    ratio, low, high = (math.exp(each) if each < 700 else math.inf for each in shift(a, b, CONFIDENCE))
    p, floor = p_value(a, b), _floor(old, new)
    verdict, why = UNTOLD, ""
    if min(len(a), len(b)) < LEAST:
        why = f"of {len(b)} and {len(a)} pairs; that is too few, {LEAST} are the least"
    elif floor is None:
        why = "a run has no noise floor, which is measured with at least 8 undisturbed pairs of like things"
    else:
        verdict = _verdict(low, high, p, floor, (1 + _precision(old)) * (1 + _precision(new)) - 1)
        why = "" if verdict != UNTOLD else "a difference may be there, within the interval and the noise"
    return Change(old, new, verdict, ratio, low, high, p, floor, "; ".join(filter(None, [why, _other_work(old, new)])))


def name(row: Row) -> str:
    """``resnet50 | timm:resnet50, infer, eager, batch of 8, ...``."""
    settings = ", ".join(setting(row, each) for each in SETTINGS)
    return f"{value(row, 'variant')} | {value(row, 'against')}, {settings}"


def _verdict(low: float, high: float, p: float, floor: float, precision: float) -> str:
    if p < 1 - CONFIDENCE and low > 1 + floor:
        return "faster"
    if p < 1 - CONFIDENCE and 1 / high > 1 + floor:
        return "slower"
    return "same" if 1 / (1 + precision) <= low and high <= 1 + precision else UNTOLD


def _by_cell(rows: Sequence[Row]) -> dict[str, Row]:
    return {json.dumps(row.cell, sort_keys=True): row for row in rows}


def _has_peer(row: Row) -> bool:
    return (row.cell.get("theirs") or {}).get("library") != "convzoo"


def _pairs(row: Row) -> list[list[float]]:
    """The pairs of times of a row, (N, 4); without those that are no times."""
    pairs = (row.samples or {}).get("pairs") or []
    return [each for each in pairs if len(each) == 4 and all(time and time > 0 for time in each)]


def _logs(row: Row) -> np.ndarray:
    """The logarithm of our speed, by that of the other where it is of another library: (N,), one a pair."""
    pairs = _pairs(row)
    if _has_peer(row):
        return speeds(pairs)
    times = np.asarray(pairs, dtype=float)
    return -np.log((times[:, 0] + times[:, 3]) / 2)


def _floor(old: Row, new: Row) -> float | None:
    """Of both runs: each may be off by its own noise."""
    floors = [value(row, "noise_floor") for row in (old, new)]
    if any(each is None or not math.isfinite(each) for each in floors):
        return None
    return float((1 + floors[0]) * (1 + floors[1]) - 1)


def _precision(row: Row) -> float:
    return float((row.ratio or {}).get("precision") or 0.0)


def _other_work(old: Row, new: Row) -> str:
    """That the variant itself has changed, if it has."""
    names = [n for n in ("params", "macs") if None not in (was := (value(old, n), value(new, n))) and was[0] != was[1]]
    said = " and ".join(f"{value(old, n):,} {n} became {value(new, n):,}" for n in names)
    return f"it is not the same work: {said}" if said else ""


def _unlike(old: Row, new: Row) -> dict[str, tuple[Any, Any]]:
    found = unlike(old.stamp, new.stamp)
    a, b = old.stamp.get("settings") or {}, new.stamp.get("settings") or {}
    found.update({f"settings.{n}": (a.get(n), b.get(n)) for n in MODES if a.get(n) != b.get(n)})
    return found


def _said_unlike(every: Iterable[dict[str, tuple[Any, Any]]], of: int) -> str:
    rows = list(every)
    fields: dict[str, tuple[Any, Any]] = {}
    for each in rows:
        fields.update({key: both for key, both in each.items() if key not in fields})
    said = [f"{key} ({shown(a)}, then {shown(b)})" for key, (a, b) in fields.items()]
    return f"{len(rows)} of {of} rows were measured under unlike stamps: {'; '.join(first_of(said))}"


def cells_of(change: Change, varying: Sequence[str]) -> list[str]:
    """What a table shows of a change, below :func:`header`; ``varying`` are the settings that it has columns for."""
    interval = "-"
    if change.low and change.high and math.isfinite(change.high):
        interval = f"{change.low:.3f} to {change.high:.3f}"
    return [
        str(value(change.new, "variant")),
        str(value(change.new, "against")),
        *(setting(change.new, each) for each in varying),
        "speed by theirs" if _has_peer(change.new) else "time",
        "-" if change.value is None else f"{change.value:.3f}",
        interval,
        "-" if change.p is None else f"{change.p:.1g}",
        "-" if change.floor is None else f"{change.floor:.1%}",
        change.verdict,
    ]


def header(varying: Sequence[str]) -> list[str]:
    """Of a table of changes."""
    settings = (each.replace("_", " ") for each in varying)
    return [
        "variant",
        "against",
        *settings,
        "measured",
        "new / old",
        f"{CONFIDENCE:.0%} interval",
        "p",
        "noise",
        "verdict",
    ]
