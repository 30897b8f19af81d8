"""A small model that tests change, and the smallest variant of each family."""

from __future__ import annotations

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
