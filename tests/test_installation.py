"""The README's installation, in a fresh environment: what comes after it runs with what it installs, and no more."""

from __future__ import annotations

import glob
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .environments import pip as pip_for
from .environments import run
from .test_packaging import NEEDED, PLUGINS, ROOT, environment, home, project, sources
from .test_readme import BRIEF, COMMANDS, FENCE, README

BLOCKS = [(language, code) for language, code in FENCE.findall(README)]
(LINE,) = re.findall(r"^(pip install .+?)(?:\s+#.*)?$", "".join(code for _, code in BLOCKS), re.MULTILINE)
"""The one line that installs all of it."""


def words_of(line: str, folder: Path) -> list[str]:
    """The words of a command as a shell in ``folder`` gives them, with its globs spread out."""
    return [
        name
        for word in shlex.split(line)
        for name in (sorted(glob.glob(word, root_dir=folder)) if "*" in word else [word])
    ]


def required(words: list[str]) -> Iterator[str]:
    """What ``pip install`` of these folders of the repository asks for beside them, extras of the core included."""
    for word in words:
        path, _, extras = word.rstrip("]").partition("[")
        name = "convzoo" if path == "." else Path(path).name
        waiting = [*project(name)["dependencies"]]
        optional = project(name).get("optional-dependencies", {})
        names = [extra for extra in extras.split(",") if extra]
        while names:
            for text in optional[names.pop()]:
                inner = re.fullmatch(r"convzoo\[(.+)\]", text)
                names += inner[1].split(",") if inner else []
                waiting += [] if inner else [text]
        yield from (text for text in waiting if not text.startswith("convzoo"))


def test_one_line_installs_the_core_and_all_plugins() -> None:
    first, second, core, *folders = words_of(LINE, ROOT)
    assert (first, second, core.partition("[")[0]) == ("pip", "install", ".")
    assert sorted(Path(folder).name for folder in folders) == PLUGINS


def test_installation_comes_before_all_code() -> None:
    assert BLOCKS[0][1].startswith("pip install ")
    assert README.index(LINE) < README.index("```python")


def test_requirements_are_those_of_the_extras_too() -> None:
    found = {text.split(">")[0] for text in required([".[bench]", "plugins/convs"])}
    assert found == {*NEEDED, "timm", "torchvision", "scikit-learn", "pillow", "tqdm", "rich"}


@pytest.mark.large  # ten distributions are built, and the whole README is run
def test_every_block_of_the_readme_runs_with_what_it_installs(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for name in ("convzoo", *PLUGINS):
        folder = clone / home(name).relative_to(ROOT)
        shutil.copytree(
            sources(name), folder / sources(name).name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")
        )
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(home(name) / file, folder)
    _, _, *folders = words_of(LINE, clone)
    needed = sorted({re.split(r"[<>=!~ ]", text)[0] for text in required(folders)})
    python = environment(tmp_path / "env", [], *needed)
    pip_for(python, "install", *folders, cwd=clone)
    code = "\n".join(code for language, code in BLOCKS if language == "python")
    program = tmp_path / "readme.py"
    program.write_text("import convzoo, sys\nassert convzoo.__file__.startswith(sys.prefix)\n" + code, encoding="utf-8")
    run(python, "-I", program, cwd=tmp_path)
    assert len(COMMANDS) > 8
    for line in COMMANDS:
        _, *words = shlex.split(line)
        assert run(python.parent / "convzoo", *words, *BRIEF.get(words[0], []), cwd=tmp_path), line
    plugins = run(python.parent / "convzoo", "plugins", cwd=tmp_path)
    assert len(re.findall(r" ok ", plugins)) == len(PLUGINS) + 1
