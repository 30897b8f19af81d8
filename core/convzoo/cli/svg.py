"""A page of SVG that grows downwards: frames, labels and lines of text, for light and for dark pages.

The standard library writes the XML. What draws graphs, Graphviz and what stands on it, needs a program of its own
installed, and lays out anew what a network has by itself: one order, from top to bottom.
"""

from __future__ import annotations

from xml.etree import ElementTree

from convzoo.cli.tables import clean

WIDTH, MARGIN = 720, 24
"""Pixels of the page and around it."""
LETTER = 8
"""Pixels of a letter of the typewriter face, at most: 0.6 of its height in most such faces."""

STYLE = """
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1b1f24; }
.code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; }
.title { font-size: 22px; font-weight: 600; }
.bold { font-weight: 600; }
.faint { fill: #5c6570; }
.right { text-anchor: end; }
.middle { text-anchor: middle; }
.page { fill: #ffffff; }
.frame { fill: #f4f6f8; stroke: #d5dae0; }
.card { fill: #ffffff; stroke: #b8c0c9; }
.label { fill: #e1e9f4; }
.flow { stroke: #5c6570; stroke-width: 1.5; }
.tip { fill: #5c6570; }
.stem { fill: #6a3fb5; }
.block, .times { fill: #0b62c4; }
.head { fill: #14783c; }
.on { fill: #ffffff; font-weight: 600; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6e9ed; }
  .faint { fill: #9aa4af; }
  .page { fill: #14171b; }
  .frame { fill: #1e2329; stroke: #343b44; }
  .card { fill: #14171b; stroke: #4a535e; }
  .label { fill: #2d3947; }
  .flow { stroke: #9aa4af; }
  .tip { fill: #9aa4af; }
  .stem { fill: #b79cf0; }
  .block, .times { fill: #6bb0ff; }
  .head { fill: #5fcf8b; }
  .on { fill: #14171b; }
}
"""


class Page:
    """What is drawn, in order; who draws moves ``y`` on.

    Attributes:
        y: pixels from the top, where the next thing goes.
    """

    def __init__(self) -> None:
        self.y = MARGIN
        self._drawn: list[ElementTree.Element] = []

    def text(self, x: int, y: int, words: str, style: str = "") -> None:
        """A line of text, on the base line ``y``; the classes of ``style`` say how."""
        self._add("text", {"x": x, "y": y, "class": style}).text = clean(words)

    def box(self, x: int, y: int, width: int, height: int, style: str, *, at: int | None = None) -> None:
        """A rounded rectangle; with ``at``, under all that was drawn since :meth:`mark` gave that."""
        shape = {"x": x, "y": y, "width": width, "height": height, "rx": min(6, width // 2), "class": style}
        self._add("rect", shape, at)

    def mark(self) -> int:
        """Where among the things that are drawn the next one stands."""
        return len(self._drawn)

    def arrow(self, x: int, length: int) -> None:
        """An arrow downwards from ``y``; moves ``y`` on."""
        end = self.y + length
        self._add("line", {"x1": x, "y1": self.y, "x2": x, "y2": end - 5, "class": "flow"})
        self._add("path", {"d": f"M{x - 4} {end - 7}h8l-4 7z", "class": "tip"})
        self.y = end

    def _add(self, tag: str, attributes: dict[str, object], at: int | None = None) -> ElementTree.Element:
        element = ElementTree.Element(tag, {key: str(value) for key, value in attributes.items() if value != ""})
        self._drawn.insert(len(self._drawn) if at is None else at, element)
        return element

    def finished(self, title: str, description: str) -> str:
        """The text of the file, with a title and a description for who cannot see it."""
        height = self.y + MARGIN
        said = {"role": "img", "aria-labelledby": "title description"}
        size = {"width": str(WIDTH), "height": str(height), "viewBox": f"0 0 {WIDTH} {height}"}
        root = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, **said})
        for tag, name, words in (("title", "title", title), ("desc", "description", description)):
            ElementTree.SubElement(root, tag, {"id": name}).text = clean(words)
        ElementTree.SubElement(root, "style").text = STYLE
        ElementTree.SubElement(root, "rect", {"width": "100%", "height": "100%", "class": "page"})
        root.extend(self._drawn)
        ElementTree.indent(root)
        return ElementTree.tostring(root, encoding="unicode") + "\n"
