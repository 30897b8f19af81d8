"""What convzoo raises. Every message says what was asked, what there is instead, and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConvzooError(Exception):
    """Base of every error that convzoo raises on purpose."""


class UnknownNameError(ConvzooError, LookupError):
    """A model or component was asked for by a name that nobody contributed, or several plugins did."""


class OptionError(ConvzooError, ValueError):
    """An option that nothing takes, or a value that it cannot have."""


class SpecError(ConvzooError, ValueError):
    """A spec that cannot describe a network."""


class PluginError(ConvzooError, RuntimeError):
    """A plugin that cannot be used."""


class WeightsError(ConvzooError, RuntimeError):
    """A state dict that does not fit the model."""


class LifecycleError(ConvzooError, RuntimeError):
    """A model that is not yet where it must be for what was asked of it."""


class PluginWarning(UserWarning):
    """A plugin was skipped; the message names it, why, and the cure."""


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """``" Did you mean 'x' or 'y'?"``, or the empty string when nothing is close."""
    close = difflib.get_close_matches(name, sorted(choices), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


def listed(names: Iterable[str], limit: int = 40) -> str:
    """Names in order, comma-separated, cut after ``limit``."""
    ordered = sorted(names)
    more = f", … ({len(ordered) - limit} more)" if len(ordered) > limit else ""
    return (", ".join(ordered[:limit]) + more) or "none"
