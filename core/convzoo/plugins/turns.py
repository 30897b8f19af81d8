"""One thread at a time, and none that waits for itself, or forever."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from convzoo.errors import PluginError

LIMIT = 30.0
"""Seconds after which a thread that waits for its turn gives up."""


class Turns:
    """A lock under which other people's code may run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder = 0

    @contextlib.contextmanager
    def mine(self) -> Iterator[None]:
        """Within this context no other thread is within it.

        Raises:
            PluginError: this thread is within it already, or another one does not leave it.
        """
        if self._holder == threading.get_ident():
            raise PluginError(
                "the zoo is being changed; what is asked for meanwhile, such as a pattern, must not do so"
            )
        if not self._lock.acquire(timeout=LIMIT):
            raise PluginError(f"another thread has been changing the zoo for {LIMIT:.0f} s, and may wait for this one")
        self._holder = threading.get_ident()
        try:
            yield
        finally:
            self._holder = 0
            self._lock.release()
