"""What the caller of a transplant knows: pairs, tensors that are kept in another form, and tensors to leave out."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch

from convzoo.errors import did_you_mean
from convzoo.network.weights import COUNTER
from convzoo.testing.transplant.copies import Copy, fill, fits
from convzoo.testing.transplant.report import TransplantError
from convzoo.testing.transplant.trace import Op, Trace

Adapter = Callable[[dict[str, torch.Tensor]], Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class Known:
    """What is known of the tensors of one network: which are paired, in another form, or need no counterpart."""

    paired: frozenset[str]
    adapted: frozenset[str]
    ignored: frozenset[str]

    def left(self, state: Iterable[str]) -> tuple[str, ...]:
        """The tensors that are not carried over and should be; counters of batches need not be."""
        known = self.paired | self.adapted | self.ignored
        return tuple(name for name in state if name not in known and not name.endswith(COUNTER))

    def to_examine(self, state: Iterable[str]) -> list[str]:
        """The tensors that are carried over and should matter."""
        carried = (self.paired | self.adapted) - self.ignored
        return [name for name in state if name in carried and not name.endswith(COUNTER)]

    def standing(self, op: Op) -> Literal["open", "paired", "apart", "optional"]:
        """Whether an operation needs a counterpart.

        It is open if it needs one; paired if its tensors have theirs already; apart if it can have none, since the
        other network keeps what it uses in another form; and optional if what it uses may be left out.
        """
        if not (self.paired | self.adapted | self.ignored).issuperset(op.names):
            return "open"
        if self.paired.issuperset(op.names):
            return "paired"
        return "optional" if self.adapted.isdisjoint(op.names) else "apart"


@dataclass(frozen=True)
class Given:
    """What is known before anything is aligned; names are the first ones that a tensor has.

    Args:
        pairs: from the reference's names to the model's.
        adapt: the caller's function.
        values: by the model's names, what the adapter made of the reference's tensors.
        adapted: by the model's names, the reference's tensors that these were computed from.
        ignored: names of the reference, and names of the model, that need no counterpart and need not matter.
    """

    pairs: Mapping[str, str]
    adapt: Adapter | None
    values: Mapping[str, torch.Tensor]
    adapted: Mapping[str, tuple[str, ...]]
    ignored: tuple[frozenset[str], frozenset[str]]

    def aligned(self, pairs: Mapping[str, str]) -> Given:
        """The same once all pairs are known; what is ignored by one name is by that of its counterpart."""
        theirs, ours = self.ignored
        more = {name for name, other in pairs.items() if other in ours}, {pairs[name] for name in theirs & pairs.keys()}
        return replace(self, pairs=pairs, ignored=(theirs | more[0], ours | more[1]))

    @property
    def reference(self) -> Known:
        """What is known of the reference's tensors."""
        sources = frozenset(name for names in self.adapted.values() for name in names)
        return Known(frozenset(self.pairs), sources, self.ignored[0])

    @property
    def model(self) -> Known:
        """What is known of the model's tensors."""
        return Known(frozenset(self.pairs.values()), frozenset(self.adapted), self.ignored[1])

    def fill(self, target: Mapping[str, torch.Tensor], source: Mapping[str, torch.Tensor]) -> None:
        """Write what is known into the model."""
        fill(target, source, self.pairs)
        fill(target, self.values, {name: name for name in self.values})


def understood(
    theirs: Copy, ours: Copy, pairs: Mapping[str, str] | None, adapt: Adapter | None, ignore: str | Iterable[str]
) -> Given:
    """The arguments of a transplant, with all names resolved.

    Raises:
        TransplantError: a name that neither has, shapes that do not fit, or two counterparts for one tensor.
    """
    known = _pairs({} if pairs is None else pairs, theirs, ours)
    trace = Trace({name: tensor.clone() for name, tensor in theirs.state.items()})
    with torch.no_grad():
        values = adapted(adapt, trace.state, theirs, ours, trace)
    if twice := sorted(set(values) & set(known.values())):
        raise TransplantError(f"{twice[0]} of the model is given by adapt and in pairs: leave out one of the two")
    sources = {name: trace.sources(tensor) for name, tensor in values.items()}
    left_out = _ignored([ignore] if isinstance(ignore, str) else ignore, theirs, ours)
    return Given(known, adapt, values, sources, left_out)


