"""Annotations of a part's options say what their values may be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pytest
from torch import nn

from convzoo.building.annotations import fits, readable
from convzoo.spec.options import Options


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (list[int], [(), (1, 2)], [1, ("a",), "ab"]),
        (Sequence[float], [(1, 0.5)], [("a",), Options()]),
        (list, [(1, "a")], ["a", 1]),
        (tuple[int, str], [(1, "a")], [(1,), ("a", 1), (1, "a", 2), 1]),
        (tuple[int, ...], [(), (1, 2)], [(1.5,), 1]),
        (dict[str, int], [Options({"a": 1})], [Options({"a": "b"}), (("a", 1),)]),
        (Mapping, [Options({"a": "b"})], [1]),
        (Annotated[int, "size"], [1], ["a", True]),
        (Annotated[int | None, "size"], [1, None], ["a"]),
        (Literal["a", 1], ["a", 1], ["b", True, 1.0]),
        (type[nn.Module], ["anything"], []),
        (Any, [1, "a", None], []),
    ],
    ids=str,
)
def test_annotations_say_what_a_value_may_be(hint: Any, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not fits(value, hint)] == []
    assert [value for value in bad if fits(value, hint)] == []


def test_annotations_that_cannot_be_read_take_everything() -> None:
    def function(a: int, b: nothing, c: math.nothing, d: 1 / 0) -> None:  # type: ignore[name-defined, valid-type]  # noqa: F821
        pass

    assert readable(function)["a"] is int
    assert {"b", "c", "d"} & set(readable(function)) == set()
