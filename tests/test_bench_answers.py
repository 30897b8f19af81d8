"""Known answers on this machine, as noisy as it is, and a run that is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import convzoo
from convzoo.bench.results import read
from convzoo.bench.sampling import Rule, sample
from convzoo.bench.stopwatch import stopwatch
from convzoo.bench.watch import ProcessorWatch

RULE = Rule(precision=0.01, budget=60.0)
RUNS = 20


def network(sleep: float = 0.0) -> Callable[[], None]:
    """A small network on one thread, which takes a share ``sleep`` longer, asleep."""
    model, images = convzoo.create_model("resnet20").eval(), torch.randn(1, 3, 16, 16)

    def call() -> None:
        start = time.perf_counter()
        with torch.no_grad():
            model(images)
        if sleep:
            until = start + (1 + sleep) * (time.perf_counter() - start)
            time.sleep(max(0.0, until - time.perf_counter() - OVERSLEPT))
            while time.perf_counter() < until:
                pass

    return call


OVERSLEPT = 2e-4
"""Seconds by which a sleep is longer than asked, about; the rest is waited for."""


@pytest.mark.large
@pytest.mark.parametrize(("sleep", "expected"), [(0.03, {"slower"}), (0.0, {"same", "unresolved"})])
def test_a_sleep_of_three_percent_is_found_and_none_is_not_in_20_of_20_runs(sleep: float, expected: set[str]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    verdicts = []
    try:
        for _ in range(RUNS):
            calls = [network(each) for each in (sleep, 0.0, sleep)]
            samples = sample(*calls, stopwatch=stopwatch("cpu"), watch=ProcessorWatch(1), rule=RULE)
            result = samples.result(RULE, 1)
            verdicts.append(result["ratio"]["verdict"])
            print(verdicts[-1], result["ratio"], result["noise"]["floor"], len(result["discarded"]), samples.spent)
    finally:
        torch.set_num_threads(threads)
    assert set(verdicts) <= expected, Counter(verdicts)


@pytest.mark.large
def test_a_run_that_is_killed_anywhere_goes_on_and_has_every_row_once(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    words = ["resnet20", "seresnet20", "resnet44", "resnet32", "--against", "self", "--threads", "1"]
    words += ["--budget", "0.3", "--in-process", "--no-memory", "--out", str(file)]
    command = [sys.executable, "-m", "convzoo", "bench", *words]
    generator = random.Random(0)
    for _ in range(3):
        started = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        before = file.stat().st_size if file.exists() else 0
        for _ in range(600):
            time.sleep(0.1)
            if started.poll() is not None or (file.exists() and file.stat().st_size > before):
                break
        time.sleep(generator.random())
        os.killpg(started.pid, signal.SIGKILL) if started.poll() is None else None
        started.wait()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = read(file).rows
    assert Counter(row.cell["ours"]["name"] for row in rows) == dict.fromkeys(words[:4], 1)
    assert read(file).notes == []
