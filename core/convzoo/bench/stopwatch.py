"""Timing calls on a device: the processor's clock, CUDA's events, and a second-level cache that is emptied before."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from convzoo.bench.sampling import Stopwatch

Clock = Callable[[], float]


def stopwatch(device: str, *, events: bool = False, flush: bool = False, clock: Clock = time.perf_counter) -> Stopwatch:
    """What times calls on ``device``.

    Args:
        device: as torch calls it.
        events: on CUDA, time what the device did between two events, without what the processor did before.
        flush: on CUDA, write over the second-level cache before each call, outside of the time.
        clock: seconds.
    """
    if not device.startswith("cuda"):
        return lambda call, times: _on_processor(call, times, clock)
    place = torch.device(device)
    cache = torch.empty(4 * torch.cuda.get_device_properties(place).L2_cache_size, dtype=torch.int8, device=place)
    empty = cache.zero_ if flush else lambda: None
    return lambda call, times: _on_cuda(call, times, place, empty, events or flush, clock)


def _on_processor(call: Callable[[], Any], times: int, clock: Clock) -> float:
    start = clock()
    for _ in range(times):
        call()
    return (clock() - start) / times


def _on_cuda(
    call: Callable[[], Any], times: int, place: torch.device, empty: Callable[[], Any], events: bool, clock: Clock
) -> float:
    torch.cuda.synchronize(place)
    if not events:
        start = clock()
        for _ in range(times):
            call()
        torch.cuda.synchronize(place)
        return (clock() - start) / times
    marks = []
    for _ in range(times):
        empty()
        mark = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        mark[0].record()
        call()
        mark[1].record()
        marks.append(mark)
    torch.cuda.synchronize(place)
    return sum(first.elapsed_time(last) for first, last in marks) / times / 1000
