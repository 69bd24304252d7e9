"""Redshift loss: do the images show the redshift they were asked for?  (Li et al. 2024, eq. 4; Nishizawa et al. 2020)

A predictor trained on real galaxies reads a redshift z_pred from each image; z is the redshift asked for (or the true
one, in the real set). With gamma = 0.15:

    dz                   = z_pred - z
    redshift_loss        = mean(1 - 1 / (1 + (dz / gamma)^2))               eq. 4 as printed
    redshift_loss_scaled = the same with dz / (1 + z)                       the group's published code
    redshift_spearman    = rank correlation of z_pred and z
    redshift_bias        = |median(dz / (1 + z))|, whose sign counts where it is compared with the real set's
    redshift_sigma_nmad  = 1.4826 median(|dz - median(dz)| / (1 + z))       Brammer et al. 2008
    redshift_outliers    = share of galaxies with |dz| / (1 + z) > 0.15

Each stands beside the real set's own value: no predictor is perfect, and a generated set that is *easier* to read than
the sky is not right either. The metric sees the predicted redshifts only; which network made them is its caller's
business. Flags play no part: every image that has both redshifts counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared, prepare_rows
from hubbleflow.metrics.result import Better
from hubbleflow.metrics.sample import Sample, rows_in_bins

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins

    Statistic = Callable[[Float[np.ndarray, " n"], Float[np.ndarray, " n"]], float]

GAMMA = 0.15
OUTLIER = 0.15
FEWEST_IN_A_CELL = 8


def per_galaxy_loss(
    predicted: Float[np.ndarray, " n"], asked: Float[np.ndarray, " n"], scaled: bool = False, gamma: float = GAMMA
) -> Float[np.ndarray, " n"]:
    """1 - 1 / (1 + (dz / gamma)^2) of each galaxy: 0 for a perfect prediction, 1/2 at |dz| = gamma, 1 far away.

    Args:
        predicted, asked: redshifts.
        scaled: divide dz by 1 + asked first.
        gamma: width, 0.15 in eq. 4.

    Example:
        >>> per_galaxy_loss(np.array([0.5, 0.65, 0.8]), np.array([0.5, 0.5, 0.5])).round(6).tolist()
        [0.0, 0.5, 0.8]
    """
    dz = predicted - asked
    if scaled:
        dz = dz / (1 + asked)
    return 1 - 1 / (1 + (dz / gamma) ** 2)


def spearman(predicted: Float[np.ndarray, " n"], asked: Float[np.ndarray, " n"]) -> float:
    """Spearman's rank correlation (ties averaged); NaN where either side is constant."""
    ranks = [rankdata(values) - (len(values) + 1) / 2 for values in (predicted, asked)]
    power = (ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()
    return float((ranks[0] * ranks[1]).sum() / np.sqrt(power)) if power > 0 else float("nan")


def bias(predicted: Float[np.ndarray, " n"], asked: Float[np.ndarray, " n"]) -> float:
    """median(dz / (1 + z)): above zero where galaxies are read as further than they are.

    Example:
        >>> bias(np.array([0.9, 1.2, 1.4]), np.array([1.0, 1.0, 1.0])).__round__(6)
        0.1
    """
    return float(np.median((predicted - asked) / (1 + asked)))


def sigma_nmad(predicted: Float[np.ndarray, " n"], asked: Float[np.ndarray, " n"]) -> float:
    """1.4826 median(|dz - median(dz)| / (1 + z)).

    Example:
        >>> round(sigma_nmad(np.array([0.9, 1.0, 1.2]), np.array([1.0, 1.0, 1.0])), 5)
        0.07413
    """
    dz = predicted - asked
    return float(1.4826 * np.median(np.abs(dz - np.median(dz)) / (1 + asked)))


def outlier_fraction(predicted: Float[np.ndarray, " n"], asked: Float[np.ndarray, " n"]) -> float:
    """Share of galaxies with |dz| / (1 + z) > 0.15."""
    return float((np.abs(predicted - asked) / (1 + asked) > OUTLIER).mean())


def redshift_pairs(sample: Sample) -> Float[np.ndarray, "n 2"]:
    """(predicted, asked) of each galaxy, NaN in both where either is unknown."""
    if sample.predicted_redshift is None:
        raise NotComputable("needs predicted redshifts: give a redshift model that was trained on real galaxies")
    pairs = np.stack([np.asarray(sample.predicted_redshift, float), sample.redshift], axis=1)
    return np.where(np.isfinite(pairs).all(axis=1, keepdims=True), pairs, np.nan)


def _metric(name: str, question: str, better: Better, unit: str, source: str, statistic: Statistic) -> Metric:
    def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
        for sample, which in ((real, "real"), (generated, "generated")):
            if not np.isfinite(sample.redshift).any():
                raise NotComputable(f"the {which} set has no redshifts, so predictions have nothing to be compared with")
        rows = [redshift_pairs(sample) for sample in (real, generated)]
        # A per-category table of a redshift loss is as meaningful as a per-redshift one, so the bins are whatever they
        # are.
        prepared = prepare_rows(
            rows[0],
            rows[1],
            bins,
            lambda x, index: _measure(statistic, x, index, len(bins)),
            (name,),
            binned_only=False,
        )
        return replace(prepared, signed=statistic is bias)

    return Metric(name, question, "single", better, unit, source, prepare)


def _measure(statistic: Statistic, pairs: Float[np.ndarray, "n 2"], index: Int[np.ndarray, " n"], bins: int) -> Measurement:
    cells = [pairs[rows] for rows in rows_in_bins(index, bins)]
    table = [statistic(cell[:, 0], cell[:, 1]) if len(cell) >= FEWEST_IN_A_CELL else np.nan for cell in cells]
    return Measurement(statistic(pairs[:, 0], pairs[:, 1]), np.array([table], float))


METRICS = (
    _metric(
        "redshift_loss",
        "How far are the redshifts read from the images from those asked for?",
        "low",
        "",
        "Li et al. 2024, eq. 4 (Nishizawa et al. 2020)",
        lambda predicted, asked: float(per_galaxy_loss(predicted, asked).mean()),
    ),
    _metric(
        "redshift_loss_scaled",
        "The same with dz / (1 + z), as photometric redshifts are usually judged.",
        "low",
        "",
        "Nishizawa et al. 2020; published code of Li et al.'s group",
        lambda predicted, asked: float(per_galaxy_loss(predicted, asked, scaled=True).mean()),
    ),
    _metric(
        "redshift_spearman",
        "Do galaxies asked for at higher redshift look as if they were?",
        "high",
        "",
        "rank correlation",
        spearman,
    ),
    _metric(
        "redshift_bias",
        "Are generated galaxies read as systematically nearer or further?",
        "low",
        "dz/(1+z)",
        "|median|",
        bias,
    ),
    _metric(
        "redshift_sigma_nmad",
        "How wide do read redshifts scatter around those asked for?",
        "low",
        "dz/(1+z)",
        "Brammer et al. 2008",
        sigma_nmad,
    ),
    _metric(
        "redshift_outliers",
        "What share of images is read more than 0.15 (1 + z) away?",
        "low",
        "",
        "|dz| / (1 + z) > 0.15",
        outlier_fraction,
    ),
)
