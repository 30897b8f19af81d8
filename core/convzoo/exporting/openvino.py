"""OpenVINO, on the processor. This module imports no torch until it is used."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convzoo.exporting.base import Format, Run, quiet

if TYPE_CHECKING:
    import torch
    from torch import nn

PACKAGES = ("openvino",)
EXTRA = "openvino"


def converted(model: nn.Module, images: torch.Tensor, dynamic: Sequence[str] = ()) -> Any:
    """``model``, in float32, as one of OpenVINO's, for images of this shape but for what is in ``dynamic``."""
    with quiet():
        found = importlib.import_module("openvino").convert_model(model, example_input=images)
    batch, channels, *size = images.shape
    found.reshape([-1 if "batch" in dynamic else batch, channels, *([-1, -1] if "size" in dynamic else size)])
    return found


def compiled(source: Any, precision: str = "f32", threads: int = 0) -> Any:
    """A model of OpenVINO compiled for latency.

    Args:
        source: the model, or the path of its file.
        precision: what it computes in, by OpenVINO's name.
        threads: of the processor; 0 leaves it to OpenVINO.
    """
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    return importlib.import_module("openvino").Core().compile_model(source, "CPU", settings)


class OpenVino(Format):
    """OpenVINO's two files: the graph, and its weights under the same name with ``.bin``."""

    name = "openvino"
    engine = "openvino"
    suffix = ".xml"
    packages = PACKAGES
    extra = EXTRA

    def write(self, model: nn.Module, images: torch.Tensor, dynamic: Sequence[str], path: Path) -> None:
        found = converted(model, images, dynamic)
        importlib.import_module("openvino").save_model(found, str(path), compress_to_fp16=False)

    def load(self, path: Path) -> Run:
        import torch

        request = compiled(str(path)).create_infer_request()

        def run(images: torch.Tensor) -> list[torch.Tensor]:
            return [torch.from_numpy(each).clone() for each in request.infer([images.numpy()]).values()]

        return run
