"""Squeeze-and-excitation, ECA and CBAM against their formulas, and the networks that are known by them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import nn

import convzoo
from convzoo.resnet.blocks import Basic, Bottleneck
from convzoo.testing.numerics import jitter_norms
from convzoo_attention.cbam import CBAM, SpatialGate
from convzoo_attention.eca import EfficientChannelAttention
from convzoo_attention.se import SqueezeExcite

TIMM = {"mlp_bias": False, "order": "mean_max", "spatial_momentum": 0.1, "spatial_zero_init": False}


def images(channels: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(2, channels, 5, 6, dtype=torch.float64)


def cbam_made(**options: object) -> CBAM:
    """CBAM of 32 channels in double precision and eval mode, with norms that are not at their start."""
    torch.manual_seed(0)
    cbam = CBAM(32, **options).double().eval()
    jitter_norms(cbam)
    return cbam


def perceptron(gate: nn.Module, pooled: torch.Tensor) -> torch.Tensor:
    """Two layers with a ReLU between them, on ``(N, C)``."""
    first, second = gate.fc1.weight.flatten(1), gate.fc2.weight.flatten(1)
    hidden = pooled @ first.T + (0 if gate.fc1.bias is None else gate.fc1.bias)
    return hidden.clamp(min=0) @ second.T + (0 if gate.fc2.bias is None else gate.fc2.bias)


def sigmoid(x: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + torch.exp(-x))


def spatial_factor(gate: SpatialGate, maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """The gate's factor for two maps ``(N, H, W)``: a 7x7 correlation, a norm with running statistics, a sigmoid."""
    height, width = maps[0].shape[1:]
    total = torch.zeros_like(maps[0])
    for number, values in enumerate(maps):
        padded = values.new_zeros(len(values), height + 6, width + 6)
        padded[:, 3:-3, 3:-3] = values
        for i in range(7):
            for j in range(7):
                total += gate.conv.weight[0, number, i, j] * padded[:, i : i + height, j : j + width]
    norm = gate.norm
    scaled = (total - norm.running_mean) / torch.sqrt(norm.running_var + 1e-5) * norm.weight + norm.bias
    return sigmoid(scaled)[:, None]


def layers(net: nn.Module) -> list[list[nn.Module]]:
    return [list(stage) for stage in net.stages]


def test_se_scales_each_channel_by_two_layers_of_all_means() -> None:
    x, se = images(32), SqueezeExcite(32, reduction=4).double()
    scale = sigmoid(perceptron(se, x.sum((2, 3)) / 30))
    assert torch.allclose(se(x), x * scale[:, :, None, None], atol=1e-12)


@pytest.mark.parametrize(("channels", "width"), [(64, 4), (256, 16), (250, 15), (16, 1), (8, 1)])
def test_se_squeezes_to_the_channels_over_the_reduction_rounded_down(channels: int, width: int) -> None:
    assert SqueezeExcite(channels).fc1.out_channels == width


@pytest.mark.parametrize(("channels", "width"), [(64, 8), (16, 8), (256, 16), (192, 16), (176, 8)])
def test_se_with_a_divisor_rounds_to_its_nearest_multiple(channels: int, width: int) -> None:
    assert SqueezeExcite(channels, divisor=8).fc1.out_channels == width


def test_a_part_by_its_name_is_made_by_hand() -> None:
    se, x = convzoo.part("attention", "se", reduction=8)(64), images(64).float()
    assert isinstance(se, SqueezeExcite)
    assert (se.fc1.in_channels, se.fc1.out_channels) == (64, 8)
    scale = sigmoid(perceptron(se, x.mean((2, 3))))
    torch.testing.assert_close(se(x), x * scale[:, :, None, None])
    with pytest.raises(convzoo.OptionError, match="reductions"):
        convzoo.part("attention", "se", reductions=8)(64)


