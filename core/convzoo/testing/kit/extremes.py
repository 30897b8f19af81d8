"""Checks of a part where networks and images are not of the usual size: narrow, small, dead or loud."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from convzoo.errors import OptionError
from convzoo.spec.kinds import Position
from convzoo.testing.kit.case import PLAIN, Case
from convzoo.testing.kit.cases import all_cases, plain_cases, usual_cases
from convzoo.testing.kit.combinations import combined_cases
from convzoo.testing.kit.probe import CHANNELS, CLASSES, Probe
from convzoo.testing.kit.promises import MODULES, STRIDED, CheckFailed, NotApplicable, promise
from convzoo.testing.kit.runs import difference, evaluated, step

CHANNEL_COUNTS = (8, 12, 20, 24, 27, 33, 40, 44, 50, 56, 72, 100, 112, 128, 512)
"""Narrow, uneven, odd, divisible by 4 only, and wide."""
IMAGE_CHANNELS = (1, 3, 4)
SMALL = ((1, 1), (1, 3), (2, 2), (3, 3))
"""Feature maps, in pixels, as deep networks and small images have them."""
POSITIONS = (Position(0, 0, 0, 1), Position(0, 3, 3, 12), Position(4, 0, 9, 12), Position(7, 5, 40, 48))
"""Of a network of one layer, and of networks with more than four stages."""


@promise(*MODULES)
def works_at_any_width(probe: Probe) -> None:
    """It works with few, uneven and many channels, with more or fewer in than out, or refuses them by OptionError."""
    refused, worked = [], 0
    for said, sizes in _sizes(probe):
        try:
            module = probe.make(**sizes)
        except OptionError as error:
            refused.append(str(error))
            continue
        except Exception as error:
            raise CheckFailed(
                f"with {said}, it fails when it is made: {type(error).__name__}: {error}",
                means="no message says which networks it cannot be used in",
                mend="compute hidden widths so that they are at least 1, or raise OptionError in the constructor",
            ) from error
        worked += 1
        if empty := [name for name, parameter in module.named_parameters() if not parameter.numel()]:
            raise CheckFailed(
                f"with {said}, {', '.join(empty)} has no elements",
                means="in narrow stages it does nothing, and says nothing",
                mend="let hidden widths be at least 1: max(1, channels // reduction)",
            )
        widths = sizes.get("widths", ())
        images = probe.images(batch=2, channels=widths[0] if widths else None)
        try:
            out = evaluated(module, images)
            again = evaluated(module, images)
        except Exception as error:
            raise CheckFailed(
                f"with {said}, it fails: {type(error).__name__}: {error}",
                means="it is only made for the width that it was tried with",
                mend="compute every width from what the constructor is given, or raise OptionError there",
            ) from error
        if not torch.equal(out, again):
            raise CheckFailed(
                f"with {said}, eval outputs of one input differ by {difference(out, again):.3g}",
                means="accuracy changes from run to run",
                mend="draw random numbers only `if self.training`",
            )
        expected = _channels_out(probe, module, widths)
        if out.shape[:2] != (2, expected):
            raise CheckFailed(
                f"with {said}, it gives {tuple(out.shape[:2])} samples and channels, not {(2, expected)}",
                means="the layer behind it is made for other channels",
                mend="let what comes out be what the constructor is told, and what out_channels says",
            )
    if not worked:
        raise CheckFailed(
            f"it refuses every width but {CHANNELS}: {refused[0]}",
            means="no network has one width only",
            mend="take any number of channels, or those that an option divides",
        )


def _sizes(probe: Probe) -> Iterator[tuple[str, dict[str, Any]]]:
    """What it is made with, and how to say it: other numbers of channels, and other values of options for widths."""
    for ref, widths in itertools.product(probe.refs, _widths(probe)):
        arguments = zip(probe.part.kind.arguments, widths, strict=True)
        yield ", ".join(f"{name} {value}" for name, value in arguments), {"ref": ref, "widths": widths}
    yield from probe.wider()


def _widths(probe: Probe) -> list[tuple[int, ...]]:
    if probe.kind == "stem":
        return [(channels,) for channels in IMAGE_CHANNELS]
    if probe.kind == "head":
        return list(zip(CHANNEL_COUNTS, itertools.cycle((1, 2, 5, 7, 100, CLASSES, 1000)), strict=False))
    count = len(probe.part.kind.arguments)
    if count < 2:
        return [(channels,) * count for channels in CHANNEL_COUNTS]
    return [(8, 8), (24, 40), (40, 24), (27, 35), (44, 44), (50, 50), (56, 100), (128, 128), (128, 64), (64, 128)]


def _channels_out(probe: Probe, module: nn.Module, widths: tuple[int, ...]) -> int:
    if probe.kind in ("stem", "block"):
        return int(module.out_channels)  # type: ignore[arg-type]
    return widths[-1] if widths else CHANNELS


@promise(*MODULES)
def works_on_small_maps(probe: Probe) -> None:
    """It works on maps of one to three pixels, in training and in eval mode, as late stages have them."""
    cases = [case for case in plain_cases(probe) if case.stride == 1]
    for case, size in itertools.product(cases, SMALL):
        _small(probe, case, size, 1)
    for case in usual_cases(probe):
        _single(case)
    if probe.kind in STRIDED:
        for case in (case for case in usual_cases(probe) if case.stride == 2):
            up = evaluated(case.make(), probe.images(size=(3, 3))).shape[2] == 2
            for size in SMALL[0 if up else 2 :]:
                _small(probe, case, size, 2)


def _single(case: Case) -> None:
    """Raise CheckFailed if a step of training on one pixel, which norms may refuse, spoils the part."""
    module, images = case.make().train(), case.images(batch=1, size=(case.stride, case.stride))
    try:
        with torch.no_grad():
            module(images.clone())
    except ValueError:  # as torch's batch norm does
        return
    spoiled = [name for name, tensor in module.state_dict().items() if not tensor.isfinite().all()]
    if spoiled or not evaluated(module, images).isfinite().all():
        what = ", ".join(spoiled) or "its output"
        raise CheckFailed(
            f"with {case.name}, training on one image of one pixel leaves {what} not finite",
            means="one last batch of a single image spoils all that was trained",
            mend="refuse to train on single values by ValueError, as torch's norms do, or divide by no less than 1",
        )


def _small(probe: Probe, case: Case, size: tuple[int, int], stride: int) -> None:
    module, images = case.make(), case.images(size=size)
    where = f"with {case.name}, on maps of {images.shape[2]}x{images.shape[3]} pixels"
    try:
        out = step(module, images)
        again = evaluated(module, images)
    except Exception as error:
        raise CheckFailed(
            f"{where}, it fails: {type(error).__name__}: {error}",
            means="networks with it work from some image size on only",
            mend="pad by kernel_size // 2 * dilation, let pools be no larger than the map, and divide by numbers of"
            " pixels that are not 0",
        ) from error
    sides = {(math.ceil(size[0] / stride), math.ceil(size[1] / stride)), (size[0] // stride, size[1] // stride)}
    fits = out.ndim != 4 or probe.kind == "stem" or tuple(out.shape[2:]) in sides
    if not fits or out.shape != again.shape or not (out.isfinite().all() and again.isfinite().all()):
        raise CheckFailed(
            f"{where}, it gives {tuple(out.shape)}"
            + ("" if out.isfinite().all() and again.isfinite().all() else ", and values that are not finite"),
            means="in late stages, and on small images, it computes something else or nothing",
            mend="compute sizes from x.shape and the stride; deviations over one pixel are 0, so add an eps to them",
        )


@promise(*MODULES)
def stays_finite(probe: Probe) -> None:
    """For zeros, constant, dead and loud channels its output and all gradients are finite, in both modes."""
    for number, case in enumerate(all_cases(probe)):
        extremes = list(_extremes(case).items())
        if case in combined_cases(probe):  # one of them each
            extremes = [extremes[number % len(extremes)]]
        for name, images in extremes:
            module = case.make()
            for training in (True, False):
                module.train(training).zero_grad(set_to_none=True)
                x = images.clone().requires_grad_()
                out = module(x * 1)  # which an activation may overwrite
                if out.requires_grad:
                    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
                gradients = {"its input": x.grad, **{n: p.grad for n, p in module.named_parameters()}}
                bad = [n for n, each in gradients.items() if each is not None and not each.isfinite().all()]
                if out.isfinite().all() and not bad:
                    continue
                what = f"the gradient of {', '.join(bad)}" if out.isfinite().all() else "the output"
                raise CheckFailed(
                    f"with {case.name}, in {'training' if training else 'eval'} mode, for {name} {what} is not finite",
                    means="one black image, or one channel that died, turns all weights into nan",
                    mend="add an eps under roots and below fractions, clamp what logarithms get, and take the maximum"
                    " away before exp(), as softmax does",
                )


def _extremes(case: Case) -> dict[str, torch.Tensor]:
    images = case.images(size=(5, 4), **PLAIN)
    constant = torch.linspace(-1, 1, images.shape[1]).view(-1, 1, 1).expand_as(images).clone()
    dead = images.clone()
    dead[:, ::2] = 0
    return {
        "zeros": torch.zeros_like(images),
        "constant channels": constant,
        "dead channels": dead,
        "values around 100": images * 100,
        "a large mean": 1000 + images * 1e-3,
    }


@promise(*MODULES)
def stands_anywhere(probe: Probe) -> None:
    """If it reads its position, it works in a network of one layer, in one of eight stages, and where none is told."""
    if not probe.part.declares("position"):
        raise NotApplicable("it does not declare position")
    positions: list[Position | None] = [*POSITIONS]
    if probe.part.signature.parameters["position"].default is None:
        positions.append(None)
    for ref, position in itertools.product(probe.refs, positions):
        try:
            evaluated(probe.make(ref=ref, position=position), probe.images())
        except OptionError:
            continue
        except Exception as error:
            raise CheckFailed(
                f"at {position or 'position None'} it fails: {type(error).__name__}: {error}",
                means="it is only made for networks of the usual four stages, or for networks",
                mend="compute what depends on the position for any number of stages and layers, and for None, or raise"
                " OptionError",
            ) from error
