"""Each convolution against its formula. What all parts promise is examined by the conformance kit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import convzoo
from convzoo import Model, Stage, ref
from convzoo.layers import ChannelShuffle, ConvNormAct
from convzoo.testing.numerics import jitter_norms
from convzoo_convs.deformable import Deformable, DeformConv2d
from convzoo_convs.dilated import dilated
from convzoo_convs.inception import Inception, widths
from convzoo_convs.separable import DepthwiseSeparable, SpatiallySeparable
from convzoo_convs.shuffled import Shuffled

PARTS = {
    "depthwise_separable": DepthwiseSeparable,
    "spatially_separable": SpatiallySeparable,
    "shuffled": Shuffled,
    "dilated": dilated,
    "deformable": Deformable,
    "inception": Inception,
}
GEOMETRIES = [(1, 1, 1), (2, 2, 2)]
"""Stride, groups, dilation."""
LAST = torch.channels_last


def images(channels: int = 16, height: int = 7, width: int = 8) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(2, channels, height, width, dtype=torch.float64)


def made(name: str, options: dict[str, Any], **given: Any) -> Any:
    """A part of 16 channels in and 32 out, in double precision, with norms and offsets that are not at their start."""
    torch.manual_seed(0)
    module = PARTS[name](16, 32, **options, **given).double().eval()
    jitter_norms(module)
    if isinstance(module, Deformable):
        nn.init.normal_(module.offset.weight, std=0.1)
        nn.init.normal_(module.offset.bias)
    return module


def normed(x: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
    """``x`` by running statistics, then rectified."""
    scale = norm.weight / torch.sqrt(norm.running_var + 1e-5)
    x = (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]
    return x.clamp(min=0)


def convolved(part: ConvNormAct, x: torch.Tensor, **options: Any) -> torch.Tensor:
    return normed(F.conv2d(x, part.conv.weight, **options), part.norm)


def close(actual: torch.Tensor, wanted: torch.Tensor) -> bool:
    return actual.shape == wanted.shape and torch.allclose(actual, wanted, atol=1e-11)


@pytest.mark.parametrize(("stride", "groups", "dilation"), GEOMETRIES)
@pytest.mark.parametrize("size", [3, 5])
def test_depthwise_separable_is_each_channel_by_itself_then_all_in_each_pixel(
    size: int, stride: int, groups: int, dilation: int
) -> None:
    x = images()
    module = made("depthwise_separable", {"kernel_size": size}, stride=stride, groups=groups, dilation=dilation)
    pad, kernels = size // 2 * dilation, module.depthwise.conv.weight
    alone = [
        F.conv2d(x[:, c : c + 1], kernels[c : c + 1], stride=stride, padding=pad, dilation=dilation) for c in range(16)
    ]
    wanted = convolved(module.pointwise, normed(torch.cat(alone, 1), module.depthwise.norm), groups=groups)
    assert close(module(x), wanted)
    assert kernels.shape == (16, 1, size, size)


@pytest.mark.parametrize(("stride", "groups", "dilation"), GEOMETRIES)
@pytest.mark.parametrize("size", [3, 7])
def test_spatially_separable_is_a_row_then_a_column(size: int, stride: int, groups: int, dilation: int) -> None:
    x = images()
    module = made("spatially_separable", {"kernel_size": size}, stride=stride, groups=groups, dilation=dilation)
    pad, shared = size // 2 * dilation, {"groups": groups, "dilation": dilation}
    assert (module.conv1.weight.shape[2:], module.conv2.weight.shape[2:]) == ((1, size), (size, 1))
    row = normed(F.conv2d(x, module.conv1.weight, stride=(1, stride), padding=(0, pad), **shared), module.norm1)
    column = F.conv2d(row, module.conv2.weight, stride=(stride, 1), padding=(pad, 0), **shared)
    assert close(module(x), normed(column, module.norm2))


def test_spatially_separable_without_activation_is_a_square_kernel_of_rank_one() -> None:
    x = images(1)
    module = SpatiallySeparable(1, 1, stride=2, kernel_size=5, norm=nn.Identity, act=nn.Identity).double()
    kernel = module.conv2.weight @ module.conv1.weight
    assert close(module(x), F.conv2d(x, kernel, stride=2, padding=2))


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("groups", [2, 4, 8])
def test_shuffled_is_a_grouped_convolution_then_a_permutation(groups: int, stride: int, dilation: int) -> None:
    x = images()
    module = made("shuffled", {"shuffle_groups": groups}, stride=stride, dilation=dilation)
    grouped = convolved(module, x, stride=stride, padding=dilation, dilation=dilation, groups=groups)
    width = 32 // groups
    # The first channel of each group, then the second of each, and so on.
    order = [group * width + place for place in range(width) for group in range(groups)]
    for image in (x, x.to(memory_format=LAST)):
        assert close(module(image), grouped[:, order])


def test_a_second_shuffled_convolution_sees_channels_of_every_group_of_the_first() -> None:
    x = images().requires_grad_()
    net = nn.Sequential(*(Shuffled(16, 16, shuffle_groups=4, act=nn.Identity) for _ in range(2))).double().eval()
    net(x)[:, 0].sum().backward()
    assert (x.grad.abs().sum((0, 2, 3)) > 0).all()


@pytest.mark.parametrize(("cardinality", "asked", "groups"), [(1, None, 8), (4, None, 4), (1, 2, 2), (4, 4, 4)])
def test_shuffled_takes_its_groups_from_its_option_or_the_block(
    cardinality: int, asked: int | None, groups: int
) -> None:
    module = Shuffled(16, 16, groups=cardinality, shuffle_groups=asked)
    assert (module.conv.groups, module.shuffle.groups) == (groups, groups)


@pytest.mark.parametrize("height", [1, 7])
def test_channel_shuffle_keeps_the_memory_format_that_it_gets(height: int) -> None:
    x, shuffle = images(16, height, height), ChannelShuffle(4)
    assert shuffle(x).is_contiguous()
    assert shuffle(x.to(memory_format=LAST)).is_contiguous(memory_format=LAST)
    assert torch.equal(shuffle(x), F.channel_shuffle(x, 4))
    assert torch.equal(shuffle(x.to(memory_format=LAST)), F.channel_shuffle(x, 4))


@pytest.mark.parametrize(("stride", "groups", "dilation"), GEOMETRIES)
@pytest.mark.parametrize("rate", [1, 2, 3])
def test_dilated_is_a_convolution_with_holes(rate: int, stride: int, groups: int, dilation: int) -> None:
    x, spread = images(), rate * dilation
    module = made("dilated", {"rate": rate}, stride=stride, groups=groups, dilation=dilation)
    # The same kernel with its zeros written out.
    kernel = torch.zeros(32, 16 // groups, 2 * spread + 1, 2 * spread + 1, dtype=x.dtype)
    kernel[:, :, ::spread, ::spread] = module.conv.weight
    assert close(module(x), normed(F.conv2d(x, kernel, stride=stride, padding=spread, groups=groups), module.norm))


def sampled(module: Deformable, x: torch.Tensor, offsets: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """A deformable convolution as the paper has it, tap by tap, each read bilinearly, with zeros outside."""
    conv = module.conv
    (count, channels, height, width), (rows, columns) = x.shape, offsets.shape[2:]
    shares = masks.shape[1] // 9
    offsets = offsets.reshape(count, shares, 9, 2, rows, columns)
    masks = masks.reshape(count, shares, 9, 1, rows, columns)
    down, right = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    taps = []
    for tap in range(9):
        y = down * conv.stride[0] + (tap // 3 - 1) * conv.dilation[0]
        z = right * conv.stride[0] + (tap % 3 - 1) * conv.dilation[0]
        parts = []
        for share, part in enumerate(x.chunk(shares, 1)):
            place = torch.stack([z + offsets[:, share, tap, 1], y + offsets[:, share, tap, 0]], -1)
            grid = 2 * place / torch.tensor([width - 1, height - 1]) - 1
            parts.append(F.grid_sample(part, grid, align_corners=True) * masks[:, share, tap])
        taps.append(torch.cat(parts, 1))
    read = torch.stack(taps, 2).reshape(count, conv.groups, channels // conv.groups, 9, rows, columns)
    kernels = conv.weight.reshape(conv.groups, -1, channels // conv.groups, 9)
    return torch.einsum("ngckhw,gock->ngohw", read, kernels).flatten(1, 2)


@pytest.mark.parametrize(("stride", "groups", "dilation"), GEOMETRIES)
@pytest.mark.parametrize("shares", [1, 4])
@pytest.mark.parametrize("modulation", [True, False])
def test_deformable_reads_between_pixels_where_its_offsets_say(
    modulation: bool, shares: int, stride: int, groups: int, dilation: int
) -> None:
    x, geometry = images(), {"stride": stride, "groups": groups, "dilation": dilation}
    module = made("deformable", {"modulation": modulation, "offset_groups": shares}, **geometry)
    told = F.conv2d(
        x, module.offset.weight, module.offset.bias, stride=stride, padding=dilation, dilation=dilation
    ).split(18 * shares, 1)
    offsets, masks = told[0], torch.ones_like(told[0][:, : 9 * shares])
    if modulation:
        masks = 1 / (1 + (-told[1]).exp())
    assert offsets.abs().max() > 1
    assert close(module(x), normed(sampled(module, x, offsets, masks), module.norm))


@pytest.mark.parametrize(("stride", "groups", "dilation"), GEOMETRIES)
@pytest.mark.parametrize(("modulation", "factor"), [(True, 0.5), (False, 1.0)])
def test_deformable_starts_as_its_plain_convolution_halved_by_the_masks(
    modulation: bool, factor: float, stride: int, groups: int, dilation: int
) -> None:
    x = images()
    geometry = {"stride": stride, "groups": groups, "dilation": dilation}
    module = Deformable(16, 32, modulation=modulation, norm=nn.Identity, act=nn.Identity, **geometry).double()
    wanted = factor * F.conv2d(x, module.conv.weight, padding=dilation, **geometry)
    assert close(module(x), wanted)


@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, -2), (2, 3)])
def test_deformable_with_an_offset_of_whole_pixels_is_a_shifted_convolution(down: int, right: int) -> None:
    x = images()
    module = Deformable(16, 32, modulation=False, norm=nn.Identity, act=nn.Identity).double()
    with torch.no_grad():
        module.offset.bias.copy_(torch.tensor([down, right] * 9))
    far = F.pad(x, (4, 4, 4, 4))  # zeros all round
    wanted = F.conv2d(far, module.conv.weight)[:, :, 3 + down : 10 + down, 3 + right : 11 + right]
    assert close(module(x), wanted)


@pytest.mark.parametrize("init", ["default", "kaiming"])
def test_offsets_start_at_zero_in_a_network_whatever_its_init(init: str) -> None:
    model = convzoo.create_model(small("basic", "deformable"), init=init)
    parts = [module for module in model.modules() if isinstance(module, Deformable)]
    assert len(parts) == 6
    assert [p for part in parts for p in part.offset.parameters() if p.any()] == []
    assert all(part.conv.weight.all() for part in parts)


def test_offsets_of_half_a_pixel_survive_half_precision() -> None:
    conv = DeformConv2d(1, 1, 3, padding=1, bias=False)
    with torch.no_grad():
        conv.weight.zero_()[:, :, 1, 1] = 1
    line = torch.zeros(1, 1, 3, 600)
    line[..., 300] = 1
    offsets = torch.full((1, 18, 3, 600), 0.5)
    wanted = torch.zeros(3, 600)
    wanted[:, 299:301] = 0.5
    wanted[2] /= 2  # half of what the last row reads is outside
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        assert torch.equal(conv.to(dtype)(line.to(dtype), offsets.to(dtype))[0, 0].float(), wanted)


@pytest.mark.parametrize(("stride", "groups", "dilation"), GEOMETRIES)
@pytest.mark.parametrize("shares", [(2, 4, 1, 1), (1, 1, 1, 5)])
def test_inception_is_its_four_branches_side_by_side(
    shares: tuple[int, ...], stride: int, groups: int, dilation: int
) -> None:
    x = images()
    module = made("inception", {"shares": shares}, stride=stride, groups=groups, dilation=dilation)
    one, (reduce, three), (squeeze, first, second), (_, project) = module.branches
    point: dict[str, Any] = {"groups": groups}
    wide: dict[str, Any] = {"groups": groups, "padding": dilation, "dilation": dilation}
    windows = F.pad(x, (1, 1, 1, 1)).unfold(2, 3, stride).unfold(3, 3, stride)
    wanted = [
        convolved(one, x, stride=stride, **point),
        convolved(three, convolved(reduce, x, **point), stride=stride, **wide),
        convolved(second, convolved(first, convolved(squeeze, x, **point), **wide), stride=stride, **wide),
        convolved(project, windows.sum((4, 5)) / 9, **point),
    ]
    assert [branch.shape[1] for branch in wanted] == [4 * share for share in shares]
    assert close(module(x), torch.cat(wanted, 1))


@pytest.mark.parametrize(
    ("total", "shares", "wanted"),
    [
        (256, (2, 4, 1, 1), [64, 128, 32, 32]),
        (4, (2, 4, 1, 1), [1, 1, 1, 1]),
        (5, (2, 4, 1, 1), [1, 2, 1, 1]),
        (30, (2, 4, 1, 1), [7, 17, 3, 3]),
        (10, (1, 1, 1, 1), [4, 2, 2, 2]),
    ],
)
def test_widths_follow_the_shares_and_fill_the_output(total: int, shares: tuple[int, ...], wanted: list[int]) -> None:
    assert widths(total, shares) == wanted


def test_widths_always_sum_to_the_output() -> None:
    for total in range(4, 200):
        parts = widths(total, (2, 4, 1, 1))
        assert (sum(parts), min(parts) >= 1) == (total, True)


@pytest.mark.parametrize("name", PARTS)
def test_channels_last_computes_the_same(name: str) -> None:
    module, x = made(name, {}, stride=2), images()
    wanted = module(x)
    assert close(module.to(memory_format=LAST)(x.to(memory_format=LAST)), wanted)


def test_offsets_and_masks_get_a_gradient_at_their_start() -> None:
    module = Deformable(16, 32, offset_groups=4).double()
    module(images()).square().sum().backward()
    assert module.offset.weight.grad.flatten(1).any(1).all()


@pytest.mark.parametrize("modulation", [True, False])
def test_gradients_of_a_deformable_convolution_are_those_of_its_formula(modulation: bool) -> None:
    torch.manual_seed(0)
    module = Deformable(2, 4, stride=2, modulation=modulation, norm=nn.Identity, act=nn.SiLU).double()
    nn.init.normal_(module.offset.weight, std=0.1)
    nn.init.normal_(module.offset.bias)
    assert torch.autograd.gradcheck(module, (torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True),))


@pytest.mark.parametrize("name", PARTS)
def test_norm_and_activation_are_those_that_are_given(name: str) -> None:
    module = PARTS[name](16, 32, norm=lambda channels: nn.GroupNorm(1, channels), act=nn.SiLU)
    kinds = [type(m) for m in module.modules()]
    assert not {nn.BatchNorm2d, nn.ReLU} & set(kinds)
    assert kinds.count(nn.GroupNorm) == kinds.count(nn.SiLU) > 0


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", PARTS)
def test_it_learns_under_autocast(name: str, kind: torch.dtype) -> None:
    module, x = made(name, {}).float().train(), images().to(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = module(x)
    out.float().square().sum().backward()
    assert [
        key for key, p in module.named_parameters() if p.dtype != torch.float32 or not p.grad.isfinite().all()
    ] == []


def small(block: str, conv: str, **options: Any) -> Model:
    """Three stages of two narrow blocks, of strides 1, 2 and 2, after a stem of stride 4."""
    layers = [ref(block, planes=16 << n, conv=ref(conv), **options) for n in range(3)]
    stages = [Stage((layer, layer), 1 if n == 0 else 2) for n, layer in enumerate(layers)]
    return Model("small", "small", ref("conv", width=16), stages, num_classes=5, input_size=32)


def assert_it_learns(model: nn.Module, size: int = 64) -> None:
    torch.manual_seed(0)
    output = model.train()(torch.randn(2, 3, size, size))
    output.square().mean().backward()
    assert output.isfinite().all()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("name", PARTS)
def test_it_takes_the_cardinality_of_a_block(name: str) -> None:
    model = convzoo.create_model(small("bottleneck", name, cardinality=4, base_width=16))
    for stage in model.stages:
        kernels = [m for m in stage[0].branch.conv2.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]
        told = [m for m in kernels if m.bias is not None]  # the offsets, which see all channels
        assert len(told) == (name == "deformable")
        assert all(m.groups % 4 == 0 for m in kernels if m not in told)
    assert_it_learns(model)


class NothingAllocated(TorchDispatchMode):
    """Within it, no tensor is made."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} ran before the sizes were checked")


