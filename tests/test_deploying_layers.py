"""The layers that ``convzoo.deploy`` puts in, and what it makes them of."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from convzoo import OptionError, create_model, deploy
from convzoo.deploying.convolution import FusedConv2d
from convzoo.deploying.deploy import deployed_by
from convzoo.deploying.pointwise import Clamp, ScaleShift
from convzoo.deploying.rewrites import REWRITES
from convzoo.deploying.settings import HAVE
from convzoo.testing.numerics import jitter_norms

from .deployed import BOUNDS, assert_same, images, off, trained

needs_onednn = pytest.mark.skipif(not HAVE, reason="this torch has no oneDNN")


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
        conv._held = None
        run()
        return conv._held is not None

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


@needs_onednn
def test_a_weight_that_was_replaced_or_converted_is_laid_out_again() -> None:
    conv, x = fused(), images(9, 8)
    array = conv.weight.detach().numpy().copy()
    conv.weight = nn.Parameter(torch.from_numpy(array))

    def put_another_in_its_place() -> None:
        array[:] *= 2
        conv.weight = nn.Parameter(torch.from_numpy(array))

    changes = (
        put_another_in_its_place,
        lambda: setattr(conv, "weight", nn.Parameter(conv.weight.detach() * 2)),
        lambda: conv.load_state_dict({key: value * 3 for key, value in conv.state_dict().items()}, assign=True),
        lambda: conv.half().float(),
        lambda: torch.nn.utils.vector_to_parameters(torch.ones(8 * 8 * 9 + 8), conv.parameters()) or conv.cpu(),
    )
    for change in changes:
        with torch.no_grad():
            conv(x)
        change()
        with torch.no_grad():
            torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, conv.bias, padding=1))


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("act", [None, nn.ReLU(), nn.GELU()], ids=str)
@pytest.mark.parametrize("size", [4, 160])
def test_a_1x1_convolution_is_a_product_of_matrices_where_it_is_small_and_gives_the_same(
    bias: bool, act: nn.Module | None, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv, x, products = fused(act, kernel_size=1, padding=0, bias=bias), images(size, 8), []
    product = F.linear
    monkeypatch.setattr(F, "linear", lambda *given: (products.append(given), product(*given))[1])
    for other in (None, images(size, 8).mul(3)):
        conv.sums = other is not None
        y = F.conv2d(x, conv.weight, conv.bias)
        y = y if other is None else y + other
        products.clear()
        with torch.inference_mode():
            torch.testing.assert_close(conv(x, other), y if act is None else act(y))
        bare = not bias and act is None and other is None
        assert len(products) == (size == 4 or bare), "a large one has no pass over the map to spare"


def test_a_weight_of_inference_mode_that_changes_is_used_as_it_is_then() -> None:
    conv, x = fused(), images(9, 8)
    with torch.inference_mode():
        conv.weight = nn.Parameter(conv.weight.clone(), requires_grad=False)
        conv(x)
        conv.weight.mul_(2)
        torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, conv.bias, padding=1))


@needs_onednn
@pytest.mark.parametrize("slow", ["_at_once", "plainly"])
def test_the_way_that_is_faster_on_the_example_is_taken_and_gives_the_same(
    slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, clock = trained("resnet20"), itertools.count()
    way = getattr(FusedConv2d, slow)
    with monkeypatch.context() as patch:
        time = [0]
        patch.setattr("convzoo.deploying.settings.time.perf_counter", lambda: next(clock) * 1e-6 + time[0])
        patch.setattr(FusedConv2d, slow, lambda *given: (time.__setitem__(0, time[0] + 1), way(*given))[1])
        chosen = deploy(model, example_input=images())
    convolutions = [module for module in chosen.modules() if isinstance(module, FusedConv2d)]
    assert {module.general for module in convolutions} == {slow == "_at_once"}
    assert not any(module._forward_pre_hooks for module in convolutions)
    assert_same(chosen, model, images())
    assert not any(m.general for m in deploy(model).modules() if isinstance(m, FusedConv2d))


def test_an_example_that_is_no_tensor_is_refused() -> None:
    with pytest.raises(OptionError, match="example_input is a tensor of images, got 'x'"):
        deploy(create_model("resnet20"), example_input="x")  # type: ignore[arg-type]


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


@pytest.mark.parametrize("layout", ["channels_last", "apart"])
def test_a_clamp_heeds_both_bounds_and_what_becomes_of_them(layout: str) -> None:
    most, x = torch.finfo(torch.float32).max, images(5, 8).mul(9)
    if layout == "apart":
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
    clamp = Clamp(torch.linspace(-1, 1, 8), torch.full((8,), most))
    with torch.inference_mode():
        assert torch.equal(clamp(x), x.maximum(clamp.low[:, None, None]))
    changes = (
        lambda: clamp.high.fill_(2),
        lambda: clamp.load_state_dict({"low": clamp.low * 2, "high": torch.linspace(3, 4, 8)}),
        lambda: clamp.load_state_dict({"low": clamp.low, "high": torch.full((8,), most)}),
        lambda: setattr(clamp, "high", torch.full((8,), 2.5)),
    )
    for change in changes:
        change()
        with torch.inference_mode():
            assert torch.equal(clamp(x), x.clamp(clamp.low[:, None, None], clamp.high[:, None, None]))


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
