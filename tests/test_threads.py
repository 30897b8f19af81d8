"""The zoo among threads: found once, changed by one at a time, and waited for, but not forever."""

from __future__ import annotations

import importlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import convzoo
from convzoo import Component, PluginError
from convzoo.plugins import host, once, turns
from convzoo.plugins.host import Plugins, plugins

from .sites import GOOD, Site, contents, hook, net


@pytest.fixture
def fresh(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A process that has not looked for its plugins yet, and is impatient."""
    monkeypatch.setattr(host, "_zoo", once.Once(Plugins, Plugins.discover, lambda found: found.loading))
    monkeypatch.setattr(once, "PATIENCE", 0.2)
    return site


@pytest.fixture
def company() -> Iterator[None]:
    """Another thread."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    yield
    done.set()
    thread.join()


LISTS = """
import threading, convzoo
said = []
def list_it():
    try:
        said.append("good_net" in convzoo.list_models())
    except convzoo.PluginError as error:
        said.append(str(error))
"""
JOIN = f"{LISTS}thread = threading.Thread(target=list_it)\nthread.start()\nthread.join()\n"
POOL = f"{LISTS}from concurrent.futures import ThreadPoolExecutor\nThreadPoolExecutor().submit(list_it).result()\n"


@pytest.mark.parametrize("waits", [JOIN, POOL], ids=["join", "result"])
@pytest.mark.parametrize("where", ["import", "hook"])
def test_plugin_that_waits_for_a_thread_that_lists_the_zoo_is_not_waited_for_by_that(
    fresh: Site, waits: str, where: str
) -> None:
    lines = "global said\n" + waits
    fresh.install("waits", waits + GOOD.replace("good", "waits") if where == "import" else hook(*lines.splitlines()))
    assert "good_net" in convzoo.list_models()
    assert plugins().records["waits"].status == "ok"
    [said] = sys.modules["waits_zoo"].said
    assert "waits for plugin 'waits' (waits-zoo 1.2.3), which does not get on" in said


def test_module_that_waits_for_a_thread_that_lists_the_zoo_may_be_imported_by_a_plugin(fresh: Site) -> None:
    fresh.folder.joinpath("user_zoo.py").write_text(JOIN)
    fresh.modules.append("user_zoo")
    fresh.install("waits", "import user_zoo\n" + GOOD.replace("good", "waits"))
    [said] = importlib.import_module("user_zoo").said
    assert "waits for plugin 'waits' (waits-zoo 1.2.3), which does not get on" in said
    assert {"good_net", "waits_net"} <= set(convzoo.list_models())


@pytest.mark.usefixtures("company")
def test_module_that_lists_the_zoo_may_be_imported_by_a_plugin(fresh: Site) -> None:
    fresh.folder.joinpath("user_zoo.py").write_text("import convzoo\nfound = convzoo.list_models()\n")
    fresh.modules.append("user_zoo")
    fresh.install("waits", "import user_zoo\n" + GOOD.replace("good", "waits"))
    assert {"good_net", "waits_net"} <= set(importlib.import_module("user_zoo").found)


def test_threads_that_list_the_zoo_at_once_wait_for_a_slow_plugin_and_find_everything(fresh: Site) -> None:
    fresh.install("slow", "import time\ntime.sleep(0.5)\n" + GOOD.replace("good", "slow"))
    fresh.install("bad", "1 / 0")
    with pytest.warns(convzoo.PluginWarning) as warned, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: plugins(), range(8)))
    assert len({id(each) for each in found}) == len(warned) == 1
    assert {"good_net", "slow_net"} <= set(convzoo.list_models())


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "PluginError"])
def test_what_the_finding_raises_is_raised_and_the_next_call_tries_again(
    fresh: Site, monkeypatch: pytest.MonkeyPatch, raised: str
) -> None:
    fresh.install("bad", f"from convzoo import PluginError\nraise {raised}('once')")
    monkeypatch.setenv("CONVZOO_STRICT", "1")
    with pytest.raises((KeyboardInterrupt, PluginError), match="once"):
        convzoo.list_models()
    monkeypatch.setenv("CONVZOO_DISABLE", "bad")
    assert "good_net" in convzoo.list_models()


@pytest.mark.usefixtures("company")
def test_plugin_that_lists_the_zoo_while_it_is_imported_is_told_not_to_among_threads_too(fresh: Site) -> None:
    fresh.install("eager", "import convzoo\nconvzoo.list_models()\n")
    with pytest.warns(convzoo.PluginWarning, match="may not use the zoo while it is being imported"):
        assert "good_net" in convzoo.list_models()


