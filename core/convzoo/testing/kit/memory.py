"""Checks of what a part leaves behind: tensors, graphs, and entries of lists and caches."""

from __future__ import annotations

import collections
import gc
import pickle
import sys
import types
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from convzoo.testing.kit.probe import Probe
from convzoo.testing.kit.promises import MODULES, CheckFailed, promise


@promise(*MODULES)
def holds_no_memory(probe: Probe) -> None:
    """A step of training leaves behind nothing that grows: the twentieth holds no more memory than the third.

    An instance that nobody has any more is freed.
    """
    module, images = probe.make().train(), probe.images(batch=2, size=(4, 4)).requires_grad_()
    storages, nodes, sizes = _Storages(), _Nodes(), []
    gc.freeze()  # so that collecting looks at what the part makes, and not at all else in the process
    try:
        for steps in (3, 17):
            for _ in range(steps):
                with storages:
                    out = module(images * 1)  # which an activation may overwrite
                    nodes.remember(out.grad_fn)
                    if out.requires_grad:
                        out.sum().backward()
                module.zero_grad(set_to_none=True)
                images.grad = None
                del out
            gc.collect()
            sizes.append((storages.alive(), nodes.alive(), _pickled_size(module)))
    finally:
        gc.unfreeze()
    for what, early, late in zip(("bytes of tensors", "nodes of autograd", "bytes of its pickle"), *sizes, strict=True):
        if late > early:
            raise CheckFailed(
                f"after 3 steps there are {early} {what}, after 20 there are {late}",
                means="long trainings run out of memory",
                mend="keep no output, loss or list of them in an attribute; detach() and write into a fixed buffer",
            )
    _look_for_caches(probe, module)
    gone = weakref.ref(probe.make())
    gc.collect()
    if gone() is not None:
        raise CheckFailed(
            "an instance that nobody has any more stays in memory",
            means="no network with it is ever freed",
            mend="keep no instances in the class, a default value or a global, or keep weak references",
        )


FEW, MANY = 4, 16
"""Numbers of sizes of maps."""


def _look_for_caches(probe: Probe, module: nn.Module) -> None:
    """Raise CheckFailed if a list, dict or cache grows with every size of maps, or with every pass, in either mode."""
    for mode in (True, False):
        module.train(mode)
        before = {}
        for number in range(FEW + MANY):
            if number == FEW:
                before = sizes(module)
            with torch.no_grad():
                module(probe.images(batch=2, size=(3 + number + MANY * 2 * mode, 4)))
        for name, size in sizes(module).items():
            if size - before.get(name, 0) >= MANY:
                raise CheckFailed(
                    f"in {'training' if mode else 'eval'} mode, {name} grows by {size - before.get(name, 0)} entries in"
                    f" {MANY} passes with maps of other sizes",
                    means="long trainings, and images of many sizes, run out of memory",
                    mend="compute it again, or keep a few at most (functools.lru_cache(maxsize=8)) in the instance",
                )


class _Storages(TorchDispatchMode):
    """Remembers, without keeping them alive, the storages that operations make."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self._made.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
        return out

    def alive(self) -> int:
        """Bytes of those that still live."""
        self._made = {key: made for key, made in self._made.items() if not made[0].expired()}
        return sum(size for _, size in self._made.values())


class _Nodes:
    """Remembers, without keeping them alive, the nodes of autograd graphs."""

    def __init__(self) -> None:
        self._sentinels: list[weakref.ref[_Sentinel]] = []

    def remember(self, node: Any) -> None:
        seen, waiting = set(), [node]
        while waiting:
            node = waiting.pop()
            if node is not None and node not in seen and type(node).__name__ != "AccumulateGrad":
                seen.add(node)
                sentinel = _Sentinel()
                node.metadata["convzoo"] = sentinel  # it lives as long as the node
                self._sentinels.append(weakref.ref(sentinel))
                waiting += [following for following, _ in node.next_functions]

    def alive(self) -> int:
        """How many of them still live."""
        return sum(sentinel() is not None for sentinel in self._sentinels)


class _Sentinel:
    pass


def _pickled_size(module: nn.Module) -> int:
    try:
        return len(pickle.dumps(module))
    except Exception:  # another check tells whether it pickles
        return 0


def containers(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Lists, dicts, sets and caches that a part, its classes and their modules of code keep, with names."""
    own = set(vars(nn.Module()))
    for path, each in module.named_modules():
        yield from _within({k: v for k, v in vars(each).items() if k not in own}, path or type(each).__name__)
    for kind in {cls for each in module.modules() for cls in type(each).__mro__}:
        home = kind.__module__ or ""
        if home.partition(".")[0] in ("torch", "builtins", "typing", "abc", "torchvision"):
            continue
        yield from _within(vars(kind), kind.__qualname__)
        code = sys.modules.get(home)
        if isinstance(code, types.ModuleType):
            yield from _within(vars(code), home)
        for name, value in list(vars(kind).items()):
            for cell in getattr(value, "__closure__", None) or ():
                try:
                    yield from _within({name: cell.cell_contents}, f"{kind.__qualname__} (a closure)")
                except ValueError:  # an empty cell
                    continue


def _within(namespace: Any, owner: str) -> Iterator[tuple[str, Any]]:
    for name, value in list(namespace.items()):
        if name.startswith("__"):
            continue
        if hasattr(value, "cache_info") or (hasattr(type(value), "__len__") and isinstance(value, _GROWING)):
            yield f"{owner}.{name}", value
        for default in getattr(value, "__defaults__", None) or ():
            if isinstance(default, _GROWING):
                yield f"a default value of {owner}.{name}", default


_GROWING = (list, dict, set, bytearray, collections.deque)


def sizes(module: nn.Module) -> dict[str, int]:
    """How much each of :func:`containers` holds; caches that have a limit are left out."""
    found = {}
    for name, value in containers(module):
        if hasattr(value, "cache_info"):
            try:
                info = value.cache_info()
            except Exception:
                continue
            if info.maxsize is None:
                found[name] = info.currsize
        else:
            found[name] = _extent(value)
    return found


def _extent(value: Any, depth: int = 2) -> int:
    inner = list(value.values() if isinstance(value, dict) else value)
    return len(inner) + sum(_extent(each, depth - 1) for each in inner if depth and isinstance(each, _GROWING))
