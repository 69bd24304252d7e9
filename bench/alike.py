"""Two pictures of each galaxy, of two surveys' depths, brought to one seeing and one noise.

Seeing differs from pointing to pointing. Between a pair's two pictures it is a transfer function exp(-A |k|^1.25) (k in rad/px; of the
exponents between Kolmogorov's 5/3 and a Lorentzian's 1, one that fits well), whose A is found for each pair; whichever is sharper gets it.

Noise is what a pair's two pictures do not share: where C_w, C_d and C_r are the autocorrelations of Wide, Deep and their difference over
sky pixels, what they share is (C_w + C_d - C_r) / 2, faint sources and all, and the rest of C_w and C_d is noise, whatever lies below it.
Its shape is the mean of quiet stamps, its level each stamp's own. Each picture then gets noise like the other's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

EXPONENT = 1.25
TRIED = np.linspace(-0.6, 1.6, 111)  # of A; below zero Deep's seeing is the better
LARGEST_K = 1.6  # rad/px, of the wavenumbers that A is found from: beyond is noise
MODEL_ERROR = 0.02  # of the transfer function itself
MARGIN = 16  # px, mirrored around a stamp that is blurred
PADDED = 128  # px, on a side, so that a stamp's two ends are not neighbours
WIDE_REACH, DEEP_REACH = 14, 6  # px, over which noise is correlated at most
FEWEST_SKY = 800  # pixels of a stamp from which its own level is taken; others get the median
QUIET = 1 / 3  # of the stamps
BLURRED_AWAY = 0.03  # of a power, below which it is not divided out again


def wavenumber(side: int) -> Float[np.ndarray, "y x"]:
    """|k| in rad/px at the places of rfft2."""
    return 2 * np.pi * np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))


def transfer(a: np.ndarray, side: int) -> Float[np.ndarray, "n y x"]:
    """exp(-A |k|^1.25), 1 where A is negative."""
    return np.exp(-np.maximum(a, 0.0)[:, None, None] * wavenumber(side) ** EXPONENT)


def seeing_differences(wide: np.ndarray, deep: np.ndarray, noise: tuple[float, float]) -> Float[np.ndarray, " n"]:
    """A of each pair, by greatest likelihood; noise: sigma of a pixel of either, roughly."""
    side = wide.shape[1]
    window = np.sqrt(np.outer(np.hanning(side + 1)[:side], np.hanning(side + 1)[:side]))
    f_wide, f_deep = np.fft.rfft2(window * wide), np.fft.rfft2(window * deep)
    looked = wavenumber(side) < LARGEST_K
    f_wide, f_deep, at = f_wide[:, looked], f_deep[:, looked], wavenumber(side)[looked] ** EXPONENT
    power = [(window**2).sum() * sigma**2 for sigma in noise]
    likelihood = []
    for a in TRIED:
        t_wide, t_deep = np.exp(-max(a, 0) * at), np.exp(-max(-a, 0) * at)
        variance = t_wide**2 * power[0] + t_deep**2 * power[1] + (MODEL_ERROR * np.abs(f_deep)) ** 2
        likelihood.append(-(np.abs(t_deep * f_deep - t_wide * f_wide) ** 2 / variance + np.log(variance)).sum(axis=1))
    return TRIED[np.argmax(likelihood, axis=0)]


def blurred(images: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Each with its transfer function; beyond a stamp's edge stands its mirror image."""
    padded = np.pad(images, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), mode="reflect")
    side, inner = padded.shape[1], slice(MARGIN, -MARGIN)
    return np.fft.irfft2(transfer(a, side) * np.fft.rfft2(padded), s=(side, side))[:, inner, inner]


def sky(images: np.ndarray) -> Bool[np.ndarray, "n y x"]:
    """Pixels far from what can be seen."""
    smooth = gaussian_filter(images, (0, 1.5, 1.5)) - np.median(images, axis=(1, 2), keepdims=True)
    seen = smooth > 2.5 * 1.4826 * np.median(np.abs(smooth), axis=(1, 2), keepdims=True)
    return np.stack([~binary_dilation(stamp, iterations=4) for stamp in seen])


