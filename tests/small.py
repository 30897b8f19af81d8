"""A small model that tests change."""

from __future__ import annotations

from convzoo import Model, Stage, ref

SMALL = Model(
    "small",
    "small",
    ref("cifar", width=8),
    (Stage(("basic(planes=8)", "basic(planes=8)")),),
    num_classes=5,
    input_size=32,
)
