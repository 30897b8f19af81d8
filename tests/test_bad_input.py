"""What cannot be built is refused by name, with what there is instead, before a tensor is allocated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convzoo
from convzoo import Component, Model, OptionError, Stage, UnknownNameError, WeightsError, create_model, ref
from convzoo.plugins.host import Plugins, plugins
from convzoo.plugins.registry import Registry

from .allocations import Allocations, refused


def label(value: Any) -> str:
    return str(value) if isinstance(value, (str, dict)) else ""


def test_allocations_are_noticed() -> None:
    with Allocations() as recorded:
        create_model("resnet20", device="meta")
    assert recorded.seen == []
    with Allocations() as recorded:
        create_model("resnet20")
    assert "empty" in " ".join(recorded.seen)


def test_errors_are_also_of_the_usual_python_kinds() -> None:
    for kind in (OptionError, UnknownNameError, WeightsError):
        assert issubclass(kind, ValueError)
    assert issubclass(UnknownNameError, LookupError)
    assert issubclass(WeightsError, RuntimeError)


# Names

UNKNOWN = [
    ("resnet5O", {}, ["'resnet5O'", "Did you mean", "'resnet50'", "convzoo list"]),
    ("ResNet18", {}, ["'ResNet18'", "Did you mean", "'resnet18'"]),
    ("", {}, ["There is no model ''"]),
    ("resnet18", {"attention": "ecaa"}, ["attention 'ecaa'", "Did you mean 'eca'", "cbam"]),
    ("resnet18", {"stem": "dep"}, ["stem 'dep'", "Did you mean 'deep'", "cifar"]),
    ("resnet18", {"head": "classifer"}, ["head 'classifer'", "Did you mean 'classifier'"]),
    ("resnet18", {"norm": "bach"}, ["norm 'bach'", "Did you mean 'batch'", "instance"]),
    ("resnet18", {"act": "sillu"}, ["act 'sillu'", "Did you mean 'silu'"]),
    ("resnet18", {"init": "kaming"}, ["init 'kaming'", "Did you mean 'kaiming'"]),
    ("resnet18", {"conv": "plane"}, ["conv 'plane'", "Did you mean 'plain'"]),
    ("resnet18", {"shortcut": "zero-pad"}, ["shortcut 'zero-pad'", "Did you mean 'zero_pad'"]),
    ("resnet18", {"attention": ref("se", act="rellu")}, ["act 'rellu'", "Did you mean 'relu'"]),
    ("resnet18", {"attention": "deep"}, ["attention 'deep'", "Known as attention", "cbam"]),
]


@pytest.mark.parametrize(("model", "options", "words"), UNKNOWN, ids=label)
def test_an_unknown_name_gets_the_closest_ones(model: str, options: dict[str, Any], words: list[str]) -> None:
    message = refused(lambda: create_model(model, **options), UnknownNameError)
    assert [word for word in words if word not in message] == []


def test_an_unknown_block_of_a_spec_gets_the_closest_ones() -> None:
    message = refused(lambda: convzoo.build(small(ref("botleneck", planes=8))), UnknownNameError)
    assert "Did you mean 'bottleneck'" in message


@pytest.fixture
def without_plugins(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry of a core that stands alone."""
    monkeypatch.setenv("CONVZOO_PLUGINS", "")
    alone = Plugins()
    alone.discover()
    for module in ("convzoo.api", "convzoo.plugins.host"):
        monkeypatch.setattr(f"{module}.registry", lambda: alone.registry)
    return alone.registry


