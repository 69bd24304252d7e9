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


def wasserstein_per_cell(
    a: Float[np.ndarray, "n q"],
    a_bins: Int[np.ndarray, " n"],
    b: Float[np.ndarray, "m q"],
    b_bins: Int[np.ndarray, " m"],
    bins: int,
) -> Measurement:
    """:func:`distance_per_cell` of the Wasserstein-1 distance for many quantities: all of a bin at once.

    The two inverse distribution functions are compared at the larger sample's ranks: exact for samples of one size, and to one rank of
    the larger otherwise.

    Example:
        >>> from scipy.stats import wasserstein_distance
        >>> rng, zeros = np.random.default_rng(0), np.zeros(60, int)
        >>> a, b = rng.normal(0, 1, (60, 3)), rng.normal(0.2, 1.5, (60, 3))
        >>> expected = distance_per_cell(wasserstein_distance, a, zeros, b, zeros, 1).table
        >>> bool(np.allclose(wasserstein_per_cell(a, zeros, b, zeros, 1).table, expected))
        True
    """
    table = np.full((a.shape[1], bins), np.nan)
    for column, (rows_a, rows_b) in enumerate(zip(rows_in_bins(a_bins, bins), rows_in_bins(b_bins, bins), strict=True)):
        if min(len(rows_a), len(rows_b)) >= FEWEST:
            table[:, column] = _wasserstein_of_columns(a[rows_a], b[rows_b])
    return Measurement(mean_of_finite(mean_of_finite(table, axis=1)), table)


def _wasserstein_of_columns(a: Float[np.ndarray, "n q"], b: Float[np.ndarray, "m q"]) -> Float[np.ndarray, " q"]:
    """W1 of each column over its finite values; NaN under 10 a side."""
    ranks = max(len(a), len(b))
    levels = (np.arange(ranks) + 0.5)[:, None] / ranks
    inverse, known = [], []
    for values in (a, b):
        finite = np.isfinite(values)
        number = finite.sum(axis=0)
        ranked = np.sort(np.where(finite, values, np.inf), axis=0)
        inverse.append(np.take_along_axis(ranked, np.minimum((levels * number).astype(int), len(values) - 1), axis=0))
        known.append(number)
    enough = np.minimum(*known) >= FEWEST
    return np.where(enough, np.abs(np.where(enough, inverse[0] - inverse[1], 0)).mean(axis=0), np.nan)


def kolmogorov_smirnov(p: Float[np.ndarray, " n"], q: Float[np.ndarray, " m"]) -> float:
    """The largest distance between two cumulative distributions, max_x |F_p(x) - F_q(x)|.

    Example:
        >>> kolmogorov_smirnov(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.5, 2.0, 3.0, 4.0]))
        0.5
    """
    steps = np.concatenate([p, q])
    below = [np.searchsorted(np.sort(values), steps, side="right") / len(values) for values in (p, q)]
    return float(np.abs(below[0] - below[1]).max())
