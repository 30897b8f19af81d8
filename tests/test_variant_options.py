"""Options change the parts of a variant that they name; the changed spec builds the same again."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

import convzoo
from convzoo import Model, Ref, Stage, ref
from convzoo.network.model import ConvNet
from convzoo.testing.numerics import jitter_norms

from .combinations import NARROW_STEM, attentions_params, count_of, on_meta, params, some


def slot(model: ConvNet, name: str) -> set[Ref | None]:
    return {each.options.get(name) for stage in model.spec.stages for each in stage.layers}


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


@pytest.mark.parametrize(
    ("variant", "options"), some(c for c in COMPOSED if c[0] not in ("resnext50_32x4d", "resnet50"))
)
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


def test_a_slot_of_a_spec_may_name_its_part_by_a_string() -> None:
    plain = Model("own", "own", NARROW_STEM, [Stage([ref("basic", planes=16, attention="se")])])
    model = convzoo.create_model(plain, divisor=4, device="meta")
    assert model.spec.stages[0].layers[0].options["attention"] == ref("se", divisor=4)
