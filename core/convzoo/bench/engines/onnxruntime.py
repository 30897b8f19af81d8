"""ONNX Runtime: the network exported to ONNX, on its providers for the processor or for CUDA."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from typing import TYPE_CHECKING, Any

from convzoo.bench.engines.base import Call, Engine
from convzoo.bench.settings import Settings

if TYPE_CHECKING:
    import torch
    from torch import nn

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""By the type of the device."""


class OnnxRuntime(Engine):
    """Exports the network, and runs it with all of its graph optimizations."""

    name = "onnxruntime"
    packages = ("onnxruntime", "onnx", "onnxscript")
    extra = "onnxruntime"
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
        session = self._session(model, images, settings)
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

    def _session(self, model: nn.Module, images: torch.Tensor, settings: Settings) -> Any:
        import torch

        runtime = importlib.import_module("onnxruntime")
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            program = torch.onnx.export(model, (images,), dynamo=True, verbose=False)
        assert program is not None
        options = runtime.SessionOptions()
        options.intra_op_num_threads = settings.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        provider = PROVIDERS[settings.device.partition(":")[0]]
        return runtime.InferenceSession(program.model_proto.SerializeToString(), options, providers=[provider])
