"""Images, networks and bounds for the tests of deployed networks."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

import convzoo
from convzoo import create_model
from convzoo.testing.numerics import jitter_norms

BOUNDS = {torch.float64: 1e-9, torch.float32: 1e-5}
LAST = torch.channels_last


def images(size: int = 32, channels: int = 3, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(1)).to(dtype)


def trained(name: str, **options: Any) -> Any:
    model = create_model(name, **options)
    jitter_norms(model)
    convzoo.set_progress(model, 1)
    return model.eval()


def off(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


def assert_same(deployed: nn.Module, model: nn.Module, x: torch.Tensor) -> None:
    """By the general functions, with gradients on, and by the kernels for inference, in both memory formats."""
    exact = copy.deepcopy(model).double()(x.double())
    for given in (x, x.to(memory_format=LAST)):
        with torch.inference_mode():
            assert off(deployed(given.clone()), exact) <= BOUNDS[x.dtype]
        assert off(deployed(given.clone()), exact) <= BOUNDS[x.dtype]
