"""Faulty parts and models, at least one for each check of the conformance kit; a sound one that they differ from."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional as F

import convzoo
from convzoo import Component, Model, OptionError, Pattern, Reference, Stage, ref
from convzoo.layers import Position

WORDS = "a part of a test"


class Attention(nn.Module):
    """Sound; the broken ones differ from it in one thing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight.view(-1, 1, 1)


BROKEN: list[tuple[str, Any]] = []
"""Name of the check that must catch it, and what is contributed."""


def broken(check: str, kind: str = "attention", **fields: Any) -> Callable[[Any], Any]:
    def add(target: Any) -> Any:
        BROKEN.append((check, Component(kind, target.__name__.lower(), target, WORDS, **fields)))
        return target

    return add


BROKEN.append(("names_code", Component("attention", "nowhere", "nowhere.to:be_found", WORDS)))
BROKEN.append(("names_code", Component("attention", "speechless", Attention)))


@broken("declares_options")
class Swallowing(Attention):
    def __init__(self, channels: int, **options: Any) -> None:
        super().__init__(channels)


@broken("declares_options")
class Untyped(Attention):
    def __init__(self, channels: int, *, rate=0.5) -> None:  # type: ignore[no-untyped-def]
        super().__init__(channels)


@broken("declares_shapes", "block")
class Boastful(Attention):
    def __init__(self, in_channels: int, *, stride: int = 1) -> None:
        super().__init__(in_channels)
        self.out_channels = 2 * in_channels


@broken("declares_shapes", "conv")
class Unpadded(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, dilation: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, dilation=dilation)


@broken("declares_shapes")
class EvenOnly(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(F.interpolate(F.avg_pool2d(x, 2), scale_factor=2))


@broken("declares_shapes", "stem")
class Hasty(nn.Conv2d):
    reduction = 2

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels, 8, 3, stride=4, padding=1)


@broken("declares_shapes", "head")
class Headless(nn.Linear):
    classifier_name = "fc"

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return super().forward(x.mean((2, 3)))


@broken("declares_shapes", "block", example={})
class Needy(Attention):
    def __init__(self, in_channels: int, *, planes: int) -> None:
        super().__init__(in_channels)
        self.out_channels = in_channels


@broken("honours_strides", "block")
class Stubborn(Attention):
    def __init__(self, in_channels: int, *, stride: int = 1) -> None:
        super().__init__(in_channels)
        self.out_channels = in_channels


@broken("honours_groups_and_dilation", "conv")
class Ungrouped(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1)


@broken("honours_groups_and_dilation", "conv")
class Undilated(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1)


@broken("honours_dilation", "block")
class Shortsighted(nn.Conv2d):
    def __init__(self, in_channels: int, *, dilation: int = 1) -> None:
        super().__init__(in_channels, in_channels, 3, padding=1)


@broken("honours_dilation", "block")
class HalfDilated(nn.Conv2d):
    def __init__(self, in_channels: int, *, dilation: int = 1, first_dilation: int = 1) -> None:
        super().__init__(in_channels, in_channels, 3, padding=dilation, dilation=dilation)


@broken("uses_what_it_is_offered")
class Headstrong(Attention):
    def __init__(self, channels: int, *, act: Callable[..., nn.Module] = nn.ReLU) -> None:
        super().__init__(channels)
        self.act = nn.ReLU()


class Quiet(Attention):
    """Sound, as long as nobody asks anything of it."""

    def __init__(self, in_channels: int, *, stride: int = 1, **_: Any) -> None:
        super().__init__(in_channels)
        if stride > 1:
            raise OptionError("no strides")
        self.out_channels = in_channels


@broken("uses_what_it_is_offered", "block")
class Closed(Quiet):
    def __init__(self, in_channels: int, *, attention: Callable[..., nn.Module] | None = None) -> None:
        super().__init__(in_channels)


@broken("uses_what_it_is_offered", "block")
class Narrow(Quiet):
    def __init__(self, in_channels: int, *, shortcut: Callable[..., nn.Module] = nn.Conv2d) -> None:
        super().__init__(in_channels)


@broken("drops_whole_branches", "block")
class Steady(Quiet):
    def __init__(self, in_channels: int, *, drop_path_rate: float = 0.0) -> None:
        super().__init__(in_channels)


