"""What a layer may do beside its forward pass: follow training, add to the loss, become another layer for inference.

Three protocols, and functions that walk a model. Nothing is global: a layer's state is its own, in buffers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from convzoo.network.arguments import network, share

if TYPE_CHECKING:
    import torch
    from torch import nn


TOLD = "_progress_told"
"""The attribute of a network that says whether it was ever told how far the training is."""


@runtime_checkable
class Scheduled(Protocol):
    """A layer that changes as training goes on."""

    def set_progress(self, progress: float) -> None:
        """Bring the layer to where the schedule wants it at ``progress``, the share of training done, from 0 to 1."""


@runtime_checkable
class Regularized(Protocol):
    """A layer that adds to the loss."""

    def penalty(self) -> torch.Tensor:
        """A scalar with a gradient."""


@runtime_checkable
class Deployable(Protocol):
    """A layer with another form for inference."""

    def deploy(self) -> nn.Module:
        """A new layer with the same outputs in eval mode; LifecycleError, which says until when, if it is too early."""


def set_progress(model: nn.Module, progress: float) -> None:
    """Tell every scheduled layer of ``model`` how much of the training is done.

    Args:
        model: the network.
        progress: share of training done, 0 to 1; it never goes back.

    Raises:
        OptionError: ``progress`` is not in [0, 1], or ``model`` is no module.
    """
    progress = share("progress", progress)
    for module in network(model).modules():
        if isinstance(module, Scheduled):
            module.set_progress(progress)
        elif hasattr(type(module), TOLD):
            setattr(module, TOLD, True)


def penalty(model: nn.Module) -> torch.Tensor:
    """The sum of the penalties of all layers of ``model``: a scalar with a gradient, 0 if no layer has one."""
    import torch

    terms = [module.penalty() for module in network(model).modules() if isinstance(module, Regularized)]
    if terms:
        return torch.stack(terms).sum()
    like = next(model.parameters(), torch.zeros(()))
    return torch.zeros((), device=like.device, dtype=like.dtype)
