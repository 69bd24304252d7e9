"""Galaxy fitting loss: is the light as concentrated and the sky as noisy as in real galaxies?  (Li et al. 2024, eq. 3)

    galaxy_fitting_loss_li2024 = mean ln |ERRCXY_IMAGE|                  the paper's quantity
    galaxy_fitting_loss        = mean ln(ERRX2 ERRY2 - ERRXY^2)          our default

with SExtractor's variances of the barycentre in px^2 (ERRX2_IMAGE, ERRY2_IMAGE, ERRXY_IMAGE; sep's errx2, erry2, errxy
in the reference band). Ours is the log of the squared area (over pi^2) of the centroid's error ellipse; ERRCXY_IMAGE is
the third coefficient of that ellipse's equation:

    CXX dx^2 + CYY dy^2 + CXY dx dy = 1
    ERRCXY = -2 errxy / (errx2 erry2 - errxy^2)                          px^-2

Its sign follows the ellipse's orientation (48 % of objects are negative), so the paper's log needs a choice: we take
|ERRCXY|. It *grows* with S/N (correlation +0.8), so a "larger loss" means a better measured centroid. The determinant
has no sign problem and falls with ln S/N (correlation -0.96). Neither is a loss in the sense that less is better: the
real set's value is the mark, and a set that falls below it is too smooth (Li 2024, fig. 6 says so of its DDPM). `floor`
is the mean |difference| between two real halves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared, prepare_rows
from hubbleflow.metrics.sample import Sample, reference, rows_in_bins

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins

FEWEST_IN_A_CELL = 5


def log_error_ellipse(sample: Sample) -> Float[np.ndarray, " n"]:
    """ln(errx2 erry2 - errxy^2) of each trusted galaxy (ln px^4); NaN where the determinant is not positive."""
    xx, yy, xy = (sample.trusted(name) for name in reference(sample, "errx2", "erry2", "errxy"))
    return _log(xx * yy - xy**2)


def log_errcxy(sample: Sample) -> Float[np.ndarray, " n"]:
    """ln |ERRCXY_IMAGE| of each trusted galaxy (ln px^-2); NaN where errxy is exactly 0.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> errors = {"i_errx2": np.array([0.02]), "i_erry2": np.array([0.02]), "i_errxy": np.array([0.01])}
        >>> round(float(log_errcxy(Sample(Survey.get("hsc-i"), {}, errors))[0]), 4)
        4.1997
    """
    xx, yy, xy = (sample.trusted(name) for name in reference(sample, "errx2", "erry2", "errxy"))
    determinant = xx * yy - xy**2
    return _log(np.abs(2 * xy) / np.where(determinant > 0, determinant, np.nan))


def _log(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.log(np.where(values > 0, values, np.nan))


def _prepare(per_galaxy, real: Sample, generated: Sample, bins: Bins) -> Prepared:
    for sample in (real, generated):
        if any(name not in sample for name in reference(sample, "errx2", "erry2", "errxy")):
            raise NotComputable(
                "needs the measured centroid variances errx2, erry2, errxy of the reference band in both sets: run measure on both"
            )
    rows = [per_galaxy(sample)[:, None] for sample in (real, generated)]
    return prepare_rows(
        rows[0],
        rows[1],
        bins,
        lambda x, index: mean_per_bin(x[:, 0], index, len(bins)),
        (per_galaxy.__name__,),
        binned_only=False,
    )


def mean_per_bin(values: Float[np.ndarray, " n"], index: Int[np.ndarray, " n"], bins: int) -> Measurement:
    """Mean over all galaxies, and over those of each bin with at least 5."""
    cells = [values[rows] for rows in rows_in_bins(index, bins)]
    table = [cell.mean() if len(cell) >= FEWEST_IN_A_CELL else np.nan for cell in cells]
    return Measurement(float(values.mean()), np.array([table], float))


METRICS = (
    Metric(
        "galaxy_fitting_loss",
        "Is the centroid's error ellipse as large as that of real galaxies (smooth images fall below, noisy ones above)?",
        "single",
        "low",
        "ln px^4",
        "after Li et al. 2024, eq. 3: the determinant instead of ERRCXY",
        lambda real, generated, bins: _prepare(log_error_ellipse, real, generated, bins),
    ),
    Metric(
        "galaxy_fitting_loss_li2024",
        "The paper's mean ln |ERRCXY_IMAGE|: grows with S/N, so read it against the real value only.",
        "single",
        "low",
        "ln px^-2",
        "Li et al. 2024, eq. 3",
        lambda real, generated, bins: _prepare(log_errcxy, real, generated, bins),
    ),
)