def autocorrelation(images: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, lag y, lag x) sums of products of pixels within the mask, and the numbers of pairs."""
    middle = (images * mask).sum(axis=(1, 2), keepdims=True) / np.maximum(mask.sum(axis=(1, 2), keepdims=True), 1)
    pad = (PADDED, PADDED)
    sums, pairs = (
        np.fft.irfft2(np.abs(np.fft.rfft2(x, s=pad)) ** 2, s=pad) for x in (np.where(mask, images - middle, 0.0), mask.astype(float))
    )
    return sums, np.maximum(np.rint(pairs), 1)


def tapered(reach: int) -> np.ndarray:
    """1 at small lags, 0 beyond `reach` px."""
    lag = np.minimum(np.arange(PADDED), PADDED - np.arange(PADDED))
    return np.clip((reach - np.hypot(lag[:, None], lag)) / 4, 0, 1)


def noise_powers(wide: np.ndarray, deep: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, y, x of rfft2 at 128 px) power spectra of the noise in pictures that have been brought to one seeing; the mean of a spectrum is
    the variance of a pixel."""
    mask = sky(deep)
    pixels = mask.sum(axis=(1, 2))
    known = pixels > FEWEST_SKY
    scatter = np.where(known, np.where(mask, deep, 0.0).std(axis=(1, 2)), np.inf)
    quiet = scatter <= np.quantile(scatter, QUIET)
    difference = autocorrelation(wide - deep, mask)
    sums = [autocorrelation(images[quiet], mask[quiet]) for images in (wide, deep)]
    of_wide, of_deep, of_both = (s.sum(axis=0) / n.sum(axis=0) for s, n in (*sums, [x[quiet] for x in difference]))
    shared = (of_wide + of_deep - of_both) / 2
    blur = transfer(a, PADDED) ** 2

    # Wide's before it was blurred: divided out where something is left of it, constant beyond.
    mean_blur = blur[quiet].mean(axis=0)
    power = np.fft.rfft2((of_wide - shared) * tapered(WIDE_REACH)).real / np.maximum(mean_blur, BLURRED_AWAY)
    last = np.median(power[(mean_blur > BLURRED_AWAY) & (mean_blur < 3 * BLURRED_AWAY)])
    shape_wide = np.maximum(np.where(mean_blur > BLURRED_AWAY, power, last), 0.0) * blur
    shape_deep = np.maximum(np.fft.rfft2((of_deep - shared) * tapered(DEEP_REACH)).real, 0.0) * transfer(-a, PADDED) ** 2

    # Each stamp's levels, from its difference's variance and correlation of neighbours.
    def at_lags(correlation: np.ndarray) -> np.ndarray:
        return np.stack([correlation[:, 0, 0], (correlation[:, 0, 1] + correlation[:, 1, 0]) / 2])

    found = at_lags(difference[0] / difference[1])
    (w0, w1), (d0, d1) = (at_lags(np.fft.irfft2(shape, s=(PADDED, PADDED))) for shape in (shape_wide, shape_deep))
    determinant = w0 * d1 - w1 * d0
    levels = (found[0] * d1 - found[1] * d0) / determinant, (found[1] * w0 - found[0] * w1) / determinant
    level_wide, level_deep = (np.clip(np.where(known, x, np.median(x[known])), 0.3, 5.0)[:, None, None] for x in levels)
    return level_wide * shape_wide, level_deep * shape_deep


def noise_of(power: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """(n, side, side) Gaussian noise of these power spectra."""
    white = np.fft.rfft2(rng.normal(size=(len(power), PADDED, PADDED)))
    return np.fft.irfft2(np.sqrt(power) * white, s=(PADDED, PADDED))[:, :side, :side]


def alike(wide: np.ndarray, deep: np.ndarray, noise: tuple[float, float], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, y, x) both, with the worse seeing and the noise of both."""
    a, rng, side = seeing_differences(wide, deep, noise), np.random.default_rng(seed), wide.shape[1]
    wide, deep = blurred(wide, a), blurred(deep, -a)
    power_wide, power_deep = noise_powers(wide, deep, a)
    return wide + noise_of(power_deep, side, rng), deep + noise_of(power_wide, side, rng)