@broken("leaves_its_input_alone")
class InPlace(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            x.mul_(0.5)
        return super().forward(x)


@broken("leaves_its_input_alone", "block")
class Hasting(Attention):
    """Sound behind every norm but one that gives its very input; and nobody can see that it works in place."""

    def __init__(self, in_channels: int, *, norm: Callable[..., nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__(in_channels)
        self.out_channels = in_channels
        self.norm = norm(in_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.norm(x).relu_()) + x


@broken("works_out_of_place_when_told", "act")
class Overwriting(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu_()


@broken("learns_with_every_parameter", example=({"idle": False}, {"idle": True}))
class Optional(Attention):
    """Sound with the first of its examples only."""

    def __init__(self, channels: int, *, idle: bool) -> None:
        super().__init__(channels)
        if idle:
            self.bias = nn.Parameter(torch.rand(channels))


@broken("learns_with_every_parameter")
class Idle(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.bias = nn.Parameter(torch.rand(channels))


@broken("learns_with_every_parameter")
class Rounded(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.level = nn.Parameter(torch.rand(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.level.round()


@broken("repeats_itself_in_eval_mode")
class AlwaysDropping(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(super().forward(x))


@broken("treats_samples_independently")
class Averse(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x - x.mean(0))


@broken("treats_samples_independently")
class Turning(Attention):
    """Sound in the first layer, and not in later ones."""

    def __init__(self, channels: int, *, position: Position | None = None) -> None:
        super().__init__(channels)
        self.later = position is not None and position.layer > 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x - x.mean(0) if self.later else x)


@broken("forgets_what_ran_before")
class Counting(Attention):
    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Counting.calls += 1
        return super().forward(x) * Counting.calls


@broken("forgets_what_ran_before")
class Eager(Attention):
    mean: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("mean", torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward(x)
        self.mean.lerp_(x.detach().mean((0, 2, 3)), 0.1)
        return out


@broken("draws_from_torch")
class Dicing(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (random.random() if self.training else 0.5)


@broken("draws_from_torch")
class Private(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "generator"):
            self.generator = torch.Generator()
        return super().forward(x) * (torch.rand(1, generator=self.generator).to(x) if self.training else 0.5)


@broken("holds_no_memory")
class Hoarding(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward(x)
        self.total = getattr(self, "total", 0) + out.mean()
        return out


@broken("holds_no_memory")
class Logging(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.log: list[float] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.log.append(float(x.detach().mean()))
        return super().forward(x)


@broken("keeps_its_state_in_state_dict")
class Secretive(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.scale = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.scale *= 0.9
        return super().forward(x) * self.scale


@broken("keeps_its_state_in_state_dict")
class Born(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("direction", torch.rand(channels, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.get_buffer("direction")


@broken("keeps_its_state_in_state_dict")
class Growing(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "seen"):
            self.register_buffer("seen", torch.ones(()))
        return super().forward(x)


@broken("follows_device_and_dtype")
class Settled(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + torch.ones(x.shape[1], 1, 1)


@broken("follows_device_and_dtype")
class Single(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).float()


@broken("keeps_channels_last")
class Reordering(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[:, torch.arange(x.shape[1] - 1, -1, -1)]


@broken("copies")
class Closing(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.scale = lambda x: x * 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale(super().forward(x))


@broken("copies")
class Sharing(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("factor", torch.ones(1))

    def __deepcopy__(self, memo: Any) -> Sharing:
        other = Sharing(len(self.weight))
        other.weight = self.weight
        return other


@broken("compiles")
class Undecided(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if x.sum() > 0 else super().forward(x) * 0.5


@broken("exports")
class OneBatch(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if x.shape[0] != 4 else super().forward(x) * 1.0


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


BASIC = ref("basic", planes=8)


def model(block: str | convzoo.Ref = BASIC, name: str = "tiny", **fields: Any) -> Model:
    stem = ref("cifar", width=8)
    return Model(name, "tiny", stem, (Stage((block,)),), num_classes=5, input_size=16, **fields)


# Counts of the sound one were measured; they cannot be read from a table, since nobody published it.
COUNTS = {"params": 1461, "macs": 350_248}
KEYLESS = convzoo.model_info("resnet18").spec.derived(name="keyless18", keys=((r"^head\.fc\.", "fc."),))
SILU = convzoo.model_info("resnet18").spec.derived(name="silu18", act=ref("silu"))
BROKEN += [
    ("builds_on_meta", model("nothing_of_that_name")),
    ("costs_what_it_pins", model()),
    ("costs_what_it_pins", model(**{**COUNTS, "params": 1460})),
    ("equals_its_reference", Model(**{**vars(KEYLESS), "references": (Reference("timm", "resnet18"),)})),
    ("equals_its_reference", Model(**{**vars(SILU), "references": (Reference("timm", "resnet18"),)})),
]


class Through(Attention):
    """Sound: a gate that looks at its input."""

    def gate(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3), keepdim=True).sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.gate(x)


@broken("differentiates_what_it_computes")
class Detaching(Through):
    def gate(self, x: torch.Tensor) -> torch.Tensor:
        return super().gate(x.detach())


@broken("differentiates_what_it_computes", "block")
class DetachingWhenStrided(nn.Module):
    def __init__(self, in_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.conv = nn.Conv2d(in_channels, in_channels, 3, stride, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.data if self.conv.stride[0] > 1 else x)


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return 2 * gradient


@broken("differentiates_what_it_computes")
class Doubling(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(_Doubled.apply(x))


@broken("differentiates_what_it_computes")
class DetachingInTraining(Through):
    """And that at random, so that the gradient has to be looked at on average."""

    def gate(self, x: torch.Tensor) -> torch.Tensor:
        return super().gate(F.dropout(x, 0.5).detach() if self.training else x)


@broken("differentiates_what_it_computes")
class MisledWeight(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (self.weight * self.weight.detach()).view(-1, 1, 1)


@broken("works_at_any_width")
class NothingHidden(Through):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.squeeze = nn.Parameter(torch.rand(channels // 16, 1, 1))


@broken("works_at_any_width", "conv")
class SquareOnly(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, in_channels, 3, padding=1)


@broken("works_at_any_width", "stem")
class ColourOnly(nn.Conv2d):
    reduction = 2

    def __init__(self, in_channels: int) -> None:
        super().__init__(3, 8, 3, stride=2, padding=1)


@broken("works_at_any_width")
class Divided(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.groups = nn.GroupNorm(16, channels)


@broken("works_at_any_width")
class Picky(Attention):
    def __init__(self, channels: int) -> None:
        if channels != 64:
            raise OptionError("only 64 channels")
        super().__init__(channels)


@broken("works_on_small_maps")
class Unbiased(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * x.var((2, 3), keepdim=True).sigmoid()


@broken("works_on_small_maps", "block")
class Windowed(nn.Module):
    def __init__(self, in_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.conv = nn.Conv2d(in_channels, in_channels, 3, stride, padding=1, padding_mode="reflect")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


@broken("stays_finite")
class Normalizing(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) / x.square().mean((1, 2, 3), keepdim=True).sqrt()


@broken("stays_finite")
class Rooting(Attention):
    """Its output is finite for zeros; its gradient is not."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * x.square().mean((2, 3), keepdim=True).sqrt()


@broken("stays_finite")
class Exponential(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = x.exp()
        return super().forward(x) * (weights / weights.sum((2, 3), keepdim=True))


@broken("stands_anywhere")
class ByStage(Attention):
    def __init__(self, channels: int, *, position: Position | None = None) -> None:
        super().__init__(channels)
        self.kernel = (3, 5, 5, 7)[position.stage if position else 0]


@broken("uses_what_it_is_offered", "block")
class HalfNormed(Quiet):
    def __init__(self, in_channels: int, *, norm: Callable[..., nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__(in_channels)
        self.first, self.second = norm(in_channels), nn.BatchNorm2d(in_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.second(self.first(x)))


@broken("uses_what_it_is_offered", "block")
class HalfActivated(Quiet):
    def __init__(self, in_channels: int, *, act: Callable[..., nn.Module] = nn.ReLU) -> None:
        super().__init__(in_channels)
        self.act = act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(super().forward(self.act(x)))


@broken("uses_what_it_is_offered", "block")
class Keeping(Quiet):
    """Makes an attention, and forgets it."""

    def __init__(self, in_channels: int, *, attention: Callable[..., nn.Module] | None = None) -> None:
        super().__init__(in_channels)
        self.attention = attention(in_channels) if attention else None


@broken("uses_what_it_is_offered", "block", example={"planes": 64})
class Miscounting(nn.Module):
    """Makes its attention for the channels in, and gives it those that come out."""

    def __init__(self, in_channels: int, *, planes: int, attention: Callable[..., nn.Module] | None = None) -> None:
        super().__init__()
        self.out_channels = planes
        self.conv = nn.Conv2d(in_channels, planes, 1)
        self.attention = attention(in_channels) if attention else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(self.conv(x))


class Residual(nn.Module):
    """Sound; what drops is in ``drop``."""

    def __init__(self, in_channels: int, *, stride: int = 1, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        self.out_channels, self.rate = in_channels, drop_path_rate
        self.branch = nn.Conv2d(in_channels, in_channels, 3, stride, padding=1)
        self.path = nn.Conv2d(in_channels, in_channels, 1, stride)

    def keep(self, x: torch.Tensor) -> torch.Tensor:
        return (
            x.new_empty(len(x), 1, 1, 1).bernoulli_(1 - self.rate) / (1 - self.rate) if self.training else x.new_ones(1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.branch(x) * self.keep(x) + self.path(x)


@broken("drops_whole_branches", "block")
class DroppingAll(Residual):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.branch(x) + self.path(x)) * self.keep(x)


@broken("drops_whole_branches", "block")
class DroppingUnlessStrided(Residual):
    def keep(self, x: torch.Tensor) -> torch.Tensor:
        return super().keep(x) if self.branch.stride[0] == 1 else x.new_ones(1)


@broken("drops_whole_branches", "block")
class DroppingUnscaled(Residual):
    def keep(self, x: torch.Tensor) -> torch.Tensor:
        return super().keep(x) * (1 - self.rate if self.training else 1)


@broken("drops_whole_branches", "block")
class DroppingPixels(Residual):
    def keep(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(torch.ones_like(x[:, :, :1, :1]), self.rate, self.training)


@broken("drops_whole_branches", "block")
class DroppingForEver(Residual):
    def keep(self, x: torch.Tensor) -> torch.Tensor:
        return super().keep(x) if self.training else x.new_ones(1) * (1 - self.rate)


@broken("drops_whole_branches", "block")
class KeepingByTheRate(Residual):
    """Takes the rate of dropping for that of keeping."""

    def keep(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.rate:
            return x.new_ones(1)
        return x.new_empty(len(x), 1, 1, 1).bernoulli_(self.rate) / self.rate


class Head(nn.Module):
    """Sound."""

    classifier_name = "fc"
    draws = True

    def __init__(
        self, in_channels: int, num_classes: int, *, drop_rate: float = 0.0, global_pool: Literal["avg", "max"] = "avg"
    ) -> None:
        super().__init__()
        self.in_channels, self.rate, self.pool = in_channels, drop_rate, global_pool
        self.reset(num_classes)

    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        self.pool = global_pool or self.pool
        self.fc = nn.Linear(self.in_channels, num_classes) if num_classes else nn.Identity()

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        x = x.mean((2, 3)) if self.pool == "avg" else x.amax((2, 3))
        x = F.dropout(x, self.rate, self.training)
        return x if pre_logits else self.fc(x)


@broken("drops_only_in_training", "head")
class Undropping(Head):
    def __init__(self, in_channels: int, num_classes: int, *, drop_rate: float = 0.0) -> None:
        super().__init__(in_channels, num_classes)


@broken("drops_only_in_training", "head")
class DroppingAlways(Head):
    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return super().forward(F.dropout(x, self.rate), pre_logits)


@broken("resets_to_what_is_asked", "head")
class DeafToPools(Head):
    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        super().reset(num_classes)


@broken("resets_to_what_is_asked", "head")
class KeepingItsClassifier(Head):
    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        if getattr(getattr(self, "fc", None), "out_features", None) != num_classes:
            super().reset(num_classes, global_pool)


@broken("honours_groups_and_dilation", "conv")
class HalfGrouped(nn.Sequential):
    def __init__(self, in_channels: int, out_channels: int, *, groups: int = 1) -> None:
        first = nn.Conv2d(in_channels, out_channels, 3, padding=1, groups=groups)
        super().__init__(first, nn.Conv2d(out_channels, out_channels, 3, padding=1))


@broken("honours_groups_and_dilation", "conv")
class DilatedTwice(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, dilation: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=dilation**2, dilation=dilation**2)


@broken("honours_dilation", "block")
class FirstDilationEverywhere(nn.Sequential):
    def __init__(self, in_channels: int, *, dilation: int = 1, first_dilation: int = 1) -> None:
        spread = {"padding": first_dilation, "dilation": first_dilation}
        super().__init__(*(nn.Conv2d(in_channels, in_channels, 3, **spread) for _ in range(2)))
        self.out_channels = in_channels


@broken("honours_dilation", "shortcut")
class UndilatedShortcut(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1)


@broken("leaves_the_process_alone")
class Seeding(Attention):
    def __init__(self, channels: int) -> None:
        torch.manual_seed(0)
        super().__init__(channels)


@broken("leaves_the_process_alone")
class Shuffling(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.scale = random.random()


@broken("leaves_the_process_alone")
class Switching(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.use_deterministic_algorithms(True)
        return super().forward(x)


@broken("starts_by_the_seed")
class Wild(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        generator = torch.Generator()
        generator.seed()
        self.register_buffer("direction", torch.rand(channels, generator=generator))


_SHARED = nn.Parameter(torch.rand(64))


@broken("starts_by_the_seed")
class Tied(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weight = _SHARED


@broken("follows_train_and_eval")
class Frozen(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.norm = nn.BatchNorm2d(channels)

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.norm.eval()
        return self


@broken("follows_train_and_eval")
class Retiring(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.eval()
        return super().forward(x)


@broken("holds_no_memory")
class Remembering(Attention):
    """Keeps something for every size of maps, in its class."""

    sizes: ClassVar[dict[tuple[int, ...], int]] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.sizes.setdefault(tuple(x.shape), 1)


@broken("runs_under_autocast")
class SinglePrecision(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed = F.conv2d(x, torch.eye(len(self.weight)).to(x)[:, :, None, None])
        return super().forward(mixed.index_add(0, torch.arange(len(x)), x))


@broken("copies")
class Holding(Attention):
    """Copies before it has trained."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last = super().forward(x)
        return self.last


@broken("draws_from_torch")
class Ageing(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.scale = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.scale *= 0.9 if self.training else 1
        return super().forward(x) * self.scale


@broken("has_weights_when_made", "conv")
class Lazy(nn.LazyConv2d):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(out_channels, 3, padding=1)


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


def _made(depth: str) -> Model:
    if depth == "7":
        raise KeyError(depth)
    if int(depth) > 20:
        raise convzoo.SpecError("a depth is 20 at most")
    return model(name=f"tiny{depth}")


def _made_twice(depth: str) -> Model:
    return _made(str(1 + int(depth[:1] or 0) % 3))


BROKEN += [
    ("goes_by_its_aliases", model(aliases=(ref("tinier", no_such_option=1),))),
    ("goes_by_its_aliases", model(aliases=(ref("tiniest", stem="no_such_stem"),))),
    ("makes_what_it_is_asked_for", Pattern("tiny{depth}", r"tiny(?P<depth>\d+)", _made)),
    ("makes_what_it_is_asked_for", Pattern("tiny{depth}", r"tiny(?P<depth>\d+)", _made_twice)),
    ("makes_what_it_is_asked_for", Pattern("tiny{depth}", r"tiny(?P<depth>[3-5])", _made, examples=("tiny7",))),
]


@broken("works_at_any_width", "block", example={"planes": 64})
class Fixed(nn.Module):
    """Has a scale of 64 entries, whatever its planes."""

    def __init__(self, in_channels: int, *, planes: int) -> None:
        super().__init__()
        self.out_channels = planes
        self.conv = nn.Conv2d(in_channels, planes, 1)
        self.scale = nn.Parameter(torch.rand(64, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) * self.scale


@broken("stays_finite", "norm")
class ByMoments(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean((2, 3), keepdim=True)
        variance = x.square().mean((2, 3), keepdim=True) - mean.square()
        return super().forward((x - mean) * (variance + 1e-5).rsqrt())


@broken("uses_what_it_is_offered", "shortcut")
class BareWhenStrided(nn.Sequential):
    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, norm: Callable[..., nn.Module] = nn.BatchNorm2d
    ) -> None:
        conv = nn.Conv2d(in_channels, out_channels, 1, stride)
        super().__init__(*((conv, norm(out_channels)) if stride == 1 else (conv,)))


@broken("leaves_the_process_alone")
class SeedingPython(Attention):
    def __init__(self, channels: int) -> None:
        random.seed(42)
        super().__init__(channels)


@broken("starts_by_the_seed")
class AllAlike(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        generator = torch.Generator().manual_seed(0)
        self.kernel = nn.Parameter(torch.randn(channels, channels, generator=generator))


@broken("follows_train_and_eval")
class RetiringAlone(Frozen):
    """When it sees a single sample."""

    train = Attention.train

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) == 1:
            self.norm.eval()
        return super().forward(self.norm(x))


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


@broken("stands_anywhere")
class Placed(Attention):
    """Cannot be made by hand, where nobody tells it its position."""

    def __init__(self, channels: int, *, position: Position | None = None) -> None:
        super().__init__(channels)
        self.first = position.index == 0  # type: ignore[union-attr]


@broken("works_at_any_width")
class ByEight(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.mix = nn.Conv2d(channels // 8 * 8, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(super().forward(x))


@broken("differentiates_what_it_computes", "block", example={"planes": 128})
class DetachingWhereEqual(nn.Module):
    def __init__(self, in_channels: int, *, planes: int) -> None:
        super().__init__()
        self.out_channels, self.equal = planes, in_channels == planes
        self.conv = nn.Conv2d(in_channels, planes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) + (x.detach() if self.equal else 0)


@broken("works_on_small_maps", "conv")
class Circular(nn.Conv2d):
    """Its padding wraps around more than once where a dilation is larger than the map."""

    def __init__(self, in_channels: int, out_channels: int, *, dilation: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=dilation, dilation=dilation, padding_mode="circular")


@broken("honours_groups_and_dilation", "conv")
class UngroupedWhenStrided(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1, groups=groups if stride == 1 else 1)


@broken("honours_groups_and_dilation", "conv")
class Dividing(nn.Conv2d):
    """Takes the largest number of groups that divides the channels, and does not say so."""

    def __init__(self, in_channels: int, out_channels: int, *, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, groups=math.gcd(groups, in_channels, out_channels))


@broken("drops_only_in_training", "head")
class DryAfterReset(Head):
    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        self.rate = 0.0 if hasattr(self, "fc") else self.rate
        super().reset(num_classes, global_pool)


@broken("uses_what_it_is_offered", "block", example={"planes": 64})
class Expanding(Miscounting):
    """Makes its attention for its planes, and more come out with any expansion but the default."""

    def __init__(
        self, in_channels: int, *, planes: int, expansion: int = 1, attention: Callable[..., nn.Module] | None = None
    ) -> None:
        super().__init__(planes, planes=planes * expansion, attention=attention)
        self.conv = nn.Conv2d(in_channels, self.out_channels, 1)


@broken("leaves_its_input_alone")
class Clipping(Attention):
    """Its input, where that is loud."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            x.clamp_(-20, 20)
        return super().forward(x)


@broken("learns_with_every_parameter")
class Decaying(Attention):
    """By itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward(x)
        self.weight.data.mul_(0.99)
        return out


@broken("follows_train_and_eval")
class BornRetired(Frozen):
    train = Attention.train

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.norm.eval()


@broken("follows_train_and_eval")
class Speechless(Attention):
    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        super().train(mode)


@broken("keeps_its_state_in_state_dict")
class Unregistered(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.strength = torch.full((), 0.5).requires_grad_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.strength


@broken("follows_device_and_dtype", "block")
class SingleMask(Residual):
    """Its mask of stochastic depth is float32."""

    def keep(self, x: torch.Tensor) -> torch.Tensor:
        return super().keep(x).float()


@broken("compiles", "block")
class Tossing(Residual):
    def keep(self, x: torch.Tensor) -> torch.Tensor:
        dropped = self.training and self.rate and torch.rand(()) < self.rate
        return x.new_zeros(1) if dropped else x.new_ones(1)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return torch.einsum("nihw,oi->nohw", x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, weight = ctx.saved_tensors
        return torch.einsum("nohw,oi->nihw", gradient, weight), torch.einsum("nohw,nihw->oi", gradient, x)


@broken("runs_under_autocast")
class PlainFunction(Attention):
    """Its own function does not know of autocast."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.matrix = nn.Parameter(torch.rand(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _Product.apply(super().forward(x), self.matrix)


@broken("honours_strides", "shortcut")
class StridedWithChannelsOnly(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 1, stride if in_channels != out_channels else 1)


@broken("resets_to_what_is_asked", "head")
class StaleWidth(nn.Module):
    """Its classifier has the width of the pool before."""

    classifier_name = "fc"

    def __init__(self, in_channels: int, num_classes: int, *, global_pool: Literal["avg", "both"] = "avg") -> None:
        super().__init__()
        self.width, self.pool = in_channels * (1 + (global_pool == "both")), global_pool
        self.reset(num_classes)

    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        self.pool = global_pool or self.pool
        self.fc = nn.Linear(self.width, num_classes) if num_classes else nn.Identity()

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        mean = x.mean((2, 3))
        x = torch.cat([mean, x.amax((2, 3))], 1) if self.pool == "both" else mean
        return x if pre_logits else self.fc(x)


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


@broken("treats_samples_independently")
class ByTheLoudest(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x / x.detach().abs().max().clamp(min=20))


@broken("learns_with_every_parameter")
class Sparing(Attention):
    """Does not learn on large maps."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and x[0, 0].numel() < 1000):
            return super().forward(x)


@broken("works_at_any_width")
class DroppingWhereWide(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(super().forward(x), 0.1, self.training or x.shape[1] > 256)


@broken("honours_groups_and_dilation", "conv")
class UngroupedWhereWidthsDiffer(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, groups=groups if in_channels == out_channels else 1)


@broken("keeps_channels_last", "conv")
class ShufflingGroups(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, *, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward(x)
        return (
            out.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2).contiguous() if self.groups > 1 else out
        )


@broken("uses_what_it_is_offered", "shortcut")
class OwnNormWhereItShrinks(nn.Sequential):
    def __init__(self, in_channels: int, out_channels: int, *, norm: Callable[..., nn.Module] = nn.BatchNorm2d) -> None:
        own = nn.BatchNorm2d if out_channels < in_channels else norm
        super().__init__(nn.Conv2d(in_channels, out_channels, 1), own(out_channels))


@broken("keeps_its_state_in_state_dict")
class Stale(Attention):
    """What it has computed in eval mode, whatever is loaded then."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training or not hasattr(self, "scale"):
            self.scale = self.weight.detach().clone()
        return x * (self.weight if self.training else self.scale).view(-1, 1, 1)


@broken("keeps_its_state_in_state_dict")
class StaleUntilToldAMode(Stale):
    def train(self, mode: bool = True) -> StaleUntilToldAMode:
        self.__dict__.pop("scale", None)
        super().train(mode)
        return self


@broken("forgets_what_ran_before")
class Bounding(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            self.weight.clamp_(-3, 3)
        return super().forward(x)


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


@broken("resets_to_what_is_asked", "head")
class Waking(Head):
    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        super().reset(num_classes, global_pool)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return super().forward(self.drop(x), pre_logits)


@broken("runs_under_autocast", "norm")
class Following(Attention):
    """Moves its statistics towards those of its input, in whatever type that is."""

    mean: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("mean", torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.mean.lerp_(x.detach().mean((0, 2, 3)), 0.1)
        return super().forward(x) - self.mean.view(-1, 1, 1)


@broken("starts_tensors_of_the_model", "init")
def late(model: nn.Module) -> Any:
    weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    fills = []
    for weight in weights:
        fills.append((weight, lambda tensor: weight.normal_()))  # noqa: B023
    return fills


@broken("declares_shapes", "stem")
class PoolingFirst(nn.Module):
    """Pools before its activation, which is right for a ReLU only, and not what its level says."""

    out_channels, reduction = 8, 4

    def __init__(self, in_channels: int, *, act: Callable[..., nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 8, 3, 2, padding=1)
        self.act, self.pool = act(), nn.MaxPool2d(3, 2, padding=1)
        self.feature_info = {"num_chs": 8, "reduction": 2}

    def forward_intermediates(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        level = self.act(self.conv(x))
        return self.pool(level), [level]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.pool(self.conv(x)))
