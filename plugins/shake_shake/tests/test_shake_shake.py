"""Shake-Shake against its formulas, and the networks that have it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convzoo
from convzoo import Component, Model, OptionError, Stage, ref
from convzoo.layers import DropPath
from convzoo.plugins.host import registry
from convzoo.plugins.registry import Owner
from convzoo.resnet.blocks import ResidualBlock
from convzoo.resnet.heads import Classifier
from convzoo.testing.numerics import jitter_norms
from convzoo_shake_shake.blocks import MixedBlock, ShakeShake, ShakeShakeBottleneck
from convzoo_shake_shake.ends import ActivatedClassifier, linear_stem
from convzoo_shake_shake.mixing import Mix, mix
from convzoo_shake_shake.shortcut import TwoPathShortcut

MODES = list(itertools.product(["even", "shake"], ["even", "shake", "keep"], ["image", "batch"]))
SOME_MODES = [("shake", "shake", "image"), ("shake", "even", "batch"), ("even", "keep", "image")]
BLOCKS = {
    "shake_shake": lambda **options: ShakeShake(16, planes=16, **options),
    "shake_shake down": lambda **options: ShakeShake(16, planes=24, stride=2, **options),
    "shake_shake_bottleneck": lambda **options: ShakeShakeBottleneck(16, planes=4, cardinality=2, **options),
    "shake_shake_bottleneck down": lambda **options: ShakeShakeBottleneck(
        16, planes=8, cardinality=2, stride=2, **options
    ),
}


class Gate(nn.Module):
    """A squeeze-and-excitation: scales each channel by what two layers make of all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


@pytest.fixture
def gate() -> Iterator[None]:
    """An attention ``se`` of the same size stands in where the plugin that has it is not installed."""
    stand_in = Owner("attention", "convzoo-attention", "0")
    missing = "se" not in {component.name for component, _ in registry().components("attention")}
    if missing:
        registry().add(stand_in, [Component("attention", "se", Gate)])
    yield
    if missing:
        registry().add(stand_in, ())


def images(channels: int = 16, size: tuple[int, int] = (7, 6), batch: int = 3) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(batch, channels, *size, dtype=torch.float64)


def made(make: Callable[..., nn.Module], *args: Any, **options: Any) -> Any:
    """What ``make`` makes, with norms that are not at their start."""
    torch.manual_seed(0)
    module = make(*args, **options)
    jitter_norms(module)
    return module


def small(**fields: Any) -> Model:
    """Three narrow stages that start as the CIFAR-10 networks do."""
    block = ref("shake_shake", shortcut=ref("two_path"))
    stages = [Stage([block.with_options(planes=8 << n)] * 2, stride=1 if n == 0 else 2) for n in range(3)]
    ends = {"stem": ref("cifar_linear", width=6), "head": ref("activated")}
    return Model("small", "small", num_classes=5, input_size=32, **{"stages": stages, **ends, **fields})


def frozen(model: nn.Module) -> nn.Module:
    """In training mode, but for its norms, which keep their statistics."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model


def coefficient(mode: str, level: str, batch: int) -> torch.Tensor:
    """What a mode takes next from torch's generator."""
    if mode == "even":
        return torch.full((batch, 1, 1, 1), 0.5, dtype=torch.float64)
    return torch.rand((batch if level == "image" else 1, 1, 1, 1), dtype=torch.float64)


# Mixing


@pytest.mark.parametrize("level", ["image", "batch"])
def test_value_is_mixed_by_alpha_and_gradients_are_scaled_by_beta(level: str) -> None:
    first, second = images().requires_grad_(), (images() * 2 + 1).requires_grad_()
    shape = (3 if level == "image" else 1, 1, 1, 1)
    alpha, beta = torch.rand(shape, dtype=torch.float64), torch.rand(shape, dtype=torch.float64)
    output = mix(first, second, alpha, beta)
    for image in range(3):
        a = alpha[image % shape[0]].item()
        assert torch.allclose(output[image], a * first[image] + (1 - a) * second[image], atol=1e-14)
    grad = torch.randn_like(output)
    output.backward(grad)
    for image in range(3):
        b = beta[image % shape[0]].item()
        assert torch.allclose(first.grad[image], b * grad[image], atol=1e-14)
        assert torch.allclose(second.grad[image], (1 - b) * grad[image], atol=1e-14)


