"""The two of a cell are shown to do the same work, what cannot be measured is a row, and bad numbers are seen."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convzoo
from convzoo import WeightsError
from convzoo.bench.cells import Cell, plan
from convzoo.bench.competitors import build_pair
from convzoo.bench.inputs import BadValues, examine, images_of
from convzoo.bench.measure import CellError, How, start_alone, time_cell, told
from convzoo.bench.memory import saved_for_backward, status_bytes
from convzoo.bench.process import in_worker
from convzoo.bench.results import read
from convzoo.bench.run import Silent, resumed, run
from convzoo.bench.sampling import Rule
from convzoo.network.weights import load_weights

HOW = How(rule=Rule(budget=0.05), memory=False, in_process=True)


def cell(name: str, against: str, **settings: Any) -> Cell:
    settings = {"image_size": [32], "threads": 1, **settings}
    (found,) = plan([name], against=[against], **settings).cells
    return found


def work(name: str, against: str, **settings: Any) -> dict[str, Any]:
    return build_pair(cell(name, against, **settings)).work


def test_a_variant_and_its_counterpart_are_the_same_work() -> None:
    found = work("resnet18", "timm")
    assert found["same"] is True
    assert found["carried"] == "key map"
    assert found["ours"] == found["theirs"]
    assert found["outputs"]["relative"] <= found["outputs"]["bound"]


def test_a_wrong_weight_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def corrupt(model: Any, state: Any) -> None:
        load_weights(model, state)
        model.state_dict()["stages.3.1.branch.conv1.conv.weight"].mul_(1.5)

    monkeypatch.setattr("convzoo.bench.competitors.load_weights", corrupt)
    found = work("resnet18", "timm")
    assert found["same"] is False
    assert found["why"].startswith("outputs differ by")


def test_a_composition_is_not_the_same_work_and_the_row_says_in_what() -> None:
    found = work("resnet20[attention=se]", "resnet20")
    assert found["same"] is False
    assert "parameters 272,095 against 269,722, MACs" in found["why"]


@pytest.mark.large
def test_a_deployed_form_has_the_outputs_of_its_training_graph() -> None:
    found = work("condensenet50_cifar", "training", form=["deployed"])
    assert found["carried"] == "same weights"
    assert found["same"] is False
    assert "outputs are equal" in found["why"]


def test_what_takes_the_same_weights_and_computes_something_else_is_not_the_same_work() -> None:
    found = work("resnet50_v1", "timm:resnet50", image_size=[64])
    assert found["carried"] == "key map"
    assert "MACs" in found["why"]
    assert "outputs differ by" in found["why"]


@pytest.mark.large
def test_networks_without_a_key_map_between_them_are_transplanted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(model: Any, state: Any) -> None:
        raise WeightsError("no key map")

    monkeypatch.setattr("convzoo.bench.competitors.load_weights", refuse)
    found = work("resnet18", "timm:resnet18", image_size=[64])
    assert found["carried"] == "transplant"
    assert found["same"] is True


@pytest.mark.parametrize(("value", "said"), [(torch.nan, "not finite"), (1e-42, "of the weights are subnormal")])
def test_bad_numbers_are_seen(value: float, said: str) -> None:
    model = convzoo.create_model("resnet20")
    convzoo_images = images_of(2, 32, 3)
    with torch.no_grad():
        model.state_dict()["stages.0.0.branch.conv1.conv.weight"].fill_(value)
    if value != value:
        with pytest.raises(BadValues, match=r"the first in the weight stages\.0\.0"):
            examine(model, convzoo_images, "it")
    else:
        assert said in examine(model, convzoo_images, "it").remark()


def test_shares_of_subnormal_numbers_are_of_all_numbers_and_zeros_are_none() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 1, bias=False), nn.ReLU(), nn.Conv2d(4, 1, 1, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, -1.0, 1e-42, 0.0]).view(4, 1, 1, 1))
        net[2].weight.copy_(torch.tensor([1.0, 1.0, 1.0, 1.0]).view(1, 4, 1, 1))
    found = examine(net, torch.ones(2, 1, 2, 2), "it").to_dict()
    assert found["subnormal_weights"] == 1 / 8
    assert found["subnormal_activations"] == pytest.approx(2 / 9), "one of four channels, before and after the ReLU"


def test_layers_that_give_nothing_but_zeros_are_named() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1))
    with torch.no_grad():
        net[0].weight.fill_(-1)
        net[0].bias.fill_(0)
        net[2].bias.fill_(1)
    found = examine(net, torch.ones(2, 1, 2, 2), "it")
    assert found.zero == ["1"]
    assert "1 layers give nothing but zeros, 1 first" in found.remark()


def test_weights_are_not_counted_as_what_a_step_keeps() -> None:
    layer, x = nn.Linear(1000, 10), torch.randn(5, 1000, requires_grad=True)
    assert saved_for_backward(layer, lambda: layer(x)) == 5 * 1000 * 4, "the input, and not the weight beside it"


def test_images_are_as_many_and_as_large_as_asked() -> None:
    assert images_of(5, 16, 4).shape == (5, 4, 16, 16)
    assert float(images_of(1, 16, 3).abs().min()) > 0


def test_a_cell_has_all_its_figures() -> None:
    found = time_cell(cell("resnet20", "self"), dataclasses.replace(HOW, rule=Rule(budget=0.5)))
    assert found["work"]["same"] is True
    assert found["work"]["timed"]["relative"] <= 1e-4
    assert found["figures"]["ours"]["median_s"] > 0
    assert found["watch"]["watched"]
    assert found["status"] in ("measured", "unresolved")


def test_a_training_step_saves_activations_and_alone_has_memory_and_start() -> None:
    found = start_alone(cell("resnet20", "self", mode=["train"], batch_size=[4]), "ours", HOW)
    assert found["memory"]["saved"] > 1e6
    assert found["memory"]["before"] > 1e7
    assert found["startup"]["first_s"] > 0
    assert found["startup"]["compile_s"] is None


def test_what_backward_needs_is_counted_once_and_without_weights() -> None:
    layer, x = nn.Linear(10, 10), torch.randn(5, 10)
    assert saved_for_backward(layer, lambda: layer(x)) == 5 * 10 * 4
    assert saved_for_backward(layer, lambda: layer(x) + layer(x)) == 5 * 10 * 4
    assert status_bytes("VmHWM", lambda path: "VmPeak:  9 kB\nVmHWM:\t  12 kB\n") == 12 * 1024


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (RuntimeError("something else"), "failed"),
        (CellError("refused", "no"), "refused"),
    ],
)
def test_errors_are_statuses(error: Exception, status: str) -> None:
    with pytest.raises(CellError) as caught, told("theirs: "):
        raise error
    assert caught.value.status == status
    assert str(caught.value).startswith("theirs: ")


def test_a_run_goes_on_after_what_fails_and_a_next_one_measures_only_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = plan(
        ["resnet20"], mode=["infer", "train"], form=["training", "deployed"], threads=1, against=["self"]
    ).cells
    calls = []

    def measure(cell: Cell, how: How, progress: Any) -> dict[str, Any]:
        calls.append(cell.settings.mode)
        if len(calls) == 2:
            raise CellError("out of memory", "too large")
        if len(calls) == 3:
            raise KeyboardInterrupt
        return {"status": "measured", "why": "", "ratio": {"width": 0.01}}

    monkeypatch.setattr("convzoo.bench.measure.time_cell", measure)
    file = tmp_path / "r.jsonl"
    with pytest.raises(KeyboardInterrupt):
        list(run(resumed(cells, HOW, file), HOW, file, Silent()))
    assert [row.status for row in read(file).rows] == ["measured", "out of memory", "interrupted"]
    again = resumed(cells, HOW, file)
    assert [cell.settings.mode for cell, _ in again.cells] == ["infer", "train"]
    list(run(again, HOW, file, Silent()))
    rows = read(file).current()
    assert [row.status for row in rows] == ["measured", "out of memory", "measured", "refused"]
    assert len(calls) == 4
    assert resumed(cells, HOW, file).cells == []
    narrower = dataclasses.replace(HOW, rule=Rule(precision=0.005))
    assert len(resumed(cells, narrower, file).cells) == 2, "what is wider than now asked is measured again"


def test_no_cell_begins_after_the_time_and_unresolved_rows_want_a_larger_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, file = plan(["resnet20"], mode=["infer", "train"], threads=1, against=["self"]).cells, tmp_path / "r.jsonl"
    found = {"status": "unresolved", "why": "", "ratio": {"width": 0.1}}
    monkeypatch.setattr("convzoo.bench.measure.time_cell", lambda cell, how, progress: found)
    clock = iter([0.0, 2.0])
    assert len(list(run(resumed(cells, HOW, file), HOW, file, Silent(), until=1.0, clock=lambda: next(clock)))) == 1
    list(run(resumed(cells, HOW, file), HOW, file, Silent()))
    assert resumed(cells, HOW, file).cells == []
    assert len(resumed(cells, HOW, file, again=True).cells) == 2
    longer = dataclasses.replace(HOW, rule=Rule(budget=2 * HOW.rule.budget))
    assert len(resumed(cells, longer, file).cells) == 2, "they were not resolved in less"


def worker(code: str, limit: float = 20.0) -> dict[str, Any]:
    command = (sys.executable, "-S", "-c", f"import json, os, signal, sys, time\n{code}")
    return in_worker({"some": "task"}, threads=1, limit=limit, command=command)


def test_a_workers_result_comes_through_whatever_it_prints() -> None:
    got = "json.dumps({'result': {'got': json.loads(sys.stdin.readline())}})"
    assert worker(f"print('noise')\nos.write(int(sys.argv[1]), ({got} + '\\n').encode())") == {"got": {"some": "task"}}


def test_a_worker_that_dies_is_a_row_that_says_how() -> None:
    assert worker("sys.exit('no luck')") == {"status": "failed", "why": "the worker ended with 1: no luck"}
    assert worker("os.kill(os.getpid(), signal.SIGSEGV)")["why"].startswith("the worker crashed with SIGSEGV")
    assert worker("os.kill(os.getpid(), signal.SIGTERM)")["status"] == "interrupted"


def test_a_worker_that_does_not_end_is_ended() -> None:
    found = worker("time.sleep(60)", limit=0.3)
    assert found["status"] == "interrupted"
    assert "had not ended after" in found["why"]


def runs(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


FORKS = """
child = os.fork()
if not child:
    time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="asks Linux what runs")
