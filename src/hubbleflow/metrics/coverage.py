"""Precision, recall, density, coverage: are generated images where real ones are, and are there some wherever real ones are?

In a redshift network's features, with real x_i and generated y_j, m of each, and B_k(x) the ball around x that reaches its k-th nearest
neighbour in its own set:

    precision = mean_j [y_j in any B_3(x_i)]           share of generated images that could be real           Kynkaanniemi et al. 2019
    recall    = mean_i [x_i in any B_3(y_j)]           share of real images that could be generated
    density   = mean_j #{i: y_j in B_5(x_i)} / 5       how many real ones each generated one is among         Naeem et al. 2020
    coverage  = mean_i [any y_j in B_5(x_i)]           share of real images with a generated one near

High is good; between two samples of one population density has expectation 1, and coverage (Naeem et al., eq. 9)

    1 - (m - 1) ... (m - 5) / ((2m - 1) ... (2m - 5))         0.969 for large m

while precision and recall depend on the features: their floors say what is to be expected. One real outlier with a large ball makes
precision generous; density and coverage were made to mend that. All four are blind to what is right in itself and wrong for its redshift.
Both sides are given the same redshifts (:mod:`hubbleflow.metrics.features`); the balls are those of all bins. At most 2,000 galaxies a
side enter.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.features import prepare_features
from hubbleflow.metrics.metric import Measurement, Metric, Prepared
from hubbleflow.metrics.sample import Sample, rows_in_bins

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins

    # (real, generated) -> a number for each generated (each real) galaxy, whose mean it is
    Each = Callable[[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]], Float[np.ndarray, " k"]]

PRECISION_K, DENSITY_K = 3, 5
LARGEST, SPLITS = 2000, 20
FEWEST, FEWEST_IN_A_CELL = 50, 10


def precision(real: Float[np.ndarray, "n d"], generated: Float[np.ndarray, "m d"], k: int = PRECISION_K) -> Float[np.ndarray, " m"]:
    """1 for each generated row within any real row's ball, else 0.

    Example:
        >>> line = np.arange(6.0)[:, None]  # balls of radius 1, in the middle, to 2, at the ends, with k = 2
        >>> precision(line, np.array([[2.5], [7.0], [7.5]]), k=2).tolist()
        [1.0, 1.0, 0.0]
    """
    return (_squared_distances(generated, real) <= _squared_radii(real, k)).any(axis=1).astype(float)


def recall(real: Float[np.ndarray, "n d"], generated: Float[np.ndarray, "m d"], k: int = PRECISION_K) -> Float[np.ndarray, " n"]:
    """1 for each real row within any generated row's ball, else 0."""
    return precision(generated, real, k)


def density(real: Float[np.ndarray, "n d"], generated: Float[np.ndarray, "m d"], k: int = DENSITY_K) -> Float[np.ndarray, " m"]:
    """In how many real rows' balls each generated row is, over k."""
    return (_squared_distances(generated, real) <= _squared_radii(real, k)).sum(axis=1) / k


def coverage(real: Float[np.ndarray, "n d"], generated: Float[np.ndarray, "m d"], k: int = DENSITY_K) -> Float[np.ndarray, " n"]:
    """1 for each real row whose ball holds a generated row, else 0."""
    return (_squared_distances(real, generated).min(axis=1) <= _squared_radii(real, k)).astype(float)


def _squared_distances(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    return np.maximum((a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1), 0)


def _squared_radii(x: Float[np.ndarray, "n d"], k: int) -> Float[np.ndarray, " n"]:
    """To the k-th nearest other row."""
    distances = _squared_distances(x, x)
    np.fill_diagonal(distances, -1.0)  # itself comes first, also where rounding puts a twin at a distance below 0
    return np.partition(distances, k, axis=1)[:, k]


def _metric(name: str, question: str, source: str, each: Each, of_real: bool) -> Metric:
    def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
        return prepare_features(real, generated, bins, partial(_statistic, each, of_real, len(bins)), name, lambda d: FEWEST)

    return Metric(f"{name}_redshift_cnn", question, "comparison", "high", "", source, prepare, splits=SPLITS, largest=LARGEST)


def _statistic(
    each: Each,
    of_real: bool,
    bins: int,
    a: Float[np.ndarray, "n d"],
    a_bins: Int[np.ndarray, " n"],
    b: Float[np.ndarray, "m d"],
    b_bins: Int[np.ndarray, " m"],
) -> Measurement:
    found = each(a, b)
    cells = [found[rows] for rows in rows_in_bins(a_bins if of_real else b_bins, bins)]
    return Measurement(float(found.mean()), np.array([[cell.mean() if len(cell) >= FEWEST_IN_A_CELL else np.nan for cell in cells]]))


METRICS = (
    _metric(
        "precision", "What share of generated images could be real, to a redshift network?", "Kynkaanniemi et al. 2019", precision, False
    ),
    _metric("recall", "What share of real images could be generated, to a redshift network?", "Kynkaanniemi et al. 2019", recall, True),
    _metric("density", "Are generated images where real ones are dense, to a redshift network?", "Naeem et al. 2020", density, False),
    _metric("coverage", "What share of real images has a generated one near, to a redshift network?", "Naeem et al. 2020", coverage, True),
)
