"""Following a training by a script of timm's, which does not know that networks may follow it.

While :func:`following` lasts, these are more than they are otherwise:

- ``timm.scheduler.create_scheduler_v2``, and ``create_scheduler``, which calls it: of the optimizer that it is given,
  the networks that ``timm.create_model`` has made, if they have layers that follow a training, are followed by
  :func:`convzoo.follow` for the epochs that it gives, with as many steps as its ``updates_per_epoch``;
- ``step`` and ``step_update`` of timm's schedulers: where a script begins at a later epoch than the first, and the
  state of the optimizer did not say so, the step is taken from there;
- ``forward`` of the losses of ``timm.loss`` and ``torch.nn``, and of the tasks of ``timm.task``: the penalty is added
  to what the outermost of them gives while the network is in training mode and gradients are wanted;
- ``timm.utils.ModelEmaV2``, in which older scripts keep a moving average: masks, which have none, are copied into it,
  as ``ModelEmaV3`` does;
- with ``total_steps``, ``timm.optim.create_optimizer_v2``, and ``create_optimizer``, which calls it: the networks are
  followed from there on, for scripts that make no scheduler of timm's.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import math
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import timm.loss
import timm.optim
import timm.scheduler
import timm.utils
import torch
from timm.scheduler.scheduler import Scheduler
from torch import nn

from convzoo.errors import LARGEST, LifecycleError, LifecycleWarning, OptionError, require_int, scalar, shown
from convzoo.network.following import Follower, follow
from convzoo.network.lifecycle import Regularized, Scheduled
from convzoo.timm.creating import made

try:  # not in older versions
    import timm.task as tasks
except ImportError:
    tasks = None  # type: ignore[assignment]

_logger = logging.getLogger("convzoo.timm")


@contextlib.contextmanager
def following(penalty_weight: float = 0.0, total_steps: int | None = None) -> Iterator[Following]:
    """While it lasts, trainings with timm's parts are followed by the zoo's networks in them.

    Args:
        penalty_weight: of the penalty in the loss, at least 0.
        total_steps: steps of the optimizer in the whole training; by default as many as timm's scheduler is made for.

    Raises:
        OptionError: an argument is impossible; or, while it lasts, a network has layers that follow a training, and how
            long that is cannot be known.
        LifecycleError: while it lasts, the penalty is wanted, and the loss of the script is not one that is known here.

    Warns with a :class:`~convzoo.LifecycleWarning` in the end, if the penalty was wanted and never added.
    """
    self = Following(penalty_weight, total_steps)
    with contextlib.ExitStack() as stack:
        for owner, name, wrapped in self.hooks():
            stack.callback(setattr, owner, name, vars(owner)[name])
            setattr(owner, name, wrapped)
        yield self
    if self.penalty_weight and not self.added:
        warnings.warn(
            f"penalty_weight={self.penalty_weight} had no effect: no network with a penalty was trained with a loss of"
            " timm.loss, timm.task or torch.nn",
            LifecycleWarning,
            stacklevel=3,
        )


class Following:
    """What is followed while :func:`following` lasts.

    Attributes:
        followers: what :func:`convzoo.follow` gave for each network.
        added: whether the penalty was added to a loss.
    """

    def __init__(self, penalty_weight: float = 0.0, total_steps: int | None = None) -> None:
        weight = scalar(penalty_weight)
        if type(weight) not in (int, float) or not 0 <= weight < math.inf:
            raise OptionError(f"penalty_weight must be a number of at least 0, got {shown(penalty_weight)}")
        self.penalty_weight = weight
        self.total_steps = (
            None if total_steps is None else require_int("total_steps", total_steps, at_least=1, at_most=LARGEST)
        )
        self.followers: list[Follower] = []
        self.added = False
        # By optimizer: the followers, each with the step at which it began, and the steps of an epoch.
        self._of: weakref.WeakKeyDictionary[Any, tuple[list[tuple[Follower, int]], int]] = weakref.WeakKeyDictionary()
        self._learning = self._within = False

    def hooks(self) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
        """What is to be replaced: its owner, its name, and by what."""
        found = [(timm.scheduler, "create_scheduler_v2", self._schedule)]
        if self.total_steps is not None:
            found.append((timm.optim, "create_optimizer_v2", self._optimize))
        for package, name, hook in found:
            function = getattr(package, name)
            wrapped = hook(function)
            for module in (package, sys.modules[function.__module__]):
                yield module, name, wrapped
        schedules = [each for each in vars(timm.scheduler).values() if isinstance(each, type)]
        for owner in dict.fromkeys([Scheduler, *schedules]):
            for name in ("step", "step_update"):
                if name in vars(owner):
                    yield owner, name, self._step(vars(owner)[name], name)
        if ema := getattr(timm.utils, "ModelEmaV2", None):
            yield ema, "update", self._average(ema.update)
        for owner in _losses():
            yield owner, "forward", self._penalize(vars(owner)["forward"])

    def follow(self, optimizer: Any, total_steps: int, per_epoch: int = 0) -> None:
        """Follow the networks that ``optimizer`` trains.

        Args:
            optimizer: the optimizer.
            total_steps: in the whole training; 0 if that is not known.
            per_epoch: steps of an epoch; 0 if that is not known.
        """
        trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        followed = self._of.setdefault(optimizer, ([], per_epoch))[0]
        self._of[optimizer] = followed, per_epoch
        for network in list(made):
            if any(follower._network[0] is network for follower, _ in followed) or not self._concerns(network):
                continue
            if not any(id(parameter) in trained for parameter in network.parameters()):
                continue
            if total_steps < 1:
                raise OptionError(
                    f"{network.spec.name} follows its training, and how long that is is not known, since the script"
                    " gives its scheduler no updates_per_epoch: say --total-steps"
                )
            follower = follow(network, _as_it_is, optimizer, total_steps, self.penalty_weight)
            followed.append((follower, follower.step))
            self.followers.append(follower)
            _logger.info("%s follows the training, %d steps long.", network.spec.name, total_steps)

    def _concerns(self, network: nn.Module) -> bool:
        kinds = (Scheduled, Regularized) if self.penalty_weight else (Scheduled,)
        return any(isinstance(module, kind) for module in network.modules() for kind in kinds)

    def _schedule(self, create: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(create)

        @functools.wraps(create)
        def create_scheduler_v2(*args: Any, **kwargs: Any) -> Any:
            scheduler, epochs = create(*args, **kwargs)
            given = signature.bind(*args, **kwargs).arguments
            per_epoch = int(given.get("updates_per_epoch", 0))
            self.follow(given["optimizer"], self.total_steps or math.ceil(epochs * per_epoch), per_epoch)
            return scheduler, epochs

        return create_scheduler_v2

    def _optimize(self, create: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(create)
        def create_optimizer_v2(*args: Any, **kwargs: Any) -> Any:
            optimizer = create(*args, **kwargs)
            self.follow(optimizer, self.total_steps or 0)
            return optimizer

        return create_optimizer_v2

    def _step(self, step: Callable[..., Any], name: str) -> Callable[..., Any]:
        signature = inspect.signature(step)
        argument = "epoch" if name == "step" else "num_updates"

        @functools.wraps(step)
        def stepped(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            followed, per_epoch = self._of.get(scheduler.optimizer, ([], 0))
            at = signature.bind(scheduler, *args, **kwargs).arguments.get(argument, 0) if followed else 0
            for follower, begun in followed:
                steps = int(at * (per_epoch if name == "step" else 1))
                if not self._learning and begun == follower.step < steps:
                    follower.step = steps
                elif follower.step > begun:
                    self._require_added(follower)
            return step(scheduler, *args, **kwargs)

        return stepped

    def _require_added(self, follower: Follower) -> None:
        if follower.penalty_weight and follower._regularized and not self.added:
            raise LifecycleError(
                f"the penalty, wanted with the weight {follower.penalty_weight}, is not in the loss, which is none of"
                " timm.loss, timm.task and torch.nn; call convzoo.follow(model, criterion, ...) in the script instead"
            )

    def _average(self, update: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(update)
        def averaged(ema: Any, model: nn.Module) -> None:
            update(ema, model)
            if not self.followers:
                return
            for average, value in zip(ema.module.state_dict().values(), model.state_dict().values(), strict=True):
                if not average.is_floating_point():
                    average.copy_(value)

        return averaged

    def _penalize(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(forward)
        def penalized(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if self._within:  # a task calls a criterion, and that may call another one
                return forward(module, *args, **kwargs)
            self._within = True
            try:
                result = forward(module, *args, **kwargs)
            finally:
                self._within = False
            if not torch.is_grad_enabled():
                return result
            if isinstance(result, dict):
                return {**result, "loss": self._add(result["loss"])} if "loss" in result else result
            return self._add(result)

        return penalized

    def _add(self, loss: Any) -> Any:
        self._learning = self._learning or any(follower._network[0].training for follower in self.followers)
        for follower in self.followers:
            before, loss = loss, follower(loss)
            self.added = self.added or loss is not before
        return loss


def _as_it_is(loss: torch.Tensor) -> torch.Tensor:
    return loss


def _losses() -> Iterator[type[nn.Module]]:
    """Every class whose instances give a loss, and that itself says how."""
    spaces: list[tuple[ModuleType, type]] = [(nn.modules.loss, nn.Module), (timm.loss, nn.Module)]
    if tasks is not None:
        spaces.append((tasks, tasks.TrainingTask))
    for space, base in spaces:
        for each in dict.fromkeys(value for value in vars(space).values() if isinstance(value, type)):
            own = issubclass(each, base) and each.__module__.startswith(space.__name__)
            if own and "forward" in vars(each):
                yield each
