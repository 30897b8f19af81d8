"""The one hook by which everything enters the zoo."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from convzoo.spec.contributions import Component, Pattern
    from convzoo.spec.model import Model

PROJECT = "convzoo"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's ``convzoo_contribute``."""


@hookspec(historic=True)
def convzoo_contribute() -> Iterable[Component | Model | Pattern]:  # type: ignore[empty-body]
    """Yield the components and models that a plugin adds, and the patterns of names that stand for more models.

    A component is called with the arguments of its kind, then with whatever its signature declares by keyword: options
    of its own, which a ``Ref`` sets, and what its kind is offered (``convzoo.spec.kinds`` has the table).

    Every part is offered ``norm`` and ``act``, callables that make them. Blocks, and the parts in their slots, are
    offered ``position``, a :class:`~convzoo.layers.Position`; declare it as ``position: Position | None = None``, since
    a part that is made by hand has none. Blocks are offered ``dilation`` (of the stage), ``first_dilation`` (of the
    stage before, for the first spatial convolution) and ``drop_path_rate`` too.

    An option whose annotation is a callable (:data:`~convzoo.layers.Maker`) is a slot: its value is a component of the
    kind that is named like the option, and the part receives a callable that makes it. Its default is a component too,
    as ``convzoo.part(kind, name)`` or as the class or function that the component names; the model's spec then says so.
    """
