"""Every promise, examined on everything that a plugin contributes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from convzoo.errors import OptionError, PluginError, did_you_mean
from convzoo.plugins.host import plugins
from convzoo.testing.kit import (  # noqa: F401  they add their promises
    behaviour,
    deploying,
    dropping,
    extremes,
    following,
    geometry,
    gradients,
    heads,
    heeding,
    inits,
    learning,
    memory,
    models,
    offered,
    patterns,
    recomputing,
    settling,
    shapes,
    state,
    surroundings,
    tracing,
)
from convzoo.testing.kit.probe import Probe
from convzoo.testing.kit.promises import ANY, OTHERS, PROMISES, CheckFailed, NotApplicable, Promise
from convzoo.testing.kit.surroundings import usual_settings


@dataclass(frozen=True)
class Check:
    """One promise on one contribution; ``str`` names it, calling it examines it.

    Attributes:
        subject: ``kind/name`` of a component, ``model/name``, ``pattern/name``, or ``plugin/name``.
        promise: what is examined.

    Raises:
        CheckFailed: on calling it, if the promise is not kept.
        NotApplicable: on calling it, if there is nothing to examine.
    """

    subject: str
    promise: Promise
    examined: Any

    def __str__(self) -> str:
        return f"{self.subject}/{self.promise.name}"

    def __call__(self) -> None:
        # Parts are tried on so little that threads only wait for each other.
        settings = usual_settings() if isinstance(self.examined, Probe) else contextlib.nullcontext()
        try:
            with settings:
                self._examine()
        except (CheckFailed, NotApplicable):
            raise
        except Exception as error:
            raise CheckFailed(
                f"while examining it: {type(error).__name__}: {error}",
                means=f"it could not be seen whether this holds: {self.promise.text}",
                mend="make it build and run by itself; as a test, the check shows the traceback",
            ) from error

    def _examine(self) -> None:
        if _needs_weights(self.promise) and isinstance(self.examined, Probe) and self.examined.is_lazy:
            raise NotApplicable(f"it has lazy layers, see {shapes.has_weights_when_made.__name__}")
        self.promise.examine(self.examined)


def _needs_weights(promise: Promise) -> bool:
    return ANY not in promise.binds and promise.name != shapes.has_weights_when_made.__name__


def checks(plugin: str) -> list[Check]:
    """Every check on every contribution of a plugin.

    Args:
        plugin: its entry-point name, or the name it was registered under.

    Raises:
        PluginError: it is not installed, or not in; the message has the reason.
    """
    found = plugins()
    record = found.records.get(plugin)
    if record is None or record.status != "ok":
        known = [name for name, each in found.records.items() if each.status == "ok"]
        reason = f"it is {record.status}: {record.error}" if record else f"there is none.{did_you_mean(plugin, known)}"
        raise PluginError(f"plugin {plugin!r} cannot be checked, since {reason} (see `convzoo plugins`)")
    owner, registry = record.owner, found.registry

    # First, before others tell a part that its training is done, which it may keep where all of its kind share it.
    promises = sorted(PROMISES, key=lambda p: p.examine is not following.follows_the_schedule)

    def binding(kind: str) -> Iterator[Promise]:
        return (p for p in promises if kind in p.binds or (ANY in p.binds and kind not in OTHERS))

    result = [Check(f"plugin/{plugin}", p, owner) for p in binding("plugin")]
    for component, holder in registry.components():
        if holder == owner:
            probe = Probe(registry, component, owner)
            result += [Check(f"{component.kind}/{component.name}", p, probe) for p in binding(component.kind)]
    for name, entry in registry.models().items():
        if entry.owner == owner:
            model = models.ModelProbe(name, entry.spec)
            result += [Check(f"model/{name}", p, model) for p in binding("model")]
    for pattern, holder in registry.patterns():
        if holder == owner:
            result += [Check(f"pattern/{pattern.name}", p, pattern) for p in binding("pattern")]
    return result


def conformance(plugin: str, *, expected_failures: Mapping[str, str] | None = None) -> Callable[..., None]:
    """A pytest function with one named test for every check on every contribution of a plugin.

    ::

        from convzoo.testing import conformance

        test_conformance = conformance("my-block")

    Args:
        plugin: its entry-point name.
        expected_failures: name of a check, such as ``"attention/half/exports"``, to the reason why it cannot hold yet.
            Such a test fails once the check passes.

    Raises:
        PluginError: the plugin is not in.
        OptionError: an expected failure names no check, or gives no reason.
    """
    import pytest

    expected = dict(expected_failures or {})
    found = {str(check): check for check in checks(plugin)}
    for name, reason in expected.items():
        if name not in found:
            raise OptionError(f"expected failure {name!r} is no check of {plugin!r}.{did_you_mean(name, found)}")
        if not isinstance(reason, str) or len(reason.split()) < 2:
            raise OptionError(f"expected failure {name!r} needs a written reason, got {reason!r}")

    def params() -> Iterator[Any]:
        for name, check in found.items():
            reason = expected.get(name)
            marks = [pytest.mark.xfail(reason=reason, strict=True, raises=CheckFailed)] if reason else []
            yield pytest.param(check, id=name, marks=marks)

    @pytest.mark.parametrize("check", list(params()))
    def test(check: Check) -> None:
        try:
            check()
        except NotApplicable as reason:
            pytest.skip(str(reason))

    return test
