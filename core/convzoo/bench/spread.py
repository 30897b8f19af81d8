"""A plan spread over many devices and hosts by Ray: each cell is a task that has a GPU, or cores, to itself.

Rows go to the same file, written by the process that started it all. A cell whose worker died is tried once more, and
its row says so. Hosts are taken to be like this one, whose stamp tells rows apart; each row has the stamp of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import importlib
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convzoo.bench.cells import Cell
from convzoo.bench.results import Row, append
from convzoo.bench.run import Listener, Todo, dated, fill, measured
from convzoo.bench.stamp import stamp
from convzoo.errors import ConvzooError, OptionError, said

if TYPE_CHECKING:
    from convzoo.bench.measure import How

ATTEMPTS = 2
"""How often a cell is begun whose worker dies."""
LOCKS = Path(tempfile.gettempdir()) / "convzoo-cores"
"""Where the cores of a host are taken: a locked file each, which the system unlocks when its holder dies."""


def run_on_ray(
    todo: Todo,
    how: How,
    path: Path,
    listener: Listener,
    until: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Row]:
    """Measure what is to do on all that Ray has; each row is given when it is in the file.

    Args:
        todo: what is to do.
        how: it is measured.
        path: of the result file.
        listener: is told of it.
        until: on the ``clock``, when no further cell is begun.
        clock: seconds.

    Raises:
        OptionError: Ray is not installed, or has no device for the cells.
    """
    ray = _ray()
    started_here = not ray.is_initialized()
    if started_here:
        ray.init(address=os.environ.get("RAY_ADDRESS"), log_to_driver=False, logging_level="error")
    waiting = [(cell, each, 1) for cell, each in todo.cells]
    running: dict[Any, tuple[Cell, str, int]] = {}
    begun = 0
    try:
        _require_devices(ray, [cell for cell, _ in todo.cells])
        while waiting or running:
            while waiting and len(running) < _at_once(ray, waiting[0][0]) and clock() <= until:
                cell, each, attempt = waiting.pop(0)
                begun += attempt == 1
                listener.begins(cell, begun, len(todo.cells))
                task = _task(ray, cell).remote(cell.to_dict(), cell.family, dataclasses.asdict(how))
                running[task] = cell, each, attempt
            if not running:
                return
            (done,), _ = ray.wait(list(running), num_returns=1)
            cell, each, attempt = running.pop(done)
            row = Row(each, "", cell.family, cell.to_dict(), todo.stamp, "failed")
            try:
                fill(row, ray.get(done))
            except ray.exceptions.RayError as error:
                if attempt < ATTEMPTS:
                    waiting.insert(0, (cell, each, attempt + 1))
                    continue
                row.why = f"its worker died {attempt} times: {said(error)}"
            if attempt > 1 and row.status != "failed":
                row.why = "; ".join(filter(None, [row.why, f"measured at attempt {attempt}, since a worker died"]))
            append(path, dated(row))
            listener.ends(row)
            yield row
    finally:
        for task in running:
            ray.cancel(task, force=True)
        if started_here:
            ray.shutdown()


def cell_on_this_host(record: dict[str, Any], family: str, how: dict[str, Any]) -> dict[str, Any]:
    """The fields of a cell's row, measured on cores that nobody else takes meanwhile; what a task of Ray runs."""
    from convzoo.bench.measure import How
    from convzoo.bench.sampling import Rule

    cell = Cell.from_dict(record, family)
    made = How(**{**how, "rule": Rule(**how["rule"])})
    with own_cores(cell.settings.threads):
        return {**measured(cell, made, lambda progress: None), "stamp": stamp([cell], how)}


@contextlib.contextmanager
def own_cores(count: int, folder: Path = LOCKS, pause: float = 0.2) -> Iterator[list[int]]:
    """Keep this process, and those that it starts, on ``count`` cores which no other holder of this has.

    Args:
        count: of the cores that this process may use.
        folder: of the locks.
        pause: seconds between looks, where too few are free.

    Raises:
        OptionError: this process has fewer.
    """
    before = os.sched_getaffinity(0)
    if count > len(before):
        raise OptionError(f"{count} cores for a cell: this process has {len(before)}")
    folder.mkdir(exist_ok=True)
    while True:
        with contextlib.ExitStack() as held:
            taken: list[int] = []
            for core in sorted(before):
                file = held.enter_context(open(folder / str(core), "w", encoding="ascii"))
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    taken.append(core)
                if len(taken) == count:
                    break
            if len(taken) == count:
                os.sched_setaffinity(0, taken)
                try:
                    yield taken
                finally:
                    os.sched_setaffinity(0, before)
                return
        time.sleep(pause)


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise OptionError("--spread ray needs ray: pip install 'convzoo[ray]'") from None


def _task(ray: Any, cell: Cell) -> Any:
    resources = {"num_cpus": cell.settings.threads, "num_gpus": int(cell.settings.on_cuda)}
    return ray.remote(**resources, max_retries=0, max_calls=1)(cell_on_this_host)


def _at_once(ray: Any, cell: Cell) -> int:
    """How many cells like this the cluster has room for."""
    found = ray.cluster_resources()
    rooms = [found.get("CPU", 0) // cell.settings.threads]
    if cell.settings.on_cuda:
        rooms.append(found.get("GPU", 0))
    return max(1, int(min(rooms)))


def _require_devices(ray: Any, cells: list[Cell]) -> None:
    found = ray.cluster_resources()
    if any(cell.settings.on_cuda for cell in cells) and not found.get("GPU"):
        raise OptionError("--spread ray: none of its hosts has a GPU")
    most = max((cell.settings.threads for cell in cells), default=0)
    if most > found.get("CPU", 0):
        raise ConvzooError(f"--spread ray: cells take {most} cores each, and all hosts have {found.get('CPU', 0):.0f}")
