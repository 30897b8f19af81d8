"""Finding plugins, and adding each of them whole or not at all.

The core's own parts come first, then first-party plugins, then others, each group by name; a plugin that claims a name
that is taken is skipped. Entry points of the group ``convzoo`` are loaded one by one, each under its own ``try``. So a
broken plugin costs its own parts and nothing else: everything it contributed is rolled back, and one warning names it,
its version and the cure. pluggy's own loader does neither.
"""

from __future__ import annotations

import importlib.metadata
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pluggy

from convzoo.errors import PluginError, PluginWarning
from convzoo.plugins import hook
from convzoo.plugins.catalogue import first_party, normalized
from convzoo.plugins.environment import allowed, check_core_version, core_version, strict
from convzoo.plugins.registry import Owner, Registry
from convzoo.spec.contributions import Component, Pattern
from convzoo.spec.model import Model
from convzoo.spec.refs import NAME, NAME_RULE

GROUP = "convzoo"
HOOK = "convzoo_contribute"
BUILTIN = importlib.metadata.EntryPoint("builtin", "convzoo.resnet.plugin", GROUP)
"""The core's own parts, which come by the same hook, and which no environment variable keeps out."""


@dataclass(frozen=True)
class Record:
    """How a plugin fared.

    Attributes:
        owner: the plugin.
        status: ``"ok"``, ``"disabled"`` or ``"broken"``.
        error: why it is not ok.
        seconds: what its entry point took to load and contribute.
        imported_torch: whether that imported torch, which nothing before it had.
    """

    owner: Owner
    status: str
    error: str = ""
    seconds: float = 0.0
    imported_torch: bool = False


class Plugins:
    """The plugins of one process and the registry that they fill."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.records: dict[str, Record] = {}
        self.discovered = False
        self._manager = pluggy.PluginManager(hook.PROJECT)
        self._manager.add_hookspecs(hook)
        self._inbox: list[Any] = []
        self._entry_points: Counter[str] = Counter()
        # Historic: with the call on record, each later registration is asked for its contributions at once.
        self._manager.hook.convzoo_contribute.call_historic(result_callback=self._inbox.append)

    def add(self, plugin: Any, owner: Owner) -> None:
        """Add a plugin, an object that has the hook, whole or not at all.

        Raises:
            PluginError: its name is malformed or taken, it has no valid hook, or what it contributes cannot be added.
        """
        self.check_name(owner)
        if self._manager.has_plugin(owner.name):
            holder = next(r.owner for r in self.records.values() if r.owner.name == owner.name and r.status == "ok")
            out = f"CONVZOO_DISABLE={owner.distribution} or {holder.distribution} leaves one of them out"
            raise PluginError(f"{holder} and {owner} have the same entry-point name; {out}")
        try:
            self._manager.register(plugin, name=owner.name)
            self._manager.check_pending()
            if not any(c.name == HOOK for c in self._manager.get_hookcallers(plugin) or ()):
                raise PluginError(f"it has no {HOOK}() marked with @convzoo.hookimpl")
            if not self._inbox:
                raise PluginError(f"its {HOOK}() returns None; it should yield components and models")
            self.registry.add(owner, [item for result in self._inbox for item in result])
        except BaseException:
            if self._manager.has_plugin(owner.name):
                self._manager.unregister(plugin)
            raise
        finally:
            self._inbox.clear()

    def check_name(self, owner: Owner) -> None:
        """Raise PluginError if a plugin's name is malformed, or that of another first-party one."""
        if not NAME.fullmatch(owner.name):
            raise PluginError(f"plugin {owner.name!r}: {NAME_RULE}")
        first = "convzoo" if owner.name == BUILTIN.name else f"convzoo-{normalized(owner.name)}"
        if first in first_party() and first != normalized(owner.distribution):
            raise PluginError(f"{owner.name!r} is what the plugin of {first} is called; choose another name")

    def _record(self, record: Record) -> None:
        """Keep a record by name; a second plugin of a name must not hide the first one's."""
        name = record.owner.name
        self.records[name if name not in self.records else f"{name} ({record.owner.distribution})"] = record

    def remove(self, name: str) -> None:
        """Take out a plugin and all that it contributed."""
        self.registry.add(self.records.pop(name).owner, ())
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)

    def register(self, contributions: Sequence[Component | Model | Pattern], name: str) -> None:
        """Add ``contributions`` as an unpackaged plugin, in place of what that one had contributed before.

        Raises:
            PluginError: as :meth:`add`, or a packaged plugin has the name; nothing is changed then.
        """
        owner = Owner(name, "none", "0")
        before = self.records.get(name)
        if before is not None and before.owner != owner:
            raise PluginError(f"{before.owner} has that name; register under another: register(..., plugin='mine')")
        self.check_name(owner)
        self.registry.add(owner, contributions)
        self.records[name] = Record(owner, "ok")

    def discover(self) -> None:
        """Add the builtin parts and every installed plugin that the environment allows."""
        core = Owner(BUILTIN.name, "convzoo", core_version())
        self.add(BUILTIN.load(), core)
        self._record(Record(core, "ok"))
        entry_points = importlib.metadata.entry_points(group=GROUP)
        self._entry_points = Counter(entry_point.name for entry_point in entry_points)
        named = [(normalized(e.dist.name) if e.dist else "", e) for e in entry_points]
        for _, entry_point in sorted(named, key=lambda n: (n[0] not in first_party(), n[1].name, n[1].value)):
            self._try(entry_point)

    def handle(self, owner: Owner) -> str:
        """What the environment calls just this plugin: where two have one name, their distributions tell them apart."""
        return owner.name if self._entry_points[owner.name] < 2 else owner.distribution

    def _try(self, entry_point: importlib.metadata.EntryPoint) -> None:
        dist = entry_point.dist
        owner = Owner(entry_point.name, dist.name if dist else "unknown", dist.version if dist else "?")
        if not allowed(owner.name, owner.distribution):
            self._record(Record(owner, "disabled", "left out by the environment"))
            return
        failure: BaseException | None = None
        start, had_torch = time.perf_counter(), "torch" in sys.modules
        try:
            check_core_version(dist)
            self.add(entry_point.load(), owner)
        except (Exception, SystemExit) as error:
            failure = error
        seconds, imported_torch = time.perf_counter() - start, "torch" in sys.modules and not had_torch
        reason = " ".join(f"{type(failure).__name__}: {failure}".split()) if failure else ""
        self._record(Record(owner, "broken" if failure else "ok", reason, seconds, imported_torch))
        if failure:
            message = (
                f"{owner} is broken and was skipped: {reason}. Mend, update or uninstall it"
                f" (pip install -U {owner.distribution}), or set CONVZOO_DISABLE={self.handle(owner)} to silence this."
            )
            if strict():
                raise PluginError(message) from failure
            warnings.warn(message, PluginWarning, stacklevel=2)


_found: list[Plugins] = []
_discovery = threading.RLock()


def plugins() -> Plugins:
    """The process's plugins, discovered on the first call.

    Raises:
        PluginError: a plugin uses the zoo while it is being imported; or ``CONVZOO_STRICT=1`` and one is broken.
    """
    with _discovery:
        if not _found:
            _found.append(Plugins())
            try:
                _found[0].discover()
                _found[0].discovered = True
            finally:
                if not _found[0].discovered:
                    _found.clear()
        elif not _found[0].discovered:
            raise PluginError("a plugin may not use the zoo while it is being imported")
        return _found[0]


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
