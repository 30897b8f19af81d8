"""What no network exceeds, whatever its parts are."""

from __future__ import annotations

from typing import Any

from convzoo.errors import LARGEST, OptionError, require_int, scalar
from convzoo.spec.model import Model

MOST_LAYERS = 10_000


def settings(spec: Model) -> dict[str, Any]:
    """The fields of ``spec`` that are numbers, as Python's own.

    Raises:
        OptionError: one of them, or the number of layers, is out of all bounds.
    """
    sizes = {name: getattr(spec, name) for name in ("num_classes", "in_chans", "input_size", "output_stride")}
    for name, value in (*sizes.items(), *(("stride", stage.stride) for stage in spec.stages)):
        require_int(name, value or 0, at_least=0, at_most=LARGEST)
    if (layers := sum(len(stage.layers) for stage in spec.stages)) > MOST_LAYERS:
        raise OptionError(f"the stages of {spec.name} have {layers} layers, and a network has {MOST_LAYERS} at most")
    return {name: scalar(value) for name, value in sizes.items()} | {"drop_path_rate": scalar(spec.drop_path_rate)}
