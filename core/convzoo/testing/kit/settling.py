"""Checks that eval mode computes what training has come to."""

from __future__ import annotations

import torch
from torch import nn

from convzoo.testing.kit.cases import usual_cases
from convzoo.testing.kit.combinations import Affine
from convzoo.testing.kit.probe import Probe
from convzoo.testing.kit.promises import MODULES, CheckFailed, promise
from convzoo.testing.kit.runs import close, difference, evaluated, seeded, state_of

PASSES = 600
"""After which a moving average has come to rest, also one that takes a hundredth of each batch."""
TOLERANCE = 0.05
"""A variance may be divided by the number of values, or by one less."""


@promise(*MODULES)
def evaluates_what_it_has_trained(probe: Probe) -> None:
    """After many passes over one batch, eval mode gives what training mode gives, unless that is random."""
    # Norms that it is offered are examined by themselves.
    offers = {"norm": lambda channels, **_: Affine(channels)} if probe.part.declares("norm") else {}
    for case in usual_cases(probe):
        module, images = case.make(offers=offers), case.images(batch=8, mean=1.0)
        start = state_of(module)
        first = _trained(module, images, 0)
        module.load_state_dict(start)
        if not close(_trained(module, images, 1), first, 1e-4):
            continue
        trained = _settled(module, images)
        out = evaluated(module, images)
        if not close(out, trained, TOLERANCE):
            kept = [name for name, tensor in module.state_dict().items() if not torch.equal(tensor, start[name])]
            raise CheckFailed(
                f"with {case.name}, after many passes over one batch eval mode differs from training mode by"
                f" {difference(out, trained):.3g}" + (f", with {', '.join(kept)}" if kept else ""),
                means="what is evaluated is another function than the one that was trained",
                mend="keep in buffers what eval mode reads: a variance where that is a variance, and not a deviation",
            )


def _settled(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What training mode gives once its buffers have come to rest."""
    for _ in range(PASSES):
        before = state_of(module)
        out = _trained(module, images, 0)
        if all(_at_rest(tensor, before[name]) for name, tensor in module.state_dict().items()):
            break
    return out


def _at_rest(now: torch.Tensor, before: torch.Tensor) -> bool:
    return not now.is_floating_point() or torch.allclose(now, before, rtol=1e-5, atol=1e-7)


def _trained(module: nn.Module, images: torch.Tensor, seed: int) -> torch.Tensor:
    with seeded(seed), torch.no_grad():
        return module.train()(images.clone())
