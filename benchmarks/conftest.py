"""What the suite is run on: small sizes, so that all of it takes minutes on two cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from families import FAMILIES
from torch import nn

import convzoo
from convzoo.plugins.host import registry
from convzoo.testing.numerics import jitter_norms

SIZE = int(os.environ.get("BENCH_SIZE", "64"))
"""Pixels of the side of an image."""
BATCH = int(os.environ.get("BENCH_BATCH", "2"))


def pytest_report_header() -> str:
    """Sizes are part of the figures."""
    return f"batches of {BATCH} images of {SIZE} px, {torch.get_num_threads()} threads"


def makers() -> dict[str, Callable[[], nn.Module]]:
    """``variant/library`` to what makes the network, for one variant of each family."""
    found: dict[str, Callable[[], nn.Module]] = {}
    for variant in FAMILIES.values():
        found[f"{variant}/convzoo"] = lambda name=variant: convzoo.create_model(name)
        for library, make in (("timm", timm.create_model), ("torchvision", torchvision.models.get_model)):
            reference = registry().model(variant).spec.reference(library)
            if reference and not reference.options:
                found[f"{variant}/{library}"] = lambda make=make, name=reference.name: make(name)
    return found


MAKERS = makers()


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


def network(make: Callable[[], nn.Module]) -> nn.Module:
    """A network whose norms are jittered, so that nothing runs on zeros."""
    torch.manual_seed(0)
    model = make()
    jitter_norms(model)
    return model
