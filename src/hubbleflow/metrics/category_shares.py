"""Is every kind of galaxy there, and as often as among the real ones?

Total variation distance between the shares of the categories,

    category_shares = 1/2 sum over k of |n_real,k / n_real - n_generated,k / n_generated|

0.1 means that a tenth of the galaxies would have to be of another kind. Where a generator was asked for categories, these are what it was
asked for, and the number says whether the request was the sky's; where categories were read from images, what it draws. Rows without a
category are left out. A category that one side lacks is named in the note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.bins import UNKNOWN
from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared
from hubbleflow.metrics.sample import Sample

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins


def shares(index: Int[np.ndarray, " n"], kinds: int) -> Float[np.ndarray, " kind"]:
    """Share of each category among n category numbers.

    Example:
        >>> shares(np.array([0, 0, 0, 1]), 2).tolist()
        [0.75, 0.25]
    """
    return np.bincount(index, minlength=kinds) / max(len(index), 1)


def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
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
        differences = shares(a, len(kinds)) - shares(b, len(kinds))
        table = np.full((len(kinds), len(bins)), np.nan)
        return Measurement(float(np.abs(differences).sum() / 2), table)

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
        prepare,
    ),
)
