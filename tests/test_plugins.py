"""Plugins are let in whole or kept out whole. Their distributions are faked: a module, and metadata beside it."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from packaging.specifiers import SpecifierSet
from torch import nn

import convzoo
from convzoo import Component, Model, PluginError, PluginWarning, Stage, cli, ref
from convzoo.builder import build
from convzoo.plugins import Plugins, core_version, plugins, satisfies
from convzoo.registry import catalogue, first_party

ENVIRONMENT = ("CONVZOO_PLUGINS", "CONVZOO_DISABLE", "CONVZOO_STRICT")
FIRST_PARTY = {path.name for path in (Path(__file__).parent.parent / "plugins").iterdir()}

IMPORTS = "from convzoo import Component, Model, Stage, hookimpl, ref\n"

GOOD = f"""
{IMPORTS}
def gate(channels):
    from torch import nn
    return nn.Conv2d(channels, channels, 1, groups=channels)

@hookimpl
def convzoo_contribute():
    yield Component("attention", "good_gate", "good_zoo:gate")
    layer = ref("basic", planes=16, attention=ref("good_gate"))
    yield Model("good_net", "good", ref("cifar"), (Stage((layer,)),), aliases=(ref("good_alias"),))
"""

# What every broken plugin has to offer, before something is wrong with it.
PARTS = f"""
{IMPORTS}
STAGES = (Stage((ref("basic", planes=8),)),)
PARTS = [
    Component("attention", "bad_gate", "bad_zoo:gate"),
    Model("bad_net", "bad", ref("cifar"), STAGES, aliases=(ref("bad_alias"),)),
]
"""


def hook(*body: str) -> str:
    """A plugin's source whose hook has these lines after yielding two sound contributions."""
    lines = ["yield from PARTS", *body]
    return f"{PARTS}@hookimpl\ndef convzoo_contribute():\n" + textwrap.indent("\n".join(lines), "    ")


