"""What a network makes of every galaxy, as rows for a metric; which network is the caller's business (`evaluate(features=...)`).

A network that reads redshifts sees redshift before all else: two samples of one sky differ most by how many near and far galaxies they
happen to have. So splits are drawn bin by bin, the same number of galaxies on both sides at each redshift (or of each category): what
remains is whether images look right for their redshift. How many a set has at which redshift is not judged here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.metric import Measurement, NotComputable, Prepared, prepare_rows
from hubbleflow.metrics.sample import Sample

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.metrics.bins import Bins

REDSHIFT_CNN = "redshift-cnn"  # what a network that reads redshifts off the images makes of them in its last hidden layers
NEEDED = "needs what a redshift network makes of every image: give a redshift model, or enough real galaxies with redshifts to train one"


def prepare_features(
    real: Sample, generated: Sample, bins: Bins, statistic: Callable[..., Measurement], quantity: str, a_side: Callable[[int], int]
) -> Prepared:
    """Features of the galaxies that the network has not been trained on; `a_side` says how many a side a statistic of d features needs.

    Raises:
        NotComputable: there are no features, or not the same ones of both sets.
    """
    rows = [sample.features.get(REDSHIFT_CNN) for sample in (real, generated)]
    if rows[0] is None or rows[1] is None:
        raise NotComputable(NEEDED)
    a, b = (whole_rows(np.asarray(values, float)) for values in rows)
    if a.shape[1] != b.shape[1]:
        raise NotComputable(f"the real galaxies have {a.shape[1]} features and the generated ones {b.shape[1]}: use one network for both")
    prepared = prepare_rows(a, b, bins, statistic, (quantity,), a_side(a.shape[1]))
    counts = [np.bincount(index, minlength=len(bins)) for index in (prepared.real_bins, prepared.generated_bins)]
    m = int(np.minimum(counts[0] // 2, counts[1]).sum())
    if m < prepared.minimum:
        alike = {"redshift": " of the same redshifts", "category": " of the same categories"}.get(bins.kind, "")
        raise NotComputable(
            f"needs {prepared.minimum} galaxies a side{alike}, has {m} ({counts[0].sum()} real ones, half a side, and {counts[1].sum()} "
            "generated): give larger sets"
        )
    return replace(prepared, strata=bins)


def whole_rows(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Rows with one number that is not finite are all NaN: a galaxy that a network cannot read has no features."""
    return np.where(np.isfinite(rows).all(axis=1, keepdims=True), rows, np.nan)
