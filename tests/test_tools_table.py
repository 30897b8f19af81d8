"""The table of tools by families has what ran, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from .tools_table import CELL, Table


def reported(table: Table, tool: str, outcome: Any, longrepr: Any = None, when: Any = "call") -> None:
    cell = (CELL, ("resnet_cifar", "resnet20", tool))
    table.pytest_runtest_logreport(
        pytest.TestReport("test", ("test", 1, "test"), {}, outcome, longrepr, when, user_properties=[cell])
    )


def test_a_cell_is_the_worst_of_what_ran_and_has_its_reason() -> None:
    table = Table()
    for outcome in ("passed", "failed", "passed"):
        reported(table, "one", outcome, "E   the reason" if outcome == "failed" else None)
    reported(table, "two", "passed", when="setup")
    reported(table, "two", "skipped", ("file", 1, "Skipped: needs an engine"), when="setup")
    reported(table, "three", "passed")
    table.rows.add("resnet: resnet10t")
    text, *reasons = table.lines()
    header, _, first, second = (line.split("  ") for line in text.splitlines())
    assert [cell.strip() for cell in header if cell] == ["family: network", "one", "three", "two"]
    assert [cell.strip() for cell in first if cell] == ["resnet: resnet10t", "not run", "not run", "not run"]
    assert [cell.strip() for cell in second if cell] == ["resnet_cifar: resnet20", "FAIL 1", "pass", "skipped 2"]
    assert reasons == ["1: E   the reason", "2: needs an engine"]
