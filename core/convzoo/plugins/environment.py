"""Which plugins are wanted here: by the environment, and by the version of the core that they ask for.

``CONVZOO_PLUGINS`` is an allow-list of entry-point or distribution names, separated by commas (empty means none);
``CONVZOO_DISABLE`` a deny-list; ``CONVZOO_STRICT=1`` makes a broken plugin raise.
"""

from __future__ import annotations

import importlib.metadata
import os

from convzoo.errors import PluginError
from convzoo.plugins.catalogue import normalized


def allowed(name: str, distribution: str) -> bool:
    """Whether the environment wants the plugin of this name and distribution."""
    names = _names(f"{name},{distribution}")
    allow = os.environ.get("CONVZOO_PLUGINS")
    return (allow is None or bool(names & _names(allow))) and not names & _names(os.environ.get("CONVZOO_DISABLE", ""))


def _names(text: str) -> set[str]:
    return {normalized(name.strip()) for name in text.split(",") if name.strip()}


def core_version() -> str:
    """Version of the installed core distribution."""
    return importlib.metadata.version("convzoo")


def check_core_version(dist: importlib.metadata.Distribution | None) -> None:
    """Raise PluginError if a distribution asks for another version of the core than this."""
    from packaging.requirements import Requirement

    for text in (dist.requires if dist else None) or ():
        requirement = Requirement(text)
        # Requirements with a marker (of an extra, of another Python) are pip's to judge.
        asked = requirement.specifier if normalized(requirement.name) == "convzoo" and not requirement.marker else None
        if asked is not None and not asked.contains(core_version(), prereleases=True):
            raise PluginError(f"it was built for convzoo {asked}, and this is convzoo {core_version()}")


def strict() -> bool:
    """Whether a broken plugin raises instead of being skipped."""
    return os.environ.get("CONVZOO_STRICT") == "1"
