"""What a cell is measured under, and what its values may be. This module imports torch only to look at a device."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from convzoo.errors import OptionError, require_choice, require_int, shown

MODES = ("infer", "train")
"""``infer``: a forward pass in eval mode. ``train``: forward, cross-entropy, backward, and a step of SGD."""
DTYPES = {
    "float32": "float32",
    "float64": "float64",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
}
"""What may be asked for, and what it is called. Inference in 16 bits has weights and images in that type; training has
float32 weights, and runs under autocast."""
FORMATS = ("contiguous", "channels_last")
"""Memory formats."""
LARGEST_BATCH = 65536
"""Images."""


@dataclass(frozen=True)
class Settings:
    """Everything about a cell but who competes.

    Args:
        mode: one of :data:`MODES`.
        device: as torch calls it, with its number: ``cpu``, ``cuda:0``.
        dtype: one of the values of :data:`DTYPES`.
        memory_format: one of :data:`FORMATS`.
        engine: one of :data:`convzoo.bench.engines.ENGINES`.
        batch_size: images.
        image_size: side in pixels.
        threads: of the processor.
    """

    mode: str
    device: str
    dtype: str
    memory_format: str
    engine: str
    batch_size: int
    image_size: int
    threads: int

    def sized(self, size: int) -> Settings:
        """The same with images of another size."""
        return replace(self, image_size=size)

    @property
    def on_cuda(self) -> bool:
        """Whether the device is one of CUDA's."""
        return self.device.startswith("cuda")

    def __str__(self) -> str:
        return (
            f"{self.mode} {self.engine} {self.dtype} {self.memory_format} {self.batch_size} x {self.image_size} px"
            f" {self.device} {self.threads} thread{'s' * (self.threads != 1)}"
        )


def on_all(
    mode: Sequence[str],
    device: str,
    dtype: Sequence[str],
    memory_format: Sequence[str],
    engine: Sequence[str],
    batch_size: Sequence[int],
    threads: int,
) -> list[Settings]:
    """Every combination, with images of size 0, which is yet to be said.

    Raises:
        OptionError: a value that there is not.
    """
    modes = [require_choice("--mode", each, MODES) for each in mode]
    dtypes = [DTYPES[require_choice("--dtype", each, DTYPES)] for each in dtype]
    formats = [require_choice("--memory-format", each, FORMATS) for each in memory_format]
    sizes = [require_int("--batch-size", each, at_least=1, at_most=LARGEST_BATCH) for each in batch_size]
    if not all((modes, dtypes, formats, engine, sizes)):
        raise OptionError("an empty list of settings")
    return [
        Settings(m, device, d, f, e, b, 0, threads)
        for m, d, f, e, b in itertools.product(modes, dtypes, formats, engine, sizes)
    ]


def device_name(text: str) -> str:
    """A device that is here, as the result file calls it.

    Raises:
        OptionError: there is none of that name here, or it has no storage.
    """
    from convzoo.network.place import device_of

    device = device_of(text)
    if device.type == "meta":
        raise OptionError("--device meta computes nothing; there is nothing to time")
    if device.type == "cuda" and device.index is None:
        return "cuda:0"
    return str(device)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_threads(threads: int | None) -> int:
    """A number of threads; as many as there are cores for None.

    Raises:
        OptionError: more than there are cores, which would only wait for each other.
    """
    if threads is None:
        return cores()
    require_int("--threads", threads, at_least=1)
    if threads > cores():
        raise OptionError(f"--threads {shown(threads)}: there are {cores()} cores for this process")
    return threads
