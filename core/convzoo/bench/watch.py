"""Whether a pair was disturbed: by other processes, by another machine on the same hardware, or by a falling clock.

On the processor that is what Linux says: the time that the system's cores were stolen (``/proc/stat``), the time that
threads of this process waited for a core (``/proc/self/task/*/schedstat``), and the clocks of the cores. What cannot
be read is not watched, and the result says what was.
"""

from __future__ import annotations

import glob
import time
from collections.abc import Callable, Sequence
from typing import Any

STOLEN = 0.02
"""The share of a core's time that may be stolen by other machines."""
WAITED = 0.05
"""The share of a thread's time that may be spent on waiting for a core."""
SLOWED = 0.05
"""The share by which a clock may fall below that of the first pairs."""
FIRST = 5
"""Pairs whose highest clock others are held against."""

Reader = Callable[[str], str]


def text_of(path: str) -> str:
    """A file of the system; empty if it is not there."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


class ProcessorWatch:
    """Watches the processor.

    Args:
        threads: that compute.
        clock: seconds.
        read: gives the text of a file of the system.
        tasks: gives the files of this process's threads.
    """

    def __init__(
        self,
        threads: int,
        clock: Callable[[], float] = time.perf_counter,
        read: Reader = text_of,
        tasks: Callable[[], Sequence[str]] = lambda: glob.glob("/proc/self/task/*/schedstat"),
    ) -> None:
        self.threads, self.clock, self.read, self.tasks = threads, clock, read, tasks
        self.clocks: list[float] = []
        self.total = {"seconds": 0.0, "stolen": 0.0, "waited": 0.0}
        self.watched = [
            name
            for name, found in (("steal", self._ticks()), ("waiting", self._waits()), ("frequency", self._frequency()))
            if found
        ]

    def begin(self) -> None:
        """A pair begins."""
        self._start = self.clock(), self._ticks(), self._waits()

    def end(self) -> str:
        """What disturbed the pair, or the empty string."""
        started, ticks, waits = self._start
        seconds = max(self.clock() - started, 1e-9)
        stolen = self._share_stolen(ticks, self._ticks())
        now = self._waits()
        waited = sum(now[task] - waits.get(task, 0) for task in now) / 1e9
        share = waited / (seconds * self.threads)
        self.total["seconds"] += seconds
        self.total["stolen"] += stolen * seconds
        self.total["waited"] += waited / self.threads
        why = []
        if stolen > STOLEN:
            why.append(f"{stolen:.0%} of the cores' time was stolen by other machines")
        if share > WAITED:
            why.append(f"threads waited {share:.0%} of the time for a core")
        if slowed := self._slowed():
            why.append(slowed)
        return ", ".join(why)

    def summary(self) -> dict[str, Any]:
        """``watch`` of a row."""
        seconds = self.total["seconds"] or 1.0
        return {
            "watched": self.watched,
            "stolen": self.total["stolen"] / seconds,
            "waited": self.total["waited"] / seconds,
            "clock": [min(self.clocks), max(self.clocks)] if self.clocks else None,
        }

    def _ticks(self) -> tuple[int, int] | None:
        """All time of all cores, and what was stolen of it, in ticks."""
        fields = self.read("/proc/stat").partition("\n")[0].split()[1:9]
        return (sum(map(int, fields)), int(fields[7])) if len(fields) == 8 else None

    @staticmethod
    def _share_stolen(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float:
        if before is None or after is None or after[0] <= before[0]:
            return 0.0
        ticks = after[1] - before[1]
        return ticks / (after[0] - before[0]) if ticks > 1 else 0.0  # one tick is as fine as the clock is

    def _waits(self) -> dict[str, int]:
        """Nanoseconds that each thread has waited for a core."""
        found = {}
        for task in self.tasks():
            fields = self.read(task).split()
            if len(fields) == 3:
                found[task] = int(fields[1])
        return found

    def _frequency(self) -> float:
        """Mean clock of the cores, Hz; 0 if the system does not tell."""
        files = sorted(glob.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"))
        values = [int(text) for text in map(self.read, files) if text.strip().isdigit()]
        return 1000 * sum(values) / len(values) if values else 0.0

    def _slowed(self) -> str:
        if "frequency" not in self.watched:
            return ""
        self.clocks.append(self._frequency())
        best = max(self.clocks[:FIRST])
        if self.clocks[-1] < (1 - SLOWED) * best:
            return f"the cores' clock fell from {best / 1e9:.2f} to {self.clocks[-1] / 1e9:.2f} GHz"
        return ""
