r"""Noise of a coadd: the photons of the sky and of the source, with the correlation that resampling leaves, on a sky not quite subtracted.

Photons. A coadd's counts are photo-electrons divided by a gain G. A sky of S counts a pixel has sigma_sky^2 = S / G, and a source
of f counts adds f / G, so the gain need not be known where the sky's brightness is:

    sigma^2(f) = sigma_sky^2 (1 + max(f, 0) / S),     S = 10^{0.4 (zero point - mu_sky)} s^2.

With HSC's sky, i: 19.7 mag / arcsec^2, and sigma = 0.064 counts this makes G = 5,700 electrons a count, as 20 minutes of an 8.2 m
telescope have. Electrons are thousands a pixel, so the Poisson distribution is drawn as a Gaussian of its variance.

Correlation. Exposures are resampled onto the coadd's pixels with a sharp kernel (HSC: Lanczos), which leaves their noise nearly white: in
the empty parts of real HSC coadds the autocorrelation at lags 1, 2, 3 along an axis is +0.05, -0.04, +0.02 in every band, and off the
axes, where a separable kernel leaves the product of two such numbers, nothing is seen (calibration/sky.py). White noise w becomes noise of
correlation rho by n = k * w where k's autocorrelation is rho, sum_j k_j k_{j+l} = rho_l: along one axis the symmetric k is the transform
of the spectrum's square root, k = F^{-1} sqrt(F rho), and the plane's kernel is k_y(dy) k_x(dx). White noise is drawn for a margin
of k's half width around the stamp, so that the edge is like the middle. Two small banded matrices do it: n = K_y w K_x^T.

Only HSC's kernel is known. SDSS' images are single exposures on their own pixels, and nearly white. What DECaLS and LSST coadds have we
have not measured: they get white noise.

Sky residual. What subtracting the sky leaves is drawn a stamp and a band as a level and a slope; rms of both and the correlation of
bands are what the empty parts of the HSC scenes show from scene to scene (0.004 counts in i, a tenth of their noise). It is a surface
brightness, the same in deep and shallow coadds.

Every galaxy has a random stream of its own (`streams`): its noise is the same in any batch, file or worker.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.simulate.hsc_sky import ZERO_POINT, is_hsc, of_bands, sky_table
from hubbleflow.simulate.streams import Stream

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.survey import Survey

# mag / arcsec^2 of a dark sky: Subaru's exposure-time calculator for g to y, CFHT's for u; other sites are within 0.5 mag
SKY_BRIGHTNESS = {"u": 22.0, "g": 21.4, "r": 20.6, "i": 19.7, "z": 18.3, "y": 17.9}


def sky_counts(survey: Survey) -> Float[np.ndarray, " band"]:
    """Brightness of the sky, in the survey's unit a pixel.

    >>> from hubbleflow.survey import Survey
    >>> sky_counts(Survey.get("hsc-wide")).round(1).tolist()
    [4.9, 10.2, 23.5, 85.2, 123.2]
    """
    assert survey.pixel_scale_arcsec is not None  # checks.check_survey comes first
    magnitudes = np.array([SKY_BRIGHTNESS[band] for band in survey.bands])
    return survey.flux(magnitudes) * survey.pixel_scale_arcsec**2


def add_noise(
    images: Float[np.ndarray, "n band y x"],
    survey: Survey,
    seed: int,
    indices: Float[np.ndarray, " n"],
    correlated: bool = True,
    sky_residual: bool = True,
) -> Float[np.ndarray, "n band y x"]:
    """Sky and source photon noise, in place; galaxy `indices[i]` of this seed always gets the same deviates.

    Args:
        images: noiseless, square stamps.
        survey: whose noise, sky and pixels.
        seed, indices: which galaxies these are.
        correlated: with the pixel correlation of the survey's coadds where it is known (HSC); others are white in any case.
        sky_residual: with what imperfect subtraction of the sky leaves.

    Returns: `images`.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> sky = add_noise(np.zeros((200, 5, 32, 32), np.float32), Survey.get("hsc-wide"), 1, np.arange(200))
        >>> round(float((sky[:, 2, :, 1:] * sky[:, 2, :, :-1]).mean() / sky[:, 2].var()), 2)
        0.05
    """
    bands, size = images.shape[1], images.shape[-1]
    sky_sigma = np.array(survey.noise, np.float32)[:, None, None]
    inverse_sky = (1 / sky_counts(survey)).astype(np.float32)[:, None, None]
    kernels = _kernel_matrices(survey.bands, size) if correlated and is_hsc(survey) else None
    drawn = size if kernels is None else kernels[0].shape[-1]
    white, deviates = np.empty((bands, drawn, drawn), np.float32), np.empty((bands, size, size), np.float32)
    planes = np.empty((len(images), 3, bands + 1), np.float32)  # level and slopes; the last of the bands is what all have in common
    for image, index, plane in zip(images, indices, planes, strict=True):
        rng = Stream.NOISE.generator(seed, int(index))
        rng.standard_normal(dtype=np.float32, out=white)
        rng.standard_normal(dtype=np.float32, out=plane)
        if kernels is None:
            deviates = white
        else:
            np.matmul(kernels[0] @ white, kernels[1], out=deviates)
        variance = np.maximum(image, 0)
        variance *= inverse_sky
        variance += 1
        deviates *= np.sqrt(variance, out=variance)
        deviates *= sky_sigma
        image += deviates
    if sky_residual:
        _add_planes(images, planes, survey)
    return images


def residual_rms(survey: Survey) -> tuple[Float[np.ndarray, " band"], Float[np.ndarray, " band"]]:
    """Rms of the sky's level (unit a pixel) and slope (unit a pixel per pixel) after subtraction, per band."""
    assert survey.pixel_scale_arcsec is not None
    pixel = survey.pixel_scale_arcsec / sky_table()["pixel_scale_arcsec"]
    unit = float(survey.flux(ZERO_POINT)) * pixel**2  # what one HSC count a pixel is here
    level, slope = of_bands("residual_rms", survey.bands) * unit, of_bands("residual_gradient", survey.bands) * unit * pixel
    return level.astype(np.float32), slope.astype(np.float32)


