"""Other conditions: does a galaxy asked to be bright come out bright?

For every numeric condition q that the generated set was asked for (column `asked_q`, or a column of the measured
quantity's own name) and that is measured on the images too, Spearman's rank correlation of asked and measured, averaged
over the conditions. There is no real-against-real floor: the request of a real galaxy usually *is* its measurement.
Where the real set carries an independent value (an archive's or a simulator's column of that name), the correlation of
that with our measurement is given as `real`: what a perfect generator can be expected to reach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared, mean_of_finite, prepare_rows
from hubbleflow.metrics.redshift_loss import FEWEST_IN_A_CELL, spearman
from hubbleflow.metrics.sample import Sample, finite, rows_in_bins

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins


def asked_quantities(generated: Sample) -> dict[str, str]:
    """Measured quantity -> column that says what was asked of it.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> made = Sample(Survey.get("hsc-i"), {"asked_i_mag": np.array([20.0])}, {"i_mag": np.array([20.1])})
        >>> asked_quantities(made)
        {'i_mag': 'asked_i_mag'}
    """
    asked = {}
    for column, values in generated.columns.items():
        quantity = column.removeprefix("asked_")
        if quantity in generated.measured and np.asarray(values).dtype.kind in "iuf":
            asked[quantity] = column
    return asked


def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """(asked, measured) of each quantity side by side."""
    asked = {quantity: column for quantity, column in asked_quantities(generated).items() if quantity in real.measured}
    if not asked:
        raise NotComputable("no numeric condition other than redshift was asked for that is also measured")
    made = _pairs(generated, asked)
    known = {quantity: name for quantity in asked for name in (f"asked_{quantity}", quantity) if name in real.columns}
    own = {quantity: known.get(quantity, "") for quantity in asked}
    note = None if all(own.values()) else "the real set has no independent value of " + ", ".join(q for q in asked if not own[q])
    return prepare_rows(
        _pairs(real, own),
        made,
        bins,
        lambda x, index: _measure(x, index, len(bins)),
        tuple(asked),
        note=note,
        binned_only=False,
    )


def _pairs(sample: Sample, asked: dict[str, str]) -> Float[np.ndarray, "n two_q"]:
    measured = sample.matrix(list(asked))
    wanted = [finite(sample.columns[name]) if name else measured[:, number] for number, name in enumerate(asked.values())]
    return np.concatenate([np.stack(wanted, axis=1), measured], axis=1)


def _measure(pairs: Float[np.ndarray, "n two_q"], index: Int[np.ndarray, " n"], bins: int) -> Measurement:
    quantities = pairs.shape[1] // 2
    cells = rows_in_bins(index, bins)
    table = np.array([[_spearman(pairs[rows][:, [q, q + quantities]]) for rows in cells] for q in range(quantities)])
    return Measurement(mean_of_finite(np.array([_spearman(pairs[:, [q, q + quantities]]) for q in range(quantities)])), table)


def _spearman(pairs: Float[np.ndarray, "n 2"]) -> float:
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    return spearman(pairs[:, 1], pairs[:, 0]) if len(pairs) >= FEWEST_IN_A_CELL else float("nan")


METRICS = (
    Metric(
        "condition_spearman",
        "Do galaxies asked to be brighter, larger, ... come out so?",
        "single",
        "high",
        "",
        "rank correlation of asked and measured",
        prepare,
        floor=False,
    ),
)
