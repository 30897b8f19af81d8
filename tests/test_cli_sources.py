"""`convzoo show` says in which file each part is written."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from convzoo import Component, Model, Stage, per_stage, ref, register
from convzoo.cli.sources import parts_of, written_in
from convzoo.globs import matcher
from convzoo.plugins.host import registry

from .commands import Capture, run

ROOT = Path(__file__).resolve().parents[1]


def test_every_part_of_the_zoo_is_found_where_python_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for component, _ in registry().components():
        code = inspect.unwrap(component.load())
        path = Path(inspect.getsourcefile(code) or "")
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        assert written_in(component) == f"{shown}:{inspect.findsource(code)[1] + 1}", component.name


def test_show_says_where_each_part_is_written(capsys: Capture) -> None:
    out = run(capsys, "show", "resnest50")
    where = dict(re.findall(r"^\w+ +(\w+) +\w+ +(\S+:\d+)$", out, re.MULTILINE))
    assert where.keys() == {"deep", "bottleneck", "split_attention", "avg", "classifier", "batch", "relu", "kaiming"}
    file, line = where["split_attention"].rsplit(":", 1)
    assert Path(file).read_text(encoding="utf-8").splitlines()[int(line) - 1].startswith("class SplitAttention")
    assert re.search(r"^conv +split_attention +resnest +", out, re.MULTILINE)


def test_show_build_has_the_parts_that_stand_in_a_slot_by_default(capsys: Capture) -> None:
    named, built = (run(capsys, "show", "resnet26", *words) for words in ([], ["--build"]))
    assert not re.search(r"^shortcut +conv ", named, re.MULTILINE)
    assert re.search(r"^shortcut +conv +builtin +\S+shortcuts.py:\d+$", built, re.MULTILINE)
    assert "--build adds" in named
    assert "--build adds" not in built
    assert "--build adds" not in run(capsys, "show", "resnet26", "num_classes=10")


def test_part_that_is_not_there_is_said_to_be_missing(capsys: Capture, mine: str) -> None:
    register(Model("lacking", "mine", ref("cifar"), (Stage([ref("basic", attention=ref("gone"))]),)), plugin=mine)
    assert re.search(r"^attention +gone +- +not installed, or kept out$", run(capsys, "show", "lacking"), re.MULTILINE)


def test_parts_of_a_spec_are_named_once_with_those_in_slots_and_stages() -> None:
    slot = per_stage(None, ref("se", act=ref("silu")))
    layers = [ref("basic", attention=slot), ref("basic", attention=slot), ref("norm_act")]
    spec = Model("net", "net", ref("cifar", norm=ref("none")), (Stage(layers), Stage(layers)))
    assert parts_of(spec) == [
        *(("stem", "cifar"), ("norm", "none"), ("block", "basic"), ("attention", "se"), ("act", "silu")),
        *(("block", "norm_act"), ("head", "classifier"), ("norm", "batch"), ("act", "relu"), ("init", "default")),
    ]


class Here:
    """A part that a test has."""


def test_part_that_is_an_object_is_found_too() -> None:
    line = inspect.findsource(Here)[1] + 1
    assert written_in(Component("attention", "here", Here)).endswith(f"test_cli_sources.py:{line}")
    assert "globs.py:" in written_in(Component("attention", "function", matcher))


def test_part_without_a_file_goes_by_its_name() -> None:
    typed: dict[str, type] = {}
    exec("class Typed: pass", {"__name__": "__main__"}, typed)
    assert written_in(Component("attention", "typed", typed["Typed"])) == "__main__:Typed"
    assert written_in(Component("attention", "built", max)) == "builtins:max"
    assert ".Odd object at " in written_in(Component("attention", "odd", Odd()))
    assert written_in(Component("attention", "lost", "no_such_package.file:Name")) == "no_such_package.file:Name"
    assert written_in(Component("attention", "lost", "json.no_such_file:Name")) == "json.no_such_file:Name"


class Odd:
    """Something that can be called, and has no name."""

    def __call__(self) -> None:
        pass


FILES = {
    "odd_parts/__init__.py": "raise RuntimeError('imported')\nfrom .handed import *\nfrom .other import Far as Near\n",
    "odd_parts/handed.py": "import os\nif os:\n    class Under: pass\ntry:\n    pass\nfinally:\n    alias = Under\n",
    "odd_parts/other.py": "def Far():\n    pass\ntyped: int = 3\ndef Far():\n    pass\n",
    "odd_parts/broken.py": "def broken(:\n",
    "odd_parts/circle.py": "from odd_parts.circle import *\nfrom odd_parts.circle import round\n",
    "odd_parts/far.py": "from ......nothing import Lost\nfrom . import Lost as Found\n",
}


@pytest.mark.parametrize(
    ("target", "where"),
    [
        ("odd_parts:Under", "odd_parts/handed.py:3"),
        ("odd_parts:alias", "odd_parts/handed.py:7"),
        ("odd_parts:Near", "odd_parts/other.py:4"),
        ("odd_parts.other:typed", "odd_parts/other.py:3"),
        ("odd_parts.other:missing", "odd_parts/other.py"),
        ("odd_parts.broken:broken", "odd_parts/broken.py"),
        ("odd_parts.circle:round", "odd_parts/circle.py"),
        ("odd_parts.far:Lost", "odd_parts/far.py"),
    ],
)
def test_code_is_found_without_importing_it(
    target: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert written_in(Component("attention", "odd", target)) == where


def test_finding_code_of_torch_imports_no_torch() -> None:
    code = (
        "import sys; from convzoo import Component; from convzoo.cli.sources import written_in;"
        " print(written_in(Component('act', 'silu', 'torch.nn:SiLU')), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert re.search(r"activation\.py:\d+ False$", done.stdout), done.stderr
