"""Checks of how networks start."""

from __future__ import annotations

import torch
from torch import nn

from convzoo.building.factory import Factory
from convzoo.testing.kit.probe import Probe
from convzoo.testing.kit.promises import CheckFailed, promise
from convzoo.testing.kit.runs import changed, seeded, state_of


@promise("init")
def starts_tensors_of_the_model(probe: Probe) -> None:
    """It gives pairs (tensor, fill) of the model's own tensors; a fill leaves finite values, the same for one seed."""
    depthwise, pointwise = nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 1, 1)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), depthwise, nn.Conv2d(8, 8, 3, groups=2), pointwise, nn.PReLU()),
        *(
            nn.GroupNorm(2, 8),
            nn.Conv2d(1, 1, 1),
            nn.Conv2d(8, 8, (1, 3), bias=False),
            nn.Linear(8, 4),
            nn.Linear(4, 1),
        ),
    )
    own = {id(tensor): name for name, tensor in model.state_dict(keep_vars=True).items()}
    start = state_of(model)
    pairs = list(Factory(probe.registry, "init", probe.ref, {})(model))
    if moved := changed(start, model.state_dict()):
        raise CheckFailed(
            f"it changes {', '.join(moved)} itself",
            means="the network's builder does not see it, and fills them again",
            mend="only yield (tensor, fill), and let the fill do it",
        )
    for tensor, fill in pairs:
        known = id(tensor) in own
        filled: list[torch.Tensor] = []
        drawn: list[float] = []
        before = state_of(model)
        for attempt in (0, 1, 1):
            with torch.no_grad(), seeded(len(filled)):
                torch.default_generator.manual_seed(attempt)
                fill(tensor)
                drawn.append(float(torch.rand(())))
            filled.append(tensor.detach().clone())
        if others := [name for name in changed(before, model.state_dict()) if known and name != own[id(tensor)]]:
            raise CheckFailed(
                f"the fill of {own[id(tensor)]} changes {', '.join(others)}",
                means="tensors start otherwise than it says, or twice",
                mend="let a fill work on the tensor that it is given; a lambda in a loop sees the loop's last value",
            )
        if drawn[0] == drawn[1]:
            raise CheckFailed(
                f"the fill of {own.get(id(tensor), 'a tensor')} seeds torch's generator",
                means="every seed gives the same network, and what is drawn after it is the same as well",
                mend="draw with torch's functions, without seeding",
            )
        if tensor.isfinite().all() and not torch.equal(filled[1], filled[2]):
            raise CheckFailed(
                f"after torch.manual_seed, it fills {own.get(id(tensor), 'a tensor')} with other values each time",
                means="no training can be repeated",
                mend="draw with torch's functions, without a generator of your own",
            )
        if tensor.dim() > 1 and len(tensor) > 1 and known and torch.equal(tensor, tensor[:1].expand_as(tensor)):
            raise CheckFailed(
                f"it fills {own[id(tensor)]} with the same values for every channel",
                means="all channels compute and learn the same",
                mend="draw the weights of convolutions and linear layers at random",
            )
        if not known or not tensor.isfinite().all():
            raise CheckFailed(
                "it fills a tensor " + ("with values that are not finite" if known else "that is not the model's"),
                means="networks do not start as it says",
                mend="yield (parameter, fill) for parameters of model.modules(), with a fill of torch.nn.init",
            )
