"""Is the sky's noise correlated over several pixels as in real images?

`noise_correlation` looks at neighbouring pixels only. Networks leave patterns of their own at longer range (patches of
2 or 4 pixels, mottling), in one direction and not in the other. With d the deviation of a sky pixel (chosen as in
:mod:`hubbleflow.metrics.noise`) from its image's mean sky, for each image, band, direction and lag k = 1, 2, 3:

    r(k) = mean over pairs of sky pixels k apart of d d' / mean of d^2

    noise_autocorrelation = mean over bands, directions and lags of |median r_generated - median r_real|

White noise has r = 0; a running mean over three pixels has r = 2/3, 1/3, 0 in its direction. Independent of how strong the noise is:
read it beside `noise_rms`.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.metric import Metric, NotComputable, Prepared, prepare_rows
from hubbleflow.metrics.noise import FEWEST_PIXELS, difference_of_medians, sky_deviations
from hubbleflow.metrics.sample import Sample, finite, shared_pixels

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.metrics.bins import Bins
    from hubbleflow.survey import Survey

LAGS = (1, 2, 3)
CASES = tuple(product(("x", "y"), LAGS))


def autocorrelation_columns(images: Float[np.ndarray, "n band y x"], survey: Survey) -> dict[str, Float[np.ndarray, "n case"]]:
    """`b_sky_autocorrelation` of each image: lags 1, 2, 3 along x, then along y; NaN where fewer than 50 sky pixels
    remain or all are equal.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> noise = np.random.default_rng(0).normal(0, 2, (1, 1, 200, 200))
        >>> mean_of_three = noise + np.roll(noise, 1, axis=3) + np.roll(noise, 2, axis=3)
        >>> autocorrelation_columns(mean_of_three, Survey.get("hsc-i"))["i_sky_autocorrelation"].round(1)[0, :2]
        array([0.7, 0.3])
    """
    return {
        f"{band}_sky_autocorrelation": _autocorrelation(np.asarray(images[:, number], np.float32))
        for number, band in enumerate(survey.bands)
    }


def _autocorrelation(x: Float[np.ndarray, "n y x"]) -> Float[np.ndarray, "n case"]:
    deviations, keep = sky_deviations(x)
    d, sky = deviations.astype(np.float32), keep.astype(np.float32)
    number = sky.sum(axis=(1, 2))
    variance = np.einsum("nyx,nyx->n", d, d) / np.maximum(number, 1)
    good = (number >= FEWEST_PIXELS) & (variance > 0)
    out = np.full((len(x), len(CASES)), np.nan)
    for column, (direction, lag) in enumerate(CASES):
        if x.shape[2 if direction == "x" else 1] <= lag:
            continue
        here, there = (np.s_[:, :, lag:], np.s_[:, :, :-lag]) if direction == "x" else (np.s_[:, lag:], np.s_[:, :-lag])
        pairs = np.einsum("nyx,nyx->n", sky[here], sky[there])
        products = np.einsum("nyx,nyx->n", d[here], d[there])
        known = good & (pairs > 0)
        out[known, column] = products[known] / pairs[known] / variance[known]
    return out


PIXEL_COLUMNS = autocorrelation_columns


def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """The rows of every band, direction and lag that both sets know."""
    found = shared_pixels(real, generated, "sky_autocorrelation")
    if not found:
        raise NotComputable("needs images of the same bands in both sets, with a sky that varies")
    a, b = (np.concatenate([finite(both[side]) for both in found.values()], axis=1) for side in (0, 1))
    quantities = [f"{band} lag {lag} {direction}" for band in found for direction, lag in CASES]
    return prepare_rows(a, b, bins, lambda a, i, b, j: difference_of_medians(a, i, b, j, len(bins)), quantities, binned_only=False)


METRICS = (
    Metric(
        "noise_autocorrelation",
        "Is the sky's noise correlated over one, two and three pixels, along x and along y, as in real images?",
        "comparison",
        "low",
        "",
        "sky pixels",
        prepare,
    ),
)
