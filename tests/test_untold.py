"""A network that was trained and never told how far the training is says so when it is evaluated, and only then."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import convzoo
from convzoo import LifecycleWarning

from .test_following import network, sgd, step

MESSAGE = (
    r"small was trained, and was not told how far the training is, .*: stages\.0\.0\.branch\.conv1,"
    r" stages\.0\.1\.branch\.conv1 \(0 of 3 condensing steps are taken; .*\)\. Train with convzoo\.follow\("
)


@pytest.fixture(autouse=True)
def _loud() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", LifecycleWarning)
        yield


def train(model: nn.Module, optimizer: Any = None, criterion: Any = nn.functional.cross_entropy) -> None:
    model.train()
    step(model, criterion, optimizer or sgd(model), 0)


@pytest.mark.parametrize(
    "optimizer",
    [
        sgd,
        lambda model: sgd(model, fused=True),
        lambda model: torch.optim.AdamW(model.parameters(), fused=True),
        lambda model: torch.optim.AdamW(model.parameters(), foreach=True),
    ],
    ids=["SGD", "fused SGD", "fused AdamW", "AdamW"],
)
def test_a_training_that_was_not_told_is_noticed_whatever_took_the_steps(optimizer: Callable[..., Any]) -> None:
    model = network()
    train(model, optimizer(model))
    with pytest.warns(LifecycleWarning, match=MESSAGE) as caught:
        model.eval()
    assert caught[0].filename == __file__
    train(model)
    model.eval()  # it was said


@pytest.fixture
def _alone_in_its_group(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("_alone_in_its_group")
@pytest.mark.parametrize(
    "wrap",
    [nn.Sequential, nn.parallel.DistributedDataParallel, lambda model: torch.compile(model, backend="eager")],
    ids=["Sequential", "DDP", "compile"],
)
def test_it_is_noticed_within_other_modules(wrap: Callable[..., Any]) -> None:
    model = wrap(network())
    train(model)
    with pytest.warns(LifecycleWarning, match=MESSAGE):
        model.eval()


def test_it_is_noticed_where_training_mode_is_set_before_each_step() -> None:
    model = network()
    train(model)
    model.train()
    with pytest.warns(LifecycleWarning, match=MESSAGE):
        model.eval()


def test_it_is_noticed_where_the_first_layers_are_frozen() -> None:
    model = network()
    model.stages[0][0].requires_grad_(False)
    train(model)
    with pytest.warns(LifecycleWarning, match=MESSAGE):
        model.eval()


def test_it_is_noticed_in_a_backbone() -> None:
    backbone = convzoo.create_model(network().spec, features_only=True)
    train(backbone, criterion=lambda out, labels: out[-1].square().mean())
    with pytest.warns(LifecycleWarning, match="small was trained"):
        backbone.eval()


def follow(model: nn.Module) -> None:
    optimizer = sgd(model)
    train(model, optimizer, convzoo.follow(model, nn.CrossEntropyLoss(), optimizer, 100))


def by_hand(model: nn.Module) -> None:
    convzoo.set_progress(model, 0)
    train(model)


def by_hand_later(model: nn.Module) -> None:
    model.train()
    convzoo.set_progress(nn.Sequential(model), 0.01)
    train(model)


def nothing_learned(model: nn.Module) -> None:
    model.train()
    model(torch.randn(2, 3, 8, 8))


def other_weights(model: nn.Module) -> None:
    model.train()
    model.load_state_dict(
        {key: value + 1 for key, value in model.state_dict().items() if value.is_floating_point()}, False
    )


def loaded_weights(model: nn.Module) -> None:
    model.train()
    with torch.no_grad():
        state = {key: value + 1 if value.is_floating_point() else value for key, value in model.state_dict().items()}
    convzoo.load_weights(model, state)


def finished(model: nn.Module) -> None:
    done = network()
    convzoo.set_progress(done, 1)
    model.load_state_dict(done.state_dict())
    train(model)


def frozen(model: nn.Module) -> None:
    model.stages.requires_grad_(False)
    train(model)


def half(model: nn.Module) -> None:
    model.train()
    model.to(torch.bfloat16)


@pytest.mark.parametrize(
    "what", [follow, by_hand, by_hand_later, nothing_learned, other_weights, loaded_weights, finished, frozen, half]
)
def test_nothing_is_said_where_nothing_was_missed(what: Callable[[Any], None]) -> None:
    model = network()
    what(model)
    assert not model.eval().training


def test_weights_that_are_loaded_are_where_the_training_begins() -> None:
    model = network()
    other_weights(model)
    train(model)
    with pytest.warns(LifecycleWarning, match=MESSAGE):
        model.eval()


def test_copies_of_a_network_have_not_been_trained() -> None:
    model = network()
    model.train()
    average = AveragedModel(model)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    train(model, criterion=nn.functional.cross_entropy)
    average.update_parameters(model)
    average.eval()
    for other in copies:
        with torch.no_grad():
            other.stages[0][0].branch.conv1.weight.add_(1)
        other.eval()


def test_a_network_without_a_schedule_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    model = convzoo.create_model("resnet20", num_classes=10)
    train(model)
    monkeypatch.setattr("convzoo.network.training.untold", None)
    assert not model.eval().training


def test_a_schedule_that_cannot_be_examined_fails_no_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    train(model)
    monkeypatch.setattr("convzoo.network.untold.copy.deepcopy", None)
    assert not model.eval().training


def test_watching_adds_nothing_to_state_graphs_and_exports() -> None:
    model = network()
    keys = list(model.state_dict())
    train(model, criterion=nn.functional.cross_entropy)
    assert list(model.state_dict()) == keys
    with pytest.warns(LifecycleWarning):
        model.eval()
    images = torch.randn(2, 3, 8, 8)
    exported = torch.export.export(model, (images,)).module()
    torch.testing.assert_close(exported(images), model(images))
