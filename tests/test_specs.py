"""Specs are plain data: immutable, comparable and hashable; others are derived from them."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from typing import Any

import pytest

from convzoo import Component, Ref, SpecError, Stage, per_stage, ref
from convzoo.spec.refs import Options

from .specs import LAYER, STAGE, model

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
