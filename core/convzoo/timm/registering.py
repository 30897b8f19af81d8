"""Putting models of the zoo into timm's registry."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable

from timm.models import is_model, register_model
from torch import nn

from convzoo.api import list_models, model_info
from convzoo.errors import PluginWarning
from convzoo.packages import timm_name
from convzoo.spec.model import Model
from convzoo.timm import zoo
from convzoo.timm.configs import default_cfg
from convzoo.timm.creating import create

_known: dict[str, tuple[str, Model]] = {}
"""By timm's name: the zoo's, and what it stood for when it was registered."""
_lock = threading.Lock()


def register(*names: str) -> list[str]:
    """Register models of the zoo in timm; what is there already stays.

    It is called when ``convzoo.timm`` is imported, and after each :func:`convzoo.register`.

    Args:
        *names: of models, also aliases and names by a rule, such as ``"wrn46_3"``; all that
            :func:`convzoo.list_models` lists without.

    Returns:
        timm's names of those that are new there.

    Raises:
        UnknownNameError: there is no such model; nothing is registered then.

    Warns with a :class:`~convzoo.PluginWarning` where timm knows another model by the name already, which it keeps.
    """
    found = {name: model_info(name).spec for name in names or list_models()}
    with _lock:
        return [own for name, spec in found.items() if (own := _register(name, spec))]


def _register(name: str, spec: Model) -> str:
    """timm's name of the model that is registered; empty if it is there already, or if the name is taken."""
    own = timm_name(name)
    known = _known.get(own)
    if known == (name, spec):
        return ""
    if is_model(own) if known is None else known[0] != name:
        holder = f"the model {known[0]!r}" if known else "another package"
        warnings.warn(f"the model {name!r} is not in timm: {own!r} is taken there by {holder}", PluginWarning, 3)
        return ""
    zoo.default_cfgs[own] = default_cfg(spec)
    entry = _entry_point(name, own)
    setattr(zoo, own, entry)
    if known is None:
        register_model(entry)
    else:
        with warnings.catch_warnings():  # that it is overwritten: it is meant to be
            warnings.simplefilter("ignore")
            register_model(entry)
    _known[own] = name, spec
    return own


def _entry_point(name: str, own: str) -> Callable[..., nn.Module]:
    """The function that timm calls for a model, which it knows by the function's name and module."""
    made = functools.partial(create, name, own)

    def entry(pretrained: bool = False, **options: object) -> nn.Module:
        return made(pretrained=pretrained, **options)  # type: ignore[arg-type]

    entry.__name__ = entry.__qualname__ = own
    entry.__module__ = zoo.__name__
    entry.__doc__ = f"The zoo's model {name}; see :func:`convzoo.create_model`."
    return entry
