"""Any part fits any other: what is put together builds, runs, learns, and has the parameters of its parts."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import convzoo
from convzoo import Component, Model, Ref, Stage, ref
from convzoo.building import parts
from convzoo.building.compose import compose
from convzoo.layers import ConvNormAct, DropPath
from convzoo.network.model import ConvNet
from convzoo.plugins.host import plugins, registry
from convzoo.resnet.blocks import ResidualBlock
from convzoo.resnet.norms import InstanceNorm
from convzoo.testing.numerics import jitter_norms, load_images, silent_weights


def names(kind: str) -> list[str]:
    return [component.name for component, _ in registry().components(kind)]


def part(kind: str, name: str) -> parts.Part:
    return parts.find(registry(), kind, ref(name))


def by_hand(kind: str, name: str, *args: Any, **options: Any) -> nn.Module:
    """A part made by its own class, without the builder."""
    return registry().component(kind, name)[0].load()(*args, **options)


def blocks_with(option: str) -> list[str]:
    return [name for name in names("block") if part("block", name).declares(option)]


def each_pair(combinations: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Of the combinations, few in which still any two parts that go together stand together once."""
    pairs = {each: set(itertools.combinations(enumerate(each), 2)) for each in combinations}
    left, chosen = set().union(*pairs.values()), []
    while left:
        chosen.append(max(combinations, key=lambda each: len(left & pairs[each])))
        left -= pairs[chosen[-1]]
    return chosen


COMBINATIONS = each_pair(
    [
        (block, attention, stem)
        for block in names("block")
        for attention in [None, *names("attention")]
        for stem in names("stem")
        if attention is None or block in blocks_with("attention")
    ]
)
CONVS = [
    (block, conv, cardinality)
    for block in blocks_with("conv")
    for conv in names("conv")
    for cardinality in ((1, 2) if part("block", block).declares("cardinality") else (1,))
]
DILATED_CONVS = [*{(block, conv): (block, conv, cardinality) for block, conv, cardinality in CONVS}.values()]
SHORTCUTS = [(block, shortcut) for block in blocks_with("shortcut") for shortcut in names("shortcut")]
SMALL = {"planes": 8}
NARROW_STEM = ref("cifar", width=8)


def parts_of(spec: Model) -> set[tuple[str, str]]:
    """Kind and name of every part of a whole spec, but for its norms and activations."""

    def inside(kind: str, ref: Ref) -> Iterator[tuple[str, str]]:
        yield kind, ref.name
        for slot, value in ref.options.items():
            if isinstance(value, Ref):
                yield from inside(slot, value)

    layers = {layer for stage in spec.stages for layer in stage.layers}
    named = [("stem", spec.stem), ("head", spec.head), *(("block", each) for each in layers)]
    return {found for kind, ref in named for found in inside(kind, ref)}


def with_every_part() -> list[str]:
    """The smallest variants that between them have every part that any has."""
    seen: set[tuple[str, str]] = set()
    chosen = []
    for name, entry in sorted(registry().models().items(), key=lambda item: item[1].spec.params or 0):
        if new := parts_of(compose(entry.spec, registry())) - seen:
            chosen.append(name)
            seen |= new
    return chosen


VARIANTS = with_every_part()


def layer(block: str, **options: Any) -> Ref:
    """A narrow layer: with the options that the block cannot do without, taken from a variant that has the block."""
    known = part("block", block)
    required = [name for name in known.options if (p := known.signature.parameters[name]).default is p.empty]
    layers = [each for entry in registry().models().values() for stage in entry.spec.stages for each in stage.layers]
    variant = next((each.options for each in layers if each.name == block), {})
    if known.declares("compression"):
        options = {"compression": 1.0, **options}  # six of them in a row would leave nothing of a narrow stem
    return ref(block, **{name: SMALL.get(name, variant.get(name)) for name in required}).with_options(**options)


