"""``convzoo new``. This module imports no torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from convzoo.scaffold import create


def run(options: argparse.Namespace) -> int:
    """Write the package, and say what there is and how to go on."""
    folder = create(options.name, options.kind, Path(options.into))
    print(f"{folder} has the {options.kind} {options.name!r}, worked out as an example:")
    for file in sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()):
        print(f"  {file.as_posix()}")
    print(f"\nNext:\n  pip install -e '{folder}[test]'\n  convzoo check {options.name}\n  pytest {folder}")
    print(f"\nThen put your own idea in; {folder / 'README.md'} says how to go on.")
    return 0