class Site:
    """A folder of installed distributions, first on ``sys.path``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: list[str] = []

    def install(
        self,
        name: str,
        source: str | None,
        *,
        distribution: str | None = None,
        version: str = "1.2.3",
        target: str = "",
        requires: tuple[str, ...] = (),
    ) -> None:
        """Install ``<name>-zoo`` with the module ``<name>_zoo`` and its entry point ``name``."""
        distribution = distribution or f"{name}-zoo"
        target = target or distribution.replace("-", "_")
        module = target.partition(":")[0]
        self.modules += [module, module.partition(".")[0]]
        if source is not None:
            path = self.folder.joinpath(*module.split(".")).with_suffix(".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(source)
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{needs}"
        )
        info.joinpath("entry_points.txt").write_text(f"[convzoo]\n{name} = {target}\n")
        importlib.invalidate_caches()

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a fresh interpreter that sees this folder."""
        path = os.pathsep.join(filter(None, [str(self.folder), os.environ.get("PYTHONPATH")]))
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A place to install plugins in, with a good one called ``good`` there already."""
    plugins()  # so that the process's own zoo has none of it
    for variable in ENVIRONMENT:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    site = Site(tmp_path)
    site.install("good", GOOD)
    yield site
    for module in site.modules:
        sys.modules.pop(module, None)


def discover() -> Plugins:
    """A fresh discovery; as everywhere in the tests, a PluginWarning is an error."""
    found = Plugins()
    found.discover()
    return found


def discover_with_warnings() -> tuple[Plugins, list[str]]:
    """A fresh discovery, and the texts of its warnings."""
    found = Plugins()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found.discover()
    assert all(issubclass(warning.category, PluginWarning) for warning in caught)
    return found, [str(warning.message) for warning in caught]


def contents(found: Plugins) -> dict[object, str]:
    """Everything in the registry, and who contributed it."""
    components = {(c.kind, c.name): str(owner) for c, owner in found.registry.components()}
    return {**components, **{name: str(e.owner) for name, e in found.registry.models(aliases=True).items()}}


def assert_builds(found: Plugins, *names: str) -> None:
    for name in names:
        build(found.registry.model(name).spec, found.registry, device="meta")


def assert_kept_out(before: Plugins, reason: str, name: str = "bad", distribution: str = "") -> None:
    """One warning names the plugin, its version, the reason and the cure; all is as ``before``, and works."""
    distribution = distribution or f"{name}-zoo"
    found, messages = discover_with_warnings()
    assert len(messages) == 1
    assert f"plugin '{name}' ({distribution} 1.2.3) is broken" in messages[0]
    assert reason in messages[0]
    assert f"pip install -U {distribution}" in messages[0]
    assert "CONVZOO_DISABLE=" in messages[0]
    assert contents(found) == contents(before)
    record = next(record for record in found.records.values() if record.owner.distribution == distribution)
    assert record.status == "broken"
    assert reason in record.error
    others = {key: record.status for key, record in found.records.items() if record.owner.distribution != distribution}
    assert others == {key: record.status for key, record in before.records.items()}
    assert_builds(found, "resnet18", "resnest50", "good_net")


def test_good_plugin_is_let_in_and_builds(site: Site) -> None:
    found = discover()
    assert found.records["good"].status == "ok"
    assert str(found.registry.model("good_alias").owner) == "plugin 'good' (good-zoo 1.2.3)"
    model = build(found.registry.model("good_net").spec, found.registry)
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 1000)


# A broken plugin


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        pytest.param("import no_such_module", "No module named 'no_such_module'", id="missing dependency"),
        pytest.param("from convzoo import no_such_name", "cannot import name 'no_such_name'", id="ImportError"),
        pytest.param("def broken(:", "SyntaxError", id="SyntaxError"),
        pytest.param("raise SystemExit('bye')", "SystemExit: bye", id="SystemExit"),
        pytest.param("1 / 0", "ZeroDivisionError", id="ZeroDivisionError"),
        pytest.param(None, "No module named 'bad_zoo'", id="no module"),
    ],
)
def test_plugin_that_does_not_import_is_kept_out(site: Site, source: str | None, reason: str) -> None:
    before = discover()
    site.install("bad", source)
    assert_kept_out(before, reason)


def test_plugin_whose_entry_point_names_nothing_is_kept_out(site: Site) -> None:
    before = discover()
    site.install("bad", hook(), target="bad_zoo:nothing")
    assert_kept_out(before, "has no attribute 'nothing'")


def test_plugin_that_raises_half_way_is_kept_out_whole(site: Site) -> None:
    before = discover()
    site.install("bad", hook("raise RuntimeError('half-way')"))
    assert_kept_out(before, "RuntimeError: half-way")


def test_plugin_that_exits_half_way_is_kept_out_whole(site: Site) -> None:
    before = discover()
    site.install("bad", hook("raise SystemExit('half-way')"))
    assert_kept_out(before, "SystemExit: half-way")


def test_plugin_with_a_misspelt_hook_is_kept_out(site: Site) -> None:
    before = discover()
    site.install("bad", hook().replace("convzoo_contribute", "convzoo_contribut"))
    assert_kept_out(before, "unknown hook 'convzoo_contribut'")


def test_plugin_with_a_misspelt_second_hook_is_kept_out_whole(site: Site) -> None:
    before = discover()
    site.install("bad", hook() + "\n@hookimpl\ndef convzoo_contribut():\n    return []\n")
    assert_kept_out(before, "unknown hook 'convzoo_contribut'")


def test_plugin_without_a_hook_is_kept_out(site: Site) -> None:
    before = discover()
    site.install("bad", PARTS)
    assert_kept_out(before, "no convzoo_contribute() marked with @convzoo.hookimpl")


def test_plugin_with_an_undecorated_hook_is_kept_out(site: Site) -> None:
    before = discover()
    site.install("bad", hook().replace("@hookimpl", ""))
    assert_kept_out(before, "no convzoo_contribute() marked with @convzoo.hookimpl")


def test_plugin_whose_hook_wants_an_argument_is_kept_out(site: Site) -> None:
    before = discover()
    site.install("bad", hook().replace("convzoo_contribute()", "convzoo_contribute(registry)"))
    assert_kept_out(before, "registry")


@pytest.mark.parametrize("item", ["'resnet18'", "None", "Model", "STAGES[0]"])
def test_plugin_that_yields_something_else_is_kept_out_whole(site: Site, item: str) -> None:
    before = discover()
    site.install("bad", hook(f"yield {item}"))
    assert_kept_out(before, "neither a Component nor a Model")


def test_plugin_whose_hook_returns_no_iterable_is_kept_out(site: Site) -> None:
    before = discover()
    site.install("bad", PARTS + "@hookimpl\ndef convzoo_contribute():\n    return PARTS[0]\n")
    assert_kept_out(before, "not iterable")


@pytest.mark.parametrize("name", ["", "-net", "bad net", "bad/net", "bad_net\n"])
def test_plugin_with_a_malformed_name_is_kept_out_whole(site: Site, name: str) -> None:
    before = discover()
    site.install("bad", hook(f"yield Model({name!r}, 'bad', ref('cifar'), STAGES)"))
    assert_kept_out(before, "a name has letters")


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


# Versions


@pytest.mark.parametrize(
    "requirement", ["convzoo>=9.0,<9.1", "convzoo (>=9.0,<9.1)", "convzoo[all] >= 9.0, < 9.1", "convzoo==9.*"]
)
def test_plugin_for_another_core_version_is_kept_out(site: Site, requirement: str) -> None:
    before = discover()
    site.install("bad", hook(), requires=("torch", requirement))
    assert_kept_out(before, f"and this is convzoo {core_version()}")


def test_plugin_for_another_core_version_is_not_imported(site: Site) -> None:
    site.install("bad", "1 / 0", requires=("convzoo>=9.0,<9.1",))
    _, [message] = discover_with_warnings()
    assert "it was built for convzoo >=9.0,<9.1" in message
    assert "bad_zoo" not in sys.modules


@pytest.mark.parametrize(
    "requirement",
    [
        "convzoo",
        "convzoo>=0.1",
        "convzoo[all]~=0.1 ; python_version >= '3.10'",
        "another-convzoo>=9",
        "convzoo-attention>=0.1",
        "convzootopia>=9",
        "convzoo @ file:///src/convzoo",
        "convzoo>=9 ; extra == 'next'",
    ],
)
def test_plugin_with_a_requirement_that_holds_is_let_in(site: Site, requirement: str) -> None:
    site.install("other", hook(), requires=(requirement,))
    assert discover().records["other"].status == "ok"


VERSIONS = ("0.1", "0.1.0", "0.1.1", "0.1.10", "0.2", "0.2.0", "0.9", "0.10.0", "1", "1.0.0", "1.1", "2.0.3", "10.0")


@pytest.mark.parametrize(
    "specifier",
    [
        "",
        ">=0.1",
        ">=0.1,<0.2",
        " >= 0.1 , < 0.2 ",
        ">0.1",
        ">0.1.1",
        "<=0.1",
        "<0.2.0",
        "<1",
        "==0.1",
        "==0.1.1",
        "==0.1.*",
        "==1.*",
        "!=0.1.1",
        "!=0.1.*",
        "~=0.1",
        "~=0.9",
        "~=0.1.1",
        ">=0.1,!=0.1.1,<1",
        ">=9.0,<9.1",
        "~=0.1.0",
    ],
)
def test_satisfies_agrees_with_packaging(specifier: str) -> None:
    ours = {version: satisfies(version, specifier) for version in VERSIONS}
    assert ours == {version: SpecifierSet(specifier).contains(version) for version in VERSIONS}


@pytest.mark.parametrize("specifier", ["0.1", "=>0.1", "latest"])
def test_satisfies_refuses_what_is_not_a_version_clause(specifier: str) -> None:
    with pytest.raises(PluginError, match=re.escape(specifier)):
        satisfies("0.1", specifier)


# The environment


@pytest.mark.parametrize(
    ("allow", "deny", "expected"),
    [
        pytest.param(None, None, {*FIRST_PARTY, "good", "other"}, id="unset"),
        pytest.param("", None, set(), id="allow nothing"),
        pytest.param(" , ", None, set(), id="allow blanks"),
        pytest.param("good", None, {"good"}, id="allow by entry point"),
        pytest.param("good-zoo", None, {"good"}, id="allow by distribution"),
        pytest.param(" good , convzoo-resnest ,", None, {"good", "resnest"}, id="allow two"),
        pytest.param(None, "", {*FIRST_PARTY, "good", "other"}, id="deny nothing"),
        pytest.param(None, "good", {*FIRST_PARTY, "other"}, id="deny by entry point"),
        pytest.param(None, "good-zoo, convzoo-sknet", {*FIRST_PARTY, "other"} - {"sknet"}, id="deny by distribution"),
        pytest.param("good,other", "other", {"good"}, id="both"),
        pytest.param("good,other", "other-zoo,good-zoo", set(), id="both by other names"),
    ],
)
def test_environment_chooses_the_plugins(
    site: Site, monkeypatch: pytest.MonkeyPatch, allow: str | None, deny: str | None, expected: set[str]
) -> None:
    site.install("other", hook())
    for variable, value in zip(ENVIRONMENT, (allow, deny), strict=False):
        if value is not None:
            monkeypatch.setenv(variable, value)
    found = discover()
    status = {key: record.status for key, record in found.records.items()}
    chosen = {"builtin", *expected}
    assert status == {key: "ok" if key in chosen else "disabled" for key in {"builtin", "good", "other", *FIRST_PARTY}}
    assert {entry.owner.name for entry in found.registry.models().values()} <= chosen
    assert ("good_zoo" in sys.modules) == ("good" in expected)


def test_disabled_plugin_is_broken_in_silence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("bad", "1 / 0")
    monkeypatch.setenv("CONVZOO_DISABLE", "bad")
    assert discover().records["bad"].status == "disabled"


@pytest.mark.parametrize(
    ("name", "distribution"),
    [
        ("bad", "bad-zoo"),
        ("good", "second-zoo"),
    ],
)
def test_cure_that_a_warning_names_leaves_out_just_the_broken_plugin(
    site: Site, monkeypatch: pytest.MonkeyPatch, name: str, distribution: str
) -> None:
    before = discover()
    site.install(name, hook("raise RuntimeError"), distribution=distribution)
    _, [message] = discover_with_warnings()
    cure = re.search(r"CONVZOO_DISABLE=(\S+)", message)
    assert cure is not None
    monkeypatch.setenv("CONVZOO_DISABLE", cure[1])
    assert contents(discover()) == contents(before)


def test_strict_environment_raises_what_would_be_a_warning(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("bad", hook("raise RuntimeError('half-way')"))
    monkeypatch.setenv("CONVZOO_STRICT", "1")
    with pytest.raises(PluginError, match=r"plugin 'bad' \(bad-zoo 1\.2\.3\) is broken.*half-way") as caught:
        discover()
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_strict_environment_lets_good_plugins_in(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVZOO_STRICT", "1")
    assert discover().records["good"].status == "ok"


# In a process of their own


def test_broken_plugin_warns_once_a_process_and_costs_nothing_else(site: Site) -> None:
    site.install("bad", hook("raise RuntimeError('half-way')"))
    code = "import convzoo as c; c.list_models(); print(c.create_model('good_net').spec.name, c.is_model('bad_net'))"
    result = site.run("-c", code)
    assert result.returncode == 0
    assert result.stdout.split() == ["good_net", "False"]
    assert result.stderr.count("is broken and was skipped") == 1


def test_strict_environment_ends_the_process(site: Site) -> None:
    site.install("bad", "raise SystemExit(0)")
    code = "import convzoo; print('imported'); convzoo.list_models(); print('listed')"
    result = site.run("-c", code, CONVZOO_STRICT="1")
    assert result.returncode == 1
    assert result.stdout.split() == ["imported"]
    assert "PluginError: plugin 'bad' (bad-zoo 1.2.3) is broken" in result.stderr


def test_command_line_reports_a_broken_plugin(site: Site) -> None:
    site.install("bad", hook("raise RuntimeError('half-way')"))
    command = "import sys; from convzoo.cli import main; sys.exit(main())"
    result = site.run("-c", command, "plugins", "--json")
    records = {record["plugin"]: record for record in json.loads(result.stdout)}
    assert result.returncode == 0
    assert 0 <= records["bad"].pop("seconds") < 60
    assert records["bad"] == {
        "plugin": "bad",
        "distribution": "bad-zoo",
        "version": "1.2.3",
        "status": "broken",
        "models": 0,
        "components": 0,
        "imported_torch": False,
        "error": "RuntimeError: half-way",
    }
    assert (records["good"]["status"], records["good"]["models"], records["good"]["components"]) == ("ok", 1, 1)
    assert result.stderr.startswith("warning: plugin 'bad' (bad-zoo 1.2.3) is broken")
    assert site.run("-c", command, "plugins", CONVZOO_STRICT="1").returncode == 2


# Late registration


class Grow(nn.Module):
    """A block of one convolution."""

    def __init__(self, in_channels: int, *, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.out_channels = planes
        self.conv = nn.Conv2d(in_channels, planes, 3, stride, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def net(name: str, *, block: str = "basic", **fields: object) -> Model:
    """A model of two small layers."""
    return Model(name, "mine", ref("cifar"), (Stage((ref(block, planes=8),) * 2, stride=2),), **fields)  # type: ignore[arg-type]


@pytest.fixture
def mine() -> Iterator[str]:
    """A name to register under, taken out of the process's zoo again."""
    yield "mine"
    if "mine" in plugins().records:
        plugins().remove("mine")


