"""``convzoo new``: what it refuses, what it writes, and that this installs, passes its tests and goes with the zoo."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from convzoo import OptionError
from convzoo.cli import main, scaffold
from convzoo.cli.scaffold import EXAMPLES, LONGEST, create, render
from convzoo.plugins.environment import core_version

from .environments import MAIN, environment, pip, plugins_of, run, site

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("x", "my-block", "a_b2", "n" * LONGEST)
"""The shortest, the usual, one with the other sign, and the longest."""


def contents(folder: Path) -> dict[str, str]:
    """The files under a folder, path to text."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def refused(name: str, into: Path, kind: str = "block") -> str:
    """What is said of a package that cannot be; nothing is written."""
    before = sorted(into.rglob("*"))
    with pytest.raises(OptionError) as error:
        create(name, kind, into)
    assert sorted(into.rglob("*")) == before
    return str(error.value)


# What it refuses


@pytest.mark.parametrize(
    "name", ["", "My-Block", "3d", "a--b", "a-", "-a", "a.b", "a b", "../a", "a\n", "ä", "n" * (LONGEST + 1)]
)
def test_malformed_names_are_refused_with_the_rule(name: str, tmp_path: Path) -> None:
    assert refused(name, tmp_path) == f"{name!r} cannot be a plugin's name: {scaffold.RULE}"


@pytest.mark.parametrize("name", ["class", "true", "import"])
def test_words_of_python_are_refused(name: str, tmp_path: Path) -> None:
    assert "a word of Python's own; choose another name" in refused(name, tmp_path)


@pytest.mark.parametrize("name", ["plugin", "conformance", "session"])
def test_names_that_the_package_needs_itself_are_refused(name: str, tmp_path: Path) -> None:
    assert scaffold.TAKEN[name] in refused(name, tmp_path)


@pytest.mark.parametrize(("kind", "name"), [("conv", "maker"), ("block", "conv-norm-act"), ("stem", "f")])
def test_names_that_would_hide_what_the_part_imports_are_refused(kind: str, name: str, tmp_path: Path) -> None:
    assert "which its module imports; choose another name" in refused(name, tmp_path, kind)


@pytest.mark.parametrize("name", ["resnest", "wide_resnet", "wide-resnet", "shake-shake", "attention", "builtin"])
def test_names_of_first_party_plugins_are_refused(name: str, tmp_path: Path) -> None:
    assert refused(name, tmp_path) == f"{name!r} is taken, since a first-party plugin is called so; choose another name"


@pytest.mark.parametrize(
    ("name", "holder", "what"),
    [
        ("se", "convzoo-attention", "attention se"),
        ("deep", "convzoo", "stem deep"),
        ("split-attention", "convzoo-resnest", "conv split_attention"),
        ("resnet50", "convzoo", "model resnet50"),
    ],
)
def test_names_of_the_catalogue_are_refused(name: str, holder: str, what: str, tmp_path: Path) -> None:
    said = refused(name, tmp_path)
    assert said == f"{name!r} is taken, since {holder}, installed or not, has {what}; choose another name"


def test_other_kinds_are_refused_with_those_that_there_are(tmp_path: Path) -> None:
    said = refused("my-head", tmp_path, "head")
    assert said.endswith("kind 'head'; there is one for attention, block, conv, stem")


def test_what_is_there_already_is_left_alone(tmp_path: Path) -> None:
    for name, make in {
        "my-folder": lambda path: (path.mkdir(), (path / "kept").write_text("kept")),
        "my-file": lambda path: path.write_text("kept"),
        "my-link": lambda path: path.symlink_to(tmp_path / "nowhere"),
    }.items():
        make(tmp_path / name)
        said = refused(name, tmp_path)
        assert said == f"{tmp_path / name} is there already, and is no empty folder; remove it, or choose another place"
    assert contents(tmp_path) == {"my-folder/kept": "kept", "my-file": "kept"}


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "my-block").mkdir()
    assert contents(create("my-block", "block", tmp_path)) == render("my-block", "block")