def test_se_takes_the_activation_of_the_network() -> None:
    net = convzoo.create_model("seresnet20", act="silu", device="meta")
    assert isinstance(layers(net)[0][0].branch.attention.act, nn.SiLU)


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_eca_slides_one_window_over_the_means(kernel_size: int) -> None:
    x, eca = images(7), EfficientChannelAttention(7, kernel_size=kernel_size).double()
    means, weight = x.sum((2, 3)) / 30, eca.conv.weight.flatten()
    expected = torch.empty_like(x)
    for channel in range(7):
        neighbours = [(k, channel + k - kernel_size // 2) for k in range(kernel_size)]
        logit = sum(weight[k] * means[:, n] for k, n in neighbours if 0 <= n < 7)
        expected[:, channel] = x[:, channel] * sigmoid(logit)[:, None, None]
    assert torch.allclose(eca(x), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("channels", "kernel_size"), [(4, 3), (16, 3), (64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7)]
)
def test_eca_window_grows_with_the_channels(channels: int, kernel_size: int) -> None:
    eca = EfficientChannelAttention(channels)
    assert [p.shape for p in eca.parameters()] == [(1, 1, kernel_size)]


@pytest.mark.parametrize("pools", [("avg", "max"), ("avg",), ("max",), ("lp",), ("lse",), ("avg", "max", "lp", "lse")])
def test_cbam_channel_gate_sums_one_perceptron_over_its_pools(pools: tuple[str, ...]) -> None:
    x, cbam = images(32), CBAM(32, pools=pools, spatial=False).double()
    flat = x.flatten(2)
    values = {
        "avg": flat.sum(2) / 30,
        "max": flat.max(2).values,
        "lp": (flat * flat).sum(2).sqrt(),
        "lse": flat.exp().sum(2).log(),
    }
    scale = sigmoid(sum(perceptron(cbam.channel, values[pool]) for pool in pools))
    assert torch.allclose(cbam(x), x * scale[:, :, None, None], atol=1e-12)


def test_cbam_spatial_gate_looks_at_the_maximum_and_then_the_mean() -> None:
    x, cbam = images(32), cbam_made()
    gated = cbam.channel(x)
    factor = spatial_factor(cbam.spatial, [gated.max(1).values, gated.sum(1) / 32])
    assert torch.allclose(cbam(x), gated * factor, atol=1e-12)


def test_cbam_as_in_timm_flips_the_two_inputs_of_the_spatial_kernel() -> None:
    x, ours, timms = images(32), cbam_made(mlp_bias=False), cbam_made(**TIMM)
    state = ours.state_dict()
    timms.load_state_dict(state)
    assert not torch.allclose(timms(x), ours(x), atol=1e-3)
    timms.load_state_dict({**state, "spatial.conv.weight": state["spatial.conv.weight"].flip(1)})
    assert torch.allclose(timms(x), ours(x), atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_cbam_spatial_factor_starts_at_one_half_everywhere(training: bool) -> None:
    x, cbam = images(32), CBAM(32).double().train(training)
    assert torch.equal(cbam(x), 0.5 * cbam.channel(x))


def test_cbam_has_biases_a_slow_norm_and_a_quiet_start_unless_told() -> None:
    ours, timms = CBAM(32), CBAM(32, **TIMM)
    assert [name for name, _ in ours.named_parameters() if name.endswith("bias")] == [
        "channel.fc1.bias",
        "channel.fc2.bias",
        "spatial.norm.bias",
    ]
    assert [name for name, _ in timms.named_parameters() if name.endswith("bias")] == ["spatial.norm.bias"]
    assert (ours.spatial.norm.momentum, timms.spatial.norm.momentum) == (0.01, 0.1)
    assert (ours.spatial.norm.weight.item(), timms.spatial.norm.weight.item()) == (0, 1)


def test_cbam_without_spatial_gate_has_the_channel_gate_alone() -> None:
    assert [name for name, _ in CBAM(32, spatial=False).named_children()] == ["channel"]


def test_cbam_squeezes_to_a_sixteenth_and_at_least_one() -> None:
    assert [CBAM(channels).channel.fc1.out_channels for channels in (64, 2048, 8)] == [4, 128, 1]


@pytest.mark.parametrize(
    ("attention", "options", "message"),
    [
        (SqueezeExcite, {"reduction": 0}, "reduction must be at least 1"),
        (SqueezeExcite, {"divisor": 0}, "divisor must be at least 1"),
        (EfficientChannelAttention, {"kernel_size": 4}, "kernel_size must be an odd number"),
        (CBAM, {"reduction": 0}, "reduction must be at least 1"),
        (CBAM, {"spatial_kernel": 4}, "kernel.* must be an odd number"),
        (CBAM, {"pools": ()}, "pools must name at least one"),
    ],
)
def test_impossible_sizes_are_refused(attention: type[nn.Module], options: dict[str, object], message: str) -> None:
    with pytest.raises(convzoo.OptionError, match=message):
        attention(32, **options)


@pytest.mark.parametrize("name", ["se", "eca", "cbam"])
def test_attention_scales_the_branch_after_its_last_norm_and_leaves_the_shortcut(name: str) -> None:
    for variant, block, last in (("resnet18", Basic, "norm2"), ("resnet26", Bottleneck, "norm3")):
        layer = layers(convzoo.create_model(variant, attention=name, device="meta"))[1][0]
        assert isinstance(layer, block)
        assert [child for child, _ in layer.branch.named_children()][-2:] == [last, "attention"]
        assert [type(part) for part in layer.shortcut] == [nn.Conv2d, nn.BatchNorm2d]


def test_cbam_init_fills_convolutions_classifier_and_biases_and_leaves_the_rest_as_torch_starts_it() -> None:
    torch.manual_seed(0)
    net = convzoo.create_model("cbam_resnet18_cifar")
    first = layers(net)[3][0]
    gate = first.branch.attention
    assert net.stem.conv.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.1)
    assert first.branch.conv1.conv.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 512)), rel=0.01)
    assert gate.spatial.conv.weight.std().item() == pytest.approx(math.sqrt(2 / 49), rel=0.4)
    assert net.head.fc.weight.std().item() == pytest.approx(math.sqrt(2 / 512), rel=0.1)
    for layer, fan_in in ((first.shortcut[0], 256), (gate.channel.fc1, 512), (gate.channel.fc2, 32)):
        assert 0.95 < layer.weight.abs().max().item() * math.sqrt(fan_in) <= 1
    biases = [m.bias for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and m.bias is not None]
    assert len(biases) == 1 + 2 * 8
    assert not any(bias.any() for bias in biases)
    assert (gate.spatial.norm.weight.item(), first.branch.norm2.weight.min().item()) == (0, 1)


