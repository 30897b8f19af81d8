"""Globs of names, as a shell has them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from typing import Any

from convzoo.errors import OptionError, shown

LONGEST = 1000
"""Characters of a glob."""


def matcher(option: str, globs: Any, *, empty: str = "*") -> Callable[[str], bool]:
    """Whether a name matches a glob, or one of a sequence of globs; an empty one stands for the glob ``empty``.

    Raises:
        OptionError: they are none; the message names the option ``option``.
    """
    patterns = []
    for glob in globs if isinstance(globs, (list, tuple, set, frozenset)) else (globs,):
        if not isinstance(glob, str) or len(glob) > LONGEST:
            raise OptionError(f"{option}={shown(globs)}: a glob is a string such as 'resnet*', {LONGEST} long at most")
        try:
            patterns.append(re.compile(fnmatch.translate(glob or empty)))
        except re.error as error:
            raise OptionError(f"{option}={shown(globs)}: {shown(glob)} is no glob: {error}") from None
    return lambda name: any(pattern.match(name) for pattern in patterns)
