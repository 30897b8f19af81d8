"""Specs: what a network is made of, as frozen, plain data. This module imports no torch.

A :class:`Ref` names a component and gives its options, a :class:`Stage` is a run of layers with one stride,
and a :class:`Model` is a stem, stages and a head, with where it comes from. Specs compare, hash and pickle,
and go to and from JSON.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from convzoo.errors import SpecError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""What models and components may be called."""
QUALIFIED = re.compile(rf"(?:{NAME.pattern}/)?{NAME.pattern}")
"""What a Ref may say: a name, or ``plugin/name``, for names that several plugins contribute."""
NAME_RULE = "a name has letters, digits, '_', '-' and '.', and starts with a letter or digit"


class Options(Mapping[str, Any]):
    """An immutable mapping of option names to values."""

    __slots__ = ("_items",)
    _items: dict[str, Any]

    def __init__(self, items: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> None:
        object.__setattr__(self, "_items", {str(key): _freeze(value) for key, value in dict(items).items()})
        if "ref" in self._items:
            raise SpecError("'ref' cannot be an option's name, since it marks a Ref in JSON")

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("options are immutable")

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)

    def __reduce__(self) -> tuple[Any, ...]:
        return Options, (dict(self._items),)


def _freeze(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_freeze(item) for item in value)
    if isinstance(value, dict):
        return Options(value)
    return value


def _options(value: Any) -> Options:
    if not isinstance(value, Mapping):
        raise SpecError(f"options are a mapping of names to values, got {value!r}")
    return Options(value)


NO_OPTIONS = Options()


