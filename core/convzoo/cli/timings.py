"""Rows in a terminal: a table and a progress bar by rich where it is installed, and plain text otherwise."""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from convzoo.bench.cells import Cell
from convzoo.bench.flat import RIGHT, cells_of, header, judgement, ratio, remarks, shown_settings
from convzoo.bench.results import Row
from convzoo.cli.tables import table


def has_rich() -> bool:
    """Whether rich is installed."""
    return importlib.util.find_spec("rich") is not None


def printed(rows: Sequence[Row]) -> str:
    """The table in plain text, with what is to be said beneath it."""
    varying, fixed = shown_settings(rows)
    lines = [table(header(varying), [cells_of(row, varying) for row in rows], right=RIGHT)]
    return "\n".join([*lines, "", _beneath(rows, fixed)])


def show(rows: Sequence[Row], out: TextIO | None = None) -> None:
    """Print the table; with rich, if it is installed and ``out`` is a terminal."""
    out = out or sys.stdout
    if not (has_rich() and out.isatty()):
        print(printed(rows), file=out)
        return
    rich_table = importlib.import_module("rich.table")
    console = importlib.import_module("rich.console").Console(file=out)
    text = importlib.import_module("rich.text").Text
    varying, fixed = shown_settings(rows)
    made = rich_table.Table(header_style="bold", row_styles=("", "dim"))
    for title in header(varying):
        made.add_column(title, justify="right" if title in RIGHT else "left", overflow="fold")
    colours = {"faster": "green", "slower": "red", "unresolved": "yellow"}
    for row in rows:
        said = judgement(row)
        made.add_row(
            *(text(each, style=colours.get(each, "") if each == said else "") for each in cells_of(row, varying))
        )
    console.print(made)
    console.print(text(_beneath(rows, fixed)))


class Plain:
    """Tells of a run by lines of text.

    Args:
        out: where to.
        clock: seconds.
    """

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.out, self.clock = out or sys.stderr, clock
        self.start = clock()
        self.ended = self.count = 0

    def begins(self, cell: Cell, number: int, of: int) -> None:
        """A cell begins."""
        self.count = of

    def goes_on(self, progress: dict[str, Any]) -> None:
        """Nothing is said of it."""

    def ends(self, row: Row) -> None:
        """A cell has ended."""
        self.ended += 1
        words = [row.cell["ours"]["label"], "|", row.cell["theirs"]["label"], ratio(row), judgement(row)]
        print(f"{self.ended}/{self.count} {' '.join(words)}{self.left()}", file=self.out, flush=True)

    def left(self) -> str:
        """``, about 4 min left``, from how long the cells took that have ended."""
        rest = (self.clock() - self.start) / self.ended * (self.count - self.ended) if self.ended else 0.0
        return f", about {rest / 60:.0f} min left" if rest >= 60 else f", about {rest:.0f} s left" if rest else ""

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Bar(Plain):
    """Tells of a run by a progress bar of rich, with the time left and the figures so far."""

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(out, clock)
        progress = importlib.import_module("rich.progress")
        console = importlib.import_module("rich.console").Console(file=self.out)
        columns = (
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.description}", markup=False),
        )
        self.bar = progress.Progress(*columns, console=console, transient=True)
        self.task: Any = None
        self.what = ""

    def begins(self, cell: Cell, number: int, of: int) -> None:
        super().begins(cell, number, of)
        self.what = f"{cell.ours.label} | {cell.theirs.label}{self.left()}"
        if self.task is None:
            self.task = self.bar.add_task(self.what, total=of)
        self.bar.update(self.task, description=self.what)

    def goes_on(self, progress: dict[str, Any]) -> None:
        so_far = f"{progress['value']:.3f} ±{progress['width'] / 2:.1%} of {progress['pairs']} pairs"
        self.bar.update(self.task, description=f"{self.what}: {so_far}")

    def ends(self, row: Row) -> None:
        self.ended += 1
        self.bar.advance(self.task)

    def __enter__(self) -> Bar:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()


def listener(cells: int, out: TextIO | None = None) -> Plain:
    """A bar if rich is installed and ``out``, by default the standard error, is a terminal; lines otherwise.

    Args:
        cells: of the run; of a single one there is nothing to be said but its row.
        out: where to.
    """
    out = out or sys.stderr
    if has_rich() and out.isatty():
        return Bar(out)
    return Plain(out) if cells > 1 or out.isatty() else Plain(io.StringIO())


def _beneath(rows: Sequence[Row], fixed: str) -> str:
    lines = [f"{len(rows)} rows; {fixed}"] if fixed else [f"{len(rows)} rows"]
    if disturbed := sum(len(row.discarded) for row in rows):
        pairs = disturbed + sum(len(part) for row in rows if row.samples for part in _timed(row.samples))
        lines.append(f"{disturbed} of {pairs} pairs were disturbed, thrown away and repeated")
    lines.append("a ratio above 1: ours is faster; no difference within the noise of the machine is called one")
    return "\n".join([*lines, *remarks(rows)])


def _timed(samples: dict[str, Any]) -> tuple[Any, Any]:
    return samples["pairs"], samples["noise"]
