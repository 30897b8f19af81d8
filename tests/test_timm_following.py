"""Scripts that are made of timm's parts train networks that follow their training, without knowing of it."""

from __future__ import annotations

import contextlib
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import timm
import timm.loss
import timm.optim
import timm.scheduler
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

import convzoo
import convzoo.timm
from convzoo import LifecycleError, LifecycleWarning, OptionError
from convzoo.plugins.host import plugins
from convzoo.timm.__main__ import main
from convzoo.timm.following import Following, following

from .test_training import _alone, small
from .tiny import assert_equal

__all__ = ["_alone"]  # the fixture that each test of a training is in

SCRIPT = Path(__file__).with_name("timm_script.py")
TINY = "zoo_tiny_condensing"
WEIGHT = 1e-5


def folder(path: Path, train: int, validation: int) -> Path:
    """Handwritten digits as a folder of images, so many to learn from and so many to be tested with."""
    data = load_digits()
    for number, (image, label) in enumerate(zip(data.images[: train + validation], data.target, strict=False)):
        split = path / ("train" if number < train else "validation") / str(label)
        split.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9).astype(numpy.uint8)).save(split / f"{number}.png")
    return path


@pytest.fixture(scope="module", autouse=True)
def _tiny() -> Iterator[None]:
    """A small network that is pruned as it learns and has a penalty, in timm too."""
    spec = small("condensenet50_cifar", depth=1, in_chans=3)(device="meta").spec
    convzoo.register(spec.derived(name="tiny_condensing", input_size=32), plugin="mine")
    yield
    plugins().remove("mine")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("digits"), 128, 32)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: Any, **options: Any) -> Following:
    """Run the script here; the networks that it trained are kept by what followed them."""
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments), "--model", TINY])
    with following(**options) as followed:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return followed


def last_loss(text: str) -> float:
    return float(re.findall(r"loss (\S+)", text)[-1])


def test_a_script_is_followed_to_its_end(monkeypatch: pytest.MonkeyPatch, images: Path) -> None:
    followed = run(monkeypatch, images, "--epochs", 2, penalty_weight=WEIGHT)
    (follower,) = followed.followers
    assert (follower.step, follower.total_steps) == (8, 8)
    assert followed.added
    assert convzoo.deploy(follower._network[0]).deployed


def test_accumulated_batches_are_one_step(monkeypatch: pytest.MonkeyPatch, images: Path) -> None:
    followed = run(monkeypatch, images, "--epochs", 2, "--grad-accum-steps", 2, "--amp", "--loss", "module")
    assert [(each.step, each.total_steps) for each in followed.followers] == [(4, 4)]


@pytest.mark.parametrize("loss", ["task", "module"])
def test_the_penalty_is_in_the_loss_once(
    loss: str, monkeypatch: pytest.MonkeyPatch, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = {}
    for weight in (0.0, 1.0):
        # One step an epoch: the loss is that of the network as it was started.
        run(monkeypatch, images, "--batch-size", 128, "--loss", loss, penalty_weight=weight)
        losses[weight] = last_loss(capsys.readouterr().out)
    torch.manual_seed(42)
    started = timm.create_model(TINY, num_classes=10, in_chans=1, drop_rate=0.0)
    assert losses[1.0] - losses[0.0] == pytest.approx(convzoo.penalty(started).item(), rel=1e-4)


def test_a_loss_that_is_not_known_is_an_error_where_a_penalty_is_wanted(
    monkeypatch: pytest.MonkeyPatch, images: Path
) -> None:
    with pytest.raises(LifecycleError, match="is not in the loss, which is none of timm"):
        run(monkeypatch, images, "--loss", "function", penalty_weight=WEIGHT)
    (follower,) = run(monkeypatch, images, "--loss", "function").followers
    assert follower.progress == 1


def test_a_penalty_that_was_never_added_is_told() -> None:
    with pytest.warns(LifecycleWarning, match="penalty_weight=1 had no effect"), following(penalty_weight=1):
        nn.CrossEntropyLoss()(torch.zeros(1, 2, requires_grad=True), torch.zeros(1, dtype=torch.long))


def test_a_resumed_script_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch, images: Path, tmp_path: Path) -> None:
    whole = [images, "--epochs", 4]
    first = run(monkeypatch, *whole, "--stop-epoch", 2, "--output", tmp_path).followers[0]
    assert first.progress == 0.5
    for more in ([], ["--no-resume-opt"]):
        (follower,) = run(monkeypatch, *whole, "--resume", tmp_path / "last.pth.tar", *more).followers
        assert (follower.step, follower.total_steps) == (16, 16)
    (follower,) = run(monkeypatch, *whole, "--start-epoch", 3, "--stop-epoch", 3).followers
    assert follower.step == 12


def test_how_long_the_training_is_can_be_said(monkeypatch: pytest.MonkeyPatch, images: Path) -> None:
    with pytest.raises(OptionError, match=r"tiny_condensing follows its training, .*say --total-steps"):
        run(monkeypatch, images, "--no-updates")
    for without in ("--no-updates", "--no-schedule"):
        (follower,) = run(monkeypatch, images, without, total_steps=8, penalty_weight=WEIGHT).followers
        assert (follower.step, follower.total_steps) == (4, 8)


def test_what_does_not_follow_a_training_is_left_alone() -> None:
    with following() as followed:
        model = timm.create_model("zoo_resnet20")
        optimizer = timm.optim.create_optimizer_v2(model, "sgd", lr=0.1)
        timm.scheduler.create_scheduler_v2(optimizer, num_epochs=2)
        other = timm.create_model(TINY)
        assert followed.followers == []
        optimizer = timm.optim.create_optimizer_v2(other, "sgd", lr=0.1)
        timm.scheduler.create_scheduler_v2(optimizer, num_epochs=2, updates_per_epoch=3)
        assert [each.total_steps for each in followed.followers] == [6]
        assert followed.followers[0]._network[0] is other


