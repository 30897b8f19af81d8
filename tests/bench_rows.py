"""Rows of result files with samples of a known ratio."""

from __future__ import annotations

from typing import Any

import numpy as np

from convzoo.bench.results import Row
from convzoo.bench.statistics import interval

STAMP = {"machine": {"processor": "one"}, "versions": {"torch": "2.11", "convzoo": "0.1"}, "settings": {"flush": False}}


def cell(name: str = "resnet50", theirs: str = "timm") -> dict[str, Any]:
    return {
        "ours": {"library": "convzoo", "name": name, "options": "", "form": "training", "label": name},
        "theirs": {"library": theirs, "name": name, "options": "", "form": "training", "label": f"{theirs}:{name}"},
        **{"mode": "infer", "device": "cpu", "dtype": "float32", "memory_format": "contiguous", "engine": "eager"},
        **{"batch_size": 1, "image_size": 224, "threads": 2},
    }


def row(
    seed: int = 0, ours: float = 1.0, pairs: int = 40, day: float = 1.0, spread: float = 0.01, **fields: Any
) -> Row:
    """A row whose times are 10 ms, ours by ``ours`` and all by ``day``, each with a log-normal error."""
    random = np.random.default_rng(seed)
    times = 0.01 * day * np.exp(spread * random.standard_normal((pairs, 4)))
    noise = 0.01 * day * np.exp(spread * random.standard_normal((pairs, 4)))
    times[:, [0, 3]] *= ours
    twin = interval(noise.tolist())
    made = {
        "ratio": {"value": 1.0, "precision": 0.02, "verdict": "same"},
        "noise": {"floor": twin.farthest},
        "samples": {"pairs": times.tolist(), "noise": noise.tolist(), "batches": 1},
    }
    return Row("id", "", "resnet", **{"cell": cell(), "stamp": STAMP, "status": "measured", **made, **fields})
