"""``convzoo new``: a plugin to start from. This module imports no torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from convzoo.cli.scaffold import EXAMPLES, create


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "new",
        help="start a plugin of your own",
        description="Write a package with one part, worked out as an example: installable, tested, yours to change.",
        epilog="Example: convzoo new my-block --kind attention",
    )
    parser.add_argument("name", metavar="NAME", help="of the plugin, its folder and its part, such as my-block")
    parser.add_argument("--kind", required=True, choices=sorted(EXAMPLES), help="of the part")
    parser.add_argument("--into", default=".", metavar="DIR", help="where the folder NAME is made; default: here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the package, and say what there is and how to go on."""
    folder = create(options.name, options.kind, Path(options.into))
    print(f"{folder} has the {options.kind} {options.name!r}, worked out as an example:")
    for file in sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()):
        print(f"  {file.as_posix()}")
    print(f"\nNext:\n  pip install -e '{folder}[test]'\n  convzoo check {options.name}\n  pytest {folder}")
    print(f"\nThen put your own idea in; {folder / 'README.md'} says how to go on.")
    return 0
