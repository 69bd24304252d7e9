r"""Rare bright stars, saturated and bleeding, as they spoil real stamps.

A star is the PSF, here the Moffat profile in real space (the Fourier renderer would wrap the wings of so bright a source round the stamp),

    I(r) = f (beta - 1) / (pi r_d^2) (1 + r^2 / r_d^2)^{-beta},

integrated over each pixel by 3 x 3 Gauss-Legendre nodes. Its i magnitude lies between 13 and 18 with counts that grow as 10^{0.2 m}, the
slope of the star counts away from the Milky Way's plane; its colours follow a main-sequence locus like that of Covey et al. (2007, AJ
134, 2398), rounded by hand (good to 0.1 mag or so), with z-y half of i-z and a scatter of 0.03.

Saturation as HSC's coadds have it. Pixels stay good up to a level L of 70-220 counts from g to y in the real scenes (calibration/sky.py);
around a star whose peak I_0 is far above it charge spreads, and good pixels begin at L (I_0 / L)^{-0.3}. Within that radius r_s,
and along a tapering trail of half-length r_s (0.4 + 1.2 log10(I_0 / L)) in the direction of the rows (both fits by eye to four stars),
pixels are masked, and hold what the pipeline puts there: values interpolated along the row from the trail's ends. So cores are flat
and streaked, and far fainter than the star. Other surveys saturate at the magnitudes of `SATURATION_MAG`. Not modelled: diffraction
spikes, haloes, the second trail of rotated exposures, and z and y cores that exposures without saturation fill in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.simulate.hsc_sky import is_hsc, of_bands
from hubbleflow.simulate.psf import BETA
from hubbleflow.simulate.streams import Stream

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from hubbleflow.simulate.psf import Moffat
    from hubbleflow.survey import Survey

SATURATION_MAG = {"sdss": 14.0, "decals": 15.5, "lsst": 16.0}  # rough; point sources at median seeing
_SATURATION_MAG = 17.0
_I_MAG, _SLOPE = (13.0, 18.0), 0.2
_CLEAR_ARCSEC = 3.0  # about the target
_G_I = (0.40, 0.50, 0.65, 0.90, 1.40, 2.10, 2.80)  # of stars of i 13-18 at high galactic latitude, at equal steps of probability
_LOCUS = np.array(  # g-i, u-g, g-r, r-i, i-z, z-y
    [
        (0.40, 0.95, 0.32, 0.08, 0.01, 0.00),
        (0.60, 1.15, 0.46, 0.14, 0.05, 0.02),
        (1.00, 1.75, 0.74, 0.26, 0.13, 0.06),
        (1.50, 2.35, 1.09, 0.41, 0.21, 0.10),
        (2.00, 2.60, 1.33, 0.67, 0.37, 0.18),
        (2.60, 2.65, 1.42, 1.18, 0.62, 0.30),
        (3.00, 2.70, 1.48, 1.52, 0.83, 0.42),
    ]
)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(3)


def add_stars(
    images: Float[np.ndarray, "n band y x"],
    mask: UInt8[np.ndarray, "n band y x"],
    survey: Survey,
    seed: int,
    indices: Float[np.ndarray, " n"],
    psf: Moffat,
    share: float = 0.03,
) -> Float[np.ndarray, " n"]:
    """Put a bright star on some of the stamps, in place, before noise is added; galaxy `indices[i]` of this seed always has the same.

    Args:
        images: noiseless stamps.
        mask: set to 1 where a pixel is saturated.
        survey: whose bands, pixels and flux.
        seed, indices: which galaxies these are.
        psf: of these stamps.
        share: of the stamps that get one.

    Returns: the stars' i magnitudes, NaN where there is no star.

    Example:
        >>> from hubbleflow.simulate.psf import Moffat
        >>> from hubbleflow.survey import Survey
        >>> images, mask = np.zeros((3, 5, 64, 64), np.float32), np.zeros((3, 5, 64, 64), np.uint8)
        >>> star = add_stars(images, mask, Survey.get("hsc-wide"), 1, np.arange(3), Moffat((0.7,) * 5), share=1.0)
        >>> bool((star > 13).all()), bool(mask.any()), bool(images.max() < 300)
        (True, True, True)
    """
    magnitudes = np.full(len(images), np.nan)
    size, scale = images.shape[-1], float(survey.pixel_scale_arcsec or 0)
    if size * scale / np.sqrt(2) <= _CLEAR_ARCSEC:
        return magnitudes  # the target's surroundings fill the stamp
    level = saturation_level(survey)
    for g, index in enumerate(indices):
        rng = Stream.STARS.generator(seed, int(index))
        if rng.random() >= share:
            continue
        i_mag, mag = draw_magnitudes(rng, survey)
        x = y = 0.0
        while np.hypot(x, y) <= _CLEAR_ARCSEC:
            x, y = rng.uniform(-0.5, 0.5, 2) * size * scale
        magnitudes[g] = i_mag
        flux = survey.flux(mag)
        images[g] += point_source(flux, psf, size, scale, x, y)
        for band, (f, fwhm, beta) in enumerate(zip(flux, psf.fwhm_arcsec, psf.betas, strict=True)):
            saturated = _saturated(f, _core_radius(fwhm, beta) / scale, beta, level[band], x / scale, y / scale, size)
            _interpolate_rows(images[g, band], saturated)
            mask[g, band] |= saturated.astype(np.uint8)
    return magnitudes


def draw_magnitudes(rng: np.random.Generator, survey: Survey) -> tuple[float, Float[np.ndarray, " band"]]:
    """The i magnitude of a star, and its magnitudes in the survey's bands."""
    low, high = (10 ** (_SLOPE * m) for m in _I_MAG)  # the counts up to m grow as this
    i_mag = float(np.log10(rng.uniform(low, high)) / _SLOPE)
    g_i = np.interp(rng.random(), np.linspace(0, 1, len(_G_I)), _G_I)
    u_g, g_r, r_i, i_z, z_y = (np.interp(g_i, _LOCUS[:, 0], colour) for colour in _LOCUS.T[1:])
    of_band = {"u": u_g + g_r + r_i, "g": g_r + r_i, "r": r_i, "i": 0.0, "z": -i_z, "y": -i_z - z_y}
    scatter = 0.03 * rng.standard_normal(len(of_band))
    offset = dict(zip(of_band, scatter, strict=True))
    offset["i"] = 0.0
    return i_mag, np.array([i_mag + of_band[band] + offset[band] for band in survey.bands])


