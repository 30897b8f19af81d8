"""Known answers of the bench: what is slower is found slower, what is the same is not, on a clock that is noisy."""

from __future__ import annotations

import collections
import math
import random
from collections.abc import Callable

import pytest

from convzoo.bench.sampling import Rule, Samples, sample
from convzoo.bench.statistics import interval, verdict
from convzoo.errors import OptionError

RULE = Rule(precision=0.01, budget=200.0)


class Machine:
    """A clock of its own: calls take time, with noise, now and then an interruption, and slower and slower.

    Args:
        seed: of the noise.
        noise: standard deviation of a time, relative.
        drift: by which a call is slower for each second that has passed.
        busy: whether a call meets another process, which then takes half of its time.
    """

    def __init__(self, seed: int, noise: float = 0.04, drift: float = 0.0, busy: Callable[[float], bool] | None = None):
        self.random = random.Random(seed)
        self.now, self.noise, self.drift, self.busy = 0.0, noise, drift, busy
        self.met = False

    def clock(self) -> float:
        return self.now

    def call(self, seconds: float) -> Callable[[], None]:
        def run() -> None:
            took = seconds * (1 + abs(self.random.gauss(0, self.noise))) * (1 + self.drift * self.now)
            if self.noise and self.random.random() < 0.02:
                took *= 3  # another process had the core
            if self.busy and self.busy(self.now):
                took, self.met = took * 2, True
            self.now += took

        return run

    def stopwatch(self, call: Callable[[], None], times: int) -> float:
        start = self.now
        for _ in range(times):
            call()
        return (self.now - start) / times

    def begin(self) -> None:
        self.met = False

    def end(self) -> str:
        return "another process" if self.met else ""

    def sample(self, slower: float = 1.0, rule: Rule = RULE) -> Samples:
        """Ours takes 20 ms times ``slower``, theirs and the twin of ours what they should."""
        mine = 0.02 * slower
        calls = [self.call(seconds) for seconds in (mine, 0.02, mine)]
        return sample(*calls, stopwatch=self.stopwatch, watch=self, rule=rule, clock=self.clock)


def judged(samples: Samples, rule: Rule = RULE) -> str:
    return samples.result(rule, 1)["ratio"]["verdict"]


@pytest.mark.parametrize(("slower", "expected"), [(1.03, "slower"), (1.0, "same"), (1 / 1.03, "faster")])
@pytest.mark.parametrize("seeds", [range(4), pytest.param(range(4, 20), marks=pytest.mark.large)], ids=["4", "16 more"])
def test_three_percent_are_found_and_nothing_is_not_in_20_of_20_noisy_runs(
    slower: float, expected: str, seeds: range
) -> None:
    rule = Rule(precision=0.006, budget=500.0)
    assert {judged(Machine(seed).sample(slower, rule), rule) for seed in seeds} == {expected}


def test_the_interval_has_the_truth_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(100):
        generator = random.Random(seed)
        pairs = [[1 + abs(generator.gauss(0, 0.05)) for _ in range(4)] for _ in range(25)]
        found = interval([[a, 1.1 * b, 1.1 * c, d] for a, b, c, d in pairs])
        hits += found.low <= 1.1 <= found.high
    assert 88 <= hits <= 100


def test_an_even_drift_changes_nothing_of_the_ratio() -> None:
    result = Machine(0, noise=0.0, drift=0.01).sample(1.03).result(RULE, 8)
    assert result["ratio"]["value"] == pytest.approx(1 / 1.03, rel=1e-4)
    assert result["figures"]["theirs"]["images_per_second"] == pytest.approx(8 / 0.02, rel=0.1)


