"""Memory and time of a training step of DenseNet over its depth: ``python benchmarks/memory_curve.py``.

For each variant, plain and with ``set_grad_checkpointing``, beside timm's, plain and ``memory_efficient``: what a step
keeps for its backward pass, the peak of what torch allocates in it beside weights and images, and the time. Steps of
all take turns, there and back; the ratio of a time is the median of the ratios to the plain step of the same round. It
prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import timm
import torch
from torch import nn
from torch.nn import functional as F

import convzoo
from convzoo.bench.memory import saved_for_backward

VARIANTS = ("densenet121", "densenet169", "densenet201")
PLAIN, CHECKPOINTED = "convzoo", "convzoo, checkpointed"
MIB = 2**20


def forms(variant: str, options: argparse.Namespace) -> dict[str, tuple[nn.Module, Callable[[], None]]]:
    """The networks that are compared, and what does a step of each."""
    saving = convzoo.create_model(variant)
    saving.set_grad_checkpointing()
    models: dict[str, nn.Module] = {PLAIN: convzoo.create_model(variant), CHECKPOINTED: saving}
    if timm.is_model(variant):
        models["timm"] = timm.create_model(variant)
        models["timm, memory_efficient"] = timm.create_model(variant, memory_efficient=True)
    images = torch.randn(options.batch_size, 3, options.image_size, options.image_size, device=options.device)
    classes = torch.arange(options.batch_size, device=options.device)

    def made(model: nn.Module) -> tuple[nn.Module, Callable[[], None]]:
        model = model.train().to(options.device)

        def step() -> None:
            model.zero_grad(set_to_none=True)
            F.cross_entropy(model(images), classes).backward()
            if images.is_cuda:
                torch.cuda.synchronize()

        return model, step

    return {name: made(model) for name, model in models.items()}


def peak(model: nn.Module, step: Callable[[], None], device: str) -> int:
    """The most bytes that ``step`` has allocated at a time, gradients included, and what there was before left out."""
    step()  # what is made once
    model.zero_grad(set_to_none=True)
    if device != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def times(steps: dict[str, Callable[[], None]], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each step in each round."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds):
        for name in list(steps)[:: -1 if number % 2 else 1]:
            start = clock()
            steps[name]()
            taken[name].append(clock() - start)
    return taken


def rows(variant: str, options: argparse.Namespace) -> list[str]:
    """The lines of the table for one variant."""
    made = forms(variant, options)
    saved, peaks = {}, {}
    for name, (model, step) in made.items():
        peaks[name] = peak(model, step, options.device)
        images = torch.randn(options.batch_size, 3, options.image_size, options.image_size, device=options.device)
        saved[name] = saved_for_backward(model, lambda model=model, images=images: model(images))
    alone = options.device == "cpu" and options.threads == 1  # then time in which others had the processor is left out
    steps = {name: step for name, (_, step) in made.items()}
    taken = times(steps, options.rounds, time.process_time if alone else time.perf_counter)
    layers = sum(isinstance(module, nn.Conv2d) for module in made[PLAIN][0].modules())
    lines = []
    for name in made:
        ratio = statistics.median(a / b for a, b in zip(taken[name], taken[PLAIN], strict=True))
        lines.append(
            f"| {variant} | {layers} | {name} | {saved[name] / MIB:.0f} | {saved[name] / saved[PLAIN]:.2f} x |"
            f" {peaks[name] / MIB:.0f} | {peaks[name] / peaks[PLAIN]:.2f} x |"
            f" {statistics.median(taken[name]):.3f} | {ratio:.2f} x |"
        )
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("variants", nargs="*", default=VARIANTS, help=f"by default {', '.join(VARIANTS)}")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=128, help="pixels of a side")
    parser.add_argument("--rounds", type=int, default=9, help="steps of each that are timed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"Batches of {options.batch_size} images of {options.image_size} px on {options.device}, float32,", end=" ")
    print(f"{options.threads} thread(s), torch {torch.__version__}\n")
    print("| variant | convolutions | step of | kept, MiB | | peak, MiB | | seconds | |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for variant in options.variants:
        print("\n".join(rows(variant, options)), flush=True)


if __name__ == "__main__":
    main()
