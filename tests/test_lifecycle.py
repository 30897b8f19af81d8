"""set_progress, penalty and deploy reach every layer that takes part, wherever it stands, and touch nothing else."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import convzoo
from convzoo import Component, LifecycleError, OptionError
from convzoo.plugins.host import plugins


class Fading(nn.Module):
    """Scales by what is left of training; costs its weight; becomes a plain factor."""

    share: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.register_buffer("share", torch.zeros(()))

    def set_progress(self, progress: float) -> None:
        self.share.fill_(progress)

    def penalty(self) -> torch.Tensor:
        return self.weight.square().sum()

    def deploy(self) -> nn.Module:
        return Factor(float(self.weight.detach() * (2 - self.share)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight * (2 - self.share)


class Factor(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.value


@pytest.fixture
def model() -> Iterator[Any]:
    convzoo.register(Component("attention", "fading", Fading), plugin="test_lifecycle")
    yield convzoo.create_model("resnet20", attention="fading")
    plugins().remove("test_lifecycle")


def _fading(model: nn.Module) -> list[Fading]:
    return [m for m in model.modules() if isinstance(m, Fading)]


def test_progress_reaches_every_scheduled_layer_and_is_part_of_the_state(model: Any) -> None:
    convzoo.set_progress(model, 0.25)
    assert [float(m.share) for m in _fading(model)] == [0.25] * 9
    other = copy.deepcopy(model)
    convzoo.set_progress(model, 1)
    assert float(_fading(other)[0].share) == 0.25
    other.load_state_dict(model.state_dict())
    assert float(_fading(other)[0].share) == 1


@pytest.mark.parametrize("progress", [-0.1, 1.1, float("nan")])
def test_progress_outside_of_training_is_refused(model: Any, progress: float) -> None:
    with pytest.raises(OptionError, match="progress"):
        convzoo.set_progress(model, progress)


def test_penalty_is_the_sum_over_layers_with_a_gradient(model: Any) -> None:
    total = convzoo.penalty(model)
    assert float(total.detach()) == 9
    total.backward()
    assert [float(m.weight.grad) for m in _fading(model)] == [2.0] * 9


def test_penalty_of_a_model_without_any_is_zero() -> None:
    total = convzoo.penalty(convzoo.create_model("resnet20", dtype=torch.float64))
    assert total.dtype == torch.float64
    assert float(total) == 0


def test_deployed_model_gives_the_same_outputs_and_leaves_the_original_alone(model: Any) -> None:
    convzoo.set_progress(model, 0.5)
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    deployed = convzoo.deploy(model)
    assert _fading(deployed) == []
    assert len(_fading(model)) == 9
    assert model.training
    assert not deployed.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(deployed(images), model.eval()(images))


def test_a_layer_that_is_not_ready_is_named_and_nothing_is_changed(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Fading) -> nn.Module:
        raise LifecycleError("not before progress 0.5")

    last = _fading(model)[-1]
    monkeypatch.setattr(Fading, "deploy", lambda self: refuse(self) if self.share == 1 else Factor(1))
    last.set_progress(1)
    with pytest.raises(
        LifecycleError, match=r"cannot deploy stages\.2\.2\.branch\.attention: not before progress 0\.5"
    ):
        convzoo.deploy(model)
    assert len(_fading(model)) == 9
