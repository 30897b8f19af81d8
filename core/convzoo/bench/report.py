"""Rows as one page that opens offline: its data, and the template in ``page/`` with Plotly's script put in.

The page is text from its template; what comes from rows is only in its data, a JSON without ``<``, ``>`` and ``&``,
which the scripts of the page put in as text. It asks nothing of a network, and its policy forbids it to.
"""

from __future__ import annotations

import datetime
import importlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from convzoo.bench.flat import SETTINGS, discarded, judgement, remarks, shown_settings, value
from convzoo.bench.results import Row
from convzoo.errors import OptionError

COLUMNS = (
    *("variant", "against", "family", *SETTINGS, "status", "why", "same_work", "work_why", "params", "macs"),
    *("params_theirs", "macs_theirs", "median_s", "median_s_theirs", "images_per_second", "images_per_second_theirs"),
    *("ratio", "ratio_low", "ratio_high", "pairs", "noise_floor"),
)
"""What the page has of each row, besides its memory, its samples and its stamp."""
PARTS = ("style.css", "table.js", "charts.js", "page.js")
"""Of the page, beside ``page.html``; each stands in it as ``{{name}}``."""
DIGITS = 6
"""Of a time, in the page: the file has all of them."""


def write_report(rows: Sequence[Row], path: str | Path) -> None:
    """Write the page of the rows.

    Raises:
        OptionError: Plotly is not installed.
        OSError: the file cannot be written.
    """
    Path(path).write_text(page(rows), encoding="utf-8")


def page(rows: Sequence[Row]) -> str:
    """The whole page, as HTML.

    Raises:
        OptionError: Plotly is not installed.
    """
    folder = resources.files("convzoo.bench") / "page"
    parts = {name: (folder / name).read_text(encoding="utf-8") for name in PARTS}
    parts["plotly"] = plotly_script()
    parts["data"] = embedded(data(rows))
    template = (folder / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{([\w.]+)\}\}", lambda found: parts[found[1]], template)


def data(rows: Sequence[Row]) -> dict[str, Any]:
    """What the page is of: ``rows``, their ``stamps``, the settings in which they vary, and remarks."""
    varying, fixed = shown_settings(rows)
    stamps: list[dict[str, Any]] = []
    records = []
    for row in rows:
        if row.stamp not in stamps:
            stamps.append(row.stamp)
        records.append(_record(row, stamps.index(row.stamp)))
    return {
        "rows": records,
        "stamps": stamps,
        "settings": list(SETTINGS),
        "varying": varying,
        "fixed": fixed,
        "remarks": remarks(rows),
        "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def embedded(found: Any) -> str:
    """``found`` as JSON that may stand in a script element: without ``<``, ``>`` and ``&``."""
    text = json.dumps(found, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def plotly_script() -> str:
    """Plotly's own script, as its Python package has it.

    Raises:
        OptionError: the package is not installed.
    """
    try:
        script: str = importlib.import_module("plotly.offline").get_plotlyjs()
    except ImportError:
        raise OptionError("--report needs plotly: pip install 'convzoo[report]'") from None
    return re.sub(r"</(?=script)", r"<\\/", script, flags=re.IGNORECASE)


def _record(row: Row, stamp: int) -> dict[str, Any]:
    samples = row.samples or {}
    made = {name: _finite(value(row, name)) for name in COLUMNS}
    return {
        **made,
        "verdict": judgement(row),
        "memory": _memory(row, ""),
        "memory_theirs": _memory(row, "_theirs"),
        "discarded_count": discarded(row),
        "stamp": stamp,
        "samples": {name: _times(samples.get(name) or ()) for name in ("pairs", "noise")},
        "discarded": _times(each.get("times") or () for each in row.discarded if each.get("of") == "pairs"),
    }


def _memory(row: Row, end: str) -> Any:
    """Bytes at the most: those of the tensors on CUDA, and of the process otherwise."""
    return value(row, f"allocated{end}") or value(row, f"peak{end}")


def _times(pairs: Iterable[Sequence[float | None]]) -> list[list[float | None]]:
    return [[None if time is None else float(f"{time:.{DIGITS}g}") for time in pair] for pair in pairs]


def _finite(found: Any) -> Any:
    return None if isinstance(found, float) and not math.isfinite(found) else found
