"""What ``convzoo.deploy`` rewrites: each rewrite gives the same, and nothing that others still read is overwritten."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import convzoo
from convzoo import OptionError, create_model, deploy
from convzoo.deploying.convolution import FusedConv2d
from convzoo.deploying.dense import DenseStage
from convzoo.deploying.deploy import deployed_by
from convzoo.deploying.pointwise import Clamp, ScaleShift
from convzoo.deploying.rewrites import REWRITES
from convzoo.deploying.settings import HAVE
from convzoo.testing.numerics import jitter_norms

from .small import smallest_of_families

FAMILIES = [*smallest_of_families().values(), "densenet121"]
STEPS = ("seresnet20", "wrn16_1")
QUICK = ("resnet20", "seresnet20", "densenet40_k12_bc", "condensenet50_cifar", "shakeshake20_2x16d", "wrn16_1")
BOUNDS = {torch.float64: 1e-9, torch.float32: 1e-5}
LAST = torch.channels_last
needs_onednn = pytest.mark.skipif(not HAVE, reason="this torch has no oneDNN")


def images(size: int = 32, channels: int = 3, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(1)).to(dtype)


def trained(name: str, **options: Any) -> Any:
    model = create_model(name, **options)
    jitter_norms(model)
    convzoo.set_progress(model, 1)
    return model.eval()


def off(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


def assert_same(deployed: nn.Module, model: nn.Module, x: torch.Tensor) -> None:
    """By the general functions, with gradients on, and by the kernels for inference, in both memory formats."""
    exact = copy.deepcopy(model).double()(x.double())
    for given in (x, x.to(memory_format=LAST)):
        with torch.inference_mode():
            assert off(deployed(given.clone()), exact) <= BOUNDS[x.dtype]
        assert off(deployed(given.clone()), exact) <= BOUNDS[x.dtype]


# Networks


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in STEPS else pytest.mark.large) for name in (*QUICK, "resnest14d")]
)
def test_a_network_is_the_same_after_each_rewrite(name: str) -> None:
    model = trained(name, dtype=torch.float64)
    x = images(min(model.spec.input_size, 64), dtype=torch.float64)
    with torch.no_grad():
        expected = model(x)
        for number in range(len(REWRITES) + 1):
            deployed, _ = deployed_by(model, REWRITES[:number])
            assert off(deployed(x), expected) <= BOUNDS[torch.float64], REWRITES[:number]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.large) for name in FAMILIES]
)
def test_a_deployed_network_of_each_family_gives_the_same_by_the_kernels_for_inference(name: str) -> None:
    model = trained(name)
    assert_same(deploy(model), model, images(min(model.spec.input_size, 64)))


def test_every_rewrite_changes_something_in_the_families() -> None:
    counts = [deployed_by(trained(name), REWRITES)[1] for name in QUICK]
    assert {name for each in counts for name, count in each.items() if count} == {each.name for each in REWRITES}


@pytest.mark.parametrize("name", QUICK)
def test_no_batch_norm_and_no_plain_convolution_is_left(name: str) -> None:
    kinds = {type(module) for module in deploy(trained(name)).modules()}
    assert not kinds & {nn.BatchNorm2d, nn.Conv2d, nn.Dropout}


def test_the_levels_of_a_deployed_backbone_are_those_of_the_training_one() -> None:
    for name in ("resnet18", "densenet40_k12_bc", "wrn16_1"):
        model = trained(name, features_only=True)
        with torch.inference_mode():
            for found, expected in zip(deploy(model)(images()), model(images()), strict=True):
                assert off(found, expected) <= 1e-5


def test_deployed_twice_pickled_copied_and_cast_it_gives_the_same(tmp_path: Path) -> None:
    model, x = trained("seresnet20"), images()
    deployed = deploy(model)
    with torch.inference_mode():
        deployed(x)
    torch.save(deployed, tmp_path / "deployed.pt")
    read = torch.load(tmp_path / "deployed.pt", weights_only=False)
    for each in (deploy(deployed), copy.deepcopy(deployed), read):
        assert_same(each, model, x)
    cast = copy.deepcopy(deployed).double()(x.double())
    assert off(cast, model(x)) <= 1e-5
    again = deploy(create_model("seresnet20"))
    again.load_state_dict(deployed.state_dict())
    assert_same(again, model, x)


def test_the_description_of_a_deployed_network_names_its_first_convolution() -> None:
    deployed = deploy(create_model("resnet18"))
    assert isinstance(deployed.get_submodule(deployed.default_cfg["first_conv"]), FusedConv2d)
    assert deployed.default_cfg["architecture"] == "resnet18"


def test_without_rewrites_only_the_layers_own_forms_are_taken() -> None:
    model = trained("resnet20")
    assert type(deploy(model, rewrite=False).stages[0][0]) is type(model.stages[0][0])
    with pytest.raises(OptionError, match="rewrite"):
        deploy(model, rewrite="no")  # type: ignore[arg-type]


def test_deployed_under_inference_mode_a_network_learns_of_gradients_all_the_same() -> None:
    model = trained("resnet20")
    with torch.inference_mode():
        deployed = deploy(model)
    x = images().requires_grad_()
    deployed(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


# The layers


def fused(act: nn.Module | None = None, **sizes: Any) -> FusedConv2d:
    torch.manual_seed(0)
    made = FusedConv2d(nn.Conv2d(8, 8, **{"kernel_size": 3, "padding": 1, **sizes}))
    if act is not None:
        made.then(act)
    return made


ACTS = [nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.2), nn.SiLU(), nn.Hardswish(), nn.GELU(), nn.GELU("tanh")]


@pytest.mark.parametrize("act", ACTS, ids=str)
@pytest.mark.parametrize("sums", [False, True])
def test_a_fused_convolution_is_the_convolution_the_sum_and_the_activation(act: nn.Module, sums: bool) -> None:
    conv, x = fused(act, stride=2, groups=2), images(9, 8)
    other = images(5, 8).mul(3)
    y = F.conv2d(x, conv.weight, conv.bias, 2, 1, 1, 2)
    expected = act(y + other) if sums else act(y)
    given = (x, other.clone()) if sums else (x,)
    with torch.inference_mode():
        torch.testing.assert_close(conv(*given), expected)
    torch.testing.assert_close(conv(*given), expected)


@needs_onednn
def test_inference_runs_the_kernels_for_it_and_nothing_else_does() -> None:
    conv, x = fused(), images(9, 8)

    def laid_out(run: Callable[[], object]) -> bool:
        conv._laid_out = None
        run()
        return conv._laid_out is not None

    def under(*contexts: Any) -> None:
        with torch.no_grad(), contexts[0]:
            conv(x)

    assert laid_out(lambda: under(torch.inference_mode()))
    assert laid_out(lambda: under(torch.no_grad()))
    assert not laid_out(lambda: conv(x))
    assert not laid_out(lambda: under(torch.enable_grad()))
    assert not laid_out(lambda: under(torch.autocast("cpu", torch.bfloat16)))
    assert not laid_out(lambda: under(FlopCounterMode(display=False)))
    assert not laid_out(lambda: under(torch.backends.mkldnn.flags(enabled=False)))
    with torch.no_grad():
        assert not laid_out(lambda: torch.vmap(conv)(x[None]))
        assert not laid_out(lambda: torch.jit.trace(conv, x, check_trace=False))
        assert not laid_out(lambda: fx.symbolic_trace(nn.Sequential(conv))(x))
        assert not laid_out(lambda: torch.export.export(conv, (x,)))
        assert not laid_out(lambda: conv(x[:0]))
        assert not laid_out(lambda: copy.deepcopy(conv).double()(x.double()))
        assert not laid_out(lambda: copy.deepcopy(conv).to("meta")(x.to("meta")))


@needs_onednn
@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_a_weight_that_changes_is_laid_out_again(guard: Any) -> None:
    conv, x = fused(), images(9, 8)
    with guard():
        conv(x)
        with torch.inference_mode(False), torch.no_grad():
            conv.weight.mul_(2)
        torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, conv.bias, padding=1))
    conv.load_state_dict({key: value * 0.5 for key, value in conv.state_dict().items()})
    with guard():
        for size in (9, 17, 4):  # laid out once, for whatever size
            y = images(size, 8)
            torch.testing.assert_close(conv(y), F.conv2d(y, conv.weight, conv.bias, padding=1))


def test_the_faster_way_on_the_example_is_taken_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = trained("resnet20"), images()
    ticks = itertools.count()
    with monkeypatch.context() as patch:  # every second call, the general one, seems to take no time
        patch.setattr("convzoo.deploying.convolution.time.perf_counter", lambda: (next(ticks) + 1) // 2 % 2)
        chosen = deploy(model, example_input=x)
    convolutions = [module for module in chosen.modules() if isinstance(module, FusedConv2d)]
    assert not any(module._forward_pre_hooks for module in convolutions)
    assert {module.general for module in convolutions} <= {True, False}
    assert_same(chosen, model, x)
    assert not any(m.general for m in deploy(model).modules() if isinstance(m, FusedConv2d))
    with pytest.raises(OptionError, match="example_input is a tensor of images, got 'x'"):
        deploy(model, example_input="x")  # type: ignore[arg-type]


SCALES = (2.0, -0.5, 0.0, 1e-38, -1e-30, 1e-6, 3.0, -1.0)


@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
def test_a_norm_and_a_relu_become_a_clamp_whatever_the_scale(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 1)).to(dtype)
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor(SCALES))
        net[0].bias.copy_(torch.linspace(-1, 1, 8))
        net[0].running_mean.normal_()
    deployed = deploy(net.eval())
    assert [type(module) for module in deployed.children()] == [Clamp, FusedConv2d]
    assert all(bool(value.isfinite().all()) for value in deployed.state_dict().values())
    exact = copy.deepcopy(net).double()(images(5, 8).double())
    with torch.no_grad():
        assert off(deployed(images(5, 8, dtype)), exact) <= BOUNDS[dtype]


@pytest.mark.parametrize("act", [None, *ACTS[:4]], ids=str)
def test_a_norm_that_no_convolution_takes_is_a_scale_and_a_shift(act: nn.Module | None) -> None:
    net = nn.Sequential(nn.BatchNorm2d(8), *([act] if act else []), nn.Conv2d(8, 8, 3, padding=1))
    jitter_norms(net)
    deployed = deploy(net.eval())
    assert [type(module) for module in deployed.children()] == [ScaleShift, FusedConv2d]
    assert_same(deployed, net, images(5, 8))


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2),
        nn.AvgPool2d(3, 2, 1),
        nn.AvgPool2d(2, 2, ceil_mode=True),
        nn.AvgPool2d(3, 1),
        nn.AvgPool2d(2, divisor_override=3),
    ],
    ids=str,
)
def test_a_pool_trades_places_with_a_1x1_convolution_only_where_that_is_the_same(pool: nn.AvgPool2d) -> None:
    net = nn.Sequential(nn.Conv2d(8, 4, 1), pool).eval()
    deployed, counts = deployed_by(net, REWRITES)
    assert_same(deployed, net, images(7, 8))
    assert counts["pool before 1x1 convolutions"] == (
        pool.padding == 0 and pool.stride == 2 and not pool.ceil_mode and pool.divisor_override is None
    )


# Graphs of whoever


class Plain(nn.Module):
    """A function of its layers and its input."""

    def __init__(self, run: Callable[[Any, torch.Tensor], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: torch.Tensor) -> Any:
        return self.run(self, x)


def conv() -> nn.Conv2d:
    return nn.Conv2d(8, 8, 3, padding=1)


def norm() -> nn.BatchNorm2d:
    return nn.BatchNorm2d(8)


def view_before_product(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    part = y[:, :4]
    return torch.cat([y * 2, part], 1)


def read_later(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    z = y * 3
    return z + y


def read_by_itself(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    return y * y + (y + y)


def input_is_kept(m: Any, x: torch.Tensor) -> torch.Tensor:
    return F.relu(x * 2 + m.n(m.a(x))) + x


def broadcast(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.a(x).mean((2, 3), keepdim=True) * m.b(x) + m.a2(x).amax((2, 3), keepdim=True)


def sum_of_two(m: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.relu(m.n(m.a(x)) + m.n2(m.b(x)))


def broadcast_sum(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.a(x) + m.b(x).mean((2, 3), keepdim=True)


def norm_read_elsewhere(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.n(m.a(x)) * m.n.weight.view(-1, 1, 1)


def conv_twice(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.n(m.a(m.a(x)))


def conv_read_twice(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    return m.n(y) - y


def several_outputs(m: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    y = m.n(m.a(x))
    return y.add(1), y


def chunks(m: Any, x: torch.Tensor) -> torch.Tensor:
    first, second = m.a(x).chunk(2, 1)[0], m.a2(x).chunk(2, 1)[1]
    return first * second + second * 2


def gate(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.n(m.a(x))
    return F.relu(y * y.mean((2, 3), keepdim=True).sigmoid() + x)


def scalar_sums(m: Any, x: torch.Tensor) -> torch.Tensor:
    return 1 + m.a(x) * 2.5 + 3


def inplace_methods(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    y += m.b(x)
    return y.mul_(2).relu_()


def expanded(m: Any, x: torch.Tensor) -> torch.Tensor:
    return (m.a(x).sum(1, keepdim=True).expand_as(x) + x) * 2


RUNS = (
    *(view_before_product, read_later, read_by_itself, input_is_kept, broadcast, sum_of_two, broadcast_sum),
    *(norm_read_elsewhere, conv_twice, conv_read_twice, several_outputs, chunks, gate, scalar_sums),
    *(inplace_methods, expanded),
)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_any_graph_gives_the_same_and_its_input_stays_as_it_is(run: Callable[[Any, torch.Tensor], Any]) -> None:
    torch.manual_seed(0)
    net = Plain(run, a=conv(), b=conv(), a2=conv(), n=norm(), n2=norm())
    jitter_norms(net)
    deployed, x = deploy(net.eval()), images(6, 8)
    for dtype, layout in itertools.product(BOUNDS, (torch.contiguous_format, LAST)):
        given = x.to(dtype).to(memory_format=layout)
        with torch.no_grad():
            expected = copy.deepcopy(net).double()(x.double())
            kept = given.clone()
            found = copy.deepcopy(deployed).to(dtype)(given)
        if not isinstance(found, tuple):
            found, expected = (found,), (expected,)
        bound = BOUNDS[torch.float32]  # folded in float32
        assert all(off(one, other) <= bound for one, other in zip(found, expected, strict=True))
        assert torch.equal(given, kept)


class Opaque(nn.Module):
    """What torch.fx cannot trace."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum() > math.inf else x + 1


