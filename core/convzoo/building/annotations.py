"""What the annotations of a signature say of its options."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from typing import Any

from convzoo.spec.options import Options

_SEQUENCES = (list, collections.abc.Sequence, collections.abc.Collection, collections.abc.Iterable)
_MAPPINGS = (dict, collections.abc.Mapping)


def readable(function: Any) -> dict[str, Any]:
    """A function's annotations, less those that cannot be read, such as what is only imported for type checkers."""
    hints = {}
    for name, annotation in getattr(function, "__annotations__", {}).items():
        try:
            hints[name] = eval(annotation, function.__globals__) if isinstance(annotation, str) else annotation
        except Exception:
            continue
    return hints


def fits(value: Any, hint: Any) -> bool:
    """Whether ``value``, as specs hold it, has the type that an annotation says.

    A sequence is a tuple there, and a mapping is :class:`~convzoo.spec.options.Options`. An annotation that is not
    understood takes everything.
    """
    if hint in (int, float, bool, str):
        if hint is float:
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    if hint is None or hint is type(None):
        return value is None if hint else True
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return fits(value, arguments[0])
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is typing.Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin is tuple and arguments[-1:] != (Ellipsis,):
        return isinstance(value, tuple) and len(value) == len(arguments) and all(map(fits, value, arguments))
    if origin is tuple or origin in _SEQUENCES or hint in _SEQUENCES:
        return isinstance(value, tuple) and all(fits(item, argument) for item in value for argument in arguments[:1])
    if origin in _MAPPINGS or hint in _MAPPINGS:
        return isinstance(value, Options) and all(fits(item, hint) for item in value.values() for hint in arguments[1:])
    if origin is collections.abc.Callable:
        return callable(value)
    return origin is not None or not inspect.isclass(hint) or _is(value, hint)


def _is(value: Any, hint: type) -> bool:
    try:
        return isinstance(value, hint)
    except TypeError:  # a protocol that says nothing at runtime
        return True


def has_callable(hint: Any) -> bool:
    """Whether an annotation is a callable, or a union with one."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType, typing.Annotated):
        return any(has_callable(argument) for argument in typing.get_args(hint))
    return typing.get_origin(hint) is collections.abc.Callable


def described(hint: Any) -> str:
    """An annotation in words, for messages."""
    if has_callable(hint):
        return "a component's name or a ref()"
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(hint))
    return hint.__name__ if inspect.isclass(hint) else str(hint)
