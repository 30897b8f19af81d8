"""OpenVINO, on the processor."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from convzoo.bench.engines.base import Call, Engine
from convzoo.bench.settings import Settings
from convzoo.exporting.openvino import EXTRA, PACKAGES, compiled, converted

if TYPE_CHECKING:
    import torch
    from torch import nn

PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
"""What it is to compute in, by our names."""


class OpenVino(Engine):
    """Converts the network, and compiles it for latency."""

    name = "openvino"
    packages = PACKAGES
    extra = EXTRA
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
        found = converted(model.float(), images.float())
        request = compiled(found, PRECISIONS[settings.dtype], settings.threads).create_infer_request()
        pixels = images.float().contiguous().numpy()
        tensor = importlib.import_module("openvino").Tensor(pixels)  # a copy, which the request keeps
        request.set_input_tensor(tensor)

        def call() -> Any:
            request.infer()
            return request.get_output_tensor(0).data

        return call