def saturation_level(survey: Survey) -> Float[np.ndarray, " band"]:
    """Flux a pixel at which each band saturates, in the survey's unit."""
    if is_hsc(survey):
        return of_bands("saturation", survey.bands)
    assert survey.psf_fwhm_arcsec is not None and survey.pixel_scale_arcsec is not None
    flux = survey.flux(SATURATION_MAG.get(survey.name, _SATURATION_MAG))
    radius = _core_radius(np.array(survey.psf_fwhm_arcsec), BETA) / survey.pixel_scale_arcsec
    return flux * 1.5 / (np.pi * radius**2)


def point_source(
    flux: Float[np.ndarray, " band"], psf: Moffat, size: int, pixel_scale_arcsec: float, x: float, y: float
) -> Float[np.ndarray, "band y x"]:
    """Image of a point source at (x, y) arcsec from the stamp's centre."""
    fine = (np.arange(size)[:, None] + 0.5 * _NODES).ravel() - (size - 1) / 2
    weight = np.outer(_WEIGHTS, _WEIGHTS) / 4
    r2 = (fine[:, None] - y / pixel_scale_arcsec) ** 2 + (fine - x / pixel_scale_arcsec) ** 2
    image = np.empty((len(flux), size, size))
    for band, (fwhm, beta) in enumerate(zip(psf.fwhm_arcsec, psf.betas, strict=True)):
        square = (_core_radius(fwhm, beta) / pixel_scale_arcsec) ** 2
        profile = (1 + r2 / square) ** -beta
        image[band] = flux[band] * (beta - 1) / (np.pi * square) * np.einsum("iajb,ab->ij", profile.reshape(size, 3, size, 3), weight)
    return image.astype(np.float32)


def _core_radius(fwhm: Any, beta: float) -> Any:
    """r_d of a Moffat profile, from one FWHM or an array of them."""
    return fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))


def _saturated(flux: float, radius: float, beta: float, level: float, x: float, y: float, size: int) -> np.ndarray:
    """Pixels of the core and of the trail along the row; lengths in pixels."""
    peak = flux * (beta - 1) / (np.pi * radius**2)
    row, column = np.indices((size, size)) - (size - 1) / 2
    if peak <= level:
        return np.zeros((size, size), bool)
    core = radius * np.sqrt((peak / level) ** (1.3 / beta) - 1)  # where the star has the level L (I_0 / L)^-0.3
    trail = core * (0.4 + 1.2 * np.log10(peak / level))
    dx, dy = np.abs(column - x), np.abs(row - y)
    return (dx**2 + dy**2 < core**2) | (dx < trail * (1 - dy / max(0.5 * core, 1.0)))


def _interpolate_rows(image: np.ndarray, masked: np.ndarray) -> None:
    pixels = np.arange(image.shape[1])
    for row in np.flatnonzero(masked.any(axis=1)):
        bad = masked[row]
        if not bad.all():
            image[row, bad] = np.interp(pixels[bad], pixels[~bad], image[row, ~bad])
        elif row > 0:
            image[row] = image[row - 1]
