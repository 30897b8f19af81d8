"""What there is beside models, by name: families, and the parts of each kind. This module imports no torch."""

from __future__ import annotations

from convzoo.errors import OptionError, UnknownNameError, did_you_mean, scalar, shown
from convzoo.plugins.host import registry
from convzoo.spec.kinds import KINDS


def list_families() -> list[str]:
    """Names of the families of the models that are installed, in order; ``list_models(family=...)`` takes one."""
    return sorted({entry.spec.family for entry in registry().models().values()})


def list_parts(kind: str) -> list[str]:
    """Names of the parts of a kind that are installed, in the order in which ``convzoo list --parts`` has them.

    Args:
        kind: ``"stem"``, ``"block"``, ``"head"``, ``"norm"``, ``"act"``, ``"init"``, or a slot's keyword, such as
            ``"attention"``, ``"conv"`` and ``"shortcut"``.

    Raises:
        UnknownNameError: there is no such kind; the message lists them.
        OptionError: ``kind`` is no string.
    """
    if type(kind := scalar(kind)) is not str:
        raise OptionError(f"a kind of parts is called by its name, a string, got {shown(kind)}")
    found = registry().components()
    kinds = [*dict.fromkeys([*KINDS, *(component.kind for component, _ in found)])]
    if kind not in kinds:
        there_is = f"{did_you_mean(kind, kinds)} The kinds are {', '.join(kinds)}."
        raise UnknownNameError(f"There is no kind of parts {shown(kind)}.{there_is}")
    return [component.name for component, _ in found if component.kind == kind]
