"""References to components: a name with options, as data, as text and as JSON."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from convzoo.errors import OptionError, SpecError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""What models, components and plugins may be called."""
NAME_RULE = "a name has letters, digits, '_', '-' and '.', and starts with a letter or digit"
MARKS = ("ref", "per_stage")
"""Words that mark a Ref and a PerStage in text and in JSON, and can therefore be no option's name."""


class Options(Mapping[str, Any]):
    """An immutable mapping of option names to values; lists become tuples, and dicts become Options."""

    __slots__ = ("_items",)
    _items: dict[str, Any]

    def __init__(self, items: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> None:
        object.__setattr__(self, "_items", {str(key): frozen(value) for key, value in dict(items).items()})
        for mark in MARKS:
            if mark in self._items:
                raise SpecError(f"{mark!r} cannot be an option's name, since it marks a {mark}() in JSON")

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("options are immutable")

    def __hash__(self) -> int:
        try:
            return hash(frozenset(self._items.items()))
        except TypeError as error:
            raise SpecError(f"options {self} hold something mutable ({error}); use numbers, names and tuples") from None

    def __repr__(self) -> str:
        return repr(self._items)

    def __reduce__(self) -> tuple[Any, ...]:
        return Options, (dict(self._items),)


def frozen(value: Any) -> Any:
    """``value`` with lists as tuples and dicts as :class:`Options`, all the way down."""
    if isinstance(value, (list, tuple)):
        return tuple(frozen(item) for item in value)
    return Options(value) if isinstance(value, dict) else value


def as_options(value: Any) -> Options:
    """``value`` as :class:`Options`; SpecError if it is no mapping."""
    if not isinstance(value, Mapping):
        raise SpecError(f"options are a mapping of names to values, got {value!r}")
    return value if isinstance(value, Options) else Options(value)


NO_OPTIONS = Options()


@dataclass(frozen=True)
class Ref:
    """A component's name with options. Its kind is the place that it is used in."""

    name: str
    options: Options = NO_OPTIONS

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise SpecError(f"a component is referred to by its name, got {self.name!r}; {NAME_RULE}")
        object.__setattr__(self, "options", as_options(self.options))

    def with_options(self, **options: Any) -> Ref:
        """The same component with ``options`` added to, or in place of, its own."""
        return Ref(self.name, Options({**self.options, **options}))

    def __str__(self) -> str:
        return _text(self) if self.options else self.name

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Read ``"name"`` or ``"name(option=value, slot=other(...))"``, the form that ``str`` writes.

        A name that is no Python identifier takes its options as in Python: ``"ref('my-gate', reduction=8)"``.

        Raises:
            SpecError: ``text`` is not of that form.
        """
        if NAME.fullmatch(text.strip()):
            return cls(text.strip())
        value = _read(text)
        if not isinstance(value, Ref):
            raise SpecError(_unreadable(text))
        return value


def ref(name: str, /, **options: Any) -> Ref:
    """A :class:`Ref`: ``ref("se", reduction=8)``; SpecError if ``name`` cannot be one."""
    return Ref(name, Options(options))


@dataclass(frozen=True)
class PerStage:
    """An option's value for each stage of a network: ``values``, the first stage's first."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", frozen(self.values))
        if any(isinstance(value, PerStage) for value in self.values):
            raise SpecError("per_stage() cannot stand inside of per_stage()")

    def __str__(self) -> str:
        return _text(self)


def per_stage(*values: Any) -> PerStage:
    """An option that differs by stage: ``attention=per_stage(None, None, "cbam", ref("se", reduction=8))``.

    Args:
        *values: one for each stage, the first stage's first; in a slot, None leaves it empty.

    Raises:
        SpecError: a value is itself a :class:`PerStage`.
    """
    return PerStage(values)


def at_stage(value: Any, name: str, stage: int, stages: int) -> Any:
    """The option ``name`` with every PerStage, the options of a Ref included, replaced by its value for a stage.

    Raises:
        OptionError: there are more or fewer values than stages.
    """
    if isinstance(value, PerStage):
        if len(value.values) != stages:
            raise OptionError(f"{name}={value}: there are {stages} stages, and {len(value.values)} values for them")
        value = value.values[stage]
    if not isinstance(value, Ref):
        return value
    return Ref(value.name, Options({key: at_stage(each, key, stage, stages) for key, each in value.options.items()}))


def as_ref(value: str | Ref, option: str = "") -> Ref:
    """``value`` as a :class:`Ref`; a string is a name, or ``name(option=value)``.

    Raises:
        OptionError: it is neither, or cannot be read; the message names the option that it is the value of.
    """
    if isinstance(value, Ref):
        return value
    try:
        if isinstance(value, str):
            return Ref.parse(value)
        raise SpecError(f"expected a component's name or a ref(), got {value!r}")
    except SpecError as error:
        raise OptionError(f"{option}={value!r}: {error}" if option else str(error)) from None


def parse_value(text: str) -> Any:
    """A Python literal, a Ref or a PerStage in the form that ``str`` gives it, or, failing all, the text itself."""
    try:
        return _read(text)
    except SpecError:
        return text


def _text(value: Any) -> str:
    if isinstance(value, Ref):
        named = value.name.isidentifier() and value.name not in MARKS
        arguments = [f"{key}={_text(each)}" for key, each in value.options.items()]
        return f"{value.name if named else 'ref'}({', '.join(arguments if named else [repr(value.name), *arguments])})"
    if isinstance(value, PerStage):
        return f"per_stage({', '.join(map(_text, value.values))})"
    if isinstance(value, tuple):
        return f"({''.join(_text(item) + ', ' for item in value).rstrip() if value else ''})"
    return repr(value)


def _read(text: str) -> Any:
    """A Python literal in which ``name(option=value)`` is a Ref, and a bare word a string."""

    def value(node: ast.expr) -> Any:
        match node:
            case ast.Call(ast.Name("per_stage"), values, []):
                return PerStage(tuple(map(value, values)))
            case ast.Call(ast.Name("ref"), [ast.Constant(str(name))], keywords):
                return Ref(name, options(keywords))
            case ast.Call(ast.Name(name), [], keywords) if name not in MARKS:
                return Ref(name, options(keywords))
            case ast.Tuple(items) | ast.List(items):
                return tuple(map(value, items))
            case ast.Name(word):
                return word
        return ast.literal_eval(node)

    def options(keywords: list[ast.keyword]) -> Options:
        names = [keyword.arg for keyword in keywords]
        if None in names or len(set(names)) < len(names):
            raise ValueError("options are named, and each is named once")
        return Options({str(keyword.arg): value(keyword.value) for keyword in keywords})

    try:
        return value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise SpecError(_unreadable(text)) from error


def _unreadable(text: str) -> str:
    shown = text if len(text) < 80 else f"{text[:76]}..."
    hint = "; a name with '-' or '.' reads ref('name', option=value)" if re.match(r"\s*[\w.-]+\(", text) else ""
    return f"cannot read {shown!r}: expected name or name(option=value, ...){hint}"
