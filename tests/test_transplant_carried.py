"""Weights are carried whatever is done with them, and however the network handles its memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convzoo.testing import transplant

from .nets import Composed, Layers, chain, conv, random_images


def test_norms_of_every_kind_are_carried() -> None:
    def layers() -> Layers:
        norms: Layers = [nn.GroupNorm(2, 4), nn.BatchNorm2d(4, affine=False), nn.InstanceNorm2d(4, affine=True)]
        norms += [nn.InstanceNorm2d(4, track_running_stats=True), nn.LayerNorm([4, 8, 8]), nn.PReLU(4), nn.LayerNorm(8)]
        return [layer for norm in norms for layer in (conv(), norm)]

    reference, model = nn.Sequential(*layers()), Composed(chain, *layers())
    result = transplant(reference, model, random_images(4, 8))
    # A norm that uses the image's own mean takes the bias before it away.
    assert result.idle_model == ("layers.4.bias", "layers.12.bias")
    assert (result.largest_difference, result.divergence) == (0, None)
    assert result.idle_reference == ("4.bias", "12.bias")
    assert transplant(reference, model, random_images(4, 8), ignore=result.idle_reference).equal
    assert result.mapping == {name: f"layers.{name}" for name in reference.state_dict()}


def test_a_setting_is_not_taken_for_a_weight() -> None:
    class Scaled(nn.Conv2d):
        def __init__(self) -> None:
            super().__init__(4, 4, 1)
            self.register_buffer("scale", torch.tensor(2.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * self.get_buffer("scale").item()

    result = transplant(Scaled(), Composed(lambda layers, x: layers[0](x) * 2, conv(kernel=1)), random_images(4, 8))
    assert (result.largest_difference, result.unused_reference) == (0, ("scale",))


class Standardised(nn.Conv2d):
    """Weights that are computed from others, as weight standardisation and learned groups have it."""

    def __init__(self, by_hand: bool) -> None:
        super().__init__(4, 4, 3, padding=1)
        self.gain = nn.Parameter(torch.ones(4, 1, 1, 1))
        self.register_buffer("mask", torch.ones(4, 4, 1, 1))
        self.by_hand = by_hand

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.by_hand:
            centred = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            weight = centred / (centred.square().mean((1, 2, 3), keepdim=True) + 1e-5).sqrt()
        else:
            weight = F.layer_norm(self.weight, self.weight.shape[1:])
        weight = weight.clone().mul_(self.gain.expand_as(weight)) * self.get_buffer("mask")
        return F.conv2d(x, weight, self.bias, padding=1)


def test_weights_that_are_computed_first_are_carried() -> None:
    reference = nn.Sequential(Standardised(True), nn.ReLU(), Standardised(True))
    model = Composed(chain, Standardised(False), nn.ReLU(), Standardised(False))
    result = transplant(reference, model, random_images(4, 8))
    assert result.equal, result
    assert (result.by_order, result.divergence) == ((), None)
    assert result.mapping == {name: f"layers.{name}" for name in reference.state_dict()}


def test_parametrized_weights_are_carried() -> None:
    def layers() -> Layers:
        return [nn.utils.parametrizations.weight_norm(conv()) for _ in range(2)]

    result = transplant(nn.Sequential(*layers()), Composed(chain, *layers()), random_images(4, 8))
    assert result.equal, result
    assert len(result.mapping) == 6
    assert result.by_order == ()


def test_channels_may_stand_last_and_sizes_of_1_may_be_missing() -> None:
    def last(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        x = layers[1](layers[0](x.permute(0, 2, 3, 1)).relu()).permute(0, 3, 1, 2)
        return x * layers[2](x.mean((2, 3))[:, None]).sigmoid().permute(0, 2, 1)[..., None]

    def second(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        x = layers[1](layers[0](x.flatten(2)).relu()[..., None]).unflatten(2, (8, 8)).squeeze(-1)
        return x * layers[2](x.mean((2, 3), keepdim=True).transpose(1, 2)).sigmoid().transpose(1, 2)

    reference = Composed(last, nn.Linear(4, 6), nn.Linear(6, 4), nn.Conv1d(1, 1, 4, bias=False))
    model = Composed(second, nn.Conv1d(4, 6, 1), nn.Conv2d(6, 4, 1), nn.Conv2d(1, 1, (4, 1), bias=False))
    reference.layers[2] = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    model.layers[2] = nn.Conv2d(1, 1, (3, 1), padding=(1, 0), bias=False)
    result = transplant(reference, model, random_images(4, 8))
    assert result.equal, result
    assert result.by_order == ()
    assert model.layers[2].weight.shape == (1, 1, 3, 1)


def test_features_written_into_a_buffer_are_followed() -> None:
    def concatenated(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        for layer in layers:
            x = torch.cat([x, layer(x).relu()], 1)
        return x

    def written(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(x.shape[0], 4 + 2 * len(layers), *x.shape[2:], dtype=x.dtype)
        out[:, :4] = x
        for i, layer in enumerate(layers):
            out[:, 4 + 2 * i : 6 + 2 * i] = layer(out[:, : 4 + 2 * i]).relu_()
        return out

    reference, model = (Composed(run, *(conv(4 + 2 * i, 2) for i in range(3))) for run in (concatenated, written))
    assert transplant(reference, model, random_images(4, 8)).equal


class Scale(nn.Module):
    """A scale by channel, of a shape and in a way of its own."""

    def __init__(self, way: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], *shape: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(shape))
        self.way = way

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.way(x, self.gain)


@pytest.mark.parametrize(
    "way",
    [
        lambda x, gain: gain * x,
        lambda x, gain: x.mul_(gain),
        lambda x, gain: x * gain.expand_as(x),
        lambda x, gain: x * (gain * torch.ones_like(x)),
        lambda x, gain: x * (x.new_ones(4, 1, 1) * gain),
        lambda x, gain: x * (gain * torch.tensor(1.0)),
        lambda x, gain: x * gain.type_as(x).data,
    ],
)
def test_only_values_count_and_not_how_shapes_are_taken(way: Any) -> None:
    reference = nn.Sequential(conv(), Scale(way, 1, 4, 1, 1), conv())
    model = Composed(chain, conv(), Scale(lambda x, gain: x * gain[:, None, None], 4), conv())
    result = transplant(reference, model, random_images(4, 8))
    assert result.equal, result
    assert (result.divergence, result.by_order) == (None, ())
    assert result.mapping["1.gain"] == "layers.1.gain"


@pytest.mark.parametrize(
    "ones",
    [
        lambda: torch.ones(2, 4, 8, 8, dtype=torch.float64),
        lambda: torch.tensor([1.0] * 512, dtype=torch.float64).view(2, 4, 8, 8),
    ],
)
def test_memory_that_is_used_again_is_not_mistaken_for_what_stood_there(ones: Callable[[], torch.Tensor]) -> None:
    def way(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        for _ in range(4):
            x.relu()  # gone at once
        return x * (ones() * gain)

    reference = nn.Sequential(conv(), Scale(way, 4, 1, 1), conv())
    model = nn.Sequential(conv(), Scale(lambda x, gain: x * gain, 4, 1, 1), conv())
    result = transplant(reference, model, random_images(4, 8))
    assert (result.divergence, result.by_order) == (None, ())


def test_state_that_is_written_over_is_state_no_more() -> None:
    def way(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        out = gain.repeat(2, 1, 8, 8)
        out[:, :2] = x[:, :2]
        return out

    reference = nn.Sequential(conv(), Scale(way, 1, 4, 1, 1), conv())
    model = nn.Sequential(conv(), Scale(lambda x, gain: way(x, gain).clone(), 1, 4, 1, 1), conv())
    assert transplant(reference, model, random_images(4, 8)).equal


def test_activations_that_are_overwritten_are_compared_as_they_were() -> None:
    def written(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        x = x + 1
        y = layers[0](x)
        return layers[1](x.mul_(2) + y.relu_())

    reference = Composed(written, conv(), conv())
    model = Composed(lambda layers, x: layers[1](2 * (x + 1) + layers[0](x + 1).relu()), conv(), conv())
    result = transplant(reference, model, random_images(4, 8))
    assert (result.divergence, result.by_order) == (None, ())
