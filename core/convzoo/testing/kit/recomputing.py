"""Checks of blocks that are computed a second time for the backward pass."""

from __future__ import annotations

import copy

import torch
from torch import nn

from convzoo.network.checkpointing import joined, recomputed
from convzoo.testing.kit.cases import usual_cases
from convzoo.testing.kit.probe import Probe
from convzoo.testing.kit.promises import CheckFailed, promise
from convzoo.testing.kit.runs import changed, close, difference, step


class _Recomputed(nn.Module):
    """``block`` as gradient checkpointing runs it."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return joined(recomputed([self.block], [x]))


@promise("block")
def trains_alike_with_checkpointing(probe: Probe) -> None:
    """Gradient checkpointing, which keeps little and runs it again for the backward pass, changes no training step.

    Outputs, gradients and the state dict are the same. A block with ``appended()`` is its input with what that makes
    of it behind.
    """
    for case in usual_cases(probe):
        plain = case.make_random()
        saving, images, outputs = copy.deepcopy(plain), case.images(batch=4, size=(4, 3)), []
        for module in (plain, _Recomputed(saving)):
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(0)
                outputs.append(step(module, images))
        if not close(outputs[1], outputs[0], 1e-6):
            appends = hasattr(type(plain), "appended")
            raise CheckFailed(
                f"with {case.name}, under gradient checkpointing its output differs by {difference(*outputs):.3g}",
                means="what trains with less memory is another network",
                mend="give torch.cat([x, self.appended()(x)], 1) in forward, or have no method of this name"
                if appends
                else "let forward alone do what calling the block does, by what the block alone has",
            )
        if names := changed(plain.state_dict(), saving.state_dict()):
            raise CheckFailed(
                f"with {case.name}, under gradient checkpointing a step leaves other values in {', '.join(names)}",
                means="what forward changes is changed twice, since it runs a second time",
                mend="let only norms of torch count in forward, and set_progress do the rest",
            )
        theirs = dict(saving.named_parameters())
        for name, parameter in plain.named_parameters():
            gradient, other = parameter.grad, theirs[name].grad
            if gradient is not None and (other is None or not close(other, gradient, 1e-5)):
                raise CheckFailed(
                    f"with {case.name}, under gradient checkpointing the gradient of {name} is another",
                    means="what trains with less memory learns something else",
                    mend="draw with torch's functions, and let nothing that forward changes decide what it does",
                )