def test_registered_class_is_what_the_network_is_built_from(mine: str) -> None:
    convzoo.register(Component("block", "grow", Grow), net("mine_net", block="grow"), plugin=mine)
    model = convzoo.create_model("mine_net", num_classes=5)
    assert [type(layer) for layer in model.stages[0]] == [Grow, Grow]
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 5)
    assert model.stages(model.stem(torch.rand(1, 3, 8, 8))).shape == (1, 8, 4, 4)
    assert str(convzoo.model_info("mine_net").plugin) == "plugin 'mine' (none 0)"


def test_registering_again_replaces_what_the_name_had(mine: str) -> None:
    convzoo.register(net("mine_net"), net("mine_old"), Component("block", "grow", Grow), plugin=mine)
    convzoo.register(net("mine_net", num_classes=7), net("mine_new"), plugin=mine)
    assert convzoo.list_models(plugin=mine) == ["mine_net", "mine_new"]
    assert convzoo.model_info("mine_net").spec.num_classes == 7
    with pytest.raises(convzoo.UnknownNameError, match="There is no block 'grow'"):
        plugins().registry.component("block", "grow")


def test_registering_nothing_empties_the_name(mine: str) -> None:
    convzoo.register(net("mine_net"), plugin=mine)
    convzoo.register(plugin=mine)
    assert convzoo.list_models(plugin=mine) == []


