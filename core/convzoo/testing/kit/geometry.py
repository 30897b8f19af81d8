"""Checks of what a part makes of the groups and the dilation that it is given, convolution by convolution."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn

from convzoo.building.factory import Factory
from convzoo.errors import OptionError
from convzoo.spec.refs import Ref
from convzoo.testing.kit.probe import CHANNELS, Probe
from convzoo.testing.kit.promises import CheckFailed, promise
from convzoo.testing.kit.runs import close, evaluated
from convzoo.testing.kit.watch import Convolution, convolutions

INDIVISIBLE = 3
"""A number of groups that does not divide the usual channels."""


@promise("conv")
def honours_groups_and_dilation(probe: Probe) -> None:
    """It honours groups and a dilation or refuses them, and never ignores them, in any of its convolutions."""
    images = probe.images()
    _refuses_what_does_not_divide(probe, images)
    values = (("groups", (2, 4)), ("dilation", (1, 2)))
    widths = ((), *probe.other_widths())
    for ref, stride, each, (name, sizes) in itertools.product(probe.refs, (1, 2), widths, values):
        try:
            few, many = (probe.make(ref=ref, stride=stride, widths=each, **{name: size}) for size in sizes)
        except OptionError:
            continue
        images = probe.images(channels=next(iter(each), None))
        if name == "groups":
            ignored = sum(p.numel() for p in many.parameters()) >= sum(p.numel() for p in few.parameters())
        else:
            ignored = torch.equal(evaluated(many, images), evaluated(few, images))
        pairs = list(zip(convolutions(few, images), convolutions(many, images), strict=False))
        deaf = [number for number, (one, other) in enumerate(pairs, start=1) if _is_deaf(name, one, other)]
        if ignored or deaf:
            what = "takes no fewer weights" if name == "groups" else "computes the same"
            where = f" in convolution {deaf[0]} of {len(pairs)}" if deaf else ""
            raise CheckFailed(
                f"with stride {stride}, {name}={sizes[1]} {'does nothing' if deaf else what}"
                + (where or f" as {name}={sizes[0]}" if not deaf else where),
                means=f"a block that asks for {name} gets another network than it says",
                mend=f"hand {name} to every convolution, or leave the keyword out, so that the block is refused",
            )


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


def _is_deaf(name: str, few: Convolution, many: Convolution) -> bool:
    """Whether a convolution has not followed from one value to its double; side paths of other widths need not."""
    if name == "dilation":
        return many.dilation != 2 * few.dilation
    whole = few.channels == (CHANNELS, CHANNELS)
    return whole and few.groups == many.groups < CHANNELS


@promise("block", "shortcut")
def honours_dilation(probe: Probe) -> None:
    """It honours dilation, and first_dilation where it declares that, or refuses them; or it mixes no neighbours.

    The first convolutions of a block that mix neighbours have first_dilation, those behind them have dilation.
    """
    for ref, wide in itertools.product(probe.refs, (True, False)):
        sizes: dict[str, Any] = {"ref": ref} | ({} if wide or probe.kind == "shortcut" else {"widths": (40,)})
        try:
            made = [_plainly(probe, **sizes, dilation=d, first_dilation=f) for d, f in ((1, 1), (2, 1), (2, 2))]
        except OptionError:
            continue
        images = probe.images(channels=None if wide or probe.kind == "shortcut" else 40)
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
                f"{'a later' if conv.later else 'the first'} convolution has dilation {got} where {want} is asked for,"
                f" in that of {conv.channels[0]} to {conv.channels[1]} channels",
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
