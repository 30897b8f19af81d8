"""Finding plugins, and adding each of them whole or not at all.

The core's own parts come first, then first-party plugins, then others, each group by name; a plugin that claims a name
that is taken is skipped. Entry points of the group ``convzoo`` are loaded one by one, each under its own ``try``. So a
broken plugin costs its own parts and nothing else: nothing that it contributed is kept, and one warning names it, its
version and the cure.
"""

from __future__ import annotations

import importlib.metadata
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from convzoo.errors import PluginError, said_in_full, shown
from convzoo.plugins.environment import allowed, complain, core_version, mistakes
from convzoo.plugins.hook import contributed
from convzoo.plugins.installed import GROUP, Installed, installed
from convzoo.plugins.once import Once
from convzoo.plugins.owner import BUILTIN_NAME, Owner, Record
from convzoo.plugins.registry import Registry
from convzoo.plugins.turns import Turns
from convzoo.spec.contributions import Component, Pattern
from convzoo.spec.model import Model
from convzoo.spec.refs import NAME

BUILTIN = importlib.metadata.EntryPoint(BUILTIN_NAME, "convzoo.resnet.plugin", GROUP)
"""The core's own parts, which come by the same hook, and which no environment variable keeps out."""


class Plugins:
    """The plugins of one process and the registry that they fill.

    Attributes:
        registry: what they contribute.
        records: how each fared, by name.
        mistakes: what the environment says in vain.
        loading: which one is being loaded, in words.
        watchers: called after models were registered late, by whoever hands them on.
    """

    def __init__(self) -> None:
        self.registry = Registry()
        self.records: dict[str, Record] = {}
        self.mistakes: list[str] = []
        self.loading = "the plugins"
        self.watchers: list[Callable[[], object]] = []
        self._turns = Turns()  # of whoever changes the registry and the records
        self._objects: list[tuple[Any, Owner]] = []
        self._entry_points: Counter[str] = Counter()

    def add(self, plugin: Any, owner: Owner) -> None:
        """Add a plugin, an object that has the hook, whole or not at all.

        Raises:
            PluginError: its name is malformed or taken, it has no valid hook, or what it contributes cannot be added.
        """
        owner.check_name()
        holder = next((r.owner for r in self.records.values() if r.owner.name == owner.name and r.status == "ok"), None)
        if holder:
            out = f"CONVZOO_DISABLE={owner.distribution} or {holder.distribution} leaves one of them out"
            out = "rename one of them" if owner.distribution == holder.distribution else out
            raise PluginError(f"{holder} and {owner} have the same entry-point name; {out}")
        if twin := next((other for each, other in self._objects if each is plugin), None):
            raise PluginError(f"its entry point names the same module or object as that of {twin}; one is enough")
        items = contributed(plugin, owner.name)
        with self._turns.mine():
            self.registry.add(owner, items)
            self._objects.append((plugin, owner))

    def _record(self, record: Record) -> None:
        """Keep a record by name; a second plugin of a name must not hide the first one's."""
        key = record.owner.name
        while key in self.records:
            key = f"{key} ({record.owner.distribution})"
        self.records = {**self.records, key: record}  # a new one, since other threads may be reading it

    def remove(self, name: str) -> None:
        """Take out a plugin and all that it contributed."""
        with self._turns.mine():
            owner = self.records[name].owner
            self.registry.add(owner, ())
            self.records = {key: record for key, record in self.records.items() if key != name}
            self._objects = [each for each in self._objects if each[1] != owner]

    def register(self, contributions: Sequence[Component | Model | Pattern], name: str) -> None:
        """Add ``contributions`` as an unpackaged plugin, in place of what that one had contributed before.

        Raises:
            PluginError: as :meth:`add`, or a packaged plugin has the name; nothing is changed then.
        """
        if not isinstance(name, str):
            raise PluginError(f"a plugin's name is text, got {shown(name)}")
        owner = Owner(name, "none", "0")
        with self._turns.mine():
            before = self.records.get(name)
            if before is not None and before.owner != owner:
                raise PluginError(f"{before.owner} has that name; register under another: register(..., plugin='mine')")
            owner.check_name()
            self.registry.add(owner, contributions)
            self.records = {**self.records, name: Record(owner, "ok")}
        self.registry.failures.complain()
        for changed in self.watchers:
            changed()

    def discover(self) -> None:
        """Add the builtin parts and every installed plugin that the environment allows."""
        core = Owner(BUILTIN.name, "convzoo", core_version())
        self.add(BUILTIN.load(), core)
        self._record(Record(core, "ok"))
        found = installed()
        self._entry_points = Counter(each.owner.name for each in found)
        for each in found:
            self._try(each)
        self.mistakes = list(mistakes([core, *(each.owner for each in found)]))
        for mistake in self.mistakes:
            complain(mistake)

    def handle(self, owner: Owner) -> str:
        """What the environment calls just this plugin: its name, or its distribution if that is malformed or shared."""
        alone = self._entry_points[owner.name] < 2 and NAME.fullmatch(owner.name)
        return owner.name if alone else owner.distribution

    def _try(self, found: Installed) -> None:
        owner = found.owner
        if not allowed(owner.name, owner.distribution):
            self._record(Record(owner, "disabled", "left out by the environment"))
            return
        self.loading = str(owner)
        failure: BaseException | None = None
        start, had_torch = time.perf_counter(), "torch" in sys.modules
        try:
            with warnings.catch_warnings():  # which warnings are shown is not a plugin's to say
                self.add(found.load(), owner)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            failure = error
        seconds, imported_torch = time.perf_counter() - start, "torch" in sys.modules and not had_torch
        reason = said_in_full(failure) if failure else ""
        self._record(Record(owner, "broken" if failure else "ok", reason, seconds, imported_torch))
        if failure:
            out = f"or set CONVZOO_DISABLE={self.handle(owner)} to silence this"
            cure = f"Mend, update or uninstall it (pip install -U {owner.distribution}), {out}"
            complain(f"{owner} is broken and was skipped: {reason}. {cure}.", failure)
        self.registry.failures.complain()


_zoo = Once(Plugins, Plugins.discover, lambda found: found.loading)


def plugins() -> Plugins:
    """The process's plugins, discovered on the first call.

    Raises:
        PluginError: a plugin uses the zoo while it is being imported, or is imported by another thread and seems to
            wait for this one; or ``CONVZOO_STRICT=1`` and one is broken.
    """
    return _zoo()


def registry() -> Registry:
    """The process's registry, filled on the first call."""
    return plugins().registry


def register(*contributions: Component | Model | Pattern, plugin: str = "session") -> None:
    """Add components, models and patterns from a script or notebook, without packaging.

    Args:
        *contributions: what a packaged plugin's hook would yield.
        plugin: the name that they go by. Registering again under it replaces what it had contributed, so that a cell
            can be run twice.

    Raises:
        PluginError: a contribution is none of these, or its name is taken; nothing is changed then.
    """
    plugins().register(contributions, plugin)
