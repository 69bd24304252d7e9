"""A table of words and numbers, as Markdown, as HTML and as LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from hubbleflow.report.document import DASH, name, number, row, table

MOST_DIGITS = 7  # behind the point
TEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "²": r"$^2$",
    "∞": r"$\infty$",
}


@dataclass(frozen=True)
class Table:
    """A table with a caption; the first column names its rows.

    Attributes:
        title: over it.
        head: column titles, the first of them for the rows' names.
        rows: as many cells each.
        caption: a sentence under the title.
        best: (row, cell after the row's name) of cells to mark.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    best: frozenset[tuple[int, int]] = frozenset()

    def markdown(self) -> str:
        """Columns in line, so that it can be read as it is.

        Example:
            >>> print(Table("T", ("", "a"), (("row", "1"),)).markdown())
            |     |  a |
            |:----|---:|
            | row |  1 |
        """
        escaped = [[cell.replace("|", r"\|") for cell in line] for line in (self.head, *self.rows)]
        lines = [escaped[0], *([first, *self._marked(line, cells, "**", "**")] for line, (first, *cells) in enumerate(escaped[1:]))]
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
        """The table in a page; see :func:`hubbleflow.report.document.table`."""
        before, after = "<strong>", '</strong><span class="unseen"> (best)</span>'
        rows = [
            row(name(first), self._marked(line, [escape(cell) for cell in cells], before, after))
            for line, (first, *cells) in enumerate(self.rows)
        ]
        return table(self.head, rows, self.caption, label=self.title)

    def latex(self, label: str = "") -> str:
        """A table environment in the style of booktabs.

        Example:
            >>> print(Table("T", ("", "a_b"), (("row", "1 ± 2"),)).latex())
            \\begin{table}
            \\centering
            \\caption{T}
            \\begin{tabular}{lr}
            \\toprule
             & a\\_b \\\\
            \\midrule
            row & 1 $\\pm$ 2 \\\\
            \\bottomrule
            \\end{tabular}
            \\end{table}
        """
        words = f"{self.title}. {self.caption}" if self.caption else self.title
        rows = []
        for line, (first, *cells) in enumerate(self.rows):
            rows.append([_tex(first), *self._marked(line, [_tex(cell) for cell in cells], r"\textbf{\boldmath ", "}")])
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{_tex(words)}}}",
                *([rf"\label{{{label}}}"] if label else []),
                rf"\begin{{tabular}}{{l{'r' * (len(self.head) - 1)}}}",
                r"\toprule",
                " & ".join(map(_tex, self.head)) + r" \\",
                r"\midrule",
                *(" & ".join(cells) + r" \\" for cells in rows),
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
            ]
        )

    def _marked(self, line: int, cells: Sequence[str], before: str, after: str) -> list[str]:
        return [f"{before}{cell}{after}" if (line, place) in self.best else cell for place, cell in enumerate(cells)]


def _pairs(line: Sequence[str], widths: list[int]) -> list[tuple[str, int]]:
    return list(zip(line, widths, strict=True))


def _tex(text: str) -> str:
    """Words as LaTeX prints them, minus signs of numbers as such."""
    parts = re.split(r"(?<![\w.])-(?=\d)", text)
    return "$-$".join("".join(TEX.get(character, character) for character in part) for part in parts)


def plus_minus(value: Any, error: Any) -> str:
    """Value and error with as many digits as the error has a right to.

    Example:
        >>> plus_minus(0.23456, 0.0123), plus_minus(12.3, 4.6), plus_minus(0.5, None), plus_minus(None, 0.1), plus_minus(1 / 3, 1e-17)
        ('0.235 ± 0.012', '12.3 ± 4.6', '0.5', '-', '0.333 ± 1e-17')
    """
    if value is None or not math.isfinite(value):
        return DASH
    if error is None or not math.isfinite(error) or error <= 0:
        return number(value)
    digits = max(0, 1 - math.floor(math.log10(error)))
    if digits > MOST_DIGITS:
        return f"{number(value)} ± {number(error)}"
    return f"{value:z.{digits}f} ± {error:.{digits}f}"
