"""Which plugins are wanted here: by the environment, and by the version of the core that they ask for.

``CONVZOO_PLUGINS`` is an allow-list of entry-point or distribution names, separated by commas (empty means none);
``CONVZOO_DISABLE`` a deny-list; ``CONVZOO_STRICT=1`` makes a broken plugin raise.
"""

from __future__ import annotations

import importlib.metadata
import os
import warnings
from collections.abc import Iterator, Sequence

from convzoo.errors import PluginError, PluginWarning, did_you_mean, listed, said_in_full, shown
from convzoo.plugins.catalogue import core, normalized
from convzoo.plugins.owner import Owner

ALLOW, DENY, STRICT = "CONVZOO_PLUGINS", "CONVZOO_DISABLE", "CONVZOO_STRICT"


def allowed(name: str, distribution: str) -> bool:
    """Whether the environment wants the plugin of this name and distribution."""
    names = {normalized(name), normalized(distribution)}
    return (ALLOW not in os.environ or bool(names & _names(ALLOW).keys())) and not names & _names(DENY).keys()


def _names(variable: str) -> dict[str, str]:
    """The names that a variable lists: as they are compared, and as they are written."""
    names = (name.strip() for name in os.environ.get(variable, "").split(","))
    return {normalized(name): name for name in names if name}


def mistakes(plugins: Sequence[Owner]) -> Iterator[str]:
    """What the variables say in vain: a value that they do not have, or a name that none of ``plugins`` has."""
    value = os.environ.get(STRICT, "")
    if value not in ("", "0", "1"):
        cure = f"set {STRICT}=1 to make a broken plugin raise, or unset it"
        yield f"{STRICT}={shown(value)} is neither 0 nor 1, and counts as 0; {cure}"
    known = {normalized(name) for plugin in plugins for name in (plugin.name, plugin.distribution)}
    for variable in (ALLOW, DENY):
        for key, name in _names(variable).items():
            if key not in known:
                there_is = f"{did_you_mean(key, known)} Installed are: {listed({plugin.name for plugin in plugins})}."
                yield f"{variable} names {shown(name)}, which no plugin is called.{there_is} Correct it, or take it out"


def core_version() -> str:
    """Version of the installed core distribution."""
    return core().version


def check_core_version(dist: importlib.metadata.Distribution) -> None:
    """Raise PluginError if a distribution asks for another version of the core than this, or nobody knows for what."""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in dist.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise PluginError(f"its requirement {text!r} cannot be read ({said_in_full(error)})") from error
        # Requirements with a marker (of an extra, of another Python) are pip's to judge.
        asked = requirement.specifier if normalized(requirement.name) == "convzoo" and not requirement.marker else None
        if asked is not None and not asked.contains(core_version(), prereleases=True):
            raise PluginError(f"it was built for convzoo {asked}, and this is convzoo {core_version()}")


def strict() -> bool:
    """Whether a broken plugin raises instead of being skipped."""
    return os.environ.get(STRICT) == "1"


def complain(message: str, cause: BaseException | None = None) -> None:
    """Warn of something that is broken; PluginError, from its ``cause``, if the environment is strict."""
    if strict():
        raise PluginError(message) from cause
    warnings.warn(message, PluginWarning, stacklevel=3)
