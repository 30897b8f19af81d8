"""Networks for the tests of transplant, and what must be as it was."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy
import pytest
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from convzoo.testing import Transplant, TransplantError, transplant

Run = Callable[..., Any]
Layers = list[nn.Module]
State = dict[str, torch.Tensor]
IMAGES = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Layers, more tensors by name, and a function of it and its inputs that says how it runs."""

    def __init__(self, run: Run, *layers: nn.Module, **state: torch.Tensor) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.run = run
        for name, tensor in state.items():
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self, *args, **kwargs)


class Composed(nn.Module):
    """Layers by number, and a function of them that says how they run."""

    def __init__(self, run: Callable[[nn.ModuleList, torch.Tensor], Any], *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.run = run

    def forward(self, x: torch.Tensor) -> Any:
        return self.run(self.layers, x)


def random_images(channels: int = 3, size: int = 64, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(1))


def first(net: Net, x: torch.Tensor) -> torch.Tensor:
    return net.layers[0](x)


def chain(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    for layer in layers:
        x = layer(x)
    return x


def conv(inputs: int = 4, outputs: int = 4, kernel: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


def four_convs(third: nn.Module) -> Composed:
    """Four convolutions with norms, and ``third`` for the third of their activations."""
    layers: Layers = [conv(bias=False), nn.BatchNorm2d(4), nn.ReLU(), conv(bias=False), nn.BatchNorm2d(4), nn.ReLU()]
    layers += [conv(bias=False), nn.BatchNorm2d(4), third, conv(bias=False), nn.BatchNorm2d(4), nn.ReLU()]
    return Composed(chain, *layers)


def pair(run: Run, *layers: Callable[[], nn.Module], **state: Callable[[], torch.Tensor]) -> tuple[Net, Net]:
    """Two networks of one kind with other weights."""

    def made() -> Net:
        return Net(run, *(layer() for layer in layers), **{name: tensor() for name, tensor in state.items()})

    return made(), made()


def moved(result: Transplant) -> set[tuple[str, str]]:
    """The layers that correspond, by their names."""
    return {(a.rpartition(".")[0], b.rpartition(".")[0]) for a, b in result.mapping.items()}


def state_of(model: nn.Module) -> State:
    """The state dict, a copy of its own."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same_state(model: nn.Module, before: State) -> None:
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


def has_values(tensor: torch.Tensor) -> bool:
    return not (is_lazy(tensor) or tensor.is_meta)


def everything(model: nn.Module) -> dict[str, Any]:
    """What must be as it was: tensors and their flags and gradients, modes, hooks, and random numbers."""
    state = model.state_dict(keep_vars=True)
    return {
        "values": {name: tensor.detach().clone() for name, tensor in state.items() if has_values(tensor)},
        "same": {name: (id(tensor), tensor.requires_grad, id(tensor.grad)) for name, tensor in state.items()},
        "modes": [(module.training, [*vars(module)], [*module._forward_hooks]) for module in model.modules()],
        "random": (torch.get_rng_state().tolist(), random.getstate(), numpy.random.get_state()[1].tolist()),  # type: ignore[index]
    }


def assert_as_before(model: nn.Module, before: Mapping[str, Any]) -> None:
    now = everything(model)
    torch.testing.assert_close(now.pop("values"), before["values"], rtol=0, atol=0, equal_nan=True)
    assert now == {key: value for key, value in before.items() if key != "values"}


def not_equal(reference: nn.Module, model: nn.Module, example: Any = IMAGES, **options: Any) -> Any:
    """The result, once it is sure that it is not equal and that nothing was done."""
    before = everything(reference), everything(model)
    result = transplant(reference, model, example, **options)
    assert not result.equal
    assert str(result).startswith("not equal, and the model is unchanged")
    for network, state in zip((reference, model), before, strict=True):
        assert_as_before(network, state)
    return result


def refused(reference: Any, model: Any, example: Any = IMAGES, **options: Any) -> str:
    """The message of the error, once it is sure that nothing was done."""
    networks = [network for network in (reference, model) if isinstance(network, nn.Module)]
    before = [everything(network) for network in networks]
    with pytest.raises(TransplantError) as caught:
        transplant(reference, model, example, **options)
    for network, state in zip(networks, before, strict=True):
        assert_as_before(network, state)
    return str(caught.value)
