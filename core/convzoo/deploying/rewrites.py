"""The rewrites, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convzoo.deploying import folding, fusing
from convzoo.deploying.graphs import Graph


@dataclass(frozen=True)
class Rewrite:
    """A change of a part's graph that keeps what it computes.

    Attributes:
        name: what is done, in a few words.
        reason: why that is faster.
        apply: changes a graph wherever it can, and gives in how many places.
        slower_in: engines that run what it leaves slower than what was there, once that is exported to them.
    """

    name: str
    reason: str
    apply: Callable[[Graph], int]
    slower_in: tuple[str, ...] = ()


ONNX = ("onnxruntime",)
"""Its convolutions have a layout of their own, in which it has norms and ReLU, but no clamp and no scale by channel."""

REWRITES = (
    Rewrite("drop what is idle", "dropouts and identities do nothing in eval mode", folding.drop_idle),
    Rewrite("fold norms into convolutions", "a pass over the map less", folding.fold_norms),
    Rewrite("clamp for norm and ReLU", "one pass, which can read a part of a larger map", folding.clamp_first, ONNX),
    Rewrite("pool before 1x1 convolutions", "which have fewer pixels to work on then", folding.pool_first),
    Rewrite("scale and shift for norms", "one pass, with the activation", folding.reduce_norms, ONNX),
    Rewrite("sum in convolutions", "a pass over two maps less", fusing.fuse_sums),
    Rewrite("activate in convolutions", "a pass over the map less", fusing.fuse_acts),
    Rewrite("lay out weights", "once, and not in each pass", fusing.lay_out),
    Rewrite("pool for means", "its kernel is faster than that of a mean", fusing.pool_means),
    Rewrite("overwrite what nobody reads", "no memory is asked for", fusing.overwrite),
)
"""A deployed network is what these leave, one after the other, of each part."""


def rewrites_for(engine: str) -> tuple[Rewrite, ...]:
    """Those that pay where ``engine`` runs the network."""
    return tuple(rewrite for rewrite in REWRITES if engine not in rewrite.slower_in)
