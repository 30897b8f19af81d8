"""The conformance kit tries what a part may meet together, and not only one thing at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import torch
from torch import nn

import convzoo
from convzoo import Component, OptionError
from convzoo.plugins.host import plugins
from convzoo.testing import CheckFailed, checks
from convzoo.testing.kit.combinations import combined_cases, covering
from convzoo.testing.kit.probe import Probe

FACTORS: dict[str, tuple[Any, ...]] = {"a": (1, 2, 3), "b": "xyz", "c": (False, True), "d": (0, 1, 2, 4)}


def anything(_: dict[str, Any]) -> bool:
    return True


def pairs(taken: list[dict[str, Any]]) -> set[Any]:
    return {pair for each in taken for pair in itertools.combinations(each.items(), 2)}


def test_combinations_bring_every_two_values_together_before_all_values() -> None:
    every = pairs([dict(zip(FACTORS, values, strict=True)) for values in itertools.product(*FACTORS.values())])
    assert pairs(covering(FACTORS, 20, 0, anything)) == every
    assert len(pairs(covering(FACTORS, 8, 0, anything))) > 0.7 * len(every)


def test_combinations_repeat_for_one_seed_and_are_others_for_another() -> None:
    first, again, other = (covering(FACTORS, 6, seed, anything) for seed in (0, 0, 1))
    assert first == again != other


def test_combinations_that_are_refused_are_replaced() -> None:
    taken = covering(FACTORS, 6, 0, lambda each: each["a"] != 3)
    assert len(taken) == 6
    assert {each["a"] for each in taken} == {1, 2}
    assert covering(FACTORS, 6, 0, lambda each: False) == []


class Gate(nn.Module):
    """Sound; the faulty ones differ in ``forward``."""

    def __init__(
        self, channels: int, *, mode: Literal["soft", "hard"] = "soft", act: Callable[..., nn.Module] = nn.ReLU
    ) -> None:
        super().__init__()
        if mode == "hard" and channels % 8:
            raise OptionError(f"mode='hard' needs channels that 8 divides, not {channels}")
        self.mode = mode
        self.act = act()
        self.weight = nn.Parameter(torch.rand(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(x * self.weight.view(-1, 1, 1))


class DetachedByAnOption(Gate):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.detach() if self.mode == "hard" else x)


class RandomWhereLoudAndNarrow(Gate):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        loud = (x.abs().amax((1, 2, 3), keepdim=True) > 20) & (len(self.weight) < 64)
        return super().forward(torch.where(loud, x * (0.5 + torch.rand_like(x)), x))


class ForgettingTheFormatOfLargeMaps(Gate):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward(x)
        return out.contiguous() if x.shape[2] > 10 and self.mode == "hard" else out


@pytest.fixture
def failed() -> Iterator[Callable[[Any], set[str]]]:
    def examine(target: Any) -> set[str]:
        convzoo.register(Component("attention", "combined", target, "a part of a test"), plugin="combined")
        found = set()
        for check in checks("combined"):
            if check.promise.name not in ("compiles", "exports"):  # which try no combinations
                try:
                    check()
                except CheckFailed:
                    found.add(check.promise.name)
                except Exception:  # it does not apply
                    continue
        return found

    yield examine
    if "combined" in plugins().records:
        plugins().remove("combined")


def test_a_sound_part_passes_every_check_in_every_combination(failed: Callable[[Any], set[str]]) -> None:
    assert failed(Gate) == set()


@pytest.mark.parametrize(
    ("target", "check"),
    [
        (DetachedByAnOption, "differentiates_what_it_computes"),
        (RandomWhereLoudAndNarrow, "repeats_itself_in_eval_mode"),
        (ForgettingTheFormatOfLargeMaps, "keeps_channels_last"),
    ],
)
def test_a_fault_that_needs_two_things_at_once_is_caught(
    target: Any, check: str, failed: Callable[[Any], set[str]]
) -> None:
    assert check in failed(target)


def test_what_a_part_refuses_is_no_case() -> None:
    convzoo.register(Component("attention", "combined", Gate, "a part of a test"), plugin="combined")
    try:
        probe = next(check.examined for check in checks("combined") if isinstance(check.examined, Probe))
        hard = [case for case in combined_cases(probe) if case.geometry["ref"].options.get("mode") == "hard"]
        assert len(combined_cases(probe)) == 12
        assert hard
        assert {case.geometry["widths"][0] % 8 for case in hard} == {0}
    finally:
        plugins().remove("combined")
