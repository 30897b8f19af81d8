"""All cells of a plan, one after the other, each row appended when its cell ends. This module imports torch only to
stamp, or where cells run in this process."""

from __future__ import annotations

import dataclasses
import datetime
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from convzoo.bench.cells import Cell
from convzoo.bench.process import in_worker
from convzoo.bench.results import FINAL, Row, append, mend, read
from convzoo.bench.stamp import row_id, stamp
from convzoo.errors import said

if TYPE_CHECKING:
    from convzoo.bench.measure import How

SLACK = 600.0
"""Seconds beyond its budget that a cell may take to build, compile and warm up."""


class Listener(Protocol):
    """Who is told how a run goes on."""

    def begins(self, cell: Cell, number: int, of: int) -> None:
        """A cell begins, ``number`` from 1."""

    def goes_on(self, progress: dict[str, Any]) -> None:
        """A cell has ``value``, ``width`` and ``pairs`` so far, after ``spent`` seconds."""

    def ends(self, row: Row) -> None:
        """A cell has ended."""


class Silent:
    """Who does not care."""

    def begins(self, cell: Cell, number: int, of: int) -> None:
        """Nothing."""

    def goes_on(self, progress: dict[str, Any]) -> None:
        """Nothing."""

    def ends(self, row: Row) -> None:
        """Nothing."""


@dataclasses.dataclass
class Todo:
    """What is left of a plan: ``cells`` with their ids, ``kept`` rows that an earlier run has, and ``notes``."""

    cells: list[tuple[Cell, str]]
    kept: list[Row]
    notes: list[str]
    stamp: dict[str, Any]


def resumed(cells: Sequence[Cell], how: How, path: Path, again: bool = False) -> Todo:
    """What of ``cells`` is not in the file yet.

    Args:
        cells: of the plan.
        how: they are measured. A row that is unresolved after a smaller budget, or wider than now asked, is done
            again.
        path: of the result file.
        again: do also what failed, was refused, or ran out of memory.

    Raises:
        ResultsError: the file is something else.
    """
    stamped = stamp(cells, dataclasses.asdict(how))
    notes: list[str] = []
    rows: dict[str, Row] = {}
    if path.exists() and path.stat().st_size:
        if mend(path):
            notes.append(f"{path}: the last line was cut off, as a run that was killed leaves it, and was removed")
        found = read(path)
        notes += found.notes
        rows = {row.id: row for row in found.current()}
    ids = [(cell, row_id(cell, stamped)) for cell in cells]
    done = {each for cell, each in ids if each in rows and _stands(rows[each], how, again)}
    if done:
        notes.append(f"{path} has {len(done)} of {len(ids)} rows already; --again measures all of them again")
    return Todo([(c, i) for c, i in ids if i not in done], [rows[i] for _, i in ids if i in done], notes, stamped)


def _stands(row: Row, how: How, again: bool) -> bool:
    if again or row.status not in FINAL:
        return False
    asked = row.stamp.get("settings", {}).get("rule", {})
    if row.status == "unresolved":
        return asked.get("budget", 0) >= how.rule.budget and asked.get("precision", 1) <= how.rule.precision
    return row.status != "measured" or (row.ratio or {}).get("width", 1) <= how.rule.precision


def run(
    todo: Todo,
    how: How,
    path: Path,
    listener: Listener,
    until: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Row]:
    """Measure what is to do; each row is given when it is in the file.

    An interrupt ends the run with a row of the cell that it fell into. No cell begins after ``until`` on the ``clock``.
    """
    for number, (cell, each) in enumerate(todo.cells, start=1):
        if clock() > until:
            return
        listener.begins(cell, number, len(todo.cells))
        row = Row(each, "", cell.family, cell.to_dict(), todo.stamp, "interrupted", "the run was interrupted")
        try:
            fill(row, measured(cell, how, listener.goes_on))
        except KeyboardInterrupt:
            append(path, dated(row))
            listener.ends(row)
            yield row
            raise
        append(path, dated(row))
        listener.ends(row)
        yield row


def measured(cell: Cell, how: How, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The fields of a cell's row, whatever happens in it."""
    if cell.refusal:
        return {"status": "refused", "why": cell.refusal}
    result = _task(cell, how, "", tell)
    if not how.memory or result["status"] not in ("measured", "unresolved"):
        return result
    result["memory"], result["startup"] = {}, {}
    for who in ("ours", "theirs"):
        alone = _task(cell, how, who, tell)
        for part in ("memory", "startup"):
            result[part][who] = alone.get(part)
        if "status" in alone:  # what the timing has stands
            result["why"] = "; ".join(filter(None, [result["why"], f"memory of {who}: {alone['why']}"]))
    return result


def _task(cell: Cell, how: How, alone: str, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    if how.in_process:
        return _here(cell, how, alone, tell)
    task = {"cell": cell.to_dict(), "family": cell.family, "how": dataclasses.asdict(how), "alone": alone}
    return in_worker(task, threads=cell.settings.threads, limit=how.rule.budget + SLACK, tell=tell)


def _here(cell: Cell, how: How, alone: str, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    from convzoo.bench.measure import CellError, clean_up, start_alone, time_cell

    def progress(ratio: Any, spent: float) -> None:
        tell({"value": ratio.value, "width": ratio.width, "pairs": ratio.pairs, "spent": spent})

    try:
        return start_alone(cell, alone, how) if alone else time_cell(cell, how, progress)
    except CellError as error:
        return {"status": error.status, "why": str(error)}
    except Exception as error:
        return {"status": "failed", "why": said(error)}
    finally:
        clean_up()


def fill(row: Row, fields: dict[str, Any]) -> None:
    """Put what was measured into a row."""
    for name, value in fields.items():
        setattr(row, name, value)


def dated(row: Row) -> Row:
    """The row with the time of now."""
    row.time = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return row
