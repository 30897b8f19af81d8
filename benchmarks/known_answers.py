"""Known answers on this machine, as noisy as it is: a network that sleeps 3 % longer, and one against itself.

    python benchmarks/known_answers.py [RUNS]

It prints each verdict; 0 if the sleep was found to be slower in every run, and nothing was found in any other.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable

import torch

import convzoo
from convzoo.bench.sampling import Rule, sample
from convzoo.bench.stopwatch import stopwatch
from convzoo.bench.watch import ProcessorWatch

RULE = Rule(precision=0.01, budget=60.0)
OVERSLEPT = 2e-4
"""Seconds by which a sleep is longer than asked, about; the rest is waited for."""
EXPECTED = {0.03: {"slower"}, 0.0: {"same", "unresolved"}}
"""Verdicts, by the share of the time that is slept."""


def main(runs: int = 20) -> int:
    """Time them ``runs`` times each."""
    torch.set_num_threads(1)
    wrong = 0
    for sleep, expected in EXPECTED.items():
        verdicts: Counter[str] = Counter()
        for _ in range(runs):
            calls = [network(each) for each in (sleep, 0.0, sleep)]
            samples = sample(*calls, stopwatch=stopwatch("cpu"), watch=ProcessorWatch(1), rule=RULE)
            result = samples.result(RULE, 1)
            ratio, found = result["ratio"], result["ratio"]["verdict"]
            verdicts[found] += 1
            wrong += found not in expected
            where = f"{ratio['value']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"
            print(f"{sleep:.0%} asleep: {found}, {where}, noise {result['noise']['floor']:.1%}", flush=True)
        print(f"{sleep:.0%} asleep, {runs} runs: {dict(verdicts)}")
    return int(wrong > 0)


def network(sleep: float) -> Callable[[], None]:
    """A small network on one thread, which takes a share ``sleep`` longer, asleep as far as a sleep is that short."""
    model, images = convzoo.create_model("resnet20").eval(), torch.randn(8, 3, 32, 32)

    def call() -> None:
        start = time.perf_counter()
        with torch.no_grad():
            model(images)
        if sleep:
            until = start + (1 + sleep) * (time.perf_counter() - start)
            if (left := until - time.perf_counter() - OVERSLEPT) > 0:  # a sleep of 0 would give the core away
                time.sleep(left)
            while time.perf_counter() < until:
                pass

    return call


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
