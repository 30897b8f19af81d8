"""Parts: what a component's signature declares, and calling it with just that.

A constructor takes only what it uses. The builder therefore never passes an option that a signature does not name;
what a signature cannot honour is refused aloud, never dropped.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from convzoo.errors import OptionError, PluginError, did_you_mean, listed
from convzoo.registry import Owner, Registry
from convzoo.specs import Component, Options, Ref, as_ref

GIVEN = frozenset({"in_channels", "out_channels", "channels", "num_classes", "stride", "model", "self"})
"""What the builder or a block passes itself, so that no option may set it."""

BUILDERS_OWN = frozenset({"position", "first_dilation", "drop_path_rate"})
"""What the builder alone knows and offers to parts that want it."""

NEUTRAL: Mapping[str, Any] = {"stride": 1, "groups": 1, "dilation": 1}
"""What a part must honour or refuse, and the values that one without the keyword honours by itself."""


_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


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

    def declares(self, name: str) -> bool:
        """Whether the signature names ``name`` as a keyword."""
        parameter = self.signature.parameters.get(name)
        return parameter is not None and parameter.kind in _KEYWORD

    @property
    def options(self) -> list[str]:
        """Keywords that a Ref may set."""
        names = (name for name in self.signature.parameters if self.declares(name))
        return [name for name in names if name not in GIVEN and name not in BUILDERS_OWN]

    def check(self, name: str, value: Any) -> None:
        """Raise OptionError unless ``name`` is an option of the part and ``value`` has its declared type."""
        if name not in self.options:
            raise OptionError(
                f"{self} takes no option {name!r}.{did_you_mean(name, self.options)} It takes: {listed(self.options)}."
            )
        hint = self.hints.get(name)
        if isinstance(value, Ref):
            if not _is_slot(hint):
                raise OptionError(f"{name}={value}: {self} wants {_described(hint)} there, not a component")
        elif not _fits(value, hint):
            raise OptionError(f"{name}={value!r}: {self} wants {_described(hint)}")


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
    return Part(component, owner, target, inspect.signature(target), _hints(function))


def _hints(function: Any) -> dict[str, Any]:
    """A function's annotations, less those that name what is only imported for type checkers."""
    hints = {}
    for name, annotation in getattr(function, "__annotations__", {}).items():
        try:
            hints[name] = eval(annotation, function.__globals__) if isinstance(annotation, str) else annotation
        except NameError:
            continue
    return hints


def find(registry: Registry, kind: str, ref: Ref) -> Part:
    """The part that ``ref`` names as a ``kind``.

    Raises:
        UnknownNameError: there is none.
    """
    return read(*registry.component(kind, ref.name))


class Factory:
    """A component with its options and what the builder offers, to be called by whoever holds the slot."""

    def __init__(self, registry: Registry, kind: str, ref: Ref, offered: Mapping[str, Any]) -> None:
        self.part = find(registry, kind, ref)
        self.ref = checked(registry, kind, ref)
        # A slot's own parts get what holds for the whole layer; its geometry comes from the block that calls it.
        inner = {name: offered[name] for name in ("norm", "act", "position") if name in offered}
        self._options: dict[str, Any] = {}
        # Its own norm and act come first, since they are what its other slots then get.
        for name in sorted(self.ref.options, key=lambda name: name not in inner):
            value = self.ref.options[name]
            self._options[name] = Factory(registry, name, value, inner) if isinstance(value, Ref) else value
            if name in inner:
                inner[name] = self._options[name]
        self._offered = {name: value for name, value in offered.items() if self.part.declares(name)}

    def __call__(self, *args: Any, **given: Any) -> Any:
        keywords = dict(self._offered)
        for name, value in given.items():
            if name in self._options:
                if name in NEUTRAL and value not in (NEUTRAL[name], self._options[name]):
                    raise OptionError(
                        f"{name}={self._options[name]!r} of {self.part} contradicts the block,"
                        f" which needs {name}={value!r}"
                    )
            elif self.part.declares(name):
                keywords[name] = value
            elif self._must_honour(name) and value != NEUTRAL[name]:
                raise OptionError(f"{self.part} has no {name!r} and is needed here with {name}={value!r}")
        keywords.update(self._options)
        try:
            self.part.signature.bind(*args, **keywords)
        except TypeError as error:
            raise OptionError(f"{self.part} of {self.part.owner}: {error}") from None
        try:
            made = self.part.target(*args, **keywords)
        except OptionError as error:
            raise OptionError(f"{error}, in {self.part.component.kind} {self.ref}") from None
        if self.part.component.kind != "init" and not isinstance(made, nn.Module):
            raise OptionError(f"{self.part} of {self.part.owner} gave {type(made).__name__}, not an nn.Module")
        return made

    def _must_honour(self, name: str) -> bool:
        # Shortcuts are told the dilation, but to one that looks at single pixels it means nothing.
        return name in ("stride", "groups") or (name == "dilation" and self.part.component.kind != "shortcut")

    def __repr__(self) -> str:
        return f"<{self.part.component.kind} {self.ref}>"


def checked(registry: Registry, kind: str, ref: Ref) -> Ref:
    """``ref`` under the name that :meth:`~convzoo.registry.Registry.name_of` gives it, with its slots' names made Refs.

    Raises:
        OptionError: the component does not take an option, or not with that type.
        UnknownNameError: it, or a component in one of its slots, does not exist.
    """
    part = find(registry, kind, ref)
    kinds = registry.kinds()
    options = dict(ref.options)
    for name, value in options.items():
        if name in kinds and isinstance(value, str):
            options[name] = as_ref(value)
        part.check(name, options[name])
        if isinstance(options[name], Ref):
            options[name] = checked(registry, name, options[name])
    return Ref(registry.name_of(part.component, part.owner), Options(options))


def require_sizes(part: Part, module: nn.Module, *attributes: str) -> None:
    """Raise OptionError, naming the plugin, unless ``module`` says each of ``attributes`` as a positive int."""
    for name in attributes:
        value = getattr(module, name, None)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise OptionError(f"{part} of {part.owner} must say its {name} as a positive int, got {value!r}")


def _fits(value: Any, hint: Any) -> bool:
    if hint in (int, float, bool, str):
        if hint is float:
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    if hint is None or hint is type(None):
        return value is None if hint else True
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is typing.Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    if origin is collections.abc.Callable:
        return callable(value)
    return not inspect.isclass(hint) or isinstance(value, hint)


def _is_slot(hint: Any) -> bool:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_is_slot(argument) for argument in typing.get_args(hint))
    return hint is None or hint is Any or typing.get_origin(hint) is collections.abc.Callable


def _described(hint: Any) -> str:
    if _is_slot(hint):
        return "a component's name or a ref()"
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(hint))
    return getattr(hint, "__name__", None) if inspect.isclass(hint) else str(hint)  # type: ignore[return-value]
