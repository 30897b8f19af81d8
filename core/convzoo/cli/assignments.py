"""``OPTION=VALUE`` words of a command line. This module imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from convzoo.errors import OptionError, shown
from convzoo.spec.refs import parse_value


def assignments(words: Sequence[str]) -> dict[str, object]:
    """The options that words such as ``attention=se`` say.

    Raises:
        OptionError: a word is no such thing, or an option is given twice.
    """
    found: dict[str, object] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise OptionError(
                f"{shown(word)}: options read NAME=VALUE, such as attention=se or 'attention=se(reduction=8)'"
            )
        if name in found:
            raise OptionError(f"{shown(name)} is given twice")
        found[name] = parse_value(value)
    return found