def adapted(
    adapt: Adapter | None,
    state: Mapping[str, torch.Tensor],
    theirs: Copy,
    ours: Copy,
    during: contextlib.AbstractContextManager[object] | None = None,
) -> dict[str, torch.Tensor]:
    """What the adapter, if there is one, makes of the reference's tensors ``state``, by the model's names.

    Raises:
        TransplantError: it is no function, raises an error, or gives what the model does not have.
    """
    if adapt is None:
        return {}
    if not callable(adapt):
        raise TransplantError(
            "adapt must be a function from the reference's tensors by name to those of the model that it keeps in"
            f" another form, got {adapt!r}"
        )
    given = _Tensors({name: state[first] for name, first in theirs.names.items()})
    try:
        with during or contextlib.nullcontext():
            made = adapt(given)
    except TransplantError:
        raise
    except Exception as error:
        raise TransplantError(f"adapt raises {type(error).__name__}: {error}. Both networks are unchanged.") from error
    if not isinstance(made, Mapping) or not made:
        raise TransplantError(f"adapt must return tensors by the model's names, got {made!r}")
    result: dict[str, torch.Tensor] = {}
    for name, tensor in made.items():
        first = _first_name(name, ours, "adapt")
        own = ours.state[first]
        if not isinstance(tensor, torch.Tensor):
            raise TransplantError(f"adapt gives {tensor!r} for {name}, not a tensor")
        if tensor.shape != own.shape or tensor.is_complex() != own.is_complex():
            raise TransplantError(f"adapt gives {_what(tensor)} for {name}, which is {_what(own)} in the model")
        if result.setdefault(first, tensor) is not tensor:
            raise TransplantError(f"adapt gives both {first} and {name}, which are one tensor")
    return result


class _Tensors(dict[str, torch.Tensor]):
    """The reference's tensors by all of their names."""

    def __missing__(self, name: object) -> torch.Tensor:
        raise _unknown(name, "the reference", self, "adapt")


def _pairs(pairs: Mapping[str, str], theirs: Copy, ours: Copy) -> dict[str, str]:
    if not isinstance(pairs, Mapping) or not all(isinstance(name, str) for pair in pairs.items() for name in pair):
        raise TransplantError(f"pairs must map the reference's names to the model's, got {pairs!r}")
    result: dict[str, str] = {}
    inverse: dict[str, str] = {}
    for key, value in pairs.items():
        if key.count("*") != value.count("*"):
            raise TransplantError(f"pairs: {key!r} and {value!r} need as many stars each, which stand for the same")
        found = _matches(key, theirs.names)
        if not found:
            turned = " Pairs go from the reference's names to the model's." if _matches(key, ours.names) else ""
            raise _unknown(key, theirs.who, theirs.names, "pairs", turned)
        for name, stars in found.items():
            parts = value.split("*")
            other = parts[0] + "".join(star + part for star, part in zip(stars, parts[1:], strict=True))
            a, b = theirs.names[name], _first_name(other, ours, f"pairs, for {name!r}")
            if not fits(theirs.state[a], ours.state[b]):
                shapes = f"{_what(theirs.state[a])} in the reference, {other} {_what(ours.state[b])} in the model"
                raise TransplantError(f"pairs: {name} is {shapes}: let adapt change its form")
            if result.setdefault(a, b) != b:
                raise TransplantError(f"pairs: {name} goes to both {result[a]} and {other}")
            if inverse.setdefault(b, a) != a:
                raise TransplantError(f"pairs: both {inverse[b]} and {name} go to {other}")
    return result


def _ignored(patterns: Iterable[str], theirs: Copy, ours: Copy) -> tuple[frozenset[str], frozenset[str]]:
    patterns = [*patterns] if isinstance(patterns, Iterable) else [patterns]
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise TransplantError(f"ignore must be names of tensors, got {patterns!r}")
    found: tuple[set[str], set[str]] = set(), set()
    for pattern in patterns:
        both = [{names[name] for name in _matches(pattern, names)} for names in (theirs.names, ours.names)]
        if not any(both):
            raise _unknown(pattern, "neither network", [*theirs.names, *ours.names], "ignore")
        for names, more in zip(found, both, strict=True):
            names |= more
    return frozenset(found[0]), frozenset(found[1])


def _matches(pattern: str, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The names that a pattern fits, with what its stars stand for."""
    expression = re.compile("(.*)".join(map(re.escape, pattern.split("*"))))
    return {name: match.groups() for name in names if (match := expression.fullmatch(name))}


def _first_name(name: object, side: Copy, where: str) -> str:
    if name not in side.names:
        raise _unknown(name, side.who, side.names, where)
    return side.names[str(name)]


def _unknown(name: object, who: str, names: Iterable[str], where: str, hint: str = "") -> TransplantError:
    has = "has a" if who.startswith("neither") else "has no"
    return TransplantError(f"{where}: {who} {has} tensor {name!r}.{hint or did_you_mean(str(name), names)}")


def _what(tensor: torch.Tensor) -> str:
    return f"{'complex ' if tensor.is_complex() else ''}{tuple(tensor.shape)}"
