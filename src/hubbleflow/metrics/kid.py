"""Kernel distance in a redshift network's features: the unbiased one (Binkowski et al. 2018).

    KID = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j),      k(x, y) = (x . y / d + 1)^3

the squared maximum mean discrepancy of features x of m real and y of m generated images, with the paper's cubic kernel: it compares means,
covariances and third moments. Its expectation for two samples of one population is 0 at any m, unlike the Frechet distance's, and it may
be negative: as floor it is, a little, because both sides are given the same redshifts (:mod:`hubbleflow.metrics.features`) and so are more
alike than by chance. At most 2,000 galaxies a side enter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.features import prepare_features
from hubbleflow.metrics.metric import Measurement, Metric, Prepared
from hubbleflow.metrics.sample import Sample

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.metrics.bins import Bins

LARGEST = 2000
FEWEST = 50


def kernel_distance(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> float:
    """KID between two samples, rows of features.

    Example:
        >>> x, y = np.array([[1.0], [-1.0]]), np.array([[0.0], [0.0]])
        >>> kernel_distance(x, y)  # k(1, -1) + k(0, 0) - 2 k(x, 0) = 0 + 1 - 2
        -1.0
    """
    inner = [_mean(x, x), _mean(y, y)]
    return inner[0] + inner[1] - 2 * float(_kernel(x, y).mean())


def _kernel(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    k = x @ y.T / x.shape[1] + 1
    return k * k * k


def _mean(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n d"]) -> float:
    """Over pairs of different rows."""
    k = _kernel(x, y)
    return float((k.sum() - np.trace(k)) / (len(x) * (len(x) - 1)))


def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """Features of both sets."""
    nowhere = np.full((1, len(bins)), np.nan)
    return prepare_features(
        real, generated, bins, lambda a, i, b, j: Measurement(kernel_distance(a, b), nowhere), "features", lambda d: FEWEST
    )


METRICS = (
    Metric(
        "kid_redshift_cnn",
        "Do images look alike to a network that reads redshifts, by a distance without the bias of small samples?",
        "comparison",
        "low",
        "",
        "Binkowski et al. 2018, with features of a redshift network",
        prepare,
        largest=LARGEST,
    ),
)
