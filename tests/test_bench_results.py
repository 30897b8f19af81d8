"""The result file: whatever is cut off or foreign, what is whole is read, and no row is lost or doubled."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from convzoo.bench.flat import COLUMNS, write_csv
from convzoo.bench.results import VERSION, ResultsError, Row, append, final_ids, mend, read
from convzoo.cli.timings import printed

CELL = {
    "ours": {"library": "convzoo", "name": "resnet50", "options": "", "form": "training", "label": "resnet50"},
    "theirs": {"library": "timm", "name": "resnet50", "options": "", "form": "training", "label": "timm:resnet50"},
    **{"mode": "infer", "device": "cpu", "dtype": "float32", "memory_format": "contiguous", "engine": "eager"},
    **{"batch_size": 1, "image_size": 224, "threads": 2},
}


def row(name: str, status: str = "measured", **fields: Any) -> Row:
    return Row(name, "2026-01-01T00:00:00+00:00", "resnet", CELL, {"commit": None}, status, **fields)


def test_a_row_comes_back_as_it_was_and_what_is_not_finite_as_nothing(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    first = row("a", work={"same": True}, samples={"pairs": [[0.1, 0.2, 0.2, 0.1]], "noise": [], "batches": 1})
    append(file, first)
    append(file, row("b", ratio={"value": 1.0, "low": 0.0, "high": float("inf")}))
    found = read(file)
    assert found.notes == []
    assert found.rows[0] == first
    assert found.rows[1].ratio == {"value": 1.0, "low": 0.0, "high": None}
    assert file.read_text().startswith('{"convzoo_bench": 1, ')


def test_a_run_killed_at_any_byte_goes_on_with_no_row_lost_or_doubled(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jsonl"
    for name in "abc":
        append(whole, row(name))
    data = whole.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    near = {end + i for end in ends for i in (-2, -1, 0, 1) if end + i <= len(data)}
    for size in sorted({*range(0, len(data), 37), *near}):
        file = tmp_path / "cut.jsonl"
        file.write_bytes(data[:size])
        kept = [name for name, end in zip("abc", ends, strict=True) if size >= end - 1]
        found = read(file)
        assert [r.id for r in found.rows] == kept
        assert len(found.notes) == (size not in (0, *ends, *(end - 1 for end in ends)))
        for name in "abc":
            if name not in final_ids(found.rows):
                append(file, row(name))
        assert [r.id for r in read(file).rows] == ["a", "b", "c"]
        assert read(file).notes == []


def test_half_a_last_line_is_said_and_removed_on_going_on(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    append(file, row("a"))
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:50])
    assert "the last line is cut off" in read(file).notes[0]
    assert mend(file)
    assert file.read_bytes() == whole
    assert not mend(file)


def test_rows_of_another_version_are_counted_and_left_out(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    append(file, row("a"))
    with file.open("a") as out:
        out.write(json.dumps({"convzoo_bench": VERSION + 1, "other": 1}) + "\n")
        out.write("not json\n")
        out.write(json.dumps({"convzoo_bench": VERSION, "id": "x"}) + "\n")
    found = read(file)
    assert [r.id for r in found.rows] == ["a"]
    assert "line 3 is no row" in found.notes[0]
    assert "line 4 is a row without time" in found.notes[1]
    assert f"1 rows are of version {VERSION + 1}; this convzoo reads version {VERSION}" in found.notes[2]


@pytest.mark.parametrize("content", ["notes of mine\n", "notes of mine", '{"some": "json"}\n'])
def test_a_file_of_somebody_else_is_refused_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(content)
    for act in (read, mend, lambda path: append(path, row("a"))):
        with pytest.raises(ResultsError, match="no result file"):
            act(file)
    assert file.read_text() == content


def test_a_missing_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"none\.jsonl cannot be read"):
        read(tmp_path / "none.jsonl")


def test_an_interrupted_cell_is_not_final_and_its_next_row_counts(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    append(file, row("a", "interrupted"))
    assert final_ids(read(file).rows) == set()
    append(file, row("a"))
    assert final_ids(read(file).rows) == {"a"}
    assert [r.status for r in read(file).current()] == ["measured"]


def test_csv_and_table_have_rows_without_figures_too(tmp_path: Path) -> None:
    rows = [row("a", ratio={"value": 1.5, "low": 1.4, "high": 1.6, "verdict": "faster"}), row("b", "refused", why="no")]
    write_csv(rows, tmp_path / "t.csv")
    with open(tmp_path / "t.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [*lines[0]] == [*COLUMNS, "discarded"]
    assert [line["ratio"] for line in lines] == ["1.5", ""]
    assert [line["why"] for line in lines] == ["", "no"]
    text = printed(rows)
    assert "1.500 [1.400, 1.600]" in text
    assert "refused: no" in text