@pytest.mark.parametrize("wrong", [3, net("resnet18")], ids=["not a contribution", "taken name"])
def test_failing_registration_leaves_the_one_before(mine: str, wrong: object) -> None:
    first = net("mine_net", aliases=(ref("mine_alias", num_classes=3),))
    convzoo.register(first, Component("block", "grow", Grow), plugin=mine)
    before = contents(plugins())
    with pytest.raises(PluginError):
        convzoo.register(net("mine_new"), wrong, plugin=mine)  # type: ignore[arg-type]
    assert contents(plugins()) == before
    assert convzoo.create_model("mine_alias", device="meta").num_classes == 3
    convzoo.register(net("mine_new"), plugin=mine)
    assert convzoo.list_models(plugin=mine) == ["mine_new"]


@pytest.mark.parametrize(
    ("item", "holder"),
    [
        (net("resnet18"), "convzoo"),
        (net("resnest50d"), "convzoo-resnest"),
        (net("mine_net", aliases=("resnest50",)), "convzoo-resnest"),
        (Component("attention", "se", Grow), "convzoo-attention"),
    ],
    ids=["model", "alias", "own alias", "component"],
)
def test_registration_cannot_take_a_first_party_name(mine: str, item: Component | Model, holder: str) -> None:
    before = contents(plugins())
    with pytest.raises(PluginError, match=f"is a name of {holder}, installed or not; choose another name"):
        convzoo.register(net("mine_other"), item, plugin=mine)
    assert contents(plugins()) == before
    assert mine not in plugins().records


