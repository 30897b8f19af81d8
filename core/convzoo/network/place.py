"""Where a network's weights are, and in which precision: the values of ``device`` and ``dtype``."""

from __future__ import annotations

import math
import os
from typing import Any

import torch

from convzoo.errors import OptionError, cut, said, scalar, shown

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}
"""What networks compute in."""


def device_of(value: Any) -> torch.device:
    """The device that ``value`` names; torch's default for None.

    Raises:
        OptionError: there is no such device here.
    """
    if value is None:
        return torch.get_default_device()
    name = scalar(value)
    if type(name) is bool or not isinstance(name, (str, int, torch.device)):
        raise OptionError(f"device={shown(value)}: a device is called 'cpu', 'cuda', 'cuda:1', 'meta' and so on")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "meta"):
            torch.empty(0, device=device)
    except Exception as error:
        raise OptionError(f"device={shown(value)} cannot be used here: {said(error)}") from None
    return device


def dtype_of(value: Any) -> torch.dtype | None:
    """The type that ``value`` is, or is torch's name of, such as ``"float16"`` or ``"half"``; None for None.

    Raises:
        OptionError: networks do not compute in that, or there is no such type.
    """
    name = scalar(value)
    if type(name) is str and name.removeprefix("torch.").isidentifier():
        name = getattr(torch, name.removeprefix("torch."), name)
    if value is None or (type(name) is torch.dtype and name in DTYPES.values()):
        return name
    raise OptionError(f"dtype={shown(value)}: networks compute in {', '.join(DTYPES)}")


def memory_of(device: torch.device) -> float:
    """Bytes that weights on ``device`` cannot exceed; infinitely many if that is not known.

    A process may use more than the main memory, since some of it may be swapped out, but not twice as much.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if device.type != "cpu":
        return math.inf
    try:
        return 2 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on every system
        return math.inf


def require_memory(name: str, numbers: int, device: torch.device) -> None:
    """Raise OptionError, naming the option ``name``, if ``device`` has no memory for so many numbers in float32."""
    if 4 * numbers > memory_of(device):
        raise OptionError(
            f"{name}: its weights would take {4 * numbers / 2**30:,.0f} GiB, which {device} does not have"
        )


def empty(*size: Any, room: float, **options: Any) -> torch.Tensor:
    """``torch.empty(*size, **options)``, a weight that is to have storage later.

    Raises:
        OptionError: no tensor can have that size, or it takes more than ``room`` bytes.
    """
    try:
        tensor = torch.empty(*size, **options)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise OptionError(f"no weight can have the size {cut(shown(size), 80)}: {said(error)}") from error
    if tensor.nbytes > room:
        needed = f"{tensor.nbytes / 2**30:,.0f} GiB, and there are no more than {room / 2**30:,.0f} left for weights"
        raise OptionError(f"a weight of the size {tuple(tensor.shape)} takes {needed}; device='meta' needs none")
    return tensor
