"""Learned group convolutions against their definition, and CondenseNets as trained and as deployed."""

from __future__ import annotations

import copy
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convzoo
from convzoo import LifecycleError, OptionError, ref
from convzoo.deploying.dense import DenseStage
from convzoo.network.counting import count
from convzoo.testing.numerics import jitter_norms
from convzoo_condensenet import halve_classifier
from convzoo_condensenet.classifier import IndexedLinear
from convzoo_condensenet.layers import AveragePool, CondenseLayer
from convzoo_condensenet.learned_group import LearnedGroupConv

LAST = torch.channels_last
SIZES = [(4, 4), (8, 8), (4, 2), (4, 8), (2, 4), (1, 4), (4, 1)]
"""Groups and condensation factors."""


def made(groups: int = 4, factor: int = 4, seed: int = 0) -> LearnedGroupConv:
    torch.manual_seed(seed)
    return LearnedGroupConv(16, 24, groups=groups, condense_factor=factor).double()


def small(**options: Any) -> convzoo.Model:
    """Two layers a stage, as data."""
    layer = ref("condense", growth_rate=8, **options)
    stages = (
        convzoo.Stage((layer,) * 2),
        convzoo.Stage((ref("average_pool"), layer, layer, ref("norm_act")), stride=2),
    )
    stem = ref("cifar", width=16, norm=ref("none"), act=ref("none"))
    return convzoo.Model("small", "condensenet", stem, stages, num_classes=10, input_size=32)


def network(seed: int = 0, **options: Any) -> Any:
    """The small network with norms that are not at their start."""
    torch.manual_seed(seed)
    model = convzoo.build(small(**options))
    jitter_norms(model)
    return model.eval()


def learned(model: nn.Module) -> list[LearnedGroupConv]:
    return [m for m in model.modules() if isinstance(m, LearnedGroupConv)]


def least_important(conv: LearnedGroupConv, kept: list[list[int]], number: int) -> list[list[int]]:
    """What a group keeps when ``number`` of its inputs go, written with numbers for comparison."""
    groups = conv.learned_groups
    left = []
    for group, inputs in enumerate(kept):
        rows = range(group, conv.out_channels, groups)
        cost = {i: sum(abs(float(conv.weight.detach()[row, i])) for row in rows) for i in inputs}
        left.append(sorted(sorted(inputs, key=cost.__getitem__)[number:]))
    return left


def mask(conv: LearnedGroupConv) -> list[list[int]]:
    return [row.nonzero().flatten().tolist() for row in conv.kept]


