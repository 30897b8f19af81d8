"""Starting every tensor once.

A network is assembled once, without storage for its weights. What ``torch.empty`` makes within :class:`Deferred` stands
on the meta device, and how it is to be filled is kept until :meth:`Deferred.finish` gives it storage. Layers of torch
fill themselves in this way when they are constructed; the model's ``init`` component may start those tensors otherwise.
What a part fills itself keeps its values, be it in its constructor or in a ``reset_parameters`` of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from convzoo.building.parallel import ParallelFills
from convzoo.errors import OptionError
from convzoo.network.place import empty, memory_of

if TYPE_CHECKING:
    from types import FrameType

    from convzoo.layers import Fills

_FILLS = {
    *(nn.init.uniform_, nn.init.normal_, nn.init.constant_, nn.init.kaiming_uniform_),
    *(torch.Tensor.fill_, torch.Tensor.zero_, torch.Tensor.normal_, torch.Tensor.uniform_),
}
"""Functions that overwrite their first argument, and read nothing of it."""
_HARMLESS = {
    *("dim", "ndimension", "size", "numel", "stride", "is_contiguous", "shape", "ndim", "dtype", "layout", "__len__"),
    *("requires_grad", "requires_grad_", "grad", "grad_fn", "is_leaf", "is_floating_point", "is_complex"),
}
"""What may be asked of a tensor without caring for its values, or giving others a way to them."""


class Deferred(TorchFunctionMode):
    """Within this context weights have no storage, and their fills are kept for :meth:`finish`.

    Whoever reads a weight before that gets it with storage on ``device``, filled as it would have been. OptionError is
    raised for weights that no tensor can be, or that ``device`` has no memory for.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._room = memory_of(device)
        self._fills: dict[int, tuple[torch.Tensor, Callable[[], Any]]] = {}
        self._own: set[int] = set()
        # What is asked of a tensor without storage is answered for the place where it is going to be.
        self._place = {"device": device, "is_meta": False, **{f"is_{t}": device.type == t for t in ("cpu", "cuda")}}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch._C._set_grad_enabled:  # half of all calls
            return func(*args, **kwargs)
        if func is torch.empty and args[:1] != (0,):  # which torch's lazy layers begin with
            given = {"device": "meta"} | {k: v for k, v in kwargs.items() if v is not None}
            weight = empty(*args, room=self._room, **given)
            self._room -= weight.nbytes
            return weight
        name = getattr(func, "__name__", "")
        if name == "__get__":  # an attribute, such as data
            name = func.__self__.__name__
        tensor = kwargs["tensor"] if "tensor" in kwargs else args[0] if args else None
        if isinstance(tensor, torch.Tensor) and tensor.is_meta and self._device.type != "meta":
            if name in self._place:
                return self._place[name]
            if func in _FILLS and isinstance(tensor, nn.Parameter):
                self._keep(tensor, lambda: func(*args, **kwargs))
                return tensor
        if name not in _HARMLESS:
            for value in (*args, *kwargs.values()):
                for each in value if isinstance(value, (list, tuple)) else (value,):
                    if isinstance(each, torch.Tensor) and each.is_meta:
                        self._store(each)
                        self._fill(each)
        return func(*args, **kwargs)

    def finish(self, model: nn.Module, init: Callable[[nn.Module], Fills]) -> None:
        """Give every weight of ``model``, which was constructed within this context, storage, and fill it once.

        ``init`` says how tensors start that torch's own layers have filled; others keep what their part says.
        """
        waiting = [tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.is_meta]
        if not waiting:
            return
        for tensor in waiting:
            self._store(tensor)
        chosen, buffers = {}, {id(buffer) for buffer in model.buffers()}
        for tensor, fill in init(model):
            if id(tensor) in buffers:
                raise OptionError(
                    f"init says how parameters start, and gives a buffer of the shape {tuple(tensor.shape)}; buffers"
                    " keep what their part says"
                )
            chosen[id(tensor)] = fill
        with torch.no_grad(), ParallelFills():
            for tensor in waiting:
                if id(tensor) in chosen and id(tensor) not in self._own:
                    chosen[id(tensor)](tensor)
                else:
                    self._fill(tensor)

    def _keep(self, tensor: torch.Tensor, fill: Callable[[], Any]) -> None:
        """Keep a fill, and whether it is of one of torch's own layers."""
        frame: FrameType | None = sys._getframe(2)
        while frame and frame.f_globals.get("__name__") in ("torch.nn.init", "torch.overrides", "torch.utils._device"):
            frame = frame.f_back
        of_torch = frame is not None and frame.f_globals.get("__name__", "").startswith("torch.nn.")
        (self._own.discard if of_torch else self._own.add)(id(tensor))
        self._fills[id(tensor)] = tensor, fill

    def _fill(self, tensor: torch.Tensor) -> None:
        if id(tensor) in self._fills:
            with torch.no_grad():
                self._fills.pop(id(tensor))[1]()

    def _store(self, tensor: torch.Tensor) -> None:
        """Give a tensor storage; it stays the same object, for all who hold it."""
        if self._device.type == "meta":
            return
        stored = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=self._device)
        if isinstance(tensor, nn.Parameter):
            stored = nn.Parameter(stored, tensor.requires_grad)
        # What torch.utils.swap_tensors ends in; before, that refuses tensors with weak references, such as an LSTM's.
        torch._C._swap_tensor_impl(tensor, stored)
