"""What is asked for becomes cells, or one clear error before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from convzoo.bench.cells import Cell, Competitor, plan, read_options, variants, written
from convzoo.bench.engines import ENGINES
from convzoo.bench.stamp import row_id, stamp, unlike
from convzoo.cli import main

Capture = pytest.CaptureFixture[str]


def labels(*words: str) -> list[str]:
    return [competitor.label for competitor, _ in variants(words)]


def test_names_globs_compositions_and_plugins_are_variants() -> None:
    assert labels("resnet50", "resnest50d") == ["resnet50", "resnest50d"]
    assert labels("resnet1[89]", "resnet18") == ["resnet18"]
    assert labels("resnext50_32x4d[attention=cbam]") == ["resnext50_32x4d[attention='cbam']"]
    assert labels("seresnet20[num_classes=5]", "seresnet20[ num_classes = 5 ]") == ["seresnet20[num_classes=5]"]
    assert {name for name, _ in variants([], plugin="sknet")} == {name for name, _ in variants(["sk*"])}


def test_options_come_back_from_their_text() -> None:
    options = read_options("stem=deep, attention=se(reduction=8), conv=per_stage(plain, plain, plain, deformable)")
    assert read_options(written(options)) == options
    assert written(options).startswith("attention=se(reduction=8)"), "the same text in whatever order they stand"


def test_every_setting_goes_with_every_pair() -> None:
    cells = plan(
        ["resnet18", "resnet50"],
        against=["timm", "torchvision"],
        mode=["infer", "train"],
        dtype=["float32", "bf16"],
        batch_size=[1, 8],
        image_size=[64],
    ).cells
    assert len(cells) == len(set(cells)) == 2 * 2 * 2 * 2 * 2
    assert {cell.theirs.label for cell in cells} == {
        f"{library}:resnet{n}" for library in ("timm", "torchvision") for n in (18, 50)
    }
    assert {cell.settings.dtype for cell in cells} == {"float32", "bfloat16"}
    assert all(Cell.from_dict(cell.to_dict(), cell.family) == cell for cell in cells)


def test_a_variant_runs_at_its_own_size_and_against_itself_by_default() -> None:
    (cell,) = plan(["resnet20"]).cells
    assert cell.settings.image_size == 32
    assert cell.ours == cell.theirs


def test_a_deployed_form_has_its_training_graph_a_library_or_another_variant_beside_it() -> None:
    cells = plan(["resnet18"], form=["deployed"], against=["training", "timm", "resnet34", "timm:resnet26"]).cells
    assert [cell.ours for cell in cells] == [Competitor("convzoo", "resnet18", form="deployed")] * 4
    assert [cell.theirs.label for cell in cells] == ["resnet18", "timm:resnet18", "resnet34", "timm:resnet26"]


def test_a_glob_takes_those_that_have_a_counterpart_and_says_which_have_none() -> None:
    found = plan(["densenet121", "densenet40*"], against=["timm"])
    assert [cell.ours.name for cell in found.cells] == ["densenet121"]
    assert "densenet40_k12_bc has no counterpart in timm to compare with" in found.notes


def test_what_an_engine_cannot_do_is_a_cell_that_refuses_unless_nothing_else_was_asked() -> None:
    cells = plan(["resnet18"], mode=["infer", "train"], form=["training", "deployed"]).cells
    assert [bool(cell.refusal) for cell in cells] == [False, False, False, True]
    assert ENGINES["openvino"].refusal(cells[1].settings) == "openvino runs inference, not training steps"


BAD = [
    (("resnet5",), "There is no model 'resnet5'. Did you mean"),
    (("resnet50[attention=cbma]",), "Did you mean 'cbam'?"),
    (("resnet50[attention]",), "options read name[option=value, ...]"),
    (("resnet50[growth_rate=3]",), "growth_rate"),
    (("resnet50", "--against", "timn"), "known are timm, torchvision, self, training"),
    (("resnet50", "--against", "timm:resnet5"), "timm has no model 'resnet5'. Did you mean"),
    (("resnet50", "--against", "resnet*"), "is several variants; name one"),
    (("condensenet74_g4", "--against", "timm"), "has no counterpart in timm"),
    (("resnet50", "--engine", "tvm"), "known are 'eager', 'compile', 'onnxruntime', 'openvino'"),
    (("resnet50", "--mode", "sleep"), "known are 'infer', 'train'"),
    (("resnet50", "--dtype", "int8"), "known are 'float32', 'float64', 'bfloat16', 'bf16'"),
    (("resnet50", "--memory-format", "nhwc"), "known are 'contiguous', 'channels_last'"),
    (("resnet50", "--form", "pruned"), "known are 'training', 'deployed'"),
    (("resnet50", "--form", "deployed", "--mode", "train"), "do not go together: a deployed form is for inference"),
    (("resnet50", "--flush"), "--events and --flush are for CUDA, and --device is cpu"),
    (("resnet50", "--precision", "300%"), "--precision must be a share between 0 and 1"),
    (("resnet50", "--budget", "0"), "--budget must be a number of seconds above 0"),
    (("resnet50", "--batch-size", "0"), "--batch-size must be an integer of at least 1"),
    (("resnet50", "--threads", "100000"), "cores for this process"),
    (("resnet50", "--device", "tpu"), "device='tpu'"),
    (("resnet50", "--device", "meta"), "computes nothing"),
    (("--plugin", "nobody"), "There are no models of plugin 'nobody'"),
    ((), "name variants to measure"),
    (("resnet50", "--out", "/no/such/folder/r.jsonl"), "there is no folder /no/such/folder"),
]


@pytest.mark.parametrize(("words", "expected"), BAD, ids=[" ".join(words) or "nothing" for words, _ in BAD])
def test_what_is_impossible_is_one_error_before_anything_runs(
    words: tuple[str, ...], expected: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("convzoo.bench.run.run", lambda *_: pytest.fail("something was measured"))
    assert main(["bench", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("convzoo bench: ")
    assert expected in captured.err
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_is_not_installed_is_refused_with_its_extra(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(ENGINES["openvino"]), "packages", ("no_such_package",))
    assert main(["bench", "resnet50", "--engine", "openvino"]) == 2
    assert "needs no_such_package: pip install 'convzoo[openvino]'" in capsys.readouterr().err


def test_like_stamps_give_a_cell_the_same_id_and_unlike_ones_say_in_what() -> None:
    (cell,) = plan(["resnet20"]).cells
    one, other = stamp([cell], {"seed": 0}), stamp([cell], {"seed": 1})
    assert row_id(cell, one) == row_id(cell, other)
    assert unlike(one, other) == {}
    newer = {**other, "versions": {**other["versions"], "convzoo": "9.9", "torch": "9.9"}, "commit": {"id": "x"}}
    assert unlike(one, newer) == {"versions.torch": (one["versions"]["torch"], "9.9")}
    assert row_id(cell, newer) != row_id(cell, one)
