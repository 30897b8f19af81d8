"""The rank test of Mann and Whitney, and the shift that goes with it. numpy only.

H. B. Mann and D. R. Whitney, "On a test of whether one of two random variables is stochastically larger than the other"
(1947); J. L. Hodges and E. L. Lehmann, "Estimates of location based on rank tests" (1963).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

LEAST = 8
"""Samples on each side below which the normal approximation does not hold."""


def ranks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ranks from 1 of ``values`` (N,), those of ties their mean; and how many there are of each value."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[where], counts


def p_value(one: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray) -> float:
    """How likely two samples of one distribution differ in ranks at least as much as these (two-sided).

    By the normal approximation, with the correction for ties and for continuity.

    Args:
        one: (M,), at least one number.
        other: (N,), at least one number.
    """
    every = np.concatenate([np.asarray(one, dtype=float), np.asarray(other, dtype=float)])
    m, n = len(one), len(other)
    ranked, ties = ranks(every)
    deviation = _deviation(m, n, ties)
    if deviation == 0:  # all are equal
        return 1.0
    off = abs(float(ranked[:m].sum()) - m * (m + 1) / 2 - m * n / 2)
    return min(1.0, 2 * NormalDist().cdf(-max(0.0, off - 0.5) / deviation))


def shift(
    one: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray, confidence: float
) -> tuple[float, float, float]:
    """How much larger ``one`` is than ``other``: the median of all differences, and an interval by the rank test.

    Args:
        one: (M,); with fewer than :data:`LEAST` on a side the interval is everything.
        other: (N,).
        confidence: of the interval, from 0 to 1.
    """
    every = np.concatenate([np.asarray(one, dtype=float), np.asarray(other, dtype=float)])
    m, n = len(one), len(other)
    differences = np.sort(np.subtract.outer(every[:m], every[m:]), axis=None)
    if min(m, n) < LEAST:
        return float(np.median(differences)), -math.inf, math.inf
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * _deviation(m, n, ranks(every)[1])
    cut = max(0, math.floor(m * n / 2 - reach - 0.5))
    return float(np.median(differences)), float(differences[cut]), float(differences[-1 - cut])


def _deviation(m: int, n: int, ties: np.ndarray) -> float:
    """Of the statistic U, where the values that are equal come in groups of ``ties``."""
    total = m + n
    tied = float((ties.astype(float) ** 3 - ties).sum()) / (total * (total - 1))
    return math.sqrt(max(0.0, m * n / 12 * (total + 1 - tied)))
