"""The one hook by which everything enters the zoo, and what each kind of component promises."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from convzoo.specs import Component, Model, Pattern

PROJECT = "convzoo"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's ``convzoo_contribute``."""


@hookspec(historic=True)
def convzoo_contribute() -> Iterable[Component | Model | Pattern]:  # type: ignore[empty-body]
    """Yield the components and models that a plugin adds, and the patterns of names that stand for more models.

    A component is called by the builder with what its kind is given, then with whatever of its options, and of
    what the builder knows, its signature declares by keyword:

    ======== =========================================== ====================================================
    kind     called with                                 gives
    ======== =========================================== ====================================================
    stem     ``in_channels``                             module, with ``out_channels`` and ``reduction`` (its total
                                                         stride); ``forward_intermediates(x) -> (out, [feature])``
                                                         and ``feature_info`` if it has a level before its pool
    block    ``in_channels, *, stride``                  module, with ``out_channels``
    head     ``in_channels, num_classes``                module, with ``classifier_name``, the name of its last layer;
                                                         ``forward(x, pre_logits=False)``, and
                                                         ``reset(num_classes, global_pool=None)``
    attention ``channels``                               module that keeps the shape
    conv     ``in_channels, out_channels, *, stride,     module: the spatial convolution of a block with its norm
             groups, dilation``                          and activation; the two channel counts may differ
    shortcut ``in_channels, out_channels, *, stride,     module that maps a block's input onto its output's shape
             dilation, first_dilation``
    norm     ``channels``                                module that keeps the shape
    act      nothing                                     module that keeps the shape; it may work in place, so it is
                                                         given only what nobody else reads
    init     ``model``                                   iterable of ``(tensor, fill)``: how tensors start whose part
                                                         left them at torch's default
    ======== =========================================== ====================================================

    The builder offers every part ``norm`` and ``act`` (callables), those in slots included, and blocks and the parts in
    their slots ``position`` (a :class:`~convzoo.layers.Position`: stage, layer in it, index, total). Declare it as
    ``position: Position | None = None``; a part that is made by hand has none. Blocks are offered ``dilation`` (of the
    stage), ``first_dilation`` (of the stage before, for the first spatial convolution) and ``drop_path_rate`` too.

    An option whose value is a ``Ref`` is a slot: it is looked up under its own keyword as kind, and the part receives a
    callable in its place.
    """
