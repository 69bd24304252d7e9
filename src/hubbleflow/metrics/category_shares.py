"""Is every kind of galaxy there, and as often as among the real ones?

With the shares p_k = n_real,k / n_real and q_k = n_generated,k / n_generated of the categories k,

    category_shares      = 1/2 sum_k |p_k - q_k|                      total variation distance
    category_shares_chi2 = sum_k (p_k - q_k)^2 / (p_k + q_k)          symmetric chi^2 distance (Le Cam; Topsoe 2000)

The first says how much: 0.1 means that a tenth of the galaxies would have to be of another kind. The second finds it sooner:
each category counts in its own scatter, so that a rare one that is missing is not drowned by how common ones stray. Where a
generator was asked for categories, these are what it was asked for, and the number says whether the request was the sky's;
where categories were read from images, what it draws. Rows without a category are left out. A category that one side lacks
is named in the note.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.bins import UNKNOWN
from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared
from hubbleflow.metrics.sample import Sample

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins

    Distance = Callable[[Float[np.ndarray, " kind"], Float[np.ndarray, " kind"]], float]


def shares(index: Int[np.ndarray, " n"], kinds: int) -> Float[np.ndarray, " kind"]:
    """Share of each category among n category numbers.

    Example:
        >>> shares(np.array([0, 0, 0, 1]), 2).tolist()
        [0.75, 0.25]
    """
    return np.bincount(index, minlength=kinds) / max(len(index), 1)


def total_variation(p: Float[np.ndarray, " kind"], q: Float[np.ndarray, " kind"]) -> float:
    """Share of galaxies that would have to be of another kind.

    Example:
        >>> round(total_variation(np.array([0.5, 0.25, 0.25]), np.array([0.75, 0.25, 0.0])), 3)
        0.25
    """
    return float(np.abs(p - q).sum() / 2)


def chi2(p: Float[np.ndarray, " kind"], q: Float[np.ndarray, " kind"]) -> float:
    """0 where the shares are the same, 2 where no category is common.

    Example:
        >>> round(chi2(np.array([0.5, 0.25, 0.25]), np.array([0.75, 0.25, 0.0])), 3)
        0.3
    """
    return float(((p - q) ** 2 / np.maximum(p + q, 1e-300)).sum())


def prepare(distance: Distance, real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """Category numbers of both sets, over the categories of either."""
    names = [sample.category[~np.isin(sample.category, list(UNKNOWN))] for sample in (real, generated)]
    if not all(len(known) for known in names):
        raise NotComputable("needs categories in both sets")
    kinds = np.unique(np.concatenate(names))
    rows = [np.searchsorted(kinds, known) for known in names]
    lacking = [
        f"no {which} galaxies of category {', '.join(sorted(set(kinds) - set(known)))}"
        for which, known in zip(("real", "generated"), names, strict=True)
        if set(kinds) - set(known)
    ]
    everywhere = [np.zeros(len(known), int) for known in names]

    def statistic(a: np.ndarray, _: np.ndarray, b: np.ndarray, __: np.ndarray) -> Measurement:
        return Measurement(distance(shares(a, len(kinds)), shares(b, len(kinds))), np.full((len(kinds), len(bins)), np.nan))

    note = "; ".join(lacking) or None
    return Prepared(statistic, tuple(map(str, kinds)), rows[0], everywhere[0], rows[1], everywhere[1], note=note)


METRICS = (
    Metric(
        "category_shares",
        "Is every kind of galaxy there as often as among the real ones (0.1: a tenth would have to be of another kind)?",
        "comparison",
        "low",
        "",
        "total variation distance",
        partial(prepare, total_variation),
    ),
    Metric(
        "category_shares_chi2",
        "Is every kind of galaxy there as often as among the real ones, each in its own scatter (0: the same, 2: nothing in common)?",
        "comparison",
        "low",
        "",
        "symmetric chi^2 distance, Topsoe 2000",
        partial(prepare, chi2),
    ),
)