def test_every_layer_of_a_variant_has_its_attention() -> None:
    kinds = {"se": SqueezeExcite, "eca": EfficientChannelAttention, "cbam": CBAM}
    for name, kind in (("seresnet18", "se"), ("resnetrs50", "se"), ("ecaresnet26t", "eca"), ("cbam_resnet18", "cbam")):
        for stage in layers(convzoo.create_model(name, device="meta")):
            assert all(isinstance(block.branch.attention, kinds[kind]) for block in stage)


RELEASED = {
    "seresnet50_v1": "legacy_seresnet50",
    "seresnet101_v1": "legacy_seresnet101",
    "seresnet152_v1": "legacy_seresnet152",
    "seresnext50_32x4d_prototxt": "legacy_seresnext50_32x4d",
    "seresnext101_32x4d_prototxt": "legacy_seresnext101_32x4d",
    "senet154_prototxt": "legacy_senet154",
}


@pytest.mark.parametrize(("name", "legacy"), RELEASED.items())
def test_released_networks_pool_as_caffe_does_and_are_what_timm_calls_legacy(name: str, legacy: str) -> None:
    spec = convzoo.model_info(legacy).spec
    assert (spec.name, spec.reference("timm").name) == (name, legacy)
    assert spec.stem.options["pool"] == "max_ceil"


def test_released_se_resnets_stride_on_the_first_1x1_and_round_squeeze_widths_down() -> None:
    first = layers(convzoo.create_model("seresnet50_v1", device="meta"))[1][0]
    assert (first.branch.conv1.stride, first.branch.conv2.conv.stride) == ((2, 2), (1, 1))
    narrow = layers(convzoo.create_model("seresnet20", device="meta"))
    assert [stage[0].branch.attention.fc1.out_channels for stage in narrow] == [1, 2, 4]
    rounded = layers(convzoo.create_model("seresnet18", device="meta"))
    assert [stage[0].branch.attention.fc1.out_channels for stage in rounded] == [8, 8, 16, 32]


def test_senet154_has_3x3_projections_after_the_first_stage_and_a_halved_first_1x1() -> None:
    net = convzoo.create_model("senet154", device="meta")
    assert [m.out_channels for m in net.stem.conv if isinstance(m, nn.Conv2d)] == [64, 64, 128]
    firsts = [stage[0] for stage in layers(net)]
    assert [block.shortcut[0].kernel_size for block in firsts] == [(1, 1), (3, 3), (3, 3), (3, 3)]
    assert [block.shortcut[0].stride for block in firsts] == [(1, 1), (2, 2), (2, 2), (2, 2)]
    assert [block.branch.conv1.out_channels for block in firsts] == [128, 256, 512, 1024]
    assert [block.branch.conv2.conv.out_channels for block in firsts] == [256, 512, 1024, 2048]
    assert {block.branch.conv2.conv.groups for block in firsts} == {64}


def test_resnet_rs_pools_by_a_convolution_and_squeezes_to_a_quarter() -> None:
    net = convzoo.create_model("resnetrs50", device="meta")
    assert [type(m) for m in net.stem.pool] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    pool = net.stem.pool[0]
    assert (pool.kernel_size, pool.stride, pool.out_channels) == ((3, 3), (2, 2), 64)
    assert [stage[0].branch.attention.fc1.out_channels for stage in layers(net)] == [64, 128, 256, 512]
    assert [type(stage[0].shortcut[0]) for stage in layers(net)] == [nn.Identity, *[nn.AvgPool2d] * 3]


def test_ecaresnetlight_averages_in_its_shortcuts() -> None:
    net = convzoo.create_model("ecaresnetlight", device="meta")
    assert [type(stage[0].shortcut[0]) for stage in layers(net)] == [nn.Identity, *[nn.AvgPool2d] * 3]
    assert [len(stage) for stage in layers(net)] == [1, 1, 11, 3]