def test_a_place_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refused("my-block", tmp_path / "a") == f"{tmp_path / 'a'} is no folder; make it first, or name another"


@pytest.mark.parametrize("broken", ["write_text", "replace"])
def test_nothing_is_left_of_a_package_that_cannot_be_written_whole(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = Path.write_text, []

    def full(path: Path, *arguments: Any, **options: Any) -> int:
        if len(written) == 3:
            raise OSError("no space left")
        written.append(path)
        return write(path, *arguments, **options)

    def denied(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(*((Path, "write_text", full) if broken == "write_text" else (os, "replace", denied)))
    (tmp_path / "my-block").mkdir()
    with pytest.raises(OSError, match="no space left"):
        create("my-block", "block", tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["my-block"]


def test_the_command_reports_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "se", "--kind", "block", "--into", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("convzoo new: 'se' is taken, ")
    with pytest.raises(SystemExit):
        main(["new", "my-head", "--kind", "head"])
    assert ", ".join(EXAMPLES) in capsys.readouterr().err.replace("'", "")


# What it writes


@pytest.mark.parametrize("kind", EXAMPLES)
@pytest.mark.parametrize("name", NAMES)
def test_no_placeholder_is_left_and_no_line_of_code_is_too_long(kind: str, name: str) -> None:
    for path, text in render(name, kind).items():
        assert "$" not in path + text, path
        assert ".tmpl" not in path + text, path
        assert text.endswith("\n") or path.endswith("py.typed")
        if path.endswith(".py"):
            ast.parse(text)
            assert max(map(len, text.splitlines())) <= 120, path


@pytest.mark.parametrize("kind", EXAMPLES)
def test_what_is_written_is_named_after_the_package(kind: str) -> None:
    files = render("my-part", kind)
    assert sorted(files) == [
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "src/convzoo_my_part/__init__.py",
        "src/convzoo_my_part/my_part.py",
        "src/convzoo_my_part/plugin.py",
        "src/convzoo_my_part/py.typed",
        "tests/test_conformance.py",
        "tests/test_my_part.py",
    ]
    project = files["pyproject.toml"]
    assert 'name = "convzoo-my-part"' in project
    assert '[project.entry-points.convzoo]\nmy-part = "convzoo_my_part.plugin"\n' in project
    assert '"convzoo_my_part.my_part:MyPart"' in files["src/convzoo_my_part/plugin.py"]
    assert f'"{kind}",\n        "my-part",' in files["src/convzoo_my_part/plugin.py"]
    assert "class MyPart(" in files["src/convzoo_my_part/my_part.py"]


def test_every_template_is_used() -> None:
    templates = Path(scaffold.__file__).parent / "templates"
    wanted = {template.replace("$kind", kind) for template in scaffold.FILES.values() for kind in EXAMPLES}
    assert set(contents(templates)) == {f"{template}.tmpl" for template in wanted}


def test_python_that_is_written_passes_ruff(tmp_path: Path) -> None:
    ruff = shutil.which("ruff", path=os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", ""))))
    if ruff is None:
        pytest.skip("ruff is not installed")
    for kind in EXAMPLES:
        (tmp_path / kind).mkdir()
        for name in NAMES:
            create(name, kind, tmp_path / kind)
    settings = ("--no-cache", "--config", str(ROOT / "pyproject.toml"), str(tmp_path))
    for command in (("check",), ("format", "--diff")):
        done = subprocess.run([ruff, *command, *settings], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("version", "core"),
    [
        ("0.1.0", ">=0.1,<0.2"),
        ("1.10.3", ">=1.10,<1.11"),
        ("2.0rc1", ">=2.0,<2.1"),
        ("0.9.dev4+local.1", ">=0.9,<0.10"),
        ("3", ">=3.0,<3.1"),
    ],
)
def test_the_package_asks_for_the_running_cores_minor_version(
    version: str, core: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaffold, "core_version", lambda: version)
    assert f'dependencies = ["convzoo{core}"]' in render("my-block", "block")["pyproject.toml"]
    assert SpecifierSet(core).contains(Version(version).base_version)


def test_the_running_core_is_one_that_a_new_package_takes() -> None:
    (core,) = re.findall(r'dependencies = \["convzoo(.*)"\]', render("my-block", "block")["pyproject.toml"])
    assert SpecifierSet(core).contains(core_version(), prereleases=True)


def test_writing_a_package_imports_no_torch(tmp_path: Path) -> None:
    code = "import sys, convzoo.cli; convzoo.cli.main(); sys.exit('torch' in sys.modules)"
    run(sys.executable, "-c", code, "new", "my-block", "--kind", "block", cwd=tmp_path)
    assert contents(tmp_path / "my-block") == render("my-block", "block")


# What comes of it


PARTNERS = {
    "attention": ('"resnest14d", attention="my-attention", stem="deep"', '"se_wrn16_8", attention="my-attention"'),
    "block": ('"my_block_resnet20", attention="se", conv="deformable"', '"my_block_resnet20", stem="cifar_linear"'),
    "conv": ('"seresnext26t_32x4d", conv="my-conv"', '"resnet20", conv="my-conv", attention="cbam"'),
    "stem": ('"densenet40_k12_bc", stem="my-stem"', '"resnet20_b", stem="my-stem", attention="se", conv="shuffled"'),
}
"""Networks of a kind's new part and parts of first-party plugins, as arguments."""


def installed() -> set[str]:
    """What this process's own environment has."""
    return {each.name for each in importlib.metadata.distributions()}


@pytest.mark.large
@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_new_package_installs_passes_its_tests_and_goes_with_the_zoo(kind: str, tmp_path: Path) -> None:
    before, distributions = plugins_of(sys.executable, tmp_path), installed()
    name = f"my-{kind}"
    said = run(sys.executable, "-c", MAIN, "new", name, "--kind", kind, cwd=tmp_path)
    folder = tmp_path / name
    assert contents(folder) == render(name, kind)
    assert f"convzoo check {name}" in said

    python = environment(tmp_path / "venv")
    pip(python, "install", folder, cwd=tmp_path)
    assert plugins_of(python, tmp_path) == {**before, name: "ok"}

    model = f"my_{kind}_resnet20"
    out = run(python, "-m", "pytest", "-v", "-p", "no:cacheprovider", cwd=folder)
    assert re.search(r"= \d+ passed, \d+ skipped in ", out), out
    for check in (f"{kind}/{name}/declares_shapes", f"model/{model}/costs_what_it_pins"):
        assert f"test_conformance[{check}] PASSED" in out
    for test in ("test_goes_with_the_parts_of_others", "are_refused"):
        assert re.search(rf"test_my_{kind}.py::.*{test}.* PASSED", out)

    listed = run(python, "-c", MAIN, "list", "--plugin", name, cwd=tmp_path)
    assert re.search(rf"^{model} +{name} +{name} ", listed, re.MULTILINE)
    (readme,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    script = """
        import torch
        for arguments in sys.argv[1:]:
            model = eval(f"convzoo.create_model({arguments}, num_classes=7)")
            out = model(torch.randn(2, 3, 64, 64))
            out.square().sum().backward()
            parts = {type(module).__name__ for module in model.modules()}
            print(*out.shape, all(p.grad is not None for p in model.parameters()), *parts)
    """
    code = f"import sys\n{readme}{textwrap.dedent(script)}"
    lines = run(python, "-c", code, f'"{model}"', *PARTNERS[kind], cwd=tmp_path).splitlines()
    assert len(lines) == 3
    for line in lines:
        assert line.startswith("2 7 True "), line
        assert f"My{kind.capitalize()}" in line.split(), line

    pip(python, "uninstall", f"convzoo-{name}", cwd=tmp_path)
    assert [path.name for path in site(python).iterdir() if "convzoo" in path.name] == []
    assert plugins_of(python, tmp_path) == before == plugins_of(sys.executable, tmp_path)
    assert installed() == distributions
