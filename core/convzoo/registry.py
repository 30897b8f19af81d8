"""Who contributed what: components by kind and name, models by name and alias. This module imports no torch."""

from __future__ import annotations

import fnmatch
import functools
import importlib.metadata
import importlib.resources
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from convzoo.errors import PluginError, SpecError, UnknownNameError, did_you_mean, listed
from convzoo.specs import NAME, NAME_RULE, NO_OPTIONS, Component, Model, Options, Pattern, Ref, as_ref


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


@dataclass(frozen=True)
class Contribution:
    """All that one plugin contributed."""

    owner: Owner
    components: dict[tuple[str, str], Component] = field(default_factory=dict)
    models: dict[str, Named] = field(default_factory=dict)
    patterns: list[Pattern] = field(default_factory=list)


class Registry:
    """The components and models of all plugins.

    Wherever a name is accepted, ``plugin/name`` is too. A name that several plugins contribute is ambiguous, and only
    that form tells them apart.
    """

    def __init__(self) -> None:
        self._plugins: dict[str, Contribution] = {}

    def add(self, owner: Owner, items: Iterable[Any]) -> None:
        """Add all of ``items``, or, if any of them cannot be added, none.

        Raises:
            PluginError: an item is not a Component or Model, or its name is malformed, given twice, or first-party.
        """
        new = Contribution(owner)
        for item in items:
            if isinstance(item, Component):
                key = (item.kind, item.name)
                _claim(owner, item.kind, item.name, f"{item.kind}/{item.name}", twice=key in new.components)
                new.components[key] = item
            elif isinstance(item, Model):
                for name, overrides in ((item.name, NO_OPTIONS), *((a.name, a.options) for a in item.aliases)):
                    _claim(owner, "model", name, name, twice=name in new.models)
                    new.models[name] = Named(item, overrides, owner)
            elif isinstance(item, Pattern):
                new.patterns.append(item)
            else:
                raise PluginError(f"contributed {item!r}, which is neither a Component nor a Model nor a Pattern")
        self._plugins = {**self._plugins, owner.name: new}

    def remove(self, owner: Owner) -> None:
        """Take out everything that ``owner`` contributed."""
        self._plugins = {name: has for name, has in self._plugins.items() if has.owner != owner}

    def kinds(self) -> set[str]:
        """Kinds of which a component exists, be it in a first-party plugin that is not installed."""
        installed = {kind for has in self._plugins.values() for kind, _ in has.components}
        return installed | {name.split("/")[0] for name in catalogue() if "/" in name}

    def components(self, kind: str | None = None) -> list[tuple[Component, Owner]]:
        """Every component, or every one of a kind, by kind, name and plugin."""
        found = [(component, has.owner) for has in self._plugins.values() for component in has.components.values()]
        chosen = [each for each in found if kind in (None, each[0].kind)]
        return sorted(chosen, key=lambda each: (each[0].kind, each[0].name, each[1].name))

    def component(self, kind: str, name: str) -> tuple[Component, Owner]:
        """The component of a kind and name, or ``plugin/name``, and who contributed it.

        Raises:
            UnknownNameError: there is none, or several have the name; the message says what there is, or which
                first-party plugin has it.
        """
        holders = self._with_component(kind, name)
        if len(holders) == 1:
            return holders[0].components[kind, _bare(name)], holders[0].owner
        if holders:
            raise UnknownNameError(_ambiguous(kind, name, holders))
        known = {plugin: [n for k, n in has.components if k == kind] for plugin, has in self._plugins.items()}
        every = listed({n for names in known.values() for n in names})
        raise _unknown(kind, name, f"{kind}/{_bare(name)}", known, f"Known as {kind}: {every}.")

    def name_of(self, component: Component, owner: Owner) -> str:
        """How to refer to a component: by its name, or by ``plugin/name`` if other plugins have that name too."""
        ambiguous = len(self._with_component(component.kind, component.name)) > 1
        return f"{owner.name}/{component.name}" if ambiguous else component.name

    def models(self, aliases: bool = False) -> dict[str, Named]:
        """Models by canonical name, in order; with ``aliases``, under every name. Ambiguous ones by ``plugin/name``."""
        found = {}
        for name in self._listed_models():
            holders = self._with_model(name)
            for entry in holders:
                if aliases or name == entry.spec.name:
                    found[name if len(holders) == 1 else f"{entry.owner.name}/{name}"] = self._own(entry)
        return found

    def model(self, name: str) -> Named:
        """What a model's name or alias, or ``plugin/name``, stands for.

        Raises:
            UnknownNameError: nobody contributed it, or several did; the message has the closest names, or the plugin
                to install.
        """
        holders = self._with_model(name)
        if len(holders) == 1:
            return self._own(holders[0])
        if holders:
            raise UnknownNameError(_ambiguous("model", name, holders))
        known = {plugin: has.models for plugin, has in self._plugins.items()}
        shown = f"`convzoo list` shows the {len(self.models())} that are installed."
        raise _unknown("model", name, _bare(name), known, shown)

    def ambiguities(self) -> list[str]:
        """For each name that several plugins contribute, who they are and how to pick one."""
        components = [_ambiguous(kind, n, self._with_component(kind, n)) for kind, n in sorted(self._contested())]
        models = ((name, self._with_model(name)) for name in self._listed_models())
        return components + [_ambiguous("model", name, holders) for name, holders in models if len(holders) > 1]

    def matching(self, patterns: Iterable[str]) -> list[str]:
        """Canonical names that match any of the globs, and exact names and aliases as they are, without repeats.

        Raises:
            UnknownNameError: a pattern matches nothing.
        """
        found: dict[str, None] = {}
        for pattern in patterns:
            hits = [name for name, entry in self.models().items() if fits(pattern, name, entry.owner)]
            if not hits:
                self.model(pattern)
                hits = [pattern]
            found.update(dict.fromkeys(hits))
        return list(found)

    def _asked(self, name: str) -> list[Contribution]:
        """The plugins that a name may be of: all, or the one that ``plugin/name`` says."""
        plugin, slash, _ = name.rpartition("/")
        return [has for n, has in self._plugins.items() if not slash or n == plugin]

    def _listed_models(self) -> list[str]:
        return sorted({name for has in self._plugins.values() for name in has.models}, key=_natural)

    def _with_component(self, kind: str, name: str) -> list[Contribution]:
        return [has for has in self._asked(name) if (kind, _bare(name)) in has.components]

    def _with_model(self, name: str) -> list[Named]:
        """What a name stands for in each plugin that has it, be it listed or made by a pattern.

        Raises:
            UnknownNameError: none has it, and a pattern refuses it.
        """
        bare = _bare(name)
        found: list[Named] = []
        refusal = None
        for has in self._asked(name):
            if bare in has.models:
                found.append(has.models[bare])
            # A first-party name stands for what lists it alone.
            for pattern in has.patterns if bare not in has.models and bare not in catalogue() else ():
                if match := re.fullmatch(pattern.regex, bare):
                    try:
                        found.append(Named(pattern.make(**match.groupdict()), NO_OPTIONS, has.owner))
                        break
                    except SpecError as error:
                        refusal = error
        if refusal and not found:
            raise UnknownNameError(f"There is no model {name!r}: {refusal}.") from refusal
        return found

    def _contested(self) -> set[tuple[str, str]]:
        """Kind and name of the components that several plugins contribute."""
        counts = Counter(key for has in self._plugins.values() for key in has.components)
        return {key for key, count in counts.items() if count > 1}

    def _own(self, entry: Named) -> Named:
        """``entry``, in which a name that its plugin and others contribute is qualified to mean the plugin's own."""
        contested = self._contested() & self._plugins[entry.owner.name].components.keys()
        if not contested:
            return entry
        kinds = self.kinds()

        def own(kind: str, value: Any) -> Any:
            if isinstance(value, str) and kind in kinds:
                try:
                    value = as_ref(value)
                except SpecError:
                    return value  # for the part to refuse, once it is built
            if not isinstance(value, Ref):
                return value
            name = f"{entry.owner.name}/{value.name}" if (kind, value.name) in contested else value.name
            return Ref(name, Options({k: own(k, v) for k, v in value.options.items()}))

        overrides = Options({name: own(name, value) for name, value in entry.overrides.items()})
        return Named(replace(entry.spec, **entry.spec.mapped(own)), overrides, entry.owner)


