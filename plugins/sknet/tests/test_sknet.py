"""Selective kernels against their formula, and the SKNet networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convzoo
from convzoo.layers import ConvNormAct
from convzoo.testing.numerics import jitter_norms
from convzoo_sknet.selective_kernel import SelectiveKernel


def images(channels: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(2, channels, 7, 8, dtype=torch.float64)


def normed(x: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
    """``x``, ``(N, C, ...)``, by running statistics, then rectified."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    scale = norm.weight / torch.sqrt(norm.running_var + 1e-5)
    x = (x - norm.running_mean.view(shape)) * scale.view(shape) + norm.bias.view(shape)
    return x.clamp(min=0)


def expected(module: SelectiveKernel, x: torch.Tensor, *, branches: int, groups: int, split: bool) -> torch.Tensor:
    """A selective kernel as the paper describes it; branch ``i`` is dilated by ``i``, counted from 1."""
    outputs = []
    for number, path in enumerate(module.paths):
        dilation, share = number + 1, x.shape[1] // branches
        part = x[:, number * share : (number + 1) * share] if split else x
        conv = F.conv2d(part, path.conv.weight, padding=dilation, dilation=dilation, groups=groups)
        outputs.append(normed(conv, path.norm))
    channels = outputs[0].shape[1]
    pooled = sum(outputs).sum((2, 3)) / (x.shape[2] * x.shape[3])
    hidden = normed(pooled @ module.reduce.weight.flatten(1).T, module.norm)
    odds = (hidden @ module.select.weight.flatten(1).T).exp()
    odds = [odds[:, b * channels : (b + 1) * channels] for b in range(branches)]
    weights = [odd / sum(odds) for odd in odds]
    return sum(output * weight[:, :, None, None] for output, weight in zip(outputs, weights, strict=True))


def layers(name: str, **options: object) -> list[list[nn.Module]]:
    net = convzoo.create_model(name, device="meta", **options)
    return [list(stage) for stage in net.stages]


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("branches", [2, 3])
def test_selective_kernel_weighs_its_branches_channel_by_channel(branches: int, groups: int, split: bool) -> None:
    x = images(24)
    torch.manual_seed(0)
    module = SelectiveKernel(24, 16, branches=branches, groups=groups, split_input=split).double().eval()
    jitter_norms(module)
    wanted = expected(module, x, branches=branches, groups=groups, split=split)
    assert torch.allclose(module(x), wanted, atol=1e-12)


@pytest.mark.parametrize(("branches", "dilation", "dilations"), [(2, 1, [1, 2]), (3, 1, [1, 2, 3]), (2, 2, [2, 4])])
def test_branches_are_3x3_and_ever_more_dilated(branches: int, dilation: int, dilations: list[int]) -> None:
    module = SelectiveKernel(8, 8, branches=branches, dilation=dilation)
    assert [path.conv.dilation[0] for path in module.paths] == dilations
    assert {path.conv.kernel_size for path in module.paths} == {(3, 3)}


def test_every_branch_takes_the_stride() -> None:
    module = SelectiveKernel(8, 8, stride=2)
    assert [path.conv.stride for path in module.paths] == [(2, 2), (2, 2)]
    assert module(images(8).float()).shape == (2, 8, 4, 4)


@pytest.mark.parametrize(("channels", "width"), [(128, 32), (256, 32), (512, 32), (1024, 64), (1000, 62)])
def test_hidden_width_is_a_sixteenth_and_at_least_32(channels: int, width: int) -> None:
    with torch.device("meta"):
        module = SelectiveKernel(channels, channels)
    assert (module.reduce.out_channels, module.select.in_channels) == (width, width)


@pytest.mark.parametrize(
    ("channels", "reduction", "divisor", "width"),
    [(64, 16, 8, 8), (1000, 16, 8, 64), (64, 8, 16, 16), (512, 8, 16, 64)],
)
def test_hidden_width_with_a_divisor_is_rounded_to_its_nearest_multiple(
    channels: int, reduction: int, divisor: int, width: int
) -> None:
    with torch.device("meta"):
        module = SelectiveKernel(channels, channels, reduction=reduction, divisor=divisor, min_width=divisor)
    assert module.reduce.out_channels == width


def test_split_input_gives_each_branch_its_share_and_the_whole_output() -> None:
    paths = SelectiveKernel(24, 16, split_input=True, branches=3).paths
    assert [(path.conv.in_channels, path.conv.out_channels) for path in paths] == [(8, 16)] * 3


def test_attention_has_no_biases() -> None:
    module = SelectiveKernel(16, 16)
    assert [module.reduce.bias, module.select.bias] == [None, None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"branches": 1}, "branches must be at least 2"),
        ({"reduction": 0}, "reduction must be at least 1"),
        ({"min_width": 0}, "min_width must be at least 1"),
        ({"split_input": True, "branches": 3}, "3 branches equal shares of 16 channels"),
        ({"groups": 3}, "3 does not divide the 16 channels"),
    ],
)
def test_impossible_sizes_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(convzoo.OptionError, match=message):
        SelectiveKernel(16, 16, **options)


def test_activation_reaches_branches_and_attention() -> None:
    conv = layers("skresnet18", act="silu")[0][0].branch.conv1
    assert [type(m) for m in (conv.paths[0].act, conv.paths[1].act, conv.act)] == [nn.SiLU] * 3


