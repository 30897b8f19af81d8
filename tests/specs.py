"""A small model that uses every field of a spec."""

from __future__ import annotations

import json
from typing import Any

from convzoo import Model, Reference, Stage, ref
from convzoo.spec.refs import Options

LAYER = ref("basic", planes=8, attention=ref("se", reduction=4), sizes=[1, [2, 3]])
STAGE = Stage((LAYER, LAYER, ref("basic", planes=8)), stride=2)


def model(**fields: Any) -> Model:
    """A small model that uses every field, changed by ``fields``."""
    values: dict[str, Any] = {
        "name": "net",
        "family": "nets",
        "stem": ref("cifar", width=8),
        "stages": (STAGE,),
        "norm": ref("group", groups=4),
        "num_classes": 10,
        "output_stride": 2,
        "drop_path_rate": 0.1,
        "dataset": "cifar10",
        "paper": "Nobody, Nets, 2020",
        "references": (Reference("timm", "resnet18", Options({"block_args": {"rd_ratio": 0.25}}), Options({"a": 1})),),
        "keys": ((r"^stem\.", "conv1."),),
        "aliases": (ref("net_b", zero_init_last=True),),
        "params": 1,
        "macs": 2,
    }
    return Model(**{**values, **fields})


def through_json(spec: Model) -> Model:
    return Model.from_dict(json.loads(json.dumps(spec.to_dict(), allow_nan=False)))
