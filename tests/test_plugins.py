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


# Names that are taken


@pytest.mark.parametrize(
    ("item", "clash"),
    [
        pytest.param("Model('good_net', 'rival', ref('cifar'), STAGES)", "model 'good_net'", id="model"),
        pytest.param("Model('good_alias', 'rival', ref('cifar'), STAGES)", "model 'good_alias'", id="model and alias"),
        pytest.param(
            "Model('net', 'rival', ref('cifar'), STAGES, aliases=('good_net',))", "model 'good_net'", id="alias"
        ),
        pytest.param(
            "Model('net', 'rival', ref('cifar'), STAGES, aliases=('good_alias',))", "model 'good_alias'", id="aliases"
        ),
        pytest.param("Component('attention', 'good_gate', 'a:b')", "attention 'good_gate'", id="component"),
    ],
)
def test_plugin_that_clashes_with_another_is_kept_out_whole(site: Site, item: str, clash: str) -> None:
    before = discover()
    site.install("rival", hook(f"yield {item}"))
    both = "plugin 'good' (good-zoo 1.2.3) and plugin 'rival' (rival-zoo 1.2.3)"
    assert_kept_out(before, f"{clash} is contributed by both {both}", name="rival")


@pytest.mark.parametrize("name", ["aaa", "zzz"])
@pytest.mark.parametrize(
    "item",
    [
        pytest.param("Model('resnet18', 'bad', ref('cifar'), STAGES)", id="builtin"),
        pytest.param("Model('resnest50', 'bad', ref('cifar'), STAGES)", id="model"),
        pytest.param("Model('net', 'bad', ref('cifar'), STAGES, aliases=('resnest50d',))", id="alias"),
        pytest.param("Component('attention', 'se', 'a:b')", id="component"),
    ],
)
def test_first_party_wins_over_a_clashing_plugin(site: Site, name: str, item: str) -> None:
    before = discover()
    site.install(name, hook(f"yield {item}"))
    assert_kept_out(before, "is contributed by both", name=name)


def test_first_party_wins_over_a_plugin_whose_module_is_named_alike(site: Site) -> None:
    before = discover()
    clash = hook("yield Model('resnest50', 'bad', ref('cifar'), STAGES)")
    site.install("aaa", clash, target="convzoo_aaa.plugin")
    assert_kept_out(before, "is contributed by both", name="aaa")


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


def test_installed_plugin_cannot_take_the_name_of_the_builtin_one(site: Site) -> None:
    before = discover()
    site.install("builtin", hook(), distribution="second-zoo")
    assert_kept_out(before, "have the same entry-point name", name="builtin", distribution="second-zoo")


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
    assert records["bad"] == {
        "plugin": "bad",
        "distribution": "bad-zoo",
        "version": "1.2.3",
        "status": "broken",
        "models": 0,
        "components": 0,
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
        (net("resnet18"), "builtin"),
        (net("resnest50d"), "resnest"),
        (net("mine_net", aliases=("resnest50",)), "resnest"),
        (Component("attention", "se", Grow), "attention"),
    ],
    ids=["model", "alias", "own alias", "component"],
)
def test_registration_cannot_take_a_name_that_exists(mine: str, item: Component | Model, holder: str) -> None:
    before = contents(plugins())
    with pytest.raises(PluginError, match=f"contributed by both plugin '{holder}'.* and plugin 'mine'"):
        convzoo.register(net("mine_other"), item, plugin=mine)
    assert contents(plugins()) == before
    assert mine not in plugins().records


@pytest.mark.parametrize("name", ["builtin", "resnest"])
def test_registration_cannot_go_by_the_name_of_an_installed_plugin(name: str) -> None:
    before = contents(plugins())
    with pytest.raises(PluginError, match="register under another"):
        convzoo.register(net("mine_net"), plugin=name)
    assert contents(plugins()) == before


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
