"""Values of every sort that options are not, each made anew."""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy
import torch
from torch import nn


class Hostile:
    """An object that fails at whatever it is asked."""

    def _fail(self, *_: Any) -> Any:
        raise RuntimeError("whatever is asked of it")

    __repr__ = __str__ = __eq__ = __bool__ = __len__ = __iter__ = __float__ = __index__ = _fail
    __hash__ = _fail  # type: ignore[assignment]


class Choice(enum.Enum):
    """A choice as others may write it."""

    AVG = "avg"


class LongList(list[Any]):
    """A subclass of a list."""


def nested(depth: int) -> list[Any]:
    """Lists in lists."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def nested_dicts(depth: int) -> dict[str, Any]:
    """Mappings in mappings."""
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def recursive() -> list[Any]:
    """A list that has itself in it."""
    value: list[Any] = []
    value.append(value)
    return value


def doubled(times: int) -> list[Any]:
    """A list that is small in memory, and has two to the power of ``times`` values in it."""
    value: list[Any] = [1]
    for _ in range(times):
        value = [value, value]
    return value


STRANGE: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "empty text": lambda: "",
    "long text": lambda: "x" * 100_000,
    "text with NUL": lambda: "a\0b",
    "text with a surrogate": lambda: "\ud800",
    "two lines": lambda: "a\nb",
    "digits of another script": lambda: "\uff11\uff18",
    "name of another script": lambda: "\uff53\uff45",
    "unclosed text": lambda: "se(" * 5000,
    "nested text": lambda: "se(act=" * 60 + "relu" + ")" * 60,
    "many minuses": lambda: "-" * 9000 + "1",
    "text of a huge integer": lambda: "9" * 6000,
    "text of infinity": lambda: "se(reduction=1e999)",
    "text of a set": lambda: "se(reduction={1, 2})",
    "text of a mapping that cannot be": lambda: "se(reduction={[]: 1})",
    "bytes": lambda: b"bytes",
    "2**63": lambda: 2**63,
    "2**62": lambda: 2**62,
    "2**40": lambda: 2**40,
    "10**400": lambda: 10**400,
    "10**6000": lambda: 10**6000,
    "-1": lambda: -1,
    "0": lambda: 0,
    "nan": lambda: math.nan,
    "inf": lambda: math.inf,
    "-inf": lambda: -math.inf,
    "1e308": lambda: 1e308,
    "complex": lambda: 1j,
    "empty list": lambda: [],
    "list": lambda: [1, "a"],
    "subclass of a list": lambda: LongList([LongList()]),
    "mapping": lambda: {"a": 1},
    "mapping without names": lambda: {1: 2},
    "set": lambda: {1},
    "function": lambda: len,
    "lambda": lambda: lambda: None,
    "object": object,
    "class": lambda: nn.ReLU,
    "module": lambda: nn.ReLU(),
    "tensor of a number": lambda: torch.tensor(2.5),
    "tensor": lambda: torch.zeros(3),
    "meta tensor": lambda: torch.zeros((), device="meta"),
    "array": lambda: numpy.zeros(3),
    "array of choices": lambda: numpy.array(["avg", "max"]),
    "array of objects": lambda: numpy.array([None, 1], dtype=object),
    "time of numpy": lambda: numpy.timedelta64(3, "s"),
    "enumeration": lambda: Choice.AVG,
    "generator": lambda: (i for i in range(3)),
    "endless": itertools.count,
    "dtype": lambda: torch.float16,
    "device": lambda: torch.device("cpu"),
    "recursive list": recursive,
    "deep list": lambda: nested(3000),
    "deep mapping": lambda: nested_dicts(3000),
    "wide list": lambda: [0] * 1_000_000,
    "doubled list": lambda: doubled(60),
    "range": lambda: range(10**18),
    "hostile": Hostile,
    "list of the hostile": lambda: [Hostile()],
    "exception": lambda: ValueError("x"),
    "ellipsis": lambda: ...,
}
