"""Recognised: what share of galaxies does a classifier, trained on real ones, take for what they are, or were asked to be?"""

from __future__ import annotations

import numpy as np

from hubbleflow.galaxies import GalaxySet
from hubbleflow.metrics import Measurement, Metric, Prepared, Report, Result
from hubbleflow.metrics.bins import Bins
from hubbleflow.metrics.metric import mean_of_finite, prepare_rows
from hubbleflow.metrics.sample import Sample, rows_in_bins
from hubbleflow.metrics.splits import judge
from hubbleflow.predictor import Predictor

FEWEST_IN_A_CELL = 8


def recognised(classifier: Predictor, real: GalaxySet, generated: GalaxySet, report: Report) -> Result:
    """The share among generated galaxies, with that of real ones beside it, each category's, error and floor.

    A floor of zero distance from the real share is the mark: galaxies that are recognised more often than real ones are caricatures.
    """
    right = [(classifier.category(galaxies) == galaxies.category).astype(float)[:, None] for galaxies in (real, generated)]

    def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
        return prepare_rows(right[0], right[1], bins, lambda x, index: _share(x, index, len(bins)), ("recognised",))

    metric = Metric(
        "recognised",
        "What share of galaxies does a classifier take for what they are, or were asked to be?",
        "single",
        "high",
        "",
        f"a {classifier.title} trained on real galaxies",
        prepare,
    )
    return judge(metric, report.real, report.generated, report.bins, report.seed, report.splits)


def _share(right: np.ndarray, index: np.ndarray, bins: int) -> Measurement:
    """Mean over categories, each of the same weight: sets need not hold them in the same proportions."""
    cells = [right[rows, 0] for rows in rows_in_bins(index, bins)]
    table = np.array([[cell.mean() if len(cell) >= FEWEST_IN_A_CELL else np.nan for cell in cells]])
    return Measurement(mean_of_finite(np.array([cell.mean() for cell in cells if len(cell)])), table)
