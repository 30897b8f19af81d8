"""Checks of patterns: names that stand for models by a rule."""

from __future__ import annotations

import importlib
import random
import re
import sys
from collections.abc import Iterator
from typing import Any

from convzoo.errors import SpecError
from convzoo.spec.contributions import Pattern
from convzoo.spec.model import Model
from convzoo.testing.kit.models import ModelProbe, builds_on_meta, costs_what_it_pins
from convzoo.testing.kit.promises import CheckFailed, promise

parser: Any = importlib.import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")

TRIED = 400
"""Names that are tried, of every length."""
BUILT = 3
"""Models that are built of them, beside the examples."""
LAYERS = 200
"""In a network that is built."""


@promise("pattern")
def makes_what_it_is_asked_for(pattern: Pattern) -> None:
    """Of every name that it matches it makes a model of this name that builds, or raises a SpecError.

    Counts that a model pins are right.
    """
    for name in pattern.examples:
        if _made(pattern, name) is None:
            raise CheckFailed(
                f"its example {name!r} makes no model",
                means="listings show a name that nobody can create",
                mend="give examples=(...) that the regex matches whole, and that make() takes",
            )
    built = [model for name in pattern.examples if (model := _made(pattern, name))]
    for name in (*edges(pattern), *names(pattern.regex, TRIED)):
        model = _made(pattern, name)
        if model and len(built) < BUILT + len(pattern.examples) and _depth(model) <= LAYERS:
            built.append(model)
    if not built:
        raise CheckFailed(
            f"none of {TRIED} names that {pattern.regex!r} matches makes a model of at most {LAYERS} layers",
            means="it cannot be seen what it makes",
            mend="give examples: Pattern(..., examples=('wrn40_4',))",
        )
    for model in built:
        probe = ModelProbe(model.name, model)
        builds_on_meta(probe)
        if (model.params, model.macs) != (None, None):
            costs_what_it_pins(probe)


def _made(pattern: Pattern, name: str) -> Model | None:
    match = re.fullmatch(pattern.regex, name)
    if match is None:
        return None
    try:
        model = pattern.make(**match.groupdict())
    except SpecError:
        return None
    except Exception as error:
        raise CheckFailed(
            f"for {_short(name)} it raises {type(error).__name__}: {_short(str(error))}",
            means="whoever mistypes a name gets a traceback that does not say what the rule is",
            mend="raise convzoo.SpecError with the rule for every name that it matches and that makes no model",
        ) from error
    if not isinstance(model, Model) or model.name != name:
        raise CheckFailed(
            f"for {_short(name)} it makes {_short(repr(getattr(model, 'name', model)))}",
            means="two names stand for one network, and reports have the one that was not asked for",
            mend="give the model the name that it was asked for; refuse other spellings with convzoo.SpecError",
        )
    return model


def _depth(model: Model) -> int:
    return sum(len(stage.layers) for stage in model.stages)


def _short(text: str) -> str:
    return text if len(text) < 60 else f"{text[:50]}… ({len(text)} characters)"


EDGES = ("", "0", "00", "1", "01", "2", "3", "7", "10", "16", "64", "100", "1000", "1" + 30 * "0", "-1", "1.5")
"""Texts that a rule with numbers has to take or to refuse."""


def edges(pattern: Pattern) -> Iterator[str]:
    """The examples with each of their groups, one at a time, replaced by each of :data:`EDGES`, where they match."""
    for example in pattern.examples:
        match = re.fullmatch(pattern.regex, example)
        for group in range(1, match.re.groups + 1 if match else 1):
            start, end = match.span(group) if match else (0, 0)
            found = (f"{example[:start]}{each}{example[end:]}" for each in EDGES)
            yield from (name for name in found if start >= 0 and re.fullmatch(pattern.regex, name))


def names(regex: str, count: int) -> Iterator[str]:
    """Up to ``count`` different texts that ``regex`` matches whole; the same ones each time."""
    generator, seen = random.Random(0), set()
    tree = parser.parse(regex)
    for _ in range(count):
        text = _text(tree, generator)
        if text not in seen and re.fullmatch(regex, text):
            seen.add(text)
            yield text


LONG = 30
"""How often a part of a regular expression is repeated now and then, where it may be repeated without end."""


def _text(tree: Any, generator: random.Random) -> str:
    """A text of a parsed regular expression; what looks around is left out, so that the text may not match."""
    parts = []
    for operation, value in tree:
        name = str(operation)
        if name == "LITERAL":
            parts.append(chr(value))
        elif name in ("ANY", "NOT_LITERAL"):
            parts.append(generator.choice("a0_-Z"))
        elif name == "IN":
            parts.append(generator.choice(_choices(value)))
        elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            low, high, inner = value
            times = min(int(high), low + generator.choice((0, 0, 1, 1, 1, 2, 3, LONG)))
            parts += [_text(inner, generator) for _ in range(times)]
        elif name == "SUBPATTERN":
            parts.append(_text(value[-1], generator))
        elif name == "BRANCH":
            parts.append(_text(generator.choice(value[1]), generator))
    return "".join(parts)


_CATEGORIES = {"CATEGORY_DIGIT": "0123456789", "CATEGORY_WORD": "a0_Z", "CATEGORY_SPACE": " "}


def _choices(items: Any) -> str:
    """Characters of a set; of one that says what is not in it, a few others."""
    found = ""
    for operation, value in items:
        name = str(operation)
        if name == "LITERAL":
            found += chr(value)
        elif name == "RANGE":
            found += "".join(map(chr, range(value[0], min(value[1], value[0] + 64) + 1)))
        elif name == "CATEGORY":
            found += _CATEGORIES.get(str(value), "a-")
    if str(items[0][0]) == "NEGATE":
        found = "".join(each for each in "abz059_-." if each not in found)
    return found or "a"
