"""ONNX Runtime: the network exported to ONNX, on its providers for the processor or for CUDA."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from convzoo.bench.engines.base import Call, Engine
from convzoo.bench.settings import Settings
from convzoo.exporting.onnx import EXTRA, PACKAGES, PROVIDERS, program_of, session_of

if TYPE_CHECKING:
    import torch
    from torch import nn


class OnnxRuntime(Engine):
    """Exports the network, and runs it with all of its graph optimizations."""

    name = "onnxruntime"
    packages = PACKAGES
    extra = EXTRA
    trains = False
    remark = "onnxruntime decides itself on the memory format"

    def refusal(self, settings: Settings) -> str:
        if told := super().refusal(settings):
            return told
        if settings.dtype not in ("float32", "float16"):
            return f"onnxruntime has no {settings.dtype} convolutions here; float32 and float16 it has"
        provider = PROVIDERS.get(settings.device.partition(":")[0])
        offered = importlib.import_module("onnxruntime").get_available_providers()
        if provider not in offered:
            return f"onnxruntime has no provider for {settings.device} here, only {', '.join(offered)}"
        return ""

    def prepare(self, model: nn.Module, images: torch.Tensor, settings: Settings) -> Call:
        import numpy
        import torch

        images = images.contiguous()
        serialized = program_of(model, images).model_proto.SerializeToString()
        session = session_of(serialized, settings.device, settings.threads)
        binding = session.io_binding()
        kind, _, index = settings.device.partition(":")
        place = kind, int(index or 0)
        element = {torch.float32: numpy.float32, torch.float16: numpy.float16}[images.dtype]
        binding.bind_input(session.get_inputs()[0].name, *place, element, tuple(images.shape), images.data_ptr())
        name = session.get_outputs()[0].name
        binding.bind_output(name, *place)

        def call() -> Any:
            session.run_with_iobinding(binding)
            return binding.copy_outputs_to_cpu()[0]

        call.images = images  # type: ignore[attr-defined]  # whose memory is bound, but not held
        return call
