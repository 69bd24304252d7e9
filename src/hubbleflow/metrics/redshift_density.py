"""Redshift densities: is what a network says of its own certainty as true of generated galaxies as of real ones?

A network trained on real galaxies (`redshift-density`) gives each image a density p(z). At the redshift asked for (the true one, in the
real set), its probability integral transform is

    u = int_0^z p(z') dz'

which is uniform over galaxies where the densities are calibrated (Polsterer et al. 2016; Schmidt et al. 2020, sec. 4.1). With F_n the
distribution of n of them,

    redshift_pit_ks      = max_u |F_n(u) - u|                                      Kolmogorov-Smirnov
    redshift_pit_cvm     = sqrt( int_0^1 (F_n(u) - u)^2 du )                       Cramer-von Mises
                         = sqrt( 1 / (12 n^2) + mean_i ((2i - 1) / (2n) - u_(i))^2 )
    w1_redshift_pit      = int_0^1 |F_real(u) - F_gen(u)| du                       mean over redshift bins
    redshift_coverage_68 = share of galaxies with 0.16 <= u <= 0.84
    redshift_coverage_90 = share of galaxies with 0.05 <= u <= 0.95

0.68 and 0.90 are right; less says that the densities are too narrow for these galaxies or beside the point, more that they are too wide.
Each stands beside the real set's own value. The two distances from uniform have no floor: halves of one set stray from uniform to
opposite sides and equally far, so that their difference says nothing of what chance does; `w1_redshift_pit` is what is held against
chance. A generator whose galaxies are caricatures of their redshift reads 1 in both coverages, one
that ignores its condition far less than the real set. The metric sees the column `redshift_pit` (for 68 %, failing that, `z_q16` and
`z_q84`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import wasserstein_distance

from hubbleflow.metrics.cells import distance_per_cell
from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared, prepare_rows
from hubbleflow.metrics.sample import Sample, finite, rows_in_bins

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins
    from hubbleflow.metrics.result import Better

    Statistic = Callable[[Float[np.ndarray, " n"]], float]

PIT = "redshift_pit"
FEWEST_IN_A_CELL = 20
LEVELS = (68, 90)  # per cent


def pit_ks(u: Float[np.ndarray, " n"]) -> float:
    """Kolmogorov-Smirnov distance from uniform.

    Example:
        >>> pit_ks(np.array([0.25, 0.5, 0.75, 1.0]))
        0.25
    """
    u, n = np.sort(u), len(u)
    return float(max((np.arange(1, n + 1) / n - u).max(), (u - np.arange(n) / n).max()))


def pit_cvm(u: Float[np.ndarray, " n"]) -> float:
    """Cramer-von Mises distance from uniform.

    Example:
        >>> round(pit_cvm(np.zeros(1000)), 4), round(pit_cvm((np.arange(1000) + 0.5) / 1000), 4)
        (0.5774, 0.0003)
    """
    u, n = np.sort(u), len(u)
    return float(np.sqrt(1 / (12 * n**2) + (((np.arange(n) + 0.5) / n - u) ** 2).mean()))


def inside(sample: Sample, level: int) -> Float[np.ndarray, " n"]:
    """1 for each galaxy whose redshift lies in the central interval of `level` per cent, 0 for others, NaN where that is not known."""
    ends = ((100 - level) / 200, (100 + level) / 200)
    names = [f"z_q{round(100 * end):02d}" for end in ends]
    if PIT in sample.columns:
        where, low, high = finite(sample.columns[PIT]), np.full(len(sample), ends[0]), np.full(len(sample), ends[1])
    elif all(name in sample.columns for name in names):
        where, low, high = (finite(values) for values in (sample.redshift, *(sample.columns[name] for name in names)))
    else:
        raise _without(f", or columns {' and '.join(names)}")
    known = np.isfinite(where) & np.isfinite(low) & np.isfinite(high)
    return np.where(known, (where >= low) & (where <= high), np.nan)


def _without(also: str = "") -> NotComputable:
    words = "needs densities of redshift read from the images of both sets: give a redshift-density as the redshift model"
    return NotComputable(f"{words}{also}")


def _pit(sample: Sample) -> Float[np.ndarray, " n"]:
    if PIT not in sample.columns:
        raise _without()
    return finite(sample.columns[PIT])


def _metric(
    name: str,
    question: str,
    better: Better,
    source: str,
    rows_of: Callable[[Sample], np.ndarray],
    statistic: Statistic,
    note: str | None = None,
    floor: bool = True,
) -> Metric:
    def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
        rows = [rows_of(sample)[:, None] for sample in (real, generated)]
        prepared = prepare_rows(
            rows[0],
            rows[1],
            bins,
            lambda x, index: _measure(statistic, x[:, 0], index, len(bins)),
            (name,),
            note=note,
            binned_only=False,
        )
        return replace(prepared, resolution=1 / max(1, min(len(prepared.real) // 2, len(prepared.generated))))

    return Metric(name, question, "single", better, "", source, prepare, floor)


def _compare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    rows = [_pit(sample)[:, None] for sample in (real, generated)]
    return prepare_rows(rows[0], rows[1], bins, lambda a, i, b, j: distance_per_cell(wasserstein_distance, a, i, b, j, len(bins)), (PIT,))


def _measure(statistic: Statistic, values: Float[np.ndarray, " n"], index: Int[np.ndarray, " n"], bins: int) -> Measurement:
    cells = [values[rows] for rows in rows_in_bins(index, bins)]
    table = [statistic(cell) if len(cell) >= FEWEST_IN_A_CELL else np.nan for cell in cells]
    return Measurement(statistic(values), np.array([table], float))


def _coverage(level: int) -> Metric:
    return _metric(
        f"redshift_coverage_{level}",
        f"Of how many galaxies does the density's central {level} % hold the redshift?",
        "high",
        "Polsterer et al. 2016",
        lambda sample: inside(sample, level),
        lambda held: float(held.mean()),
        f"{level / 100:.2f} is right, and no more",
    )


METRICS = (
    _metric(
        "redshift_pit_ks",
        "Are redshift densities of generated galaxies calibrated (largest deviation)?",
        "low",
        "Schmidt et al. 2020, sec. 4.1",
        _pit,
        pit_ks,
        floor=False,
    ),
    _metric(
        "redshift_pit_cvm",
        "Are redshift densities of generated galaxies calibrated (rms deviation)?",
        "low",
        "Schmidt et al. 2020, sec. 4.1",
        _pit,
        pit_cvm,
        floor=False,
    ),
    Metric(
        "w1_redshift_pit",
        "Is the redshift asked for as probable as it is for real galaxies, by what a network says of its own certainty?",
        "comparison",
        "low",
        "",
        "Wasserstein-1 distance of the PITs of Schmidt et al. 2020, sec. 4.1",
        _compare,
    ),
    *(_coverage(level) for level in LEVELS),
)
