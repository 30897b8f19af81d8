"""``convzoo check``: the conformance kit as a table."""

from __future__ import annotations

import argparse
import json

from convzoo.cli.tables import table
from convzoo.errors import OptionError
from convzoo.testing import Check, CheckFailed, NotApplicable, checks


def run(options: argparse.Namespace) -> int:
    """Examine what a plugin contributes, print a table or JSON, and say whether every promise is kept."""
    found = [check for check in checks(options.plugin) if all(word in str(check) for word in options.words)]
    if not found:
        raise OptionError(f"no check of {options.plugin!r} has {' and '.join(options.words)} in its name")
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
    try:
        check()
    except NotApplicable as reason:
        return {"result": "does not apply", "message": str(reason)}
    except CheckFailed as failure:
        return {"result": "FAILED", "message": str(failure)}
    return {"result": "passed", "message": ""}
