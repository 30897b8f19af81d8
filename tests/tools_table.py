"""What the tests that walk the families found of each tool, as a table: a plugin of pytest, which `make tools` uses.

A test with ``@pytest.mark.tool("torch.compile")`` and a parameter ``name`` is a cell; the mark's text may have the
test's other parameters in braces. Nothing is in the table but what ran: a cell of several tests is the worst of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from convzoo.cli.tables import table
from convzoo.packages import timm_name

from .small import smallest_of_families

CELL = "cell"
WORST = ("failed", "skipped", "passed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    known = {
        each: (family, name) for family, name in smallest_of_families().items() for each in (name, timm_name(name))
    }
    for item in items:
        mark, parameters = item.get_closest_marker("tool"), getattr(getattr(item, "callspec", None), "params", {})
        if mark:
            row = known.get(parameters["name"], ("also", parameters["name"]))
            # Workers send it along with what became of the test.
            item.user_properties.append((CELL, (*row, mark.args[0].format(**parameters))))


class Table:
    def __init__(self) -> None:
        self.found: dict[tuple[str, str], tuple[str, str]] = {}
        self.rows: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        cell = dict(report.user_properties).get(CELL)
        if cell is None or (report.when != "call" and report.passed):
            return
        family, name, tool = cell  # type: ignore[misc]
        row = f"{family}: {name}"
        self.rows.add(row)
        why = str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
        if report.failed:
            why = str(report.longrepr).strip().splitlines()[-1]
        new, old = (report.outcome, why), self.found.get((row, tool))
        self.found[row, tool] = new if old is None else min(old, new, key=lambda each: WORST.index(each[0]))

    def lines(self) -> Sequence[str]:
        """The table, and the reasons under it."""
        tools = list(dict.fromkeys(tool for _, tool in sorted(self.found)))
        reasons: dict[str, str] = {}
        rows = []
        for row in sorted(self.rows):
            cells = []
            for tool in tools:
                outcome, why = self.found.get((row, tool), ("not run", ""))
                note = f" {reasons.setdefault(why, str(len(reasons) + 1))}" if why else ""
                cells.append({"passed": "pass", "failed": "FAIL"}.get(outcome, outcome) + note)
            rows.append([row, *cells])
        return [table(["family: network", *tools], rows), *(f"{mark}: {why}" for why, mark in reasons.items())]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.found:
            terminalreporter.section("tools by families")
            for line in self.lines():
                terminalreporter.write_line(line)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Table())
