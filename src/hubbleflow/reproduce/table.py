"""A table of words and numbers, as Markdown and as HTML."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Any

from hubbleflow.report.page import number

DASH = "-"


@dataclass(frozen=True)
class Table:
    """A table with a caption; the first column names its rows.

    Attributes:
        title: over it.
        head: column titles, the first of them for the rows' names.
        rows: as many cells each.
        caption: a sentence under the title.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    def markdown(self) -> str:
        """Columns in line, so that it can be read as it is.

        Example:
            >>> print(Table("T", ("", "a"), (("row", "1"),)).markdown())
            |     |  a |
            |:----|---:|
            | row |  1 |
        """
        lines = [self.head, *self.rows]
        widths = [max(2, *(len(line[place]) for line in lines)) for place in range(len(self.head))]
        aligned = [
            [cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(_pairs(line, widths))]
            for line in lines
        ]
        rule = [":" + "-" * (width + 1) if place == 0 else "-" * (width + 1) + ":" for place, width in enumerate(widths)]
        return "\n".join(
            ["| " + " | ".join(aligned[0]) + " |", "|" + "|".join(rule) + "|", *("| " + " | ".join(line) + " |" for line in aligned[1:])]
        )

    def html(self) -> str:
        """A table that a screen reader can walk, which scrolls by itself where it is wide."""
        head = "".join(f'<th scope="col">{escape(title)}</th>' for title in self.head)
        rows = "".join(
            f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>' for row in self.rows
        )
        label = escape(self.title)
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        return (
            f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>{caption}<thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>"
        )


def _pairs(line: tuple[str, ...], widths: list[int]) -> list[tuple[str, int]]:
    return list(zip(line, widths, strict=True))


def plus_minus(value: Any, error: Any) -> str:
    """Value and error with as many digits as the error has a right to.

    Example:
        >>> plus_minus(0.23456, 0.0123), plus_minus(12.3, 4.6), plus_minus(0.5, None), plus_minus(None, 0.1)
        ('0.235 ± 0.012', '12.3 ± 4.6', '0.5', '-')
    """
    if value is None or not math.isfinite(value):
        return DASH
    if error is None or not math.isfinite(error) or error <= 0:
        return number(value)
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"