FORKS = """
import os, sys, threading, time, warnings, convzoo
from convzoo.plugins import once
os.chdir(sys.argv[1])
once.PATIENCE = 0.2
warnings.simplefilter("ignore", DeprecationWarning)
threading.Thread(target=convzoo.list_models, daemon=True).start()
while not os.path.exists("started"):
    time.sleep(0.01)
if os.fork() == 0:
    try:
        print("slow_net" in convzoo.list_models(), flush=True)
    except convzoo.PluginError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.parametrize(("where", "said"), [("hook", "^True"), ("import", "^(False|the zoo waits)")])
def test_forked_process_does_not_wait_for_what_a_thread_of_its_parent_was_at(
    fresh: Site, where: str, said: str
) -> None:
    sleep = "import os, time\nif not os.path.exists('started'):\n    open('started', 'w').close()\n    time.sleep(60)\n"
    source = sleep + GOOD.replace("good", "slow") if where == "import" else hook(*sleep.splitlines())
    fresh.install("slow", source.replace("bad_", "slow_"))
    done = fresh.run("-c", FORKS, str(fresh.folder))
    assert re.match(said, done.stdout), done.stderr


# Changing it


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads that take turns after every few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(tasks: list[Callable[[], object]]) -> None:
    """Run tasks at once, each in a thread of its own; raises what they raise."""
    gate = threading.Barrier(len(tasks))

    def run(task: Callable[[], object]) -> object:
        gate.wait()
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        list(pool.map(run, tasks))


def slowly(items: list[Any]) -> Any:
    """Items between which other threads take their turn."""
    for item in items:
        time.sleep(0.001)
        yield item


@pytest.mark.usefixtures("hurried")
def test_threads_that_register_at_once_lose_nothing_and_are_credited_with_their_own() -> None:
    found = Plugins()
    names = [f"own{number}" for number in range(40)]

    def register(some: list[str]) -> None:
        for name in some:
            found.register(slowly([net(name), Component("attention", f"{name}_gate", "a:b")]), name)

    together([lambda start=start: register(names[start::8]) for start in range(8)])  # type: ignore[misc]
    assert set(found.records) == set(names)
    credited = {name: entry.owner.name for name, entry in found.registry.models().items()}
    assert credited == {name: name for name in names}
    gates = {component.name: owner.name for component, owner in found.registry.components("attention")}
    assert gates == {f"{name}_gate": name for name in names}


@pytest.mark.usefixtures("hurried")
def test_one_of_the_threads_that_register_one_name_at_once_gets_it() -> None:
    found = Plugins()
    refused = []

    def register(name: str) -> None:
        try:
            found.register(slowly([net("net"), net(f"net_{name}")]), name)
        except PluginError:
            refused.append(name)

    together([lambda name=f"own{number}": register(name) for number in range(12)])  # type: ignore[misc]
    [owner] = found.records
    assert len(refused) == 11
    assert contents(found) == dict.fromkeys(("net", f"net_{owner}"), f"plugin {owner!r} (none 0)")


@pytest.mark.usefixtures("hurried")
def test_threads_that_list_while_others_register_see_all_of_a_plugin_or_nothing() -> None:
    found = Plugins()
    seen: list[set[str]] = []

    def register(name: str) -> None:
        for _ in range(20):
            found.register([net(f"{name}_a"), net(f"{name}_b")], name)
            found.remove(name)

    def look() -> None:
        for _ in range(60):
            seen.append(set(found.registry.models()))

    together([lambda: register("one"), lambda: register("two"), look, look])
    assert {len([name for name in names if name.startswith("one")]) for names in seen} <= {0, 2}
    assert found.records == {}


def test_pattern_that_registers_while_the_zoo_is_being_changed_is_told_not_to() -> None:
    found = Plugins()
    found.register([convzoo.Pattern("any", ".*", lambda: found.register([net("more")], "more"))], "mine")
    with pytest.warns(convzoo.PluginWarning, match="the zoo is being changed"):
        found.register([net("net")], "theirs")
    assert set(found.registry.models()) == {"net"}


def test_thread_that_never_leaves_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LIMIT", 0.1)
    found, refused = Plugins(), []

    def make() -> convzoo.Model:
        def register() -> None:
            with pytest.raises(PluginError, match="may wait for this one") as caught:
                found.register([net("more")], "more")
            refused.append(caught.value)

        thread = threading.Thread(target=register)
        thread.start()
        thread.join()
        return net("made")

    found.register([convzoo.Pattern("made", "made", make)], "mine")
    with pytest.raises(PluginError, match="is taken by plugin 'mine'"):
        found.register([net("made")], "theirs")
    assert len(refused) == 1
