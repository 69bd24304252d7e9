"""Do the quantities of a galaxy go together? Sliced Wasserstein distance between joint distributions (Bonneel et al. 2015).

Every galaxy is a point x whose coordinates are redshift, magnitude, colours, size, Sersic index and shapes
(:mod:`hubbleflow.metrics.row`), each less the real median and in units of the real scatter (half the range of its middle 68.3 %), none
further than 5 from 0. Along a direction theta the two sets are two lists of numbers, whose Wasserstein-2 distance is that of their
inverse distribution functions:

    W2(P, Q)^2  = int_0^1 (F_P^-1(t) - F_Q^-1(t))^2 dt,        SW2^2 = mean over theta of W2(P_theta, Q_theta)^2

over 128 directions, drawn once on the unit sphere of those coordinates. A shift by the vector d alone has SW2 = |d| / sqrt(coordinates). It
sees what no single quantity shows (the right sizes and the right colours, in the wrong galaxies), but not sharply: in many coordinates a
small fault of one is thin on most directions. For those read w1_*, ks_* and relation_*. The table has the same distance within each bin
of redshift.

A galaxy needs all coordinates. One that fewer than two thirds of real galaxies have (smoothness of small ones) is left out of the
comparison, rather than those galaxies; the note names it, and counts the galaxies of either set that lack another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared, prepare_rows
from hubbleflow.metrics.row import columns_of_rows, rows_of
from hubbleflow.metrics.sample import rows_in_bins

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins
    from hubbleflow.metrics.sample import Sample

DIRECTIONS = 128
SHARE = 2 / 3  # of real galaxies that must have a number for it to be a coordinate
FARTHEST = 5.0
FEWEST_IN_A_CELL = 10
LARGEST = 5000


def directions(dimensions: int, number: int = DIRECTIONS) -> Float[np.ndarray, "d direction"]:
    """The same random unit vectors every time.

    Example:
        >>> theta = directions(3)
        >>> theta.shape, bool(np.allclose((theta**2).sum(axis=0), 1))
        ((3, 128), True)
    """
    theta = np.random.default_rng(0).standard_normal((dimensions, number))
    return theta / np.sqrt((theta**2).sum(axis=0))


def sliced_wasserstein(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"], theta: Float[np.ndarray, "d direction"]) -> float:
    """SW2 between two samples along given directions: exact for samples of any sizes.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(50, 2))
        >>> round(sliced_wasserstein(x, x + np.array([3.0, 4.0]), np.eye(2)), 6) == round(5 / 2**0.5, 6)
        True
    """
    # both inverse functions are constant between the levels i / n and j / m: which are the same for all directions
    levels = np.unique(np.concatenate([np.arange(1, len(a)) / len(a), np.arange(1, len(b)) / len(b)]))
    steps = np.diff(levels, prepend=0.0, append=1.0)
    middles = np.concatenate([[0.0], levels]) + steps / 2
    inverse = [np.sort(x @ theta, axis=0)[np.minimum((middles * len(x)).astype(int), len(x) - 1)] for x in (a, b)]
    return float(np.sqrt((steps @ (inverse[0] - inverse[1]) ** 2).mean()))


def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """Standardised coordinates of galaxies that have them all."""
    names = columns_of_rows(real, generated, bins)
    values = [rows_of(sample, names) for sample in (real, generated)]
    share = np.isfinite(values[0]).mean(axis=0)
    used = share >= min(SHARE, share.max())
    rare = [name for name, known in zip(names, used, strict=True) if not known]
    low, middle, high = np.nanpercentile(values[0], [15.87, 50, 84.13], axis=0)
    used &= high > low
    if used.sum() < 2:
        raise NotComputable("fewer than two quantities vary in the real set")
    scale = np.where(used, (high - low) / 2, 1.0)
    values = [np.clip((v - middle) / scale, -FARTHEST, FARTHEST)[:, used] for v in values]
    complete = [np.isfinite(v).all(axis=1, keepdims=True) for v in values]
    notes = [f"left out, as most real galaxies lack it: {', '.join(rare)}"] if rare else []
    for which, rows in zip(("real", "generated"), complete, strict=True):
        if lacking := int((~rows).sum()):
            notes.append(f"{lacking} of {len(rows)} {which} galaxies lack a number and do not count")
    theta = directions(int(used.sum()))
    rows = [np.where(whole, v, np.nan) for whole, v in zip(complete, values, strict=True)]
    return prepare_rows(
        rows[0],
        rows[1],
        bins,
        lambda a, i, b, j: _statistic(a, i, b, j, len(bins), theta),
        (f"{int(used.sum())} quantities together",),
        note="; ".join(notes) or None,
        binned_only=False,
    )


def _statistic(
    a: Float[np.ndarray, "n d"],
    a_bins: Int[np.ndarray, " n"],
    b: Float[np.ndarray, "m d"],
    b_bins: Int[np.ndarray, " m"],
    bins: int,
    theta: Float[np.ndarray, "d direction"],
) -> Measurement:
    table = np.full((1, bins), np.nan)
    for column, (rows_a, rows_b) in enumerate(zip(rows_in_bins(a_bins, bins), rows_in_bins(b_bins, bins), strict=True)):
        if min(len(rows_a), len(rows_b)) >= FEWEST_IN_A_CELL:
            table[0, column] = sliced_wasserstein(a[rows_a], b[rows_b], theta)
    return Measurement(sliced_wasserstein(a, b, theta), table)


METRICS = (
    Metric(
        "joint_sliced_wasserstein",
        "Do redshift, brightness, colours, size and shape go together as in real galaxies?",
        "comparison",
        "low",
        "real scatter",
        "sliced Wasserstein-2 distance: Bonneel et al. 2015",
        prepare,
        largest=LARGEST,
    ),
)
