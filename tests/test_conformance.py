"""Every first-party plugin keeps every promise, without an expected failure.

`make test-all` examines every part and every model. Every run examines those that stand for the others: one built-in
part of each kind, the smallest model of each family, and the smallest that differ from these in how they are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import pytest

import convzoo
from convzoo import Model, Ref, ref
from convzoo.plugins.host import registry
from convzoo.testing import Check, NotApplicable, checks

PLUGINS = [
    "builtin",
    *sorted(path.parent.name for path in Path(__file__).parent.parent.glob("plugins/*/pyproject.toml")),
]
SMALL = 30_000_000
"""Parameters from which on also the smallest of its family is left to `make test-all`."""
NARROW = 12_000_000
"""Parameters from which on changing every tensor, one by one, is left to `make test-all`."""
WIDTHS = {"planes", "width", "base_width", "growth_rate"}
"""Options that say how wide a part is, and change nothing else."""

FURTHER: dict[str, Callable[[Model], Any]] = {
    "torchvision has it": lambda spec: spec.reference("torchvision"),
    "its stem is deep, and timm has it": lambda spec: spec.stem.name == "deep" and spec.reference("timm"),
    "it has another name": lambda spec: spec.aliases,
    "it equals its reference with other options only": lambda spec: any(r.overrides for r in spec.references),
}
"""What the smallest of a family may not have, by the model's spec."""


def params(name: str) -> int:
    return convzoo.model_info(name).spec.params or 0


def specs() -> list[Model]:
    """Of every model, the smallest first."""
    return sorted((entry.spec for entry in registry().models().values()), key=lambda spec: spec.params or 0)


def smallest_of_each_family() -> set[str]:
    smallest: dict[str, str] = {}
    for spec in specs():
        smallest.setdefault(spec.family, spec.name)
    return {name for name in smallest.values() if params(name) < SMALL}


def examined_in_every_run() -> set[str]:
    """Names that stand for all others, as the registry has them."""
    return smallest_of_each_family() | {next(spec.name for spec in specs() if has(spec)) for has in FURTHER.values()}


def structure(spec: Model) -> Hashable:
    """What a model is but for depth and width: changing every tensor is tried once for those of one structure."""

    def narrowed(part: Ref) -> Ref:
        return ref(part.name, **{key: value for key, value in part.options.items() if key not in WIDTHS})

    stages = tuple(
        (stage.stride, tuple((narrowed(layer), min(number, 2)) for number, layer in stage.runs()))
        for stage in spec.stages
    )
    return stages, narrowed(spec.stem), spec.head, spec.norm, spec.act, spec.input_size <= 32


def examined() -> list[Any]:
    always, found = examined_in_every_run(), []
    narrow = {name for name in smallest_of_each_family() if params(name) < NARROW}
    unlike = set({structure(spec): spec.name for spec in reversed(specs())}.values())
    for plugin in PLUGINS:
        firsts: dict[str, str] = {}
        for check in checks(plugin):
            kind, _, name = check.subject.partition("/")
            first = firsts.setdefault(kind, name) == name and plugin == PLUGINS[0]
            every_tensor = check.promise.name == "uses_every_weight"
            if every_tensor and name not in unlike:
                continue
            large = name not in (narrow if every_tensor else always) if kind == "model" else not first
            found.append(pytest.param(check, id=str(check), marks=pytest.mark.large if large else ()))
    return found


@pytest.mark.parametrize("check", examined())
def test_first_party_plugins_conform(check: Check) -> None:
    try:
        check()
    except NotApplicable as reason:
        if check.promise.name == "traces":
            pytest.fail(str(reason))  # what others may do without
        pytest.skip(str(reason))
