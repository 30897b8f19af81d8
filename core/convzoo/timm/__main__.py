"""``python -m convzoo.timm [options] SCRIPT ARGS``: run a script of timm's with the zoo's models and their training."""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from collections.abc import Sequence

import timm

from convzoo.errors import ConvzooError
from convzoo.timm.following import Following, following


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a script as Python would: what it raises is raised; 0 if it comes to its end."""
    parser = argparse.ArgumentParser(
        prog="python -m convzoo.timm",
        allow_abbrev=False,
        description="Run a script of timm's (train.py, validate.py, benchmark.py), or another one that is made of its"
        " parts, with every model of the zoo as zoo_<name>. Networks that follow their training are told how far it is,"
        " and their penalty is added to the loss. On several devices: torchrun --nproc-per-node N -m convzoo.timm ...",
    )
    parser.add_argument(
        "--penalty-weight",
        type=float,
        default=0.0,
        metavar="W",
        help="of the penalty in the loss; 0 by default, as in the code of the papers",
    )
    parser.add_argument(
        "--total-steps",
        type=int,
        metavar="N",
        help="steps of the optimizer in the whole training; by default what timm's scheduler is made for",
    )
    parser.add_argument("script", metavar="SCRIPT", help="its file")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="its arguments")
    options = parser.parse_args(arguments)
    if not os.path.isfile(options.script):
        parser.error(
            f"there is no file {options.script!r}. timm's scripts do not come with its package: take them from its"
            f" repository, as of the version that is installed here, {timm.__version__}"
        )
    try:
        Following(options.penalty_weight, options.total_steps)  # is it possible?
    except ConvzooError as error:
        parser.error(str(error))
    before = sys.argv, list(sys.path)
    sys.argv = [options.script, *options.arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(options.script)))
    try:
        with following(options.penalty_weight, options.total_steps):
            runpy.run_path(options.script, run_name="__main__")
    finally:
        sys.argv, sys.path[:] = before
    return 0


if __name__ == "__main__":
    sys.exit(main())
