"""My metric: <the question, in a line>  (<Author et al. year>, eq. <number>)

    T(a, b) = < |median_j(a) - median_j(b)| >_j        over redshift (or category) bins j

Copy this file to src/hubbleflow/metrics/<question>.py and replace what it asks: it compares the median magnitudes of
the two sets. Errors, floors and the table in the report are made from `prepare` and `statistic` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared, mean_of_finite, prepare_rows
from hubbleflow.metrics.sample import Sample, reference, rows_in_bins, shared

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins

FEWEST_IN_A_BIN = 5


def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """One row of numbers a galaxy: here its magnitude in the reference band, NaN where the measurement is flagged."""
    names = shared(real, generated, reference(real, "mag"))
    if not names:
        raise NotComputable("needs measured magnitudes in both sets: run measure on both")

    def statistic(
        a: Float[np.ndarray, "n 1"],
        a_bins: Int[np.ndarray, " n"],
        b: Float[np.ndarray, "m 1"],
        b_bins: Int[np.ndarray, " m"],
    ) -> Measurement:
        table = np.abs(_medians(a, a_bins, len(bins)) - _medians(b, b_bins, len(bins)))[None]
        return Measurement(mean_of_finite(table), table)

    return prepare_rows(real.matrix(names), generated.matrix(names), bins, statistic, names)


def _medians(rows: Float[np.ndarray, "n 1"], index: Int[np.ndarray, " n"], bins: int) -> Float[np.ndarray, " bin"]:
    """Median of each bin, NaN where it holds too few galaxies."""
    members = rows_in_bins(index, bins)
    return np.array([np.median(rows[rows_j, 0]) if len(rows_j) >= FEWEST_IN_A_BIN else np.nan for rows_j in members])


METRICS = (
    Metric(
        name="my_metric",  # its key in metrics.json
        question="How far apart are the median magnitudes of real and generated galaxies?",
        kind="comparison",
        better="low",
        unit="mag",
        source="Author et al. year, eq. number",
        prepare=prepare,
    ),
)
