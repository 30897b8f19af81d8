"""The one hook by which everything enters the zoo, and what a plugin gives by it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from convzoo.errors import PluginError, shown

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

    Every part, but norms, activations and inits, is offered ``norm`` and ``act``, callables that make them. Blocks, and
    the parts in their slots, are offered ``position``, a :class:`~convzoo.layers.Position`; declare it as
    ``position: Position | None = None``, since a part that is made by hand has none. Blocks are offered ``dilation``
    (of the stage), ``first_dilation`` (of the stage before, for the first spatial convolution) and ``drop_path_rate``
    too.

    An option whose annotation is a callable (:data:`~convzoo.layers.Maker`) is a slot: its value is a component of the
    kind that is named like the option, and the part receives a callable that makes it. Its default is a component too,
    as ``convzoo.part(kind, name)`` or as the class or function that the component names; the model's spec then says so.
    """


def contributed(plugin: Any, name: str) -> list[Any]:
    """All that a plugin, an object that has the hook, contributes.

    pluggy finds and checks the hook, with a manager for this plugin alone: nothing of one that fails is left behind.

    Raises:
        PluginError: it has no hook, or the hook gives no sequence of contributions back.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(sys.modules[__name__])
    manager.register(plugin, name)
    manager.check_pending()
    hook, results = manager.hook.convzoo_contribute, list[Any]()
    if not hook.get_hookimpls():
        raise PluginError(f"it has no {hook.name}() marked with @convzoo.hookimpl")
    hook.call_historic(result_callback=results.append)
    if not results:
        raise PluginError(f"its {hook.name}() returns None; it should yield components and models")
    for result in results:
        if isinstance(result, (str, bytes, Mapping)) or not isinstance(result, Iterable):
            why = "no sequence of contributions" if isinstance(result, Iterable) else "not iterable"
            should = "it should yield components and models"
            raise PluginError(f"its {hook.name}() returns {shown(result)}, which is {why}; {should}")
    return [item for result in results for item in result]
