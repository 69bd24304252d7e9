"""Frechet distance in a redshift network's features: do real and generated images have the same mean and covariance there?

    FD = |mu_real - mu_gen|^2 + Tr(S_real + S_gen - 2 (S_real S_gen)^(1/2))

the squared Wasserstein-2 distance of two Gaussians (Dowson & Landau 1982), with mu and S (over m - 1) of the features of m galaxies each
(Heusel et al. 2017, who take Inception's). Here the features are those of the network that reads redshifts, which sees all bands as they
are. In float64: with S = R^T R, Tr (S_a S_b)^(1/2) is the sum of the singular values of R_a R_b^T, so no root of a matrix that is not
symmetric is ever taken.

Finite samples make it too large (Binkowski et al. 2018; Chong & Forsyth 2020). To first order in 1/m, with eigenvalues l_i of S, two
samples of m from one Gaussian have

    E FD = (1/m) (2 sum_i l_i + sum_i l_i / 2 + sum_ij l_i l_j / (l_i + l_j))

that is 2.5 d/m + d^2/(2m) for d features of unit variance. Fewer than 2 d galaxies a side are refused; above, the floor has the same bias
(and both have a little less of it than that, because both sides are given the same redshifts: :mod:`hubbleflow.metrics.features`).

It sees means and covariances only: features of another shape with the same two moments are at distance 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.features import prepare_features
from hubbleflow.metrics.metric import Measurement, Metric, Prepared
from hubbleflow.metrics.sample import Sample, rows_in_bins

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins

A_FEATURE = 2  # galaxies a side for each feature, at least


def frechet_distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
    """FD between two samples, rows of features.

    Example:
        >>> a = np.array([[-1.0], [1.0]]) / np.sqrt(2)  # mean 0, variance 1
        >>> round(frechet_distance(a, 3 * a + 2), 12)  # (0 - 2)^2 + (1 - 3)^2
        8.0
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    roots = _root(a), _root(b)
    between = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    return float(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + sum((root**2).sum() for root in roots) - 2 * between)


def _root(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "k d"]:
    """R with R^T R the covariance of x, of min(n, d) rows."""
    centred = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    if len(x) <= x.shape[1]:
        return centred
    values, vectors = np.linalg.eigh(centred.T @ centred)
    return np.sqrt(np.maximum(values, 0))[:, None] * vectors.T


def small_sample_bias(covariance: Float[np.ndarray, "d d"], m: int) -> float:
    """FD to be expected between two samples of m galaxies of one Gaussian, to first order in 1/m.

    Example:
        >>> round(small_sample_bias(np.eye(32), 1000), 3)
        0.592
    """
    values = np.maximum(np.linalg.eigvalsh(covariance), 0)
    total = values[:, None] + values[None, :]
    pairs = np.divide(values[:, None] * values[None, :], total, out=np.zeros_like(total), where=total > 0).sum()
    return float((2.5 * values.sum() + pairs) / m)


def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """Features of both sets."""
    return prepare_features(
        real, generated, bins, lambda a, i, b, j: _statistic(a, i, b, j, len(bins)), "features", lambda d: max(20, A_FEATURE * d)
    )


def _statistic(
    a: Float[np.ndarray, "n d"], a_bins: Int[np.ndarray, " n"], b: Float[np.ndarray, "m d"], b_bins: Int[np.ndarray, " m"], bins: int
) -> Measurement:
    """FD over all galaxies, and in each bin that has enough of them."""
    table = np.full((1, bins), np.nan)
    for column, (rows_a, rows_b) in enumerate(zip(rows_in_bins(a_bins, bins), rows_in_bins(b_bins, bins), strict=True)):
        if min(len(rows_a), len(rows_b)) >= A_FEATURE * a.shape[1]:
            table[0, column] = frechet_distance(a[rows_a], b[rows_b])
    return Measurement(frechet_distance(a, b), table)


METRICS = (
    Metric(
        "frechet_redshift_cnn",
        "Do images look alike to a network that reads redshifts: have its features the real mean and covariance?",
        "comparison",
        "low",
        "",
        "Heusel et al. 2017, with features of a redshift network; Dowson & Landau 1982",
        prepare,
    ),
)