@pytest.mark.parametrize(
    ("model", "options", "distribution"),
    [
        ("resnest50", {}, "convzoo-resnest"),
        ("seresnet50", {}, "convzoo-attention"),
        ("sknet50", {}, "convzoo-sknet"),
        ("wide_resnet50_2", {}, "convzoo-wide-resnet"),
        ("resnext50_32x4d", {}, "convzoo-resnext"),
        ("resnet18", {"attention": "se"}, "convzoo-attention"),
        ("resnet18", {"conv": ref("split_attention", radix=4)}, "convzoo-resnest"),
        ("resnet18", {"init": "cbam"}, "convzoo-attention"),
    ],
)
def test_what_is_not_installed_is_named_with_its_distribution_and_where_it_says_how_to_install_it(
    without_plugins: Registry, model: str, options: dict[str, Any], distribution: str
) -> None:
    message = refused(lambda: create_model(model, **options), UnknownNameError)
    assert f"{distribution} provides it" in message
    assert "see 'Install' in convzoo's README.md" in message
    assert "## Install\n" in (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_a_misspelt_model_that_is_not_installed_is_still_guessed(without_plugins: Registry) -> None:
    assert "'resnest50'" in refused(lambda: create_model("resnest5O"), UnknownNameError)


def test_the_core_alone_builds_its_own_models(without_plugins: Registry) -> None:
    assert create_model("resnet18", device="meta").num_classes == 1000


# Options

UNTAKEN = [
    ("resnet18", {"atention": "se"}, ["'atention'", "Did you mean 'attention'", "block 'basic'"]),
    ("resnet18", {"num_clases": 10}, ["'num_clases'", "Did you mean 'num_classes'", "in_chans", "output_stride"]),
    ("resnet18", {"cardinality": 32}, ["'cardinality'", "attention (block 'basic')", "width (stem 'conv')"]),
    ("resnet18", {"reduction": 8}, ["'reduction'", "drop_rate (head 'classifier')"]),
    ("resnet50", {"radix": 4}, ["'radix'", "cardinality (block 'bottleneck')", "linear_bias (init 'kaiming')"]),
    ("resnet18", {"stride": 2}, ["'stride'"]),
    ("resnet18", {"in_channels": 4}, ["'in_channels'"]),
    ("resnet18", {"position": 1}, ["'position'"]),
    ("seresnet18", {"attention": ref("se", reductoin=8)}, ["'reductoin'", "Did you mean 'reduction'", "divisor"]),
    ("resnet18", {"stem": ref("deep", kernel_size=3)}, ["'kernel_size'", "stem 'deep'", "tiered"]),
    ("resnet18", {"norm": ref("batch", groups=8)}, ["'groups'", "norm 'batch'", "eps, momentum"]),
    ("resnet18", {"shortcut": ref("zero_pad", kernel_size=3)}, ["'kernel_size'", "shortcut 'zero_pad'"]),
]


@pytest.mark.parametrize(("model", "options", "words"), UNTAKEN, ids=label)
def test_an_option_that_nothing_takes_gets_the_list_of_what_there_is(
    model: str, options: dict[str, Any], words: list[str]
) -> None:
    message = refused(lambda: create_model(model, **options))
    assert [word for word in words if word not in message] == []


ILL_TYPED = [
    ("resnet18", {"planes": "64"}, "planes"),
    ("resnet18", {"planes": 64.0}, "planes"),
    ("resnet50", {"cardinality": True}, "cardinality"),
    ("resnet18", {"drop_rate": "0.1"}, "drop_rate"),
    ("resnet18", {"drop_rate": True}, "drop_rate"),
    ("resnet18", {"drop_path_rate": "0.1"}, "drop_path_rate"),
    ("resnet18", {"zero_init_last": 1}, "zero_init_last"),
    ("resnet18", {"global_pool": None}, "global_pool"),
    ("resnet18", {"in_chans": 3.0}, "in_chans"),
    ("resnet18", {"output_stride": "8"}, "output_stride"),
    ("resnet18", {"norm": None}, "norm"),
    ("resnet18", {"act": nn.ReLU}, "act"),
    ("resnet18", {"stem": None}, "stem"),
    ("resnet18", {"stem": ref("conv", width="64")}, "width"),
    ("resnet18", {"stem": "conv(width='64')"}, "width"),
    ("resnet18", {"stem": ref("conv", width=ref("se"))}, "width"),
    ("resnet18", {"attention": 5}, "attention"),
    ("resnet18", {"attention": True}, "attention"),
    ("resnet18", {"attention": ["se"]}, "attention"),
    ("resnet18", {"attention": nn.Identity()}, "attention"),
    ("resnet18", {"attention": ""}, "attention"),
    ("resnet18", {"attention": "se(reduction=8"}, "attention"),
    ("resnet18", {"conv": None}, "conv"),
    ("resnet18", {"shortcut": None}, "shortcut"),
    ("resnet18", {"attention": ref("cbam", pools="avg")}, "pools"),
    ("resnet18", {"attention": ref("cbam", pools=("avg", "sum"))}, "pools"),
    ("resnet18", {"attention": ref("se", reduction="8")}, "reduction"),
    ("resnet18", {"attention": ref("se", act=1)}, "act"),
]


@pytest.mark.parametrize(("model", "options", "name"), ILL_TYPED, ids=label)
def test_a_value_of_the_wrong_type_is_refused_by_name(model: str, options: dict[str, Any], name: str) -> None:
    assert name in refused(lambda: create_model(model, **options))


@pytest.mark.parametrize("model", [50, None, ["resnet18"], nn.Identity()])
def test_a_model_is_a_name_or_a_spec(model: Any) -> None:
    refused(lambda: create_model(model), convzoo.ConvzooError)


IMPOSSIBLE = [
    ("resnet18", {"num_classes": -1}, ["num_classes", "-1"]),
    ("resnet18", {"num_classes": "10"}, ["num_classes", "'10'"]),
    ("resnet18", {"num_classes": True}, ["num_classes", "True"]),
    ("resnet18", {"in_chans": 0}, ["in_chans", "0"]),
    ("resnet18", {"planes": -4}, ["planes", "-4"]),
    ("resnest18", {"planes": 0}, ["planes", "0"]),
    ("resnet50", {"cardinality": 0}, ["cardinality", "0"]),
    ("resnet50", {"base_width": 0}, ["base_width", "0"]),
    ("resnet50", {"expansion": 0}, ["expansion", "0"]),
    ("resnet50", {"planes": 8, "base_width": 1}, ["planes", "base_width"]),
    ("resnext50_32x4d", {"reduce_first": 8}, ["cardinality", "32", "16"]),
    ("resnet50", {"reduce_first": 0}, ["reduce_first", "0"]),
    ("resnet50", {"reduce_first": 3}, ["reduce_first", "3", "64"]),
    ("resnet50", {"reduce_first": 128}, ["reduce_first", "128", "64"]),
    ("resnest50", {"radix": 0}, ["radix", "0"]),
    ("resnest50", {"radix": 3}, ["radix", "3", "64"]),
    ("resnest18", {"radix": 3}, ["radix", "3", "64"]),
    ("resnest50", {"min_width": 0}, ["min_width", "0"]),
    ("sknet50", {"branches": 1}, ["branches", "1"]),
    ("skresnet18", {"branches": 3}, ["branches", "3", "64"]),
    ("resnet18", {"output_stride": 12}, ["output_stride=12", "4, 8, 16, 32"]),
    ("resnet18", {"output_stride": 2}, ["output_stride=2", "4, 8, 16, 32"]),
    ("resnet18", {"output_stride": 64}, ["output_stride=64", "4, 8, 16, 32"]),
    ("resnet20", {"output_stride": 0}, ["output_stride", "0"]),
    ("resnet18", {"drop_rate": 1.5}, ["drop_rate", "1.5"]),
    ("resnet18", {"drop_rate": 1.0}, ["drop_rate", "1.0"]),
    ("resnet18", {"drop_rate": float("nan")}, ["drop_rate", "nan"]),
    ("resnet18", {"drop_path_rate": -0.1}, ["drop_path_rate", "-0.1"]),
    ("resnet18", {"drop_path_rate": 1.0}, ["drop_path_rate", "1.0"]),
    ("resnet18", {"drop_path_rate": float("nan")}, ["drop_path_rate", "nan"]),
    ("resnet18", {"global_pool": "median"}, ["global_pool", "'median'", "'avg'", "'catavgmax'"]),
    ("resnet18", {"global_pool": ""}, ["global_pool", "num_classes=0"]),
    ("resnet18", {"out_indices": (1,)}, ["out_indices", "features_only=True"]),
    ("resnet18", {"features_only": True, "out_indices": (5,)}, ["out_indices=(5,)", "0 to 4"]),
    ("resnet18", {"features_only": True, "out_indices": (-6,)}, ["out_indices=(-6,)", "-5 to -1"]),
    ("resnet18", {"features_only": True, "out_indices": 6}, ["out_indices=6", "5"]),
    ("resnet18", {"features_only": True, "out_indices": 0}, ["out_indices=0"]),
    ("resnet18", {"features_only": True, "out_indices": ()}, ["out_indices=()"]),
    ("resnet18", {"features_only": True, "out_indices": "01"}, ["out_indices='01'"]),
    ("resnet18", {"features_only": True, "out_indices": (True,)}, ["out_indices=(True,)"]),
    ("resnet18", {"features_only": True, "out_indices": 1.5}, ["out_indices=1.5"]),
    ("resnet18", {"out_strides": (4,)}, ["out_strides", "features_only=True"]),
    ("resnet18", {"features_only": True, "out_strides": (4, 64)}, ["out_strides=(4, 64)", "2, 4, 8, 16, 32"]),
    ("resnet18", {"features_only": True, "output_stride": 8, "out_strides": (16,)}, ["the strides 2, 4, 8,"]),
    ("resnet18", {"features_only": True, "out_strides": (4, 4)}, ["out_strides=(4, 4)", "twice"]),
    ("resnet18", {"features_only": True, "out_strides": 4}, ["out_strides=4", "in a list"]),
    ("resnet18", {"features_only": True, "out_strides": ()}, ["out_strides=()"]),
    ("resnet18", {"features_only": True, "out_strides": "4"}, ["out_strides='4'"]),
    ("resnet18", {"features_only": True, "out_strides": (4,), "out_indices": (1,)}, ["leave one of them out"]),
    ("resnet18", {"conv": ref("plain", kernel_size=4)}, ["kernel_size", "4", "odd"]),
    ("resnet18", {"kernel_size": 0}, ["kernel_size", "0"]),
    ("resnet18", {"attention": ref("se", reduction=0)}, ["reduction", "0"]),
    ("resnet18", {"attention": ref("se", divisor=0)}, ["divisor", "0"]),
    ("resnet18", {"attention": ref("cbam", reduction=0)}, ["reduction", "0"]),
    ("resnet18", {"attention": ref("cbam", pools=())}, ["pools"]),
    ("resnet18", {"attention": ref("cbam", spatial_kernel=4)}, ["spatial_kernel", "4"]),
    ("resnet18", {"attention": ref("eca", kernel_size=2)}, ["kernel_size", "2"]),
    ("resnet50", {"stride_on": "2x2"}, ["stride_on", "'2x2'", "'3x3' or '1x1'"]),
    ("resnet18", {"norm": ref("group", groups=7)}, ["groups=7", "64"]),
    ("resnet18", {"norm": ref("group", groups=0)}, ["groups=0"]),
    ("resnet18", {"width": 0}, ["width", "0"]),
    ("resnet18", {"stem": ref("conv", pool="avg")}, ["pool", "'avg'", "'max'"]),
    ("resnet26t", {"width": 2}, ["width", "2"]),
    ("resnet20", {"planes": 8}, ["zero_pad", "16", "8", "shortcut='conv'"]),
]


@pytest.mark.parametrize(("model", "options", "words"), IMPOSSIBLE, ids=label)
def test_an_impossible_value_is_refused_by_name(model: str, options: dict[str, Any], words: list[str]) -> None:
    message = refused(lambda: create_model(model, **options))
    assert [word for word in words if word not in message] == []


def test_a_group_count_that_contradicts_the_block_is_refused() -> None:
    message = refused(lambda: create_model("resnext50_32x4d", conv=ref("plain", groups=2)))
    assert "groups=2" in message
    assert "groups=32" in message


@pytest.mark.parametrize(("arguments", "word"), [((-1,), "num_classes"), ((3, "median"), "global_pool")])
def test_a_refused_new_classifier_leaves_the_model_as_it_is(arguments: tuple[Any, ...], word: str) -> None:
    model = create_model("resnet20").eval()
    before, layer, x = model.spec, model.get_classifier(), torch.randn(2, 3, 32, 32)
    output = model(x)
    assert word in refused(lambda: model.reset_classifier(*arguments))
    assert (model.spec, model.get_classifier(), model.num_classes) == (before, layer, 10)
    assert model.head.global_pool == "avg"
    assert torch.equal(model(x), output)


# Parts of others


def small(*layers: Any, **fields: Any) -> Model:
    stages = tuple(Stage((layer,), stride=1 if number == 0 else 2) for number, layer in enumerate(layers))
    return Model("small", "small", stem=ref("cifar", width=8), stages=stages, num_classes=5, input_size=32, **fields)


@pytest.fixture
def contribute() -> Iterator[Callable[..., None]]:
    """Contribute a component for the length of a test."""

    def add(kind: str, name: str, target: Callable[..., Any]) -> None:
        convzoo.register(Component(kind, name, target), plugin="visitor")

    yield add
    if "visitor" in plugins().records:
        plugins().remove("visitor")


class Mute(nn.Module):
    """A layer that does not say its channels."""

    def __init__(self, in_channels: int, *, stride: int = 1) -> None:
        super().__init__()


class Layer(nn.Module):
    """A layer that takes a width and a stride and nothing else."""

    def __init__(self, in_channels: int, *, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, planes, 3, stride, padding=1)
        self.out_channels = planes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def not_a_module(*args: Any, stride: int = 1, **options: Any) -> str:
    return "not a module"


@pytest.mark.parametrize("kind", ["stem", "head", "norm", "act", "attention", "conv", "shortcut"])
def test_a_part_that_is_no_module_is_refused_with_its_plugin(contribute: Callable[..., None], kind: str) -> None:
    contribute(kind, "odd", not_a_module)
    message = refused(lambda: create_model("resnet18", **{kind: "odd"}))
    assert f"{kind} 'odd' of plugin 'visitor'" in message
    assert "nn.Module" in message


@pytest.mark.parametrize(("target", "word"), [(not_a_module, "nn.Module"), (Mute, "out_channels")])
def test_a_block_that_is_no_module_or_does_not_say_its_channels_is_refused_with_its_plugin(
    contribute: Callable[..., None], target: Any, word: str
) -> None:
    contribute("block", "odd", target)
    message = refused(lambda: convzoo.build(small("odd")))
    assert "block 'odd' of plugin 'visitor'" in message
    assert word in message


@pytest.mark.parametrize("channels", [0, -8, 8.0, True, "8"])
def test_channels_that_are_no_positive_int_are_refused(contribute: Callable[..., None], channels: Any) -> None:
    def make(in_channels: int) -> nn.Module:
        layer = nn.Identity()
        layer.out_channels = channels
        return layer

    contribute("block", "odd", make)
    message = refused(lambda: convzoo.build(small("odd")))
    assert "out_channels" in message
    assert message.endswith(f"got {channels!r}")


def test_a_stem_that_does_not_say_its_stride_is_refused(contribute: Callable[..., None]) -> None:
    contribute("stem", "odd", lambda in_channels: Layer(in_channels, planes=64))
    assert "reduction" in refused(lambda: create_model("resnet18", stem="odd"))


def test_a_conv_without_groups_is_refused_where_it_needs_them(contribute: Callable[..., None]) -> None:
    def make(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Module:
        return Layer(in_channels, planes=out_channels, stride=stride)

    contribute("conv", "odd", make)
    message = refused(lambda: create_model("resnext50_32x4d", conv="odd"))
    assert "conv 'odd' has no 'groups'" in message
    assert "groups=32" in message
    assert create_model("resnet50", conv="odd", device="meta")(torch.empty(1, 3, 64, 64, device="meta")).ndim == 2


def test_a_stride_that_a_block_does_not_take_is_refused(contribute: Callable[..., None]) -> None:
    def make(in_channels: int, *, planes: int) -> nn.Module:
        return Layer(in_channels, planes=planes)

    contribute("block", "odd", make)
    layer = ref("odd", planes=8)
    assert convzoo.build(small(layer)).num_features == 8
    message = refused(lambda: convzoo.build(small(layer, layer)))
    assert "block 'odd' has no 'stride'" in message


@pytest.mark.parametrize("options", [{"output_stride": 1}, {"drop_path_rate": 0.1}])
def test_dilation_and_drop_path_are_refused_where_no_layer_takes_them(
    contribute: Callable[..., None], options: dict[str, Any]
) -> None:
    contribute("block", "odd", Layer)
    layer = ref("odd", planes=8)
    message = refused(lambda: create_model(small(layer, layer), **options))
    assert "block 'odd'" in message
    assert next(iter(options)) in message or "dilation" in message


def test_a_block_without_a_slot_refuses_what_would_go_into_it(contribute: Callable[..., None]) -> None:
    contribute("block", "odd", Layer)
    assert "'attention'" in refused(lambda: create_model(small(ref("odd", planes=8)), attention="se"))
    described = small(ref("odd", planes=8, attention=ref("se")))
    assert "block 'odd' takes no option 'attention'" in refused(lambda: convzoo.build(described))


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_an_option_that_a_part_cannot_do_without_is_named(block: str) -> None:
    message = refused(lambda: convzoo.build(small(ref(block))))
    assert f"block {block!r}" in message
    assert "planes" in message


def test_a_head_without_what_a_model_asks_of_it_is_refused_with_what_that_is() -> None:
    class Bare(nn.Module):
        def __init__(self, in_channels: int, num_classes: int) -> None:
            super().__init__()

    convzoo.register(Component("head", "bare_head", Bare), plugin="test_bad_head")
    try:
        with pytest.raises(OptionError, match=r"bare_head.*classifier_name"):
            convzoo.create_model("resnet18", head="bare_head", device="meta")
    finally:
        plugins().remove("test_bad_head")
