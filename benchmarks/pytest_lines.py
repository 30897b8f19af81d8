"""A plugin of pytest for :mod:`gpu`: the result of each test as a line of JSON as it comes, within a time.

It is told by the environment: ``LINES`` is the file, ``FIRST`` the variants whose tests come first, separated by
commas, and ``SECONDS`` how long tests may begin.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

START = time.monotonic()


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Tests of one variant of each family come first."""
    first = set(os.environ.get("FIRST", "").split(","))

    def later(item: Any) -> bool:
        values = getattr(getattr(item, "callspec", None), "params", {}).values()
        return not any(isinstance(value, str) and value in first for value in values)

    items.sort(key=later)


def pytest_runtest_logreport(report: Any) -> None:
    """A test has ended, or was skipped before it began."""
    if report.when == "call" or report.outcome != "passed":
        line = {"test": report.nodeid, "outcome": report.outcome, "seconds": round(report.duration, 3)}
        if report.failed:
            line["why"] = str(report.longrepr)[-4000:]
        with open(os.environ["LINES"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def pytest_runtest_logfinish(nodeid: str, location: Any) -> None:
    """Keep to the time."""
    if time.monotonic() - START > float(os.environ.get("SECONDS", "inf")):
        import pytest

        pytest.exit("the time for tests is over", returncode=0)
