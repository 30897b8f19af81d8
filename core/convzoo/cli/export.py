"""``convzoo export``: a network as a file, which is run beside it. This module imports torch only when it runs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from convzoo.cli.made import arguments, images_for, made
from convzoo.cli.tables import table
from convzoo.errors import require_int
from convzoo.exporting import FORMATS
from convzoo.exporting.base import DYNAMIC

BOUND = 1e-3
"""The largest difference, over the largest output, that a file may have from its network in float32."""
EPILOG = f"""The file is run in its engine (ONNX Runtime, torch, OpenVINO, AOTInductor) beside the network, on random
images in float32, and for what --dynamic leaves open on others too. Exits with 1 when an output differs by more than
{BOUND:g} of the largest. Without --weights the weights are random, those of norms too, so that every layer shows."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "export",
        help="write a network to a file for another engine, and run it there",
        description="Write a network to a file that runs without this package, and run the file beside the network.",
        epilog=EPILOG,
    )
    arguments(parser)
    parser.add_argument("--format", choices=tuple(FORMATS), required=True)
    parser.add_argument(
        "--deploy",
        action="store_true",
        help="write the form for inference, as convzoo.deploy makes it, but for what is slower in the engine",
    )
    parser.add_argument("--dynamic", type=_words, default=[], help="what may differ when it runs: batch,size")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: the name with the format's suffix, here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the file, run it, print a table of differences, and say whether all are within the bound."""
    from convzoo.deploying.deploy import deployed_by
    from convzoo.deploying.rewrites import rewrites_for
    from convzoo.exporting.export import check, compare, export

    format = FORMATS[options.format]
    path = options.out or Path(f"{_stem(options.name)}{format.infix}{format.suffix}")
    check(path, options.format, options.dynamic)  # before anything is built
    count = require_int("--batch-size", options.batch_size, at_least=1, at_most=65536)
    model = made(options)
    model = deployed_by(model, rewrites_for(format.engine))[0] if options.deploy else model.eval()
    images = images_for(model, count, options.image_size)
    written = export(model, images, path, options.format, options.dynamic)
    found = compare(model, path, options.format, images, options.dynamic)
    size = sum(file.stat().st_size for file in written) / 2**20
    print(f"{options.name} as {options.format}: {' and '.join(map(str, written))}, {size:.1f} MB\n")
    rows = [[" x ".join(map(str, each.shape)), f"{each.absolute:.1e}", f"{each.relative:.1e}"] for each in found]
    header = ["images", "largest difference", "of the largest output"]
    print(table(header, rows, right=header[1:]))
    wrong = [each for each in found if not each.relative <= BOUND]
    print(f"\n{'beyond' if wrong else 'within'} the bound of {BOUND:g} of the largest output")
    return int(bool(wrong))


def _stem(name: str) -> str:
    """What the file is called after: a model, or the last part of the name of a folder or repository."""
    from convzoo.network.packages import FOLDER, is_package

    if is_package(name):
        kind, _, name = name.partition(":")
        name = name if f"{kind}:" == FOLDER else name.partition("@")[0]
    return Path(os.path.abspath(name)).name


def _words(text: str) -> Sequence[str]:
    words = [word.strip() for word in text.split(",")]
    if unknown := [word for word in words if word not in DYNAMIC]:
        raise argparse.ArgumentTypeError(f"expected {' and '.join(DYNAMIC)}, or one of them, got {unknown[0]!r}")
    return words
