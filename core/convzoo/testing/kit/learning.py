"""Checks that all of a part learns, and that it looks at all of its input."""

from __future__ import annotations

import torch
from torch import nn

from convzoo.testing.kit.case import PLAIN, Case
from convzoo.testing.kit.cases import all_cases, usual_cases
from convzoo.testing.kit.combinations import combined_cases
from convzoo.testing.kit.probe import SIZE, Probe
from convzoo.testing.kit.promises import MODULES, CheckFailed, promise
from convzoo.testing.kit.runs import changed, descend, seeded, state_of, step

STEPS, RATE = 4, 0.1
"""Of training with plain gradient descent: what stands behind a gate of 0 learns once that has moved."""


@promise(*MODULES)
def learns_with_every_parameter(probe: Probe) -> None:
    """A step of training gives every row of every parameter a gradient that is finite and not 0."""
    for case in all_cases(probe):
        learned = _learned(case, 0)
        for seed in (1, 2):  # a narrow layer may be shut as it starts
            if not all(_all(case, rows) for rows in learned.values()):
                learned = {name: rows | learned[name] for name, rows in _learned(case, seed).items()}
        if idle := [name for name, rows in learned.items() if not _all(case, rows)]:
            some = ", ".join(name + f" ({int((~learned[name]).sum())} of {len(learned[name])} rows)" for name in idle)
            raise CheckFailed(
                f"with {case.name}, no gradient other than 0 reaches {some}",
                means="they never learn, and DistributedDataParallel waits for weights without a gradient",
                mend="use them in forward, or remove them; let no detach(), comparison or rounding stand between",
            )


def _all(case: Case, rows: torch.Tensor) -> bool:
    """Whether a parameter learns: all its rows, or, in combined cases, where more is shut by chance, any."""
    return bool(rows.any() if case in combined_cases(case.probe) else rows.all())


def _learned(case: Case, number: int) -> dict[str, torch.Tensor]:
    """For each weight, which of its rows steps of training give a gradient that is not 0."""
    module = case.make(seed=number)
    named = dict(module.named_parameters())
    learned = {name: torch.zeros(len(p) if p.dim() else 1, dtype=torch.bool) for name, p in named.items()}
    before = state_of(module)
    reached: set[str] = set()
    sizes = [(SIZE, SIZE - 2), (40, 36), (SIZE, SIZE)]  # one batch may shut a narrow layer
    for seed, size in enumerate(sizes[: 1 if case in combined_cases(case.probe) else 3]):
        step(module, case.images(batch=8 if size[0] == SIZE else 2, size=size, seed=seed, **PLAIN))
        deaf = [name for name, parameter in named.items() if parameter.grad is None and name in reached]
        if deaf and size[0] != SIZE:
            raise CheckFailed(
                f"with {case.name}, on maps of {size[0]}x{size[1]} pixels no gradient reaches {', '.join(deaf)}",
                means="they do not learn from large images",
                mend="let no no_grad() and no detach() depend on the size of the map",
            )
        for name, parameter in named.items():
            if parameter.grad is None:
                continue
            reached.add(name)
            if not parameter.grad.isfinite().all():
                raise CheckFailed(
                    f"with {case.name}, the gradient of {name} is not finite",
                    means="training breaks at once",
                    mend="keep roots and logarithms away from 0: clamp what goes into them",
                )
            learned[name] |= parameter.grad.reshape(len(learned[name]), -1).any(1)
    if moved := [name for name in changed(before, module.state_dict()) if name in named]:
        raise CheckFailed(
            f"with {case.name}, forward or backward changes {', '.join(moved)}",
            means="weights move without the optimizer, and evaluating twice gives two results",
            mend="compute with weights, and leave changing them to the optimizer",
        )
    return learned


@promise(*MODULES)
def learns_from_where_it_starts(probe: Probe) -> None:
    """As it is made, a few steps of training move every parameter."""
    for case in usual_cases(probe):
        with seeded(0):
            module = case.construct()
        idle = {name for name, _ in module.named_parameters()}
        for seed in range(STEPS):
            with seeded(seed):
                step(module, case.images(batch=8, seed=seed))
            idle -= {name for name, p in module.named_parameters() if p.grad is not None and p.grad.any()}
            descend(module, RATE)
        if idle:
            raise CheckFailed(
                f"with {case.name}, {STEPS} steps of training from the start leave {', '.join(sorted(idle))} as it was",
                means="a part that starts like this never learns",
                mend="start only one of two layers behind each other at 0, such as the last one",
            )


@promise(*MODULES)
def reads_every_channel(probe: Probe) -> None:
    """Every channel of its input has a say in its output."""
    smooth = {"act": lambda **_: nn.SiLU()} if probe.part.declares("act") else {}
    for case in all_cases(probe):
        heard = torch.zeros(case.images().shape[1], dtype=torch.bool)
        for seed in range(3):  # an activation of its own may be shut
            module = case.make(seed=seed, offers={**case.geometry.get("offers", {}), **smooth}).eval()
            images = case.images(size=(SIZE, SIZE), seed=seed, **PLAIN).requires_grad_()
            out = module(images * 1)  # which an activation may overwrite
            if not out.requires_grad:
                heard[:] = True  # another check tells
                break
            (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(seed))).sum().backward()
            heard |= images.grad.ne(0).any(dim=(0, 2, 3)) if images.grad is not None else True
        if deaf := (~heard).nonzero().flatten().tolist():
            raise CheckFailed(
                f"with {case.name}, channels {', '.join(map(str, deaf[:8]))} of its input change nothing",
                means="what the layer before it computes there is lost",
                mend="use all in_channels, or refuse by OptionError those that it cannot use",
            )
