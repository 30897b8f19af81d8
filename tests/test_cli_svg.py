"""`convzoo show --svg`: a picture of a network, block by block."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import convzoo
from convzoo import Component, Model, Stage, per_stage, ref
from convzoo.cli.drawing import drawing, sections
from convzoo.cli.inspection import StageCost, inspect_stages

from .commands import Capture, refused, run

SVG = "{http://www.w3.org/2000/svg}"


def drawn(capsys: Capture, folder: Path, *words: str) -> ElementTree.Element:
    """The picture that a command writes."""
    file = folder / "net.svg"
    assert run(capsys, "show", *words, "--svg", str(file)).endswith(f"drawn in {file}\n")
    return ElementTree.parse(file).getroot()


def texts(picture: ElementTree.Element) -> list[str]:
    """Its lines of text, from top to bottom."""
    lines = sorted(picture.iter(f"{SVG}text"), key=lambda line: int(line.get("y", "")))
    return [line.text or "" for line in lines]


def test_picture_has_stem_stages_runs_slots_shapes_and_head_in_order(capsys: Capture, tmp_path: Path) -> None:
    said = texts(drawn(capsys, tmp_path, "resnest50"))
    order = ["resnest50", "an image, 3 × 224 × 224", "stem", "deep", "64 × 56 × 56", "stage 1"]  # noqa: RUF001
    order += ["bottleneck", "conv", "split_attention", "shortcut", "avg", "256 × 56 × 56", "stage 2"]  # noqa: RUF001
    order += ["stride 2 in the first", "stage 4", "2048 × 7 × 7", "head", "classifier", "1000 classes"]  # noqa: RUF001
    rest = iter(said)
    assert [each for each in order if each not in rest] == []
    assert [line for line in said if line.startswith("× ")] == ["× 3", "× 4", "× 6", "× 3"]  # noqa: RUF001
    assert said.count("split_attention") == 4
    assert "27,483,240 parameters · 5,371,160,576 MACs" in said


def test_picture_shows_what_is_composed(capsys: Capture, tmp_path: Path) -> None:
    options = ["attention=per_stage(None, None, cbam, se(reduction=8))", "num_classes=0"]
    said = texts(drawn(capsys, tmp_path, "resnet26", *options))
    assert [said.count(each) for each in ("attention", "cbam", "se", "reduction=8")] == [2, 1, 1, 1]
    assert any("attention=per_stage(None, None, cbam" in line for line in said)
    assert said[-1] == "2048 features"


def test_picture_has_the_parts_that_stand_in_a_slot_by_default(capsys: Capture, tmp_path: Path) -> None:
    said = texts(drawn(capsys, tmp_path, "resnet18"))
    at = [number for number, line in enumerate(said) if line == "shortcut"]
    assert [said[number + 1] for number in at] == ["conv"] * 4


def test_picture_is_described_in_words(capsys: Capture, tmp_path: Path) -> None:
    picture = drawn(capsys, tmp_path, "densenet40_k12_bc")
    assert (picture.get("role"), picture.get("aria-labelledby")) == ("img", "title description")
    title, description = picture[0], picture[1]
    assert (title.tag, title.get("id"), title.text) == (f"{SVG}title", "title", "densenet40_k12_bc")
    assert (description.tag, description.get("id")) == (f"{SVG}desc", "description")
    assert description.text is not None
    assert "stage 2: transition(compression=0.5) (stride 2), then 6 times dense(growth_rate=12" in description.text
    assert description.text.startswith("An image, 3 × 32 × 32. stem: cifar(")  # noqa: RUF001
    assert description.text.endswith("head: classifier; gives 10 classes.")


def test_picture_has_a_light_and_a_dark_form(capsys: Capture, tmp_path: Path) -> None:
    picture = drawn(capsys, tmp_path, "resnet20")
    light, dark = (picture.findtext(f"{SVG}style") or "").split("@media (prefers-color-scheme: dark)")
    used = {name for each in picture.iter() for name in each.get("class", "").split()}
    coloured = {
        name for rule in re.findall(r"([^{}]+)\{[^}]*(?:fill|stroke)", light) for name in re.findall(r"\.(\w+)", rule)
    }
    assert used & coloured >= {"page", "frame", "card", "label", "stem", "block", "head", "faint"}
    assert {name for name in used & coloured if not re.search(rf"\.{name}\b", dark)} == set()


@pytest.mark.parametrize("name", ["resnet20", "resnest18", "condensenet74_g4"])
def test_nothing_stands_outside_of_the_page_or_on_something_else(name: str) -> None:
    changes: dict[str, Any] = {"attention": "cbam"} if name == "resnet20" else {}
    spec = convzoo.create_model(name, device="meta", **changes).spec
    assert_in_place(drawing(spec, inspect_stages(spec), name, [spec.paper]))


def assert_in_place(text: str) -> None:
    picture = ElementTree.fromstring(text)
    width, height = (int(picture.get(side, "")) for side in ("width", "height"))
    taken = []
    for line in picture.iter(f"{SVG}text"):
        x, y, style = int(line.get("x", "")), int(line.get("y", "")), line.get("class", "")
        letter = 14 if "title" in style else 8
        long = len(line.text or "") * letter if "code" in style or "title" in style else 0  # of others, who knows
        left = x - long if "right" in style else x - long // 2 if "middle" in style else x
        assert 0 <= left <= left + long <= width, line.text
        assert 0 < y < height, line.text
        taken.append((y, left, left + long, line.text))
    for (y, _, right, one), (y2, left, _, other) in zip(sorted(taken), sorted(taken)[1:], strict=False):
        assert y != y2 or right <= left, (one, other)


def test_texts_are_escaped_whatever_they_are() -> None:
    options = {"planes": 4, "text": '<script>&"\0\x0b]]>', "words": ("a" * 300, "b " * 200)}
    stage = Stage([ref("basic", **options, attention=ref("ref", act=ref("none")))], stride=2)
    spec = Model("odd", "odd", ref("cifar"), (stage, Stage([ref("basic")] * 2)), input_size=8)
    costs = [StageCost(name, (4, 8, 8), 0, 0) for name, _ in sections(spec)]
    text = drawing(spec, costs, "<odd> & " + "long" * 30, ["\ud800\0", "]]>"])
    assert "<script" not in text
    assert "&lt;script&gt;&amp;" in text
    assert text.encode()  # no surrogate is left
    assert_in_place(text)


def test_picture_draws_a_stage_of_unlike_layers_in_their_order() -> None:
    layers = [ref("basic", planes=4), ref("basic", planes=4), ref("norm_act"), ref("basic", planes=8)]
    spec = Model("mixed", "mixed", ref("cifar"), (Stage(layers, stride=2),))
    [_, (name, runs), _] = sections(spec)
    assert name == "stage 1"
    assert [(run.count, run.part.name, run.strided) for run in runs] == [
        (2, "basic", "stride 2 in the first"),
        (1, "norm_act", ""),
        (1, "basic", ""),
    ]


def test_what_is_refused_is_not_drawn(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "net.svg"
    refused(capsys, "show", "condensenet50_cifar", "groups_3x3=16", "--svg", str(file))
    assert not file.exists()


def test_picture_and_json_are_two_things(capsys: Capture, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        run(capsys, "show", "resnet20", "--json", "--svg", str(tmp_path / "net.svg"))
    assert not list(tmp_path.iterdir())


def test_slot_in_a_slot_is_drawn(mine: str) -> None:
    convzoo.register(Component("attention", "wrapped", "somewhere:Wrapped"), plugin=mine)
    part = ref("basic", attention=ref("wrapped", act=ref("relu"), of=per_stage(1, 2)))
    spec = Model("deep", "deep", ref("cifar"), (Stage([part]),))
    costs = [StageCost(name, (4, 8, 8), 0, 0) for name, _ in sections(spec)]
    said = texts(ElementTree.fromstring(drawing(spec, costs, "deep")))
    place = said.index("wrapped")
    assert said[place - 1 : place + 4] == ["attention", "wrapped", "of=per_stage(1, 2)", "act", "relu"]
