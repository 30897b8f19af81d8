"""Ratios of paired times, and their intervals by bootstrap. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Four = Sequence[float]
"""The times of a pair, in the order A B B A."""
TRIM = 0.2
"""The share of the smallest and of the largest ratios that the mean leaves out: an interruption is far off."""
RESAMPLES = 2000
LEAST = 8
"""Pairs below which an interval by bootstrap is too narrow."""


@dataclass(frozen=True)
class Interval:
    """A ratio, with an interval that has it at the ``confidence`` that was asked for; ``pairs`` is what it is of."""

    value: float
    low: float
    high: float
    confidence: float
    pairs: int

    @property
    def width(self) -> float:
        """Of the interval, by the ratio."""
        return (self.high - self.low) / self.value

    @property
    def farthest(self) -> float:
        """How far from 1 the interval reaches, as a ratio less 1."""
        return max(self.high, 1 / self.low) - 1 if self.low else float("inf")


def speeds(pairs: Sequence[Four]) -> np.ndarray:
    """The logarithm of the speed of A by that of B, for each pair ``(a, b, b, a)`` of times."""
    times = np.asarray(pairs, dtype=float).reshape(-1, 4)
    return np.log((times[:, 1] + times[:, 2]) / (times[:, 0] + times[:, 3]))


def interval(pairs: Sequence[Four], confidence: float = 0.95, seed: int = 0) -> Interval:
    """The speed of A by that of B: a trimmed mean over pairs, and its interval by bootstrap over pairs.

    Args:
        pairs: at least one; with fewer than :data:`LEAST` the interval is everything.
        confidence: from 0 to 1.
        seed: of the resampling.
    """
    logs = speeds(pairs)
    value = float(np.exp(trimmed(logs)))
    if len(logs) < LEAST:
        return Interval(value, 0.0, float("inf"), confidence, len(logs))
    generator = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    step = max(1, 1_000_000 // len(logs))  # so that memory stays small
    for start in range(0, RESAMPLES, step):
        part = means[start : start + step]
        part[:] = trimmed(logs[generator.integers(0, len(logs), (len(part), len(logs)))])
    tail = 50 * (1 - confidence)
    low, high = np.exp(np.percentile(means, (tail, 100 - tail)))
    return Interval(value, float(low), float(high), confidence, len(logs))


def trimmed(values: np.ndarray) -> Any:
    """The mean along the last axis without the smallest and the largest of :data:`TRIM`."""
    cut = int(TRIM * values.shape[-1])
    ordered = np.sort(values, axis=-1)
    return ordered[..., cut : values.shape[-1] - cut].mean(axis=-1)


def verdict(ratio: Interval, floor: float, resolved: bool) -> str:
    """``faster``, ``slower``, ``same`` or ``unresolved``: a difference is one if it is beyond chance and the floor.

    Where the interval is wider than asked, a difference is one if all of the interval is beyond the floor, since what
    is not known then is how large it is; and without one, nothing is said.

    Args:
        ratio: of the speeds, above 1 where ours is faster.
        floor: the largest ratio, less 1, that the machine gives between like things.
        resolved: whether the interval is as narrow as it was asked to be.
    """
    least = ratio.value if resolved else ratio.low
    most = ratio.value if resolved else ratio.high
    if ratio.low > 1 and least > 1 + floor:
        return "faster"
    if ratio.high < 1 and 1 / most > 1 + floor:
        return "slower"
    return "same" if resolved else "unresolved"


def summary(times: Sequence[float], batch_size: int) -> dict[str, float]:
    """Median and quartiles of the seconds that a batch takes, and images per second at the median."""
    low, median, high = np.percentile(np.asarray(times, dtype=float), (25, 50, 75))
    return {
        "median_s": float(median),
        "low_s": float(low),
        "high_s": float(high),
        "images_per_second": float(batch_size / median),
    }