@pytest.mark.parametrize(("groups", "factor"), SIZES)
def test_schedule_takes_the_least_important_inputs_at_every_point_of_the_training(groups: int, factor: int) -> None:
    conv = made(groups, factor)
    kept, taken = [list(range(16))] * groups, 0
    for percent in range(101):
        with torch.no_grad():
            conv.weight.add_(torch.randn_like(conv.weight) * 0.1)  # the training goes on
        conv.set_progress(percent / 100)
        while taken < factor - 1 and Fraction(percent, 100) >= Fraction(taken + 1, 2 * (factor - 1)):
            kept, taken = least_important(conv, kept, 16 // factor), taken + 1
        assert mask(conv) == kept, f"at progress {percent / 100}"
    assert taken == factor - 1
    assert all(len(inputs) == 16 // factor for inputs in kept)


def test_nothing_is_taken_before_the_first_step_and_by_a_forward_pass() -> None:
    conv = made()
    conv.set_progress(0.16)
    assert bool(conv.kept.all())
    conv.set_progress(0.17)
    before = mask(conv)
    for _ in range(3):
        conv.train()(torch.randn(2, 16, 3, 3, dtype=torch.float64))
        conv.eval()(torch.randn(2, 16, 3, 3, dtype=torch.float64))
    assert mask(conv) == before


def test_inputs_of_no_weight_at_all_are_not_taken_twice() -> None:
    conv = made()
    nn.init.zeros_(conv.weight)
    for progress, left in ((0.2, 12), (0.4, 8), (0.6, 4)):
        conv.set_progress(progress)
        assert [len(inputs) for inputs in mask(conv)] == [left] * 4


def test_a_layer_set_back_to_an_older_state_condenses_again() -> None:
    conv = made()
    start = copy.deepcopy(conv.state_dict())
    conv.set_progress(1)
    conv.load_state_dict(start)
    assert bool(conv.kept.all())
    conv.set_progress(0.2)
    assert [len(inputs) for inputs in mask(conv)] == [12] * 4


def test_taken_weights_count_for_nothing_and_kept_ones_count() -> None:
    conv, x = made(), torch.randn(2, 16, 3, 3, dtype=torch.float64)
    conv.set_progress(0.6)
    out = conv(x)
    keeps = conv.kept[torch.arange(24) % 4][:, :, None, None]
    torch.testing.assert_close(out, F.conv2d(x, conv.weight * keeps))
    out.square().sum().backward()
    assert conv.weight.grad is not None
    assert torch.equal(conv.weight.grad != 0, keeps)
    with torch.no_grad():
        conv.weight[~keeps] = 9
    assert torch.equal(conv(x), out)


@pytest.mark.parametrize(("groups", "factor"), SIZES)
def test_penalty_is_the_group_lasso_until_the_last_step(groups: int, factor: int) -> None:
    conv = made(groups, factor)
    for step in range(factor):
        conv.set_progress(step / (2 * (factor - 1)) if factor > 1 else 1)
        expected = 0.0
        for group in range(groups):
            for i in range(16):
                rows = conv.weight[group::groups, i] * conv.kept[group, i]
                expected += max(float(rows.detach().square().sum()), 1e-6) ** 0.5
        assert float(conv.penalty().detach()) == pytest.approx(0 if step == factor - 1 else expected)


def test_penalty_pulls_at_what_is_kept_only() -> None:
    conv = made()
    conv.set_progress(0.4)
    conv.penalty().backward()
    assert conv.weight.grad is not None
    keeps = conv.kept[torch.arange(24) % 4][:, :, None, None]
    assert torch.equal(conv.weight.grad != 0, keeps)
    assert bool(conv.weight.grad.isfinite().all())


@pytest.mark.parametrize("fmt", [torch.contiguous_format, LAST])
@pytest.mark.parametrize(("groups", "factor"), SIZES)
def test_deployed_layer_stores_what_it_reads_and_gives_the_same_outputs(
    groups: int, factor: int, fmt: torch.memory_format
) -> None:
    conv = made(groups, factor)
    conv.set_progress(0.5)
    deployed, x = conv.deploy(), torch.randn(2, 16, 5, 5, dtype=torch.float64).to(memory_format=fmt)
    torch.testing.assert_close(deployed(x), conv(x))
    assert deployed(x).is_contiguous(memory_format=fmt)
    assert sum(p.numel() for p in deployed.parameters()) == conv.weight.numel() // factor
    assert deployed.index.numel() == groups * 16 // factor
    assert torch.equal(deployed.kernel() != 0, conv._masked() != 0)
    with torch.no_grad():  # by the kernel for inference, in float32
        torch.testing.assert_close(deployed.float()(x.float()), conv.float()(x.float()))


@pytest.mark.parametrize("options", [{}, {"condense_factor": 2}, {"norm": ref("group", groups=8), "act": "silu"}])
def test_deployed_network_gives_the_same_outputs_and_leaves_the_original_alone(options: dict[str, Any]) -> None:
    model, x = network(**options), torch.randn(4, 3, 32, 32)
    convzoo.set_progress(model, 0.5)
    before = copy.deepcopy(model.state_dict())
    deployed = convzoo.deploy(model)
    with torch.no_grad():
        torch.testing.assert_close(deployed(x), model(x), atol=1e-5, rtol=0)
    assert learned(deployed) == []
    assert not any(name.endswith("kept") for name in deployed.state_dict())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("act", ["relu", "silu"])
def test_channels_that_lie_apart_are_taken_out_by_group_and_give_the_same(
    batch: int, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x, products = network(act=act), torch.randn(batch, 3, 32, 32), []
    convzoo.set_progress(model, 1)
    deployed = convzoo.deploy(model)
    stages = [module for module in deployed.modules() if isinstance(module, DenseStage)]
    assert len(stages) == 2
    assert not any(stage.reads_channels for stage in stages), "so few channels are not worth it"
    for name in ("bmm", "baddbmm"):
        product = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *given, product=product: (products.append(given), product(*given))[1])
    for apart in (False, True):
        for stage in stages:
            stage.apart = apart
        with torch.inference_mode():
            torch.testing.assert_close(deployed(x), model(x), atol=1e-5, rtol=0)
        assert len(products) == apart * 4


def test_stages_of_many_channels_and_few_pixels_lie_apart() -> None:
    model = convzoo.create_model("condensenet50_cifar").eval()
    convzoo.set_progress(model, 1)
    first, _, last = [stage for stage in convzoo.deploy(model).modules() if isinstance(stage, DenseStage)]
    seen = []
    last[-2].register_forward_pre_hook(lambda module, given: seen.append(given[0].transpose(0, 1).is_contiguous()))
    with torch.inference_mode():
        for batch in (2, 32):
            last(torch.randn(batch, 208, 16, 16))
    assert seen == [True, False]
    assert not first.reads_channels


def test_deployed_state_loads_into_another_deployed_network() -> None:
    first, second, x = network(), network(seed=1), torch.randn(2, 3, 32, 32)
    for model in (first, second):
        convzoo.set_progress(model, 1)
    deployed, other = convzoo.deploy(first), convzoo.deploy(second)
    other.load_state_dict(deployed.state_dict())
    with torch.no_grad():
        assert torch.equal(other(x), deployed(x))


@pytest.mark.parametrize("progress", [None, 0.2, 0.49])
def test_an_unfinished_network_is_not_deployed_but_told_when_it_will_be(progress: float | None) -> None:
    model = network()
    if progress:
        convzoo.set_progress(model, progress)
    taken = {None: 0, 0.2: 1, 0.49: 2}[progress]
    with pytest.raises(LifecycleError, match=rf"stages\.0\.0\.branch\.conv1: {taken} of 3 condensing.*progress 0\.5"):
        convzoo.deploy(model)


def test_condensing_does_not_recompile_a_compiled_network() -> None:
    model, x, graphs = network(), torch.randn(2, 3, 32, 32), []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, backend=backend, fullgraph=True)
    for progress in (0, 0.2, 0.6):
        convzoo.set_progress(model, progress)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), model(x))
    assert len(graphs) == 1


