"""``convzoo bench`` on result files: two of them compared, and reports and tables of what one has."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convzoo.errors import OptionError, shown

if TYPE_CHECKING:
    from convzoo.bench.compare import Comparison
    from convzoo.bench.results import Row


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options that are of result files."""
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the rows as a page that opens offline too")
    parser.add_argument(
        "--from",
        dest="from_",
        type=Path,
        action="append",
        metavar="FILE",
        help="measure nothing: the table, --report and --csv are of this result file; may be given again",
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("OLD", "NEW"),
        help="measure nothing: say of two result files which rows became faster or slower",
    )
    parser.add_argument(
        "--fail-above", type=share, metavar="SHARE", help="with --compare: exit with 1 if a row is slower by more: 5%%"
    )
    parser.add_argument(
        "--allow-unlike", action="store_true", help="with --compare: also rows of unlike hardware, versions, ..."
    )


def check(options: argparse.Namespace) -> None:
    """Refuse, before anything runs, what excludes each other, and files that cannot be written.

    Raises:
        OptionError: the options exclude each other, a folder is not there, or a report needs a package.
    """
    only = "--compare" if options.compare else "--from" if options.from_ else ""
    if options.compare and options.from_:
        raise OptionError("--compare and --from exclude each other: leave one of them out")
    if only and (options.words or options.plugin):
        named = shown(options.plugin or options.words[0])
        raise OptionError(f"{only} measures nothing and takes no names, got {named}: leave one of them out")
    if options.compare and (options.report or options.csv):
        raise OptionError("--compare writes no --report and no --csv; make them with --from")
    if not options.compare and (options.fail_above is not None or options.allow_unlike):
        raise OptionError("--fail-above and --allow-unlike belong to --compare OLD NEW")
    if options.fail_above is not None and not 0 <= options.fail_above < math.inf:
        raise OptionError(f"--fail-above must be a share from 0 up, such as 5%, got {shown(options.fail_above)}")
    for file in filter(None, (options.out, options.csv, options.report)):
        if not file.absolute().parent.is_dir():
            raise OptionError(f"{file}: there is no folder {file.absolute().parent}")
    if options.report:
        from convzoo.bench.report import plotly_script

        plotly_script()


def compare(options: argparse.Namespace) -> int:
    """Print what became of each row; 1 if one is slower by more than was allowed, or has no figures any more."""
    from convzoo.bench.compare import compare as compared
    from convzoo.bench.compare import name

    old, new = options.compare
    found = compared(old, new, options.allow_unlike)
    _say(found.notes)
    print(_printed(found, str(old), str(new)))
    if options.fail_above is None:
        return 0
    slower = found.slower(options.fail_above)
    for each in slower:
        print(f"slower by at least {each.slower_by():.1%}, and {options.fail_above:.1%} is allowed: {name(each.new)}")
    lost = [each for each in found.changes if each.lost]
    for each in lost:
        print(f"it was measured, and is not any more ({each.new.status}): {name(each.new)}")
    return int(bool(slower or lost))


def show_again(options: argparse.Namespace) -> int:
    """The table of what result files have, and what else is asked for of them."""
    from convzoo.bench.results import read
    from convzoo.cli.timings import show

    rows: dict[str, Row] = {}
    for path in options.from_:
        found = read(path)
        _say(found.notes)
        rows.update({row.id: row for row in found.current()})
    show(list(rows.values()))
    keep(options, list(rows.values()))
    return 0


def keep(options: argparse.Namespace, rows: Sequence[Row]) -> None:
    """Write the rows as CSV and as a report, where that is asked for."""
    if options.csv:
        from convzoo.bench.flat import write_csv

        write_csv(rows, options.csv)
    if options.report:
        from convzoo.bench.report import write_report

        write_report(rows, options.report)
        print(f"the report is in {options.report}")


def share(text: str) -> float:
    """A number, or one of percents: ``0.05`` or ``5%``."""
    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a share such as 2% or 0.02, got {shown(text)}") from None


def _say(notes: Sequence[str]) -> None:
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def _printed(found: Comparison, old: str, new: str) -> str:
    from convzoo.bench.compare import VERDICTS, cells_of, header, name
    from convzoo.bench.flat import shown_settings
    from convzoo.cli.tables import table

    varying, fixed = shown_settings([change.new for change in found.changes])
    titles = header(varying)
    lines = [table(titles, [cells_of(each, varying) for each in found.changes], right=titles[-5:-1]), "", fixed]
    lines += [f"{name(each.new)}: {each.verdict}: {each.why}" for each in found.changes if each.why]
    for path, rows in ((old, found.only_old), (new, found.only_new)):
        lines += [f"only in {path}: {name(row)}" for row in rows]
    counts = (f"{sum(each.verdict == verdict for each in found.changes)} {verdict}" for verdict in VERDICTS)
    return "\n".join([*lines, f"of {len(found.changes)} rows that both have: {', '.join(counts)}"])
