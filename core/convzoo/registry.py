"""Who contributed what: components by kind and name, models by name and alias. This module imports no torch."""

from __future__ import annotations

import fnmatch
import functools
import importlib.resources
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from convzoo.errors import PluginError, SpecError, UnknownNameError, did_you_mean, listed
from convzoo.specs import NAME, NAME_RULE, NO_OPTIONS, Component, Model, Options, Pattern


@dataclass(frozen=True)
class Owner:
    """The plugin that contributed something."""

    name: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class Named:
    """What a model's name stands for: its spec, the options that this name overrides, and its owner."""

    spec: Model
    overrides: Options
    owner: Owner


class Registry:
    """The components and models of all plugins."""

    def __init__(self) -> None:
        self._components: dict[tuple[str, str], tuple[Component, Owner]] = {}
        self._models: dict[str, Named] = {}
        self._patterns: list[tuple[Pattern, Owner]] = []

    def add(self, owner: Owner, items: Iterable[Any]) -> None:
        """Add all of ``items``, or, if any of them cannot be added, none.

        Raises:
            PluginError: an item is not a Component or Model, or its name is malformed or taken.
        """
        components: dict[tuple[str, str], tuple[Component, Owner]] = {}
        models: dict[str, Named] = {}
        patterns: list[tuple[Pattern, Owner]] = []
        for item in items:
            if isinstance(item, Component):
                key = (item.kind, item.name)
                self._claim(f"{item.kind} {item.name!r}", item.name, key, owner, components, self._components)
                components[key] = (item, owner)
            elif isinstance(item, Model):
                for name, overrides in ((item.name, NO_OPTIONS), *((a.name, a.options) for a in item.aliases)):
                    self._claim(f"model {name!r}", name, name, owner, models, self._models)
                    models[name] = Named(item, overrides, owner)
            elif isinstance(item, Pattern):
                patterns.append((item, owner))
            else:
                raise PluginError(f"contributed {item!r}, which is neither a Component nor a Model nor a Pattern")
        self._components.update(components)
        self._patterns += patterns
        self._models.update(models)

    @staticmethod
    def _claim(
        what: str, name: str, key: Any, owner: Owner, staged: Mapping[Any, Any], existing: Mapping[Any, Any]
    ) -> None:
        if not NAME.fullmatch(name):
            raise PluginError(f"{what}: {NAME_RULE}")
        if key in staged:
            raise PluginError(f"{what} is contributed twice by {owner}")
        if key in existing:
            holder = existing[key]
            other = holder.owner if isinstance(holder, Named) else holder[1]
            raise PluginError(f"{what} is contributed by both {other} and {owner}")

    def remove(self, owner: Owner) -> None:
        """Take out everything that ``owner`` contributed."""
        self._components = {k: v for k, v in self._components.items() if v[1] != owner}
        self._models = {k: v for k, v in self._models.items() if v.owner != owner}
        self._patterns = [(pattern, holder) for pattern, holder in self._patterns if holder != owner]

    def kinds(self) -> set[str]:
        """Kinds of which a component exists, be it in a first-party plugin that is not installed."""
        return {kind for kind, _ in self._components} | {n.split("/")[0] for n in catalogue() if "/" in n}

    def components(self, kind: str | None = None) -> list[tuple[Component, Owner]]:
        """Every component, or every one of a kind, by kind and name."""
        return [value for key, value in sorted(self._components.items()) if kind in (None, key[0])]

    def component(self, kind: str, name: str) -> tuple[Component, Owner]:
        """The component of a kind and name, and who contributed it.

        Raises:
            UnknownNameError: there is none; the message says what there is, or which first-party plugin has it.
        """
        if (kind, name) in self._components:
            return self._components[kind, name]
        names = [n for k, n in self._components if k == kind]
        raise UnknownNameError(
            f"There is no {kind} {name!r}.{_elsewhere(f'{kind}/{name}') or did_you_mean(name, names)}"
            f" Known as {kind}: {listed(names)}."
        )

    def models(self, aliases: bool = False) -> dict[str, Named]:
        """Models by canonical name, in order; with ``aliases``, under every name."""
        return {
            name: entry
            for name, entry in sorted(self._models.items(), key=lambda item: _natural(item[0]))
            if aliases or name == entry.spec.name
        }

    def model(self, name: str) -> Named:
        """What a model's name or alias stands for.

        Raises:
            UnknownNameError: nobody contributed it; the message has the closest names, or the plugin to install.
        """
        if name in self._models:
            return self._models[name]
        for pattern, owner in self._patterns:
            if match := re.fullmatch(pattern.regex, name):
                try:
                    return Named(pattern.make(**match.groupdict()), NO_OPTIONS, owner)
                except SpecError as error:
                    raise UnknownNameError(f"There is no model {name!r}: {error}.") from error
        hint = _elsewhere(name) or did_you_mean(name, {*self._models, *catalogue()})
        raise UnknownNameError(
            f"There is no model {name!r}.{hint} `convzoo list` shows the {len(self.models())} that are installed."
        )

    def matching(self, patterns: Iterable[str]) -> list[str]:
        """Canonical names that match any of the globs, and exact names and aliases as they are, without repeats.

        Raises:
            UnknownNameError: a pattern matches nothing.
        """
        found: dict[str, None] = {}
        for pattern in patterns:
            hits = [name for name in self.models() if fnmatch.fnmatchcase(name, pattern)]
            if not hits:
                self.model(pattern)
                hits = [pattern]
            found.update(dict.fromkeys(hits))
        return list(found)


def _natural(name: str) -> tuple[Any, ...]:
    """Sort key that puts ``x18`` before ``x101``."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name))


@functools.cache
def catalogue() -> dict[str, str]:
    """First-party models (``name``) and components (``kind/name``) and the distribution that has each.

    It is data that ``python -m convzoo.catalogue`` writes, so that an uninstalled plugin can be named.
    """
    text = importlib.resources.files("convzoo").joinpath("catalogue.json").read_text(encoding="utf-8")
    return {name: dist for dist, names in json.loads(text).items() for name in names}


def _elsewhere(name: str) -> str:
    distribution = catalogue().get(name)
    if distribution is None or distribution == "convzoo":
        return ""
    extra = distribution.removeprefix("convzoo-")
    return (
        f" {distribution} provides it, and is not installed (pip install 'convzoo[{extra}]')"
        " or not let in (see `convzoo plugins`)."
    )
