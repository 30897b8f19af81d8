"""Where the zoo differs from timm on purpose. Each test stands behind a line of docs/differences.md."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

import convzoo
from convzoo import Model, OptionError, Stage, UnknownNameError, ref
from convzoo.testing.numerics import load_images

from .pairs import pair
from .sites import whole

IMAGES = load_images("random", 64)
PAGE = Path(__file__).parent.parent / "docs" / "differences.md"


def test_the_page_names_each_of_these_tests() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8")))
    here = {name for name in globals() if name.startswith("test_")} - {"test_the_page_names_each_of_these_tests"}
    assert named == here


def _rates(model: nn.Module, kind: str) -> list[str]:
    return [name for name, m in model.named_modules() if type(m).__name__ == kind]


def test_drop_path_of_split_attention_networks_drops_the_branch() -> None:
    ours = convzoo.create_model("resnest26d", drop_path_rate=0.999, zero_init_last=False).train()
    last = ours.stages[3][1]
    x = torch.rand(8, last.out_channels, 4, 4)
    torch.manual_seed(0)
    assert torch.equal(last(x), x), "an identity block whose branch is dropped gives its input, which was rectified"
    theirs = timm.create_model("resnest26d", drop_path_rate=0.999, zero_init_last=False).train().layer4[1]
    assert not torch.equal(theirs(x.clone()), x)


def test_activation_reaches_split_attention() -> None:
    ours = convzoo.create_model("resnest14d", act="silu", device="meta")
    assert _rates(ours, "ReLU") == []
    theirs = timm.create_model("resnest14d", act_layer="silu")
    assert any("conv2" in name for name in _rates(theirs, "ReLU"))


def test_activation_reaches_attention() -> None:
    for name in ("seresnet18", "cbam_resnet18"):
        assert _rates(convzoo.create_model(name, act="silu", device="meta"), "ReLU") == []
    for theirs in (
        timm.create_model("seresnet18", act_layer="silu", layers=[1, 1, 1, 1]),
        timm.create_model("resnet18", act_layer="silu", layers=[1, 1, 1, 1], block_args={"attn_layer": "cbam"}),
    ):
        assert any(".se." in name for name in _rates(theirs, "ReLU"))


@pytest.mark.parametrize("output_stride", [16, 8])
def test_dilated_split_attention_networks_pool_as_the_authors_or_by_timms_names_as_timm(output_stride: int) -> None:
    """That they equal the authors' code under the authors' names is tested in plugins/resnest."""
    stages = {16: ["stages.3.0."], 8: ["stages.2.0.", "stages.3.0."]}[output_stride]
    for name, place in (("resnest50", "branch.conv2.pool_after"), ("resnest50d", "shortcut")):
        model = convzoo.create_model(name, output_stride=output_stride, device="meta")
        pools = [name for name, m in model.named_modules() if isinstance(m, nn.AvgPool2d) and m.stride == 1]
        assert [name[:11] for name in pools] == stages
        assert all(place in name for name in pools)
    ours, theirs = pair("resnest14d", output_stride=output_stride)
    for size in ((64, 64), (97, 50)):
        images = torch.randn(1, 3, *size)
        assert torch.equal(ours(images), theirs(images))


def test_overriding_one_option_keeps_the_others() -> None:
    ours = convzoo.create_model("resnest14d", radix=4, device="meta")
    assert ours.stages[1][0].branch.conv2.radix == 4
    assert isinstance(ours.stages[1][0].branch.conv2.pool_after, nn.AvgPool2d)
    theirs = timm.create_model("resnest14d", block_args={"radix": 4})
    assert theirs.layer2[0].avd_last is None


def test_split_attention_keeps_channels_last() -> None:
    ours, theirs = pair("resnest14d")
    x = torch.rand(2, 64, 8, 8).to(memory_format=torch.channels_last)
    mine, yours = ours.stages[0][0].branch.conv2, theirs.layer1[0].conv2
    for module, kept in ((mine, True), (yours, False)):
        module.to(memory_format=torch.channels_last)
        assert module(x).is_contiguous(memory_format=torch.channels_last) is kept


def test_checkpointing_updates_statistics_once() -> None:
    ours, theirs = pair("resnet10t")
    for model in (ours, theirs):
        model.train().set_grad_checkpointing()
        model(IMAGES).sum().backward()
    assert int(ours.stages[0][0].branch.norm2.num_batches_tracked) == 1
    assert int(theirs.layer1[0].bn2.num_batches_tracked) == 2


def test_a_misspelt_stem_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'deep'"):
        convzoo.create_model("resnet18", stem="deeep")
    assert timm.create_model("resnet18", stem_type="deeep").conv1.kernel_size == (7, 7)


def test_networks_may_have_any_number_of_stages() -> None:
    stages = [Stage((ref("basic", planes=8 * 2**n),), stride=2) for n in range(6)]
    model = convzoo.build(Model("six", "own", ref("cifar", width=8), stages, num_classes=3))
    assert model(IMAGES).shape == (2, 3)
    assert [f["reduction"] for f in model.feature_info] == [1, 2, 4, 8, 16, 32, 64]
    theirs = timm.models.ResNet(timm.models.resnet.BasicBlock, [1] * 6, channels=[8 * 2**n for n in range(6)])
    assert [f["reduction"] for f in theirs.feature_info] == [2, 4, 8, 16, 32]


def test_drop_path_of_a_network_of_one_layer_is_none() -> None:
    spec = convzoo.model_info("resnet10t").spec
    one = spec.derived(stages=spec.stages[:1], drop_path_rate=0.5)
    assert convzoo.build(one, device="meta").spec.drop_path_rate == 0.5
    with pytest.raises(ZeroDivisionError):
        timm.models.ResNet(timm.models.resnet.BasicBlock, [1], channels=(64,), drop_path_rate=0.5)


def test_a_classifier_without_a_pool_is_an_error() -> None:
    with pytest.raises(OptionError, match="global_pool=''"):
        convzoo.create_model("resnet10t", global_pool="")
    theirs = timm.create_model("resnet10t", global_pool="").eval()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        theirs(IMAGES)
    theirs.fc = nn.Linear(2, 1000)
    assert theirs(IMAGES).shape == (2, 512, 2, 1000)


def test_output_stride_4_is_possible() -> None:
    model = convzoo.create_model("resnet10t", output_stride=4).eval()
    assert model.forward_features(IMAGES).shape[-1] == 16
    with pytest.raises(AssertionError):
        timm.create_model("resnet10t", output_stride=4)


def test_split_attention_networks_start_as_the_authors_code_or_by_timms_names_as_timm() -> None:
    """That they start as this option says is tested in test_initialisation.py."""
    for name, zero in (("resnest50", False), ("resnest50d", True)):
        assert whole(name).stages[0].layers[0].options.get("zero_init_last", False) is zero
    theirs = timm.create_model("resnest50d", layers=[1, 1, 1, 1])
    assert theirs.layer1[0].bn3.weight.unique().tolist() == [0]


def test_squeeze_widths_follow_the_authors_except_under_timms_names() -> None:
    for name, width in (("seresnet18", 8), ("seresnet20", 1)):
        ours = convzoo.create_model(name, device="meta")
        assert ours.stages[0][0].branch.attention.fc1.out_channels == width
    assert timm.create_model("seresnet18", layers=[1, 1, 1, 1]).layer1[0].se.fc1.out_channels == 8


def test_released_networks_have_the_dropout_of_their_release_or_by_timms_names_timms() -> None:
    def rate(name: str) -> float:
        return whole(name).head.options.get("drop_rate", 0)

    rates = [rate(name) for name in ("seresnet50_v1", "seresnext50_32x4d_prototxt", "senet154_prototxt")]
    assert rates == [0, 0, 0.2]
    assert {rate(name) for name in convzoo.list_models("legacy_*", aliases=True)} == {0.2}
    assert timm.create_model("legacy_seresnet50", layers=[1, 1, 1, 1]).drop_rate == 0.2


def test_cbam_follows_its_authors() -> None:
    model: Any = convzoo.create_model("cbam_resnet18").eval()
    attention = model.stages[0][0].branch.attention
    assert attention.channel.fc1.bias is not None
    x = torch.randn(2, 64, 8, 8)
    gated = attention.spatial(x)
    assert torch.allclose(gated, x / 2), "the spatial factor is 0.5 everywhere at the start"
    theirs: Any = timm.create_model("resnet18", block_args={"attn_layer": "cbam"}).eval().layer1[0].se
    assert theirs.channel.fc1.bias is None
    flipped = copy.deepcopy(attention)
    with torch.no_grad():
        flipped.spatial.conv.weight.copy_(theirs.spatial.conv.conv.weight.flip(1))
        flipped.spatial.norm.weight.fill_(1)
        flipped.channel.fc1.weight.copy_(theirs.channel.fc1.weight)
        flipped.channel.fc2.weight.copy_(theirs.channel.fc2.weight)
        flipped.channel.fc1.bias.zero_(), flipped.channel.fc2.bias.zero_()
    assert torch.allclose(flipped(x), theirs(x), atol=1e-6), "the same module once the two maps are swapped"


def test_dense_networks_take_what_others_take() -> None:
    options = {"drop_path_rate": 0.1, "output_stride": 16, "attention": "se"}
    model = convzoo.create_model("densenet121", **options).eval()
    assert model.forward_features(IMAGES).shape[-1] == 4
    for option in ({"drop_path_rate": 0.1}, {"output_stride": 16}, {"block_args": {"attn_layer": "se"}}):
        with pytest.raises(TypeError, match="unexpected keyword"):
            timm.create_model("densenet121", **option)


def test_a_classifier_is_left_out_only_where_its_shape_differs() -> None:
    mine = timm.create_model("resnet10t", num_classes=7).state_dict()
    theirs = timm.create_model(
        "resnet10t", num_classes=7, pretrained=True, pretrained_cfg_overlay={"state_dict": dict(mine)}
    )
    assert not torch.equal(theirs.get_classifier().weight, mine["fc.weight"])
    ours = convzoo.create_model("resnet10t", num_classes=7, weights=mine)
    assert torch.equal(ours.get_classifier().weight, mine["fc.weight"])
    with pytest.warns(convzoo.WeightsWarning, match="another shape"):
        convzoo.create_model("resnet10t", num_classes=9, weights=mine)
