"""The result file: JSON lines, one row a cell, appended as cells end. This module imports no torch.

A row of version 1 is one object on one line. Times are seconds, memory is bytes, and what was not measured is null.

``convzoo_bench``
    The version, 1. It is the first key of every row.
``id``
    What the row is of: 16 hex digits, the same for the same cell under a like stamp.
``time``
    When the cell ended, UTC, ``2026-01-31T12:00:00+00:00``.
``family``
    Of the variant, such as ``resnet``.
``cell``
    ``ours`` and ``theirs``, two competitors; and ``mode`` (``infer`` or ``train``), ``device`` (``cpu``, ``cuda:0``),
    ``dtype``, ``memory_format``, ``engine``, ``batch_size``, ``image_size`` (pixels) and ``threads``. A competitor has
    ``library`` (``convzoo``, ``timm``, ``torchvision``), ``name``, ``options`` (as in ``name[options]``, or empty),
    ``form`` (``training`` or ``deployed``) and ``label``, which says all of it in short.
``stamp``
    Where and with what: ``machine``, ``versions``, ``flags``, ``environment``, ``settings`` (of the measurement) and
    ``commit``. See :mod:`convzoo.bench.stamp`.
``status``, ``why``
    One of :data:`STATUSES`, and a sentence where it is not ``measured`` or where something is to be said.
``work``
    Whether the two do the same: ``same`` (true, false, or null if it was not found out), ``why``, ``carried`` (how the
    weights were carried over: ``key map``, ``transplant``, ``same weights``, or null), ``ours`` and ``theirs`` with
    ``params`` and ``macs``, ``outputs`` and ``timed`` (largest differences in float32, and in the form that is timed:
    ``absolute``, ``relative``, ``bound``), and ``values`` (shares of subnormal and counts of non-finite numbers).
``figures``
    For ``ours`` and ``theirs``: ``median_s``, ``low_s``, ``high_s`` (quartiles) of one batch, ``images_per_second``.
``ratio``
    The speed of ours by that of theirs, above 1 where ours is faster: ``value``, ``low``, ``high``, ``confidence``,
    ``pairs``, ``width`` (of the interval, relative), ``precision`` (what was asked), and ``verdict``, one of
    :data:`VERDICTS`.
``noise``
    Of the A/A run, ours against a twin of itself: ``floor`` (the largest ratio of like things that is to be expected,
    less 1), ``value``, ``low``, ``high``, ``pairs``.
``memory``
    For ``ours`` and ``theirs``, in a process of their own: ``peak`` (VmHWM), ``before`` (resident before the network
    was made), ``saved`` (for backward, by a training step), and on CUDA ``allocated``, ``reserved``, ``process``.
``startup``
    For ``ours`` and ``theirs``: ``torch_s`` and ``import_s`` (of the library, after torch), ``create_s``, ``first_s``
    (until the first batch is there, compiling included), ``compile_s`` (of that, what later batches do not take).
``samples``
    ``pairs`` and ``noise``: for each pair the four times of one batch in the order ours, theirs, theirs, ours (for
    noise: ours, twin, twin, ours); ``batches``, how many batches a time is the mean of.
``discarded``
    Pairs that were disturbed, repeated and not counted: ``times`` (four), ``of`` (``pairs`` or ``noise``), ``why``.
``watch``
    What was watched, and what it saw over all: ``watched``, ``stolen``, ``waited`` (shares of time), ``clock``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from convzoo.errors import ConvzooError, shown

VERSION = 1
"""Of the rows that this convzoo writes, and reads."""
STATUSES = ("measured", "unresolved", "refused", "out of memory", "failed", "interrupted")
"""``measured``: the interval is as narrow as asked. ``unresolved``: the budget was spent before. ``refused``: an engine
or a device cannot do it. ``interrupted``: a resumed run does it again."""
FINAL = tuple(status for status in STATUSES if status != "interrupted")
"""What a resumed run leaves as it is."""
VERDICTS = ("faster", "slower", "same", "unresolved")
"""``same``: no difference beyond the noise of the machine was found, within the precision that was asked. A row whose
status is ``unresolved`` may be ``faster`` or ``slower`` all the same, where all of its interval is beyond the noise."""
KEY = "convzoo_bench"
_FIRST = f'{{"{KEY}": '


class ResultsError(ConvzooError, ValueError):
    """A file that is no result file."""


@dataclass
class Row:
    """One cell's result; the module says what the fields hold.

    Args:
        id: of the cell under its stamp.
        time: when the cell ended.
        family: of the variant.
        cell: competitors and settings.
        stamp: where and with what.
        status: one of :data:`STATUSES`.
        why: a sentence, or nothing.
        work: whether the two do the same.
        figures: times of a batch, and images per second.
        ratio: of the speeds, with its interval and verdict.
        noise: of the machine.
        memory: of each of the two.
        startup: of each of the two.
        samples: raw times.
        discarded: disturbed pairs.
        watch: what was watched.
    """

    id: str
    time: str
    family: str
    cell: dict[str, Any]
    stamp: dict[str, Any]
    status: str
    why: str = ""
    work: dict[str, Any] | None = None
    figures: dict[str, Any] | None = None
    ratio: dict[str, Any] | None = None
    noise: dict[str, Any] | None = None
    memory: dict[str, Any] | None = None
    startup: dict[str, Any] | None = None
    samples: dict[str, Any] | None = None
    discarded: list[dict[str, Any]] = field(default_factory=list)
    watch: dict[str, Any] | None = None

    def to_json(self) -> str:
        """One line, without its end."""
        record = {KEY: VERSION, **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)}}
        return json.dumps(_plain(record), allow_nan=False)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Row:
        """The row of the ``record`` that JSON gave; keys that this version does not know are left out.

        Raises:
            ResultsError: something is missing, or is of another type.
        """
        fields = dataclasses.fields(cls)
        needed = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
        if missing := [name for name in needed if name not in record]:
            raise ResultsError(f"a row without {', '.join(missing)}")
        if not isinstance(record["cell"], dict) or not isinstance(record["stamp"], dict):
            raise ResultsError("a row whose cell or stamp is no object")
        if record["status"] not in STATUSES:
            raise ResultsError(f"a row of the unknown status {shown(record['status'])}")
        return cls(**{f.name: record[f.name] for f in fields if f.name in record})


@dataclass
class Results:
    """What a file has: its whole ``rows``, and ``notes`` on what could not be read, a sentence each."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def current(self) -> list[Row]:
        """The last row of each id, in the order in which the ids came."""
        return list({row.id: row for row in self.rows}.values())


