"""A network made ready to be timed: in its type and format, in its engine, with a training step where one is asked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from convzoo.bench.engines import engine_of
from convzoo.bench.engines.base import Call
from convzoo.bench.settings import Settings

TYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
LEARNING_RATE = 1e-6
"""So small that a network is the same after thousands of steps."""


def prepared(model: nn.Module, images: torch.Tensor, settings: Settings) -> Call:
    """A call that runs one batch under the settings; the first may take longer, if the engine compiles then.

    Args:
        model: in float32, on the device; it is changed.
        images: ``(N, C, H, W)``, float32.
        settings: of the cell.
    """
    form: Any = _FORMATS[settings.memory_format]
    images = images.to(settings.device)
    if settings.mode == "train":
        return training_step(model, images, settings)
    model = model.to(TYPES[settings.dtype]).to(memory_format=form).eval()
    images = images.to(TYPES[settings.dtype]).to(memory_format=form)
    return engine_of(settings.engine).prepare(model, images, settings)


def training_step(model: nn.Module, images: torch.Tensor, settings: Settings) -> Call:
    """Forward in training mode, cross-entropy, backward, and a step of SGD with momentum."""
    forward = training_forward(model, images, settings)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = forward()
        loss.backward()
        optimizer.step()
        return loss

    return step


def training_forward(model: nn.Module, images: torch.Tensor, settings: Settings) -> Callable[[], torch.Tensor]:
    """The loss of a batch in training mode, under autocast if the type has 16 bits."""
    form: Any = _FORMATS[settings.memory_format]
    dtype = TYPES[settings.dtype]
    low = dtype in (torch.bfloat16, torch.float16)
    full = torch.float32 if low else dtype
    model = model.to(full).to(memory_format=form).train()
    images = images.to(full).to(memory_format=form)
    network = engine_of(settings.engine).optimized(model)
    kind = torch.device(settings.device).type
    classes: list[torch.Tensor] = []

    def forward() -> torch.Tensor:
        with torch.autocast(kind, dtype) if low else contextlib.nullcontext():
            out = network(images)
            if not classes:
                classes.append(torch.arange(len(out), device=out.device) % out.shape[1])
            return nn.functional.cross_entropy(out, classes[0])

    return forward


def finish(settings: Settings) -> None:
    """Wait for the device."""
    if settings.on_cuda:
        torch.cuda.synchronize(settings.device)


def set_up(settings: Settings) -> None:
    """Threads, and what is to be the same in every process: cuDNN looks for its quickest kernels."""
    torch.set_num_threads(settings.threads)
    torch.backends.cudnn.benchmark = True
