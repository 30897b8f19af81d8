"""Lower floors know nothing of higher ones, nothing goes in a circle, and plugins use only what is public."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import convzoo
from convzoo.cli.scaffold import EXAMPLES, render

from .test_docs import generator

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "core" / "convzoo"
FILES = sorted(path.relative_to(CORE).as_posix() for path in CORE.rglob("*.py"))

BELOW = {
    "spec": {"errors", "spec"},
    "plugins": {"errors", "spec", "plugins"},
    "network": {"errors", "spec", "network", "layers", "published"},
    "published": {"errors", "published"},
    "channels": set(),
}
"""What a folder may import of the core; other folders may import what is on no higher floor."""
HIGHER = {
    "building": {"testing", "cli", "bench", "api"},
    "listing": {"testing", "cli", "bench", "api", "building", "network"},
    "resnet": {"testing", "cli", "bench", "building", "network"},  # by the public functions, as other plugins
    "testing": {"cli", "bench", "exporting"},
    "exporting": {"cli", "bench", "api", "building"},
    "deploying": {"testing", "cli", "bench", "api", "building", "exporting", "resnet"},
    "bench": {"cli"},
    "timm": {"testing", "cli", "bench", "building", "resnet"},
    "errors": {path.partition("/")[0].removesuffix(".py") for path in FILES} - {"errors"},
    "layers": {"testing", "cli", "bench", "api", "building", "network", "plugins", "resnet"},
    "dialects": {"testing", "cli", "bench", "api", "building", "network", "plugins", "resnet", "layers", "layouts"},
    "packages": {"testing", "cli", "bench", "api", "building", "resnet"},
    "layouts": {"testing", "cli", "bench", "api", "building", "network", "plugins", "resnet", "layers"},
}


def module_of(file: str) -> str:
    return ".".join(["convzoo", *Path(file).with_suffix("").parts]).removesuffix(".__init__")


MODULES = {module_of(file): file for file in FILES}


def imports(source: str) -> Iterator[tuple[str, str | None]]:
    """``(module, name)`` of all that is imported from convzoo, within functions too; name None for a whole module."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                yield from ((alias.name, None) for alias in names if alias.name.partition(".")[0] == "convzoo")
            case ast.ImportFrom(module=str(module), names=names, level=0) if module.partition(".")[0] == "convzoo":
                yield from ((module, alias.name) for alias in names)
            case ast.ImportFrom(level=level) if level:
                raise AssertionError("imports are absolute here")


def imported(file: str) -> set[str]:
    """The files of the core that a file of it imports."""
    found = set()
    for module, name in imports((CORE / file).read_text(encoding="utf-8")):
        found.add(MODULES.get(f"{module}.{name}") or MODULES[module])
    return found


def floor(file: str) -> str:
    return file.partition("/")[0].removesuffix(".py")


@pytest.mark.parametrize("file", [file for file in FILES if floor(file) in BELOW or floor(file) in HIGHER])
def test_file_imports_nothing_of_a_higher_floor(file: str) -> None:
    floors = {floor(other) for other in imported(file)}
    own = floor(file)
    assert floors - BELOW.get(own, floors) == set()
    assert floors & HIGHER.get(own, set()) == set()
    assert "__init__" not in floors, "the core imports from its own modules, not from what users import"


def test_every_floor_is_there() -> None:
    assert {floor(file) for file in FILES} >= BELOW.keys() | HIGHER.keys()


def test_imports_of_the_core_go_in_no_circle() -> None:
    waiting = {file: imported(file) - {file} for file in FILES}
    while waiting:
        free = {file for file, needs in waiting.items() if not needs & waiting.keys()}
        assert free, f"a circle of imports is among {sorted(waiting)}"
        waiting = {file: needs for file, needs in waiting.items() if file not in free}


def public_names(module: str) -> set[str]:
    """What the reference has of a module: its classes, functions and constants."""
    page = generator()
    if module not in page.MODULE_NAMES:
        return set()
    found: Any = importlib.import_module(module)
    headings = {line.split("`")[1] for line in page.constants(found) if line.startswith("### `")}
    return set(page.public(found)) | headings


def private_imports(source: str) -> list[str]:
    """What of convzoo a source imports that is not public."""
    wrong = []
    modules = generator().MODULE_NAMES
    for module, name in imports(source):
        if name is None or f"{module}.{name}" in modules:
            known = (module if name is None else f"{module}.{name}") in modules
        else:
            known = name in (convzoo.__all__ if module == "convzoo" else public_names(module))
        if not known:
            wrong.append(f"{module}.{name}" if name else module)
    return wrong


SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("plugins/*/src/**/*.py"))


@pytest.mark.parametrize("plugin", sorted({path.split("/")[1] for path in SOURCES}))
def test_first_party_plugin_imports_only_public_names(plugin: str) -> None:
    own = [path for path in SOURCES if path.startswith(f"plugins/{plugin}/")]
    wrong = {path: private_imports((ROOT / path).read_text(encoding="utf-8")) for path in own}
    assert {path: names for path, names in wrong.items() if names} == {}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_new_package_imports_only_public_names(kind: str) -> None:
    wrong = {path: private_imports(text) for path, text in render("my-part", kind).items() if path.endswith(".py")}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_package_of_a_third_party_imports_only_public_names() -> None:
    package = ROOT / "tests" / "third_party" / "res2net"
    wrong = {path.name: private_imports(path.read_text(encoding="utf-8")) for path in package.rglob("*.py")}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_private_imports_are_noticed() -> None:
    lines = [
        "def f():",
        "    from convzoo.building.parts import Part",
        "from convzoo import ref, api",
        "import convzoo.cli.new",
    ]
    assert private_imports("\n".join(lines)) == ["convzoo.api", "convzoo.cli.new", "convzoo.building.parts.Part"]


def test_specs_plugins_and_listing_need_no_torch() -> None:
    light = [
        *(
            module
            for module, file in MODULES.items()
            if floor(file)
            in ("spec", "plugins", "errors", "layouts", "dialects", "published", "packages", "api", "listing")
        ),
        *(
            "convzoo.cli",
            "convzoo.cli.bench",
            "convzoo.cli.export",
            "convzoo.bench.results",
            "convzoo.bench.cells",
            "convzoo.cli.list",
            "convzoo.cli.show",
            "convzoo.cli.plugins",
            "convzoo.cli.scaffold",
        ),
        "convzoo.resnet.plugin",
    ]
    code = "import importlib, sys; [importlib.import_module(m) for m in sys.argv[1:]]; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *light], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_public_names_stay_what_they_are_whatever_is_imported() -> None:
    """A module of the core that is called like one of them would take its place once it is imported."""
    for module in MODULES:
        importlib.import_module(module)
    assert [name for name in convzoo.__all__ if isinstance(getattr(convzoo, name), ModuleType)] == []
