"""The command line: ``convzoo list``, ``show``, ``plugins``, ``new``, ``check``, ``parity``, ``bench``,
``deploy`` and ``export``."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence

from convzoo.cli import bench, check, deploy, export, list, new, parity, plugins, show
from convzoo.errors import LONGEST_MESSAGE, ConvzooError, cut
from convzoo.plugins.environment import core_version
from convzoo.plugins.exits import no_exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 if it went well, 1 if a comparison differs, 2 if it was asked for something impossible."""
    parser = argparse.ArgumentParser(
        prog="convzoo", description="Convolutional networks in which every part is a plugin."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {core_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (list, show, plugins, new, check, parity, bench, deploy, export):
        command.add(commands)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal cannot write is escaped
            stream.reconfigure(errors="backslashreplace")
    options, rest = parser.parse_known_args(arguments)
    if rest:  # argparse takes no positionals behind a flag
        words = getattr(options, "words", None)
        if words is None or any(word.startswith("-") for word in rest):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        words += rest
    try:
        with no_exit("it was ended by a part or a plugin", "Mend that, or leave it out"), warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
            for category in (DeprecationWarning, SyntaxWarning):  # of text that is read as Python is
                warnings.simplefilter("ignore", category)
            status: int = options.run(options)
        sys.stdout.flush()
        return status
    except (ConvzooError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            # The reader has gone; give the interpreter somewhere to flush to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"convzoo {options.command}: {cut(error, LONGEST_MESSAGE)}", file=sys.stderr)
        return 2
