"""Names of plugins, parts and models: a name belongs to the plugin that came first."""

from __future__ import annotations

import dataclasses
import re

import pytest

import convzoo
from convzoo import Model, cli
from convzoo.plugins.catalogue import catalogue, first_party
from convzoo.plugins.host import plugins

from .sites import FIRST_PARTY, GOOD, Site, assert_builds, assert_kept_out, discover, discover_with_warnings, hook, net

# First-party names


FIRST_PARTY_ITEMS = [
    pytest.param("Model('resnet18', 'bad', ref('cifar'), STAGES)", "model 'resnet18'", "convzoo", id="builtin"),
    pytest.param("Model('resnest50', 'bad', ref('cifar'), STAGES)", "model 'resnest50'", "convzoo-resnest", id="model"),
    pytest.param(
        "Model('net', 'bad', ref('cifar'), STAGES, aliases=('resnest50d',))",
        "model 'resnest50d'",
        "convzoo-resnest",
        id="alias",
    ),
    pytest.param("Component('attention', 'se', 'a:b')", "attention 'se'", "convzoo-attention", id="component"),
]
WORDS = ("item", "what", "distribution")


@pytest.mark.parametrize("name", ["aaa", "zzz"])
@pytest.mark.parametrize(WORDS, FIRST_PARTY_ITEMS)
def test_plugin_cannot_take_a_first_party_name(site: Site, name: str, item: str, what: str, distribution: str) -> None:
    before = discover()
    site.install(name, hook(f"yield {item}"))
    holder = next(r.owner for r in before.records.values() if r.owner.distribution == distribution)
    said = f"{what} is taken by {holder}, which comes before plugin '{name}' ({name}-zoo 1.2.3); choose another name"
    assert_kept_out(before, said, name=name)


@pytest.mark.parametrize(WORDS, FIRST_PARTY_ITEMS[1:])
def test_plugin_cannot_take_the_name_of_a_first_party_plugin_that_is_not_in(
    site: Site, monkeypatch: pytest.MonkeyPatch, item: str, what: str, distribution: str
) -> None:
    monkeypatch.setenv("CONVZOO_DISABLE", "resnest,attention")
    site.install("bad", hook(f"yield {item}"))
    found, [message] = discover_with_warnings()
    assert f"{what} is a name of {distribution}" in message
    assert found.records["bad"].status == "broken"


def test_no_cure_is_named_that_would_cure_nothing(site: Site) -> None:
    """The core's own names are never free, and a first-party plugin's are its own even where it is not in."""
    for number, name in enumerate(["resnet18", "resnest50"]):
        site.install(f"bad{number}", hook(f"yield Model('{name}', 'bad', ref('cifar'), STAGES)"))
    _, messages = discover_with_warnings()
    cures = [re.findall(r"CONVZOO_DISABLE=([\w-]+)", message) for message in messages]
    assert [[cure.removesuffix("-zoo") for cure in each] for each in cures] == [["bad0"], ["bad1"]]


@pytest.mark.parametrize("distribution", ["convzoo-aaa", "aaa-zoo"])
def test_plugin_is_not_first_party_for_what_it_or_its_module_is_called(site: Site, distribution: str) -> None:
    before = discover()
    clash = hook("yield Model('resnest50', 'bad', ref('cifar'), STAGES)")
    site.install("aaa", clash, distribution=distribution, target="convzoo_aaa.plugin")
    assert_kept_out(before, "is taken by plugin 'resnest' (convzoo-resnest ", name="aaa", distribution=distribution)


def test_first_party_are_the_core_and_what_its_extras_install() -> None:
    assert first_party() == {"convzoo", *(f"convzoo-{name.replace('_', '-')}" for name in FIRST_PARTY)}


def test_catalogue_leaves_out_a_plugin_that_only_sounds_first_party(site: Site) -> None:
    site.install("ghost", hook(), distribution="convzoo-ghost")
    code = "from convzoo.cli.catalogue import catalogue; from convzoo.plugins.host import plugins; print(*catalogue(),"
    told = site.run("-c", f"{code} *(r.owner for r in plugins().records.values()))").stdout
    assert "convzoo-resnest" in told.split()
    assert "convzoo-ghost" not in told.split()
    assert "(convzoo-ghost" in told.split()