SIZES = [
    ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
    ({"out_channels": 0}, "out_channels must be at least 1, got 0"),
    ({"stride": 0}, "stride must be at least 1, got 0"),
    ({"dilation": 0}, "dilation must be at least 1, got 0"),
    ({"groups": 3}, "3 does not divide the 16 channels in and 16 out"),
    ({"groups": 0}, "0 does not divide the 16 channels in and 16 out"),
]
IMPOSSIBLE = [
    *((name, given, message) for name in PARTS for given, message in SIZES),
    ("depthwise_separable", {"kernel_size": 4}, "kernel_size must be an odd number"),
    ("spatially_separable", {"kernel_size": 0}, "kernel_size must be an odd number"),
    ("shuffled", {"shuffle_groups": 3}, "shuffle_groups 3 does not divide the 16 channels in and 16 out"),
    ("shuffled", {"shuffle_groups": 0}, "shuffle_groups 0 does not divide the 16 channels in and 16 out"),
    ("shuffled", {"in_channels": 12, "out_channels": 12}, "shuffle_groups 8 does not divide the 12 channels in"),
    ("shuffled", {"shuffle_groups": 8, "groups": 4}, r"shuffle_groups 8 contradicts .* cardinality \(groups\) is 4"),
    ("dilated", {"rate": 0}, "rate must be at least 1, got 0"),
    ("deformable", {"offset_groups": 0}, "offset_groups must be at least 1, got 0"),
    ("deformable", {"offset_groups": 3}, "offset_groups 3 does not divide the 16 channels in"),
    ("inception", {"shares": (1, 1, 1)}, "shares are four positive numbers"),
    ("inception", {"shares": (1, 1, 1, 0)}, "shares are four positive numbers"),
    ("inception", {"out_channels": 3}, "3 channels in each group leave a branch without any"),
    ("inception", {"groups": 8}, "2 channels in each group leave a branch without any"),
]


