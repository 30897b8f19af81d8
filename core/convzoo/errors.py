"""What convzoo raises, and the checks of single values that raise it.

Every message says what was asked, what there is instead, and how to mend it. It quotes what it was given in short, on
one line, whatever that is.
"""

from __future__ import annotations

import difflib
import math
import reprlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any

LARGEST = 2**31 - 1
"""The largest integer that an option may be, and the most channels, groups or pixels that there are of anything."""


LONGEST_MESSAGE = 4000
"""Characters of what an error says."""


class ConvzooError(Exception):
    """Base of every error that convzoo raises on purpose."""

    def __init__(self, message: object = "") -> None:
        super().__init__(cut(message, LONGEST_MESSAGE))


class UnknownNameError(ConvzooError, LookupError, ValueError):
    """A model or component was asked for by a name that nobody contributed."""


class SpecError(ConvzooError, ValueError):
    """A spec that cannot describe a network."""


class OptionError(SpecError):
    """An option that nothing takes (:class:`UnknownOptionError`), or a value that it cannot have.

    If a part failed on its options instead of refusing them, its own error is the cause.
    """


class UnknownOptionError(OptionError, TypeError):
    """An option that nothing takes: what Python says of an argument that a function does not have."""


class PluginError(ConvzooError, RuntimeError):
    """A plugin that cannot be used."""


class WeightsError(ConvzooError, RuntimeError, ValueError):
    """Weights that cannot be read, or that do not fit the model."""


class LifecycleError(ConvzooError, RuntimeError):
    """A model that is not yet where it must be for what was asked of it."""


class PluginWarning(UserWarning):
    """A plugin was skipped; the message names it, why, and the cure."""


class WeightsWarning(UserWarning):
    """Weights were loaded without their classifier, or adapted; the message says what and why."""


class LifecycleWarning(UserWarning):
    """A network was trained otherwise than its parts need; the message says what they miss, and how to mend it."""


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


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 80, 160
        self.maxtuple = self.maxlist = self.maxdict = self.maxset = self.maxfrozenset = 12

    def repr_instance(self, x: Any, level: int) -> str:
        text = repr(x)
        half = self.maxother // 2
        return text if len(text) <= self.maxother else f"{text[:half]}...{text[-half:]}"

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write very long integers.
        return (
            repr(x) if x.bit_length() < 128 else f"an integer of about {int(x.bit_length() * math.log10(2)) + 1} digits"
        )


_SHORT = _Short()


def shown(value: Any) -> str:
    """``repr(value)`` in short, on one line; the name of its type if it has no ``repr``."""
    try:
        return " ".join(_SHORT.repr(value).split())
    except KeyboardInterrupt:
        raise
    except BaseException:  # whatever somebody's own repr raises
        return f"<{type(value).__name__}>"


def cut(text: object, limit: int = 400) -> str:
    """``str(text)``, without its middle if it is longer than ``limit``."""
    whole = str(text)
    half = limit // 2 - 3
    return whole if len(whole) <= limit else f"{whole[:half]} ... {whole[-half:]}"


def one_line(text: str, limit: int = 400) -> str:
    """``text`` in printable characters on one line, without its middle if that is longer than ``limit``."""
    line = cut(" ".join(str.split(text)), limit)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def text_of(error: BaseException) -> str:
    """All that an exception says, on one line; also where its own ``__str__`` fails."""
    return one_line(_text(error))


def said(error: BaseException) -> str:
    """An exception's class and the first line of what it says: torch's errors go on about torch's own insides."""
    return _said(error, one_line(_text(error).strip().partition("\n")[0]))


def said_in_full(error: BaseException) -> str:
    """An exception's class and all that it says, on one line: a plugin's errors may end with the cure."""
    return _said(error, text_of(error))


def _said(error: BaseException, text: str) -> str:
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(error: BaseException) -> str:
    try:
        return scalar(str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as failure:
        return f"its text cannot be had, for a {type(failure).__name__}"


_NUMPYS = {"b": bool, "i": int, "u": int, "f": float}
"""What numpy's kinds of numbers are in Python."""
_EXACT = {int: int.__int__, float: float.__float__, str: str.__str__}


def scalar(value: Any) -> Any:
    """``value``; but a number of numpy, or of a subclass of int, float or str, as Python's own."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, (numpy.generic, numpy.ndarray)) and value.ndim == 0:
        ours = _NUMPYS.get(value.dtype.kind)
        if ours is not None:
            return ours(value)
    return next((exact(value) for base, exact in _EXACT.items() if issubclass(kind, base)), value)


def require_int(name: str, value: Any, *, at_least: int, at_most: int = 2**63 - 1) -> int:
    """``value`` as an int; OptionError, naming the option, unless it is one from ``at_least`` to ``at_most``."""
    number = scalar(value)
    if type(number) is not int or number < at_least:
        raise OptionError(f"{name} must be an integer of at least {at_least}, got {shown(value)}")
    if number > at_most:
        raise OptionError(f"{name} must be an integer of at most {at_most}, got {shown(value)}")
    return number


def require_rate(name: str, value: Any) -> float:
    """``value`` as a number; OptionError, naming the option ``name``, unless it is one in [0, 1)."""
    number = scalar(value)
    if type(number) not in (int, float) or not 0 <= number < 1:
        raise OptionError(f"{name} must be a number from 0 up to, but not including, 1, got {shown(value)}")
    return number


def require_share(name: str, value: Any) -> float:
    """``value`` as a number; OptionError, naming the option ``name``, unless it is one in [0, 1]."""
    number = scalar(value)
    if type(number) not in (int, float) or not 0 <= number <= 1:
        raise OptionError(f"{name} must be a number from 0 to 1, got {shown(value)}")
    return number


def require_flag(name: str, value: Any) -> bool:
    """``value`` as a bool; OptionError, naming the option, unless it is one."""
    if value is True or value is False:
        return value
    if type(flag := scalar(value)) is not bool:
        raise OptionError(f"{name} must be True or False, got {shown(value)}")
    return flag


def require_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """``value`` as a string; OptionError, naming the option, unless it is one of ``choices``."""
    known = tuple(choices)
    if type(text := scalar(value)) is not str or text not in known:
        raise OptionError(f"{name}={shown(value)}: known are {', '.join(map(repr, known))}")
    return text
