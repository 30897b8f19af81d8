"""Arguments of the functions that walk a network. torch is imported when one is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from convzoo.errors import OptionError, require_share, shown

if TYPE_CHECKING:
    from torch import nn

    M = TypeVar("M", bound=nn.Module)


def network(model: M) -> M:
    """``model``; OptionError if it is no module."""
    from torch import nn

    if not isinstance(model, nn.Module):
        raise OptionError(f"model is a network, an nn.Module, got {shown(model)}")
    return model


def share(name: str, value: Any) -> float:
    """``value``, a number or a tensor of one number, as a float; OptionError, naming it, unless it is in [0, 1]."""
    import torch

    one = isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_meta
    return float(require_share(name, value.item() if one else value))
