"""The guide's code runs, and the reference has an entry for everything that people rely on."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from convzoo.plugins import hook
from convzoo.plugins.host import plugins, registry
from convzoo.spec.kinds import KINDS
from convzoo.testing.kit.promises import PROMISES

from .environments import MAIN, environment, run

DOCS = Path(__file__).parent.parent / "docs"
GUIDE = (DOCS / "writing-plugins.md").read_text(encoding="utf-8")
REFERENCE = (DOCS / "reference.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_python_block_of_the_guide_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [code for language, code in FENCE.findall(GUIDE) if language == "python"]
    assert len(blocks) >= 7
    module = ModuleType("guide")  # a module, since classes are pickled by the name of theirs
    monkeypatch.setitem(sys.modules, "guide", module)
    namespace: dict[str, Any] = vars(module)
    before = set(plugins().records)
    try:
        for code in blocks:
            exec(compile(code, "writing-plugins.md", "exec"), namespace)
    finally:
        for name in set(plugins().records) - before:
            plugins().remove(name)
    assert namespace["result"].equal
    assert len(list(namespace["fast"].parameters())) < len(list(namespace["model"].parameters()))


@pytest.mark.large  # every run does the same for the package that test_scaffold.py makes
def test_every_command_of_the_guide_runs(tmp_path: Path) -> None:
    (commands,) = (code.splitlines() for language, code in FENCE.findall(GUIDE) if language == "sh")
    python = environment(tmp_path / "venv")
    pip = (sys.executable, "-m", "pip", "--isolated", "--python", python, "--quiet", "install")
    programs: dict[str, tuple[str | Path, ...]] = {
        "convzoo": (python, "-c", MAIN),
        "pip": (*pip, "--no-build-isolation", "--no-index"),
        "pytest": (python, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
    }
    said = {}
    for command in commands:
        program, *words = shlex.split(command)
        words = words[1:] if program == "pip" else words
        said[command] = run(*programs[program], *words, cwd=tmp_path)
    assert len(said) == 5
    assert "my_gate_resnet20" in said["convzoo list --plugin my-gate"]
    assert re.search(r"^\d+ passed, 0 failed", said["convzoo check my-gate"], re.MULTILINE)


def test_the_guide_begins_with_eight_lines() -> None:
    first = next(code for language, code in FENCE.findall(GUIDE) if language == "python")
    body = [line for line in first.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(body) <= 8


def test_the_reference_is_what_the_docstrings_say() -> None:
    assert generator().reference() == REFERENCE, "run `make reference`"


def test_every_hook_kind_and_check_has_an_entry() -> None:
    hooks = [name for name, value in vars(hook).items() if hasattr(value, f"{hook.PROJECT}_spec")]
    assert hooks == ["convzoo_contribute"]
    for name in hooks:
        assert f"### `{name}(" in REFERENCE
    table = REFERENCE.split("## Checks")[0]
    assert {kind for kind in KINDS if not re.search(rf"^[|` ]*{kind}[|` ]", table, re.MULTILINE)} == set()
    assert [p.name for p in PROMISES if f"| `{p.name}` |" not in REFERENCE] == []


def test_every_part_of_the_zoo_has_a_row_in_the_reference() -> None:
    section = re.split(r"^## ", REFERENCE.split("\n## Parts\n")[1], flags=re.MULTILINE)[0]
    for component, owner in registry().components():
        rows = section.split(f"### Kind `{component.kind}`\n")[1].split("### Kind")[0]
        assert f"| `{component.name}` | {owner.name} | {component.summary} |" in rows


@pytest.mark.parametrize("module", generator().MODULE_NAMES)
def test_every_public_function_has_an_entry_with_a_text(module: str) -> None:
    section = re.split(r"^## ", REFERENCE.split(f"\n## `{module}`\n")[1], flags=re.MULTILINE)[0]
    for name, value in generator().public(importlib.import_module(module)).items():
        entry = re.search(rf"^### `{name}(?:\(.*)?`\n\n(.*)$", section, re.MULTILINE)
        assert entry, f"{module}.{name}"
        assert len(entry[1]) > 10, f"{module}.{name} has no docstring"
        assert getattr(value, "__doc__", None), f"{module}.{name} has no docstring"


def test_everything_that_modules_export_is_part_of_the_reference() -> None:
    """A module with an ``__all__`` is public; it may not be forgotten."""
    core = DOCS.parent / "core" / "convzoo"
    exporting = {
        ".".join(path.relative_to(core.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in core.rglob("*.py")
        if re.search(r"^__all__ = ", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert exporting <= set(generator().MODULE_NAMES)


@pytest.mark.parametrize("module", generator().MODULE_NAMES)
def test_public_docstrings_name_every_argument(module: str) -> None:
    catch_all = {"args", "kwargs", "options", "fields", "modules"}
    unsaid = {}
    for name, value in generator().public(importlib.import_module(module)).items():
        methods = vars(value).items() if inspect.isclass(value) else ()
        public = [(f"{name}.{n}", f) for n, f in methods if inspect.isfunction(f) and not n.startswith("_")]
        for label, function in [(name, value), *public]:
            error = inspect.isclass(function) and issubclass(function, (Exception, Warning))
            if error or name == "hookimpl" or label.endswith((".forward", ".extra_repr")):
                continue
            text = inspect.getdoc(function) or ""
            names = inspect.signature(function).parameters.keys() - catch_all - {"self"}
            if missing := [each for each in names if not re.search(rf"\b{each}\b", text)]:
                unsaid[label] = missing
    assert unsaid == {}
