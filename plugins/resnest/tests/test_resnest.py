"""Split attention against its formula, and the ResNeSt networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convzoo
from convzoo import ref
from convzoo.layers import Position
from convzoo.testing.numerics import jitter_norms
from convzoo_resnest.basic import SplitAttentionBasic
from convzoo_resnest.split_attention import SplitAttention

# timm's name, the name here
ALIASES = {
    "resnest50d": "resnest50",
    "resnest101e": "resnest101",
    "resnest200e": "resnest200",
    "resnest269e": "resnest269",
    "resnest50d_4s2x40d": "resnest50_fast_4s2x40d",
    "resnest50d_1s4x24d": "resnest50_fast_1s4x24d",
}


def images(channels: int = 16) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(2, channels, 5, 6, dtype=torch.float64)


def made(part: Callable[..., nn.Module], **options: Any) -> Any:
    """A part of 16 channels in double precision and eval mode, with norms that are not at their start."""
    torch.manual_seed(0)
    module = part(16, **options).double().eval()
    jitter_norms(module)
    return module


def normed(x: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
    """``x``, ``(N, C, ...)``, by running statistics."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    scale = norm.weight / torch.sqrt(norm.running_var + 1e-5)
    return (x - norm.running_mean.view(shape)) * scale.view(shape) + norm.bias.view(shape)


