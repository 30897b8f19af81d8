"""Condensing under DistributedDataParallel, and in a run that is interrupted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

STEPS = 12
STOP = 5  # two of the three condensing steps are taken


def train(rank: int, folder: Path, name: str, first: int, last: int, by_hand: bool) -> None:
    """Steps ``first`` to ``last`` of the training of a new network, from a checkpoint if not from 0.

    The network is told how far it is by hand, or by ``follow``.
    """
    import convzoo
    from convzoo import ref

    torch.manual_seed(rank)  # the processes start from different weights, which DDP makes the first one's
    layer = ref("condense", growth_rate=8)
    stem = ref("cifar", width=16, norm=ref("none"), act=ref("none"))
    stages = (convzoo.Stage((layer, layer, ref("norm_act"))),)
    model = convzoo.build(convzoo.Model("small", "condensenet", stem, stages, num_classes=10, input_size=32))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    criterion = torch.nn.functional.cross_entropy
    if not by_hand:
        criterion = convzoo.follow(model, criterion, optimizer, STEPS, penalty_weight=1e-3)
    if first:
        checkpoint = torch.load(folder / "checkpoint.pt")
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
    parallel = torch.nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)
    for step in range(first, last):
        generator = torch.Generator().manual_seed(2 * step + rank)  # each process has its own images
        images = torch.randn(8, 3, 16, 16, generator=generator)
        classes = torch.randint(10, (8,), generator=generator)
        if by_hand:
            convzoo.set_progress(parallel, step / STEPS)
        loss = criterion(parallel(images), classes)
        if by_hand:
            loss = loss + 1e-3 * convzoo.penalty(parallel)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if last < STEPS and rank == 0:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, folder / "checkpoint.pt")
    torch.distributed.barrier()  # the checkpoint is written before it is read
    if by_hand:
        convzoo.set_progress(parallel, last / STEPS)
    torch.save(model.state_dict(), folder / f"{name}-{rank}.pt")


RUNS = {"straight": (0, STEPS, True), "interrupted": (0, STOP, False), "resumed": (STOP, STEPS, False)}


def process(rank: int, folder: Path) -> None:
    """What each of two processes does."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    for name, run in RUNS.items():
        train(rank, folder, name, *run)
    torch.distributed.destroy_process_group()


def test_two_processes_condense_to_the_same_masks_and_a_resumed_run_ends_as_an_uninterrupted_one(
    tmp_path: Path,
) -> None:
    command = [sys.executable, str(Path(__file__).resolve())]
    processes = [
        subprocess.Popen([*command, str(rank), str(tmp_path)], stderr=subprocess.PIPE, text=True) for rank in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    # The state that each process ends a run with.
    straight, halfway, resumed = ([torch.load(tmp_path / f"{name}-{rank}.pt") for rank in range(2)] for name in RUNS)
    masks = [key for key in straight[0] if key.endswith(".kept")]
    assert len(masks) == 2
    for key in masks:
        assert torch.equal(straight[0][key], straight[1][key])
        assert bool((straight[0][key].sum(1) == straight[0][key].shape[1] // 4).all()), "condensed to the end"
    assert all(bool((halfway[0][key].sum(1) == straight[0][key].shape[1] * 2 // 4).all()) for key in masks)
    for key, value in straight[0].items():
        assert torch.equal(resumed[0][key], value), key


if __name__ == "__main__":
    process(int(sys.argv[1]), Path(sys.argv[2]))
