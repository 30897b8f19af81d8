"""Images to time on, and the check that nothing runs on zeros, subnormal or non-finite numbers.

A processor takes many times as long for subnormal numbers, and fresh networks compute zeros: the last norm of each
branch starts at 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from convzoo.errors import ConvzooError
from convzoo.testing.numerics import load_images

SUBNORMAL = 1e-3
"""The share of subnormal numbers that a row may have without a word."""


class BadValues(ConvzooError):
    """Numbers that nothing should be timed on."""


@dataclass
class Values:
    """What was found: shares of subnormal numbers, and how many are not finite, with the first place of such, layers
    that give ``zero`` only, and whether the whole network is ``silent``."""

    weights: int = 0
    activations: int = 0
    subnormal_weights: int = 0
    subnormal_activations: int = 0
    not_finite: int = 0
    zero: list[str] = field(default_factory=list)
    where: str = ""
    silent: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As the result file has it."""
        return {
            "subnormal_weights": self.subnormal_weights / max(1, self.weights),
            "subnormal_activations": self.subnormal_activations / max(1, self.activations),
            "not_finite": self.not_finite,
        }

    def remark(self) -> str:
        """What is to be said in the row, if anything."""
        shares = self.to_dict()
        said = [
            f"{shares[f'subnormal_{what}']:.1%} of the {what} are subnormal"
            for what in ("weights", "activations")
            if shares[f"subnormal_{what}"] > SUBNORMAL
        ]
        if self.zero:
            said.append(f"{len(self.zero)} layers give nothing but zeros, {self.zero[0]} first")
        return ", ".join(said)


def images_of(batch_size: int, size: int, channels: int, seed: int = 0) -> torch.Tensor:
    """``(batch_size, channels, size, size)`` images of noise, of different brightness and contrast."""
    two = load_images("random", size, seed=seed)
    batch = two.repeat((batch_size + 1) // 2, 1, 1, 1)[:batch_size]
    return batch[:, torch.arange(channels) % batch.shape[1]].contiguous()


def examine(model: nn.Module, images: torch.Tensor, who: str) -> Values:
    """Look at all weights, and at what every layer gives for ``images`` in eval mode.

    Raises:
        BadValues: a number is not finite, or the network gives nothing but zeros.
    """
    found = Values()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            found.weights += tensor.numel()
            found.subnormal_weights += _look(tensor, f"the weight {name}", found)

    def look(path: str) -> Any:
        def hook(module: nn.Module, given: Any, out: Any) -> None:
            if isinstance(out, torch.Tensor) and out.is_floating_point() and out.numel():
                found.activations += out.numel()
                found.subnormal_activations += _look(out, f"what {path} gives", found)
                if not out.any():
                    found.zero.append(path)

        return hook

    hooks = [
        module.register_forward_hook(look(path or "the network"))
        for path, module in model.named_modules()
        if not any(module.children())
    ]
    try:
        with torch.no_grad():
            found.silent = not model.eval()(images).any()
    finally:
        for hook in hooks:
            hook.remove()
    if found.not_finite:
        raise BadValues(f"{who}: {found.not_finite} numbers are not finite, the first in {found.where}")
    if found.silent:
        raise BadValues(f"{who} gives nothing but zeros")
    return found


def _look(tensor: torch.Tensor, where: str, found: Values) -> int:
    """How many numbers are subnormal; ``found`` is told of those that are not finite."""
    wrong = int((~tensor.isfinite()).sum())
    if wrong and not found.not_finite:
        found.where = where
    found.not_finite += wrong
    size = tensor.abs()
    return int(((size > 0) & (size < torch.finfo(tensor.dtype).tiny)).sum())
