"""Vendi score: of how many kinds, evenly drawn, would a set be that is as varied as this one?  (Friedman & Dieng 2023)

    VS = exp(-sum_i l_i ln l_i),       l_i the eigenvalues of K / n,      K_ij = x_i . x_j

with x_i the features of image i in a redshift network, as unit vectors: 1 if all are the same, d if they point evenly in all directions.
The features are first taken from the real set's mean in units of its scatter, else all cosines would be near 1. A generated set should be
as varied as the real one, no less (galaxies that are all alike) and no more (noise is varied).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.features import prepare_features
from hubbleflow.metrics.metric import Measurement, Metric, Prepared
from hubbleflow.metrics.sample import Sample, rows_in_bins

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins

FEWEST, FEWEST_IN_A_CELL = 50, 20


def vendi_score(x: Float[np.ndarray, "n d"]) -> float:
    """Effective number of different rows, by the cosines between them.

    Example:
        >>> round(vendi_score(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])), 12)
        2.0
    """
    length = np.linalg.norm(x, axis=1, keepdims=True)
    unit = np.divide(x, length, out=np.zeros_like(x), where=length > 0)
    shares = np.linalg.eigvalsh(unit.T @ unit / len(x))  # of the d x d matrix: those of K / n that are not 0
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """Features of both sets, from the real set's mean in units of its scatter."""
    prepared = prepare_features(real, generated, bins, partial(_statistic, len(bins)), "features", lambda d: FEWEST)
    mean, scatter = prepared.real.mean(axis=0), prepared.real.std(axis=0)
    scale = np.where(scatter > 0, scatter, 1.0)
    return replace(prepared, real=(prepared.real - mean) / scale, generated=(prepared.generated - mean) / scale)


def _statistic(bins: int, x: Float[np.ndarray, "n d"], index: Int[np.ndarray, " n"]) -> Measurement:
    cells = [x[rows] for rows in rows_in_bins(index, bins)]
    return Measurement(vendi_score(x), np.array([[vendi_score(cell) if len(cell) >= FEWEST_IN_A_CELL else np.nan for cell in cells]]))


METRICS = (
    Metric(
        "vendi_redshift_cnn",
        "Are generated images as varied as real ones, to a redshift network?",
        "single",
        "high",
        "kinds",
        "Friedman & Dieng 2023, with features of a redshift network",
        prepare,
    ),
)
