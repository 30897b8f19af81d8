"""The cases that checks try a part in."""

from __future__ import annotations

from collections.abc import Iterator

from convzoo.testing.kit.case import Case
from convzoo.testing.kit.combinations import combined_cases
from convzoo.testing.kit.probe import POSITIONS, Probe
from convzoo.testing.kit.promises import STRIDED

SOME = 3
"""Of the combined cases, for what takes long."""
LATER = POSITIONS[1:3]


def usual_cases(probe: Probe) -> list[Case]:
    """The geometries that the part does not refuse, with each example: as it stands, and with stride 2."""
    found = []
    for number, ref in enumerate(probe.refs):
        label = f", {ref}" if number else ""
        found.append(Case(("stride 1" if probe.kind in STRIDED else "default") + label, probe, {"ref": ref}))
        if probe.kind in STRIDED:
            strided = Case(f"stride 2{label}", probe, {"ref": ref, "stride": 2})
            found += [strided] if strided.is_possible() else []
    if probe.part.declares("position"):
        found += [Case(f"position {each.stage}.{each.layer}", probe, {"position": each}) for each in LATER]
    return found


def plain_cases(probe: Probe) -> list[Case]:
    """The usual ones, and the first example with other widths, groups and dilation, one at a time."""
    return [*usual_cases(probe), *(case for case in _others(probe) if case.is_possible())]


def some_cases(probe: Probe) -> list[Case]:
    """The usual ones, and a few of the combined ones: for what takes long."""
    return [*usual_cases(probe), *combined_cases(probe)[:SOME]]


def all_cases(probe: Probe) -> list[Case]:
    """The plain ones and the combined ones."""
    return [*plain_cases(probe), *combined_cases(probe)]


def _others(probe: Probe) -> Iterator[Case]:
    for each in probe.other_widths():
        yield Case(" to ".join(map(str, each)) + " channels", probe, {"widths": each})
    if "groups" in probe.part.kind.honoured:
        yield Case("2 groups", probe, {"groups": 2})
        yield Case("2 groups and stride 2", probe, {"groups": 2, "stride": 2})
    if probe.part.declares("dilation"):
        yield Case("dilation 4", probe, {"dilation": 4})
