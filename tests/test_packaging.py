"""The distributions: what they say of themselves, what their wheels hold, and that these work where nothing else is."""

from __future__ import annotations

import ast
import configparser
import email
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from convzoo.cli.catalogue import catalogue

from .environments import bare, pip, run

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
DISTRIBUTIONS = ["convzoo", *PLUGINS]
ELSEWHERE = ("timm", "torchvision", "sklearn", "numpy")
"""What a user of the core and a plugin need not have."""
NEEDED = ("torch", "pluggy", "packaging")
"""What the core requires."""
QUICKEST = "resnext"
"""The plugin whose own suite is run by itself in every run."""

Wheel = Callable[[str], Path]


def home(name: str) -> Path:
    """The folder of a distribution's pyproject.toml."""
    return ROOT if name == "convzoo" else ROOT / "plugins" / name


def sources(name: str) -> Path:
    """The folder that holds its packages."""
    return home(name) / ("core" if name == "convzoo" else "src")


def package(name: str) -> Path:
    """The folder of its package."""
    return sources(name) / ("convzoo" if name == "convzoo" else f"convzoo_{name}")


def project(name: str) -> dict[str, Any]:
    """The table ``project`` of its pyproject.toml."""
    return tomllib.loads((home(name) / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def extra(name: str) -> str:
    """The extra of the core that installs a plugin."""
    return name.replace("_", "-")


def models_of(name: str) -> list[str]:
    """The models that a plugin contributes; a plugin may have parts only."""
    return [entry for entry in catalogue()[project(name)["name"]] if "/" not in entry]


def next_minor(version: str) -> str:
    """``X.Y.Z`` to the range ``>=X.Y,<X.(Y+1)``."""
    major, minor = version.split(".")[:2]
    return f">={major}.{minor},<{major}.{int(minor) + 1}"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    """Builds a distribution's wheel, once for all workers, from a copy of its sources."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "wheels"

    def build(name: str) -> Path:
        folder = shared / name
        try:
            folder.mkdir(parents=True)
        except FileExistsError:  # another worker builds it, or has built it
            limit = time.monotonic() + 120
            while not (found := [*folder.glob("done/*.whl")]):
                assert time.monotonic() < limit, f"the wheel of {name} was not built"
                time.sleep(0.1)
            return found[0]
        copy = folder / "sources"
        shutil.copytree(
            sources(name),
            copy / sources(name).name,
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", ".*"),
        )
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(home(name) / file, copy)
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "new", copy, cwd=folder)
        (folder / "new").rename(folder / "done")
        (built,) = folder.glob("done/*.whl")
        return built

    return build


def with_requirements(*names: str) -> list[metadata.Distribution]:
    """Installed distributions, with all that they require."""
    found: dict[tuple[str, frozenset[str]], metadata.Distribution] = {}
    waiting = [Requirement(name) for name in names]
    while waiting:
        wanted = waiting.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key not in found:
            found[key] = metadata.distribution(wanted.name)
            for requirement in map(Requirement, found[key].requires or ()):
                marker = requirement.marker
                if marker is None or any(marker.evaluate({"extra": name}) for name in {"", *wanted.extras}):
                    waiting.append(requirement)
    return list(found.values())


def environment(folder: Path, wheels: list[Path], *needed: str) -> Path:
    """Make a virtual environment that has ``wheels`` and, of this one, ``needed`` with what they require.

    These are linked to one by one, since a path to this environment would let everything else in too. Gives the
    environment's interpreter.
    """
    links = folder / "needed"
    links.mkdir(parents=True)
    for distribution in with_requirements(*needed):
        for entry in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (links / entry).exists() and not entry.endswith(".pth"):
                (links / entry).symlink_to(distribution.locate_file(entry))
    python = bare(folder / "venv", str(links))
    if wheels:
        pip(python, "install", *wheels, cwd=folder)
    return python


def inventory(python: Path, folder: Path) -> tuple[dict[str, str], list[str]]:
    """An environment's plugins with their state, and which packages it has that it should do without."""
    script = """
        import importlib.util, json, sys
        import convzoo
        from convzoo.plugins.host import plugins
        assert convzoo.__file__.startswith(sys.prefix), convzoo.__file__
        states = {name: record.status for name, record in plugins().records.items()}
        print(json.dumps([states, [name for name in sys.argv[1:] if importlib.util.find_spec(name)]]))
    """
    states, unwanted = json.loads(run(python, "-I", "-c", textwrap.dedent(script), *ELSEWHERE, cwd=folder))
    return states, unwanted


def test_all_distributions_carry_one_version() -> None:
    versions = {name: project(name)["version"] for name in DISTRIBUTIONS}
    assert set(versions.values()) == {versions["convzoo"]}, versions


@pytest.mark.parametrize("name", PLUGINS)
def test_plugin_asks_for_the_core_of_its_own_minor_version(name: str) -> None:
    core = "convzoo" + next_minor(project(name)["version"])
    assert [text for text in project(name)["dependencies"] if text.startswith("convzoo")] == [core]


def test_core_depends_on_torch_and_two_small_packages_alone() -> None:
    assert [Requirement(text).name for text in project("convzoo")["dependencies"]] == list(NEEDED)


def test_extras_have_every_plugin_and_all_has_all_of_them() -> None:
    extras = dict(project("convzoo")["optional-dependencies"])
    (everything,) = map(Requirement, extras.pop("all"))
    asked = {key: value for key, value in extras.items() if any(text.startswith("convzoo-") for text in value)}
    bounds = next_minor(project("convzoo")["version"])
    assert asked == {extra(name): [f"{project(name)['name']}{bounds}"] for name in PLUGINS}
    assert (everything.name, everything.extras) == ("convzoo", set(asked))


@pytest.mark.parametrize("name", PLUGINS)
def test_plugin_has_licence_readme_types_and_entry_point(name: str) -> None:
    told = project(name)
    assert told["name"] == f"convzoo-{extra(name)}"
    assert told["entry-points"] == {"convzoo": {name: f"convzoo_{name}.plugin"}}
    assert (told["license"], told["license-files"], told["readme"]) == ("Apache-2.0", ["LICENSE"], "README.md")
    assert (home(name) / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert (package(name) / "py.typed").is_file()


@pytest.mark.parametrize("name", PLUGINS)
def test_readme_tells_how_to_install_and_what_there_is(name: str) -> None:
    text = (home(name) / "README.md").read_text(encoding="utf-8")
    assert f'pip install "convzoo[{extra(name)}]"' in text
    names = catalogue()[project(name)["name"]]
    mentioned = set(re.findall(r"`([\w.]+)`", text))
    assert len(mentioned & {name.rpartition("/")[2] for name in names}) >= 3


def test_core_names_no_architecture_of_a_plugin() -> None:
    plugins_own = re.compile("resnext|resnest|sknet|shake|condense|densenet", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line}"
        for path in sources("convzoo").rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if plugins_own.search(line)
    ]
    assert found == []


def test_git_ignores_no_source() -> None:
    files = [path for name in DISTRIBUTIONS for path in package(name).rglob("*.*") if "__pycache__" not in path.parts]
    words = ["git", "check-ignore", "--no-index", "--stdin"]
    try:
        done = subprocess.run(words, cwd=ROOT, input="\n".join(map(str, files)), capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if done.returncode == 128:
        pytest.skip(done.stderr)
    assert [line for line in done.stdout.splitlines() if "_cache" not in line] == []


def test_catalogue_that_the_core_ships_is_up_to_date() -> None:
    shipped = json.loads((package("convzoo") / "plugins" / "catalogue.json").read_text(encoding="utf-8"))
    assert shipped == catalogue(), "run `make catalogue`"
    assert set(shipped) == {project(name)["name"] for name in DISTRIBUTIONS}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_wheel_has_the_whole_package_and_nothing_else(name: str, wheel: Wheel) -> None:
    wanted = {path.relative_to(sources(name)).as_posix() for path in package(name).rglob("*.py")}
    wanted.add(f"{package(name).name}/py.typed")
    if name == "convzoo":
        data = [*package(name).rglob("*.tmpl"), *(package(name) / "bench" / "page").iterdir()]
        wanted |= {path.relative_to(sources(name)).as_posix() for path in data}
        wanted.add("convzoo/plugins/catalogue.json")
        wanted |= {f"convzoo/published/{path.name}" for path in (package(name) / "published").glob("*.json")}
    with zipfile.ZipFile(wheel(name)) as archive:
        assert {file for file in archive.namelist() if ".dist-info/" not in file} == wanted


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_wheel_has_licence_readme_and_entry_points(name: str, wheel: Wheel) -> None:
    told = project(name)
    with zipfile.ZipFile(wheel(name)) as archive:
        info = f"{told['name'].replace('-', '_')}-{told['version']}.dist-info"
        assert archive.read(f"{info}/licenses/LICENSE") == (home(name) / "LICENSE").read_bytes()
        described = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        entries = configparser.ConfigParser()
        entries.read_string(archive.read(f"{info}/entry_points.txt").decode())
    assert described["License-Expression"] == "Apache-2.0"
    assert described.get_payload().strip() == (home(name) / "README.md").read_text(encoding="utf-8").strip()
    wanted = {"console_scripts": {"convzoo": "convzoo.cli:main"}} if name == "convzoo" else told["entry-points"]
    assert {group: dict(entries[group]) for group in entries.sections()} == wanted


def test_wheels_work_where_only_what_the_core_requires_is(tmp_path: Path, wheel: Wheel) -> None:
    python = environment(tmp_path, [wheel(name) for name in DISTRIBUTIONS], *NEEDED)
    assert inventory(python, tmp_path) == (dict.fromkeys(["builtin", *PLUGINS], "ok"), [])
    listed = run(python.parent / "convzoo", "list", "--json", cwd=tmp_path)
    with_models = ["builtin", *filter(models_of, PLUGINS)]
    assert {entry["plugin"] for entry in json.loads(listed)} == set(with_models)
    script = """
        import sys
        import torch
        import convzoo
        for plugin in sys.argv[1:]:
            names = convzoo.list_models(plugin=plugin)
            smallest = min(names, key=lambda name: convzoo.model_info(name).spec.params)
            model = convzoo.create_model(smallest, num_classes=7).eval()
            print(plugin, *model(torch.zeros(1, 3, 64, 64)).shape)
    """
    output = run(python, "-I", "-c", textwrap.dedent(script), *with_models, cwd=tmp_path)
    assert output.splitlines() == [f"{plugin} 1 7" for plugin in with_models]


@pytest.mark.parametrize("name", PLUGINS)
def test_plugins_sources_and_tests_import_only_what_is_there_with_the_core_and_the_plugin_alone(name: str) -> None:
    own = {Requirement(text).name for text in project(name)["dependencies"] if not text.startswith("convzoo")}
    there = {"convzoo", package(name).name, "pytest", *NEEDED, *own, *sys.stdlib_module_names}
    found = {}
    for path in (*package(name).rglob("*.py"), *(home(name) / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Import(names):
                    modules = [alias.name for alias in names]
                case ast.ImportFrom(module=str(module), level=0):
                    modules = [module]
                case _:
                    continue
            found.update({module.partition(".")[0]: path.name for module in modules})
    assert {module: file for module, file in found.items() if module not in there} == {}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == QUICKEST else [pytest.mark.large]) for name in PLUGINS]
)
def test_plugins_own_tests_and_readme_pass_with_the_core_and_the_plugin_alone(
    name: str, tmp_path: Path, wheel: Wheel
) -> None:
    own = [text for text in project(name)["dependencies"] if not text.startswith("convzoo")]
    python = environment(tmp_path, [wheel("convzoo"), wheel(name)], *NEEDED, "pytest", *own)
    states, present = inventory(python, tmp_path)
    assert states == {"builtin": "ok", name: "ok"}
    assert set(present) <= {distribution.metadata["Name"] for distribution in with_requirements(*own)}
    tests = tmp_path / "tests"
    # Several processes need no more of the environment than one, and take long.
    shutil.copytree(home(name) / "tests", tests, ignore=shutil.ignore_patterns("__pycache__", "test_distributed.py"))
    blocks = re.findall(r"```python\n(.*?)```", (home(name) / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    body = textwrap.indent("".join(blocks), "    ")
    (tests / "test_readme_runs.py").write_text(f"def test_readme_runs():\n{body}", encoding="utf-8")
    words = ("-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-m", "not large")
    output = run(python, "-I", "-m", "pytest", *words, cwd=tests)
    assert "skipped" not in output, output
