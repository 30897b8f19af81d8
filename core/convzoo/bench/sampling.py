"""Timing two competitors in pairs, A B B A, until the interval of their ratio is narrow enough or the budget is spent.

In A B B A whatever drifts evenly, such as a clock that heats up, adds the same to both, and each of the two runs as
often after itself as after the other. Every second pair is B A A B, so that each is as often first and last. Ours has a
twin, which runs against theirs as ours does, and against ours: what differs there is the machine's noise. So each of
the three runs equally often, for whoever runs more often is in the caches more often. Clocks and who watches are given,
so that none of this depends on the time.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from convzoo.bench.statistics import LEAST, Interval, interval, summary, verdict
from convzoo.errors import OptionError, shown

Stopwatch = Callable[[Callable[[], Any], int], float]
"""Seconds that one call takes, as the mean of so many calls in a row."""
SHORTEST = 0.003
"""Seconds that a time is taken over, at least: as many batches as that takes. The shorter, the fewer are disturbed."""
MOST_BATCHES = 1000
WARM_UP = 3
"""Calls before the first that counts, at least."""
IN_A_ROW = 8
"""Pairs of the same two that are timed one after the other, where they are short."""


class Watch(Protocol):
    """Who looks at the machine while a pair is timed."""

    def begin(self) -> None:
        """A pair begins."""

    def end(self) -> str:
        """It has ended; what disturbed it, or the empty string."""


@dataclass(frozen=True)
class Rule:
    """When to stop.

    Args:
        precision: width of the interval of the ratio, relative, such as 0.02.
        budget: seconds of timing for a cell.
        confidence: of the interval.
        least: pairs, at least.

    Raises:
        OptionError: a value that makes no sense.
    """

    precision: float = 0.02
    budget: float = 60.0
    confidence: float = 0.95
    least: int = 10

    def __post_init__(self) -> None:
        if not 0 < self.precision < 1:
            raise OptionError(f"--precision must be a share between 0 and 1, such as 2%, got {shown(self.precision)}")
        if not 0 < self.budget < 1e6:
            raise OptionError(f"--budget must be a number of seconds above 0, got {shown(self.budget)}")
        if not 0.5 <= self.confidence < 1:
            raise OptionError(f"--confidence must be a share from 0.5 up to 1, got {shown(self.confidence)}")
        if self.least < LEAST:
            raise OptionError(f"an interval is of at least {LEAST} pairs, got {shown(self.least)}")


@dataclass
class Samples:
    """What was timed: ``pairs`` and ``noise`` as the result file has them, and ``discarded``; ``spent`` seconds."""

    batches: int = 1
    pairs: list[list[float]] = field(default_factory=list)
    noise: list[list[float]] = field(default_factory=list)
    discarded: list[dict[str, Any]] = field(default_factory=list)
    spent: float = 0.0
    resolved: bool = False

    def result(self, rule: Rule, batch_size: int) -> dict[str, Any]:
        """``status``, ``why``, ``figures``, ``ratio``, ``noise``, ``samples`` and ``discarded`` of a row."""
        pairs, noise = self.pairs, self.noise
        why = ""
        few = len(pairs) < LEAST or len(noise) < LEAST
        if few and self.discarded:  # better disturbed figures than none
            pairs, noise = ([*kept, *self._discarded(of)] for kept, of in ((pairs, "pairs"), (noise, "noise")))
            why = "too few pairs were undisturbed, so that the figures are of disturbed ones too; "
        if not pairs or not noise:
            return {"status": "unresolved", "why": f"the budget of {rule.budget:g} s was too short for one pair"}
        ratio, twin = interval(pairs, rule.confidence), interval(noise, rule.confidence)
        resolved = self.resolved
        if not resolved:
            width = f"the interval is {ratio.width:.1%} wide" if len(pairs) >= LEAST else "that is too few to tell"
            why += (
                f"the budget of {rule.budget:g} s was spent after {len(self.pairs)} pairs, {len(self.discarded)} more"
                f" were disturbed; {width}, and {rule.precision:.1%} was asked"
            )
        a, b = [t for p in pairs for t in (p[0], p[3])], [t for p in pairs for t in p[1:3]]
        return {
            "status": "measured" if resolved else "unresolved",
            "why": why,
            "figures": {"ours": summary(a, batch_size), "theirs": summary(b, batch_size)},
            "ratio": {
                **_plain(ratio),
                "width": ratio.width,
                "precision": rule.precision,
                "verdict": "unresolved" if few else verdict(ratio, twin.farthest, resolved),
            },
            "noise": {"floor": twin.farthest, **_plain(twin)},
            "samples": {"pairs": self.pairs, "noise": self.noise, "batches": self.batches},
            "discarded": self.discarded,
        }

    def _discarded(self, of: str) -> list[list[float]]:
        return [each["times"] for each in self.discarded if each["of"] == of]


def sample(
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    twin: Callable[[], Any],
    *,
    stopwatch: Stopwatch,
    watch: Watch,
    rule: Rule,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[Interval, float], None] = lambda ratio, spent: None,
) -> Samples:
    """Time the three until ``rule`` is content.

    Args:
        ours, theirs: run one batch.
        twin: runs another network like ours.
        stopwatch: that times them.
        watch: that says which pairs were disturbed.
        rule: when to stop.
        clock: seconds, for the budget.
        progress: is told the ratio so far and the seconds spent, at times.
    """
    start = clock()
    samples = Samples(batches=warmed_up((ours, theirs, twin), stopwatch, rule.budget / 4, clock))
    kept = {"pairs": samples.pairs, "noise": samples.noise}
    # Each of the three is in two of them, and comes to each from another one as often: their order is drawn.
    meetings = [("pairs", ours, theirs), ("pairs", twin, theirs), ("noise", ours, twin)]
    turns, draw = itertools.cycle((False, True)), random.Random(0)
    look_at = rule.least
    while (spent := clock() - start) < rule.budget or not samples.pairs + samples._discarded("pairs"):
        for of, mine, other in draw.sample(meetings, len(meetings)):
            begun = clock()
            for number in range(IN_A_ROW):
                if number and clock() - begun > rule.budget / 20:
                    break
                turn = next(turns)
                first = (0, 3) if turn else (1, 2)  # A B B A, then B A A B: what the first or last meets, both meet
                calls = [mine if place in first else other for place in range(4)]
                for each in calls[1::-1]:  # what looked at the machine, or ran before, has left the caches to others
                    each()
                watch.begin()
                found = [stopwatch(each, samples.batches) for each in calls]
                times = found if turn else [found[1], found[0], found[3], found[2]]
                if disturbance := watch.end():
                    samples.discarded.append({"times": times, "of": of, "why": disturbance})
                else:
                    kept[of].append(times)
        if len(samples.pairs) >= look_at and len(samples.noise) >= rule.least:
            ratio = interval(samples.pairs, rule.confidence)
            progress(ratio, spent)
            look_at = len(samples.pairs) + max(2, len(samples.pairs) // 8)
            if ratio.width <= rule.precision:
                samples.resolved = True
                break
    samples.spent = clock() - start
    return samples


def warmed_up(
    calls: tuple[Callable[[], Any], ...], stopwatch: Stopwatch, budget: float, clock: Callable[[], float]
) -> int:
    """Call each until it no longer gets quicker; how many batches are to be timed in a row."""
    start, longest = clock(), 0.0
    for call in calls:
        before = stopwatch(call, 1)
        for number in range(20):
            now = stopwatch(call, 1)
            if number + 2 >= WARM_UP and (now > 0.95 * before or clock() - start > budget):
                break
            before = now
        longest = max(longest, now)
    return max(1, min(MOST_BATCHES, int(SHORTEST / longest + 0.999))) if longest > 0 else MOST_BATCHES


def _plain(ratio: Interval) -> dict[str, Any]:
    return {
        "value": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        "confidence": ratio.confidence,
        "pairs": ratio.pairs,
    }
