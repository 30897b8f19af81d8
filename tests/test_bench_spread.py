"""A plan over several workers: nobody shares a device, a dead worker's cell is tried again, and its row says so."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from convzoo.bench.cells import plan
from convzoo.bench.measure import How
from convzoo.bench.results import read
from convzoo.bench.run import Silent, resumed
from convzoo.bench.sampling import Rule
from convzoo.bench.spread import own_cores, run_on_ray
from convzoo.cli import main


def _hold(folder: Path, queue: Any) -> None:
    with own_cores(1, folder, pause=0.01) as cores:
        queue.put(("took", cores, os.sched_getaffinity(0) == set(cores)))
        time.sleep(0.2)
        queue.put(("left", cores, True))


def test_cores_are_held_by_one_at_a_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    holders = [context.Process(target=_hold, args=(tmp_path, queue)) for _ in range(len(os.sched_getaffinity(0)) + 1)]
    for holder in holders:
        holder.start()
    held: set[int] = set()
    for _ in range(2 * len(holders)):
        what, (core,), pinned = queue.get(timeout=20)
        assert pinned
        assert (core in held) == (what == "left")
        held ^= {core}
    for holder in holders:
        holder.join()


def test_spreading_and_one_process_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "resnet20", "--spread", "ray", "--in-process"]) == 2
    assert "--spread and --in-process exclude each other" in capsys.readouterr().err


@pytest.mark.large
def test_a_killed_workers_cell_is_measured_by_another(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    file = tmp_path / "r.jsonl"
    cells = plan(["resnet20", "seresnet20", "resnet32"], threads=1).cells
    how = How(rule=Rule(budget=2.0), memory=False)
    ray.init(num_cpus=2, log_to_driver=False, logging_level="error", include_dashboard=False)
    killed: list[int] = []
    stop = threading.Event()

    def kill_one() -> None:
        while not stop.is_set() and not killed:
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    title = (folder / "cmdline").read_bytes()
                except OSError:
                    continue
                if title.startswith(b"ray::cell_on_this_host"):
                    time.sleep(1)  # in the middle of it
                    os.kill(int(folder.name), signal.SIGKILL)
                    killed.append(int(folder.name))
                    return
            time.sleep(0.1)

    killer = threading.Thread(target=kill_one)
    killer.start()
    try:
        rows = list(run_on_ray(resumed(cells, how, file), how, file, Silent()))
    finally:
        stop.set()
        killer.join()
        ray.shutdown()
    assert len(killed) == 1
    assert len(rows) == len(cells) == len(read(file).rows) == len({row.id for row in rows})
    assert {row.status for row in rows} <= {"measured", "unresolved"}
    assert sum("measured at attempt 2, since a worker died" in row.why for row in rows) == 1
    assert all(row.stamp["machine"]["cores"] == 1 for row in rows), "each had a core to itself"
