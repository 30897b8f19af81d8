"""Refs and values are written as text and read back the same; other text is refused."""

from __future__ import annotations

from typing import Any

import pytest

from convzoo import Ref, SpecError, per_stage, ref
from convzoo.spec.refs import as_ref, parse_value


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


def test_name_that_text_cannot_call_tells_how_its_options_are_written() -> None:
    with pytest.raises(SpecError, match=r"a name with '-' or '\.' reads ref\('name', option=value\)"):
        Ref.parse("my-gate(reduction=8)")


@pytest.mark.parametrize("text", ["se ('eca')", "a(x=1, x=2)", "ref('my se')", "f(1)(x=2)"])
def test_calls_that_are_no_ref_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="cannot read"):
        Ref.parse(text)


def test_refs_in_a_sequence_survive_their_text() -> None:
    value = ref("mixed", parts=(ref("a"), ref("b", x=(1,))), none=())
    assert Ref.parse(str(value)) == value


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
