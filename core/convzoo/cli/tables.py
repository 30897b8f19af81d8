"""Tables for terminals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from convzoo.errors import one_line
from convzoo.published.rows import Published


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Rows under a header, in columns as wide as their widest cell; those in ``right`` are aligned to the right."""
    cells = [[clean(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.rjust(width) if title in right else cell.ljust(width)
            for cell, width, title in zip(row, widths, header, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def columns(groups: Mapping[str, Sequence[str]], width: int) -> str:
    """The names of each group behind its title, as many beside each other as fit into ``width`` letters."""
    left = max(map(len, groups), default=0) + 2
    lines = []
    for title, names in groups.items():
        for across in range(len(names), 0, -1):
            widths = [max(map(len, names[place::across])) for place in range(across)]
            if sum(widths) + 2 * (across - 1) <= width - left or across == 1:
                break
        for start in range(0, len(names), across):
            row = zip(names[start : start + across], widths, strict=False)
            lines.append(
                f"{'' if start else title:<{left}}{'  '.join(f'{name:<{wide}}' for name, wide in row)}".rstrip()
            )
    return "\n".join(lines)


def clean(text: str) -> str:
    """``text`` in printable characters, on one line."""
    return text if text.isprintable() else one_line(text)


def millions(count: int | None) -> str:
    """``25.56 M``; a dash for None."""
    return "-" if count is None else f"{count / 1e6:.2f} M"


def billions(count: int | None) -> str:
    """``4.089 G``; a dash for None."""
    return "-" if count is None else f"{count / 1e9:.3f} G"


PUBLISHED = ("weights", "classes", "px", "top-1 %", "top-5 %", "licence")
"""The columns of published weights."""
PUBLISHED_RIGHT = PUBLISHED[1:5]


def published_row(row: Published) -> list[str]:
    """The cells of :data:`PUBLISHED`; a dash for what is not known."""
    accuracies = ["-" if value is None else f"{value:.2f}" for value in (row.top1, row.top5)]
    return [row.name, str(row.num_classes), str(row.input["input_size"][1]), *accuracies, row.licence or "-"]
