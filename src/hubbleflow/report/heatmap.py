"""Where it fails: how far every quantity of every metric lies above chance, in each bin of redshift (or category).

A cell is z = (distance - floor) / floor_error of that cell alone. A report has hundreds of cells, so some are above 3 by
chance; what to look for are rows and columns of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from hubbleflow.metrics.corrections import tail_probability
from hubbleflow.report.drawing import Drawing, figure

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.metrics.evaluate import Report

STEPS = (2.0, 3.0, 5.0, 10.0, 20.0)  # z at which the colour changes
COLOURS = ("#eceff1", "#fdddb0", "#fdb366", "#e4692f", "#ad2a17", "#5c0410")  # darker is further: readable without colour vision
ALARM = 3.0
MOST_ROWS = 24


@dataclass(frozen=True)
class Cells:
    """z of every cell; a row is a quantity of a metric, the rows with the largest z first.

    Attributes:
        rows, bins: names.
        metrics: which metric each row is of.
        z: NaN where a cell has too few galaxies.
    """

    rows: tuple[str, ...]
    metrics: tuple[str, ...]
    bins: tuple[str, ...]
    z: Float[np.ndarray, "row bin"]


def cells(report: Report) -> Cells | None:
    """Of all metrics that were compared in the report's bins; None where there is one bin only."""
    found: list[tuple[str, str, np.ndarray]] = []
    for result in report.results.values():
        z = result.cell_z()
        if z is None or result.per_bin is None or len(report.bins) < 2 or tuple(result.per_bin["bins"]) != report.bins.labels:
            continue
        for quantity, line in zip(result.per_bin["quantities"], z, strict=True):
            if np.isfinite(line).any():
                found.append((result.name if len(z) == 1 else f"{result.name}: {quantity}", result.name, line))
    if not found:
        return None
    rows, metrics, lines = zip(*sorted(found, key=lambda row: -np.nanmax(row[2])), strict=True)
    return Cells(rows, metrics, report.bins.labels, np.stack(lines))


def heat_map(found: Cells, splits: int) -> Drawing:
    """The cells as a picture with numbers in it: of each metric the row with the largest z."""
    chosen = [number for number, metric in enumerate(found.metrics) if found.metrics.index(metric) == number][:MOST_ROWS]
    shown = found.z[chosen]
    rows, bins = shown.shape
    with figure(3.2 + 0.85 * bins, 0.9 + 0.22 * rows) as fig:
        ax = fig.subplots()
        steps = np.ma.masked_where(~np.isfinite(shown), np.searchsorted(STEPS, shown, side="right"))
        ax.pcolormesh(steps, cmap=ListedColormap(list(COLOURS)), vmin=-0.5, vmax=len(COLOURS) - 0.5)
        for row, column in np.argwhere(np.isfinite(shown)).tolist():
            z = shown[row, column]
            ax.text(column + 0.5, row + 0.5, words(z), ha="center", va="center", fontsize=7, color=ink_on(colour_of(z)))
        ax.set_xticks(np.arange(bins) + 0.5, found.bins, fontsize=8)
        ax.set_yticks(np.arange(rows) + 0.5, [found.rows[number] for number in chosen], fontsize=8)
        ax.tick_params(length=0)
        ax.invert_yaxis()
        ax.xaxis.tick_top()
        for spine in ax.spines.values():
            spine.set_visible(False)
        names = [f"z < {STEPS[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(STEPS)), f"above {STEPS[-1]:g}"]
        patches = [Patch(facecolor=colour, label=name) for colour, name in zip(COLOURS, names, strict=True)]
        ax.legend(handles=patches, ncols=len(patches), loc="upper center", bbox_to_anchor=(0.5, 0), fontsize=8, handlelength=1.2)
    number, above = int(np.isfinite(found.z).sum()), int((found.z > ALARM).sum())
    worst = divmod(int(np.nanargmax(found.z)), bins)
    rest = (
        f" Of each metric its worst quantity, {MOST_ROWS} at most; the table has all {len(found.rows)}." if len(found.rows) > rows else ""
    )
    return Drawing(
        "heat_map",
        fig,
        "Where it fails",
        f"z of {rows} quantities in {bins} bins: {above} of {number} cells exceed {ALARM:g}; largest is {words(found.z[worst])}, "
        f"{found.rows[worst[0]]} at {found.bins[worst[1]]}. All numbers are in the table below the figure.",
        "How far each quantity lies above real against real in each bin, in the floor's scatter of that cell (z); pale is chance, blank "
        f"has too few galaxies. {above} of {number} cells exceed {ALARM:g}; chance alone gives about "
        f"{number * tail_probability(ALARM, splits):.1f}.{rest} Metrics with bins of their own stand under Bin by bin.",
    )


def words(z: float) -> str:
    """z as it stands in a cell: a digit behind the point below 10.

    Example:
        >>> words(2.345), words(12.6), words(-0.04), words(float("nan"))
        ('2.3', '13', '0.0', '-')
    """
    if not np.isfinite(z):
        return "-"
    return f"{z:.0f}" if abs(z) >= 9.95 else f"{z:z.1f}"


def colour_of(z: float) -> str:
    """Colour of a cell."""
    return COLOURS[int(np.searchsorted(STEPS, z, side="right"))]


def ink_on(colour: str) -> str:
    """Black or white, whichever is read more easily on a colour.

    Example:
        >>> ink_on("#eceff1"), ink_on("#5c0410")
        ('#000000', '#ffffff')
    """
    light = luminance(colour)
    return "#000000" if (light + 0.05) / 0.05 > 1.05 / (light + 0.05) else "#ffffff"


def luminance(colour: str) -> float:
    """Relative luminance of a colour (WCAG 2.2)."""
    parts = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
