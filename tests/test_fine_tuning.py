"""What fine-tuning needs, in every family: parts that stay frozen, learning rates by layer, another classifier."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.models import group_parameters
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from torch import nn
from torch.nn import functional as F

import convzoo
from convzoo import OptionError


@functools.cache
def families() -> dict[str, str]:
    """The smallest variant of each family."""
    smallest: dict[str, Any] = {}
    for name in convzoo.list_models():
        spec = convzoo.model_info(name).spec
        if spec.params and spec.params < getattr(smallest.get(spec.family), "params", float("inf")):
            smallest[spec.family] = spec
    return {family: spec.name for family, spec in smallest.items()}


def small(**options: Any) -> Any:
    torch.manual_seed(0)
    return convzoo.create_model("resnet20", num_classes=10, **options)


def step(model: Any) -> None:
    """One step of a training whose weight decay moves whatever is given to the optimizer."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    out = model(torch.randn(4, 3, 16, 16))
    out = out if isinstance(out, torch.Tensor) else out[-1].mean((2, 3))
    F.cross_entropy(out, torch.arange(4)).backward()
    optimizer.step()


def moved(model: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}


@pytest.mark.parametrize("family", families())
def test_groups_of_parameters_go_from_the_input_to_the_head(family: str) -> None:
    model = convzoo.create_model(families()[family], device="meta")
    layers = [layer for stage in model.stages for layer in stage if any(True for _ in layer.parameters())]
    wanted = {id(p): 0 for p in model.stem.parameters()}
    for number, layer in enumerate(layers, start=1):
        wanted |= {id(p): number for p in layer.parameters()}
    wanted |= {id(p): len(layers) + 1 for p in model.head.parameters()}
    groups = group_parameters(model, model.group_matcher(), reverse=True)
    assert {name: wanted[id(p)] for name, p in model.named_parameters()} == groups

    coarse = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    assert len(set(coarse.values())) == len(model.stages) + 2
    scales = {id(p): group["lr_scale"] for group in param_groups_layer_decay(model) for p in group["params"]}
    assert scales == {key: pytest.approx(0.75 ** (len(layers) + 1 - number)) for key, number in wanted.items()}


def test_learning_rates_by_layer_of_a_backbone() -> None:
    backbone = convzoo.create_model("resnet20", features_only=True, out_indices=(1, 2), device="meta")
    groups = group_parameters(backbone, backbone.group_matcher(), reverse=True)
    assert set(groups.values()) == set(range(1 + 3 + 3))
    assert len(set(group_parameters(backbone, backbone.group_matcher(coarse=True), reverse=True).values())) == 3
    assert len(create_optimizer_v2(backbone, "sgd", lr=0.1, layer_decay=0.5).param_groups) == 2 * 7


@pytest.mark.parametrize("family", families())
def test_stem_and_first_stages_are_frozen_and_thawed(family: str) -> None:
    model = convzoo.create_model(families()[family], device="meta")
    parts = [model.stem, *model.stages, model.head]
    for count in (1, len(model.stages), 0):
        model.freeze(count)
        for mode in (True, False, True):
            nn.ModuleList([model]).train(mode)
            held, free = parts[: count + 1], parts[count + 1 :]
            assert not any(module.training for part in held for module in part.modules())
            assert all(module.training is mode for part in free for module in part.modules())
            assert not any(p.requires_grad for part in held for p in part.parameters())
            assert all(p.requires_grad for part in free for p in part.parameters())
    model.unfreeze()
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad for p in model.parameters())


def same(model: Any) -> Any:
    return model


def again(model: Any) -> Any:
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("copied", [same, copy.deepcopy, again])
@pytest.mark.parametrize("features_only", [False, True])
def test_what_is_frozen_does_not_move(copied: Callable[[Any], Any], features_only: bool) -> None:
    model = small(features_only=features_only)
    model.freeze(1)
    model = copied(model).train()
    before = copy.deepcopy(model.state_dict())
    step(model)
    still = {key for key in before if key.removeprefix("body.").startswith(("stem", "stages.0"))}
    assert still
    assert moved(model, before) == before.keys() - still


@pytest.mark.parametrize("features_only", [False, True])
def test_norms_stay_in_eval_mode_and_learn_nevertheless(features_only: bool) -> None:
    model = small(features_only=features_only)
    model.freeze_norms()
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    before = copy.deepcopy(model.state_dict())
    step(model.train())
    assert {key for key in before if key not in moved(model, before)} == {
        key for key in before if key.endswith(statistics)
    }
    model.freeze_norms(affine=True)
    before = copy.deepcopy(model.state_dict())
    step(model.train())
    assert {key for key in moved(model, before) if "norm" in key} == set()
    model.freeze_norms(False, affine=True)  # which says nothing then
    before = copy.deepcopy(model.state_dict())
    step(model.train())
    assert moved(model, before) == set(before)


