"""The entry points of what is installed, each distribution read by itself, so that a malformed one hides no other.

``importlib.metadata.entry_points`` reads all of them in one go, and raises for one that cannot be read.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint
from typing import Any

from convzoo.errors import PluginError, one_line, said_in_full
from convzoo.plugins.catalogue import first_party, normalized
from convzoo.plugins.environment import check_core_version
from convzoo.plugins.owner import Owner

GROUP = "convzoo"


@dataclass(frozen=True)
class Installed:
    """An entry point of an installed distribution, or what should be one.

    Attributes:
        owner: the plugin.
        value: ``"module"`` or ``"module:attribute"``.
        dist: the distribution that has it.
        fault: why it cannot be used; empty if nothing is known against it.
    """

    owner: Owner
    value: str
    dist: Distribution
    fault: str = ""

    def load(self) -> Any:
        """The object that it names; whatever importing that raises passes.

        Raises:
            PluginError: the entry point or its distribution is malformed, or built for another core.
        """
        if self.fault:
            raise PluginError(self.fault)
        check_core_version(self.dist)
        return EntryPoint(self.owner.name, self.value, GROUP).load()


def installed() -> list[Installed]:
    """The entry points of this group: first-party ones first, then by name."""
    found: dict[str, list[Installed]] = {}
    for dist in importlib.metadata.distributions():
        entries = list(_of(dist))
        name = normalized(entries[0].owner.distribution) if entries else ""
        # The first on the path shadows the others of its name, unless it is but what an old version has left behind.
        if entries and (name not in found or (found[name][0].fault and not entries[0].fault)):
            found[name] = entries
    each = [(name not in first_party(), entry) for name, entries in found.items() for entry in entries]
    return [entry for _, entry in sorted(each, key=lambda e: (e[0], e[1].owner.name, e[1].value))]


def _of(dist: Distribution) -> Iterator[Installed]:
    """The entry points of one distribution, whatever is wrong with it."""
    try:
        lines = list(_lines(dist.read_text("entry_points.txt") or ""))
    except Exception as error:
        name, version, _ = _name(dist)
        fault = f"its entry_points.txt cannot be read: {said_in_full(error)}"
        yield Installed(Owner(name, name, version), "", dist, fault)
        return
    if not lines:
        return
    distribution, version, fault = _name(dist)
    for line in lines:
        name, _, value = map(str.strip, line.partition("="))
        if not name or not EntryPoint.pattern.match(value):
            reads = f"'[{GROUP}]', 'name = module' or 'name = module:attribute'"
            wrong = f"{line!r} in its entry_points.txt should read {reads}"
        else:
            wrong = ""
        yield Installed(Owner(one_line(name), distribution, version), value, dist, fault or wrong)


def _lines(text: str) -> Iterator[str]:
    """What stands in the section of this group; and that section's head, if it is malformed."""
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line.strip("[] ")
        elif line.strip("[] ") == GROUP or (section == GROUP and line and not line.startswith(("#", ";"))):
            yield line


def _name(dist: Distribution) -> tuple[str, str, str]:
    """A distribution's name and version, and what is wrong with its metadata; then as its folder is called."""
    try:
        fields: Any = dist.metadata
        name, version, why = fields.get("Name"), fields.get("Version"), "it lacks a name or a version"
    except Exception as error:
        name, version, why = None, None, said_in_full(error)
    if name and version:
        return one_line(str(name)), one_line(str(version)), ""
    folder = getattr(getattr(dist, "_path", None), "name", "")  # the one place that says whose it is
    match = re.fullmatch(r"(.+?)(?:-(.*?))?(?:-py.*)?\.(?:dist|egg)-info", folder)
    names = (name, match and match[1], "unknown"), (version, match and match[2], "?")
    found, of_version = (one_line(str(next(filter(None, each)))) for each in names)
    return found, of_version, f"its metadata cannot be used: {why} (METADATA in {folder or 'its folder'})"
