"""Writes the tables of results from ``benchmarks/results/``: ``make tables``, or ``python benchmarks/tables.py``.

The README has the ratios, variant by variant, between ``<!-- results: FILE -->`` and ``<!-- end of results -->``; where
there is no such file yet, it says that the table is owed. All rows stand in ``benchmarks/results/README.md``.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from pathlib import Path

from convzoo.bench.flat import judgement, ratio, seconds, setting, shown_settings, value
from convzoo.bench.results import Row, read

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
PLACE = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end of results -->)", re.DOTALL)
OWED = "*This table is owed: no results of it have been committed yet. `make {}` makes them.*\n"
SHORT = {"training": "as it is", "deployed": "deployed", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
"""What tables call the forms and engines."""
EXPLAINED = (
    "\nSpeed of ours by timm's unless another is named, both in the same engine, with the interval of 95 % where there"
    " are pairs enough for one; bold: faster by more than the noise of the machine, italic: slower. All rows, with"
    " their times, are in [benchmarks/results](benchmarks/results/README.md).\n"
)


def written(text: str) -> str:
    """``text`` with each of its tables as the results have it."""
    return PLACE.sub(lambda match: match[1] + ratios(RESULTS / match[2]) + match[3], text)


def ratios(path: Path) -> str:
    """The ratios of a result file in Markdown: a line for each variant, a column for each way to run it."""
    if not path.exists():
        return OWED.format("gpu" if path.stem == "gpu" else "results")
    rows = read(path).current()
    columns = list(dict.fromkeys(map(_column, rows)))
    cells: dict[str, dict[str, Row]] = {}
    for row in rows:
        cells.setdefault(row.cell["ours"]["name"], {})[_column(row)] = row
    lines = [f"| variant | {' | '.join(columns)} |", f"|{'---|' * (len(columns) + 1)}"]
    for variant, found in cells.items():
        shown = [_marked(found[column]) if column in found else "" for column in columns]
        lines.append(f"| `{variant}` | {' | '.join(shown)} |")
    means = [_mean([found[column] for found in cells.values() if column in found]) for column in columns]
    lines.append(f"| geometric mean | {' | '.join(means)} |")
    return "\n".join([*lines, EXPLAINED, *_conditions(rows), ""])


def table(path: Path) -> str:
    """All rows of a result file in Markdown, with what they were measured on beneath them."""
    rows = read(path).current()
    varying, fixed = shown_settings(rows)
    titles = ["variant", "against", *(name.replace("_", " ") for name in varying)]
    titles += ["ours", "theirs", "speed of ours by theirs", "verdict", "noise"]
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    lines += [f"| {' | '.join(_cells(row, varying))} |" for row in rows]
    return "\n".join([*lines, "", f"{_machine(rows[0])}; {fixed}. {_counts(rows)}", ""])


def page() -> str:
    """``benchmarks/results/README.md``."""
    parts = ["# Results\n", "Written by `make tables` from the files beside it, which `convzoo bench` has written.\n"]
    parts.append("[memory.md](memory.md): memory and time of DenseNet's training steps, plain and checkpointed.\n")
    for path in sorted(RESULTS.glob("*.jsonl")):
        parts += [f"## {path.name}\n", table(path)]
    return "\n".join(parts)


def _column(row: Row) -> str:
    mode, engine = value(row, "mode"), value(row, "engine")
    form = "training step" if mode == "train" else SHORT[row.cell["ours"]["form"]]
    library = row.cell["theirs"]["library"]
    by = {"timm": "", "convzoo": ", by its training graph"}.get(library, f", by {library}'s")
    return form + ("" if engine == "eager" else f" in {SHORT.get(engine, engine)}") + by


def _marked(row: Row) -> str:
    mark = {"faster": "**", "slower": "*"}.get(judgement(row), "")
    return f"{mark}{ratio(row)}{mark}" if row.ratio else row.status


def _mean(rows: Sequence[Row]) -> str:
    found = [row.ratio["value"] for row in rows if row.ratio]
    return f"{statistics.geometric_mean(found):.3f}" if len(found) > 1 else ""


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


def _conditions(rows: list[Row]) -> list[str]:
    """On what, and in which settings, they were measured; those that columns differ in, column by column."""
    alike: dict[str, list[str]] = {}
    for column in dict.fromkeys(map(_column, rows)):
        _, fixed = shown_settings([row for row in rows if _column(row) == column])
        alike.setdefault(fixed, []).append(column)
    return [f"{_machine(rows[0])}.", "", *(f"- {', '.join(columns)}: {fixed}." for fixed, columns in alike.items())]


def _machine(row: Row) -> str:
    machine, versions = row.stamp["machine"], row.stamp["versions"]
    known = ("torch", "timm", "torchvision", "onnxruntime", "openvino")
    libraries = ", ".join(f"{name} {versions[name]}" for name in known if name in versions)
    return f"{machine['gpu'] or machine['processor']}, {machine['cores']} cores, {libraries}, {row.time[:10]}"


def _counts(rows: list[Row]) -> str:
    same = sum(value(row, "same_work") is True for row in rows)
    unresolved = sum(row.status == "unresolved" for row in rows)
    text = f"Shown to be the same work, parameters, MACs and outputs: {same} of {len(rows)}."
    return text + f" Unresolved within the time: {unresolved}." * bool(unresolved)


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
    (RESULTS / "README.md").write_text(page(), encoding="utf-8")
    print(f"wrote the tables of {README} and {RESULTS / 'README.md'}")
