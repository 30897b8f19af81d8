"""A variant and timm's, with the same weights."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import nn

import convzoo
from convzoo.network.weights import load_weights
from convzoo.testing.numerics import jitter_norms


def pair(name: str, **options: Any) -> tuple[Any, nn.Module]:
    """``(ours, theirs)`` in eval mode, both created with ``options``, with jittered norms and timm's weights."""
    torch.manual_seed(0)
    theirs = timm.create_model(name, **options).eval()
    jitter_norms(theirs)
    ours = convzoo.create_model(name, **options).eval()
    load_weights(ours, theirs.state_dict())
    return ours, theirs
