"""The example trains for real on two processes, and resumes exactly; its recipes are those of the papers' codes."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import convzoo

pytest.importorskip("rich")

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "finetune.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("finetune", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_recipes_say_nothing_that_is_no_setting(example: ModuleType) -> None:
    default = example.RECIPES["default"]
    for name, own in example.RECIPES.items():
        assert own["source"]
        assert own.keys() - default.keys() <= {"extends"}, name
        for key, value in example.settings(name, []).items():
            assert type(value) is type(default.get(key, "")), (name, key)
            assert value in example.CHOICES.get(key, (value,)), (name, key)


RATES = [
    ("resnet", 164, [(0, 1), (0.499, 1), (0.5, 0.1), (0.75, 0.01), (0.999, 0.01)]),
    ("wide_resnet", 200, [(59.9 / 200, 1), (60 / 200, 0.2), (120 / 200, 0.04), (160 / 200, 0.008)]),
    ("shake_shake", 1800, [(0, 1), (0.5, 0.5), (1, 0)]),
    ("default", 30, [(1 / 30, 1), (1, 0)]),
]


@pytest.mark.parametrize(("recipe", "epochs", "rates"), RATES)
def test_learning_rates_are_those_of_the_recipe(
    example: ModuleType, recipe: str, epochs: int, rates: list[tuple[float, float]]
) -> None:
    total = epochs * 100
    factor = example.learning_rate(example.settings(recipe, []), total)
    assert example.settings(recipe, [])["epochs"] == epochs
    for share, rate in rates:
        assert factor(round(share * total)) == pytest.approx(rate, abs=1e-9)
    assert factor(0) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optimizer=adam", "known are adamw, sgd"),
        ("speed=2", "there is no such setting; there are source, epochs"),
        ("epochs=1.5", "it is of the kind of 30"),
    ],
)
def test_settings_that_cannot_be_are_refused(example: ModuleType, change: str, message: str) -> None:
    assert example.settings("resnext", ["epochs=3", "lr=1", "crop=resized"])["lr"] == 1
    with pytest.raises(SystemExit, match=re.escape(f"--set {change}: ") + message):
        example.settings("default", [change])


def test_rates_by_layer_and_decay_reach_the_optimizer(example: ModuleType) -> None:
    model = convzoo.create_model("resnet20", num_classes=10)
    model.freeze(1)
    plain = example.optimizer_of(model, example.settings("default", []))
    layered = example.optimizer_of(model, example.settings("default", ["layer_decay=0.5", "optimizer=sgd"]))
    learning = {id(p) for p in model.parameters() if p.requires_grad}
    for optimizer in (plain, layered):
        assert {id(p) for group in optimizer.param_groups for p in group["params"]} == learning
        for group in optimizer.param_groups:
            assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}
    rates = {id(p): group["lr"] for group in layered.param_groups for p in group["params"]}
    assert rates[id(model.head.fc.weight)] == 5e-4
    first_of_six = model.stages[1][0].branch[0].conv.weight
    assert rates[id(first_of_six)] == pytest.approx(5e-4 * 0.5**6)
    assert {group["lr"] for group in plain.param_groups} == {5e-4}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Handwritten digits as a folder of images, a quarter of them held out."""
    folder = tmp_path_factory.mktemp("digits")
    data = load_digits()
    for number, (pixels, label) in enumerate(zip(data.images, data.target, strict=True)):
        place = folder / ("train" if number % 4 else "val") / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 255 / 16).astype(numpy.uint8)).save(place / f"{number}.png")
    return folder


def run(folder: Path, out: Path, *more: str) -> str:
    """What the example prints, on two processes."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(EXAMPLE)]
    settings = ["epochs=3", "batch_size=32", "lr=0.005", "flip=0.0", "crop=padded", "ema=0.9", "clip=5.0"]
    usual = ["--model", "wrn10_1", "--image-size", "16", "--workers", "0", "--precision", "bfloat16"]
    done = subprocess.run(
        [*launch, str(folder), "--out", str(out), *usual, *more, "--set", *settings],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def same(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


@pytest.mark.large
def test_two_processes_learn_digits_and_a_resumed_run_ends_as_an_uninterrupted_one(
    digits: Path, tmp_path: Path
) -> None:
    straight = run(digits, tmp_path / "straight")
    said = re.findall(r"epoch (\d)/3: loss (\S+), accuracy (\S+) % by the weights, (\S+) % by the average", straight)
    assert [epoch for epoch, *_ in said] == ["1", "2", "3"], straight
    best = float(re.findall(r"best accuracy (\S+) %", straight)[0])
    assert best >= 90

    halves = run(digits, tmp_path / "halves", "--until", "1") + run(digits, tmp_path / "halves", "--resume")
    assert re.findall(r"^epoch.*", halves, re.MULTILINE) == re.findall(r"^epoch.*", straight, re.MULTILINE)
    ends = [torch.load(tmp_path / name / "last.pt") for name in ("straight", "halves")]
    assert ends[0]["epoch"] == 3
    assert ends[0]["optimizer"]["param_groups"][0]["convzoo_step"] == 3 * (1347 // 32)
    assert same(*ends)

    model = convzoo.create_model("wrn10_1", num_classes=10, weights=tmp_path / "straight" / "best.pt").eval()
    right = 0
    for path in sorted(digits.glob("val/*/*.png")):
        image = torch.tensor(numpy.asarray(Image.open(path).convert("RGB").resize((16, 16), Image.BILINEAR)))
        image = image.permute(2, 0, 1).float().div(255).unsqueeze(0)
        mean, std = (torch.tensor(model.default_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
        with torch.no_grad():
            right += int(model((image - mean) / std).argmax()) == int(path.parent.name)
    assert 100 * right / 450 == pytest.approx(best, abs=0.01)
