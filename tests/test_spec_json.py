"""Specs are written down as JSON and read back the same; what is wrong in JSON is named with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convzoo import Model, SpecError, Stage, per_stage, ref
from convzoo.plugins.host import registry

from .specs import STAGE, model, through_json


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


@pytest.mark.parametrize("data", [[], None, "resnet50"])
def test_dict_that_is_none_is_refused(data: Any) -> None:
    with pytest.raises(SpecError, match="not a model's dict"):
        Model.from_dict(data)


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
