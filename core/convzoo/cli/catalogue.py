"""Writing down what each first-party distribution contributes: ``python -m convzoo.cli.catalogue``.

The core ships the result, so that it can name the distribution to install for something that is not there.
"""

from __future__ import annotations

import json
from pathlib import Path

from convzoo.plugins import catalogue as reader
from convzoo.plugins.catalogue import first_party, normalized
from convzoo.plugins.host import plugins


def catalogue() -> dict[str, list[str]]:
    """Distribution to the names of its models and the ``kind/name`` of its components."""
    found: dict[str, list[str]] = {}
    registry = plugins().registry
    for name, entry in registry.models(aliases=True).items():
        found.setdefault(entry.owner.distribution, []).append(name)
    for component, owner in registry.components():
        found.setdefault(owner.distribution, []).append(f"{component.kind}/{component.name}")
    return {name: sorted(found[name]) for name in sorted(found) if normalized(name) in first_party()}


if __name__ == "__main__":
    path = Path(reader.__file__).with_suffix(".json")
    path.write_text(json.dumps(catalogue(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")
