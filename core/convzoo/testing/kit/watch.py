"""What runs within a part: its convolutions in order, and the operations of activations and norms."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from convzoo.testing.kit.runs import evaluated


@dataclass(frozen=True)
class Convolution:
    """A convolution that looks at neighbours, as it ran.

    Attributes:
        dilation: along the sides where its kernel is larger than 1.
        groups: of its channels.
        channels: before and after.
        later: whether another one had run on the way to its input.
    """

    dilation: int
    groups: int
    channels: tuple[int, int]
    later: bool


def convolutions(module: nn.Module, images: torch.Tensor, pixels: bool = False) -> list[Convolution]:
    """The convolutions that look at neighbours among all that ``module`` runs on ``images`` in eval mode.

    With ``pixels`` also those that look at single pixels.

    Those of one or two channels, which look at statistics of all channels, are left out, those of maps of one pixel,
    and those with a fixed kernel, such as a blur.
    """
    fixed = {buffer.data_ptr() for buffer in module.buffers()}
    with _Convolutions(fixed, pixels) as seen:
        evaluated(module, images)
    return seen.found


class _Convolutions(TorchFunctionMode):
    def __init__(self, fixed: set[int], pixels: bool) -> None:
        super().__init__()
        self._pixels = pixels
        self.found: list[Convolution] = []
        self._fixed = fixed
        self._passed: dict[int, torch.Tensor] = {}
        """Tensors, by id, that a convolution has gone into; kept, so that no other gets the id."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given = [each for each in (*args, *kwargs.values()) if isinstance(each, (torch.Tensor, list, tuple))]
        flat = [t for each in given for t in (each if isinstance(each, (list, tuple)) else (each,))]
        later = any(id(tensor) in self._passed for tensor in flat)
        spatial = func in (torch.conv2d, F.unfold) and self._add(func, args, kwargs, later)
        if later or spatial:
            for tensor in out if isinstance(out, (tuple, list)) else (out,):
                if isinstance(tensor, torch.Tensor):
                    self._passed[id(tensor)] = tensor
        return out

    def _add(self, func: Any, args: Any, kwargs: Any, later: bool) -> bool:
        names: tuple[str, ...]
        if func is F.unfold:
            names = ("input", "kernel_size", "dilation", "padding", "stride")
        else:
            names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        values = {"dilation": 1, "groups": 1, **dict(zip(names, args, strict=False)), **kwargs}
        x = values["input"]
        kernel = _pair(values["kernel_size"]) if func is F.unfold else tuple(values["weight"].shape[2:])
        sides = [side for side in (0, 1) if kernel[side] > 1 or self._pixels]
        if func is not F.unfold and values["weight"].data_ptr() in self._fixed:
            return False
        if not sides or x.shape[1] <= 2 or tuple(x.shape[2:]) == (1, 1):
            return False
        dilation = max(_pair(values["dilation"])[side] for side in sides)
        channels = x.shape[1], x.shape[1] if func is F.unfold else values["weight"].shape[0]
        groups = x.shape[1] if func is F.unfold else values["groups"]
        self.found.append(Convolution(dilation, groups, channels, later))
        return True


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value) if len(value) == 2 else (value[0], value[0])


ACTIVATIONS = ("relu", "leaky_relu", "rrelu", "prelu", "elu", "gelu", "silu", "mish", "hardswish")
"""Operations that are an activation; those that may be a gate, such as a sigmoid, are not among them."""
NORMS = ("native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm", "miopen_batch_norm", "_batch_norm")
"""The beginnings of operations that are batch normalisation."""


class Operations(TorchDispatchMode):
    """Counts the activations and batch norms that run, but for those within :meth:`allowed`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if not self._inside and (name.rstrip("_") in ACTIVATIONS or name.startswith(NORMS)):
            self.found.append(name)
        return func(*args, **(kwargs or {}))

    @contextlib.contextmanager
    def allowed(self) -> Iterator[None]:
        """Within, nothing counts."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def within(self, module: nn.Module) -> nn.Module:
        """``module``, whose own operations do not count."""
        forward: Callable[..., Any] = module.forward

        def run(*args: Any, **kwargs: Any) -> Any:
            with self.allowed():
                return forward(*args, **kwargs)

        module.forward = run
        return module


class Sums(TorchDispatchMode):
    """Remembers the shapes of what is made of two maps: sums of them, and both side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[torch.Size] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        if name == "cat" or (name == "add" and all(isinstance(each, torch.Tensor) and each.dim() for each in args[:2])):
            self.shapes.append(out.shape)
        return out