def test_first_party_plugin_is_let_in_with_a_name_that_the_catalogue_gives_to_another(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = {**catalogue(), "resnest50": "convzoo-attention", "attention/se": "convzoo", "resnet18": "convzoo-sknet"}
    monkeypatch.setattr("convzoo.plugins.registry.catalogue", lambda: moved)
    found = discover()
    assert {record.status for record in found.records.values()} == {"ok"}
    assert found.registry.model("resnest50").owner.name == "resnest"


@pytest.mark.parametrize(
    ("name", "distribution"),
    [
        ("builtin", "convzoo"),
        ("resnest", "convzoo-resnest"),
        ("wide_resnet", "convzoo-wide-resnet"),
        ("Shake.Shake", "convzoo-shake-shake"),
    ],
)
def test_plugin_cannot_go_by_the_name_of_a_first_party_plugin(
    site: Site, monkeypatch: pytest.MonkeyPatch, name: str, distribution: str
) -> None:
    site.install(name, hook(), distribution="second-zoo")
    for disabled in ("", distribution):
        monkeypatch.setenv("CONVZOO_DISABLE", disabled)
        found, [message] = discover_with_warnings()
        assert f"{name!r} is what the plugin of {distribution} is called; choose another name" in message
        assert "CONVZOO_DISABLE=" in message
        assert "bad_net" not in found.registry.models()
        assert_builds(found, "resnet18", "good_net")


@pytest.mark.parametrize("name", ["my zoo", "my/zoo", "-zoo"])
def test_plugin_with_a_malformed_name_of_its_own_is_kept_out(site: Site, name: str) -> None:
    before = discover()
    site.install(name, hook(), distribution="second-zoo")
    assert_kept_out(before, f"plugin {name!r}: a name has letters", name=name, distribution="second-zoo")


# Names that two plugins claim


@dataclasses.dataclass(frozen=True)
class Clash:
    """What a plugin claims that ``good`` has too, and what is said of it."""

    item: str
    what: str


CLASHES = [
    pytest.param(Clash("Model('good_net', 'rival', ref('cifar'), STAGES)", "model 'good_net'"), id="model"),
    pytest.param(
        Clash("Model('good_alias', 'rival', ref('cifar'), STAGES)", "model 'good_alias'"), id="model and alias"
    ),
    pytest.param(
        Clash("Model('net', 'rival', ref('cifar'), STAGES, aliases=('good_net',))", "model 'good_net'"), id="alias"
    ),
    pytest.param(
        Clash("Model('net', 'rival', ref('cifar'), STAGES, aliases=('good_alias',))", "model 'good_alias'"),
        id="aliases",
    ),
    pytest.param(
        Clash("Component('attention', 'good_gate', 'good_zoo:gate')", "attention 'good_gate'"), id="component"
    ),
]


def taken(what: str, first: str, second: str) -> str:
    return f"{what} is taken by plugin {first}, which comes before plugin {second}; choose another name"


@pytest.mark.parametrize("clash", CLASHES)
def test_later_plugin_that_claims_a_taken_name_is_skipped_whole_and_both_are_named(site: Site, clash: Clash) -> None:
    before = discover()
    site.install("rival", hook(f"yield {clash.item}"))
    said = taken(clash.what, "'good' (good-zoo 1.2.3)", "'rival' (rival-zoo 1.2.3)")
    assert_kept_out(before, f"{said}, or keep that plugin out: CONVZOO_DISABLE=good-zoo", name="rival")


@pytest.mark.parametrize("clash", CLASHES)
def test_either_cure_that_the_warning_names_silences_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, clash: Clash
) -> None:
    site.install("rival", hook(f"yield {clash.item}"))
    _, [message] = discover_with_warnings()
    cures = re.findall(r"CONVZOO_DISABLE=([\w-]+)", message)
    assert cures[0] == "good-zoo"
    assert cures[1:] in (["rival"], ["rival-zoo"])
    kept: list[set[str]] = []
    for cure in cures:
        monkeypatch.setenv("CONVZOO_DISABLE", cure)
        found = discover()  # warnings are errors
        kept.append({name for name in ("good", "rival") if found.records[name].status == "ok"})
        assert_builds(found, "bad_net" if "rival" in kept[-1] else "good_net", "resnet18")
    assert kept == [{"rival"}, {"good"}]


def test_plugins_come_by_name_whatever_the_order_of_installing(site: Site) -> None:
    site.install("first", GOOD)
    found, [message] = discover_with_warnings()
    assert taken("attention 'good_gate'", "'first' (first-zoo 1.2.3)", "'good' (good-zoo 1.2.3)") in message
    assert [found.records[name].status for name in ("first", "good")] == ["ok", "broken"]
    assert found.registry.model("good_net").owner.name == "first"
    assert_builds(found, "good_net", "good_alias")


def test_later_plugin_of_three_is_judged_by_those_that_are_in(site: Site) -> None:
    site.install("one", hook("yield Model('good_net', 'one', ref('cifar'), STAGES)"))
    site.install("two", hook())
    found, [message] = discover_with_warnings()
    assert "plugin 'one' (one-zoo 1.2.3) is broken" in message
    assert found.registry.model("bad_net").owner.name == "two"
    assert_builds(found, "bad_net", "good_net")


