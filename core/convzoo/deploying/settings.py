"""When the kernels for inference on a processor may take the place of torch's general ones, and which is faster."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import torch
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

HAVE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
"""Whether this build of torch has oneDNN's convolutions with what follows them."""


def at_rest(x: torch.Tensor) -> bool:
    """Whether ``x`` is plain data on the processor that nobody derives, traces, compiles or watches.

    Then what is done in place is seen by nobody.
    """
    return (
        not torch.compiler.is_compiling()
        and type(x) is torch.Tensor
        and not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and not torch._C._get_tracing_state()
        and not is_in_torch_dispatch_mode()
        and torch._C._functorch.maybe_current_level() is None  # torch.func's transforms
    )


def by_onednn(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether oneDNN convolves ``x`` with ``weight``: both in float32, of four dimensions, and not empty."""
    return (
        HAVE
        and at_rest(x)
        and x.dtype is weight.dtype is torch.float32
        and x.dim() == 4
        and x.numel() > 0
        and bool(torch.backends.mkldnn.enabled)
        and not torch.is_autocast_enabled("cpu")
    )


def other_is_faster(run: Callable[[bool], None], usual: bool) -> bool:
    """Whether ``run(not usual)`` takes a tenth less time than ``run(usual)``, here and now."""
    times: dict[bool, list[float]] = {usual: [], not usual: []}
    for _, way in itertools.product(range(6), times):
        start = time.perf_counter()
        run(way)
        times[way].append(time.perf_counter() - start)
    return min(times[not usual][1:]) < 0.9 * min(times[usual][1:])
