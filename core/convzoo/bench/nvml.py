"""What NVIDIA's driver says of a card: clocks, why they are held back, and whose processes are on it.

The driver's own library is called, by ctypes: it takes microseconds, where ``nvidia-smi`` takes a tenth of a second.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

from convzoo.bench.watch import FIRST, SLOWED

SLOWDOWNS = {
    0x08: "a hardware slowdown",
    0x20: "its temperature (software)",
    0x40: "its temperature (hardware)",
    0x80: "the power brake",
}
"""Reasons for a lower clock that disturb what is timed. The power cap is not one: it is there whenever a card works
hard, and the clock is watched besides."""
POWER_CAP = 0x04
_UNKNOWN = 2**64 - 1
"""What the driver says for bytes that it does not know."""
_SM = 1
_MOST = 64


class _Process(ctypes.Structure):
    _fields_ = (
        ("pid", ctypes.c_uint),
        ("memory", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


class Card:
    """One card, by the driver's library.

    Args:
        uuid: of the card, as the driver has it, ``GPU-...``.
        library: of the driver; by default it is loaded.

    Raises:
        OSError: there is no such library, or it does not know the card.
    """

    def __init__(self, uuid: str, library: Any = None) -> None:
        self._library = library or ctypes.CDLL("libnvidia-ml.so.1")
        self._handle = ctypes.c_void_p()
        if self._library.nvmlInit_v2() or self._library.nvmlDeviceGetHandleByUUID(
            uuid.encode(), ctypes.byref(self._handle)
        ):
            raise OSError(f"the driver's library does not know the card {uuid}")

    def clock(self) -> float:
        """Of the multiprocessors, Hz; 0 if the driver does not tell."""
        megahertz = ctypes.c_uint()
        failed = self._library.nvmlDeviceGetClockInfo(self._handle, _SM, ctypes.byref(megahertz))
        return 0.0 if failed else 1e6 * megahertz.value

    def reasons(self) -> int:
        """A bit mask of why the clock is held back; 0 if the driver does not tell."""
        mask = ctypes.c_ulonglong()
        failed = self._library.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle, ctypes.byref(mask))
        return 0 if failed else mask.value

    def processes(self) -> dict[int, int] | None:
        """Bytes by process of what computes on it; None if the driver does not tell.

        Within a container the numbers of processes may be those outside of it.
        """
        count = ctypes.c_uint(_MOST)
        found = (_Process * _MOST)()
        if self._library.nvmlDeviceGetComputeRunningProcesses_v3(self._handle, ctypes.byref(count), found):
            return None
        return {found[i].pid: found[i].memory for i in range(count.value)}

    def memory_of(self, process: int) -> int | None:
        """Bytes that a process has on it; None if the driver does not tell which are that one's."""
        found = self.processes() or {}
        alone = next(iter(found.values())) if len(found) == 1 else None  # under whichever number
        used = found.get(process, alone)
        return None if used == _UNKNOWN else used


class CardWatch:
    """Watches a card beside the processor.

    Args:
        card: to be watched; None if the driver's library is not there.
        processor: the watch that it adds to.
        own: number of this process.
    """

    def __init__(self, card: Card | None, processor: Any, own: Callable[[], int] = os.getpid) -> None:
        self.card, self.processor, self.own = card, processor, own
        self.clocks: list[float] = []
        self.capped = self.pairs = 0
        self.known = set(self._others())

    def begin(self) -> None:
        """A pair begins."""
        self.processor.begin()

    def end(self) -> str:
        """What disturbed the pair, or the empty string. Waiting for a core is no disturbance of a card's work."""
        why = [each for each in self.processor.end().split(", ") if each and "waited" not in each]
        if self.card is None:
            return ", ".join(why)
        self.pairs += 1
        mask = self.card.reasons()
        self.capped += bool(mask & POWER_CAP)
        why += [f"the card is slowed by {reason}" for bit, reason in SLOWDOWNS.items() if mask & bit]
        if clock := self.card.clock():
            self.clocks.append(clock)
            best = max(self.clocks[:FIRST])
            if clock < (1 - SLOWED) * best:
                why.append(f"the card's clock fell from {best / 1e6:.0f} to {clock / 1e6:.0f} MHz")
        if fresh := set(self._others()) - self.known:
            why.append(f"{len(fresh)} other process{'es' * (len(fresh) > 1)} came to the card")
        return ", ".join(why)

    def summary(self) -> dict[str, Any]:
        """``watch`` of a row."""
        found = self.processor.summary()
        if self.card is None:
            return {**found, "card": "the driver's library is not there, so that the card was not watched"}
        found["watched"] = [*found["watched"], "card clock", "card slowdowns", "card processes"]
        card = {
            "clock": [min(self.clocks), max(self.clocks)] if self.clocks else None,
            "power_capped": self.capped / (self.pairs or 1),
            "others": len(self.known),
        }
        return {**found, "card": card}

    def _others(self) -> list[int]:
        """Processes on the card but this one; where the driver numbers them otherwise, one of them is this one."""
        found = sorted(self.card.processes() or ()) if self.card else []
        own = self.own()
        if own in found:
            return [pid for pid in found if pid != own]
        return found[1:]


def watch_of(device: str, processor: Any) -> Any:
    """The watch for a device: that of the processor, and of the card if it is one of CUDA's."""
    return CardWatch(card_of(device), processor) if device.startswith("cuda") else processor


def card_of(device: str) -> Card | None:
    """The card that is one of CUDA's devices, or None if the driver's library does not know it."""
    import torch

    try:
        return Card(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    except (OSError, AttributeError):
        return None
