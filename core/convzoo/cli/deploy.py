"""``convzoo deploy``: the form of a network for inference. This module imports torch only when it runs."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from convzoo.cli.made import arguments, images_for, made
from convzoo.cli.tables import table
from convzoo.errors import OptionError, require_int

PAIRS = 12
"""How often a network is timed before and after a rewrite."""
EPILOG = """What each rewrite gains is the time before it over the time after it, the other rewrites before it being
made: both are timed in pairs, on random images, in this process. A rewrite that is there for the next one gains nothing
by itself. Without --weights the weights are random, those of norms too."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "deploy",
        help="make a network's form for inference, and say what was rewritten",
        description="Make the form of a network for inference, as convzoo.deploy does; write it, or explain it.",
        epilog=EPILOG,
    )
    arguments(parser)
    parser.add_argument("--explain", action="store_true", help="time what each rewrite gains")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of torch; default: as torch has it")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="save it there, as save_pretrained does")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Deploy, print what was rewritten, and save the network where that is asked for."""
    import torch

    from convzoo.deploying.deploy import deployed_by
    from convzoo.deploying.rewrites import REWRITES
    from convzoo.network.saving import save_pretrained

    count = require_int("--batch-size", options.batch_size, at_least=1, at_most=65536)
    if options.threads is not None:
        torch.set_num_threads(require_int("--threads", options.threads, at_least=1, at_most=1024))
    if options.out is not None and options.out.exists() and not options.out.is_dir():
        raise OptionError(f"--out {options.out}: there is a file of that name, and a folder is to be written")
    model = made(options).eval()
    images = images_for(model, count, options.image_size)
    deployed, counts = deployed_by(model, REWRITES)
    gains = list(_gains(model, images)) if options.explain else []
    rows = [[each.name, str(counts[each.name]), each.reason] for each in REWRITES]
    header = ["rewrite", "places", "why"]
    if gains:
        rows, header = [[*row, gain] for row, gain in zip(rows, gains, strict=False)], [*header, "gain"]
    print(table(header, rows, right=("places", "gain")))
    if gains:
        shape, threads = "x".join(map(str, images.shape)), torch.get_num_threads()
        print(f"\nall: {gains[-1]}; images {shape}, threads: {threads}, {PAIRS} pairs each")
    if options.out is not None:
        save_pretrained(deployed, options.out)
        print(f"\nsaved: create_model('local-dir:{options.out}') makes it again")
    return 0


def _gains(model: Any, images: Any) -> Iterator[str]:
    """The gain of each rewrite, and in the end of all."""
    from convzoo.deploying.deploy import deployed_by
    from convzoo.deploying.rewrites import REWRITES

    before, _ = deployed_by(model, ())
    for number, rewrite in enumerate(REWRITES):
        after, counts = deployed_by(model, REWRITES[: number + 1])
        yield _ratio(before, after, images) if counts[rewrite.name] else "-"
        before = after
    original, _ = deployed_by(model, ())
    yield _ratio(original, before, images)


def _ratio(before: Any, after: Any, images: Any) -> str:
    """The speed of ``after`` by that of ``before``, and its interval, of :data:`PAIRS` pairs."""
    import torch

    from convzoo.bench.statistics import interval

    images = images.to(memory_format=torch.channels_last)
    before = before.to(memory_format=torch.channels_last)

    def seconds(network: Any) -> float:
        start = time.perf_counter()
        network(images)
        return time.perf_counter() - start

    with torch.inference_mode():
        for network in (before, after, before, after):
            network(images)
        pairs = [[seconds(after), seconds(before), seconds(before), seconds(after)] for _ in range(PAIRS)]
    found = interval(pairs)
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
