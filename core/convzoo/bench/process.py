"""Starting a worker and waiting for it, asleep. This module imports no torch."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import IO, Any

from convzoo.bench.watch import Reader, text_of

COMMAND = (sys.executable, "-m", "convzoo.bench.worker")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def in_worker(
    task: dict[str, Any],
    *,
    threads: int,
    limit: float,
    tell: Callable[[dict[str, Any]], None] = lambda progress: None,
    command: tuple[str, ...] = COMMAND,
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """What a worker makes of a task; ``status`` and ``why`` if it died, or did not end in time.

    Args:
        task: plain values.
        threads: of the processor that its libraries may use.
        limit: seconds after which it is ended.
        tell: is told of its progress.
        command: that starts it.
        environment: variables of its own, beside this process's.
    """
    reading, writing = os.pipe()
    variables = {**os.environ, **dict.fromkeys(THREADS, str(threads)), **(environment or {})}
    killed = _killed_for_memory()
    with tempfile.TemporaryFile() as errors, os.fdopen(reading, "rb") as events:
        worker = subprocess.Popen(
            [*command, str(writing)],
            stdin=subprocess.PIPE,
            stdout=errors,
            stderr=errors,
            pass_fds=(writing,),
            env=variables,
            start_new_session=True,  # so that an interrupt reaches this process alone, which then ends the worker
        )
        os.close(writing)
        assert worker.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                worker.stdin.write(json.dumps(task).encode() + b"\n")
                worker.stdin.flush()
            result = _result(worker, events, time.monotonic() + limit, tell)
            if result == "late":
                return {"status": "interrupted", "why": f"it had not ended after {limit:.0f} s, and was ended"}
            if isinstance(result, dict):
                return result
            worker.wait()
            return _died(worker.returncode, errors, _killed_for_memory() > killed)
        finally:
            _end(worker)


def _result(
    worker: subprocess.Popen[bytes], events: IO[bytes], until: float, tell: Callable[[dict[str, Any]], None]
) -> Any:
    """The worker's result; ``late``; or None if it ended without one."""
    rest = b""
    while True:
        ended = worker.poll() is not None  # what it has started may hold the other end of the pipe for longer
        ready, _, _ = select.select([events], [], [], 0 if ended else max(0.0, min(1.0, until - time.monotonic())))
        if not ready:
            if ended:
                return None
            if time.monotonic() >= until:
                return "late"
            continue
        data = os.read(events.fileno(), 1 << 16)
        if not data:
            return None
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if "result" in event:
                return event["result"]
            tell(event["progress"])


def _died(code: int, errors: IO[bytes], for_memory: bool) -> dict[str, Any]:
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4000))
    lines = errors.read().decode(errors="replace").strip().splitlines()
    last = lines[-1] if lines else "it said nothing"
    if code >= 0:
        return {"status": "failed", "why": f"the worker ended with {code}: {last}"}
    name = signal.Signals(-code).name
    if for_memory:
        return {"status": "out of memory", "why": f"the system ended the worker with {name}, since memory was out"}
    if name in ("SIGSEGV", "SIGABRT", "SIGILL", "SIGFPE", "SIGBUS"):
        return {"status": "failed", "why": f"the worker crashed with {name}: {last}"}
    return {"status": "interrupted", "why": f"the worker was ended with {name}"}


def _end(worker: subprocess.Popen[bytes]) -> None:
    """End the worker, and all that its libraries have started and left."""
    if worker.stdin is not None:
        with contextlib.suppress(OSError):
            worker.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        worker.wait(timeout=2)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def _killed_for_memory(read: Reader = text_of) -> int:
    """How many processes the system has ended since memory was out."""
    count = 0
    for path, word in (("/sys/fs/cgroup/memory.events", "oom_kill"), ("/proc/vmstat", "oom_kill")):
        for line in read(path).splitlines():
            name, _, value = line.partition(" ")
            if name == word and value.strip().isdigit():
                count += int(value)
    return count
