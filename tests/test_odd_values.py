"""Values of every wrong sort are refused by name, on one line, at once; numbers of numpy are numbers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch

import convzoo
from convzoo import ConvzooError, Model, OptionError, Ref, Stage, per_stage, ref
from convzoo.errors import LONGEST_MESSAGE, said, said_in_full, shown
from convzoo.globs import LONGEST as LONGEST_GLOB
from convzoo.network.features import take_indices
from convzoo.resnet.heads import Classifier
from convzoo.spec.refs import PerStage

from .sites import whole
from .small import SMALL
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
    "create_model(out_strides=)": (
        lambda v: convzoo.create_model(SMALL, device="meta", features_only=True, out_strides=v),
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
    "list_models(exclude=)": (
        lambda v: convzoo.list_models(exclude=v),
        {"empty list", *(text for text in TEXTS if len(STRANGE[text]()) <= LONGEST_GLOB)},
    ),
    "list_parts": (convzoo.list_parts, set()),
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


def test_values_are_shown_in_short_on_one_line() -> None:
    assert shown(torch.zeros(2, 2)) == "tensor([[0., 0.], [0., 0.]])"
    assert shown(10**5000) == "an integer of about 5001 digits"
    assert shown([[[[[1]]]]]) == "[[[[...]]]]"
    assert len(shown("x" * 10**6)) < 100
    assert shown(STRANGE["hostile"]()) == "<Hostile>"
    assert len(shown(STRANGE["doubled list"]())) < 1000


class Mute(ValueError):
    """An error whose own text cannot be had."""

    def __str__(self) -> str:
        raise ZeroDivisionError


def test_errors_are_cut_in_the_middle_so_that_the_cure_stays() -> None:
    message = str(OptionError("what was asked " + "x" * 100_000 + " the cure"))
    assert message.startswith("what was asked")
    assert message.endswith("the cure")
    assert len(message) <= LONGEST_MESSAGE
    assert said(ValueError("")) == "ValueError"
    assert said(ValueError("a\nb")) == "ValueError: a"
    assert said_in_full(ValueError("a\nb")) == "ValueError: a b"
    for quoted in (said, said_in_full):
        assert quoted(Mute("x")) == "Mute: its text cannot be had, for a ZeroDivisionError"


def test_a_refused_head_leaves_nothing_half_done() -> None:
    head = Classifier(8, 5)
    before = head.fc
    for classes, pool in (("5", "max"), (5, ["max"]), (5, ""), (-1, "max")):
        with pytest.raises(OptionError):
            head.reset(classes, pool)  # type: ignore[arg-type]
    assert (head.fc, head.global_pool) == (before, "avg")
