"""Names of plugins, parts and models: those that are taken, and those that several plugins claim."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import convzoo
from convzoo import Component, Model, Stage, cli, ref
from convzoo.plugins import plugins
from convzoo.registry import catalogue, first_party

from .sites import FIRST_PARTY, Site, assert_builds, assert_kept_out, discover, discover_with_warnings, hook, net

# First-party names


FIRST_PARTY_ITEMS = pytest.mark.parametrize(
    ("item", "what", "distribution"),
    [
        pytest.param("Model('resnet18', 'bad', ref('cifar'), STAGES)", "model 'resnet18'", "convzoo", id="builtin"),
        pytest.param(
            "Model('resnest50', 'bad', ref('cifar'), STAGES)", "model 'resnest50'", "convzoo-resnest", id="model"
        ),
        pytest.param(
            "Model('net', 'bad', ref('cifar'), STAGES, aliases=('resnest50d',))",
            "model 'resnest50d'",
            "convzoo-resnest",
            id="alias",
        ),
        pytest.param("Component('attention', 'se', 'a:b')", "attention 'se'", "convzoo-attention", id="component"),
    ],
)


@pytest.mark.parametrize("name", ["aaa", "zzz"])
@FIRST_PARTY_ITEMS
def test_plugin_cannot_take_a_first_party_name(site: Site, name: str, item: str, what: str, distribution: str) -> None:
    before = discover()
    site.install(name, hook(f"yield {item}"))
    assert_kept_out(before, f"{what} is a name of {distribution}, installed or not; choose another name", name=name)


@FIRST_PARTY_ITEMS
def test_plugin_cannot_take_the_name_of_a_first_party_plugin_that_is_not_in(
    site: Site, monkeypatch: pytest.MonkeyPatch, item: str, what: str, distribution: str
) -> None:
    monkeypatch.setenv("CONVZOO_DISABLE", "resnest,attention")
    site.install("bad", hook(f"yield {item}"))
    found, [message] = discover_with_warnings()
    assert f"{what} is a name of {distribution}" in message
    assert found.records["bad"].status == "broken"


@pytest.mark.parametrize("distribution", ["convzoo-aaa", "aaa-zoo"])
def test_plugin_is_not_first_party_for_what_it_or_its_module_is_called(site: Site, distribution: str) -> None:
    before = discover()
    clash = hook("yield Model('resnest50', 'bad', ref('cifar'), STAGES)")
    site.install("aaa", clash, distribution=distribution, target="convzoo_aaa.plugin")
    assert_kept_out(before, "is a name of convzoo-resnest", name="aaa", distribution=distribution)


def test_first_party_are_the_core_and_what_its_extras_install() -> None:
    assert first_party() == {"convzoo", *(f"convzoo-{name.replace('_', '-')}" for name in FIRST_PARTY)}


def test_catalogue_leaves_out_a_plugin_that_only_sounds_first_party(site: Site) -> None:
    site.install("ghost", hook(), distribution="convzoo-ghost")
    code = "from convzoo.catalogue import catalogue; from convzoo.plugins import plugins; print(*catalogue(),"
    told = site.run("-c", f"{code} *(r.owner for r in plugins().records.values()))").stdout
    assert "convzoo-resnest" in told.split()
    assert "convzoo-ghost" not in told.split()
    assert "(convzoo-ghost" in told.split()


def test_first_party_plugin_is_let_in_with_a_name_that_the_catalogue_gives_to_another(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = {**catalogue(), "resnest50": "convzoo-attention", "attention/se": "convzoo", "resnet18": "convzoo-sknet"}
    monkeypatch.setattr("convzoo.registry.catalogue", lambda: moved)
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
def test_plugin_whose_name_could_not_qualify_another_is_kept_out(site: Site, name: str) -> None:
    before = discover()
    site.install(name, hook(), distribution="second-zoo")
    assert_kept_out(before, f"plugin {name!r}: a name has letters", name=name, distribution="second-zoo")


# Names that several plugins have


@pytest.mark.parametrize(
    ("item", "what"),
    [
        pytest.param("Model('good_net', 'rival', ref('cifar'), STAGES)", "model 'good_net'", id="model"),
        pytest.param("Model('good_alias', 'rival', ref('cifar'), STAGES)", "model 'good_alias'", id="model and alias"),
        pytest.param(
            "Model('net', 'rival', ref('cifar'), STAGES, aliases=('good_net',))", "model 'good_net'", id="alias"
        ),
        pytest.param(
            "Model('net', 'rival', ref('cifar'), STAGES, aliases=('good_alias',))", "model 'good_alias'", id="aliases"
        ),
        pytest.param(
            "Pattern('good_n?', 'good_n.t', lambda: Model('x', 'rival', ref('cifar'), STAGES))",
            "model 'good_net'",
            id="model and pattern",
        ),
        pytest.param("Component('attention', 'good_gate', 'good_zoo:gate')", "attention 'good_gate'", id="component"),
    ],
)
def test_plugins_that_claim_one_name_stay_in_and_only_their_names_tell_them_apart(
    site: Site, item: str, what: str
) -> None:
    site.install("rival", "from convzoo import Pattern\n" + hook(f"yield {item}"), version="4.5")
    found = discover()
    assert [found.records[name].status for name in ("good", "rival")] == ["ok", "ok"]
    kind, name = what.replace("'", "").split()

    def owner(name: str) -> str:
        registry = found.registry
        return (registry.model(name).owner if kind == "model" else registry.component(kind, name)[1]).name

    with pytest.raises(convzoo.UnknownNameError) as caught:
        owner(name)
    assert str(caught.value) == (
        f"{what} is contributed by plugin 'good' (good-zoo 1.2.3) and plugin 'rival' (rival-zoo 4.5)."
        f" Write 'good/{name}' or 'rival/{name}'."
    )
    assert str(caught.value) in found.registry.ambiguities()
    assert [owner(f"{plugin}/{name}") for plugin in ("good", "rival")] == ["good", "rival"]
    assert_builds(found, "good/good_net", "resnet18")


def half(share: float) -> type[nn.Module]:
    """An attention that scales by ``share`` unless it is told to do otherwise."""

    class Half(nn.Module):
        def __init__(self, channels: int, *, factor: float = share, bias: float = 0.0) -> None:
            super().__init__()
            self.factor, self.bias = factor, bias

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.factor + self.bias

    return Half


CLAIMED = {
    "stem": "cifar",
    "block": "basic",
    "head": "classifier",
    "conv": "plain",
    "shortcut": "conv",
    "norm": "batch",
    "act": "relu",
    "init": "default",
}
"""Kinds, and the builtin component of each that the two plugins have under the name ``both``."""


@pytest.fixture
def rivals() -> Iterator[None]:
    """Two plugins, ``first`` and ``second``, that claim the names of a model, its alias and components of all kinds."""
    sources = {kind: plugins().registry.component(kind, name)[0].target for kind, name in CLAIMED.items()}
    for number, plugin in enumerate(["first", "second"]):
        layer = ref("both", planes=8 << number, attention=ref("half", bias=1.0), conv="both")
        model = Model(
            "net",
            plugin,
            ref("cifar"),
            (Stage((layer,)),),
            norm="both",
            params=7,
            aliases=(ref("nets", attention="half"),),
        )
        parts = [Component(kind, "both", target) for kind, target in sources.items()]
        parts.append(Component("attention", "half", half(0.5 / (number + 1))))
        convzoo.register(*parts, model, net(f"{plugin}_net"), plugin=plugin)
    yield
    for plugin in ("first", "second"):
        if plugin in plugins().records:
            plugins().remove(plugin)


EITHER = "Write 'first/{0}' or 'second/{0}'"


def factors(model: nn.Module) -> set[float]:
    return {module.factor for module in model.modules() if type(module).__name__ == "Half"}


def test_model_that_two_plugins_have_goes_by_plugin_and_name(rivals: None) -> None:
    for use in (convzoo.create_model, convzoo.model_info):
        with pytest.raises(convzoo.UnknownNameError, match=EITHER.format("net")):
            use("net")
    assert [convzoo.is_model(name) for name in ("net", "first/net", "second/nets", "first/nut")] == [
        False,
        True,
        True,
        False,
    ]
    assert [convzoo.model_info(f"{plugin}/net").spec.family for plugin in ("first", "second")] == ["first", "second"]
    assert [convzoo.create_model(f"{plugin}/net", device="meta").num_features for plugin in ("first", "second")] == [
        8,
        16,
    ]


def test_model_that_two_plugins_have_is_listed_once_for_each(rivals: None) -> None:
    ours = [
        name
        for name in convzoo.list_models(aliases=True)
        if convzoo.model_info(name).plugin.name in ("first", "second")
    ]
    assert ours == ["first_net", "first/net", "second/net", "first/nets", "second/nets", "second_net"]
    assert convzoo.list_models("net") == ["first/net", "second/net"]
    assert convzoo.list_models("*net", plugin="first") == ["first_net", "first/net"]
    assert convzoo.list_models("second/*") == ["second/net", "second_net"]
    assert convzoo.list_models("*/net") == ["first/net", "second/net"]
    assert convzoo.list_models(["resn?st50", "second/*_net"]) == ["resnest50", "second_net"]


@pytest.mark.parametrize("kind", [*CLAIMED, "attention"])
@pytest.mark.parametrize("form", ["text", "ref", "spec", "json"])
def test_component_that_two_plugins_have_goes_by_plugin_and_name(rivals: None, kind: str, form: str) -> None:
    name = "half" if kind == "attention" else "both"

    def build(name: str) -> nn.Module:
        if kind == "block" or form in ("spec", "json"):
            slot = {kind: name} if kind in ("attention", "conv", "shortcut") else {}
            layer = ref(name if kind == "block" else "basic", planes=8, **slot)
            fields = {} if slot or kind == "block" else {kind: name}
            spec = Model(**{"name": "n", "family": "n", "stem": ref("cifar"), "stages": (Stage((layer,)),), **fields})
            return convzoo.build(Model.from_dict(json.loads(json.dumps(spec.to_dict()))) if form == "json" else spec)
        return convzoo.create_model("resnet20", **{kind: name if form == "text" else ref(name)})

    with pytest.raises(convzoo.UnknownNameError, match=EITHER.format(name)):
        build(name)
    one, other = build(f"first/{name}"), build(f"second/{name}")
    assert one.spec != other.spec
    assert f"first/{name}" in str(one.spec)
    if kind == "attention":
        assert [factors(one), factors(other)] == [{0.5}, {0.25}]


def test_options_of_a_part_by_plugin_and_name_are_merged(rivals: None) -> None:
    model = convzoo.create_model("resnet20", attention=ref("second/half", factor=0.9, bias=2.0), device="meta")
    assert (
        convzoo.create_model(model.spec, attention="second/half(bias=3.0)", device="meta").spec
        == convzoo.create_model("resnet20", attention=ref("second/half", factor=0.9, bias=3.0), device="meta").spec
    )
    assert factors(convzoo.create_model(model.spec, attention="first/half", device="meta")) == {0.5}


def test_name_with_its_plugin_means_the_same_as_the_name(mine: str) -> None:
    info = convzoo.model_info("seresnet50")
    assert convzoo.model_info("attention/seresnet50").spec == info.spec
    assert convzoo.model_info("wide_resnet/wrn34_2").spec == convzoo.model_info("wrn34_2").spec
    same = convzoo.create_model("attention/seresnet50", attention="attention/se", norm="builtin/batch", device="meta")
    assert same.spec == info.spec
    assert same.spec.params == info.spec.params
    changed = convzoo.create_model("seresnet50", attention=ref("attention/se", reduction=8), device="meta")
    assert changed.spec == convzoo.create_model("seresnet50", attention=ref("se", reduction=8), device="meta").spec
    convzoo.register(net("mine_net", block="builtin/basic", params=3), plugin=mine)
    assert convzoo.create_model("mine/mine_net", device="meta").spec == net("mine_net", params=3)


def test_plugins_own_model_has_its_own_components_whoever_else_claims_their_names(rivals: None) -> None:
    for plugin, factor in (("first", 0.5), ("second", 0.25)):
        spec = convzoo.model_info(f"{plugin}/net").spec
        layer = spec.stages[0].layers[0]
        assert layer.name == f"{plugin}/both"
        assert (layer.options["attention"], spec.norm) == (ref(f"{plugin}/half", bias=1.0), ref(f"{plugin}/both"))
        assert (spec.stem, spec.params) == (ref("cifar"), 7)
        assert plugins().registry.models()[f"{plugin}/net"].spec == spec
        model = convzoo.create_model(f"{plugin}/net").eval()
        assert model.spec.params == 7
        again = convzoo.build(Model.from_dict(json.loads(json.dumps(model.spec.to_dict())))).eval()
        assert factors(model) == factors(again) == {factor}
        again.load_state_dict(model.state_dict())
        images = torch.rand(2, 3, 8, 8)
        assert torch.equal(model(images), again(images))
        # An alias's own options too.
        assert convzoo.model_info(f"{plugin}/nets").overrides == {"attention": ref(f"{plugin}/half")}
        assert convzoo.create_model(f"{plugin}/nets", device="meta").spec.stages == spec.stages
    plugins().remove("first")
    assert convzoo.model_info("net").spec.stages[0].layers[0].name == "both"
    assert convzoo.create_model("net", device="meta").spec.norm == ref("both")


def test_models_of_a_pattern_have_their_plugins_own_components(rivals: None, mine: str) -> None:
    def make(planes: str) -> Model:
        layer = ref("basic", planes=int(planes), attention="half(bias=1.0)")
        return Model(f"pat{planes}", "own", ref("cifar"), [Stage([layer])])

    pattern = convzoo.Pattern("pat{planes}", r"pat(?P<planes>\d+)", make)
    convzoo.register(pattern, Component("attention", "half", half(0.125)), plugin=mine)
    assert factors(convzoo.create_model("pat8", device="meta")) == {0.125}
    assert convzoo.model_info("mine/pat8").spec.stages[0].layers[0].options["attention"] == ref("mine/half", bias=1.0)


def test_names_that_the_patterns_of_two_plugins_make_are_ambiguous(mine: str, rivals: None) -> None:
    def make(planes: str) -> Model:
        if planes == "7":
            raise convzoo.SpecError("seven is refused")
        return net("pat")

    convzoo.register(convzoo.Pattern("pat", r"pat(?P<planes>\d+)", make), plugin=mine)
    assert convzoo.model_info("pat6").plugin.name == mine
    convzoo.register(convzoo.Pattern("pat", r"pat(?P<planes>\d+)", lambda planes: net("pat")), plugin="second")
    with pytest.raises(convzoo.UnknownNameError, match="Write 'mine/pat6' or 'second/pat6'"):
        convzoo.model_info("pat6")
    assert convzoo.model_info("second/pat6").plugin.name == "second"
    assert convzoo.model_info("pat7").plugin.name == "second"
    with pytest.raises(convzoo.UnknownNameError, match="There is no model 'mine/pat7': seven is refused"):
        convzoo.model_info("mine/pat7")


def test_first_party_name_does_not_stand_for_what_a_pattern_of_another_plugin_makes(
    mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    convzoo.register(convzoo.Pattern("any", ".*", lambda: net("any")), plugin=mine)
    assert convzoo.model_info("resnest50").plugin.name == "resnest"
    assert convzoo.model_info("anything").plugin.name == mine
    assert not any("/" in name for name in convzoo.list_models(aliases=True))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("frist/half", ["There is no attention 'frist/half'", "Did you mean 'first/half' or 'second/half'?"]),
        ("frist/half", ["There is no plugin 'frist' (see `convzoo plugins`)", "attention, builtin, "]),
        ("first/hlaf", ["Did you mean 'first/half'", "Plugin 'first' has: half."]),
        ("attention/half", ["Did you mean 'first/half' or 'second/half'?", "Plugin 'attention' has: ", "eca"]),
        ("first/se", ["There is no attention 'first/se'. Did you mean 'attention/se'?"]),
        ("/se", ["There is no plugin ''"]),
    ],
)
def test_plugin_without_the_name_is_an_error_that_knows_better(rivals: None, name: str, parts: list[str]) -> None:
    with pytest.raises(convzoo.UnknownNameError) as caught:
        plugins().registry.component("attention", name)
    assert [part for part in parts if part not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "frist/net",
            ["There is no model 'frist/net'. Did you mean 'first/net' or 'second/net'?", "no plugin 'frist'"],
        ),
        ("first/nat", ["Did you mean 'first/net", "Plugin 'first' has: first_net, net, nets."]),
        ("resnext/resnest50", ["Did you mean 'resnest/resnest50'?", "Plugin 'resnext' has: "]),
        ("/net", ["There is no plugin ''"]),
        ("first/first/net", ["There is no plugin 'first/first'"]),
    ],
)
def test_plugin_without_the_model_is_an_error_that_knows_better(rivals: None, name: str, parts: list[str]) -> None:
    with pytest.raises(convzoo.UnknownNameError) as caught:
        convzoo.create_model(name)
    assert [part for part in parts if part not in str(caught.value)] == []


def test_first_party_plugin_that_is_not_in_is_named_for_plugin_and_name(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVZOO_DISABLE", "resnest")
    registry = discover().registry
    for ask in (
        lambda: registry.model("resnest/resnest50"),
        lambda: registry.component("conv", "resnest/split_attention"),
    ):
        with pytest.raises(convzoo.UnknownNameError, match="convzoo-resnest provides it, and is not installed"):
            ask()


def test_command_line_takes_plugin_and_name(rivals: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "second/net", "attention=first/half(factor=0.9)"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("second/net: second, plugin 'second' (none 0)\n")
    assert "second/both(planes=16, attention=first/half(factor=0.9), conv=second/both())" in out
    assert cli.main(["show", "second/nets"]) == 0
    assert capsys.readouterr().out.startswith("second/nets, of net: ")
    for glob, names in {
        "second/*": ["second/net", "second_net"],
        "net": ["first/net", "second/net"],
        "first/nets": ["first/nets"],
        "attention/seresnet50": ["seresnet50"],
        "wide_resnet/wrn34_2": ["wide_resnet/wrn34_2"],
    }.items():
        assert cli.main(["list", glob, "--json"]) == 0
        assert [row["name"] for row in json.loads(capsys.readouterr().out)] == names
    assert cli.main(["show", "net"]) == 2
    assert EITHER.format("net") in capsys.readouterr().err


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
