"""The command line, and what a process imports for it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch

import convzoo
from convzoo import Model, Stage, WeightsError, ref
from convzoo.cli import main
from convzoo.plugins.host import plugins, registry

Capture = pytest.CaptureFixture[str]
HEAVY = {"torch", "timm", "torchvision", "sklearn", "numpy"}
MAIN = "import sys, convzoo.cli; sys.exit(convzoo.cli.main())"


def run(capsys: Capture, *arguments: str) -> str:
    """What a command that goes well prints."""
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def run_json(capsys: Capture, *arguments: str) -> Any:
    return json.loads(run(capsys, *arguments, "--json"))


def refused(capsys: Capture, *arguments: str) -> str:
    """What a command says that is asked for something impossible."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"convzoo {arguments[0]}: ")
    return captured.err


def first_column(text: str) -> list[str]:
    """The first column of a table, without its header."""
    rows = text.split("\n\n")[0].splitlines()
    return [row.split()[0] for row in rows[2:]]


def fresh(code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter, whose output is buffered as a user's is."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 120, **options}
    return subprocess.run([sys.executable, "-c", code, *arguments], env=environment, **options)


def imported_by(code: str) -> set[str]:
    """Top-level modules that a new interpreter has imported after ``code``."""
    result = fresh(f"{code}\nimport sys; print(); print(*{{name.partition('.')[0] for name in sys.modules}})")
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split())


# list


def test_list_has_every_model_with_its_counts(capsys: Capture) -> None:
    out = run(capsys, "list")
    assert first_column(out) == convzoo.list_models()
    assert re.search(r"^resnet50 +resnet +builtin +25\.56 M +4\.089 G +224$", out, re.MULTILINE)
    assert re.search(r"^resnest50 +resnest +resnest .* 224 +resnest50d$", out, re.MULTILINE)
    assert f"{len(convzoo.list_models())} models" in out


def test_list_takes_globs(capsys: Capture) -> None:
    expected = [name for name in convzoo.list_models() if name.startswith("resnest5") or name == "resnet18"]
    assert first_column(run(capsys, "list", "resnest5*", "resnet18")) == expected
    assert first_column(run(capsys, "list", "resnet1[0-4]t")) == ["resnet10t", "resnet14t"]


@pytest.mark.parametrize(("option", "value"), [("--plugin", "resnest"), ("--family", "resnet_cifar")])
def test_list_keeps_a_plugin_or_a_family(capsys: Capture, option: str, value: str) -> None:
    models = registry().models()
    owner_or_family = {
        name: {"--plugin": e.owner.name, "--family": e.spec.family}[option] for name, e in models.items()
    }
    expected = [name for name, has in owner_or_family.items() if has == value]
    assert 0 < len(expected) < len(models)
    assert first_column(run(capsys, "list", option, value)) == expected


def test_list_combines_globs_and_options(capsys: Capture) -> None:
    names = first_column(run(capsys, "list", "*18*", "--plugin", "builtin", "--family", "resnet"))
    assert names == ["resnet18", "resnet18d"]


def test_list_prints_json(capsys: Capture) -> None:
    [row] = run_json(capsys, "list", "resnest50")
    assert row == {
        "name": "resnest50",
        "family": "resnest",
        "plugin": "resnest",
        "params": 27_483_240,
        "macs": 5_371_160_576,
        "input_size": 224,
        "num_classes": 1000,
        "aliases": ["resnest50d"],
        "timm": "resnest50d",
        "paper": convzoo.model_info("resnest50").spec.paper,
    }


@pytest.mark.parametrize("option", ["--plugin", "--family"])
def test_list_refuses_an_unknown_plugin_or_family_and_lists_those_known(capsys: Capture, option: str) -> None:
    message, _, known = refused(capsys, "list", option, "resnst").partition(" Known are ")
    assert f"{option.removeprefix('--')} 'resnst'" in message
    assert {"resnest", "resnext", "wide_resnet"} <= set(known.strip().rstrip(".").split(", "))


# show