def fits(glob: str, name: str, owner: Owner) -> bool:
    """Whether a model, by its name in :meth:`Registry.models`, fits a glob; one with a slash is of ``plugin/name``."""
    return fnmatch.fnmatchcase(f"{owner.name}/{_bare(name)}" if "/" in glob else _bare(name), glob)


def _bare(name: str) -> str:
    return name.rpartition("/")[2]


def _claim(owner: Owner, what: str, name: str, label: str, *, twice: bool) -> None:
    """Raise PluginError unless ``owner`` may contribute a name, which the catalogue would have as ``label``."""
    if not NAME.fullmatch(name):
        raise PluginError(f"{what} {name!r}: {NAME_RULE}")
    if twice:
        raise PluginError(f"{what} {name!r} is contributed twice by {owner}")
    holder = catalogue().get(label)
    if holder and normalized(owner.distribution) not in {holder, *first_party()}:
        raise PluginError(f"{what} {name!r} is a name of {holder}, installed or not; choose another name")


def _ambiguous(what: str, name: str, holders: Iterable[Named | Contribution]) -> str:
    """Who contributed a name, and how to pick one of them."""
    owners = [holder.owner for holder in holders]
    return (
        f"{what} {name!r} is contributed by {' and '.join(map(str, owners))}."
        f" Write {' or '.join(repr(f'{owner.name}/{name}') for owner in owners)}."
    )


def _unknown(what: str, name: str, label: str, known: Mapping[str, Collection[str]], there_is: str) -> UnknownNameError:
    """The error for a name that is not in ``known``, each plugin's names, or not in the plugin that it says."""
    plugin, slash, bare = name.rpartition("/")
    choices = {f"{holder}/{each}" for holder, names in known.items() for each in names}
    same = sorted(choice for choice in choices if _bare(choice) == bare)
    if not slash:
        place = label.rpartition("/")[0]
        choices = {_bare(each) for each in (*choices, *(n for n in catalogue() if n.rpartition("/")[0] == place))}
    elif plugin in known:
        there_is = f"Plugin {plugin!r} has: {listed(known[plugin])}."
    else:
        there_is = f"There is no plugin {plugin!r} (see `convzoo plugins`). Known are: {listed(known)}."
    hint = f" Did you mean {' or '.join(map(repr, same))}?" if same else ""
    hint = hint or _elsewhere(label) or did_you_mean(name, choices)
    return UnknownNameError(f"There is no {what} {name!r}.{hint} {there_is}")


def _natural(name: str) -> tuple[Any, ...]:
    """Sort key that puts ``x18`` before ``x101``."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name))


def normalized(name: str) -> str:
    """A distribution's name as packaging compares it: whatever its case, and with '-', '_' and '.' alike."""
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def first_party() -> frozenset[str]:
    """The core, and the plugins that its extras install, as distributions."""
    required = importlib.metadata.requires("convzoo") or ()
    plugins = (re.match(r"convzoo-[\w.-]+(?=.*\bextra ==)", requirement) for requirement in required)
    return frozenset({"convzoo", *(normalized(plugin[0]) for plugin in plugins if plugin)})


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
