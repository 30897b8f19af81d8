"""References to components: a name with options, as data, as text and as JSON."""

from __future__ import annotations

import ast
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from convzoo.errors import OptionError, SpecError, cut, scalar, shown
from convzoo.spec.options import MARKS, NO_OPTIONS, Nested, Options, as_options, extent_of, frozen

LONGEST_NAME = 100
NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST_NAME - 1}}}")
"""What models, components and plugins may be called."""
NAME_RULE = (
    f"a name has letters, digits, '_', '-' and '.', starts with a letter or digit, and is {LONGEST_NAME} at most"
)
LONGEST = 10_000
"""Characters of a text that is read as a value."""


@dataclass(frozen=True)
class Ref(Nested):
    """A component's name with options. Its kind is the place that it is used in."""

    name: str
    options: Options = NO_OPTIONS

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", scalar(self.name))
        if type(self.name) is not str or not NAME.fullmatch(self.name):
            raise SpecError(f"a component is referred to by its name, got {shown(self.name)}; {NAME_RULE}")
        object.__setattr__(self, "options", as_options(self.options))

    def extent(self) -> tuple[int, int]:
        return self.options.extent()

    def with_options(self, /, **options: Any) -> Ref:
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
        if isinstance(text, str) and NAME.fullmatch(text.strip()):
            return cls(text.strip())
        value = _read(text)
        if not isinstance(value, Ref):
            raise SpecError(_unreadable(text))
        return value


def ref(name: str, /, **options: Any) -> Ref:
    """A :class:`Ref`: ``ref("se", reduction=8)``.

    Raises:
        SpecError: ``name`` cannot be one.
        OptionError: an option is no number, name, Ref, or sequence or mapping of such; or out of all bounds.
    """
    return Ref(name, Options(options))


@dataclass(frozen=True)
class PerStage(Nested):
    """An option's value for each stage of a network: ``values``, the first stage's first."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not issubclass(type(self.values), (list, tuple)):
            raise SpecError(f"per_stage() has a sequence of values, one for each stage, got {shown(self.values)}")
        object.__setattr__(self, "values", frozen(self.values, "per_stage"))
        if any(isinstance(value, PerStage) for value in self.values):
            raise SpecError("per_stage() cannot stand inside of per_stage()")

    def extent(self) -> tuple[int, int]:
        return extent_of(self.values)

    def __str__(self) -> str:
        return _text(self)


def per_stage(*values: Any) -> PerStage:
    """An option that differs by stage: ``attention=per_stage(None, None, "cbam", ref("se", reduction=8))``.

    Args:
        *values: one for each stage, the first stage's first; in a slot, None leaves it empty.

    Raises:
        SpecError: a value is itself a :class:`PerStage`, or cannot be in a spec.
    """
    return PerStage(values)


def at_stage(value: Any, name: str, stage: int, stages: int) -> Any:
    """The option ``name`` with every PerStage, the options of a Ref included, replaced by its value for a stage.

    Raises:
        OptionError: there are more or fewer values than stages.
    """
    if isinstance(value, PerStage):
        if len(value.values) != stages:
            raise OptionError(
                f"{name}={cut(value)}: there are {stages} stages, and {len(value.values)} values for them"
            )
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
        raise SpecError(f"expected a component's name or a ref(), got {shown(value)}")
    except SpecError as error:
        raise OptionError(f"{option}={shown(value)}: {error}" if option else str(error)) from None


def parse_value(text: str) -> Any:
    """A Python literal, a Ref or a PerStage in the form that ``str`` gives it, or, failing all, the text itself."""
    if not isinstance(text, str):
        raise SpecError(f"a value is read from text, got {shown(text)}")
    try:
        return _read(text)
    except SpecError:
        return text


def _text(value: Any) -> str:
    """``value`` in ASCII, as :func:`_read` reads it."""
    if isinstance(value, Ref):
        named = value.name.isidentifier() and value.name not in MARKS
        arguments = [f"{key}={_text(each)}" for key, each in value.options.items()]
        return f"{value.name if named else 'ref'}({', '.join(arguments if named else [repr(value.name), *arguments])})"
    if isinstance(value, PerStage):
        return f"per_stage({', '.join(map(_text, value.values))})"
    if isinstance(value, Options):
        return f"{{{', '.join(f'{key!a}: {_text(each)}' for key, each in value.items())}}}"
    if isinstance(value, tuple):
        return f"({''.join(_text(item) + ', ' for item in value).rstrip() if value else ''})"
    return ascii(value)


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
            case ast.Dict(keys, values) if None not in keys:
                return dict(zip(map(ast.literal_eval, keys), map(value, values), strict=True))  # type: ignore[arg-type]
            case ast.Name(word):
                return word
        return ast.literal_eval(node)

    def options(keywords: list[ast.keyword]) -> Options:
        names = [keyword.arg for keyword in keywords]
        if None in names or len(set(names)) < len(names):
            raise ValueError("options are named, and each is named once")
        return Options({str(keyword.arg): value(keyword.value) for keyword in keywords})

    try:
        # Python takes some letters for others in names, so that a name would become another.
        if not isinstance(text, str) or len(text) > LONGEST or unicodedata.normalize("NFKC", text) != text:
            raise ValueError
        return value(ast.parse(text.strip(), mode="eval").body)
    except SpecError as error:
        raise SpecError(f"cannot read {shown(text)}: {error}") from error
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise SpecError(_unreadable(text)) from error


def _unreadable(text: str) -> str:
    dashed = isinstance(text, str) and re.match(r"\s*[\w.-]+\(", text[:LONGEST])
    hint = "; a name with '-' or '.' reads ref('name', option=value)" if dashed else ""
    return f"cannot read {shown(text)}: expected name or name(option=value, ...){hint}"
