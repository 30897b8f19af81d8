"""Parts: what a component's signature declares, and calling it with just that.

A constructor takes only what it uses. The builder therefore never passes an option that a signature does not name;
what a signature cannot honour is refused with an error, never dropped.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from convzoo.building.annotations import described, fits, has_callable, readable
from convzoo.errors import OptionError, PluginError, SpecError, did_you_mean, listed
from convzoo.layers import out_of_place
from convzoo.plugins.host import registry as the_registry
from convzoo.plugins.registry import Owner, Registry
from convzoo.spec.contributions import Component
from convzoo.spec.kinds import NEUTRAL, SHARED, Kind, given, kind_of
from convzoo.spec.refs import Options, PerStage, Ref, as_ref, at_stage

_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_GIVES_NEW_TENSORS = (
    nn.BatchNorm2d,
    nn.SyncBatchNorm,
    nn.GroupNorm,
    nn.InstanceNorm2d,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)
"""Norms of which it is known that their output is never their input."""


@dataclass(frozen=True)
class Part:
    """A component with its signature read."""

    component: Component
    owner: Owner
    target: Any
    signature: inspect.Signature
    hints: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.component.kind} {self.component.name!r}"

    @functools.cached_property
    def kind(self) -> Kind:
        """What holds for parts of its kind."""
        return kind_of(self.component.kind)

    def declares(self, name: str) -> bool:
        """Whether the signature names ``name`` as a keyword."""
        parameter = self.signature.parameters.get(name)
        return parameter is not None and parameter.kind in _KEYWORD

    @functools.cached_property
    def options(self) -> list[str]:
        """Keywords that a Ref may set."""
        own = [name for name in self.signature.parameters if self.declares(name) and name != "self"]
        return [name for name in own if name not in given(self.kind)]

    @functools.cached_property
    def slots(self) -> list[str]:
        """Options that hold a part: those whose annotation says so, by a callable."""
        return [name for name in self.options if has_callable(self.hints.get(name))]

    def default(self, name: str, registry: Registry) -> Any:
        """The value of an option that is not set; of a slot the Ref, where its default is a component."""
        default = self.signature.parameters[name].default
        if isinstance(default, PartByName):
            return default.ref
        if name not in self.slots or not callable(default) or name in SHARED:
            return default
        named = registry.named(name, default)
        return default if named is None else Ref(named)

    def value(self, name: str, value: Any, stage: tuple[int, int] | None = None) -> Any:
        """``value`` as the option ``name`` has it in a stage: in a slot, a string is a component's name.

        Raises:
            OptionError: there is no such option, it has another type, or it differs by stage and there is none.
        """
        value = value if stage is None else at_stage(value, name, *stage)
        if name not in self.options:
            raise OptionError(
                f"{self} takes no option {name!r}.{did_you_mean(name, self.options)} It takes: {listed(self.options)}."
            )
        if isinstance(value, PerStage):
            raise OptionError(f"{name}={value}: only layers, and the parts in their slots, differ by stage")
        hint = self.hints.get(name)
        if name in self.slots and isinstance(value, str) and not fits(value, hint):
            try:
                value = as_ref(value) if stage is None else at_stage(as_ref(value), name, *stage)
            except SpecError as error:
                raise OptionError(f"{name}={value!r}: {error}") from None
        if isinstance(value, Ref):
            if name not in self.slots and hint is not None:
                raise OptionError(f"{name}={value}: {self} wants {described(hint)} there, not a component")
        elif not fits(value, hint) or (name in self.slots and callable(value)):
            raise OptionError(f"{name}={value!r}: {self} wants {described(hint)}")
        return value

    def require_sizes(self, module: nn.Module) -> None:
        """Raise OptionError, naming the plugin, unless ``module`` has the sizes of its kind as positive ints."""
        for name in self.kind.sizes:
            value = getattr(module, name, None)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise OptionError(f"{self} of {self.owner} must have {name}, a positive int; got {value!r}")


@functools.cache
def read(component: Component, owner: Owner) -> Part:
    """Import a component and read its signature.

    Raises:
        PluginError: it does not import.
    """
    try:
        target = component.load()
    except Exception as error:
        what = f"{component.kind} {component.name!r} of {owner} cannot be imported from {component.target}"
        raise PluginError(f"{what}: {type(error).__name__}: {error}") from error
    function = target.__init__ if inspect.isclass(target) else target
    return Part(component, owner, target, inspect.signature(target), readable(function))


def find(registry: Registry, kind: str, ref: Ref) -> Part:
    """The part that ``ref`` names as a ``kind``.

    Raises:
        UnknownNameError: there is none.
    """
    return read(*registry.component(kind, ref.name))


def completed(registry: Registry, kind: str, ref: Ref, stage: tuple[int, int] | None = None) -> Ref:
    """``ref`` checked, with every part in its slots named, defaults included.

    Args:
        registry: where components are looked up.
        kind: of the component.
        ref: its name and options.
        stage: the number of its stage and of all stages, by which each PerStage is replaced; None where there is none.

    Raises:
        OptionError: the component does not take an option, or not with that type.
        UnknownNameError: it, or a component in one of its slots, does not exist.
    """
    part = find(registry, kind, ref)
    options = {name: part.value(name, value, stage) for name, value in ref.options.items()}
    for name in part.slots:
        if name not in options and isinstance(default := part.default(name, registry), Ref):
            options[name] = default
        if isinstance(options.get(name), Ref):
            options[name] = completed(registry, name, options[name], stage)
    return Ref(ref.name, Options(options))


class Factory:
    """A component with checked options and what the builder offers, to be called by whoever holds the slot."""

    def __init__(self, registry: Registry, kind: str, ref: Ref, offered: Mapping[str, Any]) -> None:
        self.part = find(registry, kind, ref)
        self.ref = ref
        self.may_give_its_input = False
        # A slot's own parts get what holds for the whole layer; its geometry comes from the block that calls it.
        inner = {name: offered[name] for name in (*SHARED, "position") if name in offered}
        self._options: dict[str, Any] = {}
        # Its own norm and act come first, since they are what its other slots then get.
        for name in sorted(ref.options, key=lambda name: name not in SHARED):
            value = ref.options[name]
            self._options[name] = Factory(registry, name, value, inner) if isinstance(value, Ref) else value
            if name in SHARED:
                inner[name] = self._options[name]
        self._offered = {name: value for name, value in offered.items() if self.part.declares(name)}
        self._norm = inner.get("norm")

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        part, honoured = self.part, self.part.kind.honoured
        taken = dict(self._offered)
        for name, value in keywords.items():
            if name in self._options:
                if name in honoured and value not in (NEUTRAL, self._options[name]):
                    raise OptionError(
                        f"{name}={self._options[name]!r} of {part} contradicts the block, which needs {name}={value!r}"
                    )
            elif part.declares(name):
                taken[name] = value
            elif name in honoured and value != NEUTRAL:
                raise OptionError(f"{part} has no {name!r} and is needed here with {name}={value!r}")
        taken.update(self._options)
        try:
            part.signature.bind(*args, **taken)
        except TypeError as error:
            raise OptionError(f"{part} of {part.owner}: {error}") from None
        try:
            made = part.target(*args, **taken)
        except OptionError as error:
            raise OptionError(f"{error}, in {part.component.kind} {self.ref}") from None
        if part.kind.shape is None:
            return made
        if not isinstance(made, nn.Module):
            raise OptionError(f"{part} of {part.owner} gave {type(made).__name__}, not an nn.Module")
        if part.component.kind == "norm":
            self.may_give_its_input |= type(made) not in _GIVES_NEW_TENSORS
        elif getattr(self._norm, "may_give_its_input", False):
            # An activation in place would overwrite what shortcuts and later layers still read.
            out_of_place(made)
        return made

    def __repr__(self) -> str:
        return f"<{self.part.component.kind} {self.ref}>"


@dataclass(frozen=True)
class PartByName:
    """A component that is looked up when it is called; see :func:`convzoo.part`."""

    kind: str
    ref: Ref

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        registry = the_registry()
        return Factory(registry, self.kind, completed(registry, self.kind, self.ref), {})(*args, **keywords)

    def __repr__(self) -> str:
        return str(self.ref)

    __name__ = property(__repr__)
