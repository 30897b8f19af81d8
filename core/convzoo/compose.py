"""Changing a spec by options: a map over its parts.

An option goes to the model, if it is one of the model's own fields, or else to every part whose signature
declares it: the stem, each layer, the head, the initialisation, and the parts in their slots. What nothing takes is an
error that lists what there is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from convzoo import parts
from convzoo.errors import OptionError, SpecError, did_you_mean, listed
from convzoo.registry import Registry
from convzoo.specs import REF_FIELDS, Model, Options, Ref, as_ref

FIELDS = (*REF_FIELDS, "num_classes", "in_chans", "output_stride", "drop_path_rate")
"""Fields of a model that options set directly."""

NOT_SPREAD = ("norm", "act", "dilation")
"""Options of parts that a Ref may set, but that are the model's to give to all of them."""


def compose(spec: Model, options: Mapping[str, Any], registry: Registry) -> Model:
    """The spec with ``options`` applied.

    A string or Ref for a slot replaces the part in it; if it names the part that is there already, its options are
    merged into that one's. What a composed model was pinned to (counts, references, aliases) no longer holds, and is
    dropped.

    Raises:
        OptionError: nothing takes an option, or a value has the wrong type.
        UnknownNameError: a component does not exist.
    """
    # Other names for the same parts change nothing that the model was pinned to.
    same = dataclasses.replace(spec, **spec.mapped(lambda kind, ref: parts.checked(registry, kind, ref)))
    changed = spec if same == spec else same
    slots = {*REF_FIELDS, *registry.kinds()}
    # Parts first, since the other options go to the parts that are then there.
    for name, value in sorted(options.items(), key=lambda option: option[0] not in slots):
        if name in REF_FIELDS:
            changed = changed.derived(**{name: _merged(getattr(changed, name), _slot(name, value, registry))})
        elif name in FIELDS:
            try:
                changed = changed.derived(**{name: value})
            except ValueError as error:
                raise OptionError(str(error)) from None
        else:
            changed = _spread(changed, name, value, registry)
    return changed


def walk(spec: Model) -> Iterator[tuple[str, Ref]]:
    """``(kind, ref)`` of every part that a spec names, slots included."""

    def inside(kind: str, ref: Ref) -> Iterator[tuple[str, Ref]]:
        yield kind, ref
        for name, value in ref.options.items():
            if isinstance(value, Ref):
                yield from inside(name, value)

    for field in REF_FIELDS:
        yield from inside(field, getattr(spec, field))
    for stage in spec.stages:
        for layer in stage.layers:
            yield from inside("block", layer)


def takers(spec: Model, registry: Registry) -> dict[str, list[str]]:
    """What a spec's parts take: option to the parts that declare it."""
    found: dict[str, dict[str, None]] = {}
    for kind, ref in walk(spec):
        part = parts.find(registry, kind, ref)
        for name in part.options:
            if name not in NOT_SPREAD:
                found.setdefault(name, {})[str(part)] = None
    return {name: list(names) for name, names in sorted(found.items())}


def _spread(spec: Model, name: str, value: Any, registry: Registry) -> Model:
    if name in registry.kinds() and value is not None:
        value = _slot(name, value, registry)
    elif isinstance(value, (list, dict)):
        value = Options({name: value})[name]
    taken = 0

    def change(kind: str, ref: Ref) -> Ref:
        nonlocal taken
        part = parts.find(registry, kind, ref)
        options = {k: change(k, v) if isinstance(v, Ref) else v for k, v in ref.options.items()}
        if name in part.options and name not in NOT_SPREAD:
            part.check(name, value)
            taken += 1
            old = ref.options.get(name, part.signature.parameters[name].default)
            if isinstance(old, Ref) and isinstance(value, Ref):
                options[name] = _merged(old, value)
            elif old is not value and old != value:
                options[name] = value
        return Ref(ref.name, Options(options))

    changed = spec.derived(**spec.mapped(change))
    if not taken:
        known = takers(spec, registry)
        details = "; ".join(f"{option} ({', '.join(names)})" for option, names in known.items())
        raise OptionError(
            f"No part of {spec.name} takes {name!r}.{did_you_mean(name, {*known, *FIELDS})}"
            f" The model takes: {listed(FIELDS)}. Its parts take: {details}."
        )
    return changed


def _slot(kind: str, value: Any, registry: Registry) -> Ref:
    if not isinstance(value, (str, Ref)):
        raise OptionError(f"{kind}={value!r}: expected the name of a {kind} or a ref()")
    try:
        ref = as_ref(value)
    except SpecError as error:
        raise OptionError(f"{kind}={value!r}: {error}") from None
    return parts.checked(registry, kind, ref)


def _merged(old: Ref, new: Ref) -> Ref:
    return old.with_options(**new.options) if old.name == new.name else new
