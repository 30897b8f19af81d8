"""Devices and types are given by torch's names or objects, and refused where they cannot be."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch

import convzoo
from convzoo.errors import shown

from .allocations import refused
from .small import SMALL


@pytest.mark.parametrize("dtype", ["float16", "half", "torch.float16", torch.float16, numpy.str_("float16")])
def test_types_may_be_given_by_torchs_names(dtype: Any) -> None:
    model = convzoo.create_model(SMALL, dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {torch.float16}
    assert convzoo.build(SMALL, dtype=dtype, device="meta").head.fc.weight.dtype is torch.float16


@pytest.mark.parametrize("dtype", ["float", "double", "float64", "bfloat16", torch.float32])
def test_networks_compute_in_four_types(dtype: Any) -> None:
    assert next(convzoo.create_model(SMALL, dtype=dtype).parameters()).is_floating_point()


@pytest.mark.parametrize(
    "dtype", ["int8", torch.int8, "complex64", torch.float8_e4m3fn, "nn", "float17", "", False, 16]
)
def test_types_that_networks_do_not_compute_in_are_refused(dtype: Any) -> None:
    message = refused(lambda: convzoo.create_model(SMALL, dtype=dtype))
    assert message == f"dtype={shown(dtype)}: networks compute in float16, bfloat16, float32, float64"


@pytest.mark.parametrize(
    "device", ["abacus", "cuda:99", "", "vulkan", "hpu", 99, False, 2**70, "x" * 10_000, ["cpu"]], ids=shown
)
def test_devices_that_are_not_here_are_refused_by_name(device: Any) -> None:
    message = refused(lambda: convzoo.create_model(SMALL, device=device))
    assert message.startswith(f"device={shown(device)}")
    assert len(message) < 800
