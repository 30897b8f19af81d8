"""transplant names what has no counterpart, and the first place where two networks part."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from convzoo.testing import transplant

from .nets import Composed, chain, conv, four_convs, moved, random_images, refused


def test_wrong_shapes_are_refused_with_names_on_both_sides() -> None:
    reference = nn.Sequential(conv(), nn.BatchNorm2d(4), conv(), nn.ReLU(), conv(kernel=3))
    model = Composed(chain, conv(), nn.BatchNorm2d(4), conv(), nn.ReLU(), conv(kernel=5))
    message = refused(reference, model, random_images(4, 8))
    assert "only in the reference, 1:\n  operation 4: conv2d of 4, weight (4, 4, 3, 3), bias (4,)" in message
    assert "only in the model, 1:\n  operation 4: conv2d of layers.4, weight (4, 4, 5, 5), bias (4,)" in message
    assert "layers.2" not in message


def test_the_layer_that_is_too_many_is_named() -> None:
    reference = nn.Sequential(conv(), nn.ReLU(), conv(4, 8), nn.ReLU(), conv(8, 4))
    model = nn.Sequential(conv(), nn.ReLU(), conv(4, 8), nn.ReLU(), conv(8, 4), conv())
    message = refused(reference, model, random_images(4, 8))
    assert "only in the reference, 0:\nonly in the model, 1:\n  operation 4: conv2d of 5," in message


def test_a_bias_on_one_side_only_is_refused() -> None:
    model = nn.Sequential(conv(bias=False), nn.BatchNorm2d(4))
    message = refused(nn.Sequential(conv(), nn.BatchNorm2d(4)), model, random_images(4, 8))
    assert "only in the reference, 1:\n  operation 1: conv2d of 0, weight (4, 4, 3, 3), bias (4,)" in message
    assert "only in the model, 1:\n  operation 1: conv2d of 0, weight (4, 4, 3, 3)\n" in message


def test_a_depthwise_convolution_is_no_row_of_kernels() -> None:
    message = refused(
        nn.Conv2d(3, 3, 3, groups=3, bias=False), nn.Conv2d(3, 3, (1, 3), bias=False), random_images(3, 8)
    )
    assert "(3, 1, 3, 3)" in message
    assert "(3, 3, 1, 3)" in message


def test_the_first_place_where_two_networks_part_is_named() -> None:
    reference, model = nn.Sequential(*four_convs(nn.ReLU6()).layers), four_convs(nn.SiLU())  # type: ignore[arg-type]
    result = transplant(reference, model, random_images(4, 16))
    assert result.largest_difference > 1e-3
    found = result.divergence
    assert found is not None
    assert (found.where, found.op, found.after) == ("input", "conv2d", "layers.7.weight")
    assert (found.reference, found.model) == ("9.weight", "layers.9.weight")
    assert found.difference > 1e-3
    assert str(found) in str(result)
    assert str(found).startswith(
        "the input of conv2d with layers.9.weight (reference: 9.weight), after layers.7.weight,"
    )
    # All before it was found by its input, the rest only by its order.
    assert result.by_order[0] == "layers.9.weight"
    assert len(result.by_order) == 5
    assert moved(result) == {(name.removeprefix("layers."), name) for _, name in moved(result)}


def test_an_option_of_a_layer_that_differs_is_named() -> None:
    model = nn.Sequential(conv(), nn.BatchNorm2d(4, eps=1e-3), nn.ReLU(), conv())
    result = transplant(nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU(), conv()), model, random_images(4, 8))
    found = result.divergence
    assert found is not None
    assert (found.where, found.op, found.model) == ("output", "batch_norm", "1.weight")
    assert found.note == "eps 0.001, the reference's 1e-05"


def test_other_sizes_on_the_way_are_a_difference_and_no_error() -> None:
    class Pooled(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).mean((2, 3))

    result = transplant(Pooled(conv(), conv()), Pooled(conv(), nn.MaxPool2d(2), conv()), random_images(4, 8))
    assert result.divergence is not None
    assert result.divergence.note == "shape (2, 4, 4, 4), the reference's (2, 4, 8, 8)"
    assert 0 < result.largest_difference < 100


def test_a_difference_behind_the_last_layer_is_the_networks() -> None:
    result = transplant(nn.Sequential(conv(), nn.ReLU()), nn.Sequential(conv(), nn.SiLU()), random_images(4, 8))
    assert result.divergence is not None
    assert str(result.divergence).startswith("the output of the network differs by")
    assert result.by_order == ()


def test_outputs_are_compared_by_key_or_else_by_order() -> None:
    reference = Composed(lambda layers, x: {"a": layers[0](x), "b": (x, [layers[1](x)])}, conv(), conv())
    model = Composed(lambda layers, x: {"b": (x, [layers[1](x)]), "a": layers[0](x)}, conv(), conv())
    result = transplant(reference, model, random_images(4, 8))
    assert result.equal, result
    assert len(result.output_shapes) == 3
    tupled = Composed(lambda layers, x: (layers[1](x), x, layers[0](x)), conv(), conv())
    assert transplant(reference, tupled, random_images(4, 8)).equal
    assert "cannot be compared" in refused(
        reference, Composed(lambda m, x: (m[0](x), m[1](x)), conv(), conv()), random_images(4, 8)
    )


def test_the_largest_difference_is_that_of_the_worst_output() -> None:
    reference = Composed(lambda layers, x: (layers[0](x), 100 * x), conv())
    model = Composed(lambda layers, x: (layers[0](x) + 1, 100 * x + 2), conv())
    result = transplant(reference, model, random_images(4, 8))
    assert result.largest_difference == pytest.approx(2)
    assert result.largest_relative > 0.1


@pytest.mark.parametrize("wrap", [lambda y: y[:, :, ::2], lambda y: (y, y), lambda y: None])
def test_other_outputs_are_refused_and_nothing_is_done(wrap: Callable[[torch.Tensor], object]) -> None:
    reference = Composed(lambda layers, x: layers[0](x), conv())
    assert "cannot be compared" in refused(reference, Composed(lambda m, x: wrap(m[0](x)), conv()), random_images(4, 8))


def test_the_report_is_short_and_is_what_a_failed_assertion_shows() -> None:
    result = transplant(nn.Sequential(conv(), nn.ReLU()), Composed(chain, conv(), nn.ReLU()), random_images(4, 8))
    assert str(result) == repr(result)
    assert str(result) == "equal, and 2 tensors copied; outputs (2, 4, 8, 8) differ by at most 0 (relative 0)"
    assert result.mapping["0.weight"] == "layers.0.weight"