@dataclass(frozen=True)
class Ref:
    """A component's name, or ``plugin/name``, with options. Its kind is the place it is used in."""

    name: str
    options: Options = NO_OPTIONS

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not QUALIFIED.fullmatch(self.name):
            raise SpecError(f"a component is referred to by its name, or plugin/name, got {self.name!r}")
        object.__setattr__(self, "options", _options(self.options))

    def with_options(self, **options: Any) -> Ref:
        """The same component with ``options`` added to, or in place of, its own."""
        return Ref(self.name, Options({**self.options, **options}))

    def __str__(self) -> str:
        def text(value: Any) -> str:
            if isinstance(value, Ref):
                return str(value) if value.options else f"{value.name}()"
            if isinstance(value, tuple):
                return f"({''.join(text(item) + ', ' for item in value).rstrip() if value else ''})"
            return repr(value)

        inner = ", ".join(f"{key}={text(value)}" for key, value in self.options.items())
        return f"{self.name}({inner})" if inner else self.name

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Read ``"name"`` or ``"name(option=value, slot=other(...))"``, the form that ``str`` writes.

        Raises:
            SpecError: ``text`` is not of that form.
        """
        if QUALIFIED.fullmatch(text.strip()):
            return cls(text.strip())
        value = _literal(text)
        if not isinstance(value, Ref):
            raise SpecError(f"cannot read {text!r}: expected name or name(option=value, ...)")
        return value


def ref(name: str, /, **options: Any) -> Ref:
    """A :class:`Ref`: ``ref("se", reduction=8)``."""
    return Ref(name, Options(options))


def parse_value(text: str) -> Any:
    """A Python literal, a ``name(option=value)`` as a :class:`Ref`, or, failing both, the text itself."""
    try:
        return _literal(text)
    except SpecError:
        return text


_QUOTED = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
_CALLED = re.compile(rf"(?<![\w./-])({QUALIFIED.pattern})\(")


def _literal(text: str) -> Any:
    """A Python literal in which ``name(option=value)`` is a Ref, and a bare word or ``plugin/name`` a string."""

    def convert(node: ast.expr) -> Any:
        if isinstance(node, ast.Call):
            names = [keyword.arg for keyword in node.keywords]
            if ast.unparse(node.func) != "ref" or len(node.args) != 1 or None in names or len(set(names)) < len(names):
                raise ValueError("not a name with options")
            return Ref(convert(node.args[0]), Options({str(k.arg): convert(k.value) for k in node.keywords}))
        if isinstance(node, ast.Tuple):
            return tuple(map(convert, node.elts))
        match node:
            case ast.BinOp(ast.Name(plugin), ast.Div(), ast.Name(name)):
                return f"{plugin}/{name}"
        return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)

    # Names may have signs that Python's have not, so each is quoted, as the one argument of a call.
    pieces = _QUOTED.split(text.strip())
    pieces[::2] = [_CALLED.sub(r"ref('\1', ", piece) for piece in pieces[::2]]
    try:
        return convert(ast.parse("".join(pieces), mode="eval").body)
    except (SyntaxError, ValueError) as error:
        raise SpecError(f"cannot read {text!r}: expected name or name(option=value, ...)") from error


@dataclass(frozen=True)
class Stage:
    """Layers that run one after the other; the first takes ``stride``, the others 1."""

    layers: tuple[Ref, ...]
    stride: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.layers, (str, Ref)):
            raise SpecError(f"a stage's layers are a sequence, got the single {self.layers!r}; write [layer]")
        object.__setattr__(self, "layers", tuple(as_ref(layer) for layer in self.layers))
        if not self.layers:
            raise SpecError("a stage needs at least one layer")
        require_int("stride", self.stride, at_least=1)

    def runs(self) -> list[tuple[int, Ref]]:
        """``(count, layer)`` for each run of equal neighbours."""
        runs: list[tuple[int, Ref]] = []
        for layer in self.layers:
            if runs and runs[-1][1] == layer:
                runs[-1] = (runs[-1][0] + 1, layer)
            else:
                runs.append((1, layer))
        return runs


@dataclass(frozen=True)
class Reference:
    """The model of another library that a variant must equal.

    With ``overrides`` applied to the variant, its weights copied over, it computes what
    ``<library>.create_model(name, **options)`` computes.
    """

    library: str
    name: str
    options: Options = NO_OPTIONS
    overrides: Options = NO_OPTIONS

    def __post_init__(self) -> None:
        if self.library not in ("timm", "torchvision"):
            raise SpecError(f"references are to timm or torchvision, not {self.library!r}")
        object.__setattr__(self, "options", _options(self.options))
        object.__setattr__(self, "overrides", _options(self.overrides))


@dataclass(frozen=True)
class Model:
    """A network: a stem, stages, a head, what all parts share, and where it comes from.

    Attributes:
        name: canonical name.
        family: group of variants that one paper or recipe describes.
        stem, head: components of the kinds ``stem`` and ``head``.
        stages: the layers between them, components of kind ``block``.
        norm, act: normalisation and activation offered to every part that declares ``norm`` or ``act``.
        init: how convolutions and linear layers start, a component of kind ``init``.
        num_classes: outputs of the classifier; 0 means pooled features.
        in_chans: channels of the input image.
        input_size: side in pixels of the square image that the variant is meant for.
        output_stride: input pixels per pixel of the last feature map; None leaves every stride as it is.
            Smaller values turn the last stages' strides into dilations.
        drop_path_rate: stochastic depth of the last layer; grows linearly from 0 at the first.
        dataset: ``"imagenet"`` or ``"cifar10"``; gives mean and deviation of the input.
        paper: where it is described.
        references: what other libraries' models it equals.
        keys: ordered ``(pattern, replacement)`` pairs for ``re.sub`` that turn a key of this model's state dict
            into the reference's.
        aliases: further names. A :class:`Ref` also overrides options, for a name under which
            another library builds the same network with other defaults.
        params, macs: exact counts, pinned; MACs are multiply-accumulates of convolutions and linear layers
            on one image at ``input_size``.
    """

    name: str
    family: str
    stem: Ref
    stages: tuple[Stage, ...]
    head: Ref = Ref("classifier")
    norm: Ref = Ref("batch")
    act: Ref = Ref("relu")
    init: Ref = Ref("default")
    num_classes: int = 1000
    in_chans: int = 3
    input_size: int = 224
    output_stride: int | None = None
    drop_path_rate: float = 0.0
    dataset: str = "imagenet"
    paper: str = ""
    references: tuple[Reference, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()
    aliases: tuple[Ref, ...] = ()
    params: int | None = None
    macs: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise SpecError(f"model {self.name!r}: {NAME_RULE}")
        for field in REF_FIELDS:
            object.__setattr__(self, field, as_ref(getattr(self, field)))
        for field in ("stages", "aliases", "references", "keys"):
            value = getattr(self, field)
            if isinstance(value, str) or not isinstance(value, Iterable):
                raise SpecError(f"{self.name}: {field} is a sequence, got {value!r}")
            object.__setattr__(self, field, tuple(value))
        object.__setattr__(self, "aliases", tuple(as_ref(alias) for alias in self.aliases))
        if not all(isinstance(reference, Reference) for reference in self.references):
            raise SpecError(f"{self.name}: references are Reference, got {self.references!r}")
        for field in ("params", "macs"):
            if getattr(self, field) is not None:
                require_int(field, getattr(self, field), at_least=0)
        try:
            object.__setattr__(self, "keys", tuple((str(a), str(b)) for a, b in self.keys))
        except ValueError as error:
            raise SpecError(f"keys are pairs (pattern, replacement), got {self.keys!r}") from error
        if not self.stages or not all(isinstance(stage, Stage) for stage in self.stages):
            raise SpecError(f"{self.name}: stages must be one or more Stage, got {self.stages!r}")
        require_int("num_classes", self.num_classes, at_least=0)
        require_int("in_chans", self.in_chans, at_least=1)
        require_int("input_size", self.input_size, at_least=1)
        if self.output_stride is not None:
            require_int("output_stride", self.output_stride, at_least=1)
        require_rate("drop_path_rate", self.drop_path_rate)
        if not isinstance(self.dataset, str) or self.dataset not in DATASETS:
            raise SpecError(f"dataset={self.dataset!r}: known are {', '.join(DATASETS)}")

    def derived(self, **changes: Any) -> Model:
        """A copy with some fields changed, which no longer claims what this one was pinned to.

        Counts, references and aliases are dropped; a copy that comes out the same keeps them.
        """
        changed = dataclasses.replace(self, **changes)
        return (
            self if changed == self else dataclasses.replace(changed, params=None, macs=None, references=(), aliases=())
        )

    def mapped(self, change: Callable[[str, Ref], Ref]) -> dict[str, Any]:
        """The fields that hold parts, with ``change(kind, part)`` in place of each part."""
        fields: dict[str, Any] = {field: change(field, getattr(self, field)) for field in REF_FIELDS}
        stages = (Stage(tuple(change("block", layer) for layer in s.layers), s.stride) for s in self.stages)
        return {**fields, "stages": tuple(stages)}

    def reference(self, library: str = "timm") -> Reference | None:
        """The model of ``library`` that this one must equal, or None."""
        return next((r for r in self.references if r.library == library), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers, ready for JSON; :meth:`from_dict` reads them back."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Model:
        """The spec that :meth:`to_dict` wrote.

        Raises:
            SpecError: a field is unknown or missing, or a value is impossible.
        """
        if not isinstance(data, Mapping):
            raise SpecError(f"not a model's dict: {data!r}")
        fields = {field.name for field in dataclasses.fields(cls)}
        if unknown := set(data) - fields:
            raise SpecError(f"a model has no field {sorted(unknown)}; the fields are {sorted(fields)}")
        values = {key: _unplain(value) for key, value in data.items()}
        try:
            values["stages"] = tuple(Stage(**stage) for stage in values["stages"])
            values["references"] = tuple(Reference(**item) for item in values.get("references", ()))
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise SpecError(f"not a model's dict: {error}") from error


DATASETS = {
    "imagenet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "crop_pct": 0.875},
    "cifar10": {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616), "crop_pct": 1.0},
}
"""Mean and deviation of the input, in [0, 1], and the share of it that evaluation crops."""

REF_FIELDS = ("stem", "head", "norm", "act", "init")


def _plain(value: Any) -> Any:
    if isinstance(value, Ref):
        return {"ref": value.name, **{k: _plain(v) for k, v in value.options.items()}}
    if isinstance(value, Options):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (Stage, Reference)):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise SpecError(f"{value!r} cannot be written down as JSON; specs hold names, numbers, lists and Refs")


def _unplain(value: Any) -> Any:
    if isinstance(value, Mapping):
        items = {k: _unplain(v) for k, v in value.items()}
        if "ref" in items:
            return Ref(items.pop("ref"), Options(items))
        return items
    if isinstance(value, (list, tuple)):
        return tuple(_unplain(item) for item in value)
    return value


@dataclass(frozen=True)
class Component:
    """A part that plugins contribute: code, named so that it is imported only when it is first used.

    Attributes:
        kind: the place it fits: ``stem``, ``block``, ``head``, ``norm``, ``act``, ``init``, or a slot's keyword.
        name: what a :class:`Ref` calls it.
        target: ``"module:attribute"``, or the class or function itself.
        summary: one line for listings.
        example: options to build it with in checks and listings, where some option has no default.
    """

    kind: str
    name: str
    target: str | Callable[..., Any]
    summary: str = ""
    example: Mapping[str, Any] = NO_OPTIONS

    def __post_init__(self) -> None:
        for field in ("kind", "name"):
            value = getattr(self, field)
            if not isinstance(value, str) or not value:
                raise SpecError(f"a component's {field} is a non-empty string, got {value!r}")
        if isinstance(self.target, str):
            module, _, attribute = self.target.partition(":")
            if not module or not attribute:
                raise SpecError(f"{self.kind} {self.name!r}: target {self.target!r} should read 'module:attribute'")
        elif not callable(self.target):
            raise SpecError(f"{self.kind} {self.name!r}: target must be 'module:attribute' or a callable")
        object.__setattr__(self, "example", _options(self.example))

    def load(self) -> Callable[..., Any]:
        """Import the code.

        Raises:
            Exception: whatever importing its module raises; AttributeError if that has no such attribute.
        """
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
    """

    name: str
    regex: str
    make: Callable[..., Model]

    def __post_init__(self) -> None:
        try:
            re.compile(self.regex)
        except (re.error, TypeError) as error:
            raise SpecError(f"pattern {self.name!r}: {self.regex!r} is no regular expression: {error}") from error
        if not callable(self.make):
            raise SpecError(f"pattern {self.name!r}: make must be callable, got {self.make!r}")


def as_ref(value: str | Ref) -> Ref:
    """``value`` as a :class:`Ref`; a string is a name, or ``name(option=value)``."""
    if isinstance(value, Ref):
        return value
    if isinstance(value, str):
        return Ref.parse(value)
    raise SpecError(f"expected a component's name or a ref(), got {value!r}")


def require_int(name: str, value: Any, *, at_least: int) -> None:
    """Raise SpecError, naming the option, unless ``value`` is an int of at least ``at_least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise SpecError(f"{name} must be an integer of at least {at_least}, got {value!r}")


def require_rate(name: str, value: Any) -> None:
    """Raise SpecError, naming the option, unless ``value`` is a number in [0, 1)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise SpecError(f"{name} must be a number from 0 up to, but not including, 1, got {value!r}")
