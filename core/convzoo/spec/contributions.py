"""What plugins contribute beside models: components, and patterns of names that stand for models."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convzoo.errors import SpecError, shown
from convzoo.spec.checks import hashable, options, sequence, text
from convzoo.spec.kinds import kind_fault
from convzoo.spec.model import Model
from convzoo.spec.refs import NO_OPTIONS, Options, as_options


@dataclass(frozen=True)
class Component:
    """A part that plugins contribute: code, named so that it is imported only when it is first used.

    Attributes:
        kind: the place it fits: ``stem``, ``block``, ``head``, ``norm``, ``act``, ``init``, or a slot's keyword.
        name: what a :class:`Ref` calls it.
        target: ``"module:attribute"``, or the class or function itself.
        summary: one line for listings.
        example: options to build it with in checks and listings, where some option has no default; or several such
            mappings, which are all tried.
    """

    kind: str
    name: str
    target: str | Callable[..., Any]
    summary: str = ""
    example: Mapping[str, Any] | Sequence[Mapping[str, Any]] = NO_OPTIONS

    def __post_init__(self) -> None:
        keep = functools.partial(object.__setattr__, self)
        keep("name", text("a component's name", self.name, needed=True))
        if fault := kind_fault(self.kind, {field.name for field in dataclasses.fields(Model)}):
            raise SpecError(f"a component's kind cannot be {shown(self.kind)} (of {self.name!r}): {fault}")
        keep("kind", text("a component's kind", self.kind))
        of = f"{self.kind} {self.name!r}: "
        keep("summary", text(f"{of}summary", self.summary))
        if isinstance(self.target, str):
            keep("target", text(f"{of}target", self.target))
            module, _, attribute = self.target.partition(":")
            if not module or not attribute:
                raise SpecError(f"{of}target {self.target!r} should read 'module:attribute'")
        elif not callable(self.target):
            raise SpecError(f"{of}target must be 'module:attribute' or a callable")
        else:
            hashable(f"{of}target", self.target)
        several = isinstance(self.example, (list, tuple)) and self.example
        each = tuple(options(f"{of}example", example) for example in (self.example if several else (self.example,)))
        keep("example", each if several else each[0])

    @property
    def examples(self) -> tuple[Options, ...]:
        """Every example; a component that gives none is tried with its defaults."""
        return self.example if isinstance(self.example, tuple) else (as_options(self.example),)

    def load(self) -> Callable[..., Any]:
        """The code, imported; whatever importing it raises passes, and AttributeError if its module lacks it."""
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


@dataclass(frozen=True)
class Pattern:
    """Names that stand for models by a rule, beside those that are listed.

    Attributes:
        name: how such names are written, for listings.
        regex: what matches the whole of such a name.
        make: called with the regex's named groups, as strings; gives the model, or raises SpecError with the rule.
        examples: names that it makes, for checks.
    """

    name: str
    regex: str
    make: Callable[..., Model]
    examples: Sequence[str] = ()

    def __post_init__(self) -> None:
        keep = functools.partial(object.__setattr__, self)
        keep("name", text("a pattern's name", self.name, needed=True))
        keep("regex", text(f"pattern {self.name!r}: regex", self.regex))
        try:
            re.compile(self.regex)
        except Exception as error:
            raise SpecError(f"pattern {self.name!r}: regex {self.regex!r} is none: {error}") from error
        if not callable(self.make):
            raise SpecError(f"pattern {self.name!r}: make must be callable, got {shown(self.make)}")
        examples = sequence(f"pattern {self.name!r}: examples", self.examples)
        keep("examples", tuple(text(f"pattern {self.name!r}: examples", each) for each in examples))
