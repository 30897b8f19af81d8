"""Checks of what a part makes of the groups and the dilation that it is given, convolution by convolution."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn

from convzoo.building.factory import Factory
from convzoo.errors import OptionError
from convzoo.spec.refs import Ref
from convzoo.testing.kit.combinations import combined_cases
from convzoo.testing.kit.probe import CHANNELS, Probe
from convzoo.testing.kit.promises import CheckFailed, promise
from convzoo.testing.kit.runs import close, evaluated
from convzoo.testing.kit.watch import Convolution, convolutions

DEPTHWISE = (2, 0)
"""Groups, of which 0 stands for as many as channels."""
INDIVISIBLE = 3
"""A number of groups that does not divide the usual channels."""


@promise("conv")
def honours_groups_and_dilation(probe: Probe) -> None:
    """It honours groups and a dilation or refuses them, and never ignores them, in any of its convolutions."""
    images = probe.images()
    _refuses_what_does_not_divide(probe, images)
    values = (("groups", (2, 4)), ("groups", DEPTHWISE), ("dilation", (1, 2)))
    usual = itertools.product(probe.refs, (1, 2), ((), *probe.other_widths()))
    bases = [{"ref": ref, "stride": stride, "widths": widths} for ref, stride, widths in usual]
    bases += [{**base, other: 2} for base in bases if not base["widths"] for other in ("groups", "dilation")]
    for base, (name, sizes) in itertools.product([*bases, *_combined(probe)], values):
        if name in base:
            continue
        widths = base["widths"] or probe.usual
        if sizes == DEPTHWISE:
            if widths[0] != widths[1]:
                continue
            sizes = (2, widths[0])
        try:
            few, many = (probe.make(**base, **{name: size}) for size in sizes)
        except OptionError:
            continue
        images = probe.images(channels=widths[0])
        pairs = list(zip(*(convolutions(each, images, pixels=name == "groups") for each in (few, many)), strict=False))
        if name == "groups":
            ignored = sum(p.numel() for p in many.parameters()) >= sum(p.numel() for p in few.parameters())
        else:  # a kernel of one pixel has no dilation
            ignored = bool(pairs or base in bases) and torch.equal(evaluated(many, images), evaluated(few, images))
        deaf = [number for number, (one, other) in enumerate(pairs, start=1) if _is_deaf(name, one, other, widths)]
        if ignored or deaf:
            what = "takes no fewer weights" if name == "groups" else "computes the same"
            where = f" in convolution {deaf[0]} of {len(pairs)}" if deaf else ""
            raise CheckFailed(
                f"with {_said(base)}, {name}={sizes[1]} {'does nothing' if deaf else what}"
                + (where or f" as {name}={sizes[0]}" if not deaf else where),
                means=f"a block that asks for {name} gets another network than it says",
                mend=f"hand {name} to every convolution, or leave the keyword out, so that the block is refused",
            )


def _combined(probe: Probe) -> list[dict[str, Any]]:
    """What the combined cases are made with, but for what is asked of convolutions."""
    return [{name: value for name, value in case.geometry.items() if name in BASE} for case in combined_cases(probe)]


BASE = ("ref", "widths", "stride")


def _said(base: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in base.items() if value)


def _refuses_what_does_not_divide(probe: Probe, images: torch.Tensor) -> None:
    """Raise CheckFailed if groups that do not divide the channels become others."""
    try:
        found = convolutions(probe.make(groups=INDIVISIBLE), images)
    except (OptionError, ValueError, RuntimeError):
        return
    if found and all(convolution.groups != INDIVISIBLE for convolution in found):
        raise CheckFailed(
            f"groups={INDIVISIBLE} of {CHANNELS} channels is taken, and no convolution has {INDIVISIBLE} groups",
            means=f"a block that asks for {INDIVISIBLE} groups gets another network than it says",
            mend="raise OptionError for groups that do not divide the channels, as convzoo.layers.conv2d does",
        )


def _is_deaf(name: str, few: Convolution, many: Convolution, widths: tuple[int, ...]) -> bool:
    """Whether a convolution has not followed from one value to its double; side paths of other widths need not."""
    if name == "dilation":
        return many.dilation != 2 * few.dilation
    return few.channels == widths and few.groups == many.groups and few.groups not in widths


@promise("block", "shortcut")
def honours_dilation(probe: Probe) -> None:
    """It honours dilation, and first_dilation where it declares that, or refuses them; or it mixes no neighbours.

    The first convolutions of a block that mix neighbours have first_dilation, those behind them have dilation.
    """
    uneven = () if probe.kind == "shortcut" else (40,)
    bases = [{"ref": ref, "widths": widths} for ref in probe.refs for widths in ((), uneven)]
    for base in [*bases, *_combined(probe)]:
        try:
            made = [_plainly(probe, **base, dilation=d, first_dilation=f) for d, f in ((1, 1), (2, 1), (2, 2))]
        except OptionError:
            continue
        images = probe.images(channels=next(iter(base["widths"]), None))
        if base.get("stride", 1) == 1:
            _look_for_deaf_outputs(probe, made, images)
        plain, half, whole = (convolutions(module, images) for module in made)
        if probe.kind == "shortcut":
            wrong = [(2 * c.dilation, c.dilation, c) for c in whole if c.dilation % 2]
        elif len(plain) == len(half) == len(whole):
            split = probe.part.declares("first_dilation")
            wanted = [p.dilation * (1 if split and not p.later else 2) for p in plain]
            wrong = [(2 * p.dilation, w.dilation, w) for p, w in zip(plain, whole, strict=True)]
            wrong += [(want, h.dilation, h) for want, h in zip(wanted, half, strict=True)]
            wrong = [each for each in wrong if each[0] != each[1]]
        else:
            continue
        if wrong:
            want, got, conv = wrong[0]
            raise CheckFailed(
                f"with {_said(base)}, {'a later' if conv.later else 'the first'} convolution has dilation {got} where"
                f" {want} is asked for, in that of {conv.channels[0]} to {conv.channels[1]} channels",
                means="with output_stride or dilated stages it sees another part of the image than a network of that"
                " name does",
                mend=MEND,
            )


MEND = (
    "give first_dilation to the convolution that has the stride and dilation to those behind it, or leave the keyword"
    " out, so that dilation is refused"
)


def _plainly(probe: Probe, **sizes: Any) -> nn.Module:
    """The part with a plain convolution in its slot ``conv``, which may otherwise be several."""
    if "conv" in probe.part.slots:
        try:
            return probe.make(**sizes, offers={"conv": Factory(probe.registry, "conv", Ref("plain"), {})})
        except OptionError:
            pass
    return probe.make(**sizes)


def _look_for_deaf_outputs(probe: Probe, made: list[nn.Module], images: torch.Tensor) -> None:
    plain, half, whole = made
    shuffled = torch.randperm(images[0, 0].numel(), generator=torch.Generator().manual_seed(0))

    def shuffle(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2)[..., shuffled].view_as(x)

    if close(evaluated(plain, shuffle(images)), shuffle(evaluated(plain, images)), 1e-5):
        return  # where a pixel stands means nothing to it
    for name, other in {"dilation": plain, "first_dilation": half}.items():
        if probe.kind == "shortcut" and name == "first_dilation":
            continue  # it need not look at both
        if probe.part.declares(name) and torch.equal(evaluated(whole, images), evaluated(other, images)):
            raise CheckFailed(
                f"{name}=2 computes the same as {name}=1, though it mixes neighbouring pixels",
                means="with output_stride or dilated stages it sees less of the image than a network of that name does",
                mend=MEND,
            )
