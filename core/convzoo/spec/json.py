"""The values of specs as JSON has them, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from convzoo.errors import SpecError
from convzoo.spec.refs import Options, PerStage, Ref


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
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise SpecError(f"{value!r} cannot be written down as JSON; specs hold names, numbers, lists and Refs")


def unplain(value: Any) -> Any:
    """What :func:`plain` was made of, but for dataclasses, which stay mappings of their fields."""
    if isinstance(value, Mapping):
        items = {k: unplain(v) for k, v in value.items()}
        if "ref" in items:
            return Ref(items.pop("ref"), Options(items))
        if items.keys() == {"per_stage"}:
            return PerStage(items["per_stage"])
        return items
    if isinstance(value, (list, tuple)):
        return tuple(unplain(item) for item in value)
    return value
