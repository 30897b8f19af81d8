"""Networks that ``convzoo.deploy`` has rewritten give the same, whatever is done with them."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

from convzoo import OptionError, create_model, deploy
from convzoo.deploying.convolution import FusedConv2d
from convzoo.deploying.dense import DenseStage
from convzoo.deploying.deploy import deployed_by
from convzoo.deploying.pointwise import Clamp
from convzoo.deploying.rewrites import REWRITES, rewrites_for
from convzoo.exporting.export import FORMATS

from .deployed import BOUNDS, LAST, assert_same, images, off, trained
from .small import smallest_of_families

FAMILIES = [*smallest_of_families().values(), "densenet121"]
STEPS = ("seresnet20", "wrn16_1")
QUICK = ("resnet20", "seresnet20", "densenet40_k12_bc", "condensenet50_cifar", "shakeshake20_2x16d", "wrn16_1")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in STEPS else pytest.mark.large) for name in (*QUICK, "resnest14d")]
)
def test_a_network_is_the_same_after_each_rewrite(name: str) -> None:
    model = trained(name, dtype=torch.float64)
    x = images(min(model.spec.input_size, 64), dtype=torch.float64)
    with torch.no_grad():
        expected = model(x)
        for number in range(len(REWRITES) + 1):
            deployed, _ = deployed_by(model, REWRITES[:number])
            assert off(deployed(x), expected) <= BOUNDS[torch.float64], REWRITES[:number]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.large) for name in FAMILIES]
)
def test_a_deployed_network_of_each_family_gives_the_same_by_the_kernels_for_inference(name: str) -> None:
    model = trained(name)
    assert_same(deploy(model), model, images(min(model.spec.input_size, 64)))


def test_every_rewrite_changes_something_in_the_families() -> None:
    counts = [deployed_by(trained(name), REWRITES)[1] for name in QUICK]
    assert {name for each in counts for name, count in each.items() if count} == {each.name for each in REWRITES}


@pytest.mark.parametrize("name", QUICK)
def test_no_batch_norm_and_no_plain_convolution_is_left(name: str) -> None:
    kinds = {type(module) for module in deploy(trained(name)).modules()}
    assert not kinds & {nn.BatchNorm2d, nn.Conv2d, nn.Dropout}


def test_the_levels_of_a_deployed_backbone_are_those_of_the_training_one() -> None:
    for name in ("resnet18", "densenet40_k12_bc", "wrn16_1"):
        model = trained(name, features_only=True)
        with torch.inference_mode():
            for found, expected in zip(deploy(model)(images()), model(images()), strict=True):
                assert off(found, expected) <= 1e-5


def test_deployed_twice_pickled_copied_and_cast_it_gives_the_same(tmp_path: Path) -> None:
    model, x = trained("seresnet20"), images()
    deployed = deploy(model)
    with torch.inference_mode():
        deployed(x)
    torch.save(deployed, tmp_path / "deployed.pt")
    read = torch.load(tmp_path / "deployed.pt", weights_only=False)
    for each in (deploy(deployed), copy.deepcopy(deployed), read):
        assert_same(each, model, x)
    cast = copy.deepcopy(deployed).double()(x.double())
    assert off(cast, model(x)) <= 1e-5
    again = deploy(create_model("seresnet20"))
    again.load_state_dict(deployed.state_dict())
    assert_same(again, model, x)


def test_the_description_of_a_deployed_network_names_its_first_convolution() -> None:
    deployed = deploy(create_model("resnet18"))
    assert isinstance(deployed.get_submodule(deployed.default_cfg["first_conv"]), FusedConv2d)
    assert deployed.default_cfg["architecture"] == "resnet18"


def test_for_an_engine_that_has_norms_and_no_clamps_norms_before_activations_are_kept() -> None:
    model = trained("densenet40_k12_bc")
    kept, _ = deployed_by(model, rewrites_for(FORMATS["onnx"].engine))
    assert_same(kept, model, images())
    found = [{type(module) for module in network.modules()} for network in (kept, deploy(model))]
    assert [Clamp in each for each in found] == [False, True]
    assert [nn.BatchNorm2d in each for each in found] == [True, False]
    for other in (FORMATS["openvino"], FORMATS["pt2"], FORMATS["aoti"]):
        assert rewrites_for(other.engine) == REWRITES


def test_without_rewrites_only_the_layers_own_forms_are_taken() -> None:
    model = trained("resnet20")
    assert type(deploy(model, rewrite=False).stages[0][0]) is type(model.stages[0][0])
    with pytest.raises(OptionError, match="rewrite"):
        deploy(model, rewrite="no")  # type: ignore[arg-type]


def test_deployed_under_inference_mode_a_network_learns_of_gradients_all_the_same() -> None:
    model = trained("resnet20")
    with torch.inference_mode():
        deployed = deploy(model)
    x = images().requires_grad_()
    deployed(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("slow", [True, False], ids=["apart", "channels_last"])
def test_the_layout_of_stages_that_is_faster_on_the_example_is_taken(
    slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, clock, passed = trained("densenet40_k12_bc"), itertools.count(), [0]
    room = DenseStage._room

    def slowed(stage: DenseStage, x: torch.Tensor, names: list[str]) -> torch.Tensor:
        passed[0] += stage.apart is slow
        return room(stage, x, names)

    with monkeypatch.context() as patch:
        patch.setattr("convzoo.deploying.settings.time.perf_counter", lambda: next(clock) * 1e-6 + passed[0])
        patch.setattr(DenseStage, "_room", slowed)
        chosen = deploy(model, example_input=images())
        assert [stage.apart for stage in chosen.stages] == [not slow] * 3
        for chosen.stages[0].apart in (False, True):
            with torch.inference_mode():
                chosen.stages[0].choose(images(channels=24))
            assert chosen.stages[0].apart is not slow, "whichever it was before"
    assert_same(chosen, model, images())


def test_layers_that_append_fill_one_map_and_keep_their_names() -> None:
    model = trained("densenet40_k12_bc")
    deployed, x = deploy(model), images(channels=24)
    assert all(isinstance(stage, DenseStage) for stage in deployed.stages)
    assert [list(stage._modules) for stage in deployed.stages] == [list(stage._modules) for stage in model.stages]
    stage = copy.deepcopy(deployed.stages[0])
    with torch.no_grad():
        kept = x.clone()
        found = stage(x)
        assert off(found, model.stages[0](x)) <= 1e-5
        assert torch.equal(x, kept)
        assert found.is_contiguous(memory_format=LAST)
        assert torch.equal(found[:, :24], x)
    assert off(stage(x), model.stages[0](x)) <= 1e-5
