"""The worst galaxies: which of the generated ones are least like real galaxies of their redshift, and in what.

For each quantity x that is described (:func:`hubbleflow.metrics.morphology.described_quantities`) and each bin j of
redshift or category, with the real galaxies' quantiles Q of that bin,

    r(x) = (x - Q50) / (Q84.13 - Q50) above the median,    (x - Q50) / (Q50 - Q15.87) below it
    score of a galaxy = max over quantities |r(x)|

which for a Gaussian is the distance in standard deviations, which twenty absurd real galaxies do not move, and which
does not call the long side of a skewed distribution odd. Real galaxies get the same score, and the largest of theirs
is told beside it: what lies beyond that has no precedent in the real set.

Flagged numbers have no score (`flagged_fraction` counts them), nor have galaxies in no bin, nor bins of fewer than 20
real galaxies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.metrics.sample import rows_in_bins

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins
    from hubbleflow.metrics.examples import Pictures
    from hubbleflow.metrics.sample import Sample

FEWEST = 20  # real galaxies of a bin, for its quantiles to mean something
SHOWN = 10
MEDIAN, BELOW, ABOVE, LOW, HIGH = range(5)
QUANTILES = (50.0, 15.87, 84.13, 2.5, 97.5)


@dataclass(frozen=True)
class Fault:
    """What is odd about one generated galaxy.

    Attributes:
        row: of the generated set.
        quantity, label: column, and what it is called.
        value: its own.
        low, high: what the central 95 % of real galaxies of its bin have.
        score: distance from the real galaxies' median in their robust standard deviations, negative below it.
        bin: label of its bin.
    """

    row: int
    quantity: str
    label: str
    value: float
    low: float
    high: float
    score: float
    bin: str


@dataclass(frozen=True)
class Worst:
    """The generated galaxies that are furthest from the real ones.

    Attributes:
        faults: worst first.
        largest_real: largest score of a real galaxy; NaN where none has a score.
        beyond: how many generated galaxies exceed that, of how many `scored`.
        pictures: of the galaxies of `faults`, in their order; None where there are no images.
    """

    faults: tuple[Fault, ...] = ()
    largest_real: float = np.nan
    beyond: int = 0
    scored: int = 0
    pictures: Pictures | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """For metrics.json."""
        galaxies = [{name: value for name, value in vars(fault).items() if name != "label"} for fault in self.faults]
        return {"largest_score_of_a_real_galaxy": self.largest_real, "beyond": self.beyond, "scored": self.scored, "galaxies": galaxies}


def find_worst(real: Sample, generated: Sample, bins: Bins, labels: Mapping[str, str], number: int = SHOWN) -> Worst:
    """The generated galaxies with the largest scores, without pictures.

    Args:
        labels: column -> what it is called, of the quantities that are looked at.

    Example:
        >>> from hubbleflow.metrics.bins import choose_bins
        >>> from hubbleflow.metrics.sample import Sample
        >>> from hubbleflow.survey import Survey
        >>> sky = Sample(Survey.get("hsc-i"), {}, {"i_mag": np.linspace(20, 22, 201)})
        >>> made = Sample(Survey.get("hsc-i"), {}, {"i_mag": np.array([21.0, 30.0, 20.5])})
        >>> (fault, *_) = (found := find_worst(sky, made, choose_bins(sky, made), {"i_mag": "i magnitude"})).faults
        >>> fault.row, round(fault.score, 1), found.beyond
        (1, 13.2, 1)
    """
    names = list(labels)
    scales = _quantiles(real.matrix(names), bins.real, len(bins))
    ours, theirs = (_residuals(s.matrix(names), index, scales) for s, index in ((real, bins.real), (generated, bins.generated)))
    (_, real_score), (quantity, score) = _largest(ours), _largest(theirs)
    known = real_score[np.isfinite(real_score)]
    largest_real = float(known.max()) if len(known) else np.nan
    order = np.argsort(-np.where(np.isfinite(score), score, -np.inf), kind="stable")[: min(number, int(np.isfinite(score).sum()))]
    faults = []
    for row in order.tolist():
        name, cell = names[quantity[row]], scales[:, bins.generated[row], quantity[row]]
        value, signed = float(generated.trusted(name)[row]), float(theirs[row, quantity[row]])
        faults.append(Fault(row, name, labels[name], value, float(cell[LOW]), float(cell[HIGH]), signed, bins.labels[bins.generated[row]]))
    return Worst(tuple(faults), largest_real, int((score > largest_real).sum()), int(np.isfinite(score).sum()))


def _quantiles(values: Float[np.ndarray, "n q"], index: Int[np.ndarray, " n"], bins: int) -> Float[np.ndarray, "quantile bin q"]:
    """Of the real galaxies of each bin; a last, unused bin of NaN is for galaxies in none."""
    found = np.full((len(QUANTILES), bins + 1, values.shape[1]), np.nan)
    for number, rows in enumerate(rows_in_bins(index, bins)):
        for column in range(values.shape[1]):
            cell = values[rows, column]
            cell = cell[np.isfinite(cell)]
            if len(cell) >= FEWEST:
                found[:, number, column] = np.percentile(cell, QUANTILES)
    return found


def _residuals(
    values: Float[np.ndarray, "n q"], index: Int[np.ndarray, " n"], scales: Float[np.ndarray, "quantile bin q"]
) -> Float[np.ndarray, "n q"]:
    """r(x), NaN where the number is not to be trusted or the real galaxies of its bin do not scatter."""
    away = values - scales[MEDIAN, index]
    width = np.where(away > 0, scales[ABOVE, index] - scales[MEDIAN, index], scales[MEDIAN, index] - scales[BELOW, index])
    return np.where(width > 0, away / np.where(width > 0, width, 1.0), np.nan)


def _largest(residuals: Float[np.ndarray, "n q"]) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Each galaxy's oddest quantity and its score, NaN where it has none."""
    size = np.abs(residuals)
    column = np.argmax(np.where(np.isnan(size), -1.0, size), axis=1) if size.shape[1] else np.zeros(len(size), int)
    return column, size[np.arange(len(size)), column] if size.shape[1] else np.full(len(size), np.nan)
