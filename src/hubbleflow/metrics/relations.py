"""Scaling relations: at the same magnitude and redshift, have galaxies the real sizes, colours, profiles and shapes?

For y = log10 of the half-light radius, each colour, log10 of the Sersic index, or the ellipticity (reference band; colours in its
aperture), with the reference band's magnitude m and zeta = log10(1 + z),

    y = f(m, zeta) + a + b (m - m0) + c (zeta - zeta0) + residual of scatter s                              (1)

is fitted to each set. f is the quadratic in m and zeta that fits both sets together: it takes the curvature of a relation out, so that
(1) is straight, and it is the same for both sets, so that it cancels from every difference. m0, zeta0: medians of both sets together.

    relation_*_offset      |a_gen - a_real|        are they too large, red, concentrated, flat, all other things equal?
    relation_*_slope       |b_gen - b_real|        ... the bright ones more than the faint ones?
    relation_*_evolution   |c_gen - c_real|        ... the distant ones more than the near ones?
    relation_*_scatter     |ln(s_gen / s_real)|    are they too much alike, or too various?
    relation_colour_joint  sqrt(d' C^-1 d)         d: the offsets of all colours, C: the covariance of their residuals            (2)

Of several colours the worst counts. (2) knows that colours go together: a band too bright makes a galaxy redder on one side and bluer on
the other, as no galaxy is. Where either set has no redshifts, zeta is left out and evolution has no value. In the table of bins: the
offset, slope or scatter within each bin, and for evolution how far its offset is from that of all bins.

The population's own spread in size, colour and brightness, which a distribution's distance (`w1_*`) has to see through, is gone from
the residuals: what is left is the scatter of one relation. The fits are Huber's M-estimator (Huber 1964): residuals r beyond k s0 count
by k s0 / |r|, k = 2, s0 the scatter of both sets' residuals (1.4826 times their median absolute value). s is the rms of residuals about
the fit, none counted as more than 3 s0. So a failed measurement is one galaxy, not a verdict.

Size, magnitude and redshift: Shen et al. 2003 (MNRAS 343, 978), van der Wel et al. 2014 (ApJ 788, 28), who fit log r = a + b log mass in
bins of redshift. Colour and magnitude: Bower, Lucey & Ellis 1992 (MNRAS 254, 601).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared, prepare_rows
from hubbleflow.metrics.sample import Sample, colours, finite, reference, shared

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins

    Term = Literal["offset", "slope", "evolution", "scatter", "joint"]

HUBER = 2.0  # 99 % efficient for Gaussian residuals
SCATTER_WITHIN = 3.0
ITERATIONS, ENOUGH = 50, 1e-3  # at most so many, until no fitted value moves by more than so much of the scatter
FEWEST_IN_A_CELL = 20
FEWEST = 50  # a side
COEFFICIENT: dict[Term, int] = {"offset": 0, "joint": 0, "slope": 1, "evolution": 2}


@dataclass(frozen=True)
class Relation:
    """A quantity that goes with magnitude and redshift.

    Attributes:
        columns: of a sample.
        words: for people.
        unit: of the quantity.
        source: paper.
        logarithm: whether log10 is taken.
    """

    columns: Callable[[Sample], list[str]]
    words: str
    unit: str
    source: str
    logarithm: bool = False

    def of(self, sample: Sample, names: list[str]) -> Float[np.ndarray, "n q"]:
        """The quantities, NaN where they are not trusted."""
        values = sample.matrix(names)
        return np.log10(np.where(values > 0, values, np.nan)) if self.logarithm else values


def huber(x: Float[np.ndarray, "n k"], y: Float[np.ndarray, " n"], scale: float | None = None) -> Float[np.ndarray, " k"]:
    """Huber's M-estimate of the coefficients of y on the columns of x, by iterated weights.

    Args:
        scale: scatter of the residuals; found on the way where it is not given.

    Example:
        >>> x = np.stack([np.ones(9), np.arange(9.0)], axis=1)
        >>> y = 2 + 3 * x[:, 1]
        >>> y[4] = 1e6
        >>> huber(x, y, scale=0.01).round(2).tolist()
        [2.0, 3.0]
    """
    weights = np.ones(len(y))
    coefficients = np.zeros(x.shape[1])
    for iteration in range(ITERATIONS):
        weighted = x.T * weights
        new = np.linalg.lstsq(weighted @ x, weighted @ y, rcond=None)[0]
        residual = np.abs(y - x @ new)
        s = 1.4826 * float(np.median(residual)) if scale is None else scale
        step, coefficients = np.abs(new - coefficients) @ np.abs(x).max(axis=0), new
        if iteration and step <= ENOUGH * s:
            break
        weights = np.minimum(1.0, HUBER * s / np.maximum(residual, 1e-300))
    return coefficients


def prepare(relation: Relation, term: Term, real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """Rows are the residuals of each quantity about f, then 1, m - m0 and zeta - zeta0."""
    names, (magnitude,) = shared(real, generated, relation.columns(real)), reference(real, "mag")
    if not names or not shared(real, generated, [magnitude]):
        raise NotComputable(f"needs {relation.words} and a magnitude measured in both sets")
    with_redshift = bins.kind == "redshift"
    if term == "evolution" and not with_redshift:
        raise NotComputable("needs redshifts of both sets")
    n = len(real)
    y = np.concatenate([relation.of(sample, names) for sample in (real, generated)])
    x = _about_the_middle(np.concatenate([_conditions(sample, magnitude, with_redshift) for sample in (real, generated)]))
    y = np.where(np.isfinite(x).all(axis=1, keepdims=True), y, np.nan)
    y, scales = _straightened(x, y)
    rows = np.where(np.isfinite(y).any(axis=1, keepdims=True), np.concatenate([y, x], axis=1), np.nan)
    statistic = _Statistic(term, scales, _inverse_covariance(y, scales), len(bins))
    note = None if with_redshift else "at the same magnitude: redshifts are not known"
    of = (relation.words,) if term == "joint" else names
    return prepare_rows(rows[:n], rows[n:], bins, statistic, of, minimum=FEWEST, note=note)


def _conditions(sample: Sample, magnitude: str, with_redshift: bool) -> Float[np.ndarray, "n k"]:
    """Columns 1, m and, where there are redshifts, zeta."""
    columns = [np.ones(len(sample)), sample.trusted(magnitude)]
    return np.stack([*columns, np.log10(1 + finite(sample.redshift))] if with_redshift else columns, axis=1)


def _about_the_middle(x: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """All but the ones less their medians; beyond the middle 99 %, at its edge."""
    low, middle, high = np.nanpercentile(x[:, 1:], [0.5, 50, 99.5], axis=0)
    return np.concatenate([x[:, :1], np.clip(x[:, 1:], low, high) - middle], axis=1)


def _straightened(x: Float[np.ndarray, "n k"], y: Float[np.ndarray, "n q"]) -> tuple[Float[np.ndarray, "n q"], Float[np.ndarray, " q"]]:
    """Residuals about f, and their scatter."""
    first, second = np.triu_indices(x.shape[1])
    quadratic = x[:, first] * x[:, second]
    known = np.isfinite(y)
    if not known.any(axis=0).all():
        raise NotComputable("no galaxy has all that is needed")
    f = [quadratic @ huber(quadratic[rows], values[rows]) for rows, values in zip(known.T, y.T, strict=True)]
    residual = y - np.stack(f, axis=1)
    scales = 1.4826 * np.nanmedian(np.abs(residual), axis=0)
    if not (scales > 0).all():
        raise NotComputable("a quantity does not vary about its relation, so that there is nothing to compare")
    return residual, scales


def _inverse_covariance(residual: Float[np.ndarray, "n q"], scales: Float[np.ndarray, " q"]) -> Float[np.ndarray, "q q"]:
    """Of the residuals, none counted as more than 3 s0, of galaxies that have them all."""
    rows = np.clip(residual[np.isfinite(residual).all(axis=1)], -SCATTER_WITHIN * scales, SCATTER_WITHIN * scales)
    return np.linalg.pinv(np.atleast_2d(np.cov(rows.T))) if len(rows) > 1 else np.diag(scales**-2)


@dataclass(frozen=True)
class _Statistic:
    """How far one term of (1), or (2), of one set is from the other's: of all galaxies, and of each quantity in each bin."""

    term: Term
    scales: Float[np.ndarray, " q"]
    inverse_covariance: Float[np.ndarray, "q q"]
    bins: int

    def __call__(
        self, a: Float[np.ndarray, "n c"], a_bins: Int[np.ndarray, " n"], b: Float[np.ndarray, "m c"], b_bins: Int[np.ndarray, " m"]
    ) -> Measurement:
        quantities = range(len(self.scales))
        of_a, of_b = (np.array([self._fit(rows, index, q) for q in quantities]) for rows, index in ((a, a_bins), (b, b_bins)))
        difference = of_b - of_a
        if self.term == "joint":
            length = np.sqrt(np.einsum("qk,qr,rk->k", difference, self.inverse_covariance, difference))
            return Measurement(float(length[0]), length[None, 1:])
        of_all = np.abs(difference[:, 0])
        return Measurement(float(np.nanmax(of_all)) if np.isfinite(of_all).any() else float("nan"), np.abs(difference[:, 1:]))

    def _fit(self, rows: Float[np.ndarray, "n c"], index: Int[np.ndarray, " n"], q: int) -> Float[np.ndarray, " one_and_bins"]:
        """The term of all galaxies, then of each bin; NaN under 20 galaxies."""
        known = np.isfinite(rows[:, q])
        x, y, index = rows[known, len(self.scales) :], rows[known, q], index[known]
        number = np.bincount(index, minlength=self.bins)
        if len(y) < FEWEST_IN_A_CELL:
            return np.full(1 + self.bins, np.nan)

        def mean(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " bin"]:
            total = np.bincount(index, values, minlength=self.bins)
            return np.where(number >= FEWEST_IN_A_CELL, total / np.maximum(number, 1), np.nan)

        coefficients = huber(x, y, self.scales[q])
        fitted = x @ coefficients
        if self.term == "scatter":
            square = _within(y - fitted, SCATTER_WITHIN * self.scales[q]) ** 2
            return 0.5 * np.log(np.concatenate([[square.mean()], mean(square)]))
        bounded = fitted + _within(y - fitted, HUBER * self.scales[q])
        if self.term == "slope":
            m = x[:, 1]
            spread = mean(m * m) - mean(m) ** 2
            in_bins = (mean(m * bounded) - mean(m) * mean(bounded)) / np.where(spread > 0, spread, np.nan)
        else:
            in_bins = mean(bounded) - (bounded.mean() if self.term == "evolution" else 0.0)
        return np.concatenate([[coefficients[COEFFICIENT[self.term]]], in_bins])


