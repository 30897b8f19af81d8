"""A small model that tests change, and the smallest variant of each family."""

from __future__ import annotations

import os
from typing import Any

import pytest

import convzoo
from convzoo import Model, Stage, ref
from convzoo.plugins.catalogue import first_party, normalized
from convzoo.plugins.host import registry

SMALL = Model(
    "small",
    "small",
    ref("cifar", width=8),
    (Stage(("basic(planes=8)", "basic(planes=8)")),),
    num_classes=5,
    input_size=32,
)


def smallest_of_families() -> dict[str, str]:
    """Family to the name of its variant with the fewest parameters, of the zoo's own plugins."""
    own = [entry for entry in registry().models().values() if normalized(entry.owner.distribution) in first_party()]
    smallest: dict[str, str] = {}
    for entry in sorted(own, key=lambda entry: entry.spec.params or 0):
        smallest.setdefault(entry.spec.family, entry.spec.name)
    return smallest


WIDE = pytest.mark.skipif(not os.environ.get("CONVZOO_TOOLS"), reason="too wide for the tests; `make tools` runs it")


def each_family(quick: int, large: int) -> list[Any]:
    """The smallest variants as parameters of a test, by how many parameters a network has.

    Below ``quick``, it is in every run, below ``large`` in `make test-large`, and else only in `make tools`.
    """
    found = []
    for name in smallest_of_families().values():
        count = convzoo.model_info(name).spec.params or 0
        marks = () if count < quick else (pytest.mark.large,) if count < large else (pytest.mark.large, WIDE)
        found.append(pytest.param(name, marks=marks))
    return found
