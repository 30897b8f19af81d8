"""The table of variants that the zoo is held to, ``data/variants.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FAMILIES = (
    "resnet",
    "resnet_rs",
    "resnext",
    "wide_resnet",
    "se_resnet",
    "se_resnext",
    "senet",
    "eca_resnet",
    "eca_resnext",
    "cbam",
    "resnest",
    "sknet",
    "resnet_cifar",
    "se_resnet_cifar",
    "resnext_cifar",
    "se_resnext_cifar",
    "densenet",
    "densenet_cifar",
    "shake_shake",
    "se_shake_shake",
    "wide_resnet_cifar",
    "se_wide_resnet_cifar",
)
"""Families that are built so far."""


def rows() -> list[dict[str, Any]]:
    """The rows of the families that are built: all of tier 1, and those of tier 2 that exist."""
    from convzoo import is_model

    table = json.loads((Path(__file__).parent / "data" / "variants.json").read_text(encoding="utf-8"))
    return [r for r in table if r["family"] in FAMILIES and (r["tier"] == 1 or is_model(r["zoo_name"]))]
