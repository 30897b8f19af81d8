"""The plugins that parts and models are owned by, and how each of them fared."""

from __future__ import annotations

from dataclasses import dataclass

from convzoo.errors import PluginError
from convzoo.plugins.catalogue import first_party, normalized
from convzoo.spec.refs import NAME, NAME_RULE

BUILTIN_NAME = "builtin"
"""The plugin that the core's own parts come from."""


@dataclass(frozen=True)
class Owner:
    """The plugin that contributed something."""

    name: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.distribution} {self.version})"

    @property
    def cure(self) -> str:
        """What helps against what is wrong with it; only what is installed can be left out."""
        if self.distribution == "none":
            return "Mend what you have registered"
        out = "" if self.distribution == "convzoo" else f", or leave it out: CONVZOO_DISABLE={self.distribution}"
        return f"Mend, update or uninstall it (pip install -U {self.distribution}){out}"

    def check_name(self) -> None:
        """Raise PluginError if the name is malformed, or that of another plugin, which is first-party."""
        if not NAME.fullmatch(self.name):
            raise PluginError(f"plugin {self.name!r}: {NAME_RULE}")
        first = "convzoo" if self.name == BUILTIN_NAME else f"convzoo-{normalized(self.name)}"
        if first in first_party() and first != normalized(self.distribution):
            raise PluginError(f"{self.name!r} is what the plugin of {first} is called; choose another name")


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
