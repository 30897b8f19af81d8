"""`convzoo export`: networks as files of other engines, which answer as the networks do, and what is refused."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import convzoo
from convzoo import Component, Model, Stage
from convzoo.cli import main
from convzoo.exporting import FORMATS
from convzoo.exporting.export import compare, export
from convzoo.plugins.host import plugins
from convzoo.testing.numerics import jitter_norms

from .commands import Capture, refused, run
from .small import SMALL, each_family

NARROW = 1_000_000
"""Parameters of the networks whose files are tried in the tests."""
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.large if name == "aoti" else ()) for name in FORMATS])
def format(request: pytest.FixtureRequest) -> str:
    if told := FORMATS[request.param].refusal():
        pytest.skip(told)
    return str(request.param)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small() -> Iterator[str]:
    """A network of one stage by name."""
    convzoo.register(Model.from_dict(SMALL.to_dict() | {"name": "small_one"}), plugin="mine")
    yield "small_one"
    plugins().remove("mine")


def differences(text: str) -> dict[str, float]:
    """Shape of the images to the relative difference, as the command prints them."""
    return {shape.strip(): float(value) for shape, value in re.findall(r"^(\d[\d x]+) {2,}\S+ +(\S+)$", text, re.M)}


def test_a_file_of_every_format_answers_as_its_network_for_other_batches_and_sizes(
    format: str, small: str, here: Path, capsys: Capture
) -> None:
    text = run(capsys, "export", small, "--format", format, "--dynamic", "batch,size")
    found = differences(text)
    assert list(found) == ["1 x 3 x 32 x 32", "3 x 3 x 32 x 32", "1 x 3 x 64 x 96"]
    assert all(value < 1e-5 for value in found.values())
    assert "within the bound" in text
    suffixes = {".xml", ".bin"} if format == "openvino" else {FORMATS[format].suffix}
    assert {path.suffix for path in here.iterdir()} == suffixes


@pytest.mark.tool("{format}")
@pytest.mark.parametrize("name", each_family(quick=0, large=NARROW))
def test_files_of_networks_of_each_family_answer_as_they_do(format: str, name: str, here: Path) -> None:
    if format == "aoti":
        pytest.skip("compiling takes half a minute; one network stands for all")
    model = convzoo.create_model(name)
    jitter_norms(model)
    convzoo.set_progress(model, 1)
    path = here / f"file{FORMATS[format].suffix}"
    for network in (model, convzoo.deploy(model)):
        export(network, IMAGES, path, format, ["batch", "size"])
        assert max(each.relative for each in compare(network, path, format, IMAGES, ["batch", "size"])) < 1e-5


def test_what_is_written_has_the_weights_the_options_and_the_form_that_were_asked_for(
    here: Path, capsys: Capture
) -> None:
    model = convzoo.create_model("shakeshake20_2x16d", attention="se", num_classes=3).eval()
    jitter_norms(model)
    torch.save(model.state_dict(), "weights.pth")
    command = ["shakeshake20_2x16d", "attention=se", "num_classes=3", "--weights", "weights.pth", "--format", "pt2"]
    run(capsys, "export", *command, "--deploy", "--batch-size", "2", "--out", "deployed.pt2")
    program = torch.export.load("deployed.pt2")
    with torch.no_grad():
        assert torch.allclose(program.module()(IMAGES), model(IMAGES), atol=1e-5)
    assert {key for key in program.state_dict if ".branch" in key} == {
        key for key in convzoo.deploy(model).state_dict() if ".branch" in key
    }


@pytest.mark.large
def test_levels_of_a_backbone_are_outputs_of_the_file(here: Path) -> None:
    backbone = convzoo.create_model("resnet20", features_only=True, out_indices=(1, 3))
    jitter_norms(backbone)
    export(backbone, IMAGES, here / "levels.pt2", "pt2")
    (found,) = compare(backbone, here / "levels.pt2", "pt2", IMAGES)
    assert found.relative < 1e-5


def test_a_file_that_answers_otherwise_is_told_so_and_exits_with_1(
    here: Path, small: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = FORMATS["pt2"].load
    monkeypatch.setattr(FORMATS["pt2"], "load", lambda path: lambda images: [1.01 * out for out in load(path)(images)])
    assert main(["export", small, "--format", "pt2"]) == 1
    assert "beyond the bound of 0.001" in capsys.readouterr().out


class Undecided(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else x * 0.5


def test_what_a_format_cannot_say_is_told_with_the_reason_and_nothing_is_left(
    here: Path, mine: str, capsys: Capture
) -> None:
    convzoo.register(Component("attention", "undecided", Undecided), plugin=mine)
    text = refused(capsys, "export", "resnet20", "attention=undecided", "--format", "pt2")
    assert "pt2 has no form of this network" in text
    assert "data-dependent" in text
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["resnet20", "--out", "model.onnx"], "ends in .pt2, unlike 'model.onnx'"),
        (["resnet20", "--out", "nowhere/model.pt2"], "its folder does not exist"),
        (["resnet20", "--batch-size", "0"], "--batch-size must be an integer of at least 1"),
        (["resnet20", "--image-size", "0"], "--image-size must be an integer of at least 1"),
        (["resnet20", "weights=x"], "--weights has the weights"),
        (["resnet20", "attention"], "options read NAME=VALUE"),
        (["resnet2"], "Did you mean"),
        (["./nowhere"], "there is no folder"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    words: list[str], said: str, here: Path, capsys: Capture
) -> None:
    assert said in refused(capsys, "export", *words, "--format", "pt2")
    assert list(here.iterdir()) == []


def test_a_format_whose_packages_are_missing_says_what_to_install(
    here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convzoo.exporting.base.importlib.util.find_spec", lambda name: None)
    assert "pip install 'convzoo[openvino]'" in refused(capsys, "export", "resnet20", "--format", "openvino")


@pytest.fixture
def folders(here: Path) -> Callable[[str], nn.Module]:
    """Saves a network that learns its groups, after it learned other classes, in the form of a name; gives it."""

    def make(form: str) -> nn.Module:
        spec = Model("condensed", "small", SMALL.stem, (Stage(("condense(growth_rate=8)", "norm_act")),), input_size=32)
        model = convzoo.create_model(spec, num_classes=10)
        model.reset_classifier(3)
        jitter_norms(model)
        convzoo.set_progress(model, 1)
        network = convzoo.deploy(model) if form == "deployed" else model
        convzoo.save_pretrained(network, here / "saved")
        return network.eval()

    return make


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("trained", ["saved"]),
        ("trained", ["./saved/", "--deploy"]),
        ("deployed", ["local-dir:saved"]),
        ("deployed", ["saved", "--deploy"]),
    ],
)
def test_a_folder_stands_for_the_model_that_was_saved_to_it_with_its_weights_and_classes(
    form: str, words: list[str], folders: Callable[[str], nn.Module], here: Path, capsys: Capture
) -> None:
    model = folders(form)
    run(capsys, "export", *words, "--format", "pt2", "--batch-size", "2")
    program = torch.export.load(here / "saved.pt2")
    with torch.no_grad():
        torch.testing.assert_close(program.module()(IMAGES), model(IMAGES))
    gathers = any(key.endswith("index") for key in program.state_dict)
    assert gathers == (form == "deployed" or "--deploy" in words)


def test_what_is_published_is_written_as_it_is(small: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = convzoo.create_model(small)
    monkeypatch.setattr("convzoo.api.create_model", lambda name, **options: copy.deepcopy(published))
    assert main(["export", small, "pretrained=true", "--format", "pt2", "--out", "published.pt2"]) == 0
    assert main(["export", "hf-hub:owner/net@v1", "--format", "pt2"]) == 0
    for name in ("published.pt2", "net.pt2"):
        with torch.no_grad():
            torch.testing.assert_close(
                torch.export.load(here / name).module()(IMAGES[:1]), published.eval()(IMAGES[:1])
            )
