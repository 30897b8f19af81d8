"""Two result files compared: known answers on samples of a known shift, and what is refused or said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from convzoo.bench.compare import UNTOLD, change, compare
from convzoo.bench.ranks import p_value, shift
from convzoo.bench.results import Row, append
from convzoo.cli import main

from .bench_rows import STAMP, cell, row

RNG = np.random.default_rng


def files(folder: Path, old: list[Row], new: list[Row]) -> tuple[Path, Path]:
    for name, rows in (("old", old), ("new", new)):
        (folder / name).unlink(missing_ok=True)
        for number, each in enumerate(rows):
            each.id = f"{name}{number}"
            append(folder / name, each)
    return folder / "old", folder / "new"


def test_ranks_agree_with_worked_values() -> None:
    # Those of scipy.stats.mannwhitneyu(..., method="asymptotic").
    assert p_value([1, 2, 3, 4, 5, 6, 7, 8], [5, 6, 7, 8, 9, 10, 11, 12]) == pytest.approx(0.013313002763816655)
    assert p_value([1, 2, 2, 3, 9], [2, 3, 3, 4, 4, 5, 6]) == pytest.approx(0.24804238543550572)
    assert p_value([1, 1, 1], [1, 1, 1]) == 1.0
    value, low, high = shift(np.arange(20.0) + 3, np.arange(20.0), 0.95)
    assert value == 3
    assert low < 0 < 3 < high
    assert shift([2.0, 3.0], [1.0], 0.95)[1:] == (-np.inf, np.inf)


def test_the_rank_test_is_wrong_as_often_as_it_says() -> None:
    wrong = sum(p_value(RNG(i).standard_normal(15), RNG(i + 9999).standard_normal(25)) < 0.05 for i in range(1000))
    assert 30 <= wrong <= 70
    held = 0
    for i in range(300):
        _, low, high = shift(RNG(i).standard_normal(15) + 1, RNG(i + 9999).standard_normal(25), 0.9)
        held += low <= 1 <= high
    assert 255 <= held <= 285


@pytest.mark.parametrize("theirs", ["timm", "convzoo"])
def test_a_shift_of_5_percent_is_found_in_20_of_20(theirs: str) -> None:
    for seed in range(20):
        slower = change(row(seed, cell=cell(theirs=theirs)), row(seed + 100, 1.05, cell=cell(theirs=theirs)))
        faster = change(row(seed, 1.05, cell=cell(theirs=theirs)), row(seed + 100, cell=cell(theirs=theirs)))
        assert (slower.verdict, faster.verdict) == ("slower", "faster")
        assert slower.low <= 1 / 1.05 <= slower.high
        assert 0.03 < slower.slower_by() < 0.05
        assert faster.slower_by() == 0


def test_the_same_is_no_difference_in_20_of_20() -> None:
    assert {change(row(seed), row(seed + 100)).verdict for seed in range(20)} == {"same"}


def test_a_machine_that_is_slower_that_day_slows_both_of_a_pair_and_only_the_time_alone() -> None:
    assert change(row(1), row(2, day=1.1)).verdict == "same"
    alone = cell(theirs="convzoo")
    assert change(row(1, cell=alone), row(2, day=1.1, cell=alone)).verdict == "slower"


def test_what_has_too_few_samples_or_no_floor_or_a_wide_interval_is_not_to_be_told_apart() -> None:
    few = change(row(1), row(2, 1.5, pairs=7))
    assert (few.verdict, few.why) == (UNTOLD, "of 40 and 7 pairs; that is too few, 8 are the least")
    bare = change(row(1), row(2, 1.5, noise=None))
    assert bare.verdict == UNTOLD
    assert "no noise floor" in bare.why
    assert change(row(1, pairs=10, spread=0.1), row(2, pairs=10, spread=0.1)).verdict == UNTOLD
    within = change(row(1, noise={"floor": 0.04}), row(2, 1.05, noise={"floor": 0.04}))
    assert (within.verdict, round(within.floor or 0, 4)) == (UNTOLD, 0.0816)
    failed = change(row(1), row(2, status="failed", why="no compiler", samples=None, noise=None))
    assert (failed.verdict, failed.why) == (UNTOLD, "new: failed: no compiler")


def test_work_that_changed_is_said() -> None:
    small, large = ({"same": True, "ours": {"params": count, "macs": 7}} for count in (1000, 2000))
    assert "1,000 params became 2,000" in change(row(1, work=small), row(2, work=large)).why


def test_rows_are_matched_by_cell_and_the_rest_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = files(tmp_path, [row(1), row(2, cell=cell("gone"))], [row(9, 2.0), row(3, 1.2), row(cell=cell("mine"))])
    with new.open("a") as file:
        file.write(json.dumps({"convzoo_bench": 2}) + "\n" + '{"convzoo_bench": 1, "id": "ha')
    assert main(["bench", "--compare", str(old), str(new)]) == 0
    said = capsys.readouterr()
    assert "1 slower, 0 faster, 0 same, 0 not to be told apart" in said.out
    assert f"only in {old}: gone | timm:gone" in said.out
    assert f"only in {new}: mine | timm:mine" in said.out
    assert "0.83" in said.out  # the last row of a cell counts
    assert "the last line is cut off" in said.err
    assert "1 rows are of version 2" in said.err


def test_fail_above_fails_on_what_is_clearly_slower_by_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = map(str, files(tmp_path, [row(1)], [row(2, 1.1)]))
    assert main(["bench", "--compare", old, new, "--fail-above", "5%"]) == 1
    assert "slower by at least 9." in capsys.readouterr().out
    assert main(["bench", "--compare", old, new, "--fail-above", "10%"]) == 0  # not clearly by more
    assert main(["bench", "--compare", new, old, "--fail-above", "0"]) == 0


def test_fail_above_fails_on_what_was_measured_and_is_not_any_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = row(2, status="failed", why="no compiler", samples=None, noise=None)
    old, new = map(str, files(tmp_path, [row(1)], [gone]))
    assert main(["bench", "--compare", old, new, "--fail-above", "5%"]) == 1
    assert "it was measured, and is not any more (failed): " in capsys.readouterr().out
    assert main(["bench", "--compare", new, old, "--fail-above", "5%"]) == 0


def test_unlike_stamps_are_refused_with_their_fields_unless_told(tmp_path: Path) -> None:
    other = {**STAMP, "machine": {"processor": "two"}, "settings": {"flush": True}}
    old, new = files(tmp_path, [row(1)], [row(2, stamp=other)])
    with pytest.raises(ValueError, match=r"1 of 1 rows .* machine.processor \('one', then 'two'\); settings.flush"):
        compare(old, new)
    found = compare(old, new, allow_unlike=True)
    assert [each.verdict for each in found.changes] == ["same"]
    assert "unlike stamps" in found.notes[0]
    newer = {**STAMP, "versions": {"torch": "2.11", "convzoo": "0.2"}}
    assert compare(*files(tmp_path, [row(1)], [row(2, stamp=newer)])).notes == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--compare", "old", "none"], "none cannot be read"),
        (["--compare", "old", "apart"], "none is in both"),
        (["--compare", "old", "new", "resnet50"], "takes no names, got 'resnet50'"),
        (["--compare", "old", "new", "--from", "old"], "exclude each other"),
        (["--compare", "old", "new", "--csv", "x.csv"], "make them with --from"),
        (["--compare", "old", "new", "--fail-above=-1%"], "a share from 0 up"),
        (["--compare", "old", "new", "--fail-above", "nan"], "a share from 0 up"),
        (["resnet50", "--fail-above", "5%"], "belong to --compare"),
        (["--from", "old", "resnet50"], "--from measures nothing"),
    ],
)
def test_what_cannot_be_compared_is_said(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files(tmp_path, [row(1)], [row(2)])
    append(tmp_path / "apart", row(3, cell=cell("resnet18")))
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *words]) == 2
    assert said in capsys.readouterr().err
