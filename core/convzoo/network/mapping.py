"""The tensors of a safetensors file, mapped into memory.

safetensors does the same, and spends a twentieth of a millisecond on each tensor; a network has hundreds of them.
"""

from __future__ import annotations

import json
import mmap
from itertools import accumulate
from operator import mul
from pathlib import Path

import torch

DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "BOOL": torch.bool},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8},
}
"""safetensors' names of what weights are; of files with others, it makes the tensors itself."""


def mapped(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file by name. What is written into them stays in memory.

    Raises:
        ImportError: safetensors is not installed.
        Exception: whatever it raises for a file that is cut short or damaged.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file

    with path.open("rb") as file, safe_open(path, "pt"):  # which checks that all of it is as it should be
        start = 8 + int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(start - 8))
        entries.pop("__metadata__", None)
        if not entries or any(entry["dtype"] not in DTYPES for entry in entries.values()):
            return load_file(path)
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    whole = torch.frombuffer(memory, dtype=torch.uint8).untyped_storage()
    tensors = {}
    for name, entry in entries.items():
        begin, end = entry["data_offsets"]
        shape, dtype = entry["shape"], DTYPES[entry["dtype"]]
        strides = [1, *accumulate((max(size, 1) for size in shape[:0:-1]), mul)][::-1] if shape else []
        # A storage of its own, as safetensors gives it, so that saving one tensor does not write them all.
        tensors[name] = torch.empty(0, dtype=dtype).set_(whole[start + begin : start + end], 0, shape, strides)
    return tensors