@pytest.mark.parametrize(("name", "given", "message"), IMPOSSIBLE)
def test_impossible_sizes_are_refused_before_anything_is_allocated(
    name: str, given: dict[str, Any], message: str
) -> None:
    sizes = {"in_channels": 16, "out_channels": 16, **given}
    with NothingAllocated(), pytest.raises(convzoo.OptionError, match=message):
        PARTS[name](sizes.pop("in_channels"), sizes.pop("out_channels"), **sizes)


def test_impossible_groups_of_a_shuffle_are_refused() -> None:
    with pytest.raises(convzoo.OptionError, match="groups must be at least 1"):
        ChannelShuffle(0)


@pytest.mark.parametrize(
    ("conv", "message"),
    [
        (ref("dilated", rate="2"), "wants int"),
        (ref("dilated", rates=2), "takes no option 'rates'. Did you mean 'rate'"),
        (ref("deformable", modulation=1), "wants bool"),
        (ref("inception", shares=2), "shares=2"),
        (ref("shuffled", shuffle_groups=48), "48 does not divide the 64 channels in and 64 out, in conv shuffled"),
    ],
)
def test_impossible_options_of_a_network_are_refused(conv: convzoo.Ref, message: str) -> None:
    with pytest.raises(convzoo.OptionError, match=message):
        convzoo.create_model("resnet18", conv=conv)


