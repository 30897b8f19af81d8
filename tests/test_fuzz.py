"""Ten thousand random specs, options, texts and command lines: each becomes a network, or an error that says why not.

Every case is made from its number alone, so that one that fails can be run again:
``python -c "from tests.test_fuzz import case; case(1234).run()"``.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

import numpy
import pytest

import convzoo
from convzoo import ConvzooError, Model, PerStage, Ref, Stage, create_model, ref
from convzoo.building.annotations import has_callable
from convzoo.building.parts import find
from convzoo.cli import main
from convzoo.errors import LONGEST_MESSAGE, cut, shown
from convzoo.plugins.host import registry
from convzoo.spec.kinds import KINDS as KINDS_OF_PARTS
from convzoo.spec.model import SETTINGS
from convzoo.spec.refs import as_ref, parse_value

from .sites import parts_of, smallest_of_each_family, whole
from .strange import STRANGE

CASES = 10_000
BATCH = 1000
NAMED = "|".join(KINDS_OF_PARTS)
PART = re.compile(rf"(in|There is no|^expected a|^cannot read|not a) ({NAMED}|model|component|'|\")|: ({NAMED}) '")
"""What stands in the error of a part that refuses what it is made with, or is none."""
SECONDS = 20.0
"""Of one core, for one case: what takes longer hangs."""

INTS = (*range(6), 7, 8, 16, 24, 32, 64, 100, -1, -8, 1001, 10**6)
"""Which parts may have, or may be expected to refuse."""
HUGE = (2**31 - 1, 2**31, 2**40, 2**62, 2**63, 10**400)
FLOATS = (0.0, 0.1, 0.25, 0.5, 0.9, 1.0, 1.5, -0.1, 1e-5, 1e-300, 1e308, float("nan"), float("inf"), -float("inf"))
WORDS = ("se", "eca", "plain", "conv", "avg", "relu", "batch", "none", "deep", "cifar", "default")
MISSPELT = ("reduktion", "plane", "atention", "x", "stride", "in_channels", "position", "dilation", "groups", "ref")
SCRAPS = (
    *"(),='1-.[]{}\\:#\n\0\xe9\uff11\ud800",
    *("None", "per_stage(", "ref('", "se(", "1e999", "9" * 50, "lambda: 0", "**{}", "f''", "b''"),
)


@dataclass
class Case:
    """One input.

    Attributes:
        number: what it is made from.
        text: what it is, for messages.
        call: gives a whole spec, or whether it went well; or raises.
        names: what its error must name at least one of, unless it names a part; empty if that cannot be said.
        build: whether the network is built too.
    """

    number: int
    text: str
    call: Callable[[], Model | bool]
    names: set[str] = field(default_factory=set)
    build: bool = False

    def run(self) -> bool:
        """Whether it was accepted; AssertionError if it was neither accepted nor refused as it should be."""
        for _ in range(2):  # something may be imported or cached the first time
            start = time.process_time()
            accepted = self._examined()
            seconds = time.process_time() - start
            if seconds <= SECONDS:
                return accepted
        raise AssertionError(f"{self} takes {seconds:.1f} s")

    def _examined(self) -> bool:
        try:
            spec = self.call()
            if isinstance(spec, bool):
                return spec
            again = Model.from_dict(json.loads(json.dumps(spec.to_dict(), allow_nan=False)))
            assert again == spec, "it changes on its way through JSON"
            assert whole(again) == spec, "it changes when it is composed again"
            if self.build:
                network = create_model(spec, device="meta")
                assert network.spec == spec, "it changes when it is built"
                assert convzoo.build(network.spec, device="meta").spec == spec
        except ConvzooError as error:
            message = str(error)
            assert message
            assert "\n" not in message, message
            assert len(message) <= LONGEST_MESSAGE, message
            named = not self.names or any(name in message for name in self.names) or PART.search(message)
            assert named, f"it is not named in: {message}"
            return False
        except AssertionError as error:
            raise AssertionError(f"{self}: {error}") from None
        except BaseException as error:
            raise AssertionError(f"{self}: {type(error).__name__}: {error}") from error
        return True

    def __str__(self) -> str:
        return f"case {self.number}: {self.text}"


@functools.cache
def variants() -> tuple[str, ...]:
    """The smallest variant of each family, less those that are slow to compose."""
    names = [n for n in smallest_of_each_family() if sum(len(s.layers) for s in convzoo.model_info(n).spec.stages) < 80]
    assert len(names) > 12
    return tuple(names)


@functools.cache
def taken(name: str) -> tuple[tuple[str, Any], ...]:
    """The options that the parts of a variant declare, each with its annotation."""
    found = {option: part.hints.get(option) for part, _ in parts_of(whole(name)) for option in part.options}
    return tuple(found.items())


def names_of(kind: str) -> list[str]:
    return [component.name for component, _ in registry().components(kind)]


def strange(rng: random.Random) -> Any:
    return STRANGE[rng.choice([*STRANGE])]()


def part_ref(rng: random.Random, kind: str, depth: int = 0) -> Any:
    """A part for a slot, by its name, as a Ref or as text, with options of its own or none."""
    name = rng.choice(names_of(kind) or ["none"])
    if rng.random() < 0.1:
        name = rng.choice((*WORDS, "nothing", "", "a b", "x" * 200))
    options: dict[str, Any] = {}
    if rng.random() < 0.6 and name in names_of(kind):
        part = find(registry(), kind, ref(name))
        for option in rng.sample(part.options, min(len(part.options), rng.randint(0, 2))):
            options[option] = value_for(rng, option, part.hints.get(option), depth + 1)
    if rng.random() < 0.05:
        options[rng.choice(MISSPELT)] = value_for(rng, "x", int, depth + 1)
    if not options and rng.random() < 0.5:
        return name
    made = Ref(name, options)  # type: ignore[arg-type]
    return str(made) if rng.random() < 0.3 else made


def value_for(rng: random.Random, option: str, hint: Any, depth: int = 0) -> Any:
    """A value for an option: mostly of its type, and mostly possible."""
    if rng.random() < 0.08 or depth > 4:
        return strange(rng)
    if has_callable(hint):
        return None if rng.random() < 0.1 else part_ref(rng, option, depth)
    if rng.random() < 0.07:
        hint = rng.choice((int, float, bool, str, tuple))
    if hint is bool:
        return rng.choice((True, False, numpy.True_, 0, 1))
    if hint is float:
        return rng.choice((*FLOATS, numpy.float32(0.25), numpy.float64(0.5), 0, 1))
    if get_origin(hint) is tuple or hint is tuple:
        inner = get_args(hint)[0] if get_args(hint) else int
        return tuple(value_for(rng, option, inner, depth + 1) for _ in range(rng.choice((0, 1, 2, 2, 3, 4))))
    choices = [each for each in get_args(hint) if isinstance(each, str)]
    if choices or hint is str:
        return rng.choice((*choices, *choices, *choices, "nothing"))
    return rng.choice((*INTS, *INTS, *HUGE, numpy.int64(8), None))


def written(value: Any) -> str:
    """A value as text."""
    return str(value) if isinstance(value, (Ref, PerStage, str)) else shown(value)


def options_case(rng: random.Random, number: int) -> Case:
    """Options of a variant."""
    name = rng.choice(variants())
    options: dict[str, Any] = {}
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        option, hint = rng.choice((*taken(name), *((setting, int) for setting in SETTINGS)))
        if rng.random() < 0.05:
            option = rng.choice(MISSPELT)
        if option in SETTINGS and option not in ("num_classes", "in_chans", "output_stride", "drop_path_rate"):
            value = part_ref(rng, option)
        else:
            value = value_for(rng, option, float if option == "drop_path_rate" else hint)
        if rng.random() < 0.12:
            stages = len(convzoo.model_info(name).spec.stages) + rng.choice((0, 0, 0, 0, 1, -1))
            value = PerStage([value, *(value_for(rng, option, hint) for _ in range(stages - 1))])  # type: ignore[arg-type]
        options[option] = value
    text = f"whole({name!r}, **{cut(shown(options), 600)})"
    names = {*options, *re.findall(r"\b(\w+)=", " ".join(map(written, options.values())))}
    return Case(number, text, lambda: whole(name, **options), names, build=rng.random() < 0.12)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value in the JSON of a spec."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from places(each, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """What is found by a path."""
    return functools.reduce(lambda value, key: value[key], path, value)


def mutate(rng: random.Random, data: Any, path: tuple[Any, ...], other: tuple[Any, ...]) -> str:
    """Change what ``path`` leads to in ``data``, the JSON of a spec; gives how. ``other`` leads to something else."""
    parent, key = at(data, path[:-1]), path[-1]
    old = parent[key]
    how = rng.choice(("delete", "retype", "replace", "nest", "duplicate", "rename", "swap", "number"))
    if how == "delete":
        del parent[key]
    elif how == "retype":
        parent[key] = rng.choice((str(old), [old], {"value": old}, None, True, 1.5, {"ref": old}, {"per_stage": [old]}))
    elif how == "replace":
        parent[key] = strange(rng)
    elif how == "nest":
        for _ in range(rng.choice((1, 3, 40, 3000))):
            old = rng.choice(([old], {"ref": "se", "act": old}, {"a": old}))
        parent[key] = old
    elif how == "duplicate" and isinstance(parent, list):
        parent[key:key] = [old] * rng.choice((1, 2, 10))
    elif how == "rename" and isinstance(parent, dict):
        parent[rng.choice((*MISSPELT, key.upper(), "ref", "per_stage", ""))] = parent.pop(key)
    elif how == "swap":
        parent[key] = json.loads(json.dumps(at(data, other)))
    else:
        parent[key] = rng.choice((*INTS, *HUGE, *FLOATS))
    return how


@functools.cache
def json_of(name: str) -> Any:
    """The JSON of a variant, whole, or as it was contributed, with two layers of each run of equal ones."""
    spec = whole(name) if len(name) % 2 else convzoo.model_info(name).spec
    stages = tuple(Stage(tuple(x for n, x in s.runs() for _ in range(min(n, 2))), s.stride) for s in spec.stages)
    return spec.derived(stages=stages).to_dict()


def spec_case(rng: random.Random, number: int) -> Case:
    """A spec of which something was changed."""
    name = rng.choice(variants())
    data, changes = json.loads(json.dumps(json_of(name))), []
    paths = [path for path in places(data) if path]
    for _ in range(rng.choice((1, 1, 2, 3))):
        path, other = rng.choice(paths), rng.choice(paths)
        with contextlib.suppress(LookupError, TypeError, RecursionError, AttributeError):  # an earlier change took it
            changes.append((mutate(rng, data, path, other), path))
    text = f"the JSON of {name!r}, of which {changes} were changed"
    names = {key for _, path in changes for key in path if isinstance(key, str)} if changes else set()
    return Case(number, text, lambda: whole(Model.from_dict(data)), names, build=rng.random() < 0.12)


def text_of(rng: random.Random) -> str:
    """Text that is much like that of a Ref or of a value."""
    kind = rng.choice(("attention", "conv", "block", "stem", "norm"))
    try:
        text = str(part_ref(rng, kind))
    except ConvzooError:
        text = rng.choice(WORDS)
    if rng.random() < 0.2:
        text = str(PerStage((None, text)))
    if rng.random() < 0.1:
        text = rng.choice(SCRAPS) * rng.choice((1, 3, 100, 6000))
    for _ in range(rng.choice((0, 0, 1, 2, 5))):
        at = rng.randint(0, len(text))
        text = text[:at] + rng.choice((*SCRAPS, *WORDS)) + text[at + rng.randint(0, 3) :]
    return text


def text_case(rng: random.Random, number: int) -> Case:
    """Text to be read as a value."""
    text = text_of(rng)

    def read() -> bool:
        value = parse_value(text)
        if isinstance(value, (Ref, PerStage)):
            assert parse_value(str(value)) == value
            assert convzoo.spec.json.unplain(json.loads(json.dumps(convzoo.spec.json.plain(value)))) == value
        assert parse_value(text) == value or value != value or "nan" in str(value)
        as_ref(text, "attention")
        return True

    return Case(number, f"text {shown(text)}", read, {"attention"})


def command_case(rng: random.Random, number: int) -> Case:
    """A command line."""
    words = [rng.choice(("show", "show", "show", "list", "plugins", "parity", "check", "new"))]
    if words == ["show"]:
        name = rng.choice(variants())
        words.append(
            name if rng.random() < 0.8 else rng.choice((*SCRAPS, "wrn40_2", "wrn28_00010", "wrn28_" + "9" * 30))
        )
        for _ in range(rng.choice((0, 1, 1, 2))):
            option, hint = rng.choice(taken(name))
            value = text_of(rng) if has_callable(hint) or rng.random() < 0.2 else written(value_for(rng, option, hint))
            words.append(f"{option}={value}" if rng.random() < 0.9 else rng.choice((option, value, f"={value}")))
        words += ["--json"] * (rng.random() < 0.3) + ["--build"] * (rng.random() < 0.1)
    elif words == ["parity"]:
        words += [rng.choice(SCRAPS), "--image-size", str(rng.choice((*INTS, *HUGE, "x")))]
    elif words == ["check"]:
        words += [rng.choice((*SCRAPS, "nothing", "x" * 9000))]
    elif words == ["new"]:
        words += [rng.choice((*SCRAPS, "session", "x" * 9000)), "--kind", rng.choice(("conv", "nothing"))]
    else:
        words += rng.choice(([], [text_of(rng)], ["--plugin", text_of(rng)], ["--family", text_of(rng), "--parts"]))

    def run() -> bool:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main(words)
            except SystemExit as end:  # argparse's own
                status = end.code
        assert status in (0, 1, 2)
        if status == 2 and not err.getvalue().startswith("usage:"):
            assert out.getvalue() == ""
            assert re.fullmatch(rf"convzoo {words[0]}: [^\n]+\n", err.getvalue()), err.getvalue()
        return status == 0

    return Case(number, f"convzoo {cut(shown(words), 600)}", run)


KINDS = (*(options_case,) * 4, *(spec_case,) * 3, *(text_case,) * 2, command_case)


def case(number: int) -> Case:
    """The case of a number, which is always the same."""
    rng = random.Random(number)
    for _ in range(1000):
        with contextlib.suppress(ConvzooError):  # what was made up for it is no Ref at all
            return KINDS[number % len(KINDS)](rng, number)
    raise AssertionError(f"case {number} cannot be made")


def assert_all_run(numbers: range) -> None:
    """Every case runs, and of each kind some are accepted, and some refused."""
    seen: dict[str, set[bool]] = {make.__name__: set() for make in KINDS}
    wrong = []
    for number in numbers:
        try:
            seen[KINDS[number % len(KINDS)].__name__].add(case(number).run())
        except AssertionError as error:
            wrong.append(str(error))
    assert wrong == []
    assert [kind for kind, outcomes in seen.items() if outcomes != {True, False}] == []


def test_a_few_random_inputs_are_accepted_or_refused_by_name() -> None:
    assert_all_run(range(100))


@pytest.mark.large
@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_random_inputs_are_accepted_or_refused_by_name(first: int) -> None:
    assert_all_run(range(first, first + BATCH))
