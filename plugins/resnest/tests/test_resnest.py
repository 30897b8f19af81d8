"""Split attention against its formula, and the ResNeSt networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
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
    def pools(stage: int, layer: int, avd: bool = True, **options: bool) -> bool:
        module = SplitAttention(16, 16, avd=avd, position=Position(stage, layer, 0, 8), **options)
        return isinstance(module.pool_after, nn.AvgPool2d)

    assert [pools(1, 0), pools(3, 0)] == [True, True]
    assert not any([pools(0, 0), pools(1, 1), pools(1, 0, avd=False), pools(1, 0, avd_dilated=False)])


class TheirSplitAttention(nn.Module):
    """Split attention under the names of the authors' PyTorch code."""

    def __init__(self, width: int, radix: int, cardinality: int, dilation: int) -> None:
        super().__init__()
        self.radix, self.cardinality = radix, cardinality
        wide, hidden = radix * width, max(radix * width // 4, 32)
        groups = radix * cardinality
        self.conv = nn.Conv2d(width, wide, 3, padding=dilation, dilation=dilation, groups=groups, bias=False)
        self.bn0, self.bn1 = nn.BatchNorm2d(wide), nn.BatchNorm2d(hidden)
        self.fc1 = nn.Conv2d(width, hidden, 1, groups=cardinality)
        self.fc2 = nn.Conv2d(hidden, wide, 1, groups=cardinality)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        slabs = self.bn0(self.conv(x)).relu().unflatten(1, (self.radix, -1))
        logits = self.fc2(self.bn1(self.fc1(slabs.sum(1).mean((2, 3), keepdim=True))).relu())
        logits = logits.view(len(x), self.cardinality, self.radix, -1).transpose(1, 2)
        weights = logits.softmax(1) if self.radix > 1 else logits.sigmoid()
        return (slabs * weights.reshape(len(x), self.radix, -1, 1, 1)).sum(1)


class TheirBlock(nn.Module):
    """A bottleneck of theirs. As the ``first`` of a stage it pools, strided or not; its shortcut pools if strided."""

    def __init__(self, before: int, planes: int, stride: int, dilation: int, first: bool, **split: Any) -> None:
        super().__init__()
        width = planes * split["base_width"] // 64 * split["cardinality"]
        self.conv1, self.bn1 = nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = TheirSplitAttention(width, split["radix"], split["cardinality"], dilation)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * planes, 1, bias=False), nn.BatchNorm2d(4 * planes)
        pool = nn.AvgPool2d(3, stride, padding=1) if first else nn.Identity()
        self.pools = (pool, nn.Identity()) if split["avd_first"] else (nn.Identity(), pool)
        self.downsample = nn.Identity()
        if stride > 1 or before != 4 * planes:
            average = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
            project = nn.Conv2d(before, 4 * planes, 1, bias=False)
            self.downsample = nn.Sequential(average, project, nn.BatchNorm2d(4 * planes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.pools[0](self.bn1(self.conv1(x)).relu())
        y = self.pools[1](self.conv2(y))
        return (self.bn3(self.conv3(y)) + self.downsample(x)).relu()


class TheirNetwork(nn.Module):
    """The network of their PyTorch code (resnest/torch/models/resnet.py, commit 1dfb3e8), dilated as theirs is."""

    def __init__(self, output_stride: int, planes: Sequence[int], width: int, **split: Any) -> None:
        super().__init__()
        conv, norm, act = partial(nn.Conv2d, padding=1, bias=False), nn.BatchNorm2d, nn.ReLU
        first = conv(3, width, 3, stride=2), norm(width), act(), conv(width, width, 3), norm(width), act()
        self.conv1 = nn.Sequential(*first, conv(width, 2 * width, 3))
        self.bn1 = norm(2 * width)
        channels, dilation = 2 * width, 1
        for number, plane in enumerate(planes):
            stride, previous = 2 if number else 1, dilation
            if 2 ** (number + 2) > output_stride:
                stride, dilation = 1, 2 * dilation
            layers = [TheirBlock(channels, plane, stride, previous, number > 0, **split)]
            layers.append(TheirBlock(4 * plane, plane, 1, dilation, False, **split))
            self.add_module(f"layer{number + 1}", nn.Sequential(*layers))
            channels = 4 * plane
        self.fc = nn.Linear(channels, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("output_stride", [32, 16, 8])
@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("resnest50", {"radix": 2, "cardinality": 1, "base_width": 64, "avd_first": False}),
        ("resnest50_fast_4s2x40d", {"radix": 4, "cardinality": 2, "base_width": 40, "avd_first": True}),
    ],
)
def test_dilated_networks_equal_the_authors(name: str, split: dict[str, Any], output_stride: int) -> None:
    torch.manual_seed(0)
    planes = (32, 32, 32, 64)
    theirs = TheirNetwork(output_stride, planes, width=32, **split).double().eval()
    jitter_norms(theirs)
    spec = convzoo.model_info(name).spec
    two = [convzoo.Stage(stage.layers[:2], stage.stride) for stage in spec.stages]
    options = {"output_stride": output_stride, "planes": convzoo.per_stage(*planes), "dtype": torch.float64}
    ours = convzoo.create_model(spec.derived(stages=two), weights=theirs.state_dict(), **options).eval()
    for size in ((64, 64), (65, 78), (33, 50)):
        x = torch.randn(1, 3, *size, dtype=torch.float64)
        assert torch.allclose(ours(x), theirs(x), rtol=0, atol=1e-12 * theirs(x).abs().max().item()), size


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
    ours, theirs = (convzoo.create_model(n, device="meta").spec.stages[0].layers[0].options for n in (name, alias))
    conv, shortcut = theirs["conv"].options, theirs["shortcut"].options
    assert (theirs["zero_init_last"], conv["divisor"], conv["avd_dilated"], shortcut["pool_dilated"]) == (
        True,
        8,
        False,
        True,
    )
    assert not {"zero_init_last"} & ours.keys()
    assert not {"divisor", "avd_dilated"} & ours["conv"].options.keys()
    assert ours["shortcut"].options["pool_dilated"] is False


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
