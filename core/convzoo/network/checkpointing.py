"""Running layers a second time for the backward pass, without counting their batch twice."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Appending(Protocol):
    """A block that appends new channels to its input.

    Under checkpointing, what it reads is then kept in pieces: the new channels of each block once, and not the whole
    map once for each block.
    """

    def appended(self) -> nn.Sequential:
        """The layers that make the new channels: the block gives ``torch.cat([x, self.appended()(x)], 1)``."""


def recomputed(blocks: Iterable[nn.Module], pieces: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """What ``blocks`` make of a map in training, keeping little for the backward pass, which computes the rest again.

    Of a block its input is kept, and no more; of a Sequential the outputs of its convolutions too, which take the
    longest to compute. Of what a block appends, the part up to the first convolution is computed again without that,
    and all behind it is kept, which is small beside the map that it reads: Pleiss et al., 2017, arXiv:1707.06990.

    Args:
        blocks: run one after the other.
        pieces: ``(N, C_i, H, W)``; their channels, one behind the other, are the map.

    Returns:
        The last map, in pieces again; :func:`joined` makes it one.
    """
    for block in blocks:
        layers = _layers_of(block)
        if layers is None:
            pieces = [_again([block], pieces)]
        elif layers is block:
            for cut in _cuts(layers):
                pieces = [_again(cut, pieces)]
        else:
            first, *others = _cuts(layers)
            new = _again(first, pieces)
            for layer in itertools.chain(*others):
                new = layer(new)
            pieces = [*pieces, new]
    return list(pieces)


def joined(pieces: Sequence[torch.Tensor]) -> torch.Tensor:
    """``pieces`` of ``(N, C_i, H, W)`` as one map of all their channels."""
    return torch.cat(list(pieces), 1) if len(pieces) > 1 else pieces[0]


def _layers_of(block: nn.Module) -> nn.Sequential | None:
    """The layers that can be run in place of ``block``, if that is all that calling it does: its own, if it is a
    Sequential, or those that make what it appends."""
    appends = hasattr(type(block), "appended")  # of the class, since wrappers lend the attributes of what they wrap
    layers: object = block.appended() if appends else block  # type: ignore[operator]
    if not isinstance(layers, nn.Sequential) or type(layers).forward is not nn.Sequential.forward:
        return None
    return None if _does_more(block) or _does_more(layers) else layers


def _does_more(module: nn.Module) -> bool:
    """Whether calling ``module`` is more than its class's ``forward``: hooks, a compiled or another function."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks) or module._compiled_call_impl is not None or "forward" in vars(module)


def _cuts(layers: nn.Sequential) -> list[list[nn.Module]]:
    """``layers``, cut behind each convolution.

    Computing again ends when all is there that the backward pass asks for. Of the last layer of a cut that is the
    input; so a convolution that is the last is not computed again.
    """
    cuts: list[list[nn.Module]] = [[]]
    for layer in layers:
        cuts[-1].append(layer)
        if isinstance(layer, nn.Conv2d):
            cuts.append([])
    if not cuts[-1] and len(cuts) > 1:
        cuts.pop()
    return cuts


def _again(layers: Sequence[nn.Module], pieces: Sequence[torch.Tensor]) -> torch.Tensor:
    """Run ``layers`` one after the other on the map of ``pieces``, of which alone the backward pass starts."""

    def run(*pieces: torch.Tensor) -> torch.Tensor:
        x = joined(pieces)
        for layer in layers:
            x = layer(x)
        return x

    if torch.compiler.is_compiling():  # a compiled graph changes buffers once, whatever it computes again
        return checkpoint(run, *pieces, use_reentrant=False)
    return checkpoint(run, *pieces, use_reentrant=False, context_fn=functools.partial(_contexts, layers))


def _contexts(
    layers: Sequence[nn.Module],
) -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
    """What the first run of checkpointed ``layers`` is in, and what the second one."""
    return contextlib.nullcontext(), _statistics_kept(layers)


@contextlib.contextmanager
def _statistics_kept(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Norms that track statistics normalise as before and save what they saved before, but take no step."""
    tracking: list[Any] = [m for layer in layers for m in layer.modules() if getattr(m, "track_running_stats", False)]
    before = [(m, m.momentum, m.num_batches_tracked.clone()) for m in tracking]
    for module in tracking:
        module.momentum = 0.0
    try:
        yield
    finally:
        for module, momentum, batches in before:
            module.momentum = momentum
            module.num_batches_tracked.copy_(batches)
