"""Telling the weights of a deployed network from those of one in training."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from convzoo.network.checkpoints import unwrapped
from convzoo.network.model import ConvNet


def other_form(network: ConvNet, missing: Iterable[str], unexpected: Iterable[str]) -> str:
    """What to do about weights that do not fit because they are of the network's other form; empty if they are not.

    In the deployed form norms have become biases of convolutions that had none.

    Args:
        network: what the weights were meant for.
        missing: keys that it has and they have not.
        unexpected: keys that they have and it has not.
    """
    if network.deployed:
        return " The network is deployed, and takes the weights of a deployed one; load others before convzoo.deploy."
    unbiased = {f"{path}.bias" for path, module in network.named_modules() if _is_unbiased(module)}
    biases = {unwrapped(key).replace("stem.body.", "stem.") for key in unexpected} & unbiased
    if biases and any(key.endswith(".running_mean") for key in missing):
        return (
            " These are the weights of the deployed network: load them into what convzoo.deploy gives at the end of the"
            " training, or make it from the folder that convzoo.save_pretrained wrote."
        )
    return ""


def _is_unbiased(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.bias is None
