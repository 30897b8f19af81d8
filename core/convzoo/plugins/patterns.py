"""Models that stand behind a name by a rule, and the rules that fail: one costs nobody but its own plugin anything."""

from __future__ import annotations

import re
from collections.abc import Iterable

from convzoo.errors import PluginError, SpecError, said_in_full, shown, text_of
from convzoo.plugins.environment import complain
from convzoo.plugins.owner import Owner
from convzoo.spec.contributions import Pattern
from convzoo.spec.model import Model


class Failures:
    """The patterns that have failed so far, each with what was wrong the first time."""

    def __init__(self) -> None:
        self._found: dict[tuple[Owner, str], PluginError] = {}
        self._told: set[tuple[Owner, str]] = set()

    def model(self, patterns: Iterable[tuple[Pattern, Owner]], name: str) -> tuple[tuple[Model, Owner] | None, str]:
        """What the first of ``patterns`` that can makes of a name, and whose it is; and why the last could not."""
        why = ""
        for pattern, owner in patterns:
            try:
                if model := _made(pattern, owner, name):
                    return (model, owner), why
            except SpecError as error:
                why = text_of(error)
            except PluginError as error:
                why = text_of(self._found.setdefault((owner, pattern.name), error))
        return None, why

    def of(self, owner: Owner) -> list[str]:
        """What was wrong with the patterns of a plugin."""
        return [str(error) for (whose, _), error in self._found.items() if whose == owner]

    def forget(self, owner: Owner) -> None:
        """Begin anew with the patterns of a plugin."""
        self._found = {key: error for key, error in self._found.items() if key[0] != owner}
        self._told = {key for key in self._told if key[0] != owner}

    def complain(self) -> None:
        """Warn of each once; PluginError if the environment is strict."""
        for key, error in list(self._found.items()):
            if key not in self._told:
                self._told.add(key)
                complain(str(error), error.__cause__)


def _made(pattern: Pattern, owner: Owner, name: str) -> Model | None:
    """The model that a pattern makes of a name, or None if the name does not match.

    Raises:
        SpecError: it refuses the name.
        PluginError: it fails.
    """
    match = re.fullmatch(pattern.regex, name)
    if not match:
        return None
    what = f"pattern {pattern.name!r} of {owner} fails on {name!r}"
    try:
        model = pattern.make(**match.groupdict())
    except (SpecError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise PluginError(f"{what}: {said_in_full(error)}. {owner.cure}.") from error
    if type(model) is not Model:
        raise PluginError(f"{what}: it makes {shown(model)}, not a Model. {owner.cure}.")
    return model
