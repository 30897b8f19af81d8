"""A network as a picture, block by block: stem, stages with their runs of equal layers, slots by name, and head."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convzoo.cli.svg import LETTER, MARGIN, WIDTH, Page
from convzoo.spec.model import Model
from convzoo.spec.refs import Options, Ref

if TYPE_CHECKING:
    from convzoo.cli.inspection import StageCost

INSIDE = WIDTH - 2 * MARGIN
"""Pixels of the width of a frame."""
PAD, LINE, ARROW = 14, 20, 34
"""Pixels: within a frame, of a line of text, and of the arrow from one frame to the next."""
RAIL = MARGIN + 2 * PAD
"""Where the arrows run."""
TIMES = 58
"""Pixels at the end of a card that are left for how often it runs."""


@dataclass(frozen=True)
class Run:
    """Equal layers, one after the other: ``count`` of ``part``, the first of them with ``stride``."""

    kind: str
    part: Ref
    count: int = 1
    stride: int = 1

    @property
    def strided(self) -> str:
        """What is to be said of the stride."""
        where = " in the first" if self.count > 1 else ""
        return f"stride {self.stride}{where}" if self.stride > 1 else ""


def sections(spec: Model) -> Iterator[tuple[str, list[Run]]]:
    """The stem, the stages and the head, each with its name and what runs in it, in order."""
    yield "stem", [Run("stem", spec.stem)]
    for number, stage in enumerate(spec.stages, start=1):
        runs = enumerate(stage.runs())
        yield (
            f"stage {number}",
            [Run("block", layer, count, 1 if place else stage.stride) for place, (count, layer) in runs],
        )
    yield "head", [Run("head", spec.head)]


def drawing(spec: Model, costs: Sequence[StageCost], title: str, facts: Sequence[str] = ()) -> str:
    """A network as the text of an SVG file.

    Args:
        spec: of the network, with every part in it named, defaults included.
        costs: what :func:`~convzoo.cli.inspection.inspect_stages` says of it.
        title: of the picture.
        facts: lines beneath the title; what the parts share and what all of it costs comes after them.
    """
    page = Page()
    _heading(page, title, [*facts, f"norm {spec.norm}, act {spec.act}, init {spec.init}", _cost(*costs)])
    given = _sizes((spec.in_chans, spec.input_size, spec.input_size))
    words = [f"An image, {given}"]
    page.text(RAIL - 8, page.y, words[0].lower())
    page.y += 8
    page.arrow(RAIL, ARROW - 8)
    for (name, runs), cost in zip(sections(spec), costs, strict=True):
        _section(page, name, runs, _cost(cost))
        given = _sizes(cost.output)
        if name == "head":
            given += " classes" if spec.num_classes else " features"
        page.text(RAIL + 14, page.y + ARROW // 2 + 4, given)
        page.arrow(RAIL, ARROW)
        words.append(f"{name}: {', then '.join(map(_in_words, runs))}; gives {given}")
    return page.finished(title, ". ".join(words) + ".")


def _heading(page: Page, title: str, facts: Sequence[str]) -> None:
    for line in textwrap.wrap(title, INSIDE // 14):
        page.text(MARGIN, page.y + 18, line, "title")
        page.y += 26
    for fact in facts:
        for line in textwrap.wrap(fact, INSIDE // LETTER):
            page.text(MARGIN, page.y + PAD, line, "faint")
            page.y += LINE - 2
    page.y += LINE + PAD


def _cost(*costs: StageCost) -> str:
    return f"{sum(cost.params for cost in costs):,} parameters · {sum(cost.macs for cost in costs):,} MACs"


def _sizes(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))  # noqa: RUF001


def _in_words(run: Run) -> str:
    times = f"{run.count} times " if run.count > 1 else ""
    return f"{times}{run.part}{f' ({run.strided})' if run.strided else ''}"


def _section(page: Page, name: str, runs: Sequence[Run], cost: str) -> None:
    """A frame with a card for each run."""
    top, under = page.y, page.mark()
    page.y += LINE + 2
    page.text(MARGIN + PAD, page.y, name, "bold")
    page.text(MARGIN + INSIDE - PAD, page.y, cost, "faint right")
    page.y += 10
    for run in runs:
        _card(page, run)
    page.y += PAD - 6
    page.box(MARGIN, top, INSIDE, page.y - top, "frame", at=under)


def _card(page: Page, run: Run) -> None:
    """A part with its options, and a line for each of its slots; several behind each other where it runs often."""
    left, width, top, under = MARGIN + PAD, INSIDE - 2 * PAD, page.y, page.mark()
    page.y += 2
    for depth, slot, part in _parts(run.part, ""):
        start = left + 16 + depth * 20
        if slot:
            label = len(slot) * LETTER + 12
            page.box(start, page.y + 4, label, LINE - 3, "label")
            page.text(start + label // 2, page.y + LINE - 3, slot, "code middle")
            start += label + 8
        name, options = part.name, _options(part)
        page.text(start, page.y + LINE - 3, name, "code bold")
        beside = start + (len(name) + 1) * LETTER
        room = (left + width - (0 if depth else TIMES) - PAD - beside) // LETTER
        for line in textwrap.wrap(options, max(room, 12), break_on_hyphens=False):
            page.text(beside, page.y + LINE - 3, line, "code faint")
            page.y += LINE
        page.y += 0 if options else LINE
        if run.strided and not depth:
            page.text(start, page.y + LINE - 3, run.strided, "faint")
            page.y += LINE
    page.y += 8
    height = page.y - top
    if run.count > 1:
        page.text(left + width - PAD, top + LINE - 1, f"× {run.count}", "bold right times")  # noqa: RUF001
    page.box(left, top, 5, height, run.kind, at=under)
    page.box(left, top, width, height, "card", at=under)
    for behind in (4, 8)[: run.count - 1][::-1]:
        page.box(left + behind, top + behind, width, height, "card", at=under)
    page.y += 6 + (8 if run.count > 2 else 4 if run.count > 1 else 0)


def _parts(part: Ref, slot: str, depth: int = 0) -> Iterator[tuple[int, str, Ref]]:
    """A part and those in its slots, each with how deep it stands and the slot that it is in."""
    yield depth, slot, part
    for option, value in part.options.items():
        if isinstance(value, Ref):
            yield from _parts(value, option, depth + 1)


def _options(part: Ref) -> str:
    """The options of a part that are no parts themselves, as a call has them."""
    plain = Options({key: value for key, value in part.options.items() if not isinstance(value, Ref)})
    return str(Ref("part", plain))[len("part(") : -1] if plain else ""