def test_a_schedule_that_is_longer_than_its_epochs_counts_whole() -> None:
    with following() as followed:
        model = timm.create_model(TINY)
        for options, steps in (
            ({"warmup_epochs": 2, "warmup_prefix": True, "cooldown_epochs": 3}, 90),
            ({"sched": "none"}, 40),
            ({"step_on_epochs": False}, 40),
        ):
            optimizer = timm.optim.create_optimizer_v2(model, "adamw", lr=0.1)
            timm.scheduler.create_scheduler_v2(optimizer, num_epochs=4, updates_per_epoch=10, **options)
            assert followed.followers[-1].total_steps == steps


def test_a_script_with_another_teacher_adds_only_the_students_penalty() -> None:
    with following(penalty_weight=1.0) as followed:
        student, _teacher = timm.create_model(TINY), timm.create_model(TINY).eval()
        optimizer = timm.optim.create_optimizer_v2(student, "sgd", lr=0.1)
        timm.scheduler.create_scheduler_v2(optimizer, num_epochs=2, updates_per_epoch=3)
        logits, labels = torch.zeros(2, 10, requires_grad=True), torch.tensor([0, 1])
        plain = torch.log(torch.tensor(10.0))
        expected = plain + convzoo.penalty(student)
        for loss in (nn.CrossEntropyLoss(), timm.loss.LabelSmoothingCrossEntropy(), timm.loss.JsdCrossEntropy(2)):
            found = loss(logits, labels[: 1 if "Jsd" in str(loss) else 2])
            torch.testing.assert_close(found, expected)
        with torch.no_grad():
            assert nn.CrossEntropyLoss()(logits, labels).item() == pytest.approx(plain.item())
        student.eval()
        assert nn.CrossEntropyLoss()(logits, labels).item() == pytest.approx(plain.item())
        assert len(followed.followers) == 1


def test_masks_are_copied_into_an_average_of_older_scripts() -> None:
    with following():
        model = timm.create_model(TINY)
        optimizer = timm.optim.create_optimizer_v2(model, "sgd", lr=0.0)
        timm.scheduler.create_scheduler_v2(optimizer, num_epochs=1, updates_per_epoch=2)
        average = timm.utils.ModelEmaV2(model, decay=0.9)
        for _ in range(2):
            model(torch.zeros(2, 3, 16, 16)).sum().backward()
            optimizer.step()
            average.update(model)
    masks = {name: mask for name, mask in model.named_buffers() if mask.dtype is torch.bool}
    assert any(not mask.all() for mask in masks.values())
    assert_equal({name: average.module.get_buffer(name) for name in masks}, masks)


def test_nothing_stays_changed() -> None:
    import timm.task

    def seen() -> list[Any]:
        owners = [timm.optim, timm.scheduler, timm.scheduler.scheduler_factory, timm.optim._optim_factory]
        classes = [nn.CrossEntropyLoss, timm.loss.LabelSmoothingCrossEntropy, timm.task.ClassificationTask]
        classes += [timm.scheduler.scheduler.Scheduler, timm.scheduler.PlateauLRScheduler, timm.utils.ModelEmaV2]
        return [dict(vars(owner)) for owner in (*owners, *classes)]

    before = seen()
    with contextlib.suppress(KeyError), following(1.0, 10):
        assert seen() != before
        raise KeyError
    assert seen() == before


@pytest.mark.parametrize("options", [{"penalty_weight": -1}, {"penalty_weight": "x"}, {"total_steps": 0}])
def test_impossible_options_are_refused(options: Any) -> None:
    with pytest.raises(OptionError, match=next(iter(options))), following(**options):
        pass


def test_the_command_runs_a_script_as_python_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "beside.py").write_text("VALUE = 7\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, timm\nfrom beside import VALUE\n"
        "print(__name__, VALUE, sys.argv[1:], sys.argv[0] == __file__, timm.is_model('zoo_resnet50'))\n"
    )
    before = list(sys.argv), list(sys.path)
    assert main(["--total-steps", "3", str(script), "--model", "x", "--penalty-weight", "y"]) == 0
    assert capsys.readouterr().out == "__main__ 7 ['--model', 'x', '--penalty-weight', 'y'] True True\n"
    assert (sys.argv, sys.path) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train.py"], rf"there is no file 'train.py'.*{re.escape(timm.__version__)}"),
        (["--penalty-weight", "-1", str(SCRIPT)], "penalty_weight must be a number of at least 0"),
        ([], "required: SCRIPT"),
    ],
)
def test_the_command_says_what_it_cannot_do(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert re.search(said, capsys.readouterr().err)


@pytest.mark.large
def test_a_network_condenses_and_learns_to_read_digits_by_the_command(tmp_path: Path) -> None:
    """As a user runs it: in a process of its own, without a line of ours in the script."""
    digits = folder(tmp_path / "digits", 1200, 400)
    command = [sys.executable, "-m", "convzoo.timm", "--penalty-weight", str(WEIGHT), str(SCRIPT), str(digits)]
    command += ["--model", "zoo_condensenet50_cifar", "--epochs", "3", "--output", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "LifecycleWarning" not in done.stderr
    top1, average = map(float, re.findall(r"top1 (\S+) average (\S+)", done.stdout)[0])
    assert min(top1, average) > 80
    model = convzoo.create_model(
        "condensenet50_cifar", num_classes=10, in_chans=1, weights=tmp_path / "last.pth.tar", use_ema=False
    )
    assert convzoo.deploy(model).deployed