def test_layer_appends_what_its_two_convolutions_make() -> None:
    torch.manual_seed(0)
    layer = CondenseLayer(16, growth_rate=8, groups_3x3=2, dilation=2).eval()
    x = torch.randn(2, 16, 7, 7)
    scale = (1 + 1e-5) ** -0.5  # norms at their start
    inner = F.conv2d((x * scale).clamp(min=0), layer.branch.conv1.weight)
    new = F.conv2d((inner * scale).clamp(min=0), layer.branch.conv2.weight, padding=2, dilation=2, groups=2)
    torch.testing.assert_close(layer(x), torch.cat([x, new], 1))
    assert layer.out_channels == 24


def test_dropout_stands_between_the_activation_and_the_learned_convolution() -> None:
    layer = CondenseLayer(16, growth_rate=8, dropout=0.1)
    assert list(dict(layer.branch.named_children()))[:4] == ["norm1", "act1", "dropout1", "conv1"]
    assert layer.branch.dropout1.p == 0.1


@pytest.mark.parametrize(("stride", "size"), [(1, 7), (2, 3)])
def test_a_transition_is_a_pool_and_nothing_else(stride: int, size: int) -> None:
    pool, x = AveragePool(6, stride=stride), torch.randn(2, 6, 7, 7)
    assert list(pool.parameters()) == []
    assert pool(x).shape == (2, 6, size, size)
    torch.testing.assert_close(pool(x), F.avg_pool2d(x, stride))


@pytest.mark.parametrize(("name", "stride"), [("condensenet74_g4", 2), ("condensenet50_cifar", 1)])
def test_stem_is_one_bare_convolution(name: str, stride: int) -> None:
    stem = convzoo.create_model(name, device="meta").stem
    assert [type(m) for m in stem.children() if not isinstance(m, nn.Identity)] == [nn.Conv2d]
    assert (stem.conv.out_channels, stem.conv.kernel_size, stem.conv.stride) == (16, (3, 3), (stride, stride))


