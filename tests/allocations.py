"""What is allocated while something is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from convzoo import OptionError


class Allocations(TorchDispatchMode):
    """The tensors for weights that come into being within, other than those of the meta device.

    A norm's statistics, which torch makes as zeros and ones, are no weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        made = [
            leaf
            for leaf in tree_leaves(output)
            if isinstance(leaf, torch.Tensor) and not leaf.is_meta and func.__name__.startswith("empty")
        ]
        self.seen += [func.__name__] * len(made)
        return output


def refused(call: Callable[[], Any], error: type[Exception] = OptionError) -> str:
    """The message with which ``call`` is refused, without having allocated any weight."""
    with Allocations() as recorded, pytest.raises(error) as caught:
        call()
    assert recorded.seen == []
    return str(caught.value)
