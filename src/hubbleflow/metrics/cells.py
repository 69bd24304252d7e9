"""A distance between two samples, cell by cell: each quantity in each bin of redshift or category."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.metric import Measurement, mean_of_finite
from hubbleflow.metrics.sample import rows_in_bins

if TYPE_CHECKING:
    from jaxtyping import Float, Int

FEWEST = 10  # galaxies a side


def distance_per_cell(
    distance: Callable[[np.ndarray, np.ndarray], float],
    a: Float[np.ndarray, "n q"],
    a_bins: Int[np.ndarray, " n"],
    b: Float[np.ndarray, "m q"],
    b_bins: Int[np.ndarray, " m"],
    bins: int,
) -> Measurement:
    """The distance of each quantity in each bin (NaN under 10 galaxies a side), and the mean of the quantities' means over bins.

    Example:
        >>> from scipy.stats import wasserstein_distance
        >>> x, zeros = np.linspace(0, 1, 50)[:, None], np.zeros(50, int)
        >>> round(distance_per_cell(wasserstein_distance, x, zeros, x + 0.25, zeros, 1).overall, 6)
        0.25
    """
    table = np.full((a.shape[1], bins), np.nan)
    for column, (rows_a, rows_b) in enumerate(zip(rows_in_bins(a_bins, bins), rows_in_bins(b_bins, bins), strict=True)):
        for row in range(a.shape[1]):
            p, q = (values[np.isfinite(values)] for values in (a[rows_a, row], b[rows_b, row]))
            if min(len(p), len(q)) >= FEWEST:
                table[row, column] = distance(p, q)
    return Measurement(mean_of_finite(mean_of_finite(table, axis=1)), table)
