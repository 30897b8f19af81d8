"""Under whose names a network's weights may be: its own, those of timm and torchvision, and those of its dialects."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convzoo.errors import SpecError, WeightsError, did_you_mean, shown
from convzoo.network.keys import renamed
from convzoo.spec.model import Model
from convzoo.spec.references import Dialect

OWN = "its own"
REFERENCE = "reference"
GIVEN = "given"
"""What a report calls the names that ``keys=`` gives."""

Keys = str | Sequence[tuple[str, str]] | Mapping[str, str]
"""Whose names weights have: the name of a dialect, pairs as in a model's ``keys``, or the names by this library's."""
Values = Mapping[str, Any]


@dataclass(frozen=True)
class World:
    """Somebody's names for the weights of one network.

    Attributes:
        name: whose.
        names: by the network's keys.
        convert: what makes values of theirs into values that need nothing but renaming, or None.
    """

    name: str
    names: dict[str, str]
    convert: Callable[[Values, Mapping[str, str], Values], dict[str, Any]] | None = None


def worlds(spec: Model, known: Sequence[str], keys: Keys | None) -> Iterator[World]:
    """The names that weights for ``spec``'s network may be under, the likeliest first, each made at its turn.

    Args:
        spec: of the network.
        known: its keys.
        keys: only these names, see :data:`Keys`; None for all that the spec has.

    Raises:
        WeightsError: ``keys`` is nothing of the kind, or a key map sends two keys to one.
    """
    dialects = {dialect.name: dialect for dialect in spec.dialects}
    if isinstance(keys, str):
        choices = [OWN, *([REFERENCE] if spec.keys else []), *dialects]
        if keys not in choices:
            there_is = f"{did_you_mean(keys, choices)} {spec.name} has {', '.join(map(repr, choices))}"
            raise WeightsError(f"keys={shown(keys)}: there are no such names.{there_is}; pairs and mappings do as well")
    elif isinstance(keys, Mapping):
        if unknown := [key for key in keys if key not in known]:
            raise WeightsError(
                f"keys: {spec.name} has no tensor {shown(unknown[0])}; a mapping is from its keys to others"
            )
        yield World(GIVEN, {key: str(keys.get(key, key)) for key in known})
        return
    elif keys is not None:
        try:
            dialect = Dialect(GIVEN, tuple(keys))
        except (SpecError, TypeError) as error:
            raise WeightsError(
                f"keys={shown(keys)}: expected a name, pairs for re.sub, or a mapping: {error}"
            ) from None
        yield World(GIVEN, renamed(spec.name, dialect.keys, known))
        return
    if keys in (None, OWN):
        yield World(OWN, {key: key for key in known})
    if keys in (None, REFERENCE) and spec.keys:
        yield World(REFERENCE, renamed(spec.name, spec.keys, known))
    for name, dialect in dialects.items():
        if keys in (None, name):
            yield World(name, renamed(spec.name, dialect.keys, known), _convert(dialect))


def _convert(dialect: Dialect) -> Callable[..., dict[str, Any]] | None:
    """The dialect's function, which imports its module when it is called."""
    if not dialect.convert:
        return None
    module, _, function = dialect.convert.partition(":")

    def convert(*arguments: Any) -> dict[str, Any]:
        try:
            return getattr(importlib.import_module(module), function)(*arguments)
        except Exception as error:
            raise WeightsError(
                f"the weights of {dialect.name} cannot be converted by {dialect.convert}: {error}"
            ) from error

    return convert
