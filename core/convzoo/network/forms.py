"""Telling the weights of a deployed network from those of one in training."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn

from convzoo.network.checkpoints import unwrapped
from convzoo.network.lifecycle import Deployable, set_progress
from convzoo.network.model import ConvNet


def other_form(network: ConvNet, unexpected: Iterable[str]) -> str:
    """What to do about weights that do not fit because they are of the network's other form; empty if they are not.

    Args:
        network: what they were meant for.
        unexpected: keys of the weights that it does not have.
    """
    if network.deployed:
        return " The network is deployed, and takes the weights of a deployed one; load others before convzoo.deploy."
    others = [path for path, module in network.named_modules() if isinstance(module, Deployable)]
    if others and _keys_of_deployed(others[0], network.get_submodule(others[0])).intersection(
        map(unwrapped, unexpected)
    ):
        return (
            " These are the weights of the deployed network: load them into what convzoo.deploy gives at the end of the"
            " training, or make it from the folder that convzoo.save_pretrained wrote."
        )
    return ""


def _keys_of_deployed(path: str, module: nn.Module) -> set[str]:
    """Keys that only the other form of a layer has; none if it cannot be had."""
    try:
        like = copy.deepcopy(module)
        if any(tensor.is_meta for tensor in (*like.parameters(), *like.buffers())):
            like = like.to_empty(device="cpu")
            with torch.no_grad():
                for tensor in (*like.parameters(), *like.buffers()):
                    tensor.fill_(1)
        set_progress(like, 1)
        made = like.eval().deploy()  # type: ignore[operator]
    except Exception:  # of a part of whoever
        return set()
    return {f"{path}.{key}" for key in made.state_dict().keys() - module.state_dict().keys()}
