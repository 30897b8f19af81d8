"""The command line whatever the command: how it ends, what it prints, and what a process imports for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import convzoo
from convzoo.cli import main
from convzoo.plugins.host import registry

from .commands import Capture, first_column, fresh, refused, run, run_json
from .environments import MAIN
from .sites import BESIDE

HEAVY = {"torch", "timm", "torchvision", "sklearn", "numpy"}


def imported_by(code: str) -> set[str]:
    """Top-level modules that a new interpreter has imported after ``code``."""
    result = fresh(f"{code}\nimport sys; print(); print(*{{name.partition('.')[0] for name in sys.modules}})")
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split())


def test_plugins_counts_what_each_contributed(capsys: Capture) -> None:
    rows = run_json(capsys, "plugins")
    assert rows[0]["plugin"] == "builtin"
    assert {row["plugin"] for row in rows} >= {"attention", "resnest", "resnext", "sknet", "wide_resnet"}
    assert {row["status"] for row in rows if row["plugin"] not in BESIDE} == {"ok"}
    assert sum(row["models"] for row in rows) == len(convzoo.list_models())
    assert sum(row["components"] for row in rows) == len(registry().components())
    assert next(row for row in rows if row["plugin"] == "resnest")["models"] == len(
        convzoo.list_models(plugin="resnest")
    )


def test_plugins_prints_a_table(capsys: Capture) -> None:
    out = run(capsys, "plugins")
    assert first_column(out) == [row["plugin"] for row in run_json(capsys, "plugins")]
    assert re.search(r"^resnest +convzoo-resnest +0\.\S+ +ok +\d+ +\d+ +\d+\.\d$", out, re.MULTILINE)


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
    *(["show", "resnet20", "--svg", file] for file in (LONG, NUL, "", "/nowhere/at/all.svg")),
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


def test_what_the_terminal_cannot_write_is_escaped() -> None:
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


def test_warnings_of_a_command_are_shown_and_its_settings_left_as_they_were(capsys: Capture) -> None:
    import warnings

    before = warnings.showwarning, list(warnings.filters)
    refused(capsys, "show", "resnet20", "planes=1or 2")
    assert (warnings.showwarning, warnings.filters) == before
