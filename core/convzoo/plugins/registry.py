"""Who contributed what: components by kind and name, models by name and alias."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from types import MethodType
from typing import Any, NamedTuple

from convzoo.errors import PluginError, UnknownNameError, did_you_mean, listed, shown
from convzoo.plugins.catalogue import catalogue, first_party, normalized, provider
from convzoo.plugins.owner import Owner
from convzoo.plugins.patterns import Failures
from convzoo.spec.contributions import Component, Pattern
from convzoo.spec.kinds import KINDS
from convzoo.spec.model import Model
from convzoo.spec.refs import NAME, NAME_RULE, NO_OPTIONS, Options


@dataclass(frozen=True)
class Named:
    """What a model's name stands for: its spec, the options that this name overrides, and its owner."""

    spec: Model
    overrides: Options
    owner: Owner


class Registry:
    """The components and models of all plugins; a name belongs to the plugin that came first."""

    def __init__(self) -> None:
        self._now = _Contents({}, {}, [])  # replaced as a whole, so that other threads see all of a change or nothing
        self.failures = Failures()

    def add(self, owner: Owner, items: Iterable[Any]) -> None:
        """Add all of ``items`` in place of what ``owner`` had, or, if any of them cannot be added, change nothing.

        Raises:
            PluginError: an item is not a Component, Model or Pattern, or its name is malformed or taken.
        """
        components = {key: each for key, each in self._now.components.items() if each[1] != owner}
        models = {name: entry for name, entry in self._now.models.items() if entry.owner != owner}
        patterns = [each for each in self._now.patterns if each[1] != owner]
        for item in items:
            if type(item) is Component:
                key = item.kind, item.name
                holder = components[key][1] if key in components else None
                _claim(owner, item.kind, item.name, f"{item.kind}/{item.name}", holder)
                components[key] = item, owner
            elif type(item) is Model:
                for name, overrides in ((item.name, NO_OPTIONS), *((a.name, a.options) for a in item.aliases)):
                    made, _ = self._by_pattern(name)
                    taken = models.get(name) or (made if made and made.owner != owner else None)
                    _claim(owner, "model", name, name, taken.owner if taken else None)
                    models[name] = Named(item, overrides, owner)
            elif type(item) is Pattern:
                patterns.append((item, owner))
            else:
                what = "neither a Component nor a Model nor a Pattern, itself and not by inheritance"
                raise PluginError(f"contributed {shown(item)}, which is {what}")
        self._now = _Contents(components, models, patterns)
        self.failures.forget(owner)

    def components(self, kind: str | None = None) -> list[tuple[Component, Owner]]:
        """Every component, or every one of a kind; by kind, in the order of the table of kinds, and name."""
        chosen = [each for key, each in self._now.components.items() if kind in (None, key[0])]
        order = {name: number for number, name in enumerate(KINDS)}
        return sorted(chosen, key=lambda c: (order.get(c[0].kind, len(order)), c[0].kind, c[0].name))

    def component(self, kind: str, name: str) -> tuple[Component, Owner]:
        """The component of a kind and name, and who contributed it.

        Raises:
            UnknownNameError: there is none; the message says what there is, or which first-party plugin has it.
        """
        try:
            return self._now.components[kind, name]
        except KeyError:
            known = {n for k, n in self._now.components if k == kind}
            raise _unknown(kind, name, f"{kind}/{name}", f"Known as {kind}: {listed(known)}.", known) from None

    def named(self, kind: str, target: Any) -> str | None:
        """The name of the component of a kind whose code ``target`` is, or None if it is no component's."""
        where = f"{getattr(target, '__module__', '')}:{getattr(target, '__qualname__', '')}"
        for (of, name), (component, _) in self._now.components.items():
            own = component.target
            # Methods are made anew each time that they are asked for; others' own idea of being equal is not asked.
            if of == kind and (own is target or (isinstance(own, (str, MethodType)) and own in (where, target))):
                return name
        return None

    def patterns(self) -> list[tuple[Pattern, Owner]]:
        """Every pattern, in the order in which they are asked."""
        return list(self._now.patterns)

    def models(self, aliases: bool = False) -> dict[str, Named]:
        """Models by canonical name, in order; with ``aliases``, under every name."""
        models = self._now.models
        names = sorted(models, key=_natural)
        return {name: models[name] for name in names if aliases or name == models[name].spec.name}

    def model(self, name: str) -> Named:
        """What a model's name or alias stands for.

        Raises:
            UnknownNameError: nobody contributed it; the message has the closest names, or the plugin to install.
        """
        entry, why = self._now.models.get(name), ""
        if entry is None:
            entry, why = self._by_pattern(name)
            self.failures.complain()
        if entry:
            return entry
        if why:
            raise UnknownNameError(f"There is no model {name!r}: {why.removesuffix('.')}.")
        there_is = f"`convzoo list` shows the {len(self.models())} that are installed."
        raise _unknown("model", name, name, there_is, set(self._now.models))

    def _by_pattern(self, name: str) -> tuple[Named | None, str]:
        """What a name stands for by the first pattern that makes a model of it, or None and why none does."""
        made, why = self.failures.model(self._now.patterns, name)
        return (Named(made[0], NO_OPTIONS, made[1]) if made else None), why


class _Contents(NamedTuple):
    """What a registry has."""

    components: dict[tuple[str, str], tuple[Component, Owner]]
    models: dict[str, Named]
    patterns: list[tuple[Pattern, Owner]]


def _claim(owner: Owner, what: str, name: str, label: str, holder: Owner | None) -> None:
    """Raise PluginError unless ``owner`` may contribute a name, which ``holder`` has, the catalogue as ``label``."""
    if not NAME.fullmatch(name):
        raise PluginError(f"{what} {name!r}: {NAME_RULE}")
    if holder == owner:
        raise PluginError(f"{what} {name!r} is contributed twice by {owner}")
    if holder:
        # A plugin of the session, and one of the zoo's own, is not kept out for the sake of another.
        fixed = normalized(holder.distribution) in {"none", *first_party()}
        cure = "" if fixed else f", or keep that plugin out: CONVZOO_DISABLE={holder.distribution}"
        taken = f"{what} {name!r} is taken by {holder}, which comes before {owner}"
        raise PluginError(f"{taken}; choose another name{cure}")
    first = catalogue().get(label)
    if first and normalized(owner.distribution) not in {first, *first_party()}:
        raise PluginError(f"{what} {name!r} is a name of {first}, installed or not; choose another name")


def _unknown(what: str, name: str, label: str, there_is: str, known: set[str]) -> UnknownNameError:
    """The error for a name that is not in ``known``, the catalogue's ``label``."""
    place = label.rpartition("/")[0]
    elsewhere = {each.rpartition("/")[2] for each in catalogue() if each.rpartition("/")[0] == place}
    hint = provider(label) or did_you_mean(name, known | elsewhere)
    return UnknownNameError(f"There is no {what} {name!r}.{hint} {there_is}")


def _natural(name: str) -> tuple[Any, ...]:
    """Sort key that puts ``x18`` before ``x101``."""
    parts = re.split(r"(\d+)", name)
    return tuple((len(part.lstrip("0")), part.lstrip("0")) if number % 2 else part for number, part in enumerate(parts))