@pytest.mark.parametrize("name", ["builtin", "resnest"])
def test_registration_cannot_go_by_the_name_of_an_installed_plugin(name: str) -> None:
    before = contents(plugins())
    with pytest.raises(PluginError, match="register under another"):
        convzoo.register(net("mine_net"), plugin=name)
    assert contents(plugins()) == before


@pytest.mark.parametrize("name", ["resnest", "wide-resnet", "my zoo"])
def test_registration_cannot_go_by_a_name_that_no_plugin_may_have(
    site: Site, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("CONVZOO_PLUGINS", "good")
    found = Plugins()
    before = contents(found)
    with pytest.raises(PluginError, match=r"choose another name|a name has letters"):
        found.register([net("mine_net")], name)
    assert contents(found) == before


# What loading costs


class Clock:
    """Stands in for the module ``time``: it goes on only when a plugin says so."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


SLEEPS = "import convzoo.plugins\nconvzoo.plugins.time.now += {}\n"


def notes(found: Plugins, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """The table and the rest that ``convzoo plugins`` prints."""
    monkeypatch.setattr("convzoo.cli.listing.plugins", lambda: found)
    assert cli.main(["plugins"]) == 0
    table, _, rest = capsys.readouterr().out.partition("\n\n")
    return table, rest


def test_plugin_that_loads_slowly_is_told_of_with_both_cures(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("convzoo.plugins.time", Clock())
    site.install("slow", SLEEPS.format(0.5) + hook("import convzoo.plugins", "convzoo.plugins.time.now += 2.0"))
    site.install("quick", SLEEPS.format(1.0) + GOOD.replace("good", "quick"))
    found = discover()
    assert {name: record.seconds for name, record in found.records.items() if record.seconds} == {
        "slow": 2.5,
        "quick": 1.0,
    }
    table, rest = notes(found, monkeypatch, capsys)
    assert re.search(r"^slow +slow-zoo +1\.2\.3 +ok +1 +1 +2\.5$", table, re.MULTILINE)
    assert re.search(r"^quick +quick-zoo +1\.2\.3 +ok +1 +1 +1\.0$", table, re.MULTILINE)
    assert rest == (
        "plugin 'slow' (slow-zoo 1.2.3) took 2.5 s on loading, so that every listing is slow. Import torch, and what"
        " else is slow, only in the modules that its targets name, or leave it out: CONVZOO_DISABLE=slow.\n"
    )


def test_slow_plugin_that_is_broken_is_told_of_for_both(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("convzoo.plugins.time", Clock())
    site.install("bad", SLEEPS.format(3) + "1 / 0")
    found, _ = discover_with_warnings()
    assert found.records["bad"].seconds == 3
    _, rest = notes(found, monkeypatch, capsys)
    assert "plugin 'bad' (bad-zoo 1.2.3) is broken: ZeroDivisionError: division by zero." in rest
    assert "plugin 'bad' (bad-zoo 1.2.3) took 3.0 s on loading" in rest
    assert rest.count("CONVZOO_DISABLE=bad.") == 2


def test_plugin_that_imports_torch_on_loading_is_told_of(site: Site) -> None:
    site.install("heavy", f"import torch\n{GOOD.replace('good', 'heavy')}")
    site.install("heavy2", f"import torch\n{GOOD.replace('good', 'other')}")
    code = (
        "import json, sys; from convzoo.cli import main; main(['plugins', '--json']); print('---'); main(['plugins'])"
    )
    rows, _, text = site.run("-c", code).stdout.partition("---")
    assert [row["plugin"] for row in json.loads(rows) if row["imported_torch"]] == ["heavy"]
    assert re.search(
        r"^plugin 'heavy' \(heavy-zoo 1\.2\.3\) (took .* s and )?imported torch on loading, .*targets name.*=heavy\.$",
        text,
        re.MULTILINE,
    )


@pytest.mark.parametrize(
    ("name", "distribution", "handle"), [("bad", "bad-zoo", "bad"), ("good", "second-zoo", "second-zoo")]
)
def test_broken_plugin_is_told_of_with_its_error_and_how_to_leave_just_it_out(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    distribution: str,
    handle: str,
) -> None:
    site.install(name, hook("raise RuntimeError('half-way')"), distribution=distribution)
    found, _ = discover_with_warnings()
    table, rest = notes(found, monkeypatch, capsys)
    assert re.search(rf"^{name} +{distribution} +1\.2\.3 +broken +0 +0 +\d+\.\d$", table, re.MULTILINE)
    assert f"plugin '{name}' ({distribution} 1.2.3) is broken: " in rest
    assert found.records.get(f"{name} ({distribution})", found.records[name]).error in rest
    assert f"leave it out: CONVZOO_DISABLE={handle}.\n" in rest


def test_names_that_two_plugins_claim_are_told_of(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site.install("rival", GOOD)
    _, rest = notes(discover(), monkeypatch, capsys)
    both = "is contributed by plugin 'good' (good-zoo 1.2.3) and plugin 'rival' (rival-zoo 1.2.3). Write"
    assert rest.split("\n\n") == [
        f"attention 'good_gate' {both} 'good/good_gate' or 'rival/good_gate'.",
        f"model 'good_alias' {both} 'good/good_alias' or 'rival/good_alias'.",
        f"model 'good_net' {both} 'good/good_net' or 'rival/good_net'.\n",
    ]


# Targets that do not load


@pytest.mark.parametrize("target", ["json:no_such_gate", "no_such_module:Gate"], ids=["name", "module"])
def test_broken_target_is_named_when_it_is_used(mine: str, target: str) -> None:
    convzoo.register(Component("attention", "lost", target), plugin=mine)
    with pytest.raises((ImportError, convzoo.ConvzooError), match="attention 'lost'"):
        convzoo.create_model("resnet18", attention="lost", device="meta")


def test_broken_target_does_not_hinder_others(mine: str) -> None:
    convzoo.register(Component("block", "lost", "no_such_module:Lost"), net("mine_net", block="lost"), plugin=mine)
    assert "mine_net" in convzoo.list_models()
    assert [c.name for c, owner in plugins().registry.components("block") if owner.name == mine] == ["lost"]
    with pytest.raises((ImportError, convzoo.ConvzooError), match="no_such_module"):
        convzoo.create_model("mine_net", device="meta")
    convzoo.create_model("resnet18", device="meta")


def test_target_whose_module_breaks_is_not_blamed_on_a_missing_name(site: Site, mine: str) -> None:
    site.folder.joinpath("crumbling_zoo.py").write_text("import json\ndef gate(channels): ...\njson.no_such_name\n")
    convzoo.register(Component("attention", "crumbling", "crumbling_zoo:gate"), plugin=mine)
    with pytest.raises((ImportError, convzoo.ConvzooError)) as caught:
        convzoo.create_model("resnet18", attention="crumbling", device="meta")
    assert "no attribute 'gate'" not in str(caught.value)


@pytest.mark.parametrize("target", ["json:no_such_gate", "no_such_module:Gate"], ids=["name", "module"])
def test_command_line_reports_a_broken_target(mine: str, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    convzoo.register(Component("attention", "lost", target), plugin=mine)
    assert cli.main(["show", "resnet18", "attention=lost"]) == 2
    assert "lost" in capsys.readouterr().err


def test_third_plugin_of_a_name_is_told_of_the_one_that_holds_it(site: Site) -> None:
    site.install("twin", "1 / 0", distribution="a-zoo")
    site.install("twin", hook(), distribution="b-zoo")
    site.install("twin", hook(), distribution="c-zoo")
    found, messages = discover_with_warnings()
    assert ["a-zoo" in messages[0], "b-zoo" in messages[1], "c-zoo" in messages[1]] == [True, True, True]
    assert [record.status for record in found.records.values() if record.owner.name == "twin"] == [
        "broken",
        "ok",
        "broken",
    ]
    assert "CONVZOO_DISABLE=a-zoo" in messages[0]


def test_hook_that_gives_nothing_back_is_broken(site: Site) -> None:
    site.install("mute", "import convzoo\n@convzoo.hookimpl\ndef convzoo_contribute():\n    convzoo.ref('se')\n")
    found, [message] = discover_with_warnings()
    assert "should yield" in message
    assert found.records["mute"].status == "broken"


def test_names_in_the_environment_are_compared_as_packaging_compares_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVZOO_DISABLE", "Wide-ResNet, convzoo_sknet")
    disabled = {name for name, record in discover().records.items() if record.status == "disabled"}
    assert disabled == {"wide_resnet", "sknet"}


@pytest.mark.parametrize("clause", [">=", ">=latest", "0.1", ">0.1;"])
def test_version_clause_that_says_nothing_is_an_error(clause: str) -> None:
    with pytest.raises(PluginError, match="version clause"):
        satisfies("0.1.0", clause)


def test_plugin_that_uses_the_zoo_while_it_is_imported_is_told_not_to(site: Site) -> None:
    site.install("eager", "import convzoo\nconvzoo.list_models()\n")
    program = "import convzoo; print(len(convzoo.list_models()))"
    environment = {**os.environ, "PYTHONPATH": str(site.folder)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert int(done.stdout) >= len(convzoo.list_models())
    assert "may not use the zoo while it is being imported" in done.stderr


def test_pattern_stands_for_models_by_a_rule_and_goes_with_its_plugin(mine: str) -> None:
    def make(width: str) -> Model:
        if int(width) % 2:
            raise convzoo.SpecError("the width is even")
        return Model(f"net{width}", "own", ref("cifar", width=int(width)), [Stage([ref("basic", planes=int(width))])])

    convzoo.register(convzoo.Pattern("net{width}", r"net(?P<width>\d+)", make), plugin=mine)
    assert convzoo.create_model("net6", device="meta").num_features == 6
    assert convzoo.model_info("net6").plugin.name == mine
    assert [convzoo.is_model(name) for name in ("net6", "net7", "net")] == [True, False, False]
    with pytest.raises(convzoo.UnknownNameError, match="the width is even"):
        convzoo.create_model("net7")
    plugins().remove(mine)
    assert not convzoo.is_model("net6")
    convzoo.register(plugin=mine)