def spec(block: str, *, stem: str | Ref = NARROW_STEM, depth: int = 2, **options: Any) -> Model:
    """Three small stages of one block; ``options`` go to its layers, and ``planes`` double from stage to stage."""
    first = layer(block, **options)
    planes = first.options.get("planes")
    layers = [first.with_options(planes=planes << n) if planes else first for n in range(3)]
    later = 2 if part("block", block).declares("stride") else 1
    stages = tuple(Stage((each,) * depth, stride=later if n else 1) for n, each in enumerate(layers))
    return Model("small", "small", stem=stem, stages=stages, num_classes=5, input_size=32)


def combined(block: str, attention: str | None, stem: str | Ref, **where: Any) -> ConvNet:
    options = {"attention": attention} if attention else {}
    return convzoo.create_model(spec(block, stem=stem), **options, **where)


def layers_of(model: ConvNet) -> list[nn.Module]:
    return [layer for stage in model.stages for layer in stage]


def params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def attentions_params(model: ConvNet, attention: str | Ref | None) -> int:
    """Of one such attention in each layer of ``model``, as wide as the layer asks for."""
    if attention is None:
        return 0
    name, options = (attention, {}) if isinstance(attention, str) else (attention.name, attention.options)
    widths: list[int] = []

    def probe(channels: int) -> nn.Module:
        widths.append(channels)
        return nn.Identity()

    convzoo.register(Component("attention", "probe", probe), plugin="test_composition")
    try:
        convzoo.create_model(model.spec, attention="probe", device="meta")
    finally:
        plugins().remove("test_composition")
    assert len(widths) == len(layers_of(model))
    return sum(params(by_hand("attention", name, channels, **options)) for channels in widths)


def assert_it_learns(model: nn.Module, size: int = 32) -> None:
    """Finite outputs, and a finite gradient for every parameter, none of which is left out."""
    torch.manual_seed(0)
    jitter_norms(model)
    output = model.train()(torch.randn(2, 3, size, size))
    output.square().mean().backward()
    assert output.isfinite().all()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize(("block", "attention", "stem"), COMBINATIONS)
def test_any_block_learns_with_any_attention_and_stem(block: str, attention: str | None, stem: str) -> None:
    assert_it_learns(combined(block, attention, stem))


@pytest.mark.parametrize(("block", "attention", "stem"), COMBINATIONS)
def test_parameters_of_a_combination_add_up(block: str, attention: str | None, stem: str) -> None:
    chosen = by_hand("stem", stem, 3)
    # A plain stem as wide as the chosen one, so that the first block has the same input.
    base_stem = ref("conv", width=chosen.out_channels)
    base = combined(block, None, base_stem, device="meta")
    plain = params(base) - params(by_hand("stem", "conv", 3, width=chosen.out_channels))
    added = params(chosen) + attentions_params(base, attention)
    assert params(combined(block, attention, stem, device="meta")) == plain + added


@pytest.mark.parametrize("attention", names("attention"))
@pytest.mark.parametrize("block", blocks_with("attention"))
def test_every_layer_gets_an_attention_of_its_own(block: str, attention: str) -> None:
    model = combined(block, attention, NARROW_STEM, device="meta")
    kind = type(by_hand("attention", attention, 16))
    found = [[m for m in layer.modules() if type(m) is kind] for layer in layers_of(model)]
    assert [len(modules) for modules in found] == [1] * len(layers_of(model))
    assert len({id(m) for modules in found for m in modules}) == len(found)


@pytest.mark.parametrize(("block", "conv", "cardinality"), CONVS)
def test_any_conv_learns_in_any_block(block: str, conv: str, cardinality: int) -> None:
    options = {"cardinality": cardinality} if cardinality > 1 else {}
    assert_it_learns(convzoo.build(spec(block, conv=ref(conv), **options)))


@pytest.mark.parametrize(("block", "conv", "cardinality"), CONVS)
def test_the_conv_replaces_the_plain_one_at_the_same_widths_and_groups(block: str, conv: str, cardinality: int) -> None:
    options = {"cardinality": cardinality} if cardinality > 1 else {}
    plain = convzoo.build(spec(block, **options), device="meta")
    expected = params(plain)
    for each in layers_of(plain):
        (old,) = (m for m in each.modules() if type(m) is ConvNormAct)
        sizes = {"groups": old.conv.groups} if old.conv.groups > 1 else {}
        assert old.conv.groups == cardinality
        new = by_hand("conv", conv, old.conv.in_channels, old.conv.out_channels, **sizes)
        expected += params(new) - params(old)
    assert params(convzoo.create_model(spec(block, **options), conv=conv, device="meta")) == expected


