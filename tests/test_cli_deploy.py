"""``convzoo deploy``: what was rewritten, what each rewrite gains, and the folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from convzoo import create_model
from convzoo.cli import main
from convzoo.deploying.rewrites import REWRITES


def test_rewrites_are_listed_with_their_places_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "resnet20", "attention=se"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == [each.name for each in REWRITES]
    assert lines[0].split() == ["rewrite", "places", "why"]
    (fold,) = (line for line in lines if line.startswith("fold norms into convolutions"))
    assert fold.split()[4] == "19"  # the stem's, and two of each of nine blocks


def test_explained_each_rewrite_has_a_gain_with_its_interval(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "resnet20", "--explain", "--threads", str(torch.get_num_threads())]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {each.name: line for each in REWRITES for line in lines if line.startswith(each.name)}
    assert rows["clamp for norm and ReLU"].endswith(" -")
    assert " to " in rows["fold norms into convolutions"]
    assert lines[-1].startswith("all: ")
    assert f"images 1x3x32x32, threads: {torch.get_num_threads()}, 12 pairs each" in lines[-1]


def test_a_deployed_network_is_saved_and_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "deployed"
    assert main(["deploy", "condensenet50_cifar", "num_classes=7", "--out", str(folder)]) == 0
    assert f"create_model('local-dir:{folder}')" in capsys.readouterr().out
    model = create_model(f"local-dir:{folder}")
    assert (model.num_classes, model.deployed, model.rewritten) == (7, True, True)


def test_what_cannot_be_is_said_before_anything_is_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for words, said in (
        (["resnet20", "--batch-size", "0"], "--batch-size must be an integer of at least 1, got 0"),
        (["resnet20", "--image-size", "0"], "--image-size must be an integer of at least 1, got 0"),
        (["resnet20", "--threads", "-1"], "--threads must be an integer of at least 1, got -1"),
        (["resnet20", "--out", str(tmp_path / "file")], "there is a file of that name, and a folder is to be written"),
        (["resnet2"], "There is no model 'resnet2'"),
        (["resnet20", "depth=3"], "No part of resnet20 takes 'depth'"),
    ):
        assert main(["deploy", *words]) == 2
        assert said in capsys.readouterr().err
