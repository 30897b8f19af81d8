"""Made once for all threads of a process, by the first that asks, while the others wait, though none of them forever.

Finding the plugins imports other people's code. That may wait for a thread which asks for the zoo in turn; or it may
import a module that another thread is importing, and that thread waits for the one which asks. In both cases each would
wait for the other. So no lock is held meanwhile; a thread that asks while others run has the work done by a helper,
unless it is within an import itself; and whoever waits gives up, with an error, once the work stands still. Whether it
is stuck or slow cannot be known for sure, so that the wait is short only where the worker itself waits for a thread.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Generic, TypeVar

from convzoo.errors import PluginError

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that others wait while the worker itself waits for a thread."""
LIMIT = 30.0
"""Seconds that others wait while the worker goes on to no other plugin, and no module is imported."""
_POLL = 0.05
_IMPORTING = "<frozen importlib._bootstrap>"
_WAITING = ("threading", "queue", "selectors", "concurrent.futures._base", "concurrent.futures.thread")
"""The modules of Python in which a thread waits for another."""


class _Attempt(Generic[T]):
    """One go at making the value."""

    def __init__(self, value: T) -> None:
        self.value = value
        self.worker: threading.Thread | None = None
        self.done = threading.Event()
        self.error: BaseException | None = None

    def is_over(self) -> bool:
        """Whether it has come to an end, or will never: no other thread lives on in a forked process."""
        return self.done.is_set() or (self.worker is not None and not self.worker.is_alive())

    def work(self, finish: Callable[[T], None]) -> None:
        self.worker = threading.current_thread()
        try:
            finish(self.value)
        except BaseException as error:
            self.error = error
        finally:
            self.done.set()


class Once(Generic[T]):
    """A value that is made once.

    Args:
        begin: gives it as it is at first.
        finish: completes it; other people's code may run.
        stage: what its completion is at, in words.
    """

    def __init__(self, begin: Callable[[], T], finish: Callable[[T], None], stage: Callable[[T], str]) -> None:
        self._begin, self._finish, self._stage = begin, finish, stage
        self._lock = threading.Lock()  # never held while other people's code runs
        self._attempt: _Attempt[T] | None = None

    def __call__(self) -> T:
        """The value; what making it raises, raises in the thread that asked first, and the next one tries again.

        Raises:
            PluginError: this thread is within the completion, or that seems to wait for it.
        """
        while True:
            attempt = self._attempt
            if attempt is not None and attempt.done.is_set() and attempt.error is None:
                return attempt.value
            with self._lock:
                first = self._attempt is attempt and (attempt is None or attempt.is_over())
                orphaned = attempt is not None and not attempt.done.is_set()  # if it is over
                if first:
                    attempt = self._attempt = _Attempt(self._begin())
            if attempt is None:  # another thread has begun
                continue
            if first:
                try:
                    self._start(attempt, orphaned or threading.active_count() > 1)
                except BaseException as error:  # such as the user's interrupt, before there is a worker
                    attempt.error = error
                    attempt.done.set()
            self._wait(attempt, first)
            if first and attempt.error is not None:
                raise attempt.error

    def _start(self, attempt: _Attempt[T], may_be_stuck: bool) -> None:
        if may_be_stuck and not _holds_the_lock_of_a_module():
            import contextvars

            work = contextvars.copy_context().run
            with contextlib.suppress(RuntimeError):  # no more threads can be started
                threading.Thread(target=work, args=(attempt.work, self._finish), daemon=True).start()
                return
        attempt.work(self._finish)

    def _wait(self, attempt: _Attempt[T], first: bool) -> None:
        if attempt.worker is threading.current_thread() and not attempt.done.is_set():
            raise PluginError("a plugin may not use the zoo while it is being imported")
        seen, still, stuck = ("", 0), 0.0, 0.0
        while not attempt.done.wait(_POLL) and not attempt.is_over():
            state = self._stage(attempt.value), len(sys.modules)
            if state != seen:
                seen, still, stuck = state, 0.0, 0.0
            still += _POLL
            # Where its helper waits for some thread, that is not the first one, which has done nothing but ask.
            stuck += _POLL if _stands_in(attempt.worker, () if first else _WAITING) else 0.0
            if stuck > PATIENCE or still > LIMIT:
                raise PluginError(
                    f"the zoo waits for {seen[0]}, which does not get on, and may be waiting for this very thread."
                    " While it is imported, a plugin, or a module that it imports, must not wait for a thread that"
                    " uses the zoo. If it is merely slow, ask again, or list the zoo before threads are started;"
                    " CONVZOO_DISABLE leaves a plugin out"
                )


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _holds_the_lock_of_a_module() -> bool:
    """Whether this thread is within an import."""
    return any(frame.f_code.co_filename == _IMPORTING for frame in _frames(sys._getframe()))


def _stands_in(worker: threading.Thread | None, modules: Sequence[str]) -> bool:
    """Whether a thread runs a function of ``modules``, or waits for a module that another thread imports."""
    frame = sys._current_frames().get(worker.ident or 0) if worker else None
    if frame is None:
        return False
    if frame.f_code.co_filename == _IMPORTING:
        return frame.f_code.co_name == "acquire"
    return frame.f_globals.get("__name__") in modules