def test_show_describes_a_model(capsys: Capture) -> None:
    out = run(capsys, "show", "resnest50")
    assert out.startswith("resnest50: resnest, plugin 'resnest' (convzoo-resnest 0.")
    for fact in ("arXiv:2004.08955", "3 x 224 x 224 (imagenet)", "27,483,240", "5,371,160,576", "timm resnest50d"):
        assert fact in out
    assert re.search(r"^stem +deep\(width=32\)$", out, re.MULTILINE)
    assert re.search(r"^stage 2 +2  4 x  bottleneck\(conv=split_attention\(.*planes=128\)$", out, re.MULTILINE)
    assert re.search(r"^head +classifier, 1000 classes$", out, re.MULTILINE)


def test_show_of_an_alias_has_its_options_and_none_of_the_models_claims(capsys: Capture) -> None:
    out = run(capsys, "show", "resnest50d")
    assert out.startswith("resnest50d, of resnest50: ")
    assert "divisor=8" in out
    assert "divisor=8" not in run(capsys, "show", "resnest50").partition("stride")[2]
    assert "27,483,240" not in out
    assert "equals" not in out


def test_show_applies_options(capsys: Capture) -> None:
    out = run(capsys, "show", "resnet50", "attention=se(reduction=8)", "stem=deep", "num_classes=10", "act=silu")
    assert len(re.findall(r"^stage .*attention=se\(reduction=8\)", out, re.MULTILINE)) == 4
    assert re.search(r"^stem +deep$", out, re.MULTILINE)
    assert "classifier, 10 classes" in out
    assert "batch, silu" in out


def built_counts(text: str) -> list[tuple[int, int]]:
    """Parameters and MACs in each line that has them."""
    pairs = re.findall(r"^(?:stem|stage \d|head) .*  +([\d,]+) +([\d,]+)$", text, re.MULTILINE)
    return [(int(params.replace(",", "")), int(macs.replace(",", ""))) for params, macs in pairs]


@pytest.mark.parametrize("name", ["resnet18", "resnest50d", "seresnet50", "resnet20"])
def test_show_build_adds_up_to_the_pinned_counts(capsys: Capture, name: str) -> None:
    out = run(capsys, "show", name, "--build")
    counts = built_counts(out)
    spec = convzoo.model_info(name).spec
    assert re.search(rf"^total +{spec.params:,} +{spec.macs:,}$", out, re.MULTILINE)
    assert len(counts) == len(spec.stages) + 2
    assert tuple(map(sum, zip(*counts, strict=True))) == (spec.params, spec.macs)


@pytest.fixture
def mixed() -> Iterator[Model]:
    """A model with a stage of unequal layers."""
    layers = (ref("basic", planes=16), ref("basic", planes=16), ref("bottleneck", planes=4))
    model = Model("mixed_net", "mixed", ref("cifar"), (Stage(layers),), input_size=8)
    convzoo.register(model, plugin="mixed")
    yield model
    plugins().remove("mixed")


def test_show_has_a_line_for_each_run_of_layers_and_counts_the_stage_once(capsys: Capture, mixed: Model) -> None:
    out = run(capsys, "show", mixed.name, "--build")
    assert re.findall(r"^stage 1 +1  (\d x  \w+)", out, re.MULTILINE) == ["2 x  basic", "1 x  bottleneck"]
    params = sum(parameter.numel() for parameter in convzoo.build(mixed, device="meta").parameters())
    assert sum(count for count, _ in built_counts(out)) == params


def test_show_build_measures_each_part(capsys: Capture) -> None:
    out = run(capsys, "show", "resnet18", "--build")
    assert re.search(r"^stem .* 64 x 56 x 56 +9,536 +118,013,952$", out, re.MULTILINE)
    assert re.search(r"^stage 4 .* 512 x 7 x 7 +8,393,728 +411,041,792$", out, re.MULTILINE)
    assert re.search(r"^head .* 1000 +513,000 +512,000$", out, re.MULTILINE)


def test_show_build_takes_options_before_and_after(capsys: Capture) -> None:
    assert "classifier, 10 classes" in run(capsys, "show", "--build", "resnet18", "num_classes=10")
    assert "classifier, 10 classes" in run(capsys, "show", "resnet18", "num_classes=10", "--build")


