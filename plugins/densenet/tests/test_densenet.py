"""Dense layers and transitions against their definition, and the DenseNets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convzoo
from convzoo import OptionError, part, ref
from convzoo.layers import DropPath
from convzoo.network.keys import key_map
from convzoo.testing.numerics import jitter_norms
from convzoo_densenet.layers import DenseLayer, Transition


def images(channels: int, size: int = 7) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(2, channels, size, size, dtype=torch.float64)


def made(part: Callable[..., nn.Module], channels: int, **options: Any) -> Any:
    """A part in double precision and eval mode, with norms that are not at their start."""
    torch.manual_seed(0)
    module = part(channels, **options).double().eval()
    jitter_norms(module)
    return module


def rectified(x: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
    scale = norm.weight / torch.sqrt(norm.running_var + 1e-5)
    return ((x - norm.running_mean.view(-1, 1, 1)) * scale.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)).clamp(min=0)


@pytest.mark.parametrize("dilation", [1, 2])
def test_a_dense_layer_appends_what_its_bottleneck_makes(dilation: int) -> None:
    layer = made(DenseLayer, 10, growth_rate=4, dilation=dilation)
    x = images(10)
    inner = F.conv2d(rectified(x, layer.branch.norm1), layer.branch.conv1.weight)
    new = F.conv2d(rectified(inner, layer.branch.norm2), layer.branch.conv2.weight, padding=dilation, dilation=dilation)
    assert layer.branch.conv1.out_channels == 16
    assert layer.out_channels == 14
    torch.testing.assert_close(layer(x), torch.cat([x, new], 1))


def test_without_a_bottleneck_there_is_one_convolution() -> None:
    layer = made(DenseLayer, 10, growth_rate=4, bottleneck=0)
    x = images(10)
    new = F.conv2d(rectified(x, layer.branch.norm1), layer.branch.conv1.weight, padding=1)
    torch.testing.assert_close(layer(x), torch.cat([x, new], 1))
    assert sum(isinstance(m, nn.Conv2d) for m in layer.modules()) == 1


@pytest.mark.parametrize("bottleneck", [0, 2])
def test_a_norm_that_gives_its_very_input_leaves_later_layers_what_they_read(bottleneck: int) -> None:
    identity: dict[str, Any] = {"norm": ref("none"), "act": ref("relu")}
    torch.manual_seed(0)
    layer = part("block", "dense", growth_rate=4, bottleneck=bottleneck, **identity)(10).double()
    x = images(10)
    new = x.clamp(min=0)
    if bottleneck:
        new = F.conv2d(new, layer.branch.conv1.weight).clamp(min=0)
    last = layer.branch.conv2 if bottleneck else layer.branch.conv1
    expected = torch.cat([x, F.conv2d(new, last.weight, padding=1)], 1)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(("stride", "compression", "channels"), [(2, 0.5, 3), (1, 1.0, 7), (2, 0.3, 2)])
def test_a_transition_compresses_then_pools(stride: int, compression: float, channels: int) -> None:
    transition = made(Transition, 7, stride=stride, compression=compression)
    x = images(7, 9)
    expected = F.conv2d(rectified(x, transition.norm), transition.conv.weight)
    expected = F.avg_pool2d(expected, 2) if stride == 2 else expected
    assert transition.out_channels == channels
    torch.testing.assert_close(transition(x), expected)


@pytest.mark.parametrize(("where", "sites"), [("every", 2), ("last", 1)])
def test_dropout_stands_where_it_is_asked_for(where: str, sites: int) -> None:
    model = convzoo.create_model("densenet40_k12_bc", dropout=0.2, dropout_after=where, device="meta")
    layer, transition = model.stages[0][0], model.stages[1][0]
    assert sum(isinstance(m, nn.Dropout) for m in layer.modules()) == sites
    assert sum(isinstance(m, nn.Dropout) for m in transition.modules()) == sites - 1
    names = list(dict(layer.branch.named_children()))
    assert names[names.index("conv2") + 1] == "dropout2"


def test_dropped_paths_leave_new_features_of_zero() -> None:
    model = convzoo.create_model("densenet40_k12_bc", drop_path_rate=0.5)
    rates = [m.rate for m in model.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0.5 * n / 17 for n in range(1, 18)]), "depth is counted in dense layers"
    layer = DenseLayer(4, growth_rate=2, drop_path_rate=0.5).train()
    torch.manual_seed(0)
    x = torch.randn(64, 4, 5, 5)
    out = layer(x)
    dropped = (out[:, 4:] == 0).all((1, 2, 3))
    assert 10 < int(dropped.sum()) < 54
    assert torch.equal(out[:, :4], x)


def test_attention_looks_at_the_new_features() -> None:
    class Half(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            assert channels == 4

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / 2

    torch.manual_seed(0)
    plain = DenseLayer(10, growth_rate=4).eval()
    torch.manual_seed(0)
    halved = DenseLayer(10, growth_rate=4, attention=Half).eval()
    x = torch.randn(2, 10, 5, 5)
    torch.testing.assert_close(halved(x)[:, 10:], plain(x)[:, 10:] / 2)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_dilated_networks_keep_the_size_and_dilate_the_3x3_convolutions(output_stride: int) -> None:
    model = convzoo.create_model("densenet121", output_stride=output_stride, device="meta")
    assert model(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 1000)
    assert model.forward_features(torch.empty(2, 3, 64, 64, device="meta")).shape[-1] == 64 // output_stride
    dilations = {stage[-2].branch.conv2.dilation[0] for stage in model.stages}
    assert max(dilations) == 32 // output_stride


def test_feature_levels_end_in_the_last_norm() -> None:
    levels = convzoo.create_model("densenet121", features_only=True, out_indices=(1, 4)).eval()
    assert levels.feature_info.channels() == [256, 1024]
    assert levels.feature_info.reduction() == [4, 32]
    with torch.no_grad():
        assert float(levels(torch.randn(2, 3, 64, 64))[1].min()) >= 0


def test_key_map_gives_torchvisions_names() -> None:
    names = key_map(convzoo.create_model("densenet121", device="meta"))
    assert names["stages.0.0.branch.norm1.weight"] == "features.denseblock1.denselayer1.norm1.weight"
    assert names["stages.3.16.branch.conv2.weight"] == "features.denseblock4.denselayer16.conv2.weight"
    assert names["stages.2.0.conv.weight"] == "features.transition2.conv.weight"
    assert names["stages.3.17.norm.bias"] == "features.norm5.bias"
    assert names["head.fc.weight"] == "classifier.weight"


@pytest.mark.parametrize(
    "options",
    [
        {"growth_rate": 0},
        {"bottleneck": -1},
        {"compression": 0.0},
        {"compression": 1.5},
        {"compression": 1e-3},
        {"dropout": 1.0},
        {"dropout_after": "first"},
        {"conv": ref("plain")},
    ],
)
def test_impossible_values_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        convzoo.create_model("densenet121", device="meta", **options)
