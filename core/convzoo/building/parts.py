"""Parts: what a component's signature declares, and refs to it that are checked and whole."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from convzoo.building.annotations import described, fits, has_callable, readable
from convzoo.errors import LARGEST, OptionError, PluginError, cut, did_you_mean, listed, said_in_full, scalar, shown
from convzoo.plugins.registry import Owner, Registry
from convzoo.spec.contributions import Component
from convzoo.spec.kinds import SHARED, Kind, given, kind_of
from convzoo.spec.refs import Options, PerStage, Ref, as_ref, at_stage

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
        if isinstance(getattr(default, "ref", None), Ref):  # what convzoo.part() gives
            return default.ref
        if name not in self.slots or not callable(default) or name in SHARED:
            return default
        named = registry.named(name, default)
        return default if named is None else Ref(named)

    def value(self, name: str, value: Any, stage: tuple[int, int] | None = None) -> Any:
        """``value`` as the option ``name`` has it in a stage: in a slot, a string is a component's name.

        OptionError if there is no such option, it has another type, or it differs by stage and there is none.
        """
        value = value if stage is None else at_stage(value, name, *stage)
        if name not in self.options:
            others = f"{did_you_mean(name, self.options)} It takes: {listed(self.options)}."
            raise OptionError(f"{self} takes no option {shown(name)}.{others}")
        if isinstance(value, PerStage):
            raise OptionError(f"{name}={cut(value)}: only layers, and the parts in their slots, differ by stage")
        hint = self.hints.get(name)
        if name in self.slots and isinstance(value, str) and not fits(value, hint):
            value = as_ref(value, name)
            value = value if stage is None else at_stage(value, name, *stage)
        if isinstance(value, Ref):
            if name not in self.slots:
                raise OptionError(f"{name}={cut(value)}: {self} wants {described(hint)} there, not a component")
        elif not fits(value, hint) or (name in self.slots and callable(value)):
            raise OptionError(f"{name}={shown(value)}: {self} wants {described(hint)}")
        return value

    def require_sizes(self, module: nn.Module) -> None:
        """Raise OptionError, naming the plugin, unless ``module`` has the sizes of its kind as positive ints."""
        for name in self.kind.sizes:
            value = getattr(module, name, None)
            if type(number := scalar(value)) is not int or not 1 <= number <= LARGEST:
                raise OptionError(f"{self} of {self.owner} must have {name}, a positive int; got {shown(value)}")


@functools.cache
def read(component: Component, owner: Owner) -> Part:
    """A component's code, imported, and its signature; PluginError if either cannot be had."""
    doing = f"imported from {component.target}"
    try:
        target = component.load()
        doing = "read: its signature cannot be had"
        function = target.__init__ if inspect.isclass(target) else target
        # A module without a constructor of its own takes nothing, whatever torch's says.
        signature = inspect.Signature() if function is nn.Module.__init__ else inspect.signature(target)
        return Part(component, owner, target, signature, readable(function))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        what = f"{component.kind} {component.name!r} of {owner} cannot be {doing}"
        raise PluginError(f"{what}: {said_in_full(error)}. {owner.cure}.") from error


def find(registry: Registry, kind: str, ref: Ref) -> Part:
    """The part that ``ref`` names as a ``kind``; UnknownNameError if there is none."""
    return read(*registry.component(kind, ref.name))


def completed(registry: Registry, kind: str, ref: Ref, stage: tuple[int, int] | None = None) -> Ref:
    """``ref`` checked, with every part in its slots named, defaults included.

    ``stage``, its number and that of all stages, says what each PerStage becomes; None where there is no stage.

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
