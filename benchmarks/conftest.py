"""What the suite is run on: small sizes, so that all of it takes minutes on two cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from suite import MAKERS
from torch import nn

SIZE = int(os.environ.get("BENCH_SIZE", "64"))
"""Pixels of the side of an image."""
BATCH = int(os.environ.get("BENCH_BATCH", "2"))


def pytest_report_header() -> str:
    """Sizes are part of the figures."""
    return f"batches of {BATCH} images of {SIZE} px, {torch.get_num_threads()} threads"


@pytest.fixture(params=MAKERS)
def made(request: pytest.FixtureRequest, benchmark: Any) -> tuple[Callable[[], nn.Module], Any]:
    """What makes a network of each library, and the benchmark, grouped by variant."""
    what = request.function.__name__.removeprefix("bench_")
    benchmark.group = f"{what} {request.param.partition('/')[0]}"
    return MAKERS[request.param], benchmark


@pytest.fixture
def images() -> torch.Tensor:
    """``(BATCH, 3, SIZE, SIZE)``."""
    return torch.randn(BATCH, 3, SIZE, SIZE)