def _within(values: Float[np.ndarray, " n"], most: float) -> Float[np.ndarray, " n"]:
    return np.clip(values, -most, most)


RELATIONS = {
    "size": Relation(
        lambda sample: reference(sample, "half_light_radius"), "sizes", "dex", "Shen et al. 2003; van der Wel et al. 2014", logarithm=True
    ),
    "colour": Relation(colours, "colours", "mag", "colour-magnitude relation: Bower, Lucey & Ellis 1992"),
    "sersic": Relation(
        lambda sample: reference(sample, "sersic_index"), "Sersic indices", "dex", "Sersic index, magnitude and redshift", logarithm=True
    ),
    "ellipticity": Relation(lambda sample: reference(sample, "ellipticity"), "ellipticities", "", "ellipticity, magnitude and redshift"),
}


def _metric(name: str, term: Term, question: str, unit: str) -> Metric:
    relation = RELATIONS[name]

    def prepare_term(real: Sample, generated: Sample, bins: Bins) -> Prepared:
        return prepare(relation, term, real, generated, bins)

    return Metric(f"relation_{name}_{term}", question, "comparison", "low", unit, relation.source, prepare_term)


def _metrics(name: str) -> tuple[Metric, ...]:
    words, unit = RELATIONS[name].words, RELATIONS[name].unit
    return (
        _metric(name, "offset", f"At the same magnitude and redshift, how far are {words} off?", unit),
        _metric(name, "slope", f"Do {words} go with magnitude, at the same redshift, as in the real set?", f"{unit}/mag"),
        _metric(name, "evolution", f"Do {words} go with redshift, at the same magnitude, as in the real set?", f"{unit}/dex(1+z)"),
        _metric(name, "scatter", f"At the same magnitude and redshift, do {words} scatter as in the real set?", "ln"),
    )


METRICS = (
    *(metric for name in RELATIONS for metric in _metrics(name)),
    _metric("colour", "joint", "At the same magnitude and redshift, how far are all colours together off?", "real scatter"),
)
