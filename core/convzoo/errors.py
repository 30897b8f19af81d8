"""What convzoo raises, and the checks of single values that raise it.

Every message says what was asked, what there is instead, and how to mend it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any


class ConvzooError(Exception):
    """Base of every error that convzoo raises on purpose."""


class UnknownNameError(ConvzooError, LookupError):
    """A model or component was asked for by a name that nobody contributed."""


class SpecError(ConvzooError, ValueError):
    """A spec that cannot describe a network."""


class OptionError(SpecError):
    """An option that nothing takes, or a value that it cannot have."""


class PluginError(ConvzooError, RuntimeError):
    """A plugin that cannot be used."""


class WeightsError(ConvzooError, RuntimeError):
    """A state dict that does not fit the model."""


class LifecycleError(ConvzooError, RuntimeError):
    """A model that is not yet where it must be for what was asked of it."""


class PluginWarning(UserWarning):
    """A plugin was skipped; the message names it, why, and the cure."""


class WeightsWarning(UserWarning):
    """Weights were loaded without their classifier, or adapted; the message says what and why."""


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """``" Did you mean 'x' or 'y'?"``, or the empty string when nothing is close."""
    close = difflib.get_close_matches(name, sorted(choices), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


def first_of(items: Sequence[str], limit: int = 8) -> list[str]:
    """The first ``limit`` items, and, if there are more, how many."""
    return [*items[:limit], *([f"… ({len(items) - limit} more)"] if len(items) > limit else [])]


def listed(names: Iterable[str], limit: int = 40) -> str:
    """Names in order, comma-separated, cut after ``limit``."""
    return ", ".join(first_of(sorted(names), limit)) or "none"


def require_int(name: str, value: Any, *, at_least: int) -> None:
    """Raise OptionError, naming the option, unless ``value`` is an int of at least ``at_least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise OptionError(f"{name} must be an integer of at least {at_least}, got {value!r}")


def require_rate(name: str, value: Any) -> None:
    """Raise OptionError, naming the option, unless ``value`` is a number in [0, 1)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise OptionError(f"{name} must be a number from 0 up to, but not including, 1, got {value!r}")
