"""A run that is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from convzoo.bench.results import read


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
