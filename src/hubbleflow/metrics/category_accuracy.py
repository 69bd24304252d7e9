"""Category accuracy: what share of galaxies does a classifier, trained on real ones, take for what they are, or were asked to be?

    category_accuracy = mean over categories k of (share of the galaxies of k that are read as k)

Categories have equal weights, so sets need not hold them in the same proportions; the splits match sizes within each. The real set's own
accuracy stands beside it and is the mark: galaxies that are recognised more often than real ones are caricatures. The metric sees the
column `predicted_category` only; which network read it is its caller's business. Flags play no part. (A question of Fan et al. 2025; the
formula is ours.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.bins import UNKNOWN
from hubbleflow.metrics.category_consistency import categories_of
from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared, mean_of_finite
from hubbleflow.metrics.sample import Sample, rows_in_bins

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped

    from hubbleflow.metrics.bins import Bins

READ = "predicted_category"


def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """1 for each galaxy that is read as what it is, 0 for the others."""
    read = [_read(sample) for sample in (real, generated)]
    kinds, note = categories_of(real, generated, (_known(read[0]), _known(read[1])))
    right = [(category == found).astype(float)[:, None] for category, found in zip((real.category, generated.category), read, strict=True)]
    keep = [index >= 0 for index in (kinds.real, kinds.generated)]
    return Prepared(
        lambda x, index: _accuracy(x, index, len(kinds)),
        ("accuracy",),
        right[0][keep[0]],
        kinds.real[keep[0]],
        right[1][keep[1]],
        kinds.generated[keep[1]],
        note=note,
        resolution=1 / max(1, min(int(keep[0].sum()) // 2, int(keep[1].sum()))),
        strata=kinds,
    )


def _read(sample: Sample) -> Shaped[np.ndarray, " n"]:
    if READ not in sample.columns:
        raise NotComputable("needs categories read from the images of both sets: give a category model that was trained on real galaxies")
    return np.asarray(sample.columns[READ]).astype(str)


def _known(read: Shaped[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    return ~np.isin(read, list(UNKNOWN))


def _accuracy(right: Float[np.ndarray, "n 1"], index: Int[np.ndarray, " n"], kinds: int) -> Measurement:
    cells = [right[rows, 0] for rows in rows_in_bins(index, kinds)]
    table = np.array([[cell.mean() if len(cell) else np.nan for cell in cells]])
    return Measurement(mean_of_finite(table), table)


METRICS = (
    Metric(
        "category_accuracy",
        "What share of galaxies does a classifier take for what they are, or were asked to be?",
        "single",
        "high",
        "",
        "a classifier trained on real galaxies; question of Fan et al. 2025",
        prepare,
    ),
)
