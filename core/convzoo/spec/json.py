"""The values of specs as JSON has them, and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from convzoo.errors import SpecError, scalar, shown
from convzoo.spec.options import DEEPEST, Nested
from convzoo.spec.refs import Options, PerStage, Ref

DEEPEST_JSON = 2 * DEEPEST
"""How deep the JSON of a spec may be nested: options are no deeper than :data:`DEEPEST`, in stages and layers."""
MOST_JSON = 250_000
"""How many values it may have."""


def plain(value: Any) -> Any:
    """``value``, a spec or a part of one, as dicts, lists, strings and numbers.

    Raises:
        SpecError: it holds something that JSON has not.
    """
    if isinstance(value, Ref):
        return {"ref": value.name, **{k: plain(v) for k, v in value.options.items()}}
    if isinstance(value, PerStage):
        return {"per_stage": [plain(v) for v in value.values]}
    if isinstance(value, Options):
        return {k: plain(v) for k, v in value.items()}
    if dataclasses.is_dataclass(value) and type(value).__module__ == "convzoo.spec.model":
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    value = scalar(value)
    if value is None or type(value) in (str, int, float, bool):
        return value
    raise SpecError(f"{shown(value)} cannot be written down as JSON; specs hold names, numbers, lists and Refs")


def unplain(value: Any) -> Any:
    """What :func:`plain` was made of, but for dataclasses, which stay mappings of their fields.

    Raises:
        SpecError: it is nested too deep, has too many values, or something in it can be in no spec.
    """
    count = 0

    def read(value: Any, room: int) -> Any:
        nonlocal count
        count += 1
        if not room:
            raise SpecError(f"the JSON of a spec is nested no more than {DEEPEST_JSON} deep")
        if count + (len(value) if isinstance(value, (Mapping, list, tuple)) else 0) > MOST_JSON:
            raise SpecError(f"the JSON of a spec has no more than {MOST_JSON} values")
        if isinstance(value, Mapping):
            items = {k: read(v, room - 1) for k, v in value.items()}
            if "ref" in items:
                return Ref(items.pop("ref"), Options(items))
            if items.keys() == {"per_stage"}:
                return PerStage(items["per_stage"])
            return items
        if isinstance(value, (list, tuple)):
            return tuple([read(item, room - 1) for item in value])
        value = scalar(value)
        if (type(value) is int and value.bit_length() > 63) or (type(value) is float and not math.isfinite(value)):
            raise SpecError(f"{shown(value)} is no finite number of 64 bits, as those in specs are")
        if value is None or type(value) in (str, int, float, bool) or isinstance(value, Nested):
            return value
        raise SpecError(f"{shown(value)} is nothing that JSON has; specs hold names, numbers, lists and Refs")

    return read(value, DEEPEST_JSON)
