"""A criterion that follows a training: it adds the penalty, and tells the network how far the training is.

Where the steps are counted is the optimizer itself, so that every training loop will do, and a step that was skipped
is none.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from convzoo.errors import LARGEST, OptionError, require_int, scalar, shown
from convzoo.network.arguments import network
from convzoo.network.lifecycle import Regularized, Scheduled, set_progress

KEY = "convzoo_step"
"""Where the first group of an optimizer's state dict has the steps taken."""


def follow(
    model: nn.Module,
    criterion: Callable[..., torch.Tensor],
    optimizer: torch.optim.Optimizer,
    total_steps: int,
    penalty_weight: float = 0.0,
) -> Follower:
    """``criterion`` for a training that the network follows; it is called as before.

    In training it adds ``penalty_weight * convzoo.penalty(model)``; while the network is in eval mode, or no gradient
    is wanted, it adds nothing. After each step of ``optimizer`` it tells every layer with a schedule the share of
    ``total_steps`` that is done, as :func:`convzoo.set_progress` does. A step that a ``GradScaler`` skips is none,
    several batches that are accumulated for one step are one, and clipping changes nothing.

    The steps taken are part of the optimizer's state dict, so that a training that is resumed goes on where it was,
    whether its state is loaded before or after this call. In a network without layers that follow a training nothing
    but the count happens.

    Args:
        model: the network, whole, moved and started, within ``DistributedDataParallel`` and ``torch.compile`` or not.
            Layers that are put in later are not followed.
        criterion: gives the loss, a tensor of one number.
        optimizer: what takes the steps, with parameters of ``model``. A call for one that is followed already takes
            the place of the former.
        total_steps: steps of the optimizer, not batches, in the whole training. Further ones stay at its end.
        penalty_weight: of the penalty in the loss, at least 0.

    Raises:
        OptionError: an argument is of another type, or the optimizer has no parameter of ``model``.
    """
    return Follower(model, criterion, optimizer, total_steps, penalty_weight)


class Follower(nn.Module):
    """What :func:`convzoo.follow` gives: a criterion, which is called with what its own is called with.

    It is made of the arguments of that function. The network, ``model``, is no part of it as a module: it has the
    criterion's parameters and state dict, nothing more. A copy of it adds the penalty too, and follows no optimizer.

    Attributes:
        criterion: the one that it wraps.
        total_steps: steps of the optimizer in the whole training.
        penalty_weight: of the penalty in the loss.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Callable[..., torch.Tensor],
        optimizer: torch.optim.Optimizer,
        total_steps: int,
        penalty_weight: float = 0.0,
    ) -> None:
        super().__init__()
        network(model)
        if not callable(criterion):
            raise OptionError(f"criterion is what gives the loss, a module or a function, got {shown(criterion)}")
        weight = scalar(penalty_weight)
        if type(weight) not in (int, float) or not 0 <= weight < math.inf:
            raise OptionError(f"penalty_weight must be a number of at least 0, got {shown(penalty_weight)}")
        self.total_steps = require_int("total_steps", total_steps, at_least=1, at_most=LARGEST)
        self.penalty_weight = weight
        stepping = _stepping(optimizer)
        _require_parameters(model, stepping)
        self.criterion = criterion
        # In a tuple, where a module does not look for parts of its own.
        self._network = (model,)
        self._scheduled: list[Any] = [module for module in model.modules() if isinstance(module, Scheduled)]
        self._regularized: list[Any] = [module for module in model.modules() if isinstance(module, Regularized)]
        for former in _followers(stepping):
            if former._network[0] is model:
                former.stop()
        # What a state dict had that was loaded before stands in the group, as all that it had of one does.
        loaded = [group.pop(KEY) for group in stepping.param_groups if KEY in group]
        self._step = max(loaded, default=0)
        self._handles: tuple[RemovableHandle, ...] = (
            stepping.register_step_post_hook(torch.compiler.disable(_Stepped(self))),
            stepping.register_state_dict_post_hook(self._save),
            stepping.register_load_state_dict_pre_hook(self._load),
        )
        set_progress(model, self.progress)

    @property
    def step(self) -> int:
        """Steps taken. It can be set, by a training that is resumed without the state of its optimizer."""
        return self._step

    @step.setter
    def step(self, step: int) -> None:
        self._step = require_int("step", step, at_least=0, at_most=LARGEST)
        self._tell()

    @property
    def progress(self) -> float:
        """The share of the training that is done, from 0 to 1."""
        return min(self._step / self.total_steps, 1.0)

    def stop(self) -> None:
        """Follow the optimizer no longer; the penalty is still added."""
        for handle in self._handles:
            handle.remove()
        self._handles = ()

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """What the criterion gives for ``args`` and ``kwargs``, and in training the penalty."""
        loss = self.criterion(*args, **kwargs)
        training = any(layer.training for layer in self._regularized)
        if not (self.penalty_weight and training and torch.is_grad_enabled()):
            return loss
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            given = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise OptionError(
                f"the penalty is added to a loss of one number, and the criterion gave {given}; let it give the mean,"
                " or add penalty_weight * convzoo.penalty(model) to what you make of it"
            )
        penalty = torch.stack([layer.penalty() for layer in self._regularized]).sum()
        return loss + self.penalty_weight * penalty.to(loss.device)

    def _tell(self) -> None:
        for layer in self._scheduled:
            layer.set_progress(self.progress)

    def _save(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        state["param_groups"][0][KEY] = self._step

    def _load(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        groups = [dict(group) for group in state["param_groups"]]
        saved = [group.pop(KEY) for group in groups if KEY in group]
        if saved:
            self.step = max(saved)
        return {**state, "param_groups": groups}

    def __getstate__(self) -> dict[str, Any]:
        # Of a copy, which belongs to no optimizer.
        return {**self.__dict__, "_handles": ()}

    def extra_repr(self) -> str:
        return f"step={self._step}, total_steps={self.total_steps}, penalty_weight={self.penalty_weight}"


class _Stepped:
    """The hook that an optimizer calls after each step."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower

    def __call__(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        # A fused optimizer is called by a GradScaler whatever the gradients are, and itself leaves out what they spoil.
        spoiled = getattr(optimizer, "found_inf", None)
        if spoiled is None or not spoiled.item():
            self.follower._step += 1
            self.follower._tell()


def _followers(optimizer: torch.optim.Optimizer) -> Iterator[Follower]:
    """Who follows it already."""
    for hook in list(optimizer._optimizer_step_post_hooks.values()):
        if isinstance(stepped := inspect.unwrap(hook), _Stepped):
            yield stepped.follower


def _stepping(optimizer: Any) -> torch.optim.Optimizer:
    """``optimizer``, or within it the one that calls its hooks: wrappers of optimizers have steps that do not."""
    inner, seen = optimizer, set()
    while not (isinstance(inner, torch.optim.Optimizer) and getattr(type(inner).step, "hooked", False)):
        seen.add(id(inner))
        held = getattr(inner, "__dict__", {}).values()
        within = [each for each in held if isinstance(each, torch.optim.Optimizer) and id(each) not in seen]
        if len(within) != 1:
            raise OptionError(
                f"optimizer is one of torch.optim's kind, whose steps call its hooks, got {shown(optimizer)}; call"
                " convzoo.set_progress(model, progress) before each step instead"
            )
        inner = within[0]
    return inner


def _require_parameters(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    own = {id(parameter) for parameter in model.parameters()}
    if not any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"]):
        raise OptionError(
            f"the optimizer has no parameter of {type(model).__name__}; make it of model.parameters(), after the model"
            " is moved to its device and wrapped"
        )
