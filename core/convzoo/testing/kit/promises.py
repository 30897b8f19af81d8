"""What a check is: a promise, whom it binds, and how a broken one is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from convzoo.errors import ConvzooError
from convzoo.spec.kinds import KINDS

MODULES = tuple(kind.name for kind in KINDS.values() if kind.shape)
"""Kinds whose parts are modules."""
MAPS = tuple(name for name in MODULES if KINDS[name].shape != "classes")
"""Kinds whose parts turn feature maps into feature maps."""
STRIDED = tuple(name for name in MAPS if "stride" in KINDS[name].honoured)
"""Kinds whose parts are called with a stride."""
ANY = "any"
"""Binds components of every kind, those that plugins invent included."""
OTHERS = ("model", "pattern", "plugin")
"""What is bound beside components."""


class CheckFailed(ConvzooError, AssertionError):
    """A promise that is not kept: what was found, what it means and how to mend it."""

    def __init__(self, found: str, *, means: str, mend: str) -> None:
        super().__init__(f"{found}\n  It means: {means}\n  To mend it: {mend}")


class NotApplicable(Exception):
    """The promise says nothing about this subject, or cannot be examined here."""


@dataclass(frozen=True)
class Promise:
    """A named check on one sort of subject.

    Attributes:
        name: what reports and expected failures call it.
        binds: kinds of components; or one of :data:`OTHERS`.
        text: what is promised.
        examine: called with the subject; raises CheckFailed or NotApplicable.
    """

    name: str
    binds: tuple[str, ...]
    text: str
    examine: Callable[[Any], None]


PROMISES: list[Promise] = []
"""Every promise, in the order in which they are examined."""


def promise(*binds: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Make a function a check: its name is the check's, its docstring the promise."""

    def add(examine: Callable[[Any], None]) -> Callable[[Any], None]:
        text = " ".join((examine.__doc__ or "").split())
        PROMISES.append(Promise(examine.__name__, binds, text, examine))
        return examine

    return add
