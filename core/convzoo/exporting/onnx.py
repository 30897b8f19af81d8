"""ONNX, and ONNX Runtime, which runs it. This module imports no torch until it is used."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convzoo.exporting.base import Format, Run, dynamic_shapes, quiet

if TYPE_CHECKING:
    import torch
    from torch import nn

PACKAGES = ("onnxruntime", "onnx", "onnxscript")
EXTRA = "onnxruntime"
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""By the type of the device."""


def program_of(model: nn.Module, images: torch.Tensor, dynamic: Sequence[str] = ()) -> Any:
    """``model`` as a program of ONNX (``torch.onnx.ONNXProgram``), with what is in ``dynamic`` open."""
    import torch

    with quiet():
        shapes = dynamic_shapes(dynamic)
        program = torch.onnx.export(model, (images,), dynamo=True, verbose=False, dynamic_shapes=shapes)
    assert program is not None
    return program


def session_of(source: bytes | str, device: str = "cpu", threads: int = 0) -> Any:
    """A session of ONNX Runtime.

    Args:
        source: a serialized program, or the path of its file.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...
        threads: of the processor; 0 leaves it to ONNX Runtime.
    """
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(source, options, providers=[PROVIDERS[device.partition(":")[0]]])


class Onnx(Format):
    """A program of ONNX; the weights of one beyond 2 GB stand in a file beside it."""

    name = "onnx"
    engine = "onnxruntime"
    suffix = ".onnx"
    packages = PACKAGES
    extra = EXTRA

    def write(self, model: nn.Module, images: torch.Tensor, dynamic: Sequence[str], path: Path) -> None:
        program_of(model, images, dynamic).save(str(path))

    def load(self, path: Path) -> Run:
        import torch

        session = session_of(str(path))
        name = session.get_inputs()[0].name
        return lambda images: [torch.from_numpy(each) for each in session.run(None, {name: images.numpy()})]
