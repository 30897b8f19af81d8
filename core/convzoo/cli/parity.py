"""``convzoo parity``: variants beside those of timm or torchvision. This module imports torch only when it runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from convzoo.cli.list import matching
from convzoo.cli.tables import table
from convzoo.errors import ConvzooError, OptionError, said, shown
from convzoo.plugins.host import registry

if TYPE_CHECKING:
    from convzoo.testing.parity import Comparison


LARGEST_IMAGE = 8192
"""Pixels of the side of an image."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
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
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare, print a table or JSON, and say whether all is equal."""
    from convzoo.network.place import device_of
    from convzoo.testing.parity import compare

    names = _chosen(options.words, options.against)
    if (size := options.image_size) is not None and not 1 <= size <= LARGEST_IMAGE:
        raise OptionError(f"--image-size must be at least 1, and no more than {LARGEST_IMAGE}, got {shown(size)}")
    device_of(options.device)
    results: list[Comparison] = []
    failures: dict[str, str] = {}
    for name in _progress(names):
        try:
            results.append(
                compare(
                    name,
                    against=options.against,
                    device=options.device,
                    dtype=options.dtype,
                    image_size=options.image_size,
                    images=options.input,
                    channels_last=options.channels_last,
                )
            )
        except (ConvzooError, RuntimeError) as error:  # torch's own, such as that the images are too small
            said_of = error if isinstance(error, ConvzooError) else ConvzooError(f"{name}: {said(error)}")
            if len(names) == 1:
                raise said_of from error
            failures[name] = str(said_of)
    if options.json:
        records = [result.to_dict() for result in results]
        records += [{"name": name, "verdict": "FAILED", "error": error} for name, error in failures.items()]
        print(json.dumps(records, indent=2))
    else:
        print(_report(results, failures, options))
    return 0 if not failures and all(result.equal for result in results) else 1


def _chosen(patterns: list[str], library: str) -> list[str]:
    """Models to compare; a name given as such must have a counterpart, a glob takes those that do."""
    known = registry()
    with_counterpart = [name for name, entry in known.models().items() if entry.spec.reference(library)]
    if not patterns:
        return with_counterpart
    found: dict[str, None] = {}
    for pattern in patterns:
        names = matching([pattern])
        kept = [name for name in names if known.model(name).spec.reference(library)]
        if not kept:
            raise OptionError(f"{pattern}: {', '.join(names[:5])} has no counterpart in {library} to compare with")
        found.update(dict.fromkeys(kept))
    return list(found)


def _progress(names: list[str]) -> Iterable[str]:
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ConvzooError("comparing needs tqdm: pip install 'convzoo[parity]'") from error
    return tqdm(names, unit="model", disable=None if sys.stderr.isatty() else len(names) < 2, leave=False)


def _report(results: list[Comparison], failures: dict[str, str], options: argparse.Namespace) -> str:
    rows = []
    for result in results:
        worst = result.worst
        rows.append(
            [
                result.name,
                f"{result.library} {result.reference}",
                f"{result.counts.params:,}",
                f"{result.counts.macs:,}",
                f"{worst.absolute:.1e}" if worst.absolute else "0",
                f"{worst.relative:.1e}" if worst.relative else "0",
                result.verdict,
            ]
        )
    for name, error in failures.items():
        rows.append([name, "", "", "", "", "", f"FAILED: {error}"])
    header = ["variant", "against", "parameters", "MACs", "largest abs", "largest rel", "verdict"]
    size = f"{options.image_size} px" if options.image_size else "the variant's own size"
    checks = ", ".join(results[0].differences) if results else ""
    equal = sum(result.equal for result in results)
    return (
        table(header, rows, right=header[2:6])
        + f"\n\n{equal} of {len(rows)} equal; {options.input} images at {size}, {options.dtype}, {options.device}"
        + (f"\nchecks: {checks}" if checks else "")
    )
