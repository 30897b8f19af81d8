"""Finding plugins and letting each of them in, or keeping it out whole. This module imports no torch.

Entry points of the group ``convzoo`` are walked one by one, each under its own ``try``, so that a broken plugin
costs its own parts and nothing else: everything it contributed is rolled back, and one warning names it, its version
and the cure. pluggy's own loader does neither.

Environment: ``CONVZOO_PLUGINS`` is an allow-list of entry-point or distribution names, separated by commas (empty
means none); ``CONVZOO_DISABLE`` a deny-list; ``CONVZOO_STRICT=1`` makes a broken plugin raise.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
import threading
import time
import types
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pluggy

from convzoo import hookspecs
from convzoo.errors import PluginError, PluginWarning
from convzoo.registry import Owner, Registry, first_party, normalized
from convzoo.specs import NAME, NAME_RULE, Component, Model

GROUP = "convzoo"
HOOK = "convzoo_contribute"


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
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._inbox: list[Any] = []
        self._entry_points: Counter[str] = Counter()
        # Historic: with the call on record, each later registration is asked for its contributions at once.
        self._manager.hook.convzoo_contribute.call_historic(result_callback=self._inbox.append)

    def add(self, plugin: Any, owner: Owner) -> None:
        """Let in a plugin, an object that has the hook, whole or not at all.

        Raises:
            PluginError: its name is malformed or taken, it has no valid hook, or what it contributes cannot be added.
        """
        if not NAME.fullmatch(owner.name):
            raise PluginError(f"plugin {owner.name!r}: {NAME_RULE}")
        first = "convzoo" if owner.name == "builtin" else f"convzoo-{normalized(owner.name)}"
        if first in first_party() and first != normalized(owner.distribution):
            raise PluginError(f"{owner.name!r} is what the plugin of {first} is called; choose another name")
        if self._manager.has_plugin(owner.name):
            holder = next(r.owner for r in self.records.values() if r.owner.name == owner.name and r.status == "ok")
            raise PluginError(f"{holder} and {owner} have the same entry-point name")
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

    def _record(self, record: Record) -> None:
        """Keep a record by name; a second plugin of a name must not hide the first one's."""
        name = record.owner.name
        self.records[name if name not in self.records else f"{name} ({record.owner.distribution})"] = record

    def remove(self, name: str) -> None:
        """Take out a plugin and all that it contributed."""
        record = self.records.pop(name)
        self.registry.remove(record.owner)
        self._manager.unregister(name=name)

    def register(self, contributions: Sequence[Component | Model], name: str) -> None:
        """Let in ``contributions`` as an unpackaged plugin, in place of what that one had contributed before.

        Raises:
            PluginError: as :meth:`add`, or a packaged plugin has the name; nothing is changed then.
        """
        owner = Owner(name, "none", "0")
        before = self.records.get(name)
        if before is not None and before.owner != owner:
            raise PluginError(f"{before.owner} has that name; register under another: register(..., plugin='mine')")
        previous = self._manager.get_plugin(name)
        if before:
            self.remove(name)
        try:
            self.add(types.SimpleNamespace(convzoo_contribute=hookspecs.hookimpl(lambda: contributions)), owner)
        except Exception:
            if before:
                self.add(previous, owner)
                self._record(before)
            raise
        self._record(Record(owner, "ok"))

    def discover(self) -> None:
        """Let in the builtin parts and every installed plugin that the environment allows."""
        from convzoo.builtin import plugin as builtin

        core = Owner("builtin", "convzoo", core_version())
        self.add(builtin, core)
        self._record(Record(core, "ok"))
        entry_points = importlib.metadata.entry_points(group=GROUP)
        self._entry_points = Counter(entry_point.name for entry_point in entry_points)
        for entry_point in sorted(entry_points, key=lambda e: (not _first_party(e), e.name, e.value)):
            self._try(entry_point)

    def handle(self, owner: Owner) -> str:
        """What the environment calls just this plugin: where two have one name, their distributions tell them apart."""
        return owner.name if self._entry_points[owner.name] < 2 else owner.distribution

    def _try(self, entry_point: importlib.metadata.EntryPoint) -> None:
        dist = entry_point.dist
        owner = Owner(entry_point.name, dist.name if dist else "unknown", dist.version if dist else "?")
        if not _allowed(owner):
            self._record(Record(owner, "disabled", "left out by the environment"))
            return
        failure: BaseException | None = None
        start, had_torch = time.perf_counter(), "torch" in sys.modules
        try:
            _check_core_version(dist)
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
            if os.environ.get("CONVZOO_STRICT") == "1":
                raise PluginError(message) from failure
            warnings.warn(message, PluginWarning, stacklevel=2)


