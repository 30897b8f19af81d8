"""Plugins that tests install, as faked distributions (a module, and metadata beside it), and what they then ask.

Also what several tests ask of the zoo's own models and specs.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convzoo import Model, PluginWarning, Ref, Stage, cli, ref
from convzoo.building.builder import build
from convzoo.building.compose import compose
from convzoo.building.parts import Part, find
from convzoo.plugins.catalogue import first_party, normalized
from convzoo.plugins.host import Plugins, registry
from convzoo.plugins.installed import installed
from convzoo.spec.kinds import KINDS

ENVIRONMENT = ("CONVZOO_PLUGINS", "CONVZOO_DISABLE", "CONVZOO_STRICT")
FIRST_PARTY = {path.name for path in (Path(__file__).parent.parent / "plugins").iterdir()}
BESIDE = {each.owner.name for each in installed() if normalized(each.owner.distribution) not in first_party()}
"""Plugins that somebody has installed here, of which the tests say nothing."""

IMPORTS = "from convzoo import Component, Model, Stage, hookimpl, ref\n"

GOOD = f"""
{IMPORTS}
def gate(channels):
    from torch import nn
    return nn.Conv2d(channels, channels, 1, groups=channels)

@hookimpl
def convzoo_contribute():
    yield Component("attention", "good_gate", "good_zoo:gate")
    layer = ref("basic", planes=16, attention=ref("good_gate"))
    yield Model("good_net", "good", ref("cifar"), (Stage((layer,)),), aliases=(ref("good_alias"),))
"""

# What every broken plugin has to offer, before something is wrong with it.
PARTS = f"""
{IMPORTS}
STAGES = (Stage((ref("basic", planes=8),)),)
PARTS = [
    Component("attention", "bad_gate", "bad_zoo:gate"),
    Model("bad_net", "bad", ref("cifar"), STAGES, aliases=(ref("bad_alias"),)),
]
"""


def hook(*body: str) -> str:
    """A plugin's source whose hook has these lines after yielding two sound contributions."""
    lines = ["yield from PARTS", *body]
    return f"{PARTS}@hookimpl\ndef convzoo_contribute():\n" + textwrap.indent("\n".join(lines), "    ")


def returns(value: str) -> str:
    """A plugin's source whose hook returns this."""
    return f"{PARTS}@hookimpl\ndef convzoo_contribute():\n    return {value}\n"


class Site:
    """A folder of installed distributions, first on ``sys.path``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: list[str] = []

    def install(
        self,
        name: str,
        source: str | None,
        *,
        distribution: str | None = None,
        version: str = "1.2.3",
        target: str = "",
        requires: tuple[str, ...] = (),
    ) -> None:
        """Install ``<name>-zoo`` with the module ``<name>_zoo`` and its entry point ``name``."""
        distribution = distribution or f"{name}-zoo"
        target = target or distribution.replace("-", "_")
        module = target.partition(":")[0]
        self.modules += [module, module.partition(".")[0]]
        if source is not None:
            path = self.folder.joinpath(*module.split(".")).with_suffix(".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(source)
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{needs}"
        )
        info.joinpath("entry_points.txt").write_text(f"[convzoo]\n{name} = {target}\n")
        importlib.invalidate_caches()

    def info(self, distribution: str) -> Path:
        """The folder with the metadata of a distribution that was installed here."""
        return self.folder / f"{distribution.replace('-', '_')}-1.2.3.dist-info"

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a fresh interpreter that sees this folder."""
        path = os.pathsep.join(filter(None, [str(self.folder), os.environ.get("PYTHONPATH")]))
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )


def discover() -> Plugins:
    """A fresh discovery; as everywhere in the tests, a PluginWarning is an error."""
    found = Plugins()
    found.discover()
    return found


def discover_with_warnings() -> tuple[Plugins, list[str]]:
    """A fresh discovery, and the texts of its warnings."""
    found = Plugins()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found.discover()
    assert all(issubclass(warning.category, PluginWarning) for warning in caught)
    return found, [str(warning.message) for warning in caught]


def contents(found: Plugins) -> dict[object, str]:
    """Everything in the registry, and who contributed it."""
    components = {(c.kind, c.name): str(owner) for c, owner in found.registry.components()}
    return {**components, **{name: str(e.owner) for name, e in found.registry.models(aliases=True).items()}}


def assert_builds(found: Plugins, *names: str) -> None:
    for name in names:
        entry = found.registry.model(name)
        build(compose(entry.spec, found.registry, entry.overrides), found.registry, device="meta")


def assert_kept_out(before: Plugins, reason: str, name: str = "bad", distribution: str = "") -> None:
    """One warning names the plugin, its version, the reason and the cure; all is as ``before``, and works."""
    distribution = distribution or f"{name}-zoo"
    found, messages = discover_with_warnings()
    assert len(messages) == 1
    assert f"plugin '{name}' ({distribution} 1.2.3) is broken" in messages[0]
    assert reason in messages[0]
    assert f"pip install -U {distribution}" in messages[0]
    assert "CONVZOO_DISABLE=" in messages[0]
    assert contents(found) == contents(before)
    record = next(record for record in found.records.values() if record.owner.distribution == distribution)
    assert record.status == "broken"
    assert reason in record.error
    others = {key: record.status for key, record in found.records.items() if record.owner.distribution != distribution}
    assert others == {key: record.status for key, record in before.records.items()}
    assert_builds(found, "resnet18", "resnest50", "good_net")


def notes(found: Plugins, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """The table and the rest that ``convzoo plugins`` prints."""
    monkeypatch.setattr("convzoo.cli.plugins.plugins", lambda: found)
    assert cli.main(["plugins"]) == 0
    table, _, rest = capsys.readouterr().out.partition("\n\n")
    return table, rest


def net(name: str, *, block: str = "basic", **fields: object) -> Model:
    """A model of two small layers."""
    return Model(name, "mine", ref("cifar"), (Stage((ref(block, planes=8),) * 2, stride=2),), **fields)  # type: ignore[arg-type]


def smallest_of_each_family() -> list[str]:
    """The variant of every family that has the fewest parameters."""
    smallest: dict[str, str] = {}
    for name, entry in sorted(registry().models().items(), key=lambda item: item[1].spec.params or 0):
        smallest.setdefault(entry.spec.family, name)
    return list(smallest.values())


def whole(model: str | Model, **options: Any) -> Model:
    """The whole spec of a network that is not built."""
    overrides: Any = {}
    if isinstance(model, str):
        entry = registry().model(model)
        model, overrides = entry.spec, entry.overrides
    return compose(model, registry(), overrides, options)


def parts_of(spec: Model) -> Iterator[tuple[Part, Ref]]:
    """Every part that a spec names, with the Ref that names it; parts in slots included."""

    def inside(kind: str, part: Ref) -> Iterator[tuple[Part, Ref]]:
        yield find(registry(), kind, part), part
        for name, value in part.options.items():
            if isinstance(value, Ref):
                yield from inside(name, value)

    for kind in KINDS.values():
        if kind.of_model:
            yield from inside(kind.name, getattr(spec, kind.name))
    for stage in spec.stages:
        for layer in stage.layers:
            yield from inside("block", layer)