@pytest.mark.parametrize("end", ["os.write(int(sys.argv[1]), b'%s\\n')", "sys.exit('no luck')"])
def test_what_a_worker_has_started_ends_with_it_and_is_not_waited_for(end: str, tmp_path: Path) -> None:
    noted, start = tmp_path / "pid", time.monotonic()
    result = json.dumps({"result": {"got": 1}})
    found = worker(f"{FORKS}\nopen({str(noted)!r}, 'w').write(str(child))\n{end.replace('%s', result)}")
    assert found in ({"got": 1}, {"status": "failed", "why": "the worker ended with 1: no luck"})
    assert time.monotonic() - start < 15
    until = time.monotonic() + 10  # which is a moment after it was killed
    while runs(noted.read_text()) and time.monotonic() < until:
        time.sleep(0.01)
    assert not runs(noted.read_text())


def test_a_worker_goes_when_its_parent_has_gone() -> None:
    code = "import time; from convzoo.bench import worker; worker.perform = lambda *_: time.sleep(60); worker.main()"
    started = subprocess.Popen([sys.executable, "-c", code, "1"], stdin=subprocess.PIPE)
    started.communicate(b"{}\n", timeout=30)
    assert started.returncode == 1


@pytest.mark.large
def test_a_cell_in_a_process_of_its_own_has_memory_and_start_of_both(tmp_path: Path) -> None:
    how = How(rule=Rule(budget=0.5))
    (row,) = run(resumed([cell("resnet20", "timm:resnet18")], how, tmp_path / "r"), how, tmp_path / "r", Silent())
    assert row.memory is not None
    assert row.startup is not None
    for who in ("ours", "theirs"):
        assert row.memory[who]["peak"] > row.memory[who]["before"] > 0
        assert row.startup[who]["import_s"] > 0
    assert row.startup["theirs"]["import_s"] > row.startup["ours"]["import_s"], "timm imports more"
