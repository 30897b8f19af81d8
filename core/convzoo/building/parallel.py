"""Random numbers for many tensors at once: most of the time that a new network takes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

_RANDOM = {nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_, torch.Tensor.normal_, torch.Tensor.uniform_}
"""Functions that overwrite their first argument with random numbers, and read nothing of it."""
_LARGE = 2**14
"""Numbers from which on a thread of its own is worth it."""


class ParallelFills(TorchFunctionMode):
    """Within this context large weights on the CPU get their random numbers on ``torch.get_num_threads()`` threads.

    Each has a generator of its own, and torch's generator seeds them all by one number: one seed gives the same
    weights with any number of threads. Whoever uses a weight waits until it is filled; leaving the context waits for
    all.
    """

    def __enter__(self) -> ParallelFills:
        self._threads = ThreadPoolExecutor(torch.get_num_threads())
        self._seeds = itertools.count(int(torch.randint(2**32, (), device="cpu")))
        self._under_way: dict[int, Future[None]] = {}
        return super().__enter__()

    def __exit__(self, *reason: object) -> None:
        super().__exit__(*reason)
        self._threads.shutdown()
        for fill in self._under_way.values():
            fill.result()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._under_way:
            self._wait_for((*args, *kwargs.values()))
        weight: Any = kwargs["tensor"] if "tensor" in kwargs else args[0] if args else None
        if func not in _RANDOM or not _may_wait(weight) or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        generator = torch.Generator("cpu").manual_seed(next(self._seeds))
        fill = self._threads.submit(_fill, func, *args, **{**kwargs, "generator": generator})
        self._under_way[_memory(weight)] = fill
        return weight

    def _wait_for(self, values: Iterable[Any]) -> None:
        for value in values:
            if isinstance(value, (list, tuple)):
                self._wait_for(value)
            elif isinstance(value, torch.Tensor) and value.layout is torch.strided:
                fill = self._under_way.pop(_memory(value), None)
                if fill:
                    fill.result()


def _may_wait(tensor: Any) -> bool:
    """Whether another thread may fill it: a dispatch mode sees what its own thread does."""
    if type(tensor) is not nn.Parameter or is_in_torch_dispatch_mode():
        return False
    return tensor.device.type == "cpu" and tensor.numel() >= _LARGE


def _memory(tensor: torch.Tensor) -> int:
    """Where its numbers are, which its views share."""
    return tensor.untyped_storage().data_ptr()


def _fill(func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    with torch.no_grad():  # which holds for one thread only
        func(*args, **kwargs)
