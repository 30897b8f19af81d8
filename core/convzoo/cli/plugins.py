"""``convzoo plugins``: who contributes what, and what is broken. This module imports no torch."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator

from convzoo.cli.tables import table
from convzoo.plugins.host import Plugins, plugins


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("plugins", help="list plugins", description="List the plugins that are installed.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


SLOW = 1.0
"""Seconds from which a plugin is said to be slow."""


def run(options: argparse.Namespace) -> int:
    """``convzoo plugins``."""
    found = plugins()
    models = Counter(entry.owner for entry in found.registry.models().values())
    components = Counter(owner for _, owner in found.registry.components())
    rows = [
        {
            "plugin": record.owner.name,
            "distribution": record.owner.distribution,
            "version": record.owner.version,
            "status": record.status,
            "models": models[record.owner],
            "components": components[record.owner],
            "seconds": round(record.seconds, 1),
            "imported_torch": record.imported_torch,
            "error": " ".join(filter(None, [record.error, *found.registry.failures.of(record.owner)])),
        }
        for record in found.records.values()
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    header = [key for key in rows[0] if key not in ("imported_torch", "error")]  # which stand beneath
    cells = [[str(row[key]) for key in header] for row in rows]
    print(table(header, cells, right=("models", "components", "seconds")))
    for note in _notes(found):
        print(f"\n{note}")
    return 0


def _notes(found: Plugins) -> Iterator[str]:
    """What is to be said of plugins beneath their table, and what to do about it."""
    for record in found.records.values():
        disable = f"CONVZOO_DISABLE={found.handle(record.owner)}"
        if record.status == "broken":
            yield f"{record.owner} is broken: {record.error}. Mend, update or uninstall it, or leave it out: {disable}."
        yield from found.registry.failures.of(record.owner)
        ways = [f"took {record.seconds:.1f} s"] * (record.seconds > SLOW) + ["imported torch"] * record.imported_torch
        if ways:
            yield (
                f"{record.owner} {' and '.join(ways)} on loading, so that every listing is slow. Import torch, and what"
                f" else is slow, only in the modules that its targets name, or leave it out: {disable}."
            )
    if any(record.status == "disabled" for record in found.records.values()):
        yield "Disabled are those that CONVZOO_DISABLE names, or CONVZOO_PLUGINS does not."
    for mistake in found.mistakes:
        yield f"{mistake}."
