"""What the fields of specs and contributions must be, checked when these are made: a wrong one is refused at once.

Each function gives the value as plain data, so that nothing of another class, which may fail or lie later, is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any, TypeVar

from convzoo.errors import SpecError, scalar, shown
from convzoo.spec.refs import Options, Ref, as_options, as_ref

T = TypeVar("T")


def text(what: str, value: Any, *, needed: bool = False) -> str:
    """``value`` as a plain string; SpecError if it is none, cannot be written down, or is ``needed`` and empty."""
    plain = scalar(value)
    if type(plain) is not str or (needed and not plain):
        raise SpecError(f"{what} is {'non-empty ' * needed}text, got {shown(value)}")
    try:
        plain.encode()
    except UnicodeEncodeError as error:
        raise SpecError(f"{what} is text that can be written down, got {shown(plain)} ({error.reason})") from None
    return plain


def sequence(what: str, value: Any) -> tuple[Any, ...]:
    """``value`` as a tuple; SpecError if it is a single value, or has no order or more than values."""
    if type(value) in (tuple, list):
        return tuple(value)
    if isinstance(value, (str, bytes, Mapping, Set)) or not isinstance(value, Iterable):
        raise SpecError(f"{what} is a sequence, got {shown(value)}")
    return tuple(value)


def instances(what: str, value: Any, cls: type[T]) -> tuple[T, ...]:
    """``value`` as a tuple; SpecError unless it is a sequence of ``cls``, and of no class that inherits from it."""
    found = sequence(what, value)
    for each in found:
        if type(each) is not cls:
            raise SpecError(f"{what} is a sequence of {cls.__name__}, got {shown(each)} in it")
    return found


def hashable(what: str, value: T) -> T:
    """``value``; SpecError if it cannot be hashed, by which what has been read of it is kept."""
    try:
        hash(value)
    except Exception as error:
        raise SpecError(f"{what} cannot be hashed: {error}") from None
    return value


def options(what: str, value: Any) -> Options:
    """``value``, a mapping, as Options; SpecError, which names ``what``, if it is none, or holds something mutable."""
    try:
        return as_options(value)
    except SpecError as error:
        raise SpecError(f"{what}: {error}") from None


def part(what: str, value: Any) -> Ref:
    """``value``, a Ref or a component's name, as a Ref.

    Raises:
        SpecError: it is neither, or its options hold something mutable; the message names ``what``.
    """
    found = as_ref(value, what)
    return found if type(found) is Ref else Ref(found.name, found.options)
