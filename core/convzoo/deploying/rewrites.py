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
    """

    name: str
    reason: str
    apply: Callable[[Graph], int]


REWRITES = (
    Rewrite("drop what is idle", "dropouts and identities do nothing in eval mode", folding.drop_idle),
    Rewrite("fold norms into convolutions", "a pass over the map less", folding.fold_norms),
    Rewrite("clamp for norm and ReLU", "one pass, which can read a part of a larger map", folding.clamp_first),
    Rewrite("pool before 1x1 convolutions", "which have fewer pixels to work on then", folding.pool_first),
    Rewrite("scale and shift for norms", "one pass, with the activation", folding.reduce_norms),
    Rewrite("sum in convolutions", "a pass over two maps less", fusing.fuse_sums),
    Rewrite("activate in convolutions", "a pass over the map less", fusing.fuse_acts),
    Rewrite("lay out weights", "once, and not in each pass", fusing.lay_out),
    Rewrite("pool for means", "its kernel is faster than that of a mean", fusing.pool_means),
    Rewrite("overwrite what nobody reads", "no memory is asked for", fusing.overwrite),
)
"""A deployed network is what these leave, one after the other, of each part."""