@pytest.mark.parametrize("bias", [True, False])
def test_halved_classifier_reads_the_features_of_the_largest_weights(bias: bool) -> None:
    model, x = network(), torch.randn(2, 3, 32, 32)
    model.head.fc = nn.Linear(model.num_features, 10, bias=bias)
    convzoo.set_progress(model, 1)
    before = copy.deepcopy(model.state_dict())
    halved = halve_classifier(model)
    weight = model.get_classifier().weight.detach()
    importance = weight.abs().sum(0)
    chosen = sorted(range(48), key=lambda i: float(importance[i]))[24:]
    fc = halved.get_classifier()
    assert fc.index.tolist() == chosen
    assert (fc.in_features, fc.weight.shape, fc.bias is not None) == (24, (10, 24), bias)
    with torch.no_grad():
        zeroed = torch.zeros_like(weight)
        zeroed[:, chosen] = weight[:, chosen]
        pooled = model.forward_head(model.forward_features(x), pre_logits=True)
        torch.testing.assert_close(halved(x), F.linear(pooled, zeroed, model.get_classifier().bias))
        both = (convzoo.deploy(halved), halve_classifier(convzoo.deploy(model)))
        torch.testing.assert_close(both[0](x), both[1](x))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_an_odd_number_of_features_is_halved_downwards() -> None:
    model = convzoo.create_model("resnet20", num_classes=2)
    model.head.fc = nn.Linear(7, 2)
    assert halve_classifier(model).get_classifier().in_features == 3


def test_what_is_no_linear_layer_is_not_halved() -> None:
    halved, headless = halve_classifier(network()), network()
    headless.reset_classifier(0)
    assert isinstance(halved.get_classifier(), IndexedLinear)
    for model in (halved, headless):
        with pytest.raises(LifecycleError, match="not a plain Linear"):
            halve_classifier(model)


def test_a_network_with_half_a_classifier_is_not_saved_as_one_that_cannot_be_made_again(tmp_path: Path) -> None:
    model = network()
    convzoo.set_progress(model, 1)
    for halved in (halve_classifier(model), halve_classifier(convzoo.deploy(model))):
        with pytest.raises(convzoo.WeightsError, match=r"head\.fc of .* is IndexedLinear .* replace it again"):
            convzoo.save_pretrained(halved, tmp_path, safe=False)
    assert list(tmp_path.iterdir()) == []
    convzoo.save_pretrained(convzoo.deploy(model), tmp_path, safe=False)
    again, x = halve_classifier(convzoo.create_model(f"local-dir:{tmp_path}")), torch.randn(2, 3, 32, 32)
    assert torch.equal(again(x), halved(x))


# name, parameters and multiply-accumulates deployed with half the classifier, where the table of variants has none
@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [("condensenet98_cifar", 643_882, 76_992_976), ("condensenet182_cifar", 4_209_226, 493_916_592)],
)
def test_deployed_networks_cost_what_they_are_pinned_to(name: str, params: int, macs: int) -> None:
    model = convzoo.create_model(name)
    convzoo.set_progress(model, 0.5)
    assert count(halve_classifier(convzoo.deploy(model, rewrite=False)).to("meta"), (3, 32, 32)) == (params, macs)


def test_output_stride_keeps_the_size_and_dilates() -> None:
    model = convzoo.create_model("condensenet74_g4", output_stride=8, device="meta")
    assert model.forward_features(torch.empty(2, 3, 64, 64, device="meta")).shape[-1] == 8
    assert model.stages[-1][-2].branch.conv2.dilation == (4, 4)


@pytest.mark.parametrize(
    "options",
    [
        {"growth_rate": 0},
        {"bottleneck": 0},
        {"groups_1x1": 3},
        {"groups_1x1": 0},
        {"condense_factor": 0},
        {"condense_factor": 32},
        {"groups_3x3": 5},
        {"dropout": 1.0},
    ],
)
def test_impossible_values_are_refused(options: dict[str, Any]) -> None:
    name = next(iter(options))
    with pytest.raises(OptionError, match="groups.* 5" if name == "groups_3x3" else name):
        convzoo.create_model("condensenet50_cifar", device="meta", **options)
