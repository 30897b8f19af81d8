"""Key maps: ordered pairs for ``re.sub`` that turn the names of a model's weights into those of another library."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from convzoo.errors import SpecError, shown
from convzoo.spec.checks import sequence, text

_GROUP = re.compile(r"\{(\d+)(?:\+(\d+))?\}")
"""In a replacement ``{1}`` is the first group, and ``{1+2}`` the number in it plus 2."""


def key_pairs(what: str, value: Any) -> tuple[tuple[str, str], ...]:
    """``value`` as pairs of a regular expression and what takes the place of its matches.

    Raises:
        SpecError: it is no sequence of such pairs, or a replacement names a group that its expression has not.
    """
    pairs = []
    for each in sequence(what, value):
        if not isinstance(each, (tuple, list)) or len(each) != 2:
            raise SpecError(f"{what} are pairs (pattern, replacement), got {shown(each)}")
        pair = text(what, each[0]), text(what, each[1])
        try:
            rule(*pair)
        except Exception as error:
            raise SpecError(f"{what}: {shown(pair)} is no pair for re.sub: {error}") from error
        pairs.append(pair)
    return tuple(pairs)


@functools.lru_cache(maxsize=1024)
def rule(pattern: str, replacement: str) -> tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]:
    """The arguments of ``re.sub`` that a pair stands for.

    Raises:
        re.error: the pattern cannot be compiled, or the replacement cannot be read.
        IndexError: it names a group that the pattern has not.
    """
    compiled = re.compile(pattern)
    compiled.sub(replacement, "")  # which reads the replacement, whether there is a match or not
    for group in _GROUP.finditer(replacement):
        if int(group[1]) > compiled.groups:
            raise IndexError(f"there is no group {group[1]} for {group[0]}")
    if not _GROUP.search(replacement):
        return compiled, replacement

    def replace(match: re.Match[str]) -> str:
        def value(found: re.Match[str]) -> str:
            group = match[int(found[1])] or ""
            return str(int(group) + int(found[2])) if found[2] else group

        # Expanding reads the replacement anew each time, so it is done only where there is something to expand.
        return _GROUP.sub(value, match.expand(replacement) if "\\" in replacement else replacement)

    return compiled, replace
