"""`convzoo list`: models by glob, plugin and family, and parts by kind and name."""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
import subprocess
import sys

import pytest

import convzoo
from convzoo.cli import main
from convzoo.plugins.host import registry

from .commands import Capture, first_column, refused, run, run_json
from .environments import MAIN


def test_list_has_every_model_with_its_counts(capsys: Capture) -> None:
    out = run(capsys, "list")
    assert first_column(out) == convzoo.list_models()
    assert re.search(r"^resnet50 +resnet +builtin +25\.56 M +4\.089 G +224$", out, re.MULTILINE)
    assert re.search(r"^resnest50 +resnest +resnest .* 224 +resnest50d$", out, re.MULTILINE)
    assert f"{len(convzoo.list_models())} models" in out


def test_list_takes_globs(capsys: Capture) -> None:
    expected = [name for name in convzoo.list_models() if name.startswith("resnest5") or name == "resnet18"]
    assert first_column(run(capsys, "list", "resnest5*", "resnet18")) == expected
    assert first_column(run(capsys, "list", "resnet1[0-4]t")) == ["resnet10t", "resnet14t"]


@pytest.mark.parametrize(("option", "value"), [("--plugin", "resnest"), ("--family", "resnet_cifar")])
def test_list_keeps_a_plugin_or_a_family(capsys: Capture, option: str, value: str) -> None:
    models = registry().models()
    owner_or_family = {
        name: {"--plugin": e.owner.name, "--family": e.spec.family}[option] for name, e in models.items()
    }
    expected = [name for name, has in owner_or_family.items() if has == value]
    assert 0 < len(expected) < len(models)
    assert first_column(run(capsys, "list", option, value)) == expected


def test_list_combines_globs_and_options(capsys: Capture) -> None:
    names = first_column(run(capsys, "list", "*18*", "--plugin", "builtin", "--family", "resnet"))
    assert names == ["resnet18", "resnet18d"]


def in_columns(text: str) -> dict[str, list[str]]:
    """The names behind each family."""
    found: dict[str, list[str]] = {}
    family = ""
    for line in text.split("\n\n")[0].splitlines():
        words = line.split()
        if not line.startswith(" "):
            family, *words = words
        found.setdefault(family, []).extend(words)
    return found


@pytest.mark.parametrize("width", [1, 60, 80, 143, 1000])
def test_columns_have_every_model_by_family_as_wide_as_there_is_room(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = run(capsys, "list", "--columns")
    assert in_columns(out) == {family: convzoo.list_models(family=family) for family in convzoo.list_families()}
    lines = out.split("\n\n")[0].splitlines()
    assert width < 60 or max(map(len, lines)) <= width
    assert (len(lines) == len(convzoo.list_models())) is (width == 1)
    assert (len(lines) == len(convzoo.list_families())) is (width == 1000)


def test_names_in_columns_stand_under_each_other(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = run(capsys, "list", "resnest*", "--columns").split("\n\n")[0].splitlines()
    starts = [[match.start() for match in re.finditer(r"\S+", line[9:])] for line in lines]
    assert len(starts) > 3
    assert len(starts[0]) > 1
    assert all(each == starts[0][: len(each)] for each in starts)


@pytest.mark.parametrize(
    ("words", "lines", "columns"),
    [
        ([], 24, True),
        ([], 500, False),
        (["resnet18*"], 24, False),
        (["resnet18*"], 5, True),
        (["--no-columns"], 24, False),
        (["--columns", "resnet18*"], 24, True),
    ],
)
def test_a_terminal_gets_columns_where_a_line_for_each_model_would_not_fit(
    words: list[str], lines: int, columns: bool
) -> None:
    pty = pytest.importorskip("pty")
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 90, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen([sys.executable, "-c", MAIN, "list", *words], stdout=theirs, env=environment) as process:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # what reading gives at the end
            while part := os.read(ours, 10_000):
                said += part
        os.close(ours)
    assert process.returncode == 0
    out = said.decode().replace("\r\n", "\n")
    assert ("parameters and MACs on one image" in out) is not columns
    if columns:
        assert max(map(len, out.splitlines())) <= 90


def test_columns_and_json_are_two_things(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        run(capsys, "list", "--json", "--columns")


def test_list_prints_json(capsys: Capture) -> None:
    [row] = run_json(capsys, "list", "resnest50")
    assert row == {
        "name": "resnest50",
        "family": "resnest",
        "plugin": "resnest",
        "params": 27_483_240,
        "macs": 5_371_160_576,
        "input_size": 224,
        "num_classes": 1000,
        "aliases": ["resnest50d"],
        "timm": "resnest50d",
        "paper": convzoo.model_info("resnest50").spec.paper,
        "pretrained": ["timm:in1k", "pytorchcv:imagenet"],
    }


@pytest.mark.parametrize("option", ["--plugin", "--family"])
def test_list_refuses_an_unknown_plugin_or_family_and_lists_those_known(capsys: Capture, option: str) -> None:
    message, _, known = refused(capsys, "list", option, "resnst").partition(" Known are ")
    assert f"{option.removeprefix('--')} 'resnst'" in message
    assert {"resnest", "resnext", "wide_resnet"} <= set(known.strip().rstrip(".").split(", "))


def test_list_knows_aliases_and_names_the_closest_for_what_matches_nothing(capsys: Capture) -> None:
    assert "resnest50d" in run(capsys, "list", "resnest50d")
    assert "Did you mean 'resnest50'" in refused(capsys, "list", "resnst50")


def test_names_may_stand_behind_a_flag(capsys: Capture) -> None:
    listed = json.loads(run(capsys, "list", "resnet18", "--json", "resnet34"))
    assert [model["name"] for model in listed] == ["resnet18", "resnet34"]


def test_list_parts_has_every_component_of_a_kind_or_name(capsys: Capture) -> None:
    components = registry().components()
    out = run(capsys, "list", "--parts")
    assert re.search(rf"^{len(components)} parts\b", out, re.MULTILINE)
    for component, owner in components:
        assert re.search(rf"^{component.kind} +{component.name} +{owner.name} ", out, re.MULTILINE)
    kinds = [part["kind"] for part in json.loads(run(capsys, "list", "--parts", "attention", "--json"))]
    assert kinds == ["attention"] * len(registry().components("attention"))
    assert [
        p["name"] for p in json.loads(run(capsys, "list", "--parts", "stem/c*", "--json", "--plugin", "builtin"))
    ] == [
        "cifar",
        "conv",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing*"], "no part fits nothing*"),
        (["--plugin", "resnst"], "Did you mean 'resnest'"),
        (["--family", "resnet"], "leave --family out"),
        (["--columns"], "leave --columns out"),
    ],
)
def test_list_parts_refuses_what_is_not_there(capsys: Capture, words: list[str], said: str) -> None:
    assert main(["list", "--parts", *words]) == 2
    assert said in capsys.readouterr().err
