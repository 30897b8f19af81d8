"""One cell, in this process: the two are built, compared and timed; or one is started alone, for its memory."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from convzoo.api import model_info
from convzoo.bench.cells import Cell
from convzoo.bench.competitors import Pair, build_pair, create, difference, judged
from convzoo.bench.engines import engine_of
from convzoo.bench.inputs import images_of
from convzoo.bench.memory import cuda_memory, forget_peak, saved_for_backward, status_bytes
from convzoo.bench.nvml import watch_of
from convzoo.bench.running import finish, prepared, set_up, training_forward
from convzoo.bench.sampling import Rule, sample
from convzoo.bench.statistics import Interval
from convzoo.bench.stopwatch import stopwatch
from convzoo.bench.watch import ProcessorWatch
from convzoo.deploying.deploy import deployed_by
from convzoo.deploying.rewrites import rewrites_for
from convzoo.errors import ConvzooError, said
from convzoo.network.lifecycle import set_progress
from convzoo.testing.numerics import jitter_norms

Progress = Callable[[Interval, float], None]
STEADY = 3
"""Batches after the first, from which an ordinary one is known, and memory at its most."""


@dataclass(frozen=True)
class How:
    """How cells are measured.

    Args:
        rule: when to stop.
        seed: of weights, jitter and images.
        events: CUDA's events time the device alone.
        flush: the second-level cache of the card is emptied before each batch.
        memory: measure memory and the start too, in a pass of its own.
        in_process: all cells in one process.
    """

    rule: Rule = field(default_factory=Rule)
    seed: int = 0
    events: bool = False
    flush: bool = False
    memory: bool = True
    in_process: bool = False


class CellError(ConvzooError):
    """A cell that has no figures: its ``status``, and why."""

    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        self.status = status


def time_cell(cell: Cell, how: How, progress: Progress = lambda ratio, spent: None) -> dict[str, Any]:
    """The part of a row that comes of timing the pair.

    Raises:
        CellError: there are no figures.
    """
    settings = cell.settings
    if cell.refusal:
        raise CellError("refused", cell.refusal)
    with told(""):
        set_up(settings)
        pair = build_pair(cell, how.seed)
        images = images_of(settings.batch_size, settings.image_size, model_info(cell.ours.name).spec.in_chans, how.seed)
    calls = {}
    for who, network in (("ours", pair.ours), ("theirs", pair.theirs), ("twin", pair.twin)):
        with told(f"{cell.theirs.label if who == 'theirs' else cell.ours.label}: "):
            calls[who] = prepared(network, images, settings)
            first = calls[who]()
            finish(settings)
            if who == "ours":
                expected = _numbers(first)
            elif who == "theirs":
                _compare_timed(pair, cell, expected, _numbers(first))
            if not _numbers(first).isfinite().all():
                raise CellError("failed", "gives numbers that are not finite")
    watch = watch_of(settings.device, ProcessorWatch(settings.threads))
    with told("while it was timed: "):
        samples = sample(
            calls["ours"],
            calls["theirs"],
            calls["twin"],
            stopwatch=stopwatch(settings.device, events=how.events, flush=how.flush),
            watch=watch,
            rule=how.rule,
            progress=progress,
        )
        if not all(_numbers(calls[who]()).isfinite().all() for who in ("ours", "theirs")):
            raise CellError("failed", "numbers that are not finite came up while it was timed")
    result = samples.result(how.rule, settings.batch_size)
    remarks = [result["why"], pair.remark, engine_of(settings.engine).remark]
    return {**result, "why": "; ".join(filter(None, remarks)), "work": pair.work, "watch": watch.summary()}


def start_alone(cell: Cell, who: str, how: How, imports: dict[str, float] | None = None) -> dict[str, Any]:
    """``memory`` and ``startup`` of one of the two, ``ours`` or ``theirs``.

    Args:
        cell: of which.
        who: of its two.
        how: it is measured.
        imports: seconds that the imports of this process took; None if it has been used before.

    Raises:
        CellError: it could not be run.
    """
    settings, competitor = cell.settings, cell.ours if who == "ours" else cell.theirs
    rival = cell.theirs if who == "ours" else cell.ours
    with told(f"{competitor.label}: "):
        set_up(settings)
        fresh = imports is not None or forget_peak()
        if settings.on_cuda:
            torch.cuda.init()
            torch.cuda.reset_peak_memory_stats(settings.device)
        images = images_of(settings.batch_size, settings.image_size, model_info(cell.ours.name).spec.in_chans, how.seed)
        before = status_bytes("VmRSS")
        start = time.perf_counter()
        network = create(competitor, rival)
        created = time.perf_counter() - start
        jitter_norms(network)
        if competitor.form == "deployed":
            set_progress(network, 1.0)
            network, _ = deployed_by(network, rewrites_for(settings.engine))
        network = network.to(settings.device)
        start = time.perf_counter()
        call = prepared(network, images, settings)
        call()
        finish(settings)
        first = time.perf_counter() - start
        start = time.perf_counter()
        for _ in range(STEADY):
            call()
        finish(settings)
        steady = (time.perf_counter() - start) / STEADY
        memory: dict[str, Any] = {"peak": status_bytes("VmHWM") if fresh else None, "before": before, "saved": None}
        memory.update(dict.fromkeys(("allocated", "reserved", "process")))
        if settings.on_cuda:
            memory.update(cuda_memory(settings.device))
        if settings.mode == "train":
            memory["saved"] = saved_for_backward(network, training_forward(network, images, settings))
    compiled = None if settings.engine == "eager" else max(0.0, first - steady)
    startup = {"import_s": None, "torch_s": None, **(imports or {}), "create_s": created}
    return {"memory": memory, "startup": {**startup, "compile_s": compiled, "first_s": first}}


@contextlib.contextmanager
def told(who: str) -> Iterator[None]:
    """Errors within it become CellErrors, which say of whom they are."""
    try:
        yield
    except CellError as error:
        raise CellError(error.status, f"{who}{error}") from None
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise CellError("out of memory", f"{who}{said(error)}") from error
    except Exception as error:
        out = isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)
        why = str(error) if isinstance(error, ConvzooError) else said(error)
        raise CellError("out of memory" if out else "failed", f"{who}{why}") from error


_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "bad allocation",
    "CUBLAS_STATUS_ALLOC",
)


def clean_up() -> None:
    """Forget what a cell has left behind, where the next is measured in the same process."""
    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _compare_timed(pair: Pair, cell: Cell, ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Add to the pair's work what its outputs differ by in the very form that is timed."""
    if pair.work["carried"] and cell.settings.mode == "infer":
        pair.work["timed"] = difference(ours, theirs, cell.settings.dtype)
        pair.work.update(judged(pair.work, cell))


def _numbers(output: Any) -> torch.Tensor:
    return torch.as_tensor(output).detach().float().cpu()
