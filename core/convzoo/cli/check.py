"""``convzoo check``: the conformance kit as a table. This module imports torch only when it runs."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from convzoo.cli.tables import table
from convzoo.errors import OptionError, cut

if TYPE_CHECKING:
    from convzoo.testing import Check


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check",
        help="examine what a plugin contributes",
        description="Examine whether everything that a plugin contributes keeps the promises of its kind.",
        epilog="Exits with 1 when something does not. The same checks are tests: see convzoo.testing.conformance.",
    )
    parser.add_argument("plugin", metavar="PLUGIN", help="its name, as `convzoo plugins` shows it")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only checks with all of these in their name")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Examine what a plugin contributes, print a table or JSON, and say whether every promise is kept."""
    from convzoo.testing import checks

    found = [check for check in checks(options.plugin) if all(word in str(check) for word in options.words)]
    if not found:
        raise OptionError(f"no check of {options.plugin!r} has {cut(' and '.join(options.words))} in its name")
    results = [{"check": str(check), **_examined(check)} for check in found]
    failures = [result for result in results if result["result"] == "FAILED"]
    if options.json:
        print(json.dumps(results, indent=2))
        return bool(failures)
    rows = [[*(str(result["check"]).rsplit("/", 1)), result["result"]] for result in results]
    print(table(["contribution", "check", "result"], rows))
    for result in failures:
        print(f"\n{result['check']}: {result['message']}")
    passed = sum(result["result"] == "passed" for result in results)
    print(f"\n{passed} passed, {len(failures)} failed, {len(results) - passed - len(failures)} do not apply")
    return bool(failures)


def _examined(check: Check) -> dict[str, str]:
    from convzoo.testing import CheckFailed, NotApplicable

    try:
        check()
    except NotApplicable as reason:
        return {"result": "does not apply", "message": str(reason)}
    except CheckFailed as failure:
        return {"result": "FAILED", "message": str(failure)}
    return {"result": "passed", "message": ""}
