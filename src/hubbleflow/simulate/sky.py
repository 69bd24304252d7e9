r"""The empty sky of real or simulated images: how deep its noise is, and how much a pixel knows of its neighbours.

For noise of variance sigma^2 and correlation rho on an unknown level, half the mean squared difference of two pixels a lag l apart,

    gamma(l) = 1/2 <(x(p) - x(p + l))^2> = sigma^2 (1 - rho(l)),

the variogram (Matheron 1963), does not know the level. Correlations estimated after a mean has been taken away come out too low by
about sum(rho) / (number of pixels); here nothing is taken away: where rho has died out, gamma is sigma^2 (the "sill", at lags of
6 and 7 pixels), so that rho(l) = 1 - gamma(l) / gamma(sill). A gradient g adds g^2 l^2 / 2 to gamma: of second order.

Sources are masked where the *other* bands see something in their smoothed sum: bands share galaxies but not noise, so that the mask does
not choose among the noise peaks of the band that is measured. What stays below the threshold is seen in the same way: the variogram of
two bands, 1/2 <(x - x')(y - y')>, has no noise in it at all (see calibration/sky.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

REACH = 4  # pixels: correlations are measured up to this lag in x and y
LAGS = tuple((dx, dy) for dy in range(REACH + 1) for dx in range(-REACH, REACH + 1) if (dy, dx) > (0, 0))
SILL = ((6, 0), (0, 6), (7, 0), (0, 7), (6, 6), (-6, 6), (7, 3), (-3, 7))
_SMOOTHING = 1.5  # pixels: the sum of the bands is smoothed by about the seeing
_THRESHOLDS = ((2.5, 3), (20.0, 10), (200.0, 25))  # (sigma of that sum, pixels by which what is brighter is grown)
_OUTLIER = 5.0  # sigma: cosmic rays and bad columns are in one band only
_LEAST_PIXELS = 100


@dataclass(frozen=True)
class EmptySky:
    """What `measure_sky` finds, for each image and band; NaN where an image has too little empty sky.

    Attributes:
        rms: standard deviation of the noise, in the images' unit.
        level: mean of the empty pixels.
        gradient: slope of a plane through them, per pixel, along x and y.
        pixels: how many empty pixels there are.
        gamma: sums of half squared differences at `LAGS` and then `SILL`, over the variance of the image's empty pixels.
        pairs: the number of terms in each sum.
    """

    rms: Float[np.ndarray, "image band"]
    level: Float[np.ndarray, "image band"]
    gradient: Float[np.ndarray, "image band 2"]
    pixels: Float[np.ndarray, "image band"]
    gamma: Float[np.ndarray, "image band lag"]
    pairs: Float[np.ndarray, "image band lag"]

    def correlation(self, rows: slice = slice(None)) -> Float[np.ndarray, "band dy dx"]:
        """Autocorrelation, all images together, at lags -4 to 4 in y and x."""
        gamma, pairs = self.gamma[rows].sum(axis=0), self.pairs[rows].sum(axis=0)
        near = len(LAGS)
        sill = gamma[:, near:].sum(axis=1) / pairs[:, near:].sum(axis=1)
        rho = 1 - gamma[:, :near] / pairs[:, :near] / sill[:, None]
        square = np.ones((len(rho), 2 * REACH + 1, 2 * REACH + 1))
        for (dx, dy), value in zip(LAGS, rho.T, strict=True):
            square[:, REACH + dy, REACH + dx] = square[:, REACH - dy, REACH - dx] = value
        return square


def measure_sky(images: Iterable[Float[np.ndarray, "band y x"]]) -> EmptySky:
    """Noise of the empty pixels of images of several bands (of a single band, too: its own peaks are masked then).

    Example:
        >>> white = np.random.default_rng(0).normal(1.0, 2.0, (20, 3, 64, 64))
        >>> sky = measure_sky(white)
        >>> np.nanmedian(sky.rms, axis=0).round(1).tolist(), bool(np.abs(sky.correlation()[:, 4, 5:]).max() < 0.02)
        ([2.0, 2.0, 2.0], True)
    """
    found = [[_of_band(image, band) for band in range(len(image))] for image in images]
    columns = [np.array([[of_band[j] for of_band in row] for row in found]) for j in range(6)]
    return EmptySky(*columns)


def empty_pixels(image: Float[np.ndarray, "band y x"], leave_out: Collection[int] = ()) -> Bool[np.ndarray, "y x"]:
    """Where no source is seen in the sum of the bands (each in units of its noise), some of them left out."""
    bands = [band for band in range(len(image)) if band not in leave_out] or range(len(image))
    total = np.zeros(image.shape[1:])
    for band in bands:
        noise = _noise(image[band])
        total += (image[band] - _level(image[band], noise)) / noise
    smooth = gaussian_filter(total, _SMOOTHING)
    noise = 1.05 * np.sqrt(len(bands)) / (2 * np.sqrt(np.pi) * _SMOOTHING)  # of white noise; HSC's correlation makes it 5 % larger
    level = _level(smooth, noise)
    seen = np.zeros(smooth.shape, bool)
    for threshold, growth in _THRESHOLDS:
        above = smooth > level + threshold * noise
        if above.any():
            seen |= binary_dilation(above, iterations=growth)
    return ~seen


def half_products(
    a: Float[np.ndarray, "y x"], b: Float[np.ndarray, "y x"], use: Bool[np.ndarray, "y x"], lags: Collection[tuple[int, int]]
) -> tuple[Float[np.ndarray, " lag"], Float[np.ndarray, " lag"]]:
    """Sums of 1/2 (a - a')(b - b') over pairs of used pixels at each lag, and the numbers of pairs."""
    height, width = use.shape
    sums, pairs = np.zeros(len(lags)), np.zeros(len(lags))
    for j, (dx, dy) in enumerate(lags):
        here = np.s_[max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)]
        there = np.s_[max(dy, 0) : height - max(-dy, 0), max(dx, 0) : width - max(-dx, 0)]
        if height <= abs(dy) or width <= abs(dx):
            continue
        both = use[here] & use[there]
        sums[j] = 0.5 * ((a[there] - a[here]) * (b[there] - b[here]))[both].sum()
        pairs[j] = both.sum()
    return sums, pairs


def without_outliers(plane: Float[np.ndarray, "y x"], use: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """The used pixels that are no outliers, nor next to one."""
    if not use.any():
        return use
    level, noise = np.median(plane[use]), _spread(plane[use])
    outlying = use & (np.abs(plane - level) > _OUTLIER * noise)
    return use & ~binary_dilation(outlying, iterations=2) if outlying.any() else use


def _of_band(image: np.ndarray, band: int) -> tuple[float, float, np.ndarray, int, np.ndarray, np.ndarray]:
    plane = np.asarray(image[band], float)
    use = without_outliers(plane, empty_pixels(image, (band,)))
    count = int(use.sum())
    if count < _LEAST_PIXELS:
        none = np.zeros(len(LAGS) + len(SILL))
        return np.nan, np.nan, np.full(2, np.nan), count, none, none
    values = plane[use]
    gamma, pairs = half_products(plane, plane, use, LAGS + SILL)
    sill, distant = gamma[len(LAGS) :].sum(), pairs[len(LAGS) :].sum()
    rms = float(np.sqrt(sill / distant)) if distant else np.nan
    y, x = np.nonzero(use)
    design = np.column_stack([x - x.mean(), y - y.mean(), np.ones(count)])
    slope = np.linalg.lstsq(design, values, rcond=None)[0][:2]
    return rms, float(values.mean()), slope, count, gamma / values.var(), pairs


def _level(plane: np.ndarray, noise: float) -> float:
    """Level of the sky in an image with sources: what lies two sigma above it is left out, again and again."""
    values = np.asarray(plane, float).ravel()
    level = float(np.median(values))
    for _ in range(50):
        below = values[values < level + 2 * noise]
        if len(below) == len(values) or not len(below):
            break
        values, level = below, float(np.median(below))
    return level


def _noise(plane: np.ndarray) -> float:
    """Noise from differences of diagonal neighbours, which neither a large source nor the correlation along the axes enters."""
    return _spread(plane[1:, 1:] - plane[:-1, :-1]) / np.sqrt(2)


def _spread(values: np.ndarray) -> float:
    return max(1.4826 * float(np.median(np.abs(values - np.median(values)))), 1e-30)