def by_group(conv: nn.Conv2d, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """A grouped 1x1 convolution with bias, group by group, on pooled features ``(N, C / groups)``."""
    weights = conv.weight.flatten(1).chunk(conv.groups)
    biases = conv.bias.chunk(conv.groups)
    return [x @ weight.T + bias for x, weight, bias in zip(inputs, weights, biases, strict=True)]


def expected(module: SplitAttention, x: torch.Tensor, cardinality: int, radix: int) -> torch.Tensor:
    """Split attention as the authors describe it, with every group written out."""
    weights = module.conv.weight.chunk(cardinality * radix)
    inputs = x.chunk(cardinality * radix, 1)
    wide = torch.cat([F.conv2d(i, w, padding=1) for i, w in zip(inputs, weights, strict=True)], 1)
    wide = normed(wide, module.norm0).clamp(min=0)
    width = wide.shape[1] // radix
    slabs = [wide[:, r * width : (r + 1) * width] for r in range(radix)]
    pooled = sum(slabs).sum((2, 3)) / (x.shape[2] * x.shape[3])
    hidden = torch.cat(by_group(module.fc1, pooled.chunk(cardinality, 1)), 1)
    hidden = normed(hidden, module.norm1).clamp(min=0)
    logits = by_group(module.fc2, hidden.chunk(cardinality, 1))
    share = width // cardinality
    result = torch.zeros_like(slabs[0])
    for group, values in enumerate(logits):
        channels = slice(group * share, (group + 1) * share)
        parts = [values[:, r * share : (r + 1) * share] for r in range(radix)]
        total = sum(part.exp() for part in parts)
        for slab, part in zip(slabs, parts, strict=True):
            weight = part.exp() / total if radix > 1 else 1 / (1 + (-part).exp())
            result[:, channels] += slab[:, channels] * weight[:, :, None, None]
    return result


def layers(name: str, **options: object) -> list[list[nn.Module]]:
    net = convzoo.create_model(name, device="meta", **options)
    return [list(stage) for stage in net.stages]


@pytest.mark.parametrize("radix", [1, 2, 4])
@pytest.mark.parametrize("cardinality", [1, 2])
def test_split_attention_weighs_its_splits_group_by_group(cardinality: int, radix: int) -> None:
    x, module = images(), made(SplitAttention, out_channels=24, groups=cardinality, radix=radix, min_width=4)
    assert torch.allclose(module(x), expected(module, x, cardinality, radix), atol=1e-12)


def test_one_split_is_gated_by_a_sigmoid() -> None:
    x, module = images(), made(SplitAttention, out_channels=16, radix=1)
    nn.init.zeros_(module.fc2.weight)
    nn.init.zeros_(module.fc2.bias)
    assert torch.allclose(module(x), 0.5 * module.act0(module.norm0(module.conv(x))), atol=1e-12)


@pytest.mark.parametrize(
    ("width", "radix", "divisor", "hidden"),
    [(104, 2, 1, 52), (104, 2, 8, 56), (64, 1, 1, 32), (64, 2, 1, 32), (64, 4, 1, 64), (150, 1, 1, 37), (16, 1, 8, 32)],
)
def test_hidden_width_is_a_quarter_of_all_splits_and_at_least_32(
    width: int, radix: int, divisor: int, hidden: int
) -> None:
    with torch.device("meta"):
        assert SplitAttention(width, width, radix=radix, divisor=divisor).fc1.out_channels == hidden


def test_hidden_width_follows_the_channels_that_come_in() -> None:
    with torch.device("meta"):
        assert SplitAttention(256, 64, radix=2).fc1.out_channels == 128


@pytest.mark.parametrize("first", [True, False])
def test_average_pool_takes_the_stride_on_its_side_of_the_convolution(first: bool) -> None:
    x, plain = images(), made(SplitAttention, out_channels=16)
    pooled = made(SplitAttention, out_channels=16, stride=2, avd=True, avd_first=first)
    pooled.load_state_dict(plain.state_dict())

    def pool(image: torch.Tensor) -> torch.Tensor:
        padded = F.pad(image, (1, 1, 1, 1))
        windows = padded.unfold(2, 3, 2).unfold(3, 3, 2)
        return windows.sum((4, 5)) / 9

    wanted = plain(pool(x)) if first else pool(plain(x))
    assert wanted.shape == (2, 16, 3, 3)
    assert torch.allclose(pooled(x), wanted, atol=1e-12)


def test_without_average_pool_the_convolution_takes_the_stride() -> None:
    x, module = images(), made(SplitAttention, out_channels=16, stride=2)
    assert (module.conv.stride, module(x).shape) == ((2, 2), (2, 16, 3, 3))


def test_average_pool_stands_in_the_first_layer_of_a_stage_but_not_of_the_first_stage() -> None:
    def pools(stage: int, layer: int, avd: bool = True) -> bool:
        module = SplitAttention(16, 16, avd=avd, position=Position(stage, layer, 0, 8))
        return isinstance(module.pool_after, nn.AvgPool2d)

    assert [pools(1, 0), pools(3, 0)] == [True, True]
    assert [pools(0, 0), pools(1, 1), pools(1, 0, avd=False)] == [False, False, False]


def test_dilated_stages_keep_their_pool_at_stride_1() -> None:
    found = [
        [(m.kernel_size, m.stride) for m in [layer.branch.conv2.pool_after] if isinstance(m, nn.AvgPool2d)]
        for stage in layers("resnest26d", output_stride=8)
        for layer in stage
    ]
    assert found == [[], [], [(3, 2)], [], [(3, 1)], [], [(3, 1)], []]


def test_dilated_stages_dilate_their_split_attention() -> None:
    stages = layers("resnest26d", output_stride=8)
    assert [layer.branch.conv2.conv.dilation[0] for stage in stages for layer in stage] == [1, 1, 1, 1, 1, 2, 2, 4]


def test_activation_reaches_the_attention() -> None:
    net = convzoo.create_model("resnest14d", act="silu", device="meta")
    conv = net.stages[0][0].branch.conv2
    assert isinstance(conv.act0, nn.SiLU)
    assert isinstance(conv.act1, nn.SiLU)
    assert not any(isinstance(module, nn.ReLU) for module in net.modules())


def test_drop_path_stands_at_the_end_of_the_branch_only() -> None:
    for stage in layers("resnest14d", drop_path_rate=0.3)[1:]:
        assert next(reversed(dict(stage[0].branch.named_children()))) == "drop_path"
        assert "drop_path" not in dict(stage[0].shortcut.named_children())


def test_split_attention_without_activation_lets_negative_values_pass() -> None:
    x, module = images(), SplitAttention(16, 16, activate=False).double()
    assert (module(x) < 0).any()
    assert not (SplitAttention(16, 16).double()(x) < 0).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radix": 0}, "radix must be at least 1"),
        ({"reduction": 0}, "reduction must be at least 1"),
        ({"radix": 3}, "3 does not divide the 16 channels in"),
        ({"groups": 8, "radix": 1, "min_width": 4, "reduction": 8}, "8 does not divide the 16 channels in and 4 out"),
    ],
)
def test_impossible_sizes_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(convzoo.OptionError, match=message):
        SplitAttention(16, 16, **options)