def test_norms_that_do_not_track_and_dropout_are_left_in_training() -> None:
    model = convzoo.create_model("wrn10_1", dropout=0.3, norm="group", num_classes=10)
    model.freeze_norms()
    assert all(module.training for module in model.train().modules())


def test_what_is_frozen_for_two_reasons_thaws_for_both() -> None:
    model = small()
    model.freeze(1)
    model.freeze_norms(affine=True)
    model.unfreeze()
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == {
        name for name, _ in model.named_parameters() if "norm" in name
    }
    model.freeze(1)
    model.freeze_norms(False)
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == {
        name for name, _ in model.named_parameters() if name.startswith(("stem", "stages.0"))
    }


def test_a_frozen_network_goes_with_checkpointing() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = small()
        model.freeze(1)
        model.set_grad_checkpointing(checkpointing)
        step(model.train())
        gradients.append([p.grad for p in model.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        assert (plain is None) == (checkpointed is None)
        if plain is not None:
            torch.testing.assert_close(plain, checkpointed)


@pytest.mark.parametrize("stages", [4, -1, 1.5, "stem", None, True])
def test_stages_that_there_are_not_are_refused_and_nothing_is_changed(stages: Any) -> None:
    model = small(device="meta")
    model.freeze(1)
    with pytest.raises(OptionError, match=r"stages must be an integer of at (least 0|most 3)"):
        model.freeze(stages)
    assert [part.training for part in (model.stem, *model.stages)] == [False, False, True, True]


def test_flags_that_are_none_are_refused() -> None:
    model = small(device="meta")
    for call in (model.freeze_norms, lambda x: model.freeze_norms(True, x), model.group_matcher):
        with pytest.raises(OptionError, match="must be True or False"):
            call("yes")


def test_a_classifier_put_in_by_hand_keeps_the_number_of_classes_true() -> None:
    model = small()
    model.head.fc = nn.Linear(model.head_hidden_size, 3)
    assert (model.num_classes, model.spec.num_classes, model.default_cfg["num_classes"]) == (3, 3, 3)
    assert model.pretrained_cfg["num_classes"] == 3
    model.default_cfg = {"mean": (0.0, 0.0, 0.0), "num_classes": 3}
    assert model.pretrained_cfg["mean"] == (0.0, 0.0, 0.0)
    again = convzoo.build(model.spec)
    again.load_state_dict(model.state_dict())
    assert model(torch.randn(1, 3, 16, 16)).shape == (1, 3)
    model.head.fc = nn.Identity()
    assert (model.num_classes, model.default_cfg["num_classes"]) == (0, 0)
    model.reset_classifier(7)
    assert (model.num_classes, model.get_classifier().out_features) == (7, 7)
    model.head.fc = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4), nn.Identity())
    assert model.num_classes == 4


def test_a_classifier_that_does_not_say_its_classes_gets_a_warning() -> None:
    class Cosine(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    model = small()
    model.head.fc = Cosine()
    with pytest.warns(
        convzoo.LifecycleWarning, match="the classifier of resnet20 is Cosine, which has no out_features"
    ):
        assert model.num_classes == 10
    with pytest.warns(convzoo.LifecycleWarning, match="num_classes stays 10"):
        assert model.default_cfg["num_classes"] == 10


@pytest.mark.parametrize("family", families())
def test_who_looks_for_the_classifier_elsewhere_is_told_where_it_is(family: str) -> None:
    model = convzoo.create_model(families()[family], device="meta")
    name = model.get_classifier(name_only=True)
    there = rf"the classifier is model\.{name}, and model\.reset_classifier\(num_classes\) puts in another"
    for elsewhere in ("fc", "classifier", "linear"):
        assert not hasattr(model, elsewhere)
        with pytest.raises(AttributeError, match=rf"no attribute '{elsewhere}': {there}"):
            getattr(model, elsewhere)
        with pytest.raises(
            OptionError, match=rf"model\.{elsewhere} = Linear\(\.\.\.\) would be used by nothing: {there}"
        ):
            setattr(model, elsewhere, nn.Linear(8, 3))
    with pytest.raises(OptionError, match=rf"model\.head is the pool and the classifier, not Linear: {there}"):
        model.head = nn.Linear(8, 3)
    assert [name for name, _ in model.named_children()] == ["stem", "stages", "head"]
    with pytest.raises(AttributeError, match="'ConvNet' object has no attribute 'nothing'"):
        model.nothing  # noqa: B018


def test_other_heads_and_other_modules_are_set_as_ever() -> None:
    model = small()
    model.head = copy.deepcopy(model.head)
    model.auxiliary = nn.Linear(2, 2)
    model.fc = "a note"
    assert model.fc == "a note"
    assert isinstance(convzoo.deploy(model).auxiliary, nn.Linear)
