"""Where it is asked for, training mode is compared too: outputs, gradients and statistics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from convzoo.testing import transplant

from .nets import IMAGES, Net, conv, first, not_equal, pair, refused

pytestmark = pytest.mark.usefixtures("same_weights")


def test_training_mode_is_compared_where_it_is_asked_for() -> None:
    def layers(**options: Any) -> list[nn.Module]:
        return [conv(), nn.BatchNorm2d(4, **options), nn.ReLU(), conv()]

    result = transplant(nn.Sequential(*layers()), nn.Sequential(*layers()), IMAGES, training=True)
    assert result.equal, result
    assert result.training is not None
    assert result.training.gradients.relative < 1e-10
    reference, model = nn.Sequential(*layers()), nn.Sequential(*layers(momentum=0.2))
    result = not_equal(reference, model, training=True)
    assert "in training mode: statistics differ" in str(result)
    assert "at 1.running_" in str(result)
    assert transplant(reference, model, IMAGES).equal


def test_a_gradient_that_is_stopped_is_a_difference() -> None:
    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        return net.layers[1](net.layers[0](x))

    model = Net(lambda net, x: net.layers[1](net.layers[0](x).detach()), conv(), conv())
    result = not_equal(Net(run, conv(), conv()), model, training=True)
    assert "in training mode: gradients differ" in str(result)
    # So is one that stops before the first layer.
    model = Net(lambda net, x: run(net, x.detach()), conv(), conv())
    assert "most at input 0" in str(not_equal(Net(run, conv(), conv()), model, training=True))


def test_gradients_that_are_rounding_only_do_not_count() -> None:
    """A norm takes the bias before it away, so that its gradient in training is 0, up to what the formula rounds."""

    def by_hand(net: Net, x: torch.Tensor) -> torch.Tensor:
        y, norm = net.layers[0](x), net.layers[1]
        mean, variance = norm.running_mean, norm.running_var
        if net.training:
            variance, mean = torch.var_mean(y, (0, 2, 3), correction=0)
            with torch.no_grad():
                norm.running_mean.lerp_(mean, 0.1)  # type: ignore[operator, union-attr]
                norm.running_var.lerp_(variance * 128 / 127, 0.1)  # type: ignore[operator, union-attr]
                norm.num_batches_tracked += 1  # type: ignore[operator]
        tensors = (mean, (variance + norm.eps).rsqrt(), norm.weight, norm.bias)  # type: ignore[operator]
        mean, scale, weight, bias = (tensor[:, None, None] for tensor in tensors)  # type: ignore[index]
        return (y - mean) * (scale * weight) + bias

    def norm() -> nn.Module:
        return nn.BatchNorm2d(4)

    reference = Net(lambda net, x: net.layers[1](net.layers[0](x)), conv(), norm())
    result = transplant(reference, Net(by_hand, conv(), norm()), IMAGES, pairs={"*": "*"}, training=True)
    assert result.equal, result
    assert result.training is not None
    assert result.training.gradients.absolute > 0


def test_random_layers_agree_in_training_mode_only_where_they_draw_the_same() -> None:
    def layers(rate: float) -> nn.Module:
        return nn.Sequential(conv(), nn.Dropout(rate), conv())

    assert transplant(layers(0.3), layers(0.3), IMAGES, training=True).equal
    result = not_equal(layers(0.3), layers(0.4), training=True)
    assert "random numbers are drawn in training mode" in str(result)


def test_what_runs_in_training_mode_only_matters_there() -> None:
    def run(net: Net, x: torch.Tensor) -> Any:
        return (net.layers[0](x), net.layers[1](x)) if net.training else net.layers[0](x)

    pairs = {"layers.1.*": "layers.1.*"}
    assert not_equal(*pair(run, conv, conv), pairs=pairs).idle_model == ("layers.1.weight", "layers.1.bias")
    assert transplant(*pair(run, conv, conv), IMAGES, pairs=pairs, training=True).equal
    message = refused(Net(run, conv(), conv()), Net(first, conv(), conv()), pairs=pairs, training=True)
    assert "That is in training mode" in message


def test_statistics_that_are_assigned_anew_are_compared() -> None:
    def run(net: Net, x: torch.Tensor, momentum: float = 0.1) -> torch.Tensor:
        y, mean = net.layers[0](x), net.mean
        if net.training:
            net.mean = (1 - momentum) * mean + momentum * y.detach().mean((0, 2, 3))  # type: ignore[operator]
        return y - mean[:, None, None]  # type: ignore[index]

    mean = {"mean": torch.zeros(4)}
    assert transplant(Net(run, conv(), **mean), Net(run, conv(), **mean), IMAGES, training=True).equal
    other = Net(lambda net, x: run(net, x, 0.2), conv(), **mean)
    assert "statistics differ" in str(not_equal(Net(run, conv(), **mean), other, training=True))
