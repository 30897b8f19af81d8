"""OpenVINO, on the processor."""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from convzoo.bench.engines.base import Call, Engine
from convzoo.bench.settings import Settings

if TYPE_CHECKING:
    import torch
    from torch import nn

PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
"""What it is to compute in, by our names."""


class OpenVino(Engine):
    """Converts the network, and compiles it for latency."""

    name = "openvino"
    packages = ("openvino",)
    extra = "openvino"
    trains = False
    remark = "openvino decides itself on the memory format"

    def refusal(self, settings: Settings) -> str:
        if told := super().refusal(settings):
            return told
        if settings.on_cuda:
            return "openvino runs on the processor, not on CUDA"
        if settings.dtype not in PRECISIONS:
            return f"openvino does not compute in {settings.dtype}; known are {', '.join(PRECISIONS)}"
        return ""

    def prepare(self, model: nn.Module, images: torch.Tensor, settings: Settings) -> Call:
        openvino = importlib.import_module("openvino")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converted = openvino.convert_model(model.float(), example_input=images.float())
        converted.reshape(list(images.shape))
        compiled = openvino.Core().compile_model(
            converted,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": settings.threads,
                "INFERENCE_PRECISION_HINT": PRECISIONS[settings.dtype],
            },
        )
        request = compiled.create_infer_request()
        pixels = images.float().contiguous().numpy()
        request.set_input_tensor(openvino.Tensor(pixels))  # a copy, which the request keeps

        def call() -> Any:
            request.infer()
            return request.get_output_tensor(0).data

        return call