def _add_planes(images: Float[np.ndarray, "n band y x"], deviates: Float[np.ndarray, "n 3 band1"], survey: Survey) -> None:
    """What is left of the sky: a level and two slopes per stamp and band, in place."""
    between = np.float32(sky_table()["residual_between_bands"])
    level, slope = residual_rms(survey)
    size = images.shape[-1]
    ramp = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    draws = np.sqrt(1 - between) * deviates[..., :-1] + np.sqrt(between) * deviates[..., -1:]
    images += ((level * draws[:, 0])[..., None] + (slope * draws[:, 1])[..., None] * ramp)[:, :, None, :]
    images += ((slope * draws[:, 2])[..., None] * ramp)[..., None]


@functools.lru_cache(maxsize=8)
def _kernel_matrices(bands: tuple[str, ...], size: int) -> tuple[Float[np.ndarray, "band y Y"], Float[np.ndarray, "band X x"]]:
    """K_y (band, size, size + margin) and K_x^T: each row holds the taps, so that white noise of unit variance keeps it."""
    matrices = []
    for axis in ("kernel_y", "kernel_x"):
        taps = of_bands(axis, bands)
        taps /= np.sqrt((taps**2).sum(axis=1, keepdims=True))
        matrix = np.zeros((len(bands), size, size + taps.shape[1] - 1), np.float32)
        for j, column in enumerate(taps.T):
            matrix[:, np.arange(size), np.arange(size) + j] = column[:, None]
        matrices.append(matrix)
    return matrices[0], np.ascontiguousarray(matrices[1].transpose(0, 2, 1))
