"""Memory: the peak of the process, CUDA's own accounts, and what a training step keeps for its backward pass."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from convzoo.bench.nvml import card_of
from convzoo.bench.watch import Reader, text_of


def status_bytes(field: str, read: Reader = text_of) -> int | None:
    """A field of ``/proc/self/status``, such as ``VmHWM``, the peak of resident memory; None if there is none."""
    found = re.search(rf"^{field}:\s+(\d+) kB", read("/proc/self/status"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def forget_peak() -> bool:
    """Make VmHWM start again from what is resident now; whether the system allows it."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
        return True
    except OSError:
        return False


def saved_for_backward(model: nn.Module, forward: Callable[[], Any]) -> int:
    """Bytes of the tensors that ``forward`` keeps for the backward pass, each storage once, parameters left out."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    seen: dict[int, tuple[int, torch.Tensor]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes(), tensor.detach()  # kept, so that its address stays its own
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = forward()
    del out
    return sum(size for size, _ in seen.values())


def cuda_memory(device: str) -> dict[str, int | None]:
    """Peaks of what torch ``allocated`` and ``reserved``, and what this ``process`` has on the card by the driver."""
    card = card_of(device)
    return {
        "allocated": torch.cuda.max_memory_allocated(device),
        "reserved": torch.cuda.max_memory_reserved(device),
        "process": card.memory_of(os.getpid()) if card else None,
    }