def test_a_part_without_a_graph_is_called_whole_and_the_rest_is_rewritten() -> None:
    net = nn.Sequential(conv(), norm(), Opaque(), conv(), nn.ReLU()).eval()
    deployed, counts = deployed_by(net, REWRITES)
    assert (counts["fold norms into convolutions"], counts["activate in convolutions"]) == (1, 1)
    assert_same(deployed, net, images(6, 8))
    alone = deploy(nn.ModuleDict({"a": nn.Sequential(conv(), norm())}).eval())  # has no forward at all
    assert [type(module) for module in alone["a"].children()] == [FusedConv2d]


def test_convolutions_with_hooks_other_paddings_and_weights_of_their_own_stay() -> None:
    hooked = nn.Sequential(conv(), norm()).eval()
    seen: list[int] = []
    hooked[0].register_forward_hook(lambda *given: seen.append(1))
    reflected = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), norm()).eval()
    named = nn.Sequential(nn.Conv2d(8, 8, 3, padding="same"), norm()).eval()
    weighted = nn.Sequential(nn.utils.parametrizations.weight_norm(conv()), norm()).eval()
    for net in (hooked, reflected, named, weighted):
        assert_same(deploy(net), net, images(6, 8))
    assert seen


# Dense stages


def test_layers_that_append_fill_one_map_and_keep_their_names() -> None:
    model = trained("densenet40_k12_bc")
    deployed, x = deploy(model), images(channels=24)
    assert all(isinstance(stage, DenseStage) for stage in deployed.stages)
    assert [list(stage._modules) for stage in deployed.stages] == [list(stage._modules) for stage in model.stages]
    stage = copy.deepcopy(deployed.stages[0])
    with torch.no_grad():
        kept = x.clone()
        found = stage(x)
        assert off(found, model.stages[0](x)) <= 1e-5
        assert torch.equal(x, kept)
        assert found.is_contiguous(memory_format=LAST)
        assert torch.equal(found[:, :24], x)
    assert off(stage(x), model.stages[0](x)) <= 1e-5
