"""Options that differ by stage: slots and plain options, in Python, as text, on the command line and in JSON."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from torch import nn

import convzoo
from convzoo import Model, OptionError, PerStage, Ref, SpecError, Stage, create_model, per_stage, ref
from convzoo.cli import main
from convzoo.spec.refs import parse_value

from .sites import parts_of, whole

MIXED = per_stage(None, None, "cbam", ref("se", reduction=8))
TEXT = "per_stage(None, None, cbam, se(reduction=8))"


def by_stage(spec: Model, *path: str) -> list[Any]:
    """The value of an option of the layers of each stage, by its path through their slots; one for each stage."""

    def value(layer: Any) -> Any:
        for name in path:
            layer = layer.options.get(name)
        return layer

    found = [{value(layer) for layer in stage.layers} for stage in spec.stages]
    assert {len(values) for values in found} == {1}
    return [values.pop() for values in found]


# What it gives


def test_slot_has_another_part_in_each_stage() -> None:
    model = create_model("resnet50", attention=MIXED, device="meta")
    kinds = [
        {type(block.branch.attention).__name__ for block in stage if hasattr(block.branch, "attention")}
        for stage in model.stages
    ]
    assert kinds == [set(), set(), {"CBAM"}, {"SqueezeExcite"}]
    assert by_stage(model.spec, "attention") == [None, None, ref("cbam"), ref("se", reduction=8)]
    assert model.stages[3][0].branch.attention.fc1.out_channels == 2048 // 8


def test_spec_of_the_network_has_each_stages_own_values() -> None:
    model = create_model("resnet50", attention=MIXED, device="meta")
    assert "per_stage" not in json.dumps(model.spec.to_dict())
    again = convzoo.create_model(Model.from_dict(json.loads(json.dumps(model.spec.to_dict()))), device="meta")
    assert again.spec == model.spec
    assert again.state_dict().keys() == model.state_dict().keys()


def test_convolutions_of_the_last_stages_may_be_others() -> None:
    model = create_model("resnet20", conv=per_stage("plain", "plain", "deformable"))
    kinds = [{type(m).__name__ for m in stage.modules()} & {"DeformConv2d"} for stage in model.stages]
    assert kinds == [set(), set(), {"DeformConv2d"}]
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 10)


def test_plain_option_has_another_value_in_each_stage() -> None:
    """The kernels of the ECA networks that its authors released."""
    spec = whole("resnet50", attention="eca", kernel_size=per_stage(3, 5, 5, 7))
    assert by_stage(spec, "attention") == [ref("eca", kernel_size=size) for size in (3, 5, 5, 7)]
    assert by_stage(whole("resnet18", planes=per_stage(8, 16, 24, 32)), "planes") == [8, 16, 24, 32]
    assert by_stage(whole("resnest14d", radix=per_stage(1, 1, 2, 4)), "conv", "radix") == [1, 1, 2, 4]
    model = create_model("resnet20", planes=per_stage(8, 24, 16), shortcut="conv")
    assert model.feature_info.channels() == [16, 8, 24, 16]
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 10)


@pytest.mark.parametrize(
    "attention", [ref("eca", kernel_size=per_stage(3, 5, 5, 7)), "eca(kernel_size=per_stage(3, 5, 5, 7))"], ids=str
)
def test_option_of_the_part_that_is_put_in_has_another_value_in_each_stage(attention: str | Ref) -> None:
    spec = whole("resnet50", attention=attention)
    assert by_stage(spec, "attention") == [ref("eca", kernel_size=size) for size in (3, 5, 5, 7)]


def test_norm_and_activation_may_differ_by_stage_and_the_stem_keeps_the_models() -> None:
    group = ref("group", groups=8)
    model = create_model("resnet20", norm=per_stage("batch", group, "none"), act=per_stage("relu", "silu", "gelu"))

    def kinds(module: nn.Module) -> set[str]:
        names = {"BatchNorm2d", "GroupNorm", "ReLU", "SiLU", "GELU"}
        return {type(m).__name__ for m in module.modules()} & names

    assert [kinds(stage) for stage in model.stages] == [{"BatchNorm2d", "ReLU"}, {"GroupNorm", "SiLU"}, {"GELU"}]
    assert kinds(model.stem) == {"BatchNorm2d", "ReLU"}
    assert (model.spec.norm, model.spec.act) == (ref("batch"), ref("relu"))


def test_same_value_for_each_stage_is_that_value() -> None:
    assert whole("resnet18", attention=per_stage(*["se"] * 4)) == whole("resnet18", attention="se")
    for same in ({"attention": per_stage(*[None] * 4)}, {"shortcut": per_stage(*["conv"] * 4)}):
        assert whole("resnet18", **same) == whole("resnet18")
        assert whole("resnet18", **same).params == 11_689_512


def test_options_of_the_part_that_a_stage_has_already_are_kept() -> None:
    spec = whole("seresnet18", attention=per_stage("se", ref("se", reduction=8), None, "eca"))
    old = by_stage(whole("seresnet18"), "attention")[0]
    assert by_stage(spec, "attention") == [old, old.with_options(reduction=8), None, ref("eca")]


def test_values_go_to_the_stages_of_other_options_too() -> None:
    spec = whole("resnet50", attention=MIXED, reduction=per_stage(None, None, 4, 2))
    assert by_stage(spec, "attention") == [None, None, ref("cbam", reduction=4), ref("se", reduction=2)]


# Written down


def test_text_means_the_same() -> None:
    assert parse_value(TEXT) == parse_value(str(MIXED)) == per_stage(None, None, "cbam", ref("se", reduction=8))
    layer = Ref.parse(f"bottleneck(planes=8, attention={TEXT})")
    assert layer == ref("bottleneck", planes=8, attention=MIXED)
    assert Ref.parse(str(layer)) == layer


def test_command_line_shows_each_stages_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "resnet50", f"attention={TEXT}", "--build"]) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("stage")]
    found = [re.findall(r"attention=(cbam|se)\(([^)]*)\)", line) for line in lines]
    assert found == [[], [], [("cbam", "")], [("se", "reduction=8")]]
    total = sum(p.numel() for p in create_model("resnet50", attention=MIXED, device="meta").parameters())
    assert re.search(rf"^total +{total:,} ", out, re.MULTILINE)
    assert main(["show", "resnet50", f"attention={TEXT}", "--json"]) == 0
    assert Model.from_dict(json.loads(capsys.readouterr().out)) == whole("resnet50", attention=MIXED)


def test_command_line_says_how_many_stages_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "resnet50", "attention=per_stage(se, cbam)"]) == 2
    assert "there are 4 stages, and 2 values for them" in capsys.readouterr().err


@pytest.fixture
def described() -> Model:
    """A spec whose layers are the same in all stages, and say what differs."""
    layer = ref(
        "basic",
        planes=per_stage(8, 16),
        attention=ref("se", reduction=per_stage(2, 4)),
        shortcut=per_stage("avg", ref("conv", kernel_size=3)),
    )
    return Model("described", "own", ref("cifar"), (Stage((layer, layer)), Stage((layer,), stride=2)), num_classes=3)


def test_model_that_says_it_in_its_layers_is_resolved_by_stage(described: Model) -> None:
    model = create_model(described)
    spec = model.spec
    assert by_stage(spec, "planes") == [8, 16]
    assert by_stage(spec, "attention") == [ref("se", reduction=2), ref("se", reduction=4)]
    assert by_stage(spec, "shortcut") == [ref("avg"), ref("conv", kernel_size=3)]
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 3)


def test_json_of_such_a_model_is_read_back_and_resolved_the_same(described: Model) -> None:
    data = json.loads(json.dumps(described.to_dict()))
    assert data["stages"][0]["layers"][0]["planes"] == {"per_stage": [8, 16]}
    again = Model.from_dict(data)
    assert again == described
    assert hash(again) == hash(described)
    assert whole(again) == whole(described)
    assert not any(isinstance(v, PerStage) for _, named in parts_of(whole(again)) for v in named.options.values())


# What cannot be


@pytest.mark.parametrize("count", [0, 1, 3, 5])
@pytest.mark.parametrize("option", ["attention", "planes", "norm"])
def test_too_few_or_too_many_values_are_refused_with_the_number_of_stages(option: str, count: int) -> None:
    value = {"attention": "se", "planes": 64, "norm": "batch"}[option]
    with pytest.raises(SpecError) as caught:
        create_model("resnet18", device="meta", **{option: per_stage(*[value] * count)})
    assert str(caught.value).startswith(f"{option}=per_stage(")
    assert f"there are 4 stages, and {count} values for them" in str(caught.value)


def test_too_few_values_inside_of_a_part_or_a_spec_are_refused_so_too(described: Model) -> None:
    with pytest.raises(SpecError, match=r"reduction=per_stage\(2, 4\): there are 4 stages, and 2 values"):
        create_model("resnet18", attention=ref("se", reduction=per_stage(2, 4)))
    longer = Model("longer", "own", ref("cifar"), (*described.stages, described.stages[1]))
    with pytest.raises(SpecError, match=r"there are 3 stages, and 2 values"):
        create_model(longer)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("num_classes", 10),
        ("in_chans", 3),
        ("output_stride", 8),
        ("drop_path_rate", 0.1),
        ("stem", "deep"),
        ("head", "classifier"),
        ("init", "default"),
    ],
)
def test_settings_of_the_model_cannot_differ_by_stage(option: str, value: Any) -> None:
    with pytest.raises(OptionError, match=rf"^{option}=per_stage\(.*the model has one {option}, which cannot differ"):
        create_model("resnet18", **{option: per_stage(*[value] * 4)})


@pytest.mark.parametrize(
    ("model", "option", "value", "holder"),
    [("resnet18", "width", 64, "stem 'conv'"), ("resnet18", "drop_rate", 0.1, "head 'classifier'")],
)
def test_option_that_no_layer_has_cannot_differ_by_stage(model: str, option: str, value: Any, holder: str) -> None:
    with pytest.raises(OptionError) as caught:
        create_model(model, **{option: per_stage(*[value] * 4)})
    assert f"only layers differ by stage, and '{option}' is of {holder}" in str(caught.value)


def test_part_that_stands_in_no_stage_cannot_have_values_by_stage() -> None:
    for part in ("stem", "head", "norm"):
        name, option = {"stem": ("conv", "width"), "head": ("classifier", "drop_rate"), "norm": ("batch", "eps")}[part]
        with pytest.raises(OptionError, match=rf"^{option}=per_stage\(1, 2, 3, 4\): only layers.* differ by stage"):
            create_model("resnet18", **{part: ref(name, **{option: per_stage(1, 2, 3, 4)})})


def test_values_by_stage_for_what_nothing_takes_are_refused_as_ever() -> None:
    with pytest.raises(OptionError, match=r"No part of resnet18 takes 'atention'\. Did you mean 'attention'"):
        create_model("resnet18", atention=MIXED)


def test_value_for_a_stage_whose_layers_do_not_take_it_is_refused() -> None:
    narrow = ref("se", reduction=8)
    with pytest.raises(OptionError, match="no layer of stage 1 of resnet18 takes 'reduction'"):
        create_model("resnet18", attention=per_stage(None, None, None, narrow), reduction=per_stage(2, None, None, 4))


@pytest.mark.parametrize(
    ("value", "word"), [("ecaa", "Did you mean 'eca'"), (3, "attention=3"), ("se(reduction=8", "attention")]
)
def test_each_value_is_checked(value: Any, word: str) -> None:
    with pytest.raises((OptionError, convzoo.UnknownNameError)) as caught:
        create_model("resnet18", attention=per_stage(None, None, None, value), device="meta")
    assert word in str(caught.value)


def test_text_in_a_value_is_read_as_a_part() -> None:
    spec = whole("resnet18", attention=per_stage(None, "eca", "se(reduction=8)", Ref("cbam")))
    assert by_stage(spec, "attention") == [None, ref("eca"), ref("se", reduction=8), ref("cbam")]


@pytest.mark.parametrize(("option", "default"), [("norm", "batch"), ("act", "relu")])
def test_naming_what_the_model_gives_to_every_layer_stage_by_stage_changes_nothing(option: str, default: str) -> None:
    plain = convzoo.create_model("resnet18", device="meta").spec
    named = convzoo.create_model("resnet18", device="meta", **{option: convzoo.per_stage(*[default] * 4)}).spec
    assert named == plain
    assert named.params == plain.params
    other = convzoo.per_stage(default, default, default, "group" if option == "norm" else "silu")
    assert convzoo.create_model("resnet18", device="meta", **{option: other}).spec != plain
