"""`convzoo show`: what a model is made of, and the counts of each of its parts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import convzoo
from convzoo import Model, Stage, ref
from convzoo.plugins.host import plugins

from .commands import Capture, refused, run, run_json
from .environments import MAIN


def test_show_describes_a_model(capsys: Capture) -> None:
    out = run(capsys, "show", "resnest50")
    assert out.startswith("resnest50: resnest, plugin 'resnest' (convzoo-resnest 0.")
    for fact in ("arXiv:2004.08955", "3 x 224 x 224 (imagenet)", "27,483,240", "5,371,160,576", "timm resnest50d"):
        assert fact in out
    assert re.search(r"^stem +deep\(width=32\)$", out, re.MULTILINE)
    assert re.search(r"^stage 2 +2  4 x  bottleneck\(conv=split_attention\(.*planes=128\)$", out, re.MULTILINE)
    assert re.search(r"^head +classifier, 1000 classes$", out, re.MULTILINE)


def test_show_of_an_alias_has_its_options_and_none_of_the_models_claims(capsys: Capture) -> None:
    out = run(capsys, "show", "resnest50d")
    assert out.startswith("resnest50d, of resnest50: ")
    assert "divisor=8" in out
    assert "divisor=8" not in run(capsys, "show", "resnest50").partition("stride")[2]
    assert "27,483,240" not in out
    assert "equals" not in out


def test_show_applies_options(capsys: Capture) -> None:
    out = run(capsys, "show", "resnet50", "attention=se(reduction=8)", "stem=deep", "num_classes=10", "act=silu")
    assert len(re.findall(r"^stage .*attention=se\(reduction=8\)", out, re.MULTILINE)) == 4
    assert re.search(r"^stem +deep$", out, re.MULTILINE)
    assert "classifier, 10 classes" in out
    assert "batch, silu" in out


def built_counts(text: str) -> list[tuple[int, int]]:
    """Parameters and MACs in each line that has them."""
    pairs = re.findall(r"^(?:stem|stage \d|head) .*  +([\d,]+) +([\d,]+)$", text, re.MULTILINE)
    return [(int(params.replace(",", "")), int(macs.replace(",", ""))) for params, macs in pairs]


@pytest.mark.parametrize("name", ["resnet18", "resnest50d", "seresnet50", "resnet20"])
def test_show_build_adds_up_to_the_pinned_counts(capsys: Capture, name: str) -> None:
    out = run(capsys, "show", name, "--build")
    counts = built_counts(out)
    spec = convzoo.model_info(name).spec
    assert re.search(rf"^total +{spec.params:,} +{spec.macs:,}$", out, re.MULTILINE)
    assert len(counts) == len(spec.stages) + 2
    assert tuple(map(sum, zip(*counts, strict=True))) == (spec.params, spec.macs)


@pytest.fixture
def mixed() -> Iterator[Model]:
    """A model with a stage of unequal layers."""
    layers = (ref("basic", planes=16), ref("basic", planes=16), ref("bottleneck", planes=4))
    model = Model("mixed_net", "mixed", ref("cifar"), (Stage(layers),), input_size=8)
    convzoo.register(model, plugin="mixed")
    yield model
    plugins().remove("mixed")


def test_show_has_a_line_for_each_run_of_layers_and_counts_the_stage_once(capsys: Capture, mixed: Model) -> None:
    out = run(capsys, "show", mixed.name, "--build")
    assert re.findall(r"^stage 1 +1  (\d x  \w+)", out, re.MULTILINE) == ["2 x  basic", "1 x  bottleneck"]
    params = sum(parameter.numel() for parameter in convzoo.build(mixed, device="meta").parameters())
    assert sum(count for count, _ in built_counts(out)) == params


def test_show_build_measures_each_part(capsys: Capture) -> None:
    out = run(capsys, "show", "resnet18", "--build")
    assert re.search(r"^stem .* 64 x 56 x 56 +9,536 +118,013,952$", out, re.MULTILINE)
    assert re.search(r"^stage 4 .* 512 x 7 x 7 +8,393,728 +411,041,792$", out, re.MULTILINE)
    assert re.search(r"^head .* 1000 +513,000 +512,000$", out, re.MULTILINE)


def test_show_build_takes_options_before_and_after(capsys: Capture) -> None:
    assert "classifier, 10 classes" in run(capsys, "show", "--build", "resnet18", "num_classes=10")
    assert "classifier, 10 classes" in run(capsys, "show", "resnet18", "num_classes=10", "--build")


def test_show_build_takes_options_behind_the_flag(capsys: Capture) -> None:
    assert "classifier, 10 classes" in run(capsys, "show", "resnet18", "--build", "num_classes=10")


@pytest.mark.parametrize("name", ["resnet18", "resnest50"])
def test_show_json_is_the_models_spec(capsys: Capture, name: str) -> None:
    assert Model.from_dict(run_json(capsys, "show", name)) == convzoo.model_info(name).spec


def test_show_json_is_the_spec_that_create_model_builds(capsys: Capture) -> None:
    data = run_json(
        capsys, "show", "resnest50d", "attention=se(reduction=8)", "num_classes=10", "norm=group(groups=16)"
    )
    options: dict[str, Any] = {"attention": ref("se", reduction=8), "norm": ref("group", groups=16)}
    model = convzoo.create_model("resnest50d", num_classes=10, device="meta", **options)
    assert Model.from_dict(data) == model.spec


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnst50"], "There is no model 'resnst50'. Did you mean 'resnest50'"),
        (["resnet50", "attention=sse"], "There is no attention 'sse'. Did you mean 'se'"),
        (["resnet50", "attenton=se"], "takes 'attenton'. Did you mean 'attention'"),
        (["resnet50", "attention=se(reducton=8)"], "'reducton'. Did you mean 'reduction'"),
        (["resnet50", "num_classes=-1"], "num_classes must be an integer of at least 0, got -1"),
        (["resnet50", "num_classes=many"], "num_classes must be an integer of at least 0, got 'many'"),
        (["resnet50", "deep"], "options read NAME=VALUE"),
        (["resnet50", "=deep"], "options read NAME=VALUE"),
    ],
)
def test_show_refuses_what_it_does_not_know(capsys: Capture, arguments: list[str], message: str) -> None:
    assert message in refused(capsys, "show", *arguments)


def test_show_names_the_plugin_to_install_for_a_model_that_is_not_there() -> None:
    environment = {**os.environ, "CONVZOO_PLUGINS": ""}
    result = subprocess.run(
        [sys.executable, "-c", MAIN, "show", "resnest50"], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 2
    assert "convzoo-resnest provides it, and is not installed (see 'Install' in convzoo's README.md)" in result.stderr


def test_a_model_that_cannot_be_built_prints_nothing_but_the_error(capsys: Capture) -> None:
    assert "groups_3x3" in refused(capsys, "show", "condensenet50_cifar", "groups_3x3=16", "--build")
    assert "input_size" in refused(capsys, "show", "resnet20", "input_size=8", "--build")


def test_a_model_that_fails_on_its_own_images_says_where(capsys: Capture, mine: str) -> None:
    stages = tuple(Stage(("transition",), stride=2) for _ in range(4))
    convzoo.register(Model("shrinking", "mine", ref("cifar", width=64), stages, input_size=8), plugin=mine)
    error = refused(capsys, "show", "shrinking", "--build")
    assert "the stage 4 of shrinking fails on 8 x 1 x 1: RuntimeError: " in error


def test_show_refuses_what_a_part_refuses_without_building_for_shapes(capsys: Capture) -> None:
    assert "eps" in refused(capsys, "show", "resnet18", "norm=batch(eps=-1)")
