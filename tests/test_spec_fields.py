"""A field of a spec or a contribution that has an impossible value is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convzoo import (
    Component,
    ConvzooError,
    Model,
    OptionError,
    Pattern,
    Ref,
    Reference,
    SpecError,
    Stage,
    per_stage,
    ref,
)
from convzoo.spec.refs import Options

from .specs import LAYER, STAGE, model, through_json


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_classes", -1),
        ("num_classes", True),
        ("num_classes", 10.0),
        ("num_classes", "10"),
        ("num_classes", None),
        ("in_chans", 0),
        ("in_chans", True),
        ("input_size", 0),
        ("input_size", 32.0),
        ("output_stride", 0),
        ("output_stride", True),
        ("drop_path_rate", 1.0),
        ("drop_path_rate", -0.1),
        ("drop_path_rate", float("nan")),
        ("drop_path_rate", False),
        ("input_size", 2**63),
        pytest.param("macs", -(10**5000), id="macs of 5000 digits"),
        ("drop_path_rate", "0.1"),
        ("dataset", "mnist"),
        ("dataset", None),
        ("stages", ()),
        ("stages", (LAYER,)),
        ("stages", {STAGE: 1}),
        ("stages", (type("Lying", (Stage,), {})((LAYER,)),)),
        ("family", 3),
        ("family", b"nets"),
        ("family", None),
        ("paper", ["He"]),
        ("paper", "\udcff"),
        ("params", 1.5),
        ("params", "1"),
        ("macs", True),
        ("aliases", (3,)),
        ("aliases", {"one", "two"}),
        ("references", ("timm",)),
        ("references", 3),
        ("keys", "ab"),
        ("keys", ["ab"]),
        ("keys", {"a": "b"}),
        ("keys", (("a",),)),
        ("keys", (("a", 1),)),
        ("keys", ((None, "b"),)),
        ("keys", (("(", "b"),)),
        ("keys", (("a", r"\1"),)),
        ("keys", (("a", r"\g<b>"),)),
        ("keys", (("(a)", "{2}"),)),
        ("keys", (("(a)", "{1} {2+1}"),)),
    ],
)
def test_model_with_an_impossible_value_names_the_field(field: str, value: object) -> None:
    with pytest.raises(SpecError, match=rf"^net: {field}\b"):
        model(**{field: value})


@pytest.mark.parametrize("value", [{1, 2}, [[], {1}], bytearray(b"1")])
def test_value_that_cannot_be_hashed_is_refused_when_a_spec_is_made(value: Any) -> None:
    for fields in (lambda: {"stem": ref("cifar", width=value)}, lambda: {"aliases": [ref("net_b", width=value)]}):
        with pytest.raises(SpecError, match="width"):
            model(**fields())
    with pytest.raises(SpecError, match="width"):
        Stage([ref("basic", width=value)])


def test_numbers_and_texts_of_other_classes_become_pythons_own() -> None:
    class Family(str):
        def __str__(self) -> str:
            raise RuntimeError

    numbers = {"num_classes": np.int64(10), "params": np.uint8(1), "drop_path_rate": np.float32(0.5)}
    spec = model(**numbers, family=Family("nets"), stages=(Stage((LAYER,), np.int32(2)),))
    assert spec == model(num_classes=10, params=1, drop_path_rate=0.5, stages=(Stage((LAYER,), 2),))
    assert [type(getattr(spec, field)) for field in (*numbers, "family")] == [int, int, float, str]
    assert through_json(spec) == spec


@pytest.mark.parametrize("field", ["stem", "head", "norm", "act", "init"])
def test_part_that_is_neither_name_nor_ref_is_refused(field: str) -> None:
    with pytest.raises(SpecError, match="3"):
        model(**{field: 3})


@pytest.mark.parametrize("value", [0, -1, 1.0, True, None, "2"])
def test_stage_with_an_impossible_stride_is_refused(value: Any) -> None:
    with pytest.raises(SpecError, match="stride"):
        Stage((LAYER,), stride=value)


@pytest.mark.parametrize("layers", [None, 3, {"basic": 1}, {"basic"}, (3,), ([LAYER],)])
def test_stage_without_a_sequence_of_layers_is_refused(layers: Any) -> None:
    with pytest.raises(SpecError, match="layers"):
        Stage(layers)


def test_stage_without_layers_is_refused() -> None:
    with pytest.raises(SpecError, match="at least one layer"):
        Stage(())


@pytest.mark.parametrize("layers", ["basic", ref("basic")])
def test_stage_of_one_bare_layer_is_refused(layers: Any) -> None:
    with pytest.raises(SpecError, match="layers"):
        Stage(layers)


@pytest.mark.parametrize("name", ["", None, 3, "my/se", "-se", "se gate"])
def test_ref_without_a_name_is_refused(name: Any) -> None:
    with pytest.raises(SpecError, match="by its name"):
        Ref(name)


@pytest.mark.parametrize("mark", ["ref", "per_stage"])
def test_option_called_as_json_marks_a_ref_is_refused(mark: str) -> None:
    for make in (lambda: Ref("se", Options({mark: 1})), lambda: ref("se", nested={mark: "conv"})):
        with pytest.raises(SpecError, match=f"'{mark}' cannot be an option's name"):
            make()


def test_values_per_stage_inside_of_values_per_stage_are_refused() -> None:
    with pytest.raises(SpecError, match=r"per_stage\(\) cannot stand inside of per_stage\(\)"):
        per_stage(1, per_stage(2, 3))
    with pytest.raises(SpecError, match="cannot read"):
        Ref.parse("se(reduction=per_stage(1, per_stage(2, 3)))")


def test_reference_to_another_library_is_refused() -> None:
    with pytest.raises(SpecError, match="timm or torchvision, not 'keras'"):
        Reference("keras", "resnet50")


@pytest.mark.parametrize(
    ("field", "value"),
    [("library", None), ("name", 3), ("name", ""), ("options", 3), ("options", {"a": {1}}), ("overrides", ["a"])],
)
def test_reference_with_an_impossible_value_names_the_field(field: str, value: Any) -> None:
    with pytest.raises(SpecError, match=rf"^(a reference's )?{field}\b"):
        Reference(**{"library": "timm", "name": "resnet18", field: value})


class Unhashable:
    """A callable that is equal to others."""

    def __eq__(self, other: object) -> bool:
        return True

    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("summary", 3),
        ("summary", None),
        ("summary", "\udcff"),
        ("target", Unhashable()),
        ("example", 3),
        ("example", [{"planes": 8}, 3]),
        ("example", {"planes": {8}}),
    ],
)
def test_component_with_an_impossible_value_names_the_field(field: str, value: Any) -> None:
    with pytest.raises(SpecError, match=rf"^act 'swish': {field}\b"):
        Component(**{"kind": "act", "name": "swish", "target": "torch.nn:SiLU", field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", None), ("name", ""), ("regex", "("), ("regex", b"net"), ("regex", None), ("regex", 3), ("make", "net")],
)
def test_pattern_with_an_impossible_value_names_the_field(field: str, value: Any) -> None:
    with pytest.raises(SpecError, match=field):
        Pattern(**{"name": "net{n}", "regex": "net", "make": model, field: value})


@pytest.mark.parametrize("target", ["torch.nn", "torch.nn:", ":SiLU", "", None, 3])
def test_component_with_a_malformed_target_is_refused(target: Any) -> None:
    with pytest.raises(SpecError, match="act 'swish': target"):
        Component("act", "swish", target)


@pytest.mark.parametrize("name", ["", None, 3, b"swish", "\udcff"])
def test_component_without_a_name_is_refused(name: Any) -> None:
    with pytest.raises(SpecError, match="a component's name"):
        Component("act", name, "torch.nn:SiLU")


def test_components_example_is_kept_as_options() -> None:
    options = {"planes": 64, "sizes": [1, 2]}
    component = Component("block", "ghost", "ghost:Ghost", example=options)
    options["planes"] = 32
    assert component.example == Options({"planes": 64, "sizes": (1, 2)})
    assert component != Component("block", "ghost", "ghost:Ghost")
    assert Component("block", "ghost", "ghost:Ghost").example == {}


def test_component_may_give_several_examples() -> None:
    sets = [{"planes": 64, "sizes": [1, 2]}, {"planes": 8}]
    component = Component("block", "ghost", "ghost:Ghost", example=sets)
    sets[0]["planes"] = 32
    assert component.examples == (Options({"planes": 64, "sizes": (1, 2)}), Options({"planes": 8}))
    assert Component("block", "ghost", "ghost:Ghost", example={"planes": 8}).examples == (Options({"planes": 8}),)
    assert Component("block", "ghost", "ghost:Ghost").examples == (Options(),)
    assert hash(component) == hash(Component("block", "ghost", "ghost:Ghost", example=component.examples))


@pytest.mark.parametrize("example", [None, 3, "planes=64", ["planes"], {"ref": 1}])
def test_component_whose_example_is_no_options_is_refused(example: Any) -> None:
    with pytest.raises(SpecError, match="option"):
        Component("block", "ghost", "ghost:Ghost", example=example)


def test_spec_error_is_caught_as_convzoo_error_and_as_value_error() -> None:
    assert issubclass(SpecError, ConvzooError)
    assert issubclass(SpecError, ValueError)
    assert issubclass(OptionError, SpecError)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "a name has letters"),
        ({"name": None}, "a name has letters"),
        ({"aliases": "resnet"}, "aliases is a sequence"),
        ({"references": ("timm",)}, "references"),
        ({"params": -1}, "params"),
        ({"stages": None}, "stages"),
        ({"dataset": ["cifar10"]}, "dataset"),
    ],
)
def test_model_with_an_impossible_field_is_refused(changes: dict[str, Any], message: str) -> None:
    fields = {"name": "net", "family": "own", "stem": "cifar", "stages": (Stage(("basic",)),), **changes}
    with pytest.raises(SpecError, match=message):
        Model(**fields)