def test_shuffled_with_groups_of_its_own_refuses_another_cardinality() -> None:
    spec = small("bottleneck", "plain", cardinality=4, base_width=16)
    with pytest.raises(convzoo.OptionError, match="contradicts the block"):
        convzoo.create_model(spec, conv=ref("shuffled", shuffle_groups=8))
    model = convzoo.create_model(spec, conv=ref("shuffled", shuffle_groups=4), device="meta")
    assert model.stages[0][0].branch.conv2.conv.groups == 4


@pytest.mark.large  # where the plugin is tested alone, there is no ONNX
@pytest.mark.parametrize(("stride", "groups", "dilation"), GEOMETRIES)
@pytest.mark.parametrize(("modulation", "shares"), [(True, 1), (True, 4), (False, 1)])
def test_deformable_is_the_operator_of_onnx_in_a_program_of_onnx(
    modulation: bool, shares: int, stride: int, groups: int, dilation: int
) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    geometry = {"stride": stride, "groups": groups, "dilation": dilation}
    module = made("deformable", {"modulation": modulation, "offset_groups": shares}, **geometry).float()
    x = images().float()
    program = torch.onnx.export(module, (x,), dynamo=True, verbose=False)
    assert program is not None
    assert [node.op_type for node in program.model_proto.graph.node].count("DeformConv") == 1
    session = runtime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        assert torch.allclose(torch.from_numpy(out), module(x), atol=1e-5)