def test_what_the_first_of_four_meets_changes_nothing_of_the_ratio() -> None:
    machine = Machine(0, noise=0.0)
    place = [0]

    def stopwatch(call: Callable[[], None], times: int) -> float:
        took = machine.stopwatch(call, times)
        place[0] += 1
        return took * (1.3 if (place[0] - warm) % 4 == 1 and place[0] > warm else 1.0)

    warm = 9  # calls before the first pair
    calls = [machine.call(0.02) for _ in range(3)]
    found = sample(*calls, stopwatch=stopwatch, watch=machine, rule=Rule(budget=50.0), clock=machine.clock)
    assert place[0] > warm
    assert interval(found.pairs[: len(found.pairs) // 2 * 2]).value == pytest.approx(1.0, abs=1e-3)
    assert {round(max(pair) / min(pair), 3) for pair in found.pairs} == {1.3}


def test_what_runs_more_often_is_not_found_quicker_for_being_in_the_caches() -> None:
    machine, recent = Machine(0, noise=0.0), collections.deque[int](maxlen=100)

    def network(which: int) -> Callable[[], None]:
        def call() -> None:
            recent.append(which)
            machine.now += 0.02 * (2 - recent.count(which) / len(recent))

        return call

    calls = [network(which) for which in range(3)]
    found = sample(
        *calls, stopwatch=machine.stopwatch, watch=machine, rule=Rule(1e-4, budget=300.0), clock=machine.clock
    )
    assert interval(found.pairs).value == pytest.approx(1.0, abs=0.02)
    assert interval(found.noise).value == pytest.approx(1.0, abs=0.02)


def test_an_outlier_in_ten_leaves_the_ratio_where_it_is() -> None:
    pairs = [[1.0, 1.0, 1.0, 1.0]] * 18 + [[9.0, 1.0, 1.0, 1.0]] * 2
    assert interval(pairs).value == pytest.approx(1.0)


def test_a_calm_machine_needs_fewer_pairs_than_a_noisy_one() -> None:
    calm, noisy = Machine(0, noise=0.005).sample(), Machine(0, noise=0.05).sample()
    assert calm.resolved
    assert noisy.resolved
    assert len(calm.pairs) < len(noisy.pairs)
    assert interval(noisy.pairs).width <= RULE.precision


def test_a_spent_budget_leaves_a_row_unresolved_and_says_so() -> None:
    rule = Rule(precision=0.001, budget=6.0)
    result = Machine(1, noise=0.1).sample(1.0, rule).result(rule, 1)
    assert result["status"] == result["ratio"]["verdict"] == "unresolved"
    result = Machine(1, noise=0.1).sample(2.0, rule).result(rule, 1)
    assert result["status"] == "unresolved"
    assert result["ratio"]["verdict"] == "slower", "how much is not resolved, but that it is"
    assert "the budget of 6 s was spent after" in result["why"]
    assert "0.1% was asked" in result["why"]


def test_disturbed_pairs_are_discarded_repeated_and_counted() -> None:
    machine = Machine(0, noise=0.002, busy=lambda now: 0.5 < now < 1.0)
    result = machine.sample().result(RULE, 1)
    assert result["status"] == "measured"
    assert 1 <= len(result["discarded"]) <= 10
    assert {each["why"] for each in result["discarded"]} == {"another process"}
    times = [time for pair in result["samples"]["pairs"] for time in pair]
    assert not [time for time in times if 0.03 < time < 0.05], "those that took twice as long were seen"


def test_a_machine_that_is_never_alone_gives_figures_that_say_so_and_no_verdict() -> None:
    rule = Rule(budget=3.0)
    result = Machine(0, busy=lambda now: True).sample(1.2, rule).result(rule, 1)
    assert result["status"] == result["ratio"]["verdict"] == "unresolved"
    assert result["why"].startswith("too few pairs were undisturbed")
    assert result["ratio"]["value"] == pytest.approx(1 / 1.2, rel=0.1)
    assert result["samples"]["pairs"] == []


def test_a_budget_too_short_for_one_pair_still_ends_with_a_pair() -> None:
    rule = Rule(budget=1e-6)
    result = Machine(0).sample(rule=rule).result(rule, 1)
    assert result["status"] == "unresolved"
    assert result["ratio"]["pairs"] == 2, "one of ours and one of its twin"
    assert result["ratio"]["high"] == math.inf
    assert "undisturbed" not in result["why"], "nothing was disturbed"


def test_no_difference_within_the_noise_is_called_one() -> None:
    ratio = interval([[1.0, 1.02, 1.02, 1.0], [1.0, 1.021, 1.021, 1.0]] * 10)
    assert verdict(ratio, floor=0.01, resolved=True) == "faster"
    assert verdict(ratio, floor=0.03, resolved=True) == "same"
    wide = interval([[1.0, 1.02 + i / 10, 1.02 + i / 10, 1.0] for i in (-2, -1, 0, 1, 2)] * 3)
    assert verdict(wide, floor=0.01, resolved=False) == "unresolved"
    assert verdict(ratio, floor=0.01, resolved=False) == "faster"


def test_few_pairs_have_no_interval() -> None:
    found = interval([[1.0, 2.0, 2.0, 1.0]] * 3)
    assert (found.value, found.low, found.high) == (pytest.approx(2.0), 0.0, math.inf)


@pytest.mark.parametrize(
    ("field", "value"), [("precision", 0.0), ("precision", 2.0), ("budget", -1.0), ("confidence", 1.0), ("least", 2)]
)
def test_a_rule_that_makes_no_sense_is_refused(field: str, value: float) -> None:
    with pytest.raises(OptionError):
        Rule(**{field: value})  # type: ignore[arg-type]
