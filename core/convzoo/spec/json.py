"""The values of specs as JSON has them, and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from convzoo.errors import SpecError, cut, scalar, shown
from convzoo.spec.options import DEEPEST, Nested
from convzoo.spec.refs import Options, PerStage, Ref

T = TypeVar("T")
DEEPEST_JSON = 2 * DEEPEST
"""How deep the JSON of a spec may be nested: options are no deeper than :data:`DEEPEST`, in stages and layers."""
MOST_JSON = 250_000
"""How many values it may have."""


class Record:
    """A dataclass that JSON has as a dict of its fields."""


def plain(value: Any, where: str = "") -> Any:
    """``value``, a spec or a part of one, as dicts, lists, strings and numbers.

    Raises:
        SpecError: it holds something that JSON has not; the message begins with ``where``.
    """
    if isinstance(value, Ref):
        return {"ref": value.name, **{k: plain(v, where) for k, v in value.options.items()}}
    if isinstance(value, PerStage):
        return {"per_stage": [plain(v, where) for v in value.values]}
    if isinstance(value, Options):
        return {k: plain(v, where) for k, v in value.items()}
    if isinstance(value, Record):
        fields = dataclasses.fields(value)  # type: ignore[arg-type]
        return {f.name: plain(getattr(value, f.name), where or f.name) for f in fields}
    if isinstance(value, (list, tuple)):
        return [plain(item, where) for item in value]
    value = scalar(value)
    if value is None or type(value) in (str, int, float, bool):
        return value
    place = f"{where}: " if where else ""
    raise SpecError(f"{place}{shown(value)} cannot be written down as JSON; specs hold names, numbers, lists and Refs")


def unplain(value: Any, where: str = "spec") -> Any:
    """What :func:`plain` was made of, but for dataclasses, which stay mappings of their fields.

    Raises:
        SpecError: it is nested too deep, has too many values, or something in it can be in no spec; the message says
            in which place of ``where``.
    """
    if _is_large(value):
        raise SpecError(f"{where}: the JSON of a spec has no more than {MOST_JSON} values")
    return _read(value, (where,))


def _read(value: Any, path: tuple[Any, ...]) -> Any:
    try:
        if len(path) > DEEPEST_JSON:
            raise SpecError(f"the JSON of a spec is nested no more than {DEEPEST_JSON} deep")
        if not isinstance(value, (Mapping, list, tuple)):
            return _single(value)
    except SpecError as error:
        raise _placed(path, error) from None
    if not isinstance(value, Mapping):
        return tuple([_read(each, (*path, number)) for number, each in enumerate(value)])
    items = {key: _read(each, (*path, key)) for key, each in value.items()}
    try:
        if "ref" in items:
            return Ref(items.pop("ref"), Options(items))
        return PerStage(items["per_stage"]) if items.keys() == {"per_stage"} else items
    except SpecError as error:
        raise _placed(path, error) from None


def _single(value: Any) -> Any:
    value = scalar(value)
    if (type(value) is int and value.bit_length() > 63) or (type(value) is float and not math.isfinite(value)):
        raise SpecError(f"{shown(value)} is no finite number of 64 bits, as those in specs are")
    if value is None or type(value) in (str, int, float, bool) or isinstance(value, Nested):
        return value
    raise SpecError(f"{shown(value)} is nothing that JSON has; specs hold names, numbers, lists and Refs")


def _placed(path: tuple[Any, ...], error: SpecError) -> SpecError:
    """``error``, saying where it is."""
    return SpecError(f"{cut('.'.join(map(str, path)), 100)}: {error}")


def _is_large(value: Any) -> bool:
    """Whether there are more than :data:`MOST_JSON` values in one, found out without making any."""
    count, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        inside = each.values() if isinstance(each, Mapping) else each if isinstance(each, (list, tuple)) else ()
        count += 1
        if count + len(waiting) + len(inside) > MOST_JSON:
            return True
        waiting.extend(inside)
    return False


def objects(cls: Callable[..., T], values: Any, where: str) -> tuple[T, ...]:
    """Each of ``values``, mappings of fields, as a ``cls``; SpecError, which says where, if one cannot be."""
    if not isinstance(values, tuple):
        raise SpecError(f"not a model's dict: {where} is a list of objects, got {shown(values)}")
    made = []
    for number, fields in enumerate(values):
        try:
            made.append(cls(**fields))
        except (SpecError, TypeError) as error:
            raise SpecError(f"{where}.{number}: {error}") from None
    return tuple(made)
