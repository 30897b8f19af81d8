"""Starting every tensor once.

torch's convolutions and linear layers fill themselves when they are constructed, and most networks then fill them
again. While a network is built here those fills are put off instead; afterwards the model's ``init`` component says
how the tensors that still wait should start, and what it leaves out gets the fill that was put off. A part that fills
a tensor itself in its constructor keeps what it wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

Fill = Callable[[torch.Tensor], Any]

_PUT_OFF = (nn.init.kaiming_uniform_, nn.init.uniform_)
# What a constructor may ask of a tensor without caring for its values, or giving others a way to them.
_HARMLESS = {"dim", "size", "numel", "is_contiguous", "shape", "ndim", "dtype", "device", "requires_grad", "grad_fn"}


class DeferredInit(TorchFunctionMode):
    """Within this context, default fills are put off until :meth:`finish`, or until somebody uses the tensor."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[int, tuple[torch.Tensor, Callable[[], Any]]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _PUT_OFF:
            tensor = kwargs["tensor"] if "tensor" in kwargs else args[0]
            self._waiting[id(tensor)] = (tensor, lambda: func(*args, **kwargs))
            return tensor
        name = getattr(func, "__name__", "")
        if name == "__get__":  # an attribute, such as data
            name = func.__self__.__name__
        if self._waiting and name not in _HARMLESS:
            for value in (*args, *kwargs.values()):
                for tensor in value if isinstance(value, (list, tuple)) else (value,):
                    if id(tensor) in self._waiting:
                        self._waiting.pop(id(tensor))[1]()
        return func(*args, **kwargs)

    def finish(self, fills: Iterable[tuple[torch.Tensor, Fill]]) -> None:
        """Fill every waiting tensor: by ``fills`` where they name it, else as it would have filled itself."""
        chosen = {id(tensor): fill for tensor, fill in fills}
        with torch.no_grad():
            for key, (tensor, default) in self._waiting.items():
                if key in chosen:
                    chosen[key](tensor)
                else:
                    default()
        self._waiting.clear()
