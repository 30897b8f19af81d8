"""Faulty parts: schedules, penalties, deployed forms and inits."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import convzoo

from .sound import Attention, broken


@broken("follows_the_schedule")
class OneAtATime(Attention):
    """Takes one step a call, however far the training is."""

    done: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("done", torch.zeros(()))

    def set_progress(self, progress: float) -> None:
        if progress * 4 >= self.done + 1:
            self.done += 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (1 - self.done / 8)


@broken("follows_the_schedule")
class GoingBack(OneAtATime):
    def set_progress(self, progress: float) -> None:
        self.done.fill_(progress)


@broken("follows_the_schedule")
class Public(OneAtATime):
    share = 0.0

    def set_progress(self, progress: float) -> None:
        Public.share = max(Public.share, progress)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Attention.forward(self, x) * (1 - Public.share / 2)


@broken("follows_the_schedule")
class Forgetful(OneAtATime):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.share = 0.0

    def set_progress(self, progress: float) -> None:
        self.share = max(self.share, progress if progress < 1 else 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Attention.forward(self, x) * (1 - self.share / 2)


@broken("penalizes_by_the_rules")
class Detached(Attention):
    def penalty(self) -> torch.Tensor:
        return self.weight.detach().square().sum()


@broken("penalizes_by_the_rules")
class Infinite(Attention):
    def penalty(self) -> torch.Tensor:
        return (self.weight / 0).square().sum()


@broken("penalizes_by_the_rules")
class Shrinking(Attention):
    def penalty(self) -> torch.Tensor:
        with torch.no_grad():
            self.weight.mul_(0.9)
        return self.weight.square().sum()


@broken("deploys_by_the_rules")
class Inexact(Attention):
    def deploy(self) -> nn.Module:
        return nn.Identity()


@broken("deploys_by_the_rules")
class Never(Attention):
    def deploy(self) -> nn.Module:
        raise convzoo.LifecycleError("not yet, at progress 2 perhaps")


@broken("starts_tensors_of_the_model", "init")
def strangers(model: nn.Module) -> Any:
    yield torch.empty(3), nn.init.zeros_


@broken("starts_tensors_of_the_model", "init")
def endless(model: nn.Module) -> Any:
    for parameter in model.parameters():
        yield parameter, lambda tensor: tensor.fill_(float("inf"))


class Folding(nn.Module):
    """Sound but for what its ``fold`` may leave out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)

    def fold(self, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
        norm = self.norm
        scale = norm.weight / (norm.running_var + eps).sqrt()  # type: ignore[operator]
        return scale, norm.bias - norm.running_mean * scale  # type: ignore[operator]

    def deploy(self) -> nn.Module:
        with torch.no_grad():
            return Affine(*self.fold(self.norm.eps))


class Affine(nn.Module):
    def __init__(self, scale: torch.Tensor, shift: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.view(-1, 1, 1))
        self.register_buffer("shift", shift.view(-1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + self.shift  # type: ignore[no-any-return,operator]


@broken("deploys_by_the_rules")
class Careless(Folding):
    """Right where variances are large."""

    def deploy(self) -> nn.Module:
        with torch.no_grad():
            return Affine(*self.fold(1e-6))


@broken("deploys_by_the_rules")
class Recording(Folding):
    """Keeps the graph that its other form was computed by."""

    def deploy(self) -> nn.Module:
        return Affine(*self.fold(self.norm.eps))


@broken("deploys_by_the_rules")
class Overhasty(Folding):
    """Changes the original."""

    def deploy(self) -> nn.Module:
        self.norm.eval()
        return super().deploy()


@broken("deploys_by_the_rules")
class Handing(Folding):
    """Hands on its own tensors."""

    def deploy(self) -> nn.Module:
        return nn.Sequential(self.norm)


@broken("deploys_by_the_rules")
class BatchNormsOnly(Folding):
    def __init__(self, channels: int, *, norm: Callable[..., nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__(channels)
        self.norm = norm(channels)


@broken("starts_tensors_of_the_model", "init")
def by_python(model: nn.Module) -> Any:
    for parameter in model.parameters():
        yield parameter, lambda tensor: tensor.fill_(random.random())


@broken("starts_tensors_of_the_model", "init")
def spread(model: nn.Module) -> Any:
    for parameter in model.parameters():
        yield parameter, lambda tensor: tensor.normal_().div_(tensor.std())


@broken("starts_tensors_of_the_model", "init")
def flat(model: nn.Module) -> Any:
    for parameter in model.parameters():
        yield parameter, lambda tensor: tensor.fill_(0.1)


@broken("starts_tensors_of_the_model", "init")
def alike(model: nn.Module) -> Any:
    for parameter in model.parameters():
        yield parameter, lambda tensor: tensor.copy_(torch.randn_like(tensor[:1]).expand_as(tensor))


@broken("penalizes_by_the_rules")
class RootOfNothing(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.gain = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.gain

    def penalty(self) -> torch.Tensor:
        return self.gain.square().sum().sqrt()


@broken("deploys_by_the_rules")
class UsualEps(Folding):
    def __init__(self, channels: int, *, norm: Callable[..., nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__(channels)
        self.norm = norm(channels)

    def deploy(self) -> nn.Module:
        if not isinstance(self.norm, nn.BatchNorm2d):
            return copy.deepcopy(self)
        with torch.no_grad():
            return Affine(*self.fold(1e-5))


@broken("deploys_by_the_rules")
class Ungraded(Folding):
    """Leaves the process without gradients."""

    def deploy(self) -> nn.Module:
        torch.set_grad_enabled(False)
        return Affine(*(each.clone() for each in self.fold(self.norm.eps)))


@broken("starts_tensors_of_the_model", "init")
def late(model: nn.Module) -> Any:
    weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    fills = []
    for weight in weights:
        fills.append((weight, lambda tensor: weight.normal_()))  # noqa: B023
    return fills


@broken("deploys_by_the_rules")
class DeployedOnce(Folding):
    """Gives what it has given before."""

    kept: nn.Module | None = None

    def deploy(self) -> nn.Module:
        self.kept = self.kept or super().deploy()
        return copy.deepcopy(self.kept)


@broken("follows_the_schedule")
class FinishedOnTheSide(Attention):
    """Whether it may be deployed is not in its state dict."""

    finished = False

    def set_progress(self, progress: float) -> None:
        self.finished = self.finished or progress >= 0.5

    def deploy(self) -> nn.Module:
        if not self.finished:
            raise convzoo.LifecycleError("not before progress 0.5")
        return copy.deepcopy(self)


@broken("starts_tensors_of_the_model", "init")
def seeding(model: nn.Module) -> Any:
    def fill(tensor: torch.Tensor) -> None:
        torch.manual_seed(0)
        tensor.normal_()

    for parameter in model.parameters():
        yield parameter, fill


@broken("starts_tensors_of_the_model", "init")
def at_once(model: nn.Module) -> Any:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            yield module.weight, nn.init.kaiming_normal_


@broken("starts_tensors_of_the_model", "init")
def of_unit_deviation(model: nn.Module) -> Any:
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.PReLU)):
            yield module.weight, lambda tensor: tensor.normal_().div_(tensor.std())


class Learning(Attention):
    """Sound but for what becomes of its activation when it is deployed."""

    def __init__(self, channels: int, *, act: Callable[..., nn.Module] = nn.ReLU) -> None:
        super().__init__(channels)
        self.act = act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(super().forward(x))

    def deploy(self) -> nn.Module:
        deployed = copy.deepcopy(self)
        deployed.act = self.other()
        return deployed


@broken("deploys_by_the_rules")
class MakingAnother(Learning):
    """Forgets what the activation has learned."""

    def other(self) -> nn.Module:
        return type(self.act)().to(self.weight.dtype)


@broken("deploys_by_the_rules")
class HandingTheActivation(Learning):
    def other(self) -> nn.Module:
        return self.act


@broken("deploys_rewritten", "attention")
class AnsweringATracerOtherwise(nn.Module):
    """Works on plain tensors alone, and lets others through."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        return y * 2 if type(x) is torch.Tensor else y
