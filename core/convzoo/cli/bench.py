"""``convzoo bench``: how fast variants are beside others. This module imports torch only when it runs."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convzoo.cli import bench_files
from convzoo.cli.bench_files import share
from convzoo.errors import OptionError, shown

if TYPE_CHECKING:
    from convzoo.bench.results import Row

FILE = "bench.jsonl"
"""Where rows go by default."""
EPILOG = """A NAME may be a glob, and have options: resnet50, 'resnet*', 'resnet50[attention=cbam]'. Lists
are separated by commas. Rows are appended to the result file as they come; the same command again measures what is not
there yet. Exits with 1 when a cell failed or was interrupted, and where a row is slower than --fail-above
allows, or was measured and is not any more."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "bench",
        help="measure speed and memory beside timm, torchvision, or each other",
        description="Time variants in pairs with others, with intervals, until the figures are as precise as asked.",
        epilog=EPILOG,
    )
    parser.add_argument("words", nargs="*", metavar="NAME", help="names or globs, with [option=value, ...] or without")
    parser.add_argument("--plugin", help="only what this plugin contributed")
    parser.add_argument(
        "--against",
        action="append",
        type=_words,
        metavar="WHAT",
        help="timm, torchvision, timm:NAME, torchvision:NAME, a variant of ours, training (of a deployed form its"
        " training graph), or self, which is the default; may be given again",
    )
    parser.add_argument("--form", type=_words, default=["training"], help="training,deployed; default: training")
    parser.add_argument("--mode", type=_words, default=["infer"], help="infer,train; default: infer")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--dtype", type=_words, default=["float32"], help="float32,bf16,fp16,float64")
    parser.add_argument("--memory-format", type=_words, default=["contiguous"], help="contiguous,channels_last")
    parser.add_argument("--engine", type=_words, default=["eager"], help="eager,compile,onnxruntime,openvino")
    parser.add_argument("--batch-size", type=_numbers, default=[1], metavar="N", help="images, such as 1,64")
    parser.add_argument("--image-size", type=_numbers, default=[], metavar="PX", help="default: the variant's own")
    parser.add_argument("--threads", type=int, metavar="N", help="of the processor; default: as many as cores")
    parser.add_argument("--precision", type=share, default=0.02, help="width of the interval to reach; default: 2%%")
    parser.add_argument("--confidence", type=share, default=0.95, help="of the interval; default: 95%%")
    parser.add_argument("--budget", type=float, default=60.0, metavar="S", help="seconds of timing a cell; default: 60")
    parser.add_argument("--events", action="store_true", help="on CUDA: time the device alone, by its events")
    parser.add_argument("--flush", action="store_true", help="on CUDA: empty the second-level cache before each batch")
    parser.add_argument("--no-memory", action="store_true", help="leave out the pass for memory and the start")
    parser.add_argument("--in-process", action="store_true", help="all cells in this process: quicker, less honest")
    parser.add_argument("--spread", choices=("ray",), help="over all devices and hosts that it has, a cell on each")
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="begin no cell later; the same command goes on there"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights and images")
    parser.add_argument("--out", type=Path, default=Path(FILE), metavar="FILE", help=f"result file; default: {FILE}")
    parser.add_argument("--again", action="store_true", help="measure again what the result file has")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the rows as CSV too")
    bench_files.add(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure what is asked for, print a table, and say whether every cell came to an end."""
    bench_files.check(options)
    if options.compare:
        return bench_files.compare(options)
    if options.from_:
        return bench_files.show_again(options)
    from convzoo.bench.cells import plan
    from convzoo.bench.run import resumed
    from convzoo.cli.timings import show

    how = _how(options)
    found = plan(
        options.words,
        against=[each for given in options.against or () for each in given],
        plugin=options.plugin,
        form=options.form,
        mode=options.mode,
        device=options.device,
        dtype=options.dtype,
        memory_format=options.memory_format,
        engine=options.engine,
        batch_size=options.batch_size,
        image_size=options.image_size,
        threads=options.threads,
    )
    if (options.events or options.flush) and not found.cells[0].settings.on_cuda:
        raise OptionError("--events and --flush are for CUDA, and --device is cpu: leave one of them out")
    if options.spread and options.in_process:
        raise OptionError("--spread and --in-process exclude each other: leave one of them out")
    todo = resumed(found.cells, how, options.out, options.again)
    for note in (*found.notes, *todo.notes):
        print(f"note: {note}", file=sys.stderr)
    rows, interrupted = _measured(todo, how, options)
    show(rows)
    bench_files.keep(options, rows)
    if left := len(found.cells) - len(rows):
        print(f"{left} of {len(found.cells)} cells are left; the same command goes on there")
    print(f"rows are in {options.out}")
    return 130 if interrupted else int(any(row.status in ("failed", "interrupted") for row in rows))


def _measured(todo: Any, how: Any, options: argparse.Namespace) -> tuple[list[Row], bool]:
    if options.spread:
        from convzoo.bench.spread import run_on_ray as measure
    else:
        from convzoo.bench.run import run as measure
    from convzoo.cli.timings import listener

    rows = list(todo.kept)
    until = math.inf if options.minutes is None else time.monotonic() + 60 * options.minutes
    with listener(len(todo.cells)) as told:
        try:
            for row in measure(todo, how, options.out, told, until):
                rows.append(row)
        except KeyboardInterrupt:
            return rows, True
    return rows, False


def _how(options: argparse.Namespace) -> Any:
    from convzoo.bench.measure import How
    from convzoo.bench.sampling import Rule

    return How(
        rule=Rule(precision=options.precision, budget=options.budget, confidence=options.confidence),
        seed=options.seed,
        events=options.events,
        flush=options.flush,
        memory=not options.no_memory,
        in_process=options.in_process,
    )


def _words(text: str) -> list[str]:
    """Separated by commas, but for those within brackets."""
    words, depth = [""], 0
    for letter in text:
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and depth == 0:
            words.append("")
        else:
            words[-1] += letter
    return [word.strip() for word in words]


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers such as 1,64, got {shown(text)}") from None