def read(path: str | Path) -> Results:
    """The rows of a result file that are whole and of this version; its notes say what else is there.

    Args:
        path: of the file.

    Raises:
        ResultsError: it does not exist, cannot be read, or has nothing of a result file.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror or error}") from None
    results = Results()
    lines = data.split(b"\n")
    half = lines.pop()  # what follows the last end of a line
    others: dict[Any, int] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            _read_line(line, f"{path}, line {number}", results, others)
    if half.strip():
        row = _record(half)
        if row is not None and isinstance(row.get(KEY), int):
            _read_line(half, f"{path}, last line", results, others)
        else:
            results.notes.append(f"{path}: the last line is cut off, as a run that was killed leaves it; left out")
    for version, count in others.items():
        results.notes.append(
            f"{path}: {count} rows are of version {shown(version)}; this convzoo reads version {VERSION}. Left out"
        )
    if not results.rows and not others and not data.startswith(_FIRST.encode()[: len(data)]):
        raise ResultsError(f"{path} is no result file of convzoo bench")
    return results


def append(path: str | Path, row: Row) -> None:
    """Add a ``row`` to the file at ``path`` in one piece; a half line at its end is cut first.

    The file is made if it is not there.

    Raises:
        ResultsError: the file has something else in it.
        OSError: it cannot be written.
    """
    with open(path, "ab+") as file:
        _lock(file)
        _mend(file, path)
        file.write(row.to_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def mend(path: str | Path) -> bool:
    """Cut a half line at the end of the result file at ``path``; whether there was one.

    Raises:
        ResultsError: the file has something else in it.
    """
    if not Path(path).exists():
        return False
    with open(path, "ab+") as file:
        _lock(file)
        return _mend(file, path)


def final_ids(rows: Iterable[Row]) -> set[str]:
    """The ids of those ``rows`` that a resumed run has no need to measure again."""
    last = {row.id: row.status for row in rows}
    return {each for each, status in last.items() if status in FINAL}


def _lock(file: BinaryIO) -> None:
    """Keep other runs from writing to it until it is closed, where the system has such locks."""
    with contextlib.suppress(ImportError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)


def _mend(file: BinaryIO, path: str | Path) -> bool:
    file.seek(0)
    data = file.read()
    if data and not data.startswith(_FIRST.encode()[: len(data)]):
        raise ResultsError(f"{path} is no result file of convzoo bench, and nothing was written to it")
    half = data[data.rfind(b"\n") + 1 :]
    if not half:
        return False
    if _record(half) is not None:  # whole but for its end
        file.write(b"\n")
        return False
    file.truncate(len(data) - len(half))
    return True


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _read_line(line: bytes, where: str, results: Results, others: dict[Any, int]) -> None:
    record = _record(line)
    if record is None or KEY not in record:
        results.notes.append(f"{where} is no row of a result file; left out")
    elif record[KEY] != VERSION:
        version = record[KEY] if isinstance(record[KEY], (int, str)) else str(record[KEY])
        others[version] = others.get(version, 0) + 1
    else:
        try:
            results.rows.append(Row.from_record(record))
        except ResultsError as error:
            results.notes.append(f"{where} is {error}; left out")


def _plain(value: Any) -> Any:
    """``value`` with numbers that are not finite as None, which JSON has."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
