"""The names of first-party plugins and of what they contribute, be they installed or not."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.resources
import json
import re

HOW = "see 'Install' in convzoo's README.md"
"""The one place that says how to install a plugin of the zoo."""


def normalized(name: str) -> str:
    """A distribution's name as packaging compares it: whatever its case, and with '-', '_' and '.' alike."""
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def core() -> importlib.metadata.Distribution:
    """The core's own distribution, rather than what an old version of it may have left behind.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    for dist in importlib.metadata.distributions(name="convzoo"):
        with contextlib.suppress(Exception):
            if dist.version:
                return dist
    raise importlib.metadata.PackageNotFoundError("convzoo")


@functools.cache
def first_party() -> frozenset[str]:
    """The core, and the plugins that its extras install, as distributions."""
    required = core().requires or ()
    plugins = (re.match(r"\s*(convzoo[-_.][\w.-]+).*;.*\bextra\b", text, re.IGNORECASE) for text in required)
    return frozenset({"convzoo", *(normalized(plugin[1]) for plugin in plugins if plugin)})


@functools.cache
def catalogue() -> dict[str, str]:
    """First-party models (``name``) and components (``kind/name``) and the distribution that has each.

    It is data that ``python -m convzoo.cli.catalogue`` writes, so that an uninstalled plugin can be named.
    """
    text = importlib.resources.files(__package__).joinpath("catalogue.json").read_text(encoding="utf-8")
    return {name: dist for dist, names in json.loads(text).items() for name in names}


def provider(label: str) -> str:
    """A hint at the first-party distribution that has ``name`` or ``kind/name``; empty if none has, or the core."""
    distribution = catalogue().get(label)
    if distribution in (None, "convzoo"):
        return ""
    return f" {distribution} provides it, and is not installed ({HOW}) or kept out (see `convzoo plugins`)."
