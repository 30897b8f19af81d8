"""What the tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from convzoo.plugins.host import plugins

from .sites import ENVIRONMENT, GOOD, Site


def pytest_configure(config: pytest.Config) -> None:
    # One thread a worker, and in what it starts: the workers share the cores already.
    if hasattr(config, "workerinput"):
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A place to install plugins in, with a good one called ``good`` there already."""
    plugins()  # so that the process's own zoo has none of it
    for variable in ENVIRONMENT:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    site = Site(tmp_path)
    site.install("good", GOOD)
    yield site
    for module in site.modules:
        sys.modules.pop(module, None)


@pytest.fixture
def mine() -> Iterator[str]:
    """A name to register under, taken out of the process's zoo again."""
    yield "mine"
    if "mine" in plugins().records:
        plugins().remove("mine")


@pytest.fixture
def same_weights() -> None:
    """The same random numbers in every run, for the weights that a test draws."""
    torch.manual_seed(0)
