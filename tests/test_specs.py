"""Specs are plain data: immutable, comparable, hashable, written down and read back the same."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
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
from convzoo.plugins.host import registry
from convzoo.spec.refs import Options, as_ref, parse_value

LAYER = ref("basic", planes=8, attention=ref("se", reduction=4), sizes=[1, [2, 3]])
STAGE = Stage((LAYER, LAYER, ref("basic", planes=8)), stride=2)


def model(**fields: Any) -> Model:
    """A small model that uses every field, changed by ``fields``."""
    values: dict[str, Any] = {
        "name": "net",
        "family": "nets",
        "stem": ref("cifar", width=8),
        "stages": (STAGE,),
        "norm": ref("group", groups=4),
        "num_classes": 10,
        "output_stride": 2,
        "drop_path_rate": 0.1,
        "dataset": "cifar10",
        "paper": "Nobody, Nets, 2020",
        "references": (Reference("timm", "resnet18", Options({"block_args": {"rd_ratio": 0.25}}), Options({"a": 1})),),
        "keys": ((r"^stem\.", "conv1."),),
        "aliases": (ref("net_b", zero_init_last=True),),
        "params": 1,
        "macs": 2,
    }
    return Model(**{**values, **fields})


SPECS = (
    Options({"a": 1, "b": (2, 3)}),
    LAYER,
    per_stage(None, "cbam", ref("se", reduction=8), [1, [2]]),
    STAGE,
    model().references[0],
    model(),
    Component("act", "swish", "torch.nn:SiLU", "SiLU"),
    Component("act", "callable", len),
    Component("block", "ghost", "ghost:Ghost", example={"planes": 64, "sizes": [1, 2]}),
)
each_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)


@each_spec
def test_copies_and_pickles_are_equal_and_hash_alike(spec: Any) -> None:
    for other in (copy.copy(spec), copy.deepcopy(spec), pickle.loads(pickle.dumps(spec))):
        assert type(other) is type(spec)
        assert other == spec
        assert hash(other) == hash(spec)


@each_spec
def test_specs_are_immutable(spec: Any) -> None:
    fields = getattr(spec, "__dataclass_fields__", ["_items", "new"])
    for field in fields:
        with pytest.raises(AttributeError):
            setattr(spec, field, None)


def test_options_cannot_be_changed_through_the_mapping() -> None:
    options = LAYER.options
    with pytest.raises(TypeError):
        options["planes"] = 16  # type: ignore[index]
    with pytest.raises(TypeError):
        del options["planes"]  # type: ignore[attr-defined]


def test_specs_keep_no_hold_on_what_they_were_made_from() -> None:
    sizes, options, layers = [1, 2], {"deep": {"a": [1]}}, [ref("basic")]
    options["sizes"] = sizes  # type: ignore[assignment]
    stage = Stage([Ref("basic", options), *layers])  # type: ignore[arg-type]
    sizes.append(3)
    options["deep"]["a"].append(2)
    layers.clear()
    assert stage == Stage((ref("basic", deep={"a": [1]}, sizes=[1, 2]), ref("basic")))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ref("se", a=1, b=2), ref("se", b=2, a=1)),
        (ref("se", a=[1, [2]]), ref("se", a=(1, (2,)))),
        (ref("se", a={"b": [1]}), ref("se", a={"b": (1,)})),
        (Ref("se"), ref("se")),
        (Stage(("basic(planes=8)",)), Stage((ref("basic", planes=8),))),
        (model(stem="cifar(width=8)", aliases=("net_b(zero_init_last=True)",)), model()),
    ],
)
def test_equal_specs_hash_alike(one: Any, other: Any) -> None:
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ref("se", a=1), ref("se")),
        (ref("se", a=1), ref("se", a=2)),
        (ref("se", a=1), ref("eca", a=1)),
        (ref("a", b=ref("c", d=1)), ref("a", b=ref("c", d=2))),
        (Stage((LAYER,)), Stage((LAYER,), stride=2)),
        (Stage((LAYER,)), Stage((LAYER, LAYER))),
        (model(), model(num_classes=11)),
        (model(), model(aliases=())),
    ],
)
def test_different_specs_are_unequal(one: Any, other: Any) -> None:
    assert one != other
    assert len({one, other}) == 2


def test_specs_pickle_into_a_process_that_has_not_imported_torch() -> None:
    code = (
        "import pickle, sys; spec = pickle.load(sys.stdin.buffer);"
        " again = type(spec).from_dict(spec.to_dict());"
        " print(spec.name, {spec} == {again}, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(model()), capture_output=True, check=True)
    assert result.stdout.split() == [b"net", b"True", b"False"]


# JSON


def through_json(spec: Model) -> Model:
    return Model.from_dict(json.loads(json.dumps(spec.to_dict(), allow_nan=False)))


def test_every_contributed_model_survives_json() -> None:
    models = registry().models()
    assert len(models) > 100
    assert [name for name, entry in models.items() if through_json(entry.spec) != entry.spec] == []


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"stages": (STAGE, Stage((ref("a", conv=ref("b", conv=ref("c", d=(1, 2)))),)))},
        {"references": (), "aliases": (), "keys": (), "params": None, "output_stride": None},
        {"stem": "my-cifar", "norm": "ref('my-group', groups=8)", "stages": (Stage((ref("a.b", conv=ref("c-d")),)),)},
        {"stages": (Stage((ref("a", conv=per_stage("b", ref("c", d=[1])), e=per_stage(1, (2, 3), None)),)),)},
        {"stem": ref("cifar", flag=False, nothing=None, text="1", ratio=0.1, nested={"a": {"b": [1]}})},
    ],
)
def test_model_survives_json(fields: dict[str, Any]) -> None:
    spec = model(**fields)
    assert through_json(spec) == spec
    assert hash(through_json(spec)) == hash(spec)


def test_json_leaves_out_no_field_and_needs_no_default() -> None:
    data = model().to_dict()
    assert set(data) == set(Model.__dataclass_fields__)
    minimal = {field: data[field] for field in ("name", "family", "stem", "stages")}
    assert Model.from_dict(minimal) == Model("net", "nets", ref("cifar", width=8), (STAGE,))


@pytest.mark.parametrize("value", [object(), len, {1, 2}, 1j])
def test_values_that_json_lacks_are_refused_when_written(value: object) -> None:
    with pytest.raises(SpecError, match="cannot be written down as JSON"):
        model(stem=ref("cifar", width=value)).to_dict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 10}, r"no field \['classes'\]"),
        ({"num_classes": -1}, "num_classes"),
        ({"stages": []}, "stages"),
        ({"stages": 3}, "not a model's dict"),
        ({"stages": [{"layers": [{"ref": "basic"}], "strides": 2}]}, "strides"),
        ({"stages": [{"layers": [{"ref": "basic"}], "stride": 0}]}, "stride"),
        ({"stages": [{"layers": []}]}, "at least one layer"),
        ({"references": [{"library": "keras", "name": "resnet50"}]}, "keras"),
        ({"references": [{"name": "resnet50"}]}, "library"),
        ({"stem": {"name": "cifar"}}, "component's name"),
        ({"stem": {"ref": 1}}, "referred to by its name"),
        ({"dataset": ["cifar10"]}, "dataset"),
        ({"keys": [["only one"]]}, "keys"),
    ],
)
def test_dict_with_an_impossible_value_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Model.from_dict({**model().to_dict(), **changes})


@pytest.mark.parametrize("field", ["name", "family", "stem", "stages"])
def test_dict_that_lacks_a_field_is_refused(field: str) -> None:
    data = model().to_dict()
    del data[field]
    with pytest.raises(SpecError, match=field):
        Model.from_dict(data)


# Refs as text


@pytest.mark.parametrize(
    "value",
    [
        ref("se"),
        ref("se", reduction=8, ratio=-0.5, flag=True, nothing=None),
        ref("bottleneck", stride_on="1x1", quoted='it\'s "so"', comma="a, b=(c)"),
        ref("a", b=ref("c", d=ref("e", j=3), f=ref("g", h=1)), i=2),
        ref("a", sizes=(1, (2, 3)), one=(1,), none=(), table={"b": {"c": [1]}}),
        ref("resnet50_2"),
        ref("a", b=ref("c")),
        ref("my-gate", reduction=8),
        ref("gate.v2", reduction=8),
        ref("3x3", reduction=8),
        ref("gate.v2", block=ref("3x3", gate=ref("se"))),
        ref("a", b=ref("my-gate"), c=(ref("gate.v2", d=1), "my-gate")),
        ref("a", b=per_stage(None, "cbam", ref("se", reduction=8), (1, 2))),
        ref("my-gate", b=per_stage(ref("gate.v2", c=1), ref("d"))),
    ],
    ids=str,
)
def test_ref_survives_its_text(value: Ref) -> None:
    assert Ref.parse(str(value)) == value
    assert as_ref(str(value)) == value


def test_ref_is_read_with_bare_words_and_blanks() -> None:
    expected = ref("bottleneck", conv="plain", attention=ref("se", reduction=8))
    assert Ref.parse("  bottleneck( conv = plain,attention=se( reduction = 8 ) ) ") == expected
    assert Ref.parse("a(sizes=(b, c,), each=[d])") == ref("a", sizes=("b", "c"), each=("d",))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (ref("se", reduction=8), "se(reduction=8)"),
        (ref("a", b=ref("se"), c=ref("my-gate")), "a(b=se(), c=ref('my-gate'))"),
        (ref("my-gate", reduction=8), "ref('my-gate', reduction=8)"),
        (ref("3x3", a=ref("se", b="c")), "ref('3x3', a=se(b='c'))"),
        (per_stage(None, "cbam", ref("se", reduction=8)), "per_stage(None, 'cbam', se(reduction=8))"),
        (ref("se", reduction=per_stage(4, 8)), "se(reduction=per_stage(4, 8))"),
    ],
)
def test_text_is_plain_where_names_are(value: Any, text: str) -> None:
    assert str(value) == text
    assert parse_value(text) == value


@pytest.mark.parametrize("name", ["se", "my-gate", "3x3", "gate.v2"])
def test_text_of_a_ref_without_options_is_its_name(name: str) -> None:
    assert str(ref(name)) == name
    assert Ref.parse(f"ref({name!r})") == Ref.parse(name) == ref(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "se(",
        "se)",
        "se(8)",
        "se(reduction=8) + 1",
        "se.v2(reduction)",
        "se(reduction=f(8))",
        "se reduction",
        "[1, 2]",
        "se(**{'reduction': 8})",
        "my/se",
        "my/se(reduction=8)",
        "se(gate=my/se)",
        "se(reduction=1/8)",
        "per_stage(se)",
        "per_stage(se, se)",
        "per_stage(a=1)",
        "ref(reduction=8)",
        "ref(se, reduction=8)",
        "a.b(reduction=8)",
    ],
)
def test_text_that_is_no_ref_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        Ref.parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("0.5", 0.5),
        ("True", True),
        ("None", None),
        ("(1, 2)", (1, 2)),
        ("'8'", "8"),
        ("se", "se"),
        ("my-gate", "my-gate"),
        ("3x3", "3x3"),
        ("se(reduction=8)", ref("se", reduction=8)),
        ("1/2", "1/2"),
        ("my-se(reduction=8)", "my-se(reduction=8)"),
        ("ref('my-se', reduction=8)", ref("my-se", reduction=8)),
        ("per_stage(None, cbam, se(reduction=8))", per_stage(None, "cbam", ref("se", reduction=8))),
        ("[3, 5]", (3, 5)),
    ],
)
def test_values_are_read_from_text(text: str, value: object) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


# Impossible values


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


def test_name_that_text_cannot_call_tells_how_its_options_are_written() -> None:
    with pytest.raises(SpecError, match=r"a name with '-' or '\.' reads ref\('name', option=value\)"):
        Ref.parse("my-gate(reduction=8)")


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


# What specs can do


def test_component_loads_its_target() -> None:
    assert Component("block", "dumps", "json:dumps").load() is json.dumps
    assert Component("block", "dumps", json.dumps).load() is json.dumps


def test_with_options_adds_and_replaces_without_changing_the_ref() -> None:
    old = ref("se", reduction=8)
    assert old.with_options(reduction=4, bias=False) == ref("se", reduction=4, bias=False)
    assert old == ref("se", reduction=8)


def test_runs_join_equal_neighbours_only() -> None:
    a, b = ref("a", width=1), ref("a", width=2)
    assert Stage((a, a, b, a)).runs() == [(2, a), (1, b), (1, a)]


def test_derived_spec_drops_the_claims_that_were_pinned() -> None:
    changed = model().derived(num_classes=11)
    assert changed == model(num_classes=11, params=None, macs=None, references=(), aliases=())


def test_derived_spec_that_is_the_same_keeps_its_claims() -> None:
    spec = model()
    assert spec.derived(num_classes=10, stem="cifar(width=8)") == spec
    assert spec.derived().params == 1


def test_derived_spec_is_checked() -> None:
    with pytest.raises(SpecError, match="num_classes"):
        model().derived(num_classes=-1)


def test_reference_is_found_by_library() -> None:
    spec = model()
    assert spec.reference() is spec.references[0]
    assert spec.reference("torchvision") is None


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


@pytest.mark.parametrize("data", [[], None, "resnet50"])
def test_dict_that_is_none_is_refused(data: Any) -> None:
    with pytest.raises(SpecError, match="not a model's dict"):
        Model.from_dict(data)


@pytest.mark.parametrize("text", ["se ('eca')", "a(x=1, x=2)", "ref('my se')", "f(1)(x=2)"])
def test_calls_that_are_no_ref_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="cannot read"):
        Ref.parse(text)


def test_refs_in_a_sequence_survive_their_text() -> None:
    value = ref("mixed", parts=(ref("a"), ref("b", x=(1,))), none=())
    assert Ref.parse(str(value)) == value


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("stages", 0, "layers", 1, "planes"), float("inf"), "stages.0.layers.1.planes: inf is no finite number"),
        (("stages", 0, "layers", 1, "planes"), 2**40, "stages.0.layers.1: planes=1099511627776: integers in specs"),
        (
            ("stages", 0, "layers", 1, "attention", "ref"),
            5,
            "stages.0.layers.1.attention: a component is referred to by",
        ),
        (("stages", 0, "layers", 1), 5, "stages.0: layers=5: expected a component's name or a ref"),
        (("stages", 0), 5, "stages.0: "),
        (("stages", 0, "stride"), 10**30, "stages.0.stride: "),
        (("references", 0, "library"), "keras", "references.0: references are to timm or torchvision"),
        (("keys", 0), {"per_stage": 5}, "keys.0: per_stage() has a sequence of values"),
        (("stem", "width"), {1, 2}, "stem.width: {1, 2} is nothing that JSON has"),
        (("paper",), [[["x"] * 600] * 600] * 600, "paper: the JSON of a spec has no more than"),
    ],
)
def test_dict_with_a_wrong_value_says_in_which_place(place: tuple[Any, ...], value: Any, said: str) -> None:
    data = json.loads(json.dumps(model().to_dict()))
    parent = data
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    with pytest.raises(SpecError) as caught:
        Model.from_dict(data)
    assert str(caught.value).startswith(said)


def test_dict_that_is_nested_too_deep_says_so() -> None:
    value: Any = "x"
    for _ in range(5000):
        value = [value]
    with pytest.raises(SpecError, match=r"paper\.0\.0\..*nested no more than 64 deep"):
        Model.from_dict({**model().to_dict(), "paper": value})
