"""What is said of exceptions that are not ours, whatever they are, and how they are kept from ending the program."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from convzoo.errors import PluginError


def one_line(text: str, limit: int = 400) -> str:
    """``text`` in printable characters on one line, cut in the middle: the cure tends to stand at its end."""
    line = " ".join(str.split(text))
    if len(line) > limit:
        line = f"{line[: limit * 2 // 3]} ... {line[-limit // 4 :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def text_of(error: BaseException) -> str:
    """What an exception says, on one line; also where its own ``__str__`` fails."""
    try:
        return one_line(str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as failure:
        return f"its text cannot be had, for a {type(failure).__name__}"


def told(error: BaseException) -> str:
    """An exception's class and what it says, on one line."""
    text = text_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def ended(what: str, error: BaseException, cure: str) -> PluginError:
    """The error for what would have ended the program, such as ``sys.exit``: where that was raised, and a ``cure``."""
    import traceback  # not before: it takes long to import, and listing is quick

    place = traceback.extract_tb(error.__traceback__)[-1]
    return PluginError(f"{what}: {told(error)}, in {place.filename}, line {place.lineno}. {cure}.")


@contextlib.contextmanager
def no_exit(what: str, cure: str) -> Iterator[None]:
    """Within this context, what would end the program is an error like others.

    Raises:
        PluginError: something was raised that is neither an ``Exception`` nor the user's interrupt.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        raise ended(what, error, cure) from error
