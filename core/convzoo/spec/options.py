"""What specs hold beside their own fields: options, whose values are immutable, comparable, and small enough to write.

A value is None, a bool, a finite number, a string, a :class:`~convzoo.spec.refs.Ref`, or a sequence of such or a
mapping from names to such. Everything that options are given becomes this here, or is refused here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from convzoo.errors import LARGEST, OptionError, SpecError, scalar, shown

MARKS = ("ref", "per_stage")
"""Words that mark a Ref and a PerStage in text and in JSON, and can therefore be no option's name."""
DEEPEST = 32
"""How deep values may be nested."""
MOST = 10_000
"""How many values may be in one."""


class Nested:
    """An immutable value with values inside it, which were checked when it was made."""

    __slots__ = ()

    def extent(self) -> tuple[int, int]:
        """How deep it is nested, and how many values are in it."""
        raise NotImplementedError


class Options(Nested, Mapping[str, Any]):
    """An immutable mapping of option names to values; lists become tuples, and dicts become Options.

    Raises:
        SpecError: it is no mapping, or a name is none.
        OptionError: a value cannot be in a spec; the message names the option.
    """

    __slots__ = ("_extent", "_items")
    _items: dict[str, Any]
    _extent: tuple[int, int]

    def __init__(self, items: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), *, room: int = DEEPEST) -> None:
        try:
            given = dict(items)
        except Exception:  # whatever a mapping of others may raise
            raise SpecError(f"options are a mapping of names to values, got {shown(items)}") from None
        walk, found = _Walk(room), {}
        for key, value in given.items():
            name = scalar(key)
            if type(name) is not str:
                raise SpecError(f"options have strings as names, got {shown(key)}={shown(value)}")
            if name in MARKS:
                raise SpecError(f"{name!r} cannot be an option's name, since it marks a {name}() in JSON")
            found[name] = walk.frozen(value, name, 1)
        object.__setattr__(self, "_items", found)
        object.__setattr__(self, "_extent", (walk.depth + 1, walk.count + 1))

    def extent(self) -> tuple[int, int]:
        return self._extent

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("options are immutable")

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)

    def __reduce__(self) -> tuple[Any, ...]:
        return Options, (dict(self._items),)


class _Walk:
    """Freezes values, and finds out how deep they are nested and how many there are."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.depth = 0
        self.count = 0

    def frozen(self, value: Any, name: str, level: int) -> Any:
        """``value`` of the option ``name``, which stands at a ``level`` of nesting, as specs have it."""
        self.count += 1
        value = scalar(value)
        kind = type(value)
        if value is None or kind in _SCALARS:
            if fault := _fault(value):
                raise _refused(name, value, fault)
            return value
        if issubclass(kind, (list, tuple)):
            self._note(name, value, level, 1, len(value))
            return tuple([self.frozen(each, name, level + 1) for each in value])
        if not issubclass(kind, Nested) and issubclass(kind, Mapping):
            self._note(name, value, level, 1, len(value))
            try:
                value = Options(value, room=self.room - level)
            except SpecError as error:
                raise OptionError(f"{name}: {error}") from None
        if not issubclass(type(value), Nested):
            raise _refused(
                name, value, "it cannot be written down as JSON; specs hold names, numbers, lists, and parts by name"
            )
        depth, size = value.extent()
        self._note(name, value, level, depth, size)
        self.count += size
        return value

    def _note(self, name: str, value: Any, level: int, depth: int, size: int) -> None:
        self.depth = max(self.depth, level - 1 + depth)
        if level + depth > self.room:
            raise _refused(name, value, f"values in specs are nested no more than {DEEPEST} deep")
        if self.count + size > MOST:
            raise _refused(name, value, f"no value in a spec has more than {MOST} others in it")


_SCALARS = (bool, int, float, str)


def _fault(value: Any) -> str:
    """Why no spec can hold a single value, or the empty string."""
    kind = type(value)
    if kind is int and not -LARGEST <= value <= LARGEST:
        return f"integers in specs are from -{LARGEST} to {LARGEST}"
    if kind is float and not math.isfinite(value):
        return "numbers in specs are finite"
    if kind is str and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "it has half of a character, which cannot be written down"
    return ""


def _refused(name: str, value: Any, why: str) -> OptionError:
    return OptionError(f"{name}={shown(value)}: {why}" if name else f"{shown(value)}: {why}")


def frozen(value: Any, name: str = "") -> Any:
    """``value`` as specs hold it: lists as tuples, dicts as :class:`Options`, numpy's numbers as Python's.

    Raises:
        OptionError: no spec can hold it; the message names the option ``name``.
    """
    return _Walk(DEEPEST).frozen(value, name, 0)


def extent_of(values: tuple[Any, ...]) -> tuple[int, int]:
    """How deep ``values`` are nested, and how many there are, those inside of others included."""
    walk = _Walk(DEEPEST)
    walk.frozen(values, "", 0)
    return walk.depth + 1, walk.count


def as_options(value: Any) -> Options:
    """``value`` as :class:`Options`; SpecError if it is no mapping."""
    if issubclass(type(value), Options):
        return value
    if not issubclass(type(value), Mapping):
        raise SpecError(f"options are a mapping of names to values, got {shown(value)}")
    return Options(value)


NO_OPTIONS = Options()
