"""What there is, from Python: models, families and parts by name, and the version."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

import convzoo
from convzoo import Component, UnknownNameError
from convzoo.cli import main
from convzoo.plugins.host import registry
from convzoo.spec.kinds import KINDS

from .commands import Capture


def test_version_is_the_installed_distributions() -> None:
    assert convzoo.__version__ == metadata.version("convzoo")


def test_command_line_says_the_version(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"convzoo {metadata.version('convzoo')}\n"


def test_excluded_names_are_left_out() -> None:
    every = convzoo.list_models("resnet*")
    assert convzoo.list_models("resnet*", exclude="*_*") == [name for name in every if "_" not in name]
    without = convzoo.list_models("resnet*", exclude=["resnet18", "*d"])
    assert without == [name for name in every if name != "resnet18" and not name.endswith("d")]
    assert 0 < len(without) < len(every)


@pytest.mark.parametrize("nothing", ["", [], [""], ("", "nothing*")])
def test_an_empty_exclude_leaves_out_nothing(nothing: str | list[str]) -> None:
    """As in timm; whereas an empty ``filter`` takes all."""
    assert convzoo.list_models(exclude=nothing) == convzoo.list_models()


def test_exclude_reaches_aliases() -> None:
    assert "resnest50d" in convzoo.list_models("resnest50*", aliases=True)
    assert "resnest50d" not in convzoo.list_models("resnest50*", aliases=True, exclude="*d")


def test_exclude_goes_with_a_family() -> None:
    names = convzoo.list_models(family="resnet_cifar", exclude="*bn")
    assert names == [name for name in convzoo.list_models(family="resnet_cifar") if not name.endswith("bn")]


def test_families_are_those_of_the_models() -> None:
    families = convzoo.list_families()
    assert families == sorted({convzoo.model_info(name).spec.family for name in convzoo.list_models()})
    assert sorted(name for family in families for name in convzoo.list_models(family=family)) == sorted(
        convzoo.list_models()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_a_kind_are_named(kind: str) -> None:
    assert convzoo.list_parts(kind) == [component.name for component, _ in registry().components(kind)] != []


def test_kind_that_a_plugin_invents_has_parts(mine: str) -> None:
    with pytest.raises(UnknownNameError, match="There is no kind of parts 'gate'"):
        convzoo.list_parts("gate")
    convzoo.register(Component("gate", "half", "somewhere:Half"), plugin=mine)
    assert convzoo.list_parts("gate") == ["half"]
    with pytest.raises(UnknownNameError, match=r"Did you mean 'gate' or 'act'\?.*, init, gate\.$"):
        convzoo.list_parts("gat")


def test_unknown_kind_is_told_the_kinds() -> None:
    with pytest.raises(UnknownNameError) as caught:
        convzoo.list_parts("atention")
    assert str(caught.value) == (
        "There is no kind of parts 'atention'. Did you mean 'attention'? The kinds are " + ", ".join(KINDS) + "."
    )


def test_asking_what_there_is_imports_no_torch() -> None:
    code = (
        "import sys, convzoo; convzoo.__version__, convzoo.list_families(), convzoo.list_parts('conv'),"
        " convzoo.list_models(exclude='wrn*'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("False\n", "")