def test_show_build_takes_options_behind_the_flag(capsys: Capture) -> None:
    assert "classifier, 10 classes" in run(capsys, "show", "resnet18", "--build", "num_classes=10")


@pytest.mark.parametrize("name", ["resnet18", "resnest50"])
def test_show_json_is_the_models_spec(capsys: Capture, name: str) -> None:
    assert Model.from_dict(run_json(capsys, "show", name)) == convzoo.model_info(name).spec


def test_show_json_is_the_spec_that_create_model_builds(capsys: Capture) -> None:
    data = run_json(
        capsys, "show", "resnest50d", "attention=se(reduction=8)", "num_classes=10", "norm=group(groups=16)"
    )
    options: dict[str, Any] = {"attention": ref("se", reduction=8), "norm": ref("group", groups=16)}
    model = convzoo.create_model("resnest50d", num_classes=10, device="meta", **options)
    assert Model.from_dict(data) == model.spec


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnst50"], "There is no model 'resnst50'. Did you mean 'resnest50'"),
        (["resnet50", "attention=sse"], "There is no attention 'sse'. Did you mean 'se'"),
        (["resnet50", "attenton=se"], "takes 'attenton'. Did you mean 'attention'"),
        (["resnet50", "attention=se(reducton=8)"], "'reducton'. Did you mean 'reduction'"),
        (["resnet50", "num_classes=-1"], "num_classes must be an integer of at least 0, got -1"),
        (["resnet50", "num_classes=many"], "num_classes must be an integer of at least 0, got 'many'"),
        (["resnet50", "deep"], "options read NAME=VALUE"),
        (["resnet50", "=deep"], "options read NAME=VALUE"),
    ],
)
def test_show_refuses_what_it_does_not_know(capsys: Capture, arguments: list[str], message: str) -> None:
    assert message in refused(capsys, "show", *arguments)


