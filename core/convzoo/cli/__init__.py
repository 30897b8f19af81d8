"""The command line: ``convzoo list``, ``show``, ``plugins``, ``new``, ``check`` and ``parity``."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

from convzoo.cli import listing
from convzoo.errors import ConvzooError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 if it went well, 1 if a comparison differs, 2 if it was asked for something impossible."""
    parser = argparse.ArgumentParser(
        prog="convzoo", description="Convolutional networks in which every part is a plugin."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing.add_commands(commands)
    _add_new(commands)
    _add_check(commands)
    _add_parity(commands)
    options, rest = parser.parse_known_args(arguments)
    if rest:  # argparse takes no positionals behind a flag
        words = getattr(options, "words", None)
        if words is None or any(word.startswith("-") for word in rest):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        words += rest
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
        return status
    except (ConvzooError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            # The reader has gone; give the interpreter somewhere to flush to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"convzoo {options.command}: {error}", file=sys.stderr)
        return 2


def _add_new(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "new",
        help="start a plugin of your own",
        description="Write a package with one part, worked out as an example: installable, tested, yours to change.",
        epilog="Example: convzoo new my-block --kind attention",
    )
    parser.add_argument("name", metavar="NAME", help="of the plugin, its folder and its part, such as my-block")
    parser.add_argument("--kind", required=True, choices=("attention", "block", "conv", "stem"), help="of the part")
    parser.add_argument("--into", default=".", metavar="DIR", help="where the folder NAME is made; default: here")

    def run(options: argparse.Namespace) -> int:
        from convzoo.cli import new

        return new.run(options)

    parser.set_defaults(run=run)


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "check",
        help="examine what a plugin contributes",
        description="Examine whether everything that a plugin contributes keeps the promises of its kind.",
        epilog="Exits with 1 when something does not. The same checks are tests: see convzoo.testing.conformance.",
    )
    parser.add_argument("plugin", metavar="PLUGIN", help="its name, as `convzoo plugins` shows it")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only checks with all of these in their name")
    parser.add_argument("--json", action="store_true", help="print JSON")

    def run(options: argparse.Namespace) -> int:
        from convzoo.cli import check  # imports torch

        return check.run(options)

    parser.set_defaults(run=run)


def _add_parity(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "parity",
        help="compare variants with timm or torchvision",
        description="Compare variants with another library's: state dict, outputs, gradients, feature levels.",
        epilog="Exits with 1 when something differs. Needs pip install 'convzoo[parity]'.",
    )
    parser.add_argument("words", nargs="*", metavar="NAME", help="names or globs; default: all with a counterpart")
    parser.add_argument("--against", choices=("timm", "torchvision"), default="timm")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64", "bfloat16", "float16"),
        default="float32",
        help="the 16-bit ones under autocast",
    )
    parser.add_argument("--image-size", type=int, metavar="PX", help="side of the images; default: the variant's own")
    parser.add_argument("--input", choices=("random", "photos"), default="random", help="photos: scikit-learn's two")
    parser.add_argument("--channels-last", action="store_true", help="give networks and images that memory format")
    parser.add_argument("--json", action="store_true", help="print every check's differences as JSON")

    def run(options: argparse.Namespace) -> int:
        from convzoo.cli import parity  # imports torch

        return parity.run(options)

    parser.set_defaults(run=run)
