"""Cells of the tables of quantiles: what several fits share of their nodes, and what stands in a cell that no galaxy is in."""

from __future__ import annotations

import numpy as np

TYPE_P = np.array([0, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 1])  # probabilities of quantiles of the spectral type
MASS = np.arange(7.5, 12.1, 0.25)


def fill(values: np.ndarray, axes: tuple[int, ...] = (0, 1), rows: np.ndarray | None = None) -> None:
    """Empty cells take the nearest full one of their column (same mass or magnitude), then of their row; or the other way round.

    axes: 0 for the column, 1 for the row.
    rows: which rows to fill, in place; all of them where not given.
    """
    filled = values.copy()
    for axis in axes:
        lines = np.moveaxis(filled, axis, 0)
        for k in range(lines.shape[1]):
            full = np.flatnonzero(np.isfinite(lines[:, k, 0]))
            if len(full):
                nearest = full[np.abs(np.arange(len(lines))[:, None] - full).argmin(axis=1)]
                lines[:, k] = lines[nearest, k]
    chosen = slice(None) if rows is None else rows
    values[chosen] = filled[chosen]