def _first_party(entry_point: importlib.metadata.EntryPoint) -> bool:
    return entry_point.dist is not None and normalized(entry_point.dist.name) in first_party()


def _allowed(owner: Owner) -> bool:
    names = _names(f"{owner.name},{owner.distribution}")
    allow = os.environ.get("CONVZOO_PLUGINS")
    return (allow is None or bool(names & _names(allow))) and not names & _names(os.environ.get("CONVZOO_DISABLE", ""))


def _names(text: str) -> set[str]:
    return {normalized(name.strip()) for name in text.split(",") if name.strip()}


def core_version() -> str:
    """Version of the installed core distribution."""
    return importlib.metadata.version("convzoo")


def _check_core_version(dist: importlib.metadata.Distribution | None) -> None:
    for requirement in (dist.requires if dist else None) or ():
        # Requirements with a marker (of an extra, of another Python) are pip's to judge.
        match = re.fullmatch(r"convzoo\s*(?:\[[^]]*\]\s*)?\(?([<>=!~][^;)]*)\)?\s*", requirement)
        if match and not satisfies(core_version(), match[1]):
            raise PluginError(f"it was built for convzoo {match[1].strip()}, and this is convzoo {core_version()}")


def satisfies(version: str, specifier: str) -> bool:
    """Whether a version fits a specifier such as ``">=0.1,<0.2"``, by release numbers alone.

    It stands in for the ``packaging`` library, which the core does not depend on.
    """

    def release(text: str) -> list[int]:
        match = re.match(r"\d+(\.\d+)*", text.strip())
        return [int(part) for part in match[0].split(".")] if match else []

    def padded(numbers: list[int], length: int) -> list[int]:
        return numbers + [0] * (length - len(numbers))

    def clause(text: str) -> bool:
        match = re.fullmatch(r"(~=|===?|!=|<=|>=|<|>)\s*v?(\d[\w.+!-]*?)(\.\*)?", text.strip())
        if match is None:
            raise PluginError(f"cannot read the version clause {text!r}")
        operator, wanted = match[1], release(match[2])
        have = release(version)
        prefix = padded(have[: len(wanted)], len(wanted))
        if operator == "~=":
            return padded(have, len(wanted)) >= wanted and prefix[:-1] == wanted[:-1]
        if operator in ("==", "===", "!="):
            length = max(len(have), len(wanted))
            equal = prefix == wanted if match[3] else padded(have, length) == padded(wanted, length)
            return equal == (operator != "!=")
        length = max(len(have), len(wanted))
        have, wanted = padded(have, length), padded(wanted, length)
        return {"<": have < wanted, "<=": have <= wanted, ">": have > wanted, ">=": have >= wanted}[operator]

    return all(clause(text) for text in specifier.split(",") if text.strip())


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


def register(*contributions: Component | Model, plugin: str = "session") -> None:
    """Add components and models from a script or notebook, without packaging.

    Registering again under the same ``plugin`` name replaces what that name had contributed, so that a cell can be
    run twice.

    Raises:
        PluginError: a contribution is not a Component or Model, or its name is given twice or first-party; nothing is
            changed then.
    """
    plugins().register(contributions, plugin)