def test_show_names_the_plugin_to_install_for_a_model_that_is_not_there() -> None:
    environment = {**os.environ, "CONVZOO_PLUGINS": ""}
    result = subprocess.run(
        [sys.executable, "-c", MAIN, "show", "resnest50"], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 2
    assert "convzoo-resnest provides it, and is not installed (pip install 'convzoo[resnest]')" in result.stderr


# plugins


def test_plugins_counts_what_each_contributed(capsys: Capture) -> None:
    rows = run_json(capsys, "plugins")
    assert rows[0]["plugin"] == "builtin"
    assert {row["plugin"] for row in rows} >= {"attention", "resnest", "resnext", "sknet", "wide_resnet"}
    assert {row["status"] for row in rows} == {"ok"}
    assert sum(row["models"] for row in rows) == len(convzoo.list_models())
    assert sum(row["components"] for row in rows) == len(registry().components())
    assert next(row for row in rows if row["plugin"] == "resnest")["models"] == len(
        convzoo.list_models(plugin="resnest")
    )


def test_plugins_prints_a_table(capsys: Capture) -> None:
    out = run(capsys, "plugins")
    assert first_column(out) == [row["plugin"] for row in run_json(capsys, "plugins")]
    assert re.search(r"^resnest +convzoo-resnest +0\.\S+ +ok +\d+ +\d+ +\d+\.\d$", out, re.MULTILINE)


# parity


def check_equal(record: Mapping[str, Any]) -> None:
    assert record["verdict"] in ("exact", "equal")
    assert {"state dict", "eval", "train", "gradients", "statistics"} <= set(record["checks"])
    assert all(check["relative"] <= check["tolerance"] <= 1e-4 for check in record["checks"].values())


def differing(record: Mapping[str, Any]) -> set[str]:
    """Checks beyond their tolerance, which are those that the verdict names."""
    wrong = [name for name, check in record["checks"].items() if check["relative"] > check["tolerance"]]
    assert record["verdict"] == f"DIFFERS in {', '.join(wrong)}"
    return set(wrong)


def test_parity_compares_a_model_with_timm(capsys: Capture) -> None:
    [record] = run_json(capsys, "parity", "resnet18", "--image-size", "64")
    check_equal(record)
    assert (record["name"], record["against"]) == ("resnet18", "timm/resnet18")
    assert (record["params"], record["macs"]) == (11_689_512, 148_557_824)  # at 64 px
    assert {"forward_features", "features"} <= set(record["checks"])


def test_parity_compares_a_model_with_torchvision(capsys: Capture) -> None:
    [record] = run_json(capsys, "parity", "resnet18", "--image-size", "32", "--against", "torchvision")
    check_equal(record)
    assert record["against"] == "torchvision/resnet18"


def test_parity_prints_a_table(capsys: Capture) -> None:
    assert main(["parity", "resnet18", "--image-size", "32"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^resnet18 +timm resnet18 +11,689,512 .* (exact|equal)$", out, re.MULTILINE)
    assert "1 of 1 equal; random images at 32 px, float32, cpu" in out


def test_parity_takes_from_a_glob_what_has_a_counterpart(capsys: Capture) -> None:
    assert "resnet18_cifar" in convzoo.list_models("resnet18*")
    assert main(["parity", "resnet18*", "--image-size", "32", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["name"] for record in records] == ["resnet18", "resnet18d"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet18_cifar"], "resnet18_cifar has no counterpart in timm"),
        (["resnet18", "resnet18_cifar"], "resnet18_cifar has no counterpart in timm"),
        (["resnet*_cifar"], "has no counterpart in timm"),
        (["resnet18d", "--against", "torchvision"], "resnet18d has no counterpart in torchvision"),
        (["resnt18"], "There is no model 'resnt18'. Did you mean 'resnet18'"),
        (["resnet18", "--image-size", "0"], "--image-size must be at least 1"),
        (["resnet18", "--device", "abacus"], "abacus"),
    ],
)
def test_parity_refuses_what_it_cannot_compare(capsys: Capture, arguments: list[str], message: str) -> None:
    assert message in refused(capsys, "parity", *arguments)


def tampering(monkeypatch: pytest.MonkeyPatch, tamper: Callable[[Any], None]) -> None:
    """Let ``tamper`` have each network of a comparison once its weights are in."""
    import convzoo.testing.parity

    load_weights = convzoo.testing.parity.load_weights

    def load_and_tamper(network: Any, *arguments: Any, **options: Any) -> Any:
        report = load_weights(network, *arguments, **options)
        with torch.no_grad():
            tamper(getattr(network, "body", network))  # a FeatureNet has the network as its body
        return report

    monkeypatch.setattr(convzoo.testing.parity, "load_weights", load_and_tamper)


def test_parity_fails_when_one_weight_differs(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    tampering(monkeypatch, lambda network: network.get_parameter("stages.0.0.branch.conv2.weight")[0, 0, 1, 1].add_(1))
    assert main(["parity", "resnet18", "--image-size", "32", "--json"]) == 1
    [record] = json.loads(capsys.readouterr().out)
    assert {"state dict", "eval", "forward_features", "features", "train"} <= differing(record)


def test_parity_fails_when_the_network_computes_something_else(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tampering(monkeypatch, lambda network: setattr(network.stages[0][0], "act", torch.nn.Identity()))
    assert main(["parity", "resnet18", "--image-size", "32", "--json"]) == 1
    [record] = json.loads(capsys.readouterr().out)
    assert {"eval", "forward_features", "features", "train"} <= differing(record)
    assert record["checks"]["state dict"]["absolute"] == 0


def test_parity_goes_on_after_a_model_that_fails(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(network: Any) -> None:
        if network.spec.name == "resnet18":
            raise WeightsError("these do not fit")

    tampering(monkeypatch, refuse)
    assert main(["parity", "resnet18", "resnet10t", "--image-size", "32", "--json"]) == 1
    records = {record["name"]: record for record in json.loads(capsys.readouterr().out)}
    assert records["resnet18"] == {"name": "resnet18", "verdict": "FAILED", "error": "these do not fit"}
    check_equal(records["resnet10t"])


# Processes


@pytest.mark.parametrize(
    "code",
    [
        "import convzoo",
        "import convzoo; assert len(convzoo.list_models()) > 100",
        "import convzoo; assert convzoo.model_info('resnest50d').overrides",
        "import convzoo; convzoo.register(convzoo.Component('act', 'mine', 'torch.nn:SiLU'))",
        "import convzoo.cli; assert convzoo.cli.main(['list']) == 0",
        "import convzoo.cli; assert convzoo.cli.main(['list', '--json']) == 0",
        "import convzoo.cli; assert convzoo.cli.main(['show', 'resnest50']) == 0",
        "import convzoo.cli; assert convzoo.cli.main(['plugins']) == 0",
    ],
)
def test_listing_imports_no_torch(code: str) -> None:
    assert imported_by(code) & HEAVY == set()


def test_building_imports_torch_but_no_other_library_of_models() -> None:
    modules = imported_by("import convzoo; convzoo.create_model('resnest50', attention='se', device='meta')")
    assert {"torch", "pluggy"} <= modules
    assert modules & {"timm", "torchvision", "sklearn"} == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["list", "--json"],
        ["plugins"],
        ["show", "resnet18"],
    ],
)
def test_reader_that_has_gone_is_no_error(arguments: list[str]) -> None:
    """As when ``head`` has read enough."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = fresh(MAIN, *arguments, stdout=writer)
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["lst"],
        ["show"],
        ["show", "resnet18", "--biuld"],
        ["list", "--plugins", "resnest"],
        ["parity", "resnet18", "--dtype", "int8"],
    ],
    ids=" ".join,
)
def test_usage_error_ends_with_2(capsys: Capture, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: convzoo" in capsys.readouterr().err


def test_installed_script_is_this_command_line() -> None:
    from importlib.metadata import entry_points

    [script] = entry_points(group="console_scripts", name="convzoo")
    assert script.load() is main


def test_list_knows_aliases_and_names_the_closest_for_what_matches_nothing(capsys: Capture) -> None:
    assert "resnest50d" in run(capsys, "list", "resnest50d")
    assert "Did you mean 'resnest50'" in refused(capsys, "list", "resnst50")


def test_names_may_stand_behind_a_flag(capsys: Capture) -> None:
    listed = json.loads(run(capsys, "list", "resnet18", "--json", "resnet34"))
    assert [model["name"] for model in listed] == ["resnet18", "resnet34"]


def test_list_parts_has_every_component_of_a_kind_or_name(capsys: Capture) -> None:
    components = registry().components()
    out = run(capsys, "list", "--parts")
    assert re.search(rf"^{len(components)} parts\b", out, re.MULTILINE)
    for component, owner in components:
        assert re.search(rf"^{component.kind} +{component.name} +{owner.name} ", out, re.MULTILINE)
    kinds = [part["kind"] for part in json.loads(run(capsys, "list", "--parts", "attention", "--json"))]
    assert kinds == ["attention"] * len(registry().components("attention"))
    assert [
        p["name"] for p in json.loads(run(capsys, "list", "--parts", "stem/c*", "--json", "--plugin", "builtin"))
    ] == [
        "cifar",
        "conv",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing*"], "no part fits nothing*"),
        (["--plugin", "resnst"], "Did you mean 'resnest'"),
        (["--family", "resnet"], "leave --family out"),
    ],
)
def test_list_parts_refuses_what_is_not_there(capsys: Capture, words: list[str], said: str) -> None:
    assert main(["list", "--parts", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_package_is_the_command_line_too() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "convzoo", "show", "resnst50"], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("convzoo show: There is no model 'resnst50'. Did you mean 'resnest50'")


LONG, NUL, SURROGATE = "x" * 100_000, "a\0b", "a\udcffb"
ABSURD = [
    *(["show", name] for name in (LONG, NUL, SURROGATE, "", "wrn28_" + "9" * 30, "wrn28_00010", "wrn28_1\uff10")),
    *(
        ["show", "resnet20", f"planes={value}"]
        for value in (
            LONG,
            NUL,
            SURROGATE,
            "9" * 30,
            "9" * 5000,
            "1e999",
            "nan",
            "(" * 9000,
            "-" * 9000 + "1",
            "{[]: 1}",
        )
    ),
    *(
        ["show", "resnet20", f"attention={value}"]
        for value in (LONG, "{1, 2}", "[[]]", "se(reduction={[]})", "se(" * 90, "se(act=" * 40 + "1" + ")" * 40)
    ),
    ["show", "resnet20", f"{LONG}=1"],
    ["show", "resnet20", LONG],
    ["show", "resnet20", f"={LONG}"],
    ["show", "resnet20", "planes=8", "planes=9"],
    ["show", "resnet20", "planes=2147483647", "--build"],
    ["show", "resnet20", "ref=1"],
    *(["list", glob] for glob in (LONG, NUL, SURROGATE, "[" * 100_000, "*[" * 9000)),
    *(["list", option, value] for option in ("--plugin", "--family") for value in (LONG, NUL, SURROGATE, "")),
    *(["list", "--parts", *words] for words in ([LONG], [NUL], ["--plugin", LONG], ["--family", ""])),
    *(["check", name] for name in (LONG, NUL, SURROGATE, "")),
    *(["check", "convs", word] for word in (LONG, NUL)),
    *(["new", name, "--kind", "conv"] for name in (LONG, NUL, SURROGATE, "", "..", "a/b", "\uff53\uff45")),
    *(
        ["new", "my-gate", "--kind", "conv", "--into", into]
        for into in (LONG, NUL, f"{SURROGATE}/x", "/nowhere/at/all")
    ),
    *(["parity", name] for name in (LONG, NUL, "[" * 100_000)),
    *(["parity", "resnet18", "--image-size", size] for size in ("0", "-1", "9" * 30, "1000000000")),
    *(["parity", "resnet18", "--device", device] for device in (LONG, NUL, "", "cuda:99", "vulkan")),
]


@pytest.mark.parametrize("arguments", ABSURD, ids=lambda words: " ".join(map(ascii, words))[:60])
def test_whatever_is_absurd_ends_in_one_line(capsys: Capture, arguments: list[str]) -> None:
    error = refused(capsys, *arguments)
    assert error.count("\n") == 1
    assert len(error) < 5000


def test_what_torch_says_of_a_comparison_that_cannot_be_run_is_one_line(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, **options: Any) -> None:
        raise RuntimeError(f"the images are too small for {name}\nsecond line")

    monkeypatch.setattr("convzoo.testing.parity.compare", fail)
    error = refused(capsys, "parity", "resnet18")
    assert error == "convzoo parity: resnet18: RuntimeError: the images are too small for resnet18\n"
    assert main(["parity", "resnet18", "resnet34", "--json"]) == 1
    assert [record["verdict"] for record in json.loads(capsys.readouterr().out)] == ["FAILED", "FAILED"]


def test_what_the_terminal_cannot_write_is_escaped(mixed: Model) -> None:
    code = (
        "import convzoo, sys; from convzoo.cli import main;"
        " convzoo.register(convzoo.Component('act', 'accent', 'torch.nn:SiLU', 'caf\\u00e9'), plugin='mine');"
        " sys.exit(main(['list', '--parts', 'act/accent']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, timeout=120
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"caf\\xe9" in result.stdout


def test_a_model_that_cannot_be_built_prints_nothing_but_the_error(capsys: Capture) -> None:
    assert "groups_3x3" in refused(capsys, "show", "condensenet50_cifar", "groups_3x3=16", "--build")
    assert "input_size" in refused(capsys, "show", "resnet20", "input_size=8", "--build")


def test_a_model_that_fails_on_its_own_images_says_where(capsys: Capture, mine: str) -> None:
    stages = tuple(Stage(("transition",), stride=2) for _ in range(4))
    convzoo.register(Model("shrinking", "mine", ref("cifar", width=64), stages, input_size=8), plugin=mine)
    error = refused(capsys, "show", "shrinking", "--build")
    assert "the stage 4 of shrinking fails on 8 x 1 x 1: RuntimeError: " in error


def test_warnings_of_a_command_are_shown_and_its_settings_left_as_they_were(capsys: Capture) -> None:
    import warnings

    before = warnings.showwarning, list(warnings.filters)
    refused(capsys, "show", "resnet20", "planes=1or 2")
    assert (warnings.showwarning, warnings.filters) == before
