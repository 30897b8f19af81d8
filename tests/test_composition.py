"""Any part fits any other: what is put together builds, runs, learns, and has the parameters of its parts."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import nn

import convzoo
from convzoo import Ref, Stage, ref
from convzoo.layers import ConvNormAct, match_memory_format
from convzoo.network.model import ConvNet

from .combinations import (
    NARROW_STEM,
    VARIANTS,
    assert_it_learns,
    attentions_params,
    blocks_with,
    by_hand,
    layers_of,
    names,
    params,
    part,
    some,
    spec,
)


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


def combined(block: str, attention: str | None, stem: str | Ref, **where: Any) -> ConvNet:
    options = {"attention": attention} if attention else {}
    return convzoo.create_model(spec(block, stem=stem), **options, **where)


@pytest.mark.parametrize(("block", "attention", "stem"), some(COMBINATIONS))
def test_any_block_learns_with_any_attention_and_stem(block: str, attention: str | None, stem: str) -> None:
    assert_it_learns(combined(block, attention, stem))


@pytest.mark.parametrize(("block", "attention", "stem"), some(COMBINATIONS))
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


@pytest.mark.parametrize(("block", "conv", "cardinality"), some(CONVS))
def test_any_conv_learns_in_any_block(block: str, conv: str, cardinality: int) -> None:
    options = {"cardinality": cardinality} if cardinality > 1 else {}
    assert_it_learns(convzoo.build(spec(block, conv=ref(conv), **options)))


@pytest.mark.parametrize(("block", "conv", "cardinality"), some(CONVS))
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


@pytest.mark.parametrize(("block", "shortcut"), some(SHORTCUTS))
def test_any_shortcut_learns_in_any_block(block: str, shortcut: str) -> None:
    assert_it_learns(convzoo.build(spec(block, shortcut=ref(shortcut))))


@pytest.mark.parametrize(
    ("block", "shortcut", "output_stride"), [(*each, 1 + number % 2) for number, each in enumerate(SHORTCUTS)]
)
def test_any_shortcut_learns_in_dilated_stages(block: str, shortcut: str, output_stride: int) -> None:
    model = convzoo.create_model(spec(block, shortcut=ref(shortcut)), output_stride=output_stride)
    assert_it_learns(model)
    assert model.forward_features(torch.randn(2, 3, 32, 32)).shape[2:] == (32 // output_stride,) * 2


@pytest.mark.parametrize(("block", "conv", "cardinality"), some(DILATED_CONVS))
def test_any_conv_learns_in_dilated_stages(block: str, conv: str, cardinality: int) -> None:
    options = {"cardinality": cardinality} if cardinality > 1 else {}
    assert_it_learns(convzoo.create_model(spec(block, conv=ref(conv), **options), output_stride=1))


@pytest.mark.parametrize("wider", [True, False])
@pytest.mark.parametrize(("block", "shortcut"), some(SHORTCUTS))
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


LAST = torch.channels_last


@pytest.mark.parametrize("size", [1, 4])
def test_a_format_that_is_matched_is_one_of_the_two_also_for_maps_of_one_pixel(size: int) -> None:
    like = torch.randn(2, 3, size, size)
    for turned in (
        torch.randn(8, size, size, 2).permute(3, 0, 1, 2),
        torch.randn(2, size, size, 8).permute(0, 3, 1, 2),
    ):
        assert match_memory_format(turned, like.to(memory_format=LAST)).is_contiguous(memory_format=LAST)
        plain = match_memory_format(turned, like)
        assert plain.is_contiguous() or plain.is_contiguous(memory_format=LAST)
        assert torch.equal(plain, turned)


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
