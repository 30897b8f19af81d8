"""Calling a component with just what its signature declares.

A constructor takes only what it uses. The builder therefore never passes an option that a signature does not name;
what a signature cannot honour is refused with an error, never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from convzoo.building.parts import completed, find
from convzoo.errors import ConvzooError, OptionError, cut, said, shown
from convzoo.layers import out_of_place, require_positive
from convzoo.plugins.exits import ended
from convzoo.plugins.host import registry as the_registry
from convzoo.plugins.registry import Registry
from convzoo.spec.kinds import NEUTRAL, SHARED
from convzoo.spec.refs import Ref

_TORCHS_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.GroupNorm, nn.InstanceNorm2d, nn.LayerNorm, nn.LocalResponseNorm)
"""Norms whose output is never their input."""


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
                raise OptionError(
                    f"{part} has no {name!r} and is needed here with {name}={value!r}, in {part.component.kind}"
                    f" {cut(self.ref)}"
                )
        taken.update(self._options)
        try:
            for name, value in zip(part.kind.arguments, args, strict=False):
                if name.endswith("channels"):
                    require_positive(name, value)
            made = part.target(*args, **taken)
            made = list(made) if part.kind.shape is None else made
        except OptionError as error:
            # The ends of a network are called with options of the model.
            ends = self._sizes(args) if part.kind.shape in ("image", "classes") else ""
            raise OptionError(f"{error}, in {part.component.kind} {cut(self.ref)}{ends}") from error.__cause__
        except ConvzooError:
            raise
        except Exception as error:
            self._must_bind(args, taken)
            what = f"{part.component.kind} {cut(self.ref)} of {part.owner} cannot be made{self._sizes(args)}"
            raise OptionError(f"{what}: {said(error)}") from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise ended(f"{part} of {part.owner} cannot be made", error, part.owner.cure) from error
        if part.kind.shape is None:
            return made
        if not isinstance(made, nn.Module):
            raise OptionError(f"{part} of {part.owner} gave {type(made).__name__}, not an nn.Module")
        if part.component.kind == "norm":
            self.may_give_its_input |= type(made) not in _TORCHS_NORMS
        elif getattr(self._norm, "may_give_its_input", False):
            # An activation in place would overwrite what shortcuts and later layers still read.
            out_of_place(made)
        return made

    def _sizes(self, args: tuple[Any, ...]) -> str:
        """What it is called with, in words."""
        sizes = [f"{name}={shown(value)}" for name, value in zip(self.part.kind.arguments, args, strict=False)]
        return f" with {', '.join(sizes)}" if sizes else ""

    def _must_bind(self, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
        """Raise OptionError unless the signature takes these arguments; asked only where a call has failed."""
        try:
            self.part.signature.bind(*args, **keywords)
        except TypeError as error:
            raise OptionError(f"{self.part} of {self.part.owner}: {error}") from None

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