def test_name_that_an_earlier_pattern_makes_is_taken(site: Site) -> None:
    before = discover()
    site.install("rival", hook("yield Model('wrn34_2', 'rival', ref('cifar'), STAGES)"))
    version = before.records["wide_resnet"].owner
    said = f"model 'wrn34_2' is taken by {version}, which comes before plugin 'rival' (rival-zoo 1.2.3)"
    assert_kept_out(before, said, name="rival")


def test_name_that_an_earlier_pattern_refuses_is_free(site: Site) -> None:
    site.install("rival", hook("yield Model('wrn35_2', 'rival', ref('cifar'), STAGES)"))
    assert discover().registry.model("wrn35_2").owner.name == "rival"


def test_later_pattern_makes_only_what_nobody_has(site: Site, mine: str) -> None:
    def make(name: str) -> Model:
        return net(name)

    convzoo.register(convzoo.Pattern("any", "(?P<name>.*)", make), plugin=mine)
    assert convzoo.model_info("resnest50").plugin.name == "resnest"
    assert convzoo.model_info("resnest50d").plugin.name == "resnest"
    assert convzoo.model_info("wrn34_2").plugin.name == "wide_resnet"
    assert convzoo.model_info("anything").plugin.name == mine
    with pytest.raises(convzoo.PluginError, match="model 'else' is taken by plugin 'mine'"):
        convzoo.register(net("else"), plugin="theirs")


def test_first_of_two_patterns_makes_the_model_unless_it_refuses(mine: str) -> None:
    def make(planes: str) -> Model:
        if planes == "7":
            raise convzoo.SpecError("seven is refused")
        return net("pat")

    convzoo.register(convzoo.Pattern("pat", r"pat(?P<planes>\d+)", make), plugin=mine)
    try:
        convzoo.register(convzoo.Pattern("pat", r"pat(?P<planes>\d+)", lambda planes: net("pat")), plugin="theirs")
        assert [convzoo.model_info(name).plugin.name for name in ("pat6", "pat7")] == [mine, "theirs"]
    finally:
        plugins().remove("theirs")
    with pytest.raises(convzoo.UnknownNameError, match="There is no model 'pat7': seven is refused"):
        convzoo.model_info("pat7")


def test_names_with_a_slash_are_nobodys(capsys: pytest.CaptureFixture[str]) -> None:
    assert not convzoo.is_model("resnest/resnest50")
    assert convzoo.list_models("resnest/*", aliases=True) == []
    assert not any("/" in name for name in convzoo.list_models(aliases=True))
    with pytest.raises(convzoo.UnknownNameError, match="There is no model 'resnest/resnest50'"):
        convzoo.create_model("resnest/resnest50")
    with pytest.raises(convzoo.OptionError, match="attention"):
        convzoo.create_model("resnet18", attention="attention/se")
    assert cli.main(["list", "resnest/*"]) == 2
    assert "There is no model 'resnest/*'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "item",
    [
        pytest.param("PARTS[0]", id="component"),
        pytest.param("PARTS[1]", id="model"),
        pytest.param("Model('bad_alias', 'bad', ref('cifar'), STAGES)", id="model and alias"),
        pytest.param("Model('net', 'bad', ref('cifar'), STAGES, aliases=('bad_alias',))", id="aliases"),
        pytest.param(
            "Model('net', 'bad', ref('cifar'), STAGES, aliases=('net',))",
            id="alias of itself",
        ),
        pytest.param(
            "Model('net', 'bad', ref('cifar'), STAGES, aliases=('nets', 'nets'))",
            id="alias twice",
        ),
    ],
)
def test_plugin_that_contributes_a_name_twice_is_kept_out_whole(site: Site, item: str) -> None:
    before = discover()
    site.install("bad", hook(f"yield {item}"))
    assert_kept_out(before, "is contributed twice by plugin 'bad' (bad-zoo 1.2.3)")


def test_same_name_may_serve_two_kinds_and_a_model(site: Site) -> None:
    site.install(
        "other", hook("yield Component('norm', 'bad_gate', 'a:b')", "yield Component('norm', 'bad_net', 'a:b')")
    )
    found = discover()
    assert found.registry.component("norm", "bad_gate")[0] != found.registry.component("attention", "bad_gate")[0]


def test_second_plugin_of_an_entry_point_name_is_kept_out(site: Site) -> None:
    before = discover()
    site.install("good", hook(), distribution="second-zoo")
    assert_kept_out(before, "have the same entry-point name", name="good", distribution="second-zoo")


def test_record_of_a_broken_plugin_outlives_a_second_one_of_its_name(site: Site) -> None:
    site.install("twin", "1 / 0", distribution="a-zoo")
    site.install("twin", hook(), distribution="b-zoo")
    found, messages = discover_with_warnings()
    assert len(messages) == 1
    assert "bad_net" in found.registry.models()
    assert {r.owner.distribution: r.status for r in found.records.values() if r.owner.name == "twin"} == {
        "a-zoo": "broken",
        "b-zoo": "ok",
    }