def test_dilated_stages_dilate_both_branches() -> None:
    last = layers("skresnext50_32x4d", output_stride=8)[3]
    dilations = [[path.conv.dilation[0] for path in layer.branch.conv2.paths] for layer in last]
    assert dilations == [[2, 4], [4, 8], [4, 8]]


@pytest.mark.parametrize(
    ("name", "widths"), [("sknet50", [32, 32, 32, 64]), ("sknet101", [32, 32, 32, 64]), ("sknet152", [32, 32, 32, 64])]
)
def test_the_papers_networks_follow_the_rule_for_the_hidden_width(name: str, widths: list[int]) -> None:
    for stage, width in zip(layers(name), widths, strict=True):
        assert {layer.branch.conv2.reduce.out_channels for layer in stage} == {width}
        assert {path.conv.groups for layer in stage for path in layer.branch.conv2.paths} == {32}


def released(state: dict[str, torch.Tensor], depths: list[int], x: torch.Tensor) -> torch.Tensor:
    """The network of the authors' sknet101.prototxt, layer by layer, with the weights of ours."""

    def conv(x: torch.Tensor, name: str, **options: int) -> torch.Tensor:
        return F.conv2d(x, state[f"{name}.weight"], **options)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        kinds = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{name}.{kind}"] for kind in kinds), eps=1e-5)

    x = norm(conv(x, "stem.conv", stride=2, padding=3), "stem.norm").relu()
    x = F.max_pool2d(x, kernel_size=3, stride=2, padding=0, ceil_mode=True)
    for block in (f"stages.{stage}.{layer}" for stage, depth in enumerate(depths) for layer in range(depth)):
        stride = 2 if block.endswith(".0") and not block.startswith("stages.0") else 1
        unit = f"{block}.branch.conv2"
        y = norm(conv(x, f"{block}.branch.conv1"), f"{block}.branch.norm1").relu()
        paths = [
            norm(conv(y, f"{path}.conv", stride=stride, padding=d, dilation=d, groups=32), f"{path}.norm").relu()
            for d, path in ((1, f"{unit}.paths.0"), (2, f"{unit}.paths.1"))
        ]
        squeezed = norm(conv(sum(paths).mean((2, 3), keepdim=True), f"{unit}.reduce"), f"{unit}.norm").relu()
        first, second = conv(squeezed, f"{unit}.select").unflatten(1, (2, -1)).softmax(1).unbind(1)
        y = norm(conv(first * paths[0] + second * paths[1], f"{block}.branch.conv3"), f"{block}.branch.norm3")
        if block.endswith(".0"):
            x = norm(conv(x, f"{block}.shortcut.0", stride=stride), f"{block}.shortcut.1")
        x = (x + y).relu()
    return F.linear(x.mean((2, 3)), state["head.fc.weight"], state["head.fc.bias"])


@pytest.mark.parametrize("name", ["sknet50_prototxt", "sknet101_prototxt"])
def test_released_networks_equal_their_prototxt_and_with_a_padded_pool_they_do_not(name: str) -> None:
    spec = convzoo.model_info(name).spec
    spec = spec.derived(stages=[convzoo.Stage(stage.layers[:2], stage.stride) for stage in spec.stages])
    torch.manual_seed(0)
    options = {"planes": convzoo.per_stage(32, 48, 64, 80), "dtype": torch.float64}
    ours = convzoo.create_model(spec, **options).eval()
    jitter_norms(ours)
    padded = convzoo.create_model(spec, pool="max", weights=ours.state_dict(), **options).eval()
    for size in ((64, 64), (65, 51)):
        x = torch.randn(1, 3, *size, dtype=torch.float64)
        wanted = released(ours.state_dict(), [2, 2, 2, 2], x)
        torch.testing.assert_close(ours(x), wanted, rtol=0, atol=1e-12)
        assert (padded(x) - wanted).abs().max() > 1e-3 * wanted.abs().max()


def test_released_sknet101_has_a_hidden_width_of_16_in_its_second_stage_only() -> None:
    for stage, width in zip(layers("sknet101_prototxt"), [32, 16, 32, 64], strict=True):
        assert {layer.branch.conv2.reduce.out_channels for layer in stage} == {width}


@pytest.mark.parametrize(("name", "split"), [("skresnet50", True), ("skresnet50d", True), ("skresnext50_32x4d", False)])
def test_only_timms_own_bottleneck_networks_split_the_input(name: str, split: bool) -> None:
    for stage in layers(name):
        for layer in stage:
            conv = layer.branch.conv2
            assert conv.paths[0].conv.in_channels * (2 if split else 1) == layer.branch.conv1.out_channels


def test_basic_networks_select_kernels_in_their_first_convolution_only() -> None:
    for stage in layers("skresnet18"):
        for layer in stage:
            assert isinstance(layer.branch.conv1, SelectiveKernel)
            assert isinstance(layer.branch.conv2, nn.Conv2d)
    first = layers("skresnet18")[1][0]
    assert [path.conv.in_channels for path in first.branch.conv1.paths] == [32, 32]
    assert [path.conv.stride for path in first.branch.conv1.paths] == [(2, 2), (2, 2)]
    assert [type(path) for path in first.branch.conv1.paths] == [ConvNormAct, ConvNormAct]


def test_last_norms_start_at_one_as_in_timms_networks() -> None:
    block = convzoo.create_model("skresnet18", num_classes=0).stages[0][0]
    assert block.branch.norm2.weight.min() == 1
