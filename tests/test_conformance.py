"""Every first-party plugin keeps every promise, without an expected failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import convzoo
from convzoo.testing import Check, NotApplicable, checks

LARGE = 90_000_000
"""Parameters from which on a comparison is left to `make test-all`."""
SMALL = 30_000_000
"""Parameters up to which every tensor is corrupted in every run, in the smallest variant of each family."""

PLUGINS = [
    "builtin",
    *sorted(path.parent.name for path in Path(__file__).parent.parent.glob("plugins/*/pyproject.toml")),
]


def params(name: str) -> int:
    return convzoo.model_info(name).spec.params or 0


def smallest_of_each_family() -> set[str]:
    """Corrupting every tensor of every variant takes long; these stand for their families in every run."""
    smallest: dict[str, str] = {}
    for name in sorted(convzoo.list_models(), key=params):
        smallest.setdefault(convzoo.model_info(name).spec.family, name)
    return {name for name in smallest.values() if params(name) < SMALL}


SMALLEST = smallest_of_each_family()


def examined() -> list[Any]:
    found = []
    for plugin in PLUGINS:
        for check in checks(plugin):
            kind, _, name = check.subject.partition("/")
            large = kind == "model" and (
                (check.promise.name == "uses_every_weight" and name not in SMALLEST)
                or (check.promise.name == "equals_its_reference" and params(name) > LARGE)
            )
            found.append(pytest.param(check, id=str(check), marks=pytest.mark.large if large else ()))
    return found


@pytest.mark.parametrize("check", examined())
def test_first_party_plugins_conform(check: Check) -> None:
    try:
        check()
    except NotApplicable as reason:
        pytest.skip(str(reason))
