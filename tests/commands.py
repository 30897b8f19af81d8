"""Commands of the command line, run here or in a new interpreter, and what they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from convzoo.cli import main

Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, *arguments: str) -> str:
    """What a command that goes well prints."""
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def run_json(capsys: Capture, *arguments: str) -> Any:
    return json.loads(run(capsys, *arguments, "--json"))


def refused(capsys: Capture, *arguments: str) -> str:
    """What a command says that is asked for something impossible."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"convzoo {arguments[0]}: ")
    return captured.err


def first_column(text: str) -> list[str]:
    """The first column of a table, without its header."""
    rows = text.split("\n\n")[0].splitlines()
    return [row.split()[0] for row in rows[2:]]


def fresh(code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter, whose output is buffered as a user's is."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 120, **options}
    return subprocess.run([sys.executable, "-c", code, *arguments], env=environment, **options)
