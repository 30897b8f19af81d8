"""What runs a network: by name, each in a file of its own, which imports its library when it is used."""

from __future__ import annotations

from convzoo.bench.engines.base import Engine
from convzoo.bench.engines.compiled import Compiled
from convzoo.bench.engines.eager import Eager
from convzoo.bench.engines.onnxruntime import OnnxRuntime
from convzoo.bench.engines.openvino import OpenVino

ENGINES: dict[str, Engine] = {engine.name: engine for engine in (Eager(), Compiled(), OnnxRuntime(), OpenVino())}
"""All that there are."""


def engine_of(name: str) -> Engine:
    """The engine of a name, which must be one of :data:`ENGINES`."""
    return ENGINES[name]