@pytest.mark.parametrize(("forward_mode", "backward_mode", "level"), MODES)
def test_each_mode_draws_what_it_is_named_after(forward_mode: str, backward_mode: str, level: str) -> None:
    first, second = images().requires_grad_(), (images() * 2 + 1).requires_grad_()
    module = Mix(forward_mode, backward_mode, level).train()
    torch.manual_seed(5)
    output = module(first, second)
    grad = images()
    output.backward(grad)
    torch.manual_seed(5)
    alpha = coefficient(forward_mode, level, 3)
    beta = alpha if backward_mode == "keep" else coefficient(backward_mode, level, 3)
    assert torch.allclose(output, alpha * first + (1 - alpha) * second, atol=1e-14)
    assert torch.allclose(first.grad, beta * grad, atol=1e-14)
    assert torch.allclose(second.grad, (1 - beta) * grad, atol=1e-14)


@pytest.mark.parametrize(("forward_mode", "backward_mode", "level"), SOME_MODES)
@pytest.mark.parametrize("kind", BLOCKS)
def test_gradients_of_a_block_go_through_its_branches_by_beta_and_through_its_shortcut_whole(
    kind: str, forward_mode: str, backward_mode: str, level: str
) -> None:
    options = {"forward_mode": forward_mode, "backward_mode": backward_mode, "level": level}
    block = frozen(made(BLOCKS[kind], **options).double())
    x = images().requires_grad_()
    torch.manual_seed(5)
    output = block(x)
    grad = torch.randn(output.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    parameters = list(block.parameters())
    found = torch.autograd.grad(output, [x, *parameters], grad)

    torch.manual_seed(5)
    alpha = coefficient(forward_mode, level, 3)
    beta = alpha if backward_mode == "keep" else coefficient(backward_mode, level, 3)
    pre = isinstance(block, ShakeShake)
    h = x.clamp(min=0) if pre else x
    one, two, straight = block.branch1(h), block.branch2(h), block.shortcut(x)
    total = alpha * one + (1 - alpha) * two + straight
    assert torch.allclose(output, total if pre else total.clamp(min=0), atol=1e-12)
    if not pre:
        grad = grad * (total > 0)
    expected = torch.autograd.grad([one, two, straight], [x, *parameters], [beta * grad, (1 - beta) * grad, grad])
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(("forward_mode", "backward_mode", "level"), MODES)
def test_evaluation_averages_and_draws_nothing(forward_mode: str, backward_mode: str, level: str) -> None:
    first, second = images().requires_grad_(), (images() * 2 + 1).requires_grad_()
    before = torch.get_rng_state()
    output = Mix(forward_mode, backward_mode, level).eval()(first, second)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.allclose(output, (first + second) / 2, atol=1e-14)
    output.sum().backward()
    assert first.grad.unique().tolist() == second.grad.unique().tolist() == [0.5]


@pytest.mark.parametrize(("level", "numbers"), [("image", 8), ("batch", 1)])
def test_a_block_draws_anew_at_every_pass_and_by_its_level(level: str, numbers: int) -> None:
    module = Mix("shake", "shake", level).train()
    ones, zeros = torch.ones(8, 2, 3, 3), torch.zeros(8, 2, 3, 3)
    passes = [module(ones, zeros) for _ in range(3)]
    assert [len(each.unique()) for each in passes] == [numbers] * 3
    assert len(torch.stack(passes).unique()) == 3 * numbers


def test_coefficients_are_spread_evenly_and_backward_ones_are_independent_of_forward_ones() -> None:
    torch.manual_seed(0)
    first = torch.ones(4000, 1, 1, 1, requires_grad=True)
    output = Mix("shake", "shake", "image").train()(first, torch.zeros_like(first))
    output.sum().backward()
    alpha, beta = output.detach().flatten(), first.grad.flatten()
    for numbers in (alpha, beta):
        assert (numbers.histc(4, 0, 1) / 4000 - 0.25).abs().max() < 0.03
    # The standard error of the correlation is 0.016.
    assert abs(torch.corrcoef(torch.stack([alpha, beta]))[0, 1]) < 0.06


def test_every_block_of_a_network_draws_its_own() -> None:
    model = convzoo.create_model(small(), forward_mode="shake", backward_mode="keep").train()
    shares: list[float] = []

    def watch(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        first, second = inputs
        across = first - second
        shares.append((((output - second) * across).sum() / across.square().sum()).item())

    for module in model.modules():
        if isinstance(module, Mix):
            module.register_forward_hook(watch)
    model(torch.randn(1, 3, 32, 32))
    assert len({round(share, 4) for share in shares}) == 6
    assert all(0 <= share <= 1 for share in shares)


def test_checkpointing_gives_the_same_gradients_under_a_seed() -> None:
    x, model = images(3, (16, 16)).float(), convzoo.create_model(small(), drop_path_rate=0.3).train()

    def step() -> list[torch.Tensor]:
        model.zero_grad()
        torch.manual_seed(3)
        model(x).square().sum().backward()
        return [p.grad.clone() for p in model.parameters()]

    plain = step()
    model.set_grad_checkpointing()
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(plain, step(), strict=True))


def test_a_mode_that_is_none_is_refused_by_name() -> None:
    for option in ({"forward_mode": "keep"}, {"backward_mode": "random"}, {"level": "pixel"}, {"shift": "left"}):
        (name,) = option
        with pytest.raises(OptionError, match=name):
            convzoo.create_model("shakeshake26_2x32d", device="meta", **option)


def test_a_whole_network_compiles_without_a_graph_break_and_draws_anew() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(convzoo.create_model(small()).train(), fullgraph=True, backend="eager")
    x = torch.randn(2, 3, 16, 16)
    assert not torch.equal(compiled(x), compiled(x))


# The shortcut


@pytest.mark.parametrize("size", [(7, 5), (2, 3)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("shift", "step"), [("down_right", -1), ("up_left", 1)])
@pytest.mark.parametrize("distance", [1, 4])
def test_second_path_reads_the_shifted_image_pixel_by_pixel(
    shift: str, step: int, stride: int, size: tuple[int, int], distance: int
) -> None:
    x = images(4, size)
    module = TwoPathShortcut(4, 6, stride=stride, shift=shift, first_dilation=distance, norm=nn.Identity).double()
    first, second = module.conv1.weight.flatten(1), module.conv2.weight.flatten(1)
    output = module(x)
    height, width = size
    assert output.shape == (3, 6, -(-height // stride), -(-width // stride))
    for i, j in itertools.product(range(output.shape[2]), range(output.shape[3])):
        assert torch.allclose(output[:, :3, i, j], x[:, :, i * stride, j * stride].clamp(min=0) @ first.T, atol=1e-12)
        row, column = i * stride + step * distance, j * stride + step * distance
        inside = 0 <= row < height and 0 <= column < width
        pixel = x[:, :, row, column].clamp(min=0) if inside else torch.zeros(3, 4, dtype=torch.float64)
        assert torch.allclose(output[:, 3:, i, j], pixel @ second.T, atol=1e-12)


def test_one_norm_stands_after_both_paths() -> None:
    module, plain = made(TwoPathShortcut, 4, 6).double().eval(), TwoPathShortcut(4, 6, norm=nn.Identity).double()
    plain.load_state_dict({k: v for k, v in module.state_dict().items() if "norm" not in k})
    x = images(4)
    assert torch.allclose(module(x), module.norm(plain(x)), atol=1e-12)
    assert [type(m) for m in module.modules()].count(nn.BatchNorm2d) == 1


def test_shortcut_is_the_authors_unless_told() -> None:
    assert TwoPathShortcut(4, 6).shift == "down_right"
    model = convzoo.create_model("shakeshake26_2x32d", shift="up_left", device="meta")
    assert {stage[0].shortcut.shift for stage in model.stages} == {"up_left"}


def test_odd_channels_are_refused() -> None:
    with pytest.raises(OptionError, match="7 is odd"):
        TwoPathShortcut(4, 7)


def test_shortcut_fits_other_blocks() -> None:
    model = convzoo.create_model("resnet20", shortcut=ref("two_path", shift="up_left"), act="silu")
    found = [stage[0].shortcut for stage in list(model.stages)[1:]]
    assert [(type(m), m.shift, type(m.act)) for m in found] == [(TwoPathShortcut, "up_left", nn.SiLU)] * 2
    assert model(torch.randn(2, 3, 32, 32)).isfinite().all()


# The blocks


@pytest.mark.parametrize("shortcut", ["two_path", "conv", "avg", "zero_pad"])
def test_shortcut_of_a_block_can_be_chosen(shortcut: str) -> None:
    model = convzoo.create_model(small(), shortcut=shortcut)
    assert model(torch.randn(2, 3, 16, 16)).isfinite().all()
    for stage in model.stages:
        assert [isinstance(layer.shortcut, nn.Identity) for layer in stage] == [False, True]


def test_the_default_shortcut_of_a_block_by_hand_is_that_of_the_builder() -> None:
    stages = [Stage([ref("shake_shake", planes=planes)], 2) for planes in (8, 16)]
    built = convzoo.create_model(small(stages=stages), device="meta").stages[1][0]
    by_hand = ShakeShake(8, planes=16, stride=2)
    assert type(by_hand.shortcut) is TwoPathShortcut
    assert str(by_hand.shortcut) == str(built.shortcut)


def test_default_shortcut_takes_the_activation_of_its_block() -> None:
    assert isinstance(ShakeShake(4, planes=8, act=nn.SiLU).shortcut.act, nn.SiLU)


def test_feature_levels_and_the_heads_input_are_left_alone() -> None:
    model = convzoo.create_model(small()).eval()
    x = torch.randn(2, 3, 16, 16)
    last, levels = model.forward_intermediates(x)
    before = [level.clone() for level in (last, *levels)]
    assert all(level.amin() < 0 for level in before)
    model.forward_head(last)
    assert all(torch.equal(a, b) for a, b in zip((last, *levels), before, strict=True))


@pytest.mark.parametrize("kind", BLOCKS)
def test_attention_stands_once_on_the_mixed_branch(kind: str) -> None:
    block = frozen(BLOCKS[kind](attention=lambda channels: Doubled(), forward_mode="shake", backward_mode="keep"))
    x = images().float()
    torch.manual_seed(3)
    output = block(x)
    h = block.act_in(x)
    torch.manual_seed(3)
    branch = block.mix(block.branch1(h), block.branch2(h))
    assert torch.allclose(output, block.act_out(2 * branch + block.shortcut(x)), atol=1e-5)


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


@pytest.mark.parametrize("kind", BLOCKS)
def test_drop_path_drops_the_mixed_branch_of_a_sample_or_scales_it_up(kind: str) -> None:
    modes = {"forward_mode": "even", "backward_mode": "even"}
    block = frozen(made(BLOCKS[kind], drop_path_rate=0.5, **modes).double())
    x = images(batch=32)
    h = block.act_in(x)
    branch, straight = (block.branch1(h) + block.branch2(h)) / 2, block.shortcut(x)
    output = block(x)
    dropped = (output - block.act_out(straight.clone())).flatten(1).abs().amax(1) < 1e-9
    kept = (output - block.act_out(straight + 2 * branch)).flatten(1).abs().amax(1) < 1e-9
    assert (dropped ^ kept).all()
    assert 4 < dropped.sum() < 28


@pytest.mark.parametrize("block", ["shake_shake", "shake_shake_bottleneck"])
@pytest.mark.parametrize("output_stride", [1, 2])
def test_dilated_stages_compute_what_the_strided_ones_do_on_their_pixels(block: str, output_stride: int) -> None:
    spec = small()
    if block == "shake_shake_bottleneck":
        layers = [ref(block, planes=4 << n, cardinality=2) for n in range(3)]
        spec = small(stages=[Stage([layer] * 2, stride=1 if n == 0 else 2) for n, layer in enumerate(layers)])
    strided = made(convzoo.create_model, spec).double().eval()
    dilated = convzoo.create_model(spec, output_stride=output_stride).double().eval()
    dilated.load_state_dict(strided.state_dict())
    step, x = 4 // output_stride, images(3, (16, 16))
    output = dilated.forward_features(x)
    assert output.shape[2:] == (16 // output_stride,) * 2
    assert torch.allclose(output[:, :, ::step, ::step], strided.forward_features(x), atol=1e-9)


# Deployment


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize(("attention", "norm"), [(None, nn.BatchNorm2d), (Gate, nn.BatchNorm2d), (Gate, nn.Identity)])
def test_deployed_block_has_one_branch_of_twice_the_width_and_gives_the_same(
    kind: str, attention: Any, norm: Any
) -> None:
    block = made(BLOCKS[kind], attention=attention, norm=norm, drop_path_rate=0.1).double()
    before = {key: value.clone() for key, value in block.state_dict().items()}
    deployed = convzoo.deploy(block, rewrite=False)
    assert type(deployed) is ResidualBlock
    assert not deployed.training
    assert block.training
    assert list(before) == list(block.state_dict())
    assert all(torch.equal(value, before[key]) for key, value in block.state_dict().items())
    assert not {p.data_ptr() for p in block.parameters()} & {p.data_ptr() for p in deployed.parameters()}
    x = images()
    assert torch.allclose(deployed(x), block.eval()(x), atol=1e-10)
    again = convzoo.deploy(deployed, rewrite=False)
    assert torch.allclose(again(x), block(x), atol=1e-10)
    convs = [m for m in deployed.branch.children() if isinstance(m, nn.Conv2d)]
    first = block.branch1.conv1.conv
    assert len(convs) == len(block.branch1)
    assert convs[0].out_channels == 2 * first.out_channels
    sizes = (2 * block.branch1[-1].conv.in_channels, block.out_channels)
    assert (convs[-1].in_channels, convs[-1].out_channels) == sizes
    assert [m.groups for m in convs] == ([1, 1] if len(convs) == 2 else [1, 4, 1])
    assert not any(isinstance(m, (nn.BatchNorm2d, DropPath, Mix)) for m in deployed.branch.modules())


@pytest.mark.parametrize("name", ["shakeshake20_2x16d", "shakeshake29_2x4x64d"])
def test_deployed_network_gives_the_same_with_fewer_modules(name: str) -> None:
    model = made(convzoo.create_model, name, **({} if "20" in name else {"base_width": 8, "planes": 16}))
    deployed = convzoo.deploy(model, rewrite=False)
    x = images(3, (32, 32), batch=2).float()
    with torch.no_grad():
        wanted, found = model.eval()(x), deployed(x)
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert not any(isinstance(m, MixedBlock) for m in deployed.modules())
    assert all(isinstance(layer, MixedBlock) for stage in model.stages for layer in stage)
    convs = [sum(isinstance(m, nn.Conv2d) for m in each.modules()) for each in (model, deployed)]
    layers = sum(len(stage) for stage in model.stages)
    assert convs[0] - convs[1] == layers * len(model.stages[0][0].branch1)
    assert len(list(deployed.modules())) < 0.6 * len(list(model.modules()))


@pytest.mark.parametrize("options", [{"norm": lambda channels: nn.GroupNorm(2, channels)}, {"act": nn.PReLU}])
@pytest.mark.parametrize("kind", BLOCKS)
def test_branches_that_cannot_be_merged_stay_and_give_the_same(kind: str, options: dict[str, Any]) -> None:
    block = made(BLOCKS[kind], attention=Gate, **options).double()
    deployed, x = convzoo.deploy(block, rewrite=False), images()
    assert isinstance(deployed, MixedBlock)
    assert torch.allclose(deployed(x), block.eval()(x), atol=1e-10)
    assert not {p.data_ptr() for p in block.parameters()} & {p.data_ptr() for p in deployed.parameters()}


def test_what_stands_in_the_slots_is_deployed_too() -> None:
    block = ShakeShake(4, planes=8, attention=lambda channels: Deployable())
    deployed = convzoo.deploy(block, rewrite=False)
    assert isinstance(deployed.branch.attention, Doubled)
    assert isinstance(deployed.shortcut.norm, nn.Identity)


class Deployable(Doubled):
    def deploy(self) -> nn.Module:
        return Doubled()


def test_deployed_shortcut_has_its_norm_in_its_convolutions() -> None:
    module = made(TwoPathShortcut, 4, 6, stride=2).double()
    deployed, x = convzoo.deploy(module, rewrite=False), images(4)
    assert isinstance(deployed.norm, nn.Identity)
    assert module.conv1.bias is None
    assert torch.allclose(deployed(x), module.eval()(x), atol=1e-12)


# The networks


def test_29_layers_with_100_classes_have_the_authors_count() -> None:
    model = convzoo.create_model("shakeshake29_2x4x64d", num_classes=100, device="meta")
    assert sum(p.numel() for p in model.parameters()) == 34_529_700


@pytest.mark.parametrize(("name", "layers"), [("shakeshake20_2x16d", 3), ("shakeshake26_2x32d", 4)])
def test_cifar_10_networks_have_the_authors_structure(name: str, layers: int) -> None:
    model = convzoo.create_model(name, device="meta")
    width = int(name.partition("2x")[2][:-1])
    assert [len(stage) for stage in model.stages] == [layers] * 3
    assert (model.stem.out_channels, type(model.stem.act)) == (16, nn.Identity)
    assert isinstance(model.head, ActivatedClassifier)
    channels = 16
    for number, stage in enumerate(model.stages):
        for place, layer in enumerate(stage):
            planes, stride = width << number, 2 if number and not place else 1
            assert (layer.mix.forward_mode, layer.mix.backward_mode, layer.mix.level) == ("shake", "shake", "image")
            assert type(layer.act_out) is nn.Identity
            assert type(layer.shortcut) is (nn.Identity if channels == planes else TwoPathShortcut)
            for branch in (layer.branch1, layer.branch2):
                kinds = [type(m) for m in branch.modules() if not isinstance(m, nn.Sequential)]
                assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d]
                sizes = [(m.conv.in_channels, m.conv.out_channels, *m.conv.stride) for m in branch]
                assert sizes == [(channels, planes, stride, stride), (planes, planes, 1, 1)]
            channels = planes


def test_the_first_stage_has_the_two_path_shortcut_although_its_stride_is_1() -> None:
    shortcut = convzoo.create_model("shakeshake26_2x32d", device="meta").stages[0][0].shortcut
    assert (type(shortcut), shortcut.stride) == (TwoPathShortcut, 1)


def test_29_layers_are_post_activation_bottlenecks_with_type_b_shortcuts() -> None:
    model = convzoo.create_model("shakeshake29_2x4x64d", device="meta")
    assert [len(stage) for stage in model.stages] == [3, 3, 3]
    assert (model.stem.out_channels, type(model.stem.act), type(model.head)) == (64, nn.ReLU, Classifier)
    for number, stage in enumerate(model.stages):
        width = 256 << number
        for place, layer in enumerate(stage):
            assert (layer.mix.forward_mode, layer.mix.backward_mode, layer.mix.level) == ("shake", "even", "image")
            assert (type(layer.act_in), type(layer.act_out)) == (nn.Identity, nn.ReLU)
            for branch in (layer.branch1, layer.branch2):
                convs = [m.conv for m in branch]
                assert [m.out_channels for m in convs] == [width] * 3
                assert [m.groups for m in convs] == [1, 4, 1]
                assert [m.stride[0] for m in convs] == [1, 2 if number and not place else 1, 1]
                assert [hasattr(m, "act") for m in branch] == [True, True, False]
            projected = [type(m) for m in layer.shortcut.children()]
            assert projected == ([] if place else [nn.Conv2d, nn.BatchNorm2d])


@pytest.mark.usefixtures("gate")
def test_squeeze_and_excitation_has_a_sixteenth_of_the_width() -> None:
    model = convzoo.create_model("se_shakeshake26_2x96d", device="meta")
    hidden = [layer.after.attention.fc1.out_channels for stage in model.stages for layer in stage]
    assert hidden == [6] * 4 + [12] * 4 + [24] * 4


def test_stem_has_no_activation() -> None:
    stem = made(linear_stem, 3, width=4).eval()
    x = images(3).float()
    assert torch.allclose(stem(x), stem.norm(F.conv2d(x, stem.conv.weight, padding=1)), atol=1e-6)
    assert stem(x).amin() < 0


def test_head_rectifies_before_it_pools() -> None:
    head, x = ActivatedClassifier(16, 5), images().float()
    pooled = x.clamp(min=0).mean((2, 3))
    assert torch.allclose(head(x, pre_logits=True), pooled, atol=1e-6)
    assert torch.allclose(head(x), head.fc(pooled), atol=1e-6)


def test_networks_start_as_in_torch_7() -> None:
    torch.manual_seed(0)
    model = convzoo.create_model("shakeshake29_2x4x64d", planes=64)
    conv = model.stages[0][1].branch1.conv2.conv
    assert conv.weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.05)
    assert not model.head.fc.bias.any()


def test_networks_take_other_norms_and_activations_everywhere() -> None:
    for name in ("shakeshake20_2x16d", "shakeshake29_2x4x64d"):
        model = convzoo.create_model(name, norm="group", act="silu", device="meta")
        kinds = {type(m) for m in model.modules()}
        assert not kinds & {nn.BatchNorm2d, nn.ReLU}
