"""Checks that an option that counts at one stride is not forgotten at another."""

from __future__ import annotations

from typing import Any

import torch

from convzoo.errors import OptionError
from convzoo.spec.refs import Ref
from convzoo.testing.kit.combinations import other_refs
from convzoo.testing.kit.probe import Probe
from convzoo.testing.kit.promises import STRIDED, CheckFailed, NotApplicable, promise
from convzoo.testing.kit.runs import evaluated


@promise(*STRIDED)
def heeds_its_options_at_every_stride(probe: Probe) -> None:
    """A number among its options that gives it other weights at stride 1 gives it something else at stride 2 too."""
    tried = 0
    for option, other in other_refs(probe):
        if type(other.options[option]) is not int:
            continue  # a choice may be of what to do at one stride
        try:
            plain, strided = (_both(probe, other, stride) for stride in (1, 2))
        except OptionError:
            continue
        tried += 1
        shapes = [_shapes(module) for module in (*plain, *strided)]
        if shapes[0] == shapes[1] or shapes[2] != shapes[3] or not shapes[2]:
            continue
        if torch.equal(*(evaluated(module, probe.images()) for module in strided)):
            raise CheckFailed(
                f"at stride 2, {option}={other.options[option]} changes nothing, though it gives other weights at"
                " stride 1",
                means="some layers of a network are not what was asked for",
                mend=f"use {option} at every stride, or raise OptionError where it cannot be used",
            )
    if not tried:
        raise NotApplicable("it has no option that is a number and can be set to another one at both strides")


def _both(probe: Probe, other: Ref, stride: int) -> list[Any]:
    """The part with its first example, and as ``other``."""
    return [probe.make(ref=ref, stride=stride) for ref in (probe.ref, other)]


def _shapes(module: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in module.named_parameters()}
