"""What would end the program is kept from it, and becomes an error like others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from convzoo.errors import PluginError, said_in_full


def ended(what: str, error: BaseException, cure: str) -> PluginError:
    """The error for what would have ended the program, such as ``sys.exit``: where that was raised, and a ``cure``."""
    import traceback  # not before: it takes long to import, and listing is quick

    place = traceback.extract_tb(error.__traceback__)[-1]
    return PluginError(f"{what}: {said_in_full(error)}, in {place.filename}, line {place.lineno}. {cure}.")


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
