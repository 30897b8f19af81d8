"""The README's and the guides' code runs, and what they promise exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import convzoo
from convzoo.cli import main
from convzoo.plugins.host import plugins

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_every_python_block_of_the_readme_runs() -> None:
    blocks = [code for language, code in FENCE.findall(README) if language == "python"]
    assert len(blocks) >= 5
    namespace: dict[str, Any] = {}
    try:
        for code in blocks:
            exec(compile(code, "README.md", "exec"), namespace)
    finally:
        if "session" in plugins().records:
            plugins().remove("session")
    assert namespace["logits"].shape == (1, 1000)
    assert namespace["again"].state_dict().keys() == convzoo.build(namespace["again"].spec).state_dict().keys()
    assert namespace["backbone"].feature_info.channels() == [512, 1024, 2048]
    assert namespace["backbone"].feature_info.reduction() == [8, 16, 16]
    assert type(namespace["fast"]) is type(namespace["model"])


@pytest.mark.large  # as test_packaging.py runs them, where nothing but the plugin is; one of them in every run
def test_plugin_readmes_run() -> None:
    for page in sorted(ROOT.glob("plugins/*/README.md")):
        namespace: dict[str, Any] = {}
        for language, code in FENCE.findall(page.read_text(encoding="utf-8")):
            if language == "python":
                exec(compile(code, str(page), "exec"), namespace)


COMMANDS = re.findall(
    r"^convzoo (?:list|show|plugins|new|check|parity|bench|export)\b.*?(?=\s+#|$)", README, re.MULTILINE
)
BRIEF = {
    "check": ["conv/shuffled"],
    "parity": ["--image-size", "64"],
    "bench": ["--budget", "1", "--image-size", "64", "--in-process", "--no-memory"],
    "export": [],
}
"""Commands that take long, with words that make them brief. test_installation.py runs them too."""


@pytest.mark.parametrize("line", [line for line in COMMANDS if shlex.split(line)[1] not in BRIEF])
def test_commands_of_the_readme_run(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)[1:]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out


def test_every_block_of_the_readme_is_run_or_is_the_set_up() -> None:
    known = [language for language, _ in FENCE.findall(README)]
    plain = [code.strip().split()[0] for language, code in FENCE.findall(README) if not language]
    assert set(known) == {"python", ""}
    assert plain == ["pip", "make", "variant", "model", "convzoo"], "set-ups, a table, downloads, the commands above"


def test_every_variant_that_the_readme_names_exists() -> None:
    table = README.split("## What there is")[1].split("## Using it")[0]
    named = [name for line in table.splitlines() if line.startswith("|") for name in re.findall(r"`(\w[\w.]*)`", line)]
    plugin_names = {record.owner.name for record in plugins().records.values()}
    assert len(named) > 30
    assert [name for name in named if name not in plugin_names and not convzoo.is_model(name)] == []


def test_every_family_stands_in_the_readme_with_its_paper() -> None:
    for name in convzoo.list_models():
        arxiv = re.search(r"arXiv:(\S+?)(?:,|$)", convzoo.model_info(name).spec.paper)
        assert arxiv is not None
        assert arxiv[1] in README, name


def test_every_file_of_the_core_that_the_map_names_exists() -> None:
    tree = FENCE.findall(CONTRIBUTING)[0][1]
    named = [word for line in tree.splitlines() if line.startswith("  ") for word in re.findall(r"\w+\.py|\w+/", line)]
    core = {
        path.name
        for path in (ROOT / "core" / "convzoo").iterdir()
        if path.suffix in ("", ".py") and path.name[0] not in "._"
    }
    assert core <= {name.rstrip("/") for name in named}
    assert [name for name in named if not (ROOT / "core" / "convzoo" / name).exists() and name != "data/"] == []


def test_every_make_target_that_is_documented_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    documented = set(re.findall(r"(?:`|^)make ([\w-]+)", README + CONTRIBUTING, re.MULTILINE))
    assert {"demo", "test", "test-all", "lint"} <= documented
    for target in documented:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
