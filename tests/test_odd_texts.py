"""Names of options and models, and globs: what they may be, and that nothing takes for ever."""

from __future__ import annotations

import time
from typing import Any

import pytest

import convzoo
from convzoo import OptionError, SpecError, UnknownNameError, ref
from convzoo.errors import shown
from convzoo.spec.options import Options


def test_names_of_options_are_text() -> None:
    for wrong in ({1: 2}, {None: 1}, [(("a",), 1)]):
        with pytest.raises(SpecError, match="options have strings as names"):
            Options(wrong)  # type: ignore[arg-type]
    for wrong in (5, "ab", [1], None):
        with pytest.raises(SpecError, match="options are a mapping"):
            Options(wrong)  # type: ignore[arg-type]


def test_names_are_no_longer_than_a_hundred_characters() -> None:
    assert ref("x" * 100).name == "x" * 100
    with pytest.raises(SpecError, match="100 at most"):
        ref("x" * 101)
    with pytest.raises(UnknownNameError, match="There is no model 'xxx") as caught:
        convzoo.create_model("x" * 100_000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "name",
    [
        "wrn28_00010",
        "wrn028_10",
        "wrn28_1\uff10",
        "wrn\uff128_10",
        "wrn28_" + "9" * 30,
        "wrn" + "9" * 5000 + "_1",
        "wrn10000_1",
    ],
    ids=shown,
)
def test_names_of_wide_networks_are_written_in_one_way(name: str) -> None:
    assert not convzoo.is_model(name)
    with pytest.raises(ValueError, match="There is no model") as caught:
        convzoo.create_model(name)
    assert isinstance(caught.value, UnknownNameError)
    assert len(str(caught.value)) < 400
    assert convzoo.is_model("wrn28_9999")


@pytest.mark.parametrize("filter", ["[" * 100_000, "*a" * 100_000, [["resnet*"]], None, 3, b"resnet*"], ids=shown)
def test_globs_that_are_none_or_would_take_for_ever_are_refused(filter: Any) -> None:
    start = time.process_time()
    with pytest.raises(OptionError, match="filter="):
        convzoo.list_models(filter)
    assert time.process_time() - start < 20


def test_globs_are_one_or_several() -> None:
    assert convzoo.list_models(["resnet18", "resnet3?"]) == ["resnet18", "resnet32", "resnet34"]
    assert convzoo.list_models("") == convzoo.list_models()
    assert convzoo.list_models([]) == convzoo.list_models("[") == convzoo.list_models("a[z-b]") == []


def test_a_value_whose_own_text_ends_the_process_is_shown_by_its_type() -> None:
    class Ending:
        def __repr__(self) -> str:
            raise SystemExit(9)

    assert shown(Ending()) == "<Ending>"
