"""Do tracks go with redshift as the population does?

In each bin b of redshift, which hold equally many galaxies of the population,

    P_b   median of a quantity over the population's n_b galaxies there, trusted ones
    q_sb  median of galaxy s's track, read (linearly) at the redshifts of those n_b galaxies
    T_b   median of q_sb over the seeds

so that population and tracks have the same redshifts within a bin. Were the tracks S galaxies of the population, T_b - P_b would scatter by

    e_b^2 = (1.2533 sigma_b)^2 (1 / S + 1 / n_b),   sigma_b = 1.4826 MAD of the population in the bin                       (1)

(1.2533 = sqrt(pi / 2): a median's error over a mean's), and `deviation` is (T_b - P_b) / e_b. Bins share their seeds: eight deviations of
one sign are one galaxy too bright, not eight.

The evolution is the slope of a straight line through the bins over lookback time t, least squares with equal weights: w . q with
w_b = (t_b - <t>) / sum (t - <t>)^2. Of the tracks it is the mean over the seeds of w . q_s, with the error of that mean; of the population
w . P, with the error that (1) gives (S infinite). `slope_deviation` is their difference over both errors in quadrature; a track that is
not trusted in some bin has no slope, and fewer than three have no error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.movies.population import FEWEST, GAUSSIAN, MEDIAN, Population
from hubbleflow.movies.quantities import Quantity, quantities
from hubbleflow.movies.redshifts import lookback_time_gyr

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.movies.track import Track

BINS = 6
SLOPES = 3  # of which a mean has an error


@dataclass(frozen=True)
class Trend:
    """One quantity of tracks and population, bin by bin; NaN where a bin has too few.

    Attributes:
        quantity: which.
        redshift: (bin,) median of the population's galaxies.
        track: (bin,) T_b. population: (bin,) P_b. error: (bin,) e_b.
        track_slope, population_slope: change a Gyr of lookback time.
        track_slope_error, population_slope_error: of these.
    """

    quantity: Quantity
    redshift: Float[np.ndarray, " bin"]
    track: Float[np.ndarray, " bin"]
    population: Float[np.ndarray, " bin"]
    error: Float[np.ndarray, " bin"]
    track_slope: float
    track_slope_error: float
    population_slope: float
    population_slope_error: float

    @property
    def deviation(self) -> Float[np.ndarray, " bin"]:
        """(bin,) of the tracks from the population, in units of the error."""
        return (self.track - self.population) / self.error

    @property
    def rms_deviation(self) -> float:
        """Root mean square over the bins; about 1 where the tracks go with the population."""
        known = self.deviation[np.isfinite(self.deviation)]
        return float(np.sqrt(np.mean(known**2))) if len(known) else float("nan")

    @property
    def slope_deviation(self) -> float:
        """Of the tracks' evolution from the population's, in units of the error."""
        return (self.track_slope - self.population_slope) / float(np.hypot(self.track_slope_error, self.population_slope_error))


def trends(track: Track, population: Population) -> tuple[Trend, ...]:
    """Every quantity's trend that both have.

    Example:
        >>> from hubbleflow.movies.track import Track
        >>> from hubbleflow.survey import Survey
        >>> z = np.linspace(0.2, 1.0, 200)
        >>> scatter = np.random.default_rng(0).normal(0, 0.1, 200)
        >>> sky = Population("a sky", z, {"i_mag": 20 + 2 * z + scatter})
        >>> tracks = {"i_mag": np.array([[21.9, 20.3], [22.0, 20.4], [22.1, 20.5]])}
        >>> ends = np.array([1.0, 0.2])
        >>> images = np.zeros((3, 2, 1, 1, 1), np.float32)
        >>> three = Track(images, ends, lookback_time_gyr(ends), (1, 2, 3), ("",) * 3, Survey.get("hsc-i"), tracks, np.ones(1))
        >>> [trend] = trends(three, sky)
        >>> trend.track.round(1).tolist(), bool(abs(trend.deviation).max() < 3)
        ([20.5, 20.8, 21.1, 21.3, 21.6, 21.9], True)
    """
    edges = population.edges(BINS)
    return tuple(
        _trend(track, population, quantity, edges)
        for quantity in quantities(track.survey)
        if quantity.name in track.measured and quantity.name in population.values
    )


def _trend(track: Track, population: Population, quantity: Quantity, edges: Float[np.ndarray, " bin+1"]) -> Trend:
    cells = population.cells(quantity.name, edges)
    enough = np.array([len(values) >= FEWEST / 2 for _, values in cells])
    z = _of_each([z for z, _ in cells], enough, np.median)
    p = _of_each([values for _, values in cells], enough, np.median)
    sigma = GAUSSIAN * _of_each([values for _, values in cells], enough, lambda v: np.median(np.abs(v - np.median(v))))
    n = np.array([max(len(values), 1) for _, values in cells])
    q = np.stack([_of_each([_read(track, row, z) for z, _ in cells], enough, _median) for row in track.measured[quantity.name]])
    seeds = np.isfinite(q).sum(axis=0)
    t_b = np.array([_median(column) for column in q.T])
    error = MEDIAN * sigma * np.sqrt(np.divide(1, seeds, out=np.full(len(seeds), np.nan), where=seeds > 0) + 1 / n)
    known = np.flatnonzero(np.isfinite(z))
    nothing = (float("nan"),) * 4
    return Trend(quantity, z, t_b, p, error, *(_slopes(q[:, known], p[known], (MEDIAN * sigma / np.sqrt(n))[known], z[known]) or nothing))


def _slopes(
    q: Float[np.ndarray, "seed bin"], p: Float[np.ndarray, " bin"], p_error: Float[np.ndarray, " bin"], z: Float[np.ndarray, " bin"]
) -> tuple[float, float, float, float] | None:
    """Slope of the tracks and its error, of the population and its error; None where a line cannot be drawn."""
    whole = q[np.isfinite(q).all(axis=1)]
    if len(z) < 2 or not len(whole):
        return None
    t = lookback_time_gyr(z)
    w = (t - t.mean()) / ((t - t.mean()) ** 2).sum()
    slopes = whole @ w
    error = float(slopes.std(ddof=1) / np.sqrt(len(slopes))) if len(slopes) >= SLOPES else float("nan")
    return float(slopes.mean()), error, float(w @ p), float(np.sqrt((w**2 * p_error**2).sum()))


def _read(track: Track, values: Float[np.ndarray, " frame"], z: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """A track at other redshifts; NaN where the nearest frame is not trusted."""
    order = np.argsort(track.redshift)
    at, of = track.redshift[order], values[order]
    good = np.isfinite(of)
    if not good.any():
        return np.full(len(z), np.nan)
    nearest = np.abs(z[:, None] - at).argmin(axis=1)
    return np.where(good[nearest], np.interp(z, at[good], of[good]), np.nan)


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _of_each(cells: list[np.ndarray], enough: np.ndarray, what: object) -> Float[np.ndarray, " bin"]:
    return np.array([what(cell) if many else np.nan for cell, many in zip(cells, enough, strict=True)])  # type: ignore[operator]
