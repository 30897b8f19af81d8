"""`convzoo list`: models by glob, plugin and family, and parts by kind and name."""

from __future__ import annotations

import json
import re

import pytest

import convzoo
from convzoo.cli import main
from convzoo.plugins.host import registry

from .commands import Capture, first_column, refused, run, run_json


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
    ],
)
def test_list_parts_refuses_what_is_not_there(capsys: Capture, words: list[str], said: str) -> None:
    assert main(["list", "--parts", *words]) == 2
    assert said in capsys.readouterr().err
