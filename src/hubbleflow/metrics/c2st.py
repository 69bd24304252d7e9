"""Classifier two-sample test: can anything in the table tell generated galaxies from real ones? (Lopez-Paz & Oquab 2017)

A classifier is taught which rows of measured quantities are real and which are generated, and asked about rows that it has not seen:

    c2st_table = share of those that it gets right, real and generated counted equally: 1/2 where the sets cannot be told apart

A galaxy is the numbers of :mod:`hubbleflow.metrics.row`, each as the normal score of its rank among both sets,
Phi^-1((rank - 1/2) / n), which no outlier can stretch and which knows no label. A number that is missing is 0, and one more number says so
(1 or 0). The classifier is a quadratic one,

    sign(w0 + sum_i w_i x_i + sum_ij w_ij x_i x_j),        w = argmin sum (w.phi(x) - y)^2 + lambda |w|^2,    y = +-1

features phi scaled to unit variance: it sees shifts, widths, and how any two quantities go together, it has one solution (no seed, no
optimiser, no early stopping), and its sums over rows make cross-fitting cheap: five folds, of each of which the others' answer is asked.
The folds belong to the galaxies, so that one that a bootstrap sample holds twice is never both taught and asked.

For two Gaussians whose means are d standard deviations apart the best accuracy there is is Phi(d / 2). A small shift costs accuracy
slowly: 0.1 standard deviations are 0.52, so that metrics which look for one thing see it earlier; this one needs no name for what it sees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from hubbleflow.metrics.metric import Measurement, Metric, Prepared, prepare_rows
from hubbleflow.metrics.row import columns_of_rows, rows_of

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins
    from hubbleflow.metrics.sample import Sample

FOLDS = 5
RIDGE = 10.0  # lambda, in galaxies
FEWEST = 100  # a side
FEWEST_IN_A_CELL = 10
LARGEST = 10_000


def normal_scores(values: Float[np.ndarray, "n column"]) -> Float[np.ndarray, "n feature"]:
    """Normal score of each number among the known ones of its column, 0 where it is missing; then where numbers are missing, once each way.

    Example:
        >>> normal_scores(np.array([[10.0], [30.0], [20.0], [np.nan]])).round(2).tolist()
        [[-0.97, 0.0], [0.97, 0.0], [0.0, 0.0], [0.0, 1.0]]
    """
    known = np.isfinite(values)
    scores = np.zeros(values.shape)
    for column, rows in enumerate(known.T):
        scores[rows, column] = ndtri((rankdata(values[rows, column]) - 0.5) / max(rows.sum(), 1))
    missing = np.unique(~known, axis=1).T
    return np.stack([*scores.T, *(m.astype(float) for m in missing if 0 < m.mean() < 1)], axis=1)


def held_out_accuracy(
    x: Float[np.ndarray, "n feature"], generated: Float[np.ndarray, " n"], fold: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Whether each row is told rightly (1 or 0) by a classifier taught on the other folds.

    Example:
        >>> x = np.linspace(-1, 1, 40)[:, None]
        >>> float(held_out_accuracy(x, x[:, 0] > 0, np.arange(40) % 5).mean()) > 0.9
        True
    """
    y = np.where(generated, 1.0, -1.0)
    phi = _quadratic(x)
    folds = [np.flatnonzero(fold == number) for number in range(FOLDS)]
    products = [phi[rows].T @ phi[rows] for rows in folds]
    targets = [phi[rows].T @ y[rows] for rows in folds]
    penalty = RIDGE * np.eye(phi.shape[1])
    penalty[0, 0] = 0.0
    right = np.zeros(len(y))
    for rows, product, target in zip(folds, products, targets, strict=True):
        if len(rows) < len(y):
            weights = np.linalg.solve(sum(products) - product + penalty, sum(targets) - target)
            right[rows] = (phi[rows] @ weights > 0) == (y[rows] > 0)
    return right


def _quadratic(x: Float[np.ndarray, "n feature"]) -> Float[np.ndarray, "n term"]:
    """1, x_i and x_i x_j, of mean 0 and variance 1 but for the 1."""
    first, second = np.triu_indices(x.shape[1])
    terms = np.concatenate([x, x[:, first] * x[:, second]], axis=1)
    terms -= terms.mean(axis=0)
    spread = terms.std(axis=0)
    terms /= np.where(spread > 1e-9, spread, 1.0)
    return np.concatenate([np.ones((len(x), 1)), terms], axis=1)


def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """Normal scores of both sets together, and the fold of each galaxy as a last column."""
    names = columns_of_rows(real, generated, bins)
    scores = normal_scores(np.concatenate([rows_of(sample, names) for sample in (real, generated)]))
    fold = np.random.default_rng(0).permutation(len(scores)) % FOLDS
    rows = np.concatenate([scores, fold[:, None]], axis=1)
    n = len(real)
    return prepare_rows(
        rows[:n],
        rows[n:],
        bins,
        lambda a, i, b, j: _statistic(a, i, b, j, len(bins)),
        ("accuracy",),
        minimum=FEWEST,
        binned_only=False,
    )


def _statistic(
    a: Float[np.ndarray, "n column"],
    a_bins: Int[np.ndarray, " n"],
    b: Float[np.ndarray, "m column"],
    b_bins: Int[np.ndarray, " m"],
    bins: int,
) -> Measurement:
    rows, index = np.concatenate([a, b]), np.concatenate([a_bins, b_bins])
    generated = np.arange(len(rows)) >= len(a)
    right = held_out_accuracy(rows[:, :-1], generated, rows[:, -1].astype(int))
    sides = [_share_per_bin(right[of], index[of], bins) for of in (~generated, generated)]
    return Measurement(float(right[~generated].mean() + right[generated].mean()) / 2, (sides[0] + sides[1])[None] / 2)


def _share_per_bin(right: Float[np.ndarray, " n"], index: Int[np.ndarray, " n"], bins: int) -> Float[np.ndarray, " bin"]:
    number, hits = (np.bincount(index + 1, weights, minlength=bins + 1)[1:] for weights in (None, right))
    return np.where(number >= FEWEST_IN_A_CELL, hits / np.maximum(number, 1), np.nan)


METRICS = (
    Metric(
        "c2st_table",
        "Can a classifier tell generated galaxies from real ones by their measured quantities?",
        "comparison",
        "low",
        "",
        "classifier two-sample test: Lopez-Paz & Oquab 2017",
        prepare,
        largest=LARGEST,
    ),
)
