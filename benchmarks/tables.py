"""Writes the tables of the README from the committed results: ``make tables``, or ``python benchmarks/tables.py``.

A table stands between ``<!-- results: FILE -->`` and ``<!-- end of results -->``; ``FILE`` is one of
``benchmarks/results/``. Where it is not there yet, the README says that the table is owed.
"""

from __future__ import annotations

import re
from pathlib import Path

from convzoo.bench.flat import judgement, ratio, seconds, setting, shown_settings, value
from convzoo.bench.results import Row, read

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
PLACE = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end of results -->)", re.DOTALL)
OWED = "*This table is owed: no results of it have been committed yet. `make {}` makes them.*\n"


def written(text: str) -> str:
    """``text`` with each of its tables as the results have it."""
    return PLACE.sub(lambda match: match[1] + table(RESULTS / match[2]) + match[3], text)


def table(path: Path) -> str:
    """A result file as a table in Markdown, with what it was measured on beneath it."""
    if not path.exists():
        return OWED.format("gpu" if path.stem == "gpu" else "results")
    rows = read(path).current()
    varying, fixed = shown_settings(rows)
    titles = ["variant", "against", *(name.replace("_", " ") for name in varying)]
    titles += ["ours", "theirs", "speed of ours by theirs", "verdict", "noise"]
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    lines += [f"| {' | '.join(_cells(row, varying))} |" for row in rows]
    return "\n".join([*lines, "", f"{_where(rows[0])}; {fixed}. {_counts(rows)}", ""])


def _cells(row: Row, varying: list[str]) -> list[str]:
    noise = value(row, "noise_floor")
    return [
        *(f"`{value(row, name)}`" for name in ("variant", "against")),
        *(setting(row, name) for name in varying),
        seconds(value(row, "median_s")),
        seconds(value(row, "median_s_theirs")),
        ratio(row),
        judgement(row),
        "-" if noise is None else f"{noise:.1%}",
    ]


def _where(row: Row) -> str:
    machine, versions = row.stamp["machine"], row.stamp["versions"]
    libraries = ", ".join(f"{name} {versions[name]}" for name in ("torch", "timm", "torchvision") if name in versions)
    return f"{machine['gpu'] or machine['processor']}, {machine['cores']} cores, {libraries}, {row.time[:10]}"


def _counts(rows: list[Row]) -> str:
    same = sum(value(row, "same_work") is True for row in rows)
    unresolved = sum(row.status == "unresolved" for row in rows)
    text = f"Shown to be the same work, parameters, MACs and outputs: {same} of {len(rows)}."
    return text + f" Unresolved within the time: {unresolved}." * bool(unresolved)


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote the tables of {README}")
