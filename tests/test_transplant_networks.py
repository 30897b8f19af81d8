"""transplant takes networks, inputs and outputs of any structure; what it refuses stays as it was."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from convzoo.testing import transplant

from .nets import IMAGES, Net, Run, conv, first, not_equal, pair, refused

pytestmark = pytest.mark.usefixtures("same_weights")


def test_the_model_keeps_the_weights_only_if_all_can_be_written() -> None:
    def two(net: Net, x: torch.Tensor) -> torch.Tensor:
        return net.layers[1](net.layers[0](x))

    reference, model = pair(two, conv, conv)
    model.layers[1].weight = nn.Parameter(model.layers[0].weight.data)  # type: ignore[union-attr, arg-type]
    assert "shares its memory" in refused(reference, model)
    model = Net(two, conv(), conv())
    model.layers[1].bias = nn.Parameter(torch.zeros(1).expand(4))
    assert "layers.1.bias of the model cannot be written" in refused(reference, model)
    with torch.no_grad():
        reference.layers[1].weight.mul_(1e6)  # type: ignore[operator, union-attr]
    assert "do not fit into torch.float16" in refused(reference, Net(two, conv(), conv()).half())


def test_buffers_that_two_modules_share_are_carried_once() -> None:
    def shared() -> Net:
        net = Net(
            lambda net, x: net.layers[1](net.layers[0](x) * net.layers[0].mask) * net.layers[1].mask, conv(), conv()
        )
        mask = torch.rand(4, 1, 1)
        for layer in net.layers:
            layer.register_buffer("mask", mask)
        return net

    model = shared()
    result = transplant(shared(), model, IMAGES)
    assert result.equal, result
    assert len(result.mapping) == 5
    assert model.layers[0].mask is model.layers[1].mask


def _raises(net: Net, x: torch.Tensor) -> torch.Tensor:
    raise ZeroDivisionError("in the middle")


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            Net(_raises, conv()),
            {},
            "the model cannot be run on the example in eval mode: ZeroDivisionError: in the middle",
        ),
        (Net(lambda net, x: first(net, x.float()), conv()), {}, "in float64"),
        (
            Net(lambda net, x: first(net, x) if not net.training else 1 / 0, conv()),
            {"training": True},
            "in training mode",
        ),
        (nn.Conv2d, {}, "the model must be a torch.nn.Module"),
        (None, {}, "the model must be a torch.nn.Module"),
        (nn.LazyConv2d(4, 3), {}, "is lazy and has no weights yet"),
        (nn.Conv2d(4, 4, 3, device="meta"), {}, "the model has no values, being on the meta device"),
        (Net(first, conv()), {"tolerance": 0}, "tolerance"),
        (Net(first, conv()), {"tolerance": True}, "tolerance"),
        (Net(first, conv()), {"training": "yes"}, "training must be True or False"),
        (Net(first, conv()), {"example_kwargs": [1]}, "example_kwargs must map names"),
    ],
)
def test_networks_and_arguments_that_cannot_be_used_are_refused(model: Any, options: Any, message: str) -> None:
    assert message in refused(Net(first, conv()), model, **options)


@pytest.mark.parametrize("example", [[IMAGES], {"x": IMAGES}, "x", 3, (3,), (), IMAGES.to("meta")])
def test_examples_without_tensors_are_refused(example: Any) -> None:
    assert "example" in refused(Net(first, conv()), Net(first, conv()), example)


@dataclasses.dataclass
class Output:
    logits: Any
    loss: float


@pytest.mark.parametrize(
    ("run", "args", "kwargs"),
    [
        (lambda net, images: net.layers[0](images[0]) + images[1]["b"], ([IMAGES, {"b": IMAGES}],), {}),
        (lambda net, x, n, *, y: net.layers[0](x) * n + y, (IMAGES, 3), {"y": IMAGES}),
        (lambda net, *, x: {"a": net.layers[0](x), "b": [x, (1.5, None)]}, (), {"x": IMAGES}),
        (lambda net, x: Output(net.layers[0](x), 0.5), IMAGES, {}),
        (lambda net, x: (net.layers[0](x.mul_(2)), net.layers[0].weight, x), IMAGES, {}),
    ],
)
def test_inputs_and_outputs_may_have_any_structure(run: Run, args: Any, kwargs: dict[str, Any]) -> None:
    images = IMAGES.clone()
    result = transplant(*pair(run, conv), args, example_kwargs=kwargs, training=True)
    assert result.equal, result
    assert torch.equal(IMAGES, images)


@pytest.mark.parametrize(
    "around",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.device("meta"),
    ],
)
def test_it_does_not_matter_where_it_is_called(around: Callable[[], Any]) -> None:
    reference, model = (nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU(), conv()) for _ in range(2))
    stopped = Net(lambda net, x: net.layers[0](x.detach()), copy.deepcopy(reference))
    with around():
        assert transplant(reference, model, IMAGES, training=True).equal
        assert not transplant(reference, stopped, IMAGES, training=True).equal
    assert torch.equal(model[3].weight, reference[3].weight)


def _pruned(layer: nn.Module) -> nn.Module:
    return prune.random_unstructured(layer, "weight", 0.5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "change",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        nn.utils.parametrizations.spectral_norm,
        _pruned,
        nn.Module.half,
        pytest.param(lambda layer: torch.compile(layer, backend="eager"), marks=pytest.mark.large),
        lambda layer: layer.requires_grad_(False),
    ],
)
def test_layers_that_are_wrapped_or_changed_are_carried(change: Callable[[nn.Module], nn.Module]) -> None:
    reference, model = pair(first, lambda: change(conv()))
    result = transplant(reference, model, IMAGES, training=True)
    assert result.equal, result


def test_tensors_are_found_where_the_state_dict_is_written_otherwise() -> None:
    class Own(Net):
        def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
            return {"all": torch.cat([tensor.flatten() for tensor in super().state_dict().values()])}

    reference = Own(lambda net, x: net.layers[0](x) * net.scale, conv(), scale=torch.rand(4, 1, 1))
    reference.register_buffer("passing", torch.zeros(1), persistent=False)
    model = Net(lambda net, x: net.layers[0](x) * net.scale, conv(), scale=torch.rand(4, 1, 1))
    result = transplant(reference, model, IMAGES)
    assert result.equal, result
    assert set(result.mapping) == {"layers.0.weight", "layers.0.bias", "scale"}


def test_networks_without_weights_are_compared_by_what_they_compute() -> None:
    assert transplant(nn.ReLU(), nn.Threshold(0, 0), IMAGES).equal
    assert transplant(nn.Sequential(), nn.Identity(), IMAGES).equal
    not_equal(nn.ReLU(), nn.SiLU())
    assert "no elements" in str(not_equal(*pair(lambda net, x: x[:0])))
    assert transplant(Net(first, conv(), none=nn.Parameter(torch.zeros(0, 3))), Net(first, conv()), IMAGES).equal
