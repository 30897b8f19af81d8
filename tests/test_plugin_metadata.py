"""What a distribution says of itself: entry points, names and requirements, malformed or not."""

from __future__ import annotations

import re
import sys

import pytest

from convzoo.plugins.environment import core_version

from .sites import Site, assert_kept_out, discover, discover_with_warnings, hook

# What is wrong with an installation


def test_malformed_entry_point_of_another_group_is_nobodys_business(site: Site) -> None:
    site.install("bad", hook())
    with site.info("bad-zoo").joinpath("entry_points.txt").open("a") as file:
        file.write("[console_scripts]\nno script\n")
    assert discover().records["bad"].status == "ok"


def test_entry_point_may_name_extras(site: Site) -> None:
    site.install("bad", hook(), target="bad_zoo")
    site.info("bad-zoo").joinpath("entry_points.txt").write_text("; of ours\n[convzoo]\nbad = bad_zoo [all]\n")
    assert discover().records["bad"].status == "ok"


def test_what_an_old_version_has_left_behind_does_not_hide_the_new_one(site: Site) -> None:
    before = discover()
    site.install("bad", hook())
    for name in ("bad_zoo", "convzoo", "convzoo_resnest"):
        old = site.folder / f"{name}-0.0.1.dist-info"
        old.mkdir()
        if name != "convzoo":  # which has none
            old.joinpath("entry_points.txt").write_text("[convzoo]\nbad = bad_zoo\n")
    code = (
        "from convzoo.plugins.host import plugins; print({r.status for r in plugins().records.values()}, len(plugins()"
    )
    told = site.run("-c", f"{code}.registry.models()), plugins().records['bad'].owner)")
    assert told.stdout == f"{{'ok'}} {len(before.registry.models()) + 1} plugin 'bad' (bad-zoo 1.2.3)\n", told.stderr


def test_one_module_under_two_entry_points_is_named_with_the_plugin_that_has_it(site: Site) -> None:
    site.install("bad", hook())
    before = discover()
    site.install("bad2", None, target="bad_zoo")
    assert_kept_out(before, "names the same module or object as that of plugin 'bad' (bad-zoo 1.2.3)", name="bad2")


# Versions


@pytest.mark.parametrize(
    "requirement",
    ["ConvZoo>=9.0,<9.1", "convzoo>=9.0,<9.1", "convzoo (>=9.0,<9.1)", "convzoo[all] >= 9.0, < 9.1", "convzoo==9.*"],
)
def test_plugin_for_another_core_version_is_kept_out(site: Site, requirement: str) -> None:
    before = discover()
    site.install("bad", hook(), requires=("torch", requirement))
    assert_kept_out(before, f"and this is convzoo {core_version()}")


def test_plugin_for_another_core_version_is_not_imported(site: Site) -> None:
    site.install("bad", "1 / 0", requires=("convzoo>=9.0,<9.1",))
    _, [message] = discover_with_warnings()
    assert re.search(r"it was built for convzoo (>=9\.0,<9\.1|<9\.1,>=9\.0), and this is", message)
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


@pytest.mark.parametrize("requirement", ["convzoo=>0.1", "convzoo>=latest", "convzoo>0.1;", "two words", ""])
def test_plugin_with_a_requirement_that_says_nothing_is_kept_out(site: Site, requirement: str) -> None:
    before = discover()
    site.install("bad", hook(), requires=(requirement,))
    assert_kept_out(before, "InvalidRequirement")


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