def test_basic_block_pools_before_a_split_attention_that_has_no_activation() -> None:
    block = SplitAttentionBasic(16, planes=32, stride=2)
    assert [name for name, _ in block.branch.named_children()] == ["conv1", "pool", "conv2"]
    assert (block.branch.conv1.conv.stride, block.branch.conv2.conv.stride) == ((1, 1), (1, 1))
    assert (block.branch.pool.kernel_size, block.branch.pool.stride) == (3, 2)
    assert isinstance(block.branch.conv2.act0, nn.Identity)
    assert block(images().float()).shape == (2, 32, 3, 3)


def test_basic_block_without_stride_has_no_pool_and_its_input_as_shortcut() -> None:
    block = made(SplitAttentionBasic, planes=16)
    x = images()
    assert [name for name, _ in block.branch.named_children()] == ["conv1", "conv2"]
    assert torch.allclose(block(x), (block.branch(x) + x).clamp(min=0), atol=1e-12)


def test_split_attention_goes_into_the_slot_of_another_block() -> None:
    for name, conv in (("resnet18", "conv1"), ("resnet26", "conv2")):
        for stage in layers(name, conv=ref("split_attention", radix=4)):
            module = stage[1].branch.get_submodule(conv)
            assert isinstance(module, SplitAttention)
            assert module.conv.groups == 4


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_timms_names_stand_for_the_same_network_with_timms_options(alias: str, name: str) -> None:
    info = convzoo.model_info(alias)
    assert info.spec.name == name
    ours = info.spec.stages[0].layers[0].options
    theirs = convzoo.create_model(alias, device="meta").spec.stages[0].layers[0].options
    assert (theirs["zero_init_last"], theirs["conv"].options["divisor"]) == (True, 8)
    assert ("zero_init_last" in ours, "divisor" in ours["conv"].options) == (False, False)


@pytest.mark.parametrize(
    ("name", "radix", "cardinality", "width"),
    [("resnest50_fast_4s2x40d", 4, 2, 80), ("resnest50_fast_1s4x24d", 1, 4, 96), ("resnest50", 2, 1, 64)],
)
def test_names_give_radix_cardinality_and_width(name: str, radix: int, cardinality: int, width: int) -> None:
    for number, stage in enumerate(layers(name)):
        for layer in stage:
            conv = layer.branch.conv2
            assert (conv.radix, conv.conv.groups, conv.out_channels) == (radix, radix * cardinality, width * 2**number)
            assert (conv.fc1.groups, conv.fc2.groups) == (cardinality, cardinality)


def test_fast_variants_pool_before_the_convolution_and_the_others_after() -> None:
    for name, kinds in (
        ("resnest50_fast_2s1x64d", [nn.AvgPool2d, nn.Identity]),
        ("resnest50", [nn.Identity, nn.AvgPool2d]),
    ):
        conv = layers(name)[1][0].branch.conv2
        assert [type(conv.pool_before), type(conv.pool_after)] == kinds


def test_networks_have_a_deep_stem_and_average_in_their_shortcuts() -> None:
    for name, width in (("resnest50", 32), ("resnest101", 64), ("resnest18", 32)):
        net = convzoo.create_model(name, device="meta")
        convs = [m for m in net.stem.conv if isinstance(m, nn.Conv2d)]
        assert [m.out_channels for m in convs] == [width, width, 2 * width]
        assert [type(stage[0].shortcut[0]) for stage in list(net.stages)[1:]] == [nn.AvgPool2d] * 3
