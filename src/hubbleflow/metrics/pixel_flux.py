"""How bright are pixels? Their distribution in each band, and how the light is shared among the bands.

With F_b(t) the share of an image's pixels with asinh(x / sigma_b) <= t in band b, and the median of F_b(t) over the
images of a set; sigma_b is the rms of the real sky, so that the sky's noise is linear and a galaxy's core logarithmic:

    w1_pixel_flux = mean over bands of int |median F_generated,b(t) - median F_real,b(t)| dt
    ks_pixel_flux = mean over bands of max_t |median F_generated,b(t) - median F_real,b(t)|

The median, and not the pixels of all images together, because among these a few bright galaxies decide.

and, with c_b the flux of the P pixels within an eighth of the stamp's side of its centre,

    w1_band_shares = mean over bands and bins of redshift of W1(s_generated, s_real)
                     s_b = u_b - mean over bands of u_b,    u_b = asinh(c_b / (sigma_b sqrt(P)))

The shares are colours that need no detection and no zero point: two bands swapped, or one scaled, show up here, and in
these bands.

Pixels are sorted for each image once: what is kept of it are 64 quantiles, close together in both tails (equal steps in
the logarithm of the odds, out to half a pixel of 64 x 64), between which F is taken as straight.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.cells import wasserstein_per_cell
from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared, mean_of_finite, prepare_rows
from hubbleflow.metrics.noise import sky_sigma
from hubbleflow.metrics.sample import Sample, rows_in_bins, shared_pixels

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins
    from hubbleflow.survey import Survey

LEVELS = 1 / (1 + np.exp(-np.linspace(-9, 9, 64)))  # shares of the pixels below each quantile
GRID = np.arange(-4.0, 10.01, 0.25)  # asinh(x / sigma): from -27 to 11,000 sigma
FEWEST_IN_A_CELL = 10


def flux_columns(images: Float[np.ndarray, "n band y x"], survey: Survey) -> dict[str, Float[np.ndarray, "n ..."]]:
    """`b_flux_quantiles` (64 of each image's pixels) and `b_core_flux` (c / sqrt(P): its noise is that of one pixel).

    An image with a pixel that is not finite has NaN.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> ramp = np.arange(64 * 64, dtype=np.float32).reshape(1, 1, 64, 64)
        >>> found = flux_columns(ramp, Survey.get("hsc-i"))["i_flux_quantiles"][0]
        >>> found[[0, 31, 32, 63]]
        array([   0., 1901., 2194., 4095.], dtype=float32)
    """
    height, width = images.shape[2:]
    y, x = np.mgrid[:height, :width]
    core = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2) <= max(min(height, width) / 8, 1)
    ranks = np.round(LEVELS * height * width - 0.5).astype(int)
    columns = {}
    for number, band in enumerate(survey.bands):
        pixels = np.asarray(images[:, number], np.float32).reshape(len(images), -1)
        with np.errstate(invalid="ignore"):
            flux = pixels[:, core.ravel()].sum(axis=1) / np.float32(np.sqrt(core.sum()))
        broken = ~np.isfinite(pixels).all(axis=1)
        quantiles = np.sort(pixels, axis=1)[:, ranks]
        quantiles[broken], flux[broken] = np.nan, np.nan
        columns[f"{band}_flux_quantiles"], columns[f"{band}_core_flux"] = quantiles, flux
    return columns


PIXEL_COLUMNS = flux_columns


def _prepare_flux(largest: bool, real: Sample, generated: Sample, bins: Bins) -> Prepared:
    sigma, found = sky_sigma(real), shared_pixels(real, generated, "flux_quantiles")
    if not found:
        raise NotComputable("needs images of the same bands in both sets")
    a, b = (np.concatenate([cumulative(both[side] / sigma[band]) for band, both in found.items()], axis=1) for side in (0, 1))
    return prepare_rows(
        a, b, bins, lambda a, i, b, j: flux_distance(a, i, b, j, len(bins), len(found), largest), list(found), binned_only=False
    )


def cumulative(quantiles: Float[np.ndarray, "n quantile"]) -> Float[np.ndarray, "n t"]:
    """Share of each image's pixels with asinh(x) <= t, on the grid; NaN rows for images without quantiles."""
    out = np.full((len(quantiles), len(GRID)), np.nan, np.float32)
    for row, values in enumerate(np.arcsinh(quantiles)):
        if np.isfinite(values).all():
            out[row] = np.interp(GRID, values, LEVELS, left=0, right=1)
    return out


def flux_distance(
    a: Float[np.ndarray, "n band_t"],
    i: Int[np.ndarray, " n"],
    b: Float[np.ndarray, "m band_t"],
    j: Int[np.ndarray, " m"],
    bins: int,
    bands: int,
    largest: bool,
) -> Measurement:
    """W1 (or, if `largest`, KS) between both sets' median distributions: over all galaxies, and per band and bin."""

    def distance(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        gap = np.abs(_typical(p) - _typical(q)).reshape(bands, -1)
        return gap.max(axis=1) if largest else gap.sum(axis=1) * (GRID[1] - GRID[0])

    table = np.full((bands, bins), np.nan)
    for column, (rows_a, rows_b) in enumerate(zip(rows_in_bins(i, bins), rows_in_bins(j, bins), strict=True)):
        if min(len(rows_a), len(rows_b)) >= FEWEST_IN_A_CELL:
            table[:, column] = distance(a[rows_a], b[rows_b])
    return Measurement(mean_of_finite(distance(a, b)), table)


def _typical(rows: Float[np.ndarray, "n band_t"]) -> Float[np.ndarray, " band_t"]:
    """Median over images, NaN (without a warning) where none is known."""
    known = ~np.isnan(rows)
    if known.all():
        return np.median(rows, axis=0)
    median = np.full(rows.shape[1], np.nan)
    some = known.any(axis=0)
    median[some] = np.nanmedian(rows[:, some], axis=0)
    return median


def _prepare_shares(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    sigma, found = sky_sigma(real), shared_pixels(real, generated, "core_flux")
    if len(found) < 2:
        raise NotComputable("needs images of two or more bands in common")
    a, b = (np.stack([np.arcsinh(both[side] / sigma[band]) for band, both in found.items()], axis=1) for side in (0, 1))
    a, b = (values - values.mean(axis=1, keepdims=True) for values in (a, b))
    return prepare_rows(a, b, bins, lambda a, i, b, j: wasserstein_per_cell(a, i, b, j, len(bins)), list(found))


def _flux_metric(name: str, largest: bool, unit: str, words: str) -> Metric:
    return Metric(
        name,
        f"Are pixels as bright as in real images, in each band ({words})?",
        "comparison",
        "low",
        unit,
        "histogram of pixel fluxes",
        partial(_prepare_flux, largest),
        splits=20,
        largest=4000,
    )


METRICS = (
    _flux_metric("w1_pixel_flux", False, "asinh(flux / sky sigma)", "Wasserstein-1"),
    _flux_metric("ks_pixel_flux", True, "", "Kolmogorov-Smirnov"),
    Metric(
        "w1_band_shares",
        "Has each band its real share of a galaxy's light?",
        "comparison",
        "low",
        "asinh(flux / sky sigma)",
        "sums of pixels around the centre",
        _prepare_shares,
    ),
)
