"""Combinations of what a part may meet: few, drawn so that as many pairs of values as possible come together."""

from __future__ import annotations

import contextlib
import functools
import itertools
import random
import types
import typing
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from convzoo.layers import Maker
from convzoo.spec.kinds import kind_of
from convzoo.spec.refs import Ref
from convzoo.testing.kit.case import Case
from convzoo.testing.kit.probe import POSITIONS, Probe
from convzoo.testing.kit.runs import evaluated

COUNT = 12
"""Combined cases of a part."""
CANDIDATES = 24
"""Combinations that are drawn for each one that is taken."""
LOOKS: dict[str, Sequence[Any]] = {
    "size": ((9, 7), (1, 1), (2, 3), (5, 4), (17, 16)),
    "batch": (4, 2, 3),
    "loudness": (1.0, 30.0, 0.01),
    "mean": (0.0, 2.0),
}
"""What images may be like."""
TWO: tuple[tuple[int, ...], ...] = ((64, 64), (32, 64), (64, 32), (8, 8), (24, 40), (40, 24), (32, 128), (128, 32))
WIDTHS: dict[str, Sequence[tuple[int, ...]]] = {
    "stem": ((3,), (1,), (4,)),
    "head": ((64, 10), (24, 7), (160, 2), (48, 1)),
    "block": ((64,), (24,), (32,), (128,)),
    "act": ((),),
    "conv": TWO,
    "shortcut": TWO,
}
"""What parts are called with; others get so many channels as in :data:`CHANNELS`."""
CHANNELS = (64, 8, 24, 48, 160)
DEPTHWISE = "as many as channels"


class Affine(nn.Module):
    """A norm without statistics."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight + self.bias


def _affine(channels: int, **_: Any) -> nn.Module:
    return Affine(channels)


MAKERS: dict[str, dict[str, Maker | None]] = {
    "norm": {
        "batch": None,
        "batch(eps=0.1)": lambda channels, **_: nn.BatchNorm2d(channels, eps=0.1),
        "an affine one": _affine,
    },
    "act": {"relu": None, "silu": lambda **_: nn.SiLU(), "tanh": lambda **_: nn.Tanh()},
}
"""What may be offered, by what it is called; None is what is offered otherwise."""


@functools.cache
def combined_cases(probe: Probe) -> list[Case]:
    """Geometries, options, offers and images that come together, in a few cases that the part does not refuse."""

    def case(chosen: dict[str, Any]) -> Case:
        geometry = {name: value for name, value in chosen.items() if name not in (*LOOKS, *makers)}
        if "dilation" in geometry:
            geometry["dilation"], geometry["first_dilation"] = geometry["dilation"]
        if geometry.get("groups") == DEPTHWISE:
            geometry["groups"] = geometry["widths"][0]
        offers = {name: made[chosen[name]] for name, made in makers.items() if name in chosen}
        geometry["offers"] = {name: maker for name, maker in offers.items() if maker}
        said = ", ".join(f"{name} {value}" for name, value in chosen.items())
        look = {name: chosen[name] for name in LOOKS}
        look["size"] = tuple(max(side, geometry.get("stride", 1)) for side in look["size"])
        return Case(said, probe, geometry, look)

    makers = _makers(probe)
    factors = {**_factors(probe), **{name: tuple(made) for name, made in makers.items()}, **LOOKS}
    factors = {name: values for name, values in factors.items() if len(values) > 1}
    seed = zlib.crc32(f"{probe.kind}/{probe.component.name}".encode())
    return [case(each) for each in covering(factors, COUNT, seed, lambda each: case(each).is_possible())]


def _factors(probe: Probe) -> dict[str, Sequence[Any]]:
    """What may be combined, beside the images."""
    part = probe.part
    factors: dict[str, Sequence[Any]] = {
        "ref": [*probe.refs, *(ref for _, ref in other_refs(probe))],
        "widths": WIDTHS.get(probe.kind, [(width,) * len(part.kind.arguments) for width in CHANNELS]),
    }
    if "stride" in part.kind.honoured:
        factors["stride"] = (1, 2, 3)
    if part.declares("dilation"):
        factors["dilation"] = ((1, 1), (2, 1), (2, 2), (4, 2))
    if "groups" in part.kind.honoured:
        factors["groups"] = (1, 2, 4, 8, DEPTHWISE)
    if part.declares("position"):
        factors["position"] = POSITIONS
    if probe.kind == "block":
        factors["drop_path_rate"] = (0.0, 0.2)
    return factors


def _makers(probe: Probe) -> dict[str, dict[str, Maker | None]]:
    """What the part may be offered under each name: norms, activations, and parts for slots that are empty."""
    offered = {name: makers for name, makers in MAKERS.items() if probe.part.declares(name)}
    return offered | {slot: {"empty": None, "an affine one": _affine} for slot in empty_slots(probe)}


def empty_slots(probe: Probe) -> list[str]:
    """Slots that nothing stands in by default, and whose parts keep the shape."""
    slots = (name for name in probe.part.slots if kind_of(name).shape == "kept")
    return [name for name in slots if probe.part.default(name, probe.registry) is None]


def covering(
    factors: Mapping[str, Sequence[Any]], count: int, seed: int, is_possible: Callable[[dict[str, Any]], bool]
) -> list[dict[str, Any]]:
    """``count`` combinations of one value of each factor, or fewer where ``is_possible`` refuses most.

    Each is, of several drawn at random, the one that brings most pairs of values together for the first time.
    """
    draw = random.Random(seed)
    taken: list[dict[str, Any]] = []
    covered: set[tuple[tuple[str, int], ...]] = set()
    for _ in range(count):
        drawn = [{name: draw.randrange(len(values)) for name, values in factors.items()} for _ in range(CANDIDATES)]
        for indices in sorted(drawn, key=lambda each: len(_pairs(each) & covered)):
            chosen = {name: factors[name][index] for name, index in indices.items()}
            if chosen not in taken and is_possible(chosen):
                taken.append(chosen)
                covered |= _pairs(indices)
                break
    return taken


def _pairs(indices: Mapping[str, int]) -> set[tuple[tuple[str, int], ...]]:
    return set(itertools.combinations(indices.items(), 2))


def other_refs(probe: Probe) -> Iterator[tuple[str, Ref]]:
    """The part with one option at a time set to another value: to every one that its type names, or to another number.

    Which numbers it can be used with nobody says, so those with which it does not run are left out.
    """
    part = probe.part
    for name in part.options:
        if name in part.slots or name in part.kind.honoured:
            continue
        value = probe.ref.options.get(name, part.default(name, probe.registry))
        for other in _named_values(part.hints.get(name)):
            if other != value:
                yield name, probe.ref.with_options(**{name: other})
        for other in _numbers(value):
            ref = probe.ref.with_options(**{name: other})
            with contextlib.suppress(Exception):
                evaluated(probe.make(ref=ref), probe.images(batch=2))
                yield name, ref


def _named_values(hint: Any) -> list[Any]:
    """All values of a type that has few: choices and truths."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [value for each in typing.get_args(hint) for value in _named_values(each)]
    if typing.get_origin(hint) is typing.Literal:
        return list(typing.get_args(hint))
    return [False, True] if hint is bool else []


def _numbers(value: Any) -> list[Any]:
    """Numbers beside ``value``: more and fewer, another rate."""
    if type(value) is int:
        return [2 * value, value + 2, value // 2][: 2 + (value > 1)]
    return [value / 2 if value else 0.25] if type(value) is float else []