@pytest.mark.parametrize("conv", [name for name in names("conv") if part("conv", name).declares("groups")])
def test_a_conv_groups_every_kernel_that_spans_pixels(conv: str) -> None:
    for groups in (1, 4):
        made = by_hand("conv", conv, 16, 32, groups=groups)
        # What a deformable convolution takes its offsets from sees all channels.
        inside = [m for name, m in made.named_modules() if name != "offset"]
        kernels = [m for m in inside if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]
        assert kernels
        assert all(m.groups % groups == 0 for m in kernels)


@pytest.mark.parametrize(("block", "shortcut"), SHORTCUTS)
def test_any_shortcut_learns_in_any_block(block: str, shortcut: str) -> None:
    assert_it_learns(convzoo.build(spec(block, shortcut=ref(shortcut))))


@pytest.mark.parametrize(
    ("block", "shortcut", "output_stride"), [(*each, 1 + number % 2) for number, each in enumerate(SHORTCUTS)]
)
def test_any_shortcut_learns_in_dilated_stages(block: str, shortcut: str, output_stride: int) -> None:
    model = convzoo.create_model(spec(block, shortcut=ref(shortcut)), output_stride=output_stride)
    assert_it_learns(model)
    assert model.forward_features(torch.randn(2, 3, 32, 32)).shape[2:] == (32 // output_stride,) * 2


@pytest.mark.parametrize(("block", "conv", "cardinality"), DILATED_CONVS)
def test_any_conv_learns_in_dilated_stages(block: str, conv: str, cardinality: int) -> None:
    options = {"cardinality": cardinality} if cardinality > 1 else {}
    assert_it_learns(convzoo.create_model(spec(block, conv=ref(conv), **options), output_stride=1))


@pytest.mark.parametrize("wider", [True, False])
@pytest.mark.parametrize(("block", "shortcut"), SHORTCUTS)
def test_the_shortcut_stands_where_the_shape_changes_and_only_there(block: str, shortcut: str, wider: bool) -> None:
    net = spec(block, shortcut=ref(shortcut))
    if not wider:
        net = dataclasses.replace(net, stages=[Stage(net.stages[0].layers, each.stride) for each in net.stages])
    model = convzoo.build(net, device="meta")
    channels = model.stem.out_channels
    for stage, described in zip(model.stages, net.stages, strict=True):
        for place, each in enumerate(stage):
            stride = described.stride if place == 0 else 1
            if stride == 1 and channels == each.out_channels:
                assert isinstance(each.shortcut, nn.Identity)
            else:
                hand = by_hand("shortcut", shortcut, channels, each.out_channels, stride=stride)
                assert str(each.shortcut) == str(hand)
            channels = each.out_channels


class Operations(TorchDispatchMode):
    """The names of all operations within."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(func.__name__)
        return func(*args, **(kwargs or {}))


def operations(model: ConvNet) -> set[str]:
    with Operations() as recorded:
        model(torch.empty(2, 3, 64, 64, device="meta"))
    return recorded.seen


def count_of(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(type(m) is kind for m in model.modules())


NORM_OPTIONS = {"group": {"groups": 1}}


def norm_type(name: str) -> type[nn.Module]:
    return type(by_hand("norm", name, 32))


@functools.cache
def of_batch_norms_and_relus(variant: str) -> tuple[int, int]:
    model = convzoo.create_model(variant, norm="batch", act="relu", device="meta")
    return count_of(model, nn.BatchNorm2d), count_of(model, nn.ReLU)


@pytest.mark.parametrize("norm", [name for name in names("norm") if name != "batch"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_norm_reaches_every_layer_that_has_one(variant: str, norm: str) -> None:
    model = convzoo.create_model(variant, norm=ref(norm, **NORM_OPTIONS.get(norm, {})), device="meta")
    wanted = {norm_type(norm)} - {nn.Identity}
    if InstanceNorm in wanted:  # which a pooled vector cannot have
        wanted.add(nn.GroupNorm)
    others = {norm_type(name) for name in names("norm")} - {*wanted, nn.Identity}
    assert [name for name, m in model.named_modules() if type(m) in others] == []
    if wanted:
        assert sum(count_of(model, kind) for kind in wanted) == of_batch_norms_and_relus(variant)[0] > 0


@pytest.mark.parametrize("act", ["silu", "prelu"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_activation_reaches_every_layer_that_has_one(variant: str, act: str) -> None:
    model = convzoo.create_model(variant, act=act, device="meta")
    assert count_of(model, nn.ReLU) == 0
    assert count_of(model, type(by_hand("act", act))) == of_batch_norms_and_relus(variant)[1] > 0


@pytest.mark.parametrize("act", names("act"))
def test_a_network_learns_with_any_activation(act: str) -> None:
    assert_it_learns(convzoo.create_model(spec("basic"), act=act, attention="se"))


@pytest.mark.parametrize("norm", names("norm"))
def test_a_network_learns_with_any_norm(norm: str) -> None:
    assert_it_learns(convzoo.create_model(spec("basic"), norm=norm, attention="se"))


def test_the_norm_and_activation_of_one_part_hold_within_it_and_nowhere_else() -> None:
    own = {"act": ref("silu"), "norm": ref("instance")}
    block = convzoo.create_model(spec("basic", conv=ref("plain"), attention=ref("se"), **own), device="meta")
    for each in layers_of(block):
        assert {type(m) for m in each.modules()} & {nn.ReLU, nn.BatchNorm2d} == set()
    assert type(block.stem.act) is nn.ReLU
    slot = convzoo.create_model(spec("basic", attention=ref("cbam", **own)), device="meta")
    for each in layers_of(slot):
        kinds = [type(m) for m in each.branch.attention.modules()]
        assert (kinds.count(nn.SiLU), kinds.count(InstanceNorm)) == (1, 1)
        assert (count_of(each, nn.BatchNorm2d) >= 2, count_of(each, nn.ReLU)) == (True, 2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_layer_has_a_norm_or_activation_of_its_own_in_its_forward(variant: str) -> None:
    model = convzoo.create_model(variant, norm="none", act="silu", device="meta")
    assert [name for name in operations(model) if "relu" in name or "_norm" in name] == []
    usual = operations(convzoo.create_model(variant, device="meta"))
    assert any("relu" in name for name in usual)
    assert any("batch_norm" in name for name in usual)


@pytest.mark.parametrize("norm", ["group", "instance"])
@pytest.mark.parametrize("conv", names("conv"))
def test_a_conv_learns_from_one_image_with_a_norm_of_each_image(conv: str, norm: str) -> None:
    """A norm of a pooled vector must not take each number as a group of its own, which leaves nothing of it."""
    torch.manual_seed(0)
    model = convzoo.create_model(spec("basic", conv=ref(conv)), norm=norm)
    output = model(torch.randn(1, 3, 32, 32))
    output.square().sum().backward()
    assert output.isfinite().all()
    assert [name for name, p in model.named_parameters() if p.ndim > 1 and not p.grad.any()] == []


def test_resnext_with_cbam() -> None:
    model = convzoo.create_model("resnext50_32x4d", attention="cbam")
    assert params(model) == 25_028_904 + attentions_params(model, "cbam")
    assert {layer.branch.conv2.conv.groups for layer in layers_of(model)} == {32}
    assert_it_learns(model, 64)


def test_resnet_with_deep_stem_average_shortcut_and_squeeze_excitation() -> None:
    model = convzoo.create_model("resnet50", stem="deep", shortcut="avg", attention=ref("se", reduction=8))
    assert params(model) == 25_576_264 + attentions_params(model, ref("se", reduction=8))
    assert {layer.out_channels / layer.branch.attention.fc1.out_channels for layer in layers_of(model)} == {8}
    assert [type(stage[0].shortcut[0]) for stage in model.stages] == [nn.Identity] + [nn.AvgPool2d] * 3
    assert_it_learns(model, 64)


def test_resnest_with_efficient_channel_attention() -> None:
    model = convzoo.create_model("resnest50", attention="eca")
    assert params(model) == 27_483_240 + attentions_params(model, "eca")
    assert {layer.branch.conv2.radix for layer in layers_of(model)} == {2}
    assert_it_learns(model, 64)


@pytest.mark.parametrize(("variant", "reduction"), [("resnet18", 8), ("resnext50_32x4d", 8), ("resnest14d", 8)])
def test_a_cifar_stem_fits_an_imagenet_network(variant: str, reduction: int) -> None:
    model = convzoo.create_model(variant, stem=ref("cifar", width=64), num_classes=10).eval()
    features = model.forward_features(torch.randn(1, 3, 32, 32))
    assert features.shape[2:] == (32 // reduction,) * 2
    assert model.feature_info.reduction() == [1, 1, 2, 4, 8]
    assert model.forward_head(features).isfinite().all()


@pytest.mark.parametrize("stem", ["conv", "deep"])
@pytest.mark.parametrize("variant", ["resnet20_b", "seresnet164bn", "cbam_resnet18_cifar"])
def test_an_imagenet_stem_fits_a_cifar_network(variant: str, stem: str) -> None:
    model = convzoo.create_model(variant, stem=ref(stem, width=8)).eval()
    features = model.forward_features(torch.randn(1, 3, 64, 64))
    assert 64 // features.shape[-1] == model.feature_info.reduction(-1) == 4 * 2 ** (len(model.stages) - 1)
    assert model.forward_head(features).shape == (1, 10)


def slot(model: ConvNet, name: str) -> set[Ref | None]:
    return {each.options.get(name) for stage in model.spec.stages for each in stage.layers}


def on_meta(variant: str | Model, **options: Any) -> ConvNet:
    return convzoo.create_model(variant, device="meta", **options)


@pytest.mark.parametrize("options", [{"radix": 4}, {"conv": ref("split_attention", radix=4)}])
def test_another_radix_keeps_the_variants_average_pool(options: dict[str, Any]) -> None:
    model = on_meta("resnest50", **options)
    assert slot(model, "conv") == {ref("split_attention", radix=4, avd=True, avd_first=False)}
    assert count_of(model, nn.AvgPool2d) == count_of(on_meta("resnest50"), nn.AvgPool2d) > 3


def test_another_divisor_keeps_the_variants_reduction() -> None:
    model = on_meta("resnetrs50", attention=ref("se", divisor=1))
    assert slot(model, "attention") == {ref("se", divisor=1, reduction=4)}


def test_another_attention_replaces_the_variants_with_its_options() -> None:
    model = on_meta("resnetrs50", attention="eca")
    assert slot(model, "attention") == {ref("eca")}
    assert params(model) == params(on_meta("resnetrs50", attention=None)) + attentions_params(model, "eca")


def test_an_option_of_one_part_leaves_all_others_alone() -> None:
    before = on_meta("resnetrs50").spec
    after = on_meta("resnetrs50", reduction=8).spec
    assert slot(on_meta("resnetrs50", reduction=8), "attention") == {ref("se", divisor=8, reduction=8)}
    assert after.stem == before.stem
    strip = [[each.with_options(attention=None) for each in stage.layers] for stage in before.stages]
    assert [[each.with_options(attention=None) for each in stage.layers] for stage in after.stages] == strip


def test_attention_none_takes_the_attention_out() -> None:
    model = on_meta("seresnet50", attention=None)
    plain = on_meta("resnet50")
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in plain.state_dict().items()}
    assert params(model) == 25_557_032


def test_the_order_of_options_does_not_matter() -> None:
    for first, second in [({"attention": "se"}, {"reduction": 8}), ({"stem": "deep"}, {"width": 16})]:
        assert on_meta("resnet18", **first, **second).spec == on_meta("resnet18", **second, **first).spec


COMPOSED = [
    ("resnext50_32x4d", {"attention": "cbam"}),
    ("resnet50", {"stem": "deep", "shortcut": "avg", "attention": ref("se", reduction=8)}),
    ("resnest50", {"attention": "eca", "radix": 4, "num_classes": 7}),
    ("resnest50d", {"norm": "group", "in_chans": 4}),
    ("resnet20", {"stem": ref("deep", width=8, pool="conv"), "attention": ref("se", act="silu"), "act": "gelu"}),
    ("skresnet18", {"output_stride": 8, "drop_path_rate": 0.1, "drop_rate": 0.2, "global_pool": "catavgmax"}),
    ("cbam_resnet18_cifar", {"pools": ("avg", "max", "lse"), "conv": "split_attention", "num_classes": 0}),
    ("resnet18", {"norm": ref("batch", momentum=0.01), "init": ref("kaiming", distribution="uniform")}),
]


@pytest.mark.parametrize(("variant", "options"), COMPOSED)
def test_the_spec_of_a_composed_model_survives_json_and_builds_it_again(variant: str, options: dict[str, Any]) -> None:
    model = on_meta(variant, **options)
    read = Model.from_dict(json.loads(json.dumps(model.spec.to_dict())))
    assert read == model.spec
    again = convzoo.build(read, device="meta")
    assert str(again) == str(model)
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    assert {key: tensor.shape for key, tensor in again.state_dict().items()} == shapes


@pytest.mark.parametrize(("variant", "options"), [c for c in COMPOSED if c[0] not in ("resnext50_32x4d", "resnet50")])
def test_a_model_built_from_the_spec_computes_the_same_with_the_same_weights(
    variant: str, options: dict[str, Any]
) -> None:
    model = convzoo.create_model(variant, **options).eval()
    jitter_norms(model)
    again = convzoo.build(model.spec).eval()
    again.load_state_dict(model.state_dict())
    x = torch.randn(2, model.spec.in_chans, 32, 32)
    assert torch.equal(model(x), again(x))


def test_the_spec_follows_a_new_classifier() -> None:
    model = convzoo.create_model("resnet20", drop_rate=0.1)
    model.reset_classifier(7, "max")
    assert str(convzoo.build(model.spec, device="meta").head) == str(model.head)


def test_a_composed_model_no_longer_claims_the_variants_counts() -> None:
    changed = on_meta("resnet18", attention="se").spec
    assert (changed.params, changed.macs, changed.references, changed.aliases) == (None, None, (), ())
    same = on_meta("resnet18", num_classes=1000, norm="batch", stem="conv").spec
    assert same == on_meta("resnet18").spec
    assert same.params == convzoo.model_info("resnet18").spec.params


# Stochastic depth

WITH_DROP_PATH = blocks_with("drop_path_rate")
RESIDUAL = [name for name in WITH_DROP_PATH if issubclass(part("block", name).target, ResidualBlock)]


def drop_rates(model: ConvNet) -> list[float]:
    return [sum(m.rate for m in layer.modules() if isinstance(m, DropPath)) for layer in layers_of(model)]


def lone_block(block: str, rate: float, *, channels: int = 16, stride: int = 2) -> ResidualBlock:
    """A block out of the builder, with norms that do something."""
    torch.manual_seed(0)
    made = convzoo.part("block", block, **layer(block).options)(channels, stride=stride, drop_path_rate=rate)
    jitter_norms(made)
    return made.train()


@pytest.mark.parametrize("block", WITH_DROP_PATH)
def test_drop_path_grows_linearly_from_0_with_depth(block: str) -> None:
    model = convzoo.create_model(spec(block, depth=3), drop_path_rate=0.4, device="meta")
    assert drop_rates(model) == pytest.approx([0.05 * index for index in range(9)])


@pytest.mark.parametrize("variant", ["resnet18", "resnet50", "resnest50", "resnest18", "sknet50", "seresnet20"])
def test_drop_path_reaches_every_layer_but_the_first_of_a_variant(variant: str) -> None:
    rates = drop_rates(on_meta(variant, drop_path_rate=0.2))
    assert rates == pytest.approx([0.2 * index / (len(rates) - 1) for index in range(len(rates))])


@pytest.mark.parametrize("block", WITH_DROP_PATH)
def test_drop_path_changes_nothing_in_eval(block: str) -> None:
    dropping = convzoo.create_model(spec(block), drop_path_rate=0.9)
    jitter_norms(dropping)
    plain = convzoo.build(spec(block))
    plain.load_state_dict(dropping.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(dropping.eval()(x), plain.eval()(x))
    assert not torch.equal(dropping.train()(x), plain.train()(x))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("block", RESIDUAL)
def test_drop_path_drops_the_whole_branch_of_a_sample_or_scales_it_up(block: str, stride: int) -> None:
    out_channels = lone_block(block, 0.0).out_channels
    # The stride 1 with as many channels as come out is the identity block.
    made = lone_block(block, 0.5, channels=16 if stride == 2 else out_channels, stride=stride)
    x = torch.randn(32, 16 if stride == 2 else out_channels, 8, 8)
    branch = x
    for module in made.branch:
        branch = branch if isinstance(module, DropPath) else module(branch)
    shortcut = made.shortcut(x)
    output = made(x)
    dropped = (output - made.act(shortcut.clone())).flatten(1).abs().amax(1) < 1e-5
    kept = (output - made.act(shortcut + branch / 0.5)).flatten(1).abs().amax(1) < 1e-4
    assert (dropped ^ kept).all()
    assert 4 < dropped.sum() < 28


@pytest.mark.parametrize("block", RESIDUAL)
def test_with_a_rate_close_to_1_only_the_shortcut_is_left(block: str) -> None:
    made = lone_block(block, 1 - 1e-9)
    x = torch.randn(4, 16, 8, 8)
    assert torch.equal(made(x), made.act(made.shortcut(x)))


def test_drop_path_keeps_the_mean_and_draws_once_for_each_sample() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.3).train()
    output = drop(torch.ones(20_000, 2, 2, 2))
    per_sample = output.flatten(1)
    assert torch.equal(per_sample.amin(1), per_sample.amax(1))
    assert per_sample.unique().tolist() == pytest.approx([0, 1 / 0.7])
    # The standard error is sqrt(0.3 / 0.7 / 20000) = 0.0046.
    assert abs(output.mean().item() - 1) < 0.02
    assert torch.equal(drop.eval()(output), output)


# Memory format

LAST = torch.channels_last


@pytest.mark.parametrize("variant", [v for v in VARIANTS if convzoo.model_info(v).spec.params < 20_000_000])
def test_every_layer_of_a_variant_gives_channels_last(variant: str) -> None:
    model = convzoo.create_model(variant).to(memory_format=LAST).eval()
    lost = []
    for name, module in [("stem", model.stem), *model.stages.named_modules()]:
        if name == "stem" or name.count(".") == 1:
            module.register_forward_hook(
                lambda _, __, output, name=name: None if output.is_contiguous(memory_format=LAST) else lost.append(name)
            )
    model(torch.randn(2, 3, 64, 64).to(memory_format=LAST))
    assert lost == []


POOLING = [{"conv": ref("split_attention")}, {"conv": ref("selective_kernel")}, {"attention": ref("cbam", reduction=2)}]


@pytest.mark.parametrize("norm", ["group", "instance"])
@pytest.mark.parametrize("slot", POOLING, ids=lambda slot: str(*slot.values()))
def test_norms_by_sample_leave_something_of_pooled_features(slot: dict[str, Ref], norm: str) -> None:
    torch.manual_seed(0)
    model = convzoo.create_model(spec("basic", **slot), norm=norm)
    jitter_norms(model)
    images = load_images("random", 32)
    assert [key for key in silent_weights(model, images) if key.endswith(".weight")] == []
    assert model.train()(images).isfinite().all()


def test_a_slot_of_a_spec_may_name_its_part_by_a_string() -> None:
    plain = Model("own", "own", NARROW_STEM, [Stage([ref("basic", planes=16, attention="se")])])
    model = convzoo.create_model(plain, divisor=4, device="meta")
    assert model.spec.stages[0].layers[0].options["attention"] == ref("se", divisor=4)
