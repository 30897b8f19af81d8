"""From a spec and options to the spec of a whole network: every part named, defaults included, and checked once.

An option goes to the model, if it is one of the model's own fields, or else to every part whose signature declares it:
the stem, each layer, the head, the initialisation, and the parts in their slots. Parts that merely stand in their slots
by default get it only where no other part takes it. What nothing takes is an error that lists what there is.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from convzoo.building import parts
from convzoo.building.bounds import settings
from convzoo.errors import OptionError, UnknownOptionError, cut, did_you_mean, listed, shown
from convzoo.plugins.registry import Registry
from convzoo.spec.kinds import NOT_SPREAD, SHARED
from convzoo.spec.model import PARTS, SETTINGS, Model
from convzoo.spec.options import Options
from convzoo.spec.refs import PerStage, Ref, as_ref, at_stage


def compose(spec: Model, registry: Registry, *changes: Mapping[str, Any]) -> Model:
    """The whole spec, with each of ``changes``, mappings of options, applied in turn.

    A string or Ref for a slot replaces the part in it; if it names the part that is there already, its options are
    merged into that one's. What a changed model was pinned to (counts, references, aliases) no longer holds, and is
    dropped; naming what is there already changes nothing.

    Raises:
        OptionError: nothing takes an option, a value has the wrong type, or there are not as many as stages.
        UnknownNameError: a component does not exist.
    """
    own, number = settings(spec), len(spec.stages)  # first, since it bounds how much there is to look at

    @functools.cache
    def complete(kind: str, ref: Ref, stage: int | None, text: str) -> Ref:
        return parts.completed(registry, kind, ref, None if stage is None else (stage, number))

    # The text tells True from 1, which are equal.
    fields = spec.mapped(lambda kind, ref, stage: complete(kind, ref, stage, str(ref)))
    whole = dataclasses.replace(spec, **own, **fields)
    changed = whole
    for options in changes:
        changed = _changed(changed, Options(options), registry)
    return whole.derived(**{field: getattr(changed, field) for field in (*SETTINGS, "stages")})


def _walk(spec: Model) -> Iterator[tuple[str, Ref, int]]:
    """``(kind, ref, depth)`` of every different part that a spec names; slots are one deeper than what has them."""

    def inside(kind: str, ref: Ref, depth: int) -> Iterator[tuple[str, Ref, int]]:
        yield kind, ref, depth
        for name, value in ref.options.items():
            if isinstance(value, Ref):
                yield from inside(name, value, depth + 1)

    for kind in PARTS:
        yield from inside(kind, getattr(spec, kind), 0)
    for layer in dict.fromkeys(layer for stage in spec.stages for layer in stage.layers):
        yield from inside("block", layer, 0)


def _changed(spec: Model, options: Options, registry: Registry) -> Model:
    """``spec`` with options: its own settings, then slots from the outside in, then what the parts then have."""
    waiting = dict(options)
    for name in [name for name in SETTINGS if name in waiting]:
        value = waiting[name]
        if isinstance(value, PerStage) and name in SHARED:
            continue  # of the layers in each stage
        if isinstance(value, PerStage):
            raise OptionError(f"{name}={cut(value)}: the model has one {name}, which cannot differ by stage")
        del waiting[name]
        if name in PARTS:
            value = _merged(getattr(spec, name), as_ref(value, name), name, registry)
        spec = dataclasses.replace(spec, **{name: value})
    while waiting:
        depths: dict[str, int] = {}
        for kind, ref, depth in _walk(spec):
            for name in parts.find(registry, kind, ref).slots:
                depths[name] = min(depth, depths.get(name, depth))
        # A slot that another one brings may be there only once that one is filled.
        name = min(waiting, key=lambda name: depths.get(name, math.inf))
        spec = _spread(spec, name, waiting.pop(name), registry)
    return spec


def _spread(spec: Model, name: str, value: Any, registry: Registry) -> Model:
    """``spec`` with one option in every part that takes it."""
    by_stage = isinstance(value, PerStage)
    at_stage(value, name, 0, len(spec.stages))  # are there as many values as stages?

    def attempt(defaults: bool) -> tuple[Model, set[int | None]]:
        reached: set[int | None] = set()

        @functools.cache
        def change(kind: str, ref: Ref, stage: int | None, by_default: bool = False) -> Ref:
            part = parts.find(registry, kind, ref)
            inner = dict(ref.options)
            for slot, held in ref.options.items():
                if isinstance(held, Ref):
                    default = part.default(slot, registry)
                    whole = isinstance(default, Ref) and parts.completed(registry, slot, default)
                    inner[slot] = change(slot, held, stage, held == whole)
            ref = Ref(ref.name, Options(inner))
            # What is the model's to give may differ by stage all the same: a layer then has its own, for all within it.
            spreads = name not in NOT_SPREAD or (by_stage and kind == "block")
            if not spreads or name not in part.options or (by_default and not defaults) or (by_stage and stage is None):
                return ref
            reached.add(stage)
            new = part.value(name, value, None if stage is None else (stage, len(spec.stages)))
            if name in SHARED and isinstance(new, Ref) and name not in ref.options:
                own = getattr(spec, name)  # what the model gives to the layer already
                if _merged(own, new, name, registry) == own:
                    return ref
            return _with_option(part, ref, name, new, registry)

        return dataclasses.replace(spec, **spec.mapped(change)), reached

    changed, reached = attempt(defaults=False)
    if not reached:
        changed, reached = attempt(defaults=True)
    if not reached:
        known: dict[str, dict[str, None]] = {}
        for kind, ref, _ in _walk(spec):
            part = parts.find(registry, kind, ref)
            for option in part.options:
                if option not in NOT_SPREAD:
                    known.setdefault(option, {})[str(part)] = None
        if by_stage and name in known:
            raise OptionError(
                f"{name}={cut(value)}: only layers differ by stage, and {name!r} is of {listed(known[name])}"
            )
        details = "; ".join(f"{option} ({', '.join(names)})" for option, names in sorted(known.items()))
        raise UnknownOptionError(
            f"No part of {spec.name} takes {shown(name)}.{did_you_mean(name, {*known, *SETTINGS})}"
            f" The model takes: {listed(SETTINGS)}. Its parts take: {details}."
        )
    if by_stage:
        deaf = [i for i, each in enumerate(value.values) if each is not None and i not in reached]
        if deaf:
            raise OptionError(f"{name}={cut(value)}: no layer of stage {deaf[0] + 1} of {spec.name} takes {name!r}")
    return changed


def _with_option(part: parts.Part, ref: Ref, name: str, value: Any, registry: Registry) -> Ref:
    """``ref`` with one checked option set; what it has already, by default or otherwise, is left as it is."""
    old = ref.options.get(name, part.default(name, registry))
    if isinstance(value, Ref):
        value = _merged(old, value, name, registry)
    return ref if value is old or value == old else ref.with_options(**{name: value})


def _merged(old: Any, new: Ref, kind: str, registry: Registry) -> Ref:
    """The part ``new``; if it is the one that is there already, that one with the options of ``new``."""
    part = parts.find(registry, kind, new)
    if not isinstance(old, Ref) or old.name != new.name:
        return parts.completed(registry, kind, new)
    for name, value in new.options.items():
        old = _with_option(part, old, name, part.value(name, value), registry)
    return old
