"""Values of every wrong sort are refused by name, on one line, at once; numbers of numpy are numbers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy
import pytest
import torch
from torch import nn

import convzoo
from convzoo import Component, ConvzooError, Model, OptionError, Ref, SpecError, Stage, UnknownNameError, per_stage, ref
from convzoo.building.annotations import fits, readable
from convzoo.errors import LARGEST, LONGEST_MESSAGE, said, shown
from convzoo.layouts import BASIC, cifar_depths, dense_stages, imagenet, stages
from convzoo.network import place
from convzoo.network.features import take_indices
from convzoo.plugins.host import plugins
from convzoo.resnet.heads import Classifier
from convzoo.spec.options import DEEPEST, MOST, Options, frozen
from convzoo.spec.refs import PerStage, parse_value
from convzoo.testing import CheckFailed, NotApplicable, checks

from .allocations import refused
from .sites import whole
from .strange import STRANGE

TEXTS = {label for label, make in STRANGE.items() if isinstance(make(), str)}
"""Labels of what is text, and so may be a name that nobody has."""


def outcome(call: Callable[[Any], Any], label: str) -> str | None:
    """What is said of a value that is refused, within a second; None if it is accepted."""
    value = STRANGE[label]()
    start = time.process_time()
    try:
        call(value)
        return None
    except ConvzooError as error:
        message = str(error)
    assert time.process_time() - start < 20, label
    assert message, label
    assert "\n" not in message, label
    assert len(message) <= LONGEST_MESSAGE, label
    return message


OPTIONS: dict[str, set[str]] = {
    "num_classes": {"0"},
    "in_chans": set(),
    "output_stride": {"None"},
    "drop_path_rate": {"0"},
    "planes": set(),
    "width": set(),
    "drop_rate": {"0"},
    "zero_init_last": {"True"},
    "global_pool": set(),
    "attention": {"None"},
    "conv": set(),
    "stem": set(),
    "norm": set(),
    "features_only": {"True"},
    "nothing_takes_this": set(),
}
"""Options of a ResNet, and what of all that is strange they may be."""


@pytest.mark.parametrize("option", OPTIONS)
def test_options_refuse_what_they_cannot_be_and_are_named(option: str) -> None:
    def make(value: Any) -> Any:
        return convzoo.create_model(SMALL, device="meta", **{option: value})

    said_of = {label: outcome(make, label) for label in STRANGE}
    assert {label for label, message in said_of.items() if message is None} == OPTIONS[option]
    assert [label for label, message in said_of.items() if message is not None and option not in message] == []


SMALL = Model(
    "small",
    "small",
    ref("cifar", width=8),
    (Stage(("basic(planes=8)", "basic(planes=8)")),),
    num_classes=5,
    input_size=32,
)
BASE = SMALL.to_dict()


def layer_of(value: Any) -> dict[str, Any]:
    return {**BASE, "stages": [{"layers": [value], "stride": 1}]}


NET = convzoo.create_model(SMALL, device="meta")
MAP = torch.zeros(1, 3, 8, 8, device="meta")
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], set[str]]] = {
    "create_model": (lambda v: convzoo.create_model(v, device="meta"), set()),
    "create_model(out_indices=)": (
        lambda v: convzoo.create_model(SMALL, device="meta", features_only=True, out_indices=v),
        {"None"},
    ),
    "create_model(device=)": (lambda v: convzoo.create_model(SMALL, device=v), {"None", "device"}),
    "create_model(dtype=)": (lambda v: convzoo.create_model(SMALL, device="meta", dtype=v), {"None", "dtype"}),
    "create_model(planes=per_stage())": (
        lambda v: convzoo.create_model(SMALL, planes=per_stage(v), device="meta"),
        set(),
    ),
    "build": (lambda v: convzoo.build(v, device="meta"), set()),
    "is_model": (convzoo.is_model, TEXTS),
    "model_info": (convzoo.model_info, set()),
    "list_models(plugin=)": (lambda v: convzoo.list_models(plugin=v), {"None", *TEXTS}),
    "list_models(family=)": (lambda v: convzoo.list_models(family=v), {"None", *TEXTS}),
    "list_models(aliases=)": (lambda v: convzoo.list_models(aliases=v), {"True"}),
    "ref": (ref, set()),
    "Ref.parse": (Ref.parse, set()),
    "Ref(options=)": (lambda v: Ref("se", v), {"mapping"}),
    "PerStage": (PerStage, {"empty list", "list", "subclass of a list"}),
    "part(kind=)": (lambda v: convzoo.part(v, "se")(8), set()),
    "part(name=)": (lambda v: convzoo.part("attention", v)(8), set()),
    "part(...)": (lambda v: convzoo.part("attention", "se", reduction=v)(8), set()),
    "part()(channels)": (convzoo.part("attention", "se"), set()),
    "set_progress(progress=)": (lambda v: convzoo.set_progress(NET, v), {"0"}),
    "set_progress(model=)": (lambda v: convzoo.set_progress(v, 0.5), {"module"}),
    "penalty": (convzoo.penalty, {"module"}),
    "deploy": (convzoo.deploy, {"module"}),
    "reset_classifier(num_classes=)": (NET.reset_classifier, {"0"}),
    "reset_classifier(global_pool=)": (lambda v: NET.reset_classifier(5, v), {"None"}),
    "get_classifier(name_only=)": (NET.get_classifier, {"True"}),
    "set_grad_checkpointing(enable=)": (NET.set_grad_checkpointing, {"True"}),
    "forward_intermediates(indices=)": (lambda v: NET.forward_intermediates(MAP, v), {"None"}),
    "forward_intermediates(output_fmt=)": (lambda v: NET.forward_intermediates(MAP, output_fmt=v), set()),
    "forward_intermediates(stop_early=)": (lambda v: NET.forward_intermediates(MAP, stop_early=v), {"True"}),
    "feature_info.channels(idx=)": (NET.feature_info.channels, {"None", "0", "-1"}),
    "feature_info.get(key=)": (NET.feature_info.get, set()),
    "Model.from_dict": (Model.from_dict, set()),
    "Model.from_dict(stem=)": (lambda v: whole(Model.from_dict({**BASE, "stem": v})), set()),
    "Model.from_dict(num_classes=)": (lambda v: whole(Model.from_dict({**BASE, "num_classes": v})), {"0"}),
    "Model.from_dict(input_size=)": (lambda v: whole(Model.from_dict({**BASE, "input_size": v})), set()),
    "a layer in JSON": (lambda v: whole(Model.from_dict(layer_of(v))), set()),
    "an option in JSON": (
        lambda v: convzoo.build(Model.from_dict(layer_of({"ref": "basic", "planes": v})), device="meta"),
        set(),
    ),
    "a part's name in JSON": (lambda v: whole(Model.from_dict(layer_of({"ref": v}))), set()),
    "a stage in JSON": (lambda v: whole(Model.from_dict({**BASE, "stages": [v]})), set()),
}
"""Functions of one argument, and what of all that is strange they take."""


@pytest.mark.parametrize("function", FUNCTIONS)
def test_arguments_of_public_functions_are_refused_by_errors_of_ours(function: str) -> None:
    call, accepted = FUNCTIONS[function]
    assert {label for label in STRANGE if outcome(call, label) is None} == accepted


# Numbers of numpy


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"planes": numpy.int64(8), "num_classes": numpy.int32(7)}, {"planes": 8, "num_classes": 7}),
        ({"planes": numpy.array(8), "in_chans": numpy.uint8(4)}, {"planes": 8, "in_chans": 4}),
        (
            {"drop_rate": numpy.float32(0.25), "drop_path_rate": numpy.float64(0.5)},
            {"drop_rate": 0.25, "drop_path_rate": 0.5},
        ),
        ({"zero_init_last": numpy.True_}, {"zero_init_last": True}),
        ({"global_pool": numpy.str_("max")}, {"global_pool": "max"}),
        ({"attention": ref("se", reduction=numpy.int16(4))}, {"attention": ref("se", reduction=4)}),
        ({"planes": per_stage(numpy.int64(4))}, {"planes": per_stage(4)}),
    ],
)
def test_numbers_of_numpy_are_those_of_python(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    spec = whole(SMALL, **theirs)
    assert spec == whole(SMALL, **ours)
    assert Model.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert str(spec) == str(whole(SMALL, **ours))


def test_numbers_of_numpy_are_taken_by_what_takes_numbers() -> None:
    model = convzoo.create_model(SMALL, features_only=numpy.True_, out_indices=[numpy.int64(1)], device="meta")
    assert model.feature_info.out_indices == (1,)
    assert take_indices(4, numpy.int8(2)) == (2, 3)
    net = convzoo.create_model(SMALL)
    net.reset_classifier(numpy.int64(3))
    assert type(net.num_classes) is int
    assert net(torch.zeros(1, 3, 8, 8)).shape == (1, 3)
    for progress in (numpy.float32(0.5), torch.tensor(0.5), 1):
        convzoo.set_progress(net, progress)


def test_a_value_of_the_wrong_type_is_not_taken_for_an_equal_one_of_another_layer() -> None:
    layers = ("basic(planes=8, zero_init_last=True)", "basic(planes=8, zero_init_last=1)")
    with pytest.raises(OptionError, match="zero_init_last=1"):
        whole(Model("m", "m", ref("cifar"), (Stage(layers),)))  # type: ignore[arg-type]


# Out of all bounds


@pytest.mark.parametrize(
    "value", [LARGEST + 1, -LARGEST - 1, 2**63, 10**400, 10**6000, math.nan, math.inf, -math.inf], ids=shown
)
def test_no_option_holds_a_number_that_is_out_of_all_bounds(value: Any) -> None:
    for make in (
        lambda: ref("anything", size=value),
        lambda: per_stage({"size": value}),
        lambda: Options({"a": [1, [{"size": value}]]}),
        lambda: frozen(value, "size"),
        lambda: whole(SMALL, planes=value, size=value),
    ):
        with pytest.raises(OptionError, match=r"size=|planes="):
            make()
    assert ref("anything", size=LARGEST).options["size"] == LARGEST


@pytest.mark.parametrize(
    ("model", "options", "word"),
    [
        ("resnet18", {"planes": LARGEST}, "planes"),
        ("resnet18", {"planes": 10**6}, "planes"),
        ("resnet50", {"expansion": LARGEST}, "expansion"),
        ("resnet18", {"num_classes": LARGEST}, "num_classes"),
        ("resnet18", {"in_chans": LARGEST}, "in_channels=2147483647"),
        ("resnet18", {"stem": ref("conv", kernel_size=10**9 + 1)}, "kernel_size"),
        ("resnet18", {"dilation": 10**6}, "dilation"),
        ("resnet18", {"attention": ref("eca", kernel_size=10**9 + 1)}, "kernel_size"),
        ("resnet18", {"conv": ref("spatially_separable", kernel_size=10**6 + 1)}, "kernel_size"),
        ("sknet50", {"branches": 10**9}, "branches"),
        ("resnest50", {"radix": 10**9}, "radix"),
        ("densenet121", {"growth_rate": 10**9}, "growth_rate"),
        ("wrn16_1", {"kernel_sizes": (3,) * 1000}, "kernel_sizes"),
        ("wrn16_9999", {"planes": 10**6}, "planes"),
    ],
)
def test_what_no_machine_can_hold_is_refused_before_it_is_allocated(model: str, options: Any, word: str) -> None:
    start = time.process_time()
    if word == "dilation":  # which layers have, but no option gives to all of them
        model, options = Model("m", "m", ref("cifar"), (Stage((ref("basic", planes=8, **options),)),)), {}  # type: ignore[assignment]
    assert word in refused(lambda: convzoo.create_model(model, **options))
    assert time.process_time() - start < 20


def test_a_network_that_is_larger_than_the_memory_is_refused_with_what_it_would_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("convzoo.building.initialise.memory_of", lambda device: 40 * 2**20)
    message = refused(lambda: convzoo.create_model("resnet18"))
    assert "takes 0 GiB, and there are no more than 0 left for weights; device='meta' needs none" in message
    assert "in block basic" in message
    monkeypatch.setattr("convzoo.building.initialise.memory_of", lambda device: 50 * 2**20)
    convzoo.create_model("resnet18")


def test_memory_is_that_of_the_machine() -> None:
    assert 2**28 < place.memory_of(torch.device("cpu")) < 2**50
    assert place.memory_of(torch.device("meta")) == math.inf


def test_a_new_classifier_that_no_machine_can_hold_leaves_the_model_as_it_is() -> None:
    net = convzoo.create_model(SMALL)
    before = net.get_classifier()
    for classes in (LARGEST, 2**62):
        with pytest.raises(OptionError, match="num_classes"):
            net.reset_classifier(classes)
    assert net.get_classifier() is before


def test_a_network_has_no_more_layers_than_can_be_built() -> None:
    endless = Model("endless", "endless", ref("cifar"), (Stage((ref("basic", planes=8),) * (MOST + 1)),))
    with pytest.raises(OptionError, match="the stages of endless have 10001 layers"):
        whole(endless)


# Shapes of values


def test_values_are_nested_no_deeper_than_can_be_written() -> None:
    inner = ref("a")
    for _ in range(DEEPEST - 1):
        inner = ref("a", a=inner)
    assert Ref.parse(str(inner)) == inner
    assert hash(inner) == hash(Ref.parse(str(inner)))
    with pytest.raises(OptionError, match=f"a=.*nested no more than {DEEPEST} deep"):
        ref("a", a=inner)
    with pytest.raises(OptionError, match="nested"):
        per_stage([inner])


def test_values_that_are_one_in_memory_and_very_many_when_written_are_refused() -> None:
    value: Any = ref("a", x=1)
    while 2 * value.extent()[1] + 1 <= MOST:
        value = ref("a", x=value, y=value)
    with pytest.raises(OptionError, match=f"y=.*more than {MOST} others"):
        ref("a", x=value, y=value)
    with pytest.raises(OptionError, match=r"sizes=.*more than"):
        ref("a", sizes=[0] * (MOST + 1))
    assert len(ref("a", sizes=[0] * (MOST - 1)).options["sizes"]) == MOST - 1


def test_names_of_options_are_text() -> None:
    for wrong in ({1: 2}, {None: 1}, [(("a",), 1)]):
        with pytest.raises(SpecError, match="options have strings as names"):
            Options(wrong)  # type: ignore[arg-type]
    for wrong in (5, "ab", [1], None):
        with pytest.raises(SpecError, match="options are a mapping"):
            Options(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        ref("a", text="é²\n'", table={"b": ref("c", d=1), "é": [ref("e")]}),
        ref("a", b=per_stage({"c": ref("d")}, "é")),
        ref("a", negative=-0.5, tiny=1e-300, huge=1e308),
    ],
    ids=str,
)
def test_text_of_a_ref_is_ascii_and_means_the_same(value: Ref) -> None:
    assert str(value).isascii()
    assert parse_value(str(value)) == value


@pytest.mark.parametrize(
    "text", ["\uff53\uff45(reduction=8)", "se(\uff52eduction=8)", "per_stage(\uff53\uff45)", "\uff11\uff18", "\ufb01"]
)
def test_text_that_python_would_take_for_other_text_is_not_read(text: str) -> None:
    assert parse_value(text) == text
    with pytest.raises(SpecError, match="cannot read"):
        Ref.parse(text)


def test_names_are_no_longer_than_a_hundred_characters() -> None:
    assert ref("x" * 100).name == "x" * 100
    with pytest.raises(SpecError, match="100 at most"):
        ref("x" * 101)
    with pytest.raises(UnknownNameError, match="There is no model 'xxx") as caught:
        convzoo.create_model("x" * 100_000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "name",
    [
        "wrn28_00010",
        "wrn028_10",
        "wrn28_1\uff10",
        "wrn\uff128_10",
        "wrn28_" + "9" * 30,
        "wrn" + "9" * 5000 + "_1",
        "wrn10000_1",
    ],
    ids=shown,
)
def test_names_of_wide_networks_are_written_in_one_way(name: str) -> None:
    assert not convzoo.is_model(name)
    with pytest.raises(ValueError, match="There is no model") as caught:
        convzoo.create_model(name)
    assert isinstance(caught.value, UnknownNameError)
    assert len(str(caught.value)) < 400
    assert convzoo.is_model("wrn28_9999")


@pytest.mark.parametrize("filter", ["[" * 100_000, "*a" * 100_000, [["resnet*"]], None, 3, b"resnet*"], ids=shown)
def test_globs_that_are_none_or_would_take_for_ever_are_refused(filter: Any) -> None:
    start = time.process_time()
    with pytest.raises(OptionError, match="filter="):
        convzoo.list_models(filter)
    assert time.process_time() - start < 20


def test_globs_are_one_or_several() -> None:
    assert convzoo.list_models(["resnet18", "resnet3?"]) == ["resnet18", "resnet32", "resnet34"]
    assert convzoo.list_models("") == convzoo.list_models()
    assert convzoo.list_models([]) == convzoo.list_models("[") == convzoo.list_models("a[z-b]") == []


# Devices and types


@pytest.mark.parametrize("dtype", ["float16", "half", "torch.float16", torch.float16, numpy.str_("float16")])
def test_types_may_be_given_by_torchs_names(dtype: Any) -> None:
    model = convzoo.create_model(SMALL, dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {torch.float16}
    assert convzoo.build(SMALL, dtype=dtype, device="meta").head.fc.weight.dtype is torch.float16


@pytest.mark.parametrize("dtype", ["float", "double", "float64", "bfloat16", torch.float32])
def test_networks_compute_in_four_types(dtype: Any) -> None:
    assert next(convzoo.create_model(SMALL, dtype=dtype).parameters()).is_floating_point()


@pytest.mark.parametrize(
    "dtype", ["int8", torch.int8, "complex64", torch.float8_e4m3fn, "nn", "float17", "", False, 16]
)
def test_types_that_networks_do_not_compute_in_are_refused(dtype: Any) -> None:
    message = refused(lambda: convzoo.create_model(SMALL, dtype=dtype))
    assert message == f"dtype={shown(dtype)}: networks compute in float16, bfloat16, float32, float64"


@pytest.mark.parametrize(
    "device", ["abacus", "cuda:99", "", "vulkan", "hpu", 99, False, 2**70, "x" * 10_000, ["cpu"]], ids=shown
)
def test_devices_that_are_not_here_are_refused_by_name(device: Any) -> None:
    message = refused(lambda: convzoo.create_model(SMALL, device=device))
    assert message.startswith(f"device={shown(device)}")
    assert len(message) < 800


# Norms


@pytest.mark.parametrize("eps", [0, -1e-5, math.nan, math.inf, 1.5, True, "1e-5"])
@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
def test_eps_of_a_norm_is_a_small_positive_number(norm: str, eps: Any) -> None:
    assert "eps" in refused(lambda: convzoo.create_model(SMALL, norm=ref(norm, eps=eps)))
    with pytest.raises(OptionError, match="eps must be a number above 0"):
        plugins().registry.component("norm", norm)[0].load()(8, eps=eps)


@pytest.mark.parametrize("momentum", [-0.1, 1.1, math.nan, math.inf, None, True])
def test_momentum_is_a_share(momentum: Any) -> None:
    assert "momentum" in refused(lambda: convzoo.create_model(SMALL, norm=ref("batch", momentum=momentum)))
    gate = {"spatial_momentum": momentum}
    assert "spatial_momentum" in refused(lambda: convzoo.create_model(SMALL, attention=ref("cbam", **gate)))


def test_eps_and_momentum_reach_the_norm() -> None:
    norm = convzoo.create_model(SMALL, norm=ref("batch", eps=1e-3, momentum=0), device="meta").stem.norm
    assert (norm.eps, norm.momentum) == (1e-3, 0)


@pytest.mark.parametrize(
    ("model", "options", "word"),
    [
        ("resnet18", {"act": ref("gelu", approximate="none at all")}, "approximate"),
        ("resnet18", {"act": ref("prelu", num_parameters=0)}, "num_parameters"),
        ("wrn16_1", {"kernel_sizes": (3,), "dropout": 7.0}, "dropout"),
        ("densenet40_k12", {"dropout": 1.5, "dropout_after": "last"}, "dropout"),
        ("densenet40_k12", {"dropout": -0.5}, "dropout"),
    ],
)
def test_values_that_nothing_computes_with_are_refused_all_the_same(model: str, options: Any, word: str) -> None:
    assert word in refused(lambda: convzoo.create_model(model, **options))


# Parts that fail instead of refusing


class Failing(nn.Module):
    """An attention that fails on some of its options."""

    def __init__(self, channels: int, *, size: int = 1, how: str = "") -> None:
        super().__init__()
        if how == "type":
            raise TypeError("not of this type")
        if how == "key":
            raise KeyError("nothing")
        if how == "lines":
            raise RuntimeError("first line\nsecond line")
        self.weight = nn.Parameter(torch.empty(channels // size, 3))


@pytest.fixture
def failing(mine: str) -> str:
    convzoo.register(Component("attention", "failing", Failing), plugin=mine)
    return mine


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"size": 0}, "ZeroDivisionError: integer division or modulo by zero"),
        ({"size": -1}, "no weight can have the size (-8, 3): RuntimeError: Trying to create tensor with negative"),
        ({"how": "type"}, "TypeError: not of this type"),
        ({"how": "key"}, "KeyError: 'nothing'"),
        ({"how": "lines"}, "RuntimeError: first line"),
    ],
)
def test_a_part_that_fails_is_named_with_its_options_and_its_own_error_is_the_cause(
    failing: str, options: Any, what: str
) -> None:
    with pytest.raises(OptionError) as caught:
        convzoo.create_model(SMALL, attention=ref("failing", **options))
    message, [(name, value)] = str(caught.value), options.items()
    assert what in message
    assert f"failing({name}={value!r})" in message
    assert ", in block basic(" in message
    assert "\n" not in message
    assert caught.value.__cause__ is not None
    assert not isinstance(caught.value.__cause__, ConvzooError)


def test_a_part_that_fails_where_it_should_refuse_does_not_keep_its_promise(mine: str) -> None:
    class Strided(nn.Module):
        def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
            super().__init__()
            assert stride == 1, "by design"
            self.conv = nn.Conv2d(in_channels, out_channels, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x)

    convzoo.register(Component("shortcut", "strided", Strided), plugin=mine)
    found = {}
    for check in checks(mine):
        try:
            check()
        except NotApplicable:
            continue
        except CheckFailed as failure:
            found[check.promise.name] = str(failure)
    assert any("AssertionError: by design" in text for text in found.values())


def test_a_part_whose_signature_cannot_be_read_is_the_plugins_fault(mine: str) -> None:
    convzoo.register(Component("attention", "builtin", dict.fromkeys), plugin=mine)
    convzoo.register(Component("attention", "builtin", type), plugin=mine)
    with pytest.raises(convzoo.PluginError, match="attention 'builtin' of plugin 'mine'"):
        convzoo.create_model(SMALL, attention="builtin")


# Annotations


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (list[int], [(), (1, 2)], [1, ("a",), "ab"]),
        (Sequence[float], [(1, 0.5)], [("a",), Options()]),
        (list, [(1, "a")], ["a", 1]),
        (tuple[int, str], [(1, "a")], [(1,), ("a", 1), (1, "a", 2), 1]),
        (tuple[int, ...], [(), (1, 2)], [(1.5,), 1]),
        (dict[str, int], [Options({"a": 1})], [Options({"a": "b"}), (("a", 1),)]),
        (Mapping, [Options({"a": "b"})], [1]),
        (Annotated[int, "size"], [1], ["a", True]),
        (Annotated[int | None, "size"], [1, None], ["a"]),
        (Literal["a", 1], ["a", 1], ["b", True, 1.0]),
        (type[nn.Module], ["anything"], []),
        (Any, [1, "a", None], []),
    ],
    ids=str,
)
def test_annotations_say_what_a_value_may_be(hint: Any, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not fits(value, hint)] == []
    assert [value for value in bad if fits(value, hint)] == []


def test_annotations_that_cannot_be_read_take_everything() -> None:
    def function(a: int, b: nothing, c: math.nothing, d: 1 / 0) -> None:  # type: ignore[name-defined, valid-type]  # noqa: F821
        pass

    assert readable(function)["a"] is int
    assert {"b", "c", "d"} & set(readable(function)) == set()


# Layouts


@pytest.mark.parametrize(
    "make",
    [
        lambda: imagenet("net", "net", BASIC, (1, 1, 1, 1), letter="q"),
        lambda: imagenet("net", "net", BASIC, (1, 1, 1, 1), letter=["d"]),
        lambda: imagenet("net", "net", BASIC, (10**9, 1, 1, 1)),
        lambda: imagenet("net", "net", BASIC, (1, 1)),
        lambda: imagenet("net", "net", BASIC, 4),
        lambda: stages(BASIC, (1, "1"), (8, 8)),
        lambda: stages(BASIC, (1, 1), (8, 2**63)),
        lambda: dense_stages([BASIC], [1, 2], transition=BASIC),
        lambda: dense_stages([BASIC], [0], transition=BASIC),
        lambda: cifar_depths("20", 2),
        lambda: cifar_depths(20, 0),
        lambda: cifar_depths(10**400, 2),
    ],
)
def test_layouts_refuse_depths_widths_and_letters_that_cannot_be(make: Callable[[], Any]) -> None:
    with pytest.raises(SpecError):
        make()


# What is said


def test_values_are_shown_in_short_on_one_line() -> None:
    assert shown(torch.zeros(2, 2)) == "tensor([[0., 0.], [0., 0.]])"
    assert shown(10**5000) == "an integer of about 5001 digits"
    assert shown([[[[[1]]]]]) == "[[[[...]]]]"
    assert len(shown("x" * 10**6)) < 100
    assert shown(STRANGE["hostile"]()) == "<Hostile>"
    assert len(shown(STRANGE["doubled list"]())) < 1000


def test_errors_are_cut_in_the_middle_so_that_the_cure_stays() -> None:
    message = str(OptionError("what was asked " + "x" * 100_000 + " the cure"))
    assert message.startswith("what was asked")
    assert message.endswith("the cure")
    assert len(message) <= LONGEST_MESSAGE
    assert said(ValueError("")) == "ValueError"
    assert said(ValueError("a\nb")) == "ValueError: a"


def test_a_refused_head_leaves_nothing_half_done() -> None:
    head = Classifier(8, 5)
    before = head.fc
    for classes, pool in (("5", "max"), (5, ["max"]), (5, ""), (-1, "max")):
        with pytest.raises(OptionError):
            head.reset(classes, pool)  # type: ignore[arg-type]
    assert (head.fc, head.global_pool) == (before, "avg")
