r"""Photon noise of a coadd: the sky's, and the source's on top of it.

A coadd's counts are photo-electrons divided by a gain G. A sky of S counts a pixel has sigma_sky^2 = S / G, and a source of f
counts adds f / G, so the gain need not be known where the sky's brightness is:

    sigma^2(f) = sigma_sky^2 (1 + max(f, 0) / S),     S = 10^{0.4 (zero point - mu_sky)} s^2.

With HSC's sky, i: 19.7 mag / arcsec^2, and sigma = 0.064 counts this makes G = 5,500 electrons a count, as 20 minutes of an 8.2 m
telescope have. Electrons are thousands a pixel, so the Poisson distribution is drawn as a Gaussian of its variance. Pixels are independent;
the correlation that resampling leaves in real coadds is not modelled yet.

Every galaxy has a random stream of its own, (seed, index): its noise is the same in any batch, file or worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.survey import Survey

# mag / arcsec^2 of a dark sky: Subaru's exposure-time calculator for g to y, CFHT's for u; other sites are within 0.5 mag
SKY_BRIGHTNESS = {"u": 22.0, "g": 21.4, "r": 20.6, "i": 19.7, "z": 18.3, "y": 17.9}
_STREAM = 1  # which of a galaxy's random streams: the population uses 0


def sky_counts(survey: Survey) -> Float[np.ndarray, " band"]:
    """Brightness of the sky, in the survey's unit a pixel.

    >>> from hubbleflow.survey import Survey
    >>> sky_counts(Survey.get("hsc-wide")).round(1).tolist()
    [4.9, 10.2, 23.5, 85.2, 123.2]
    """
    assert survey.pixel_scale_arcsec is not None  # check_survey comes first
    magnitudes = np.array([SKY_BRIGHTNESS[band] for band in survey.bands])
    return survey.flux(magnitudes) * survey.pixel_scale_arcsec**2


def add_noise(
    images: Float[np.ndarray, "n band y x"], survey: Survey, seed: int, indices: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n band y x"]:
    """Sky and source photon noise, in place; galaxy `indices[i]` of this seed always gets the same deviates."""
    sky_sigma = np.array(survey.noise, np.float32)[:, None, None]
    inverse_sky = (1 / sky_counts(survey)).astype(np.float32)[:, None, None]
    deviates = np.empty(images.shape[1:], np.float32)
    for image, index in zip(images, indices, strict=True):
        np.random.default_rng([seed, _STREAM, int(index)]).standard_normal(dtype=np.float32, out=deviates)
        variance = np.maximum(image, 0)
        variance *= inverse_sky
        variance += 1
        deviates *= np.sqrt(variance, out=variance)
        deviates *= sky_sigma
        image += deviates
    return images


def check_survey(survey: Survey) -> None:
    """Raise InputError unless the survey has all that a simulation needs: linear flux, zero point, pixels, PSF, noise, bands u-y."""
    missing = [
        name
        for name, value in (
            ("linear flux", survey.linear or None),
            ("a zero point", survey.zero_point),
            ("a pixel scale", survey.pixel_scale_arcsec),
            ("a PSF", survey.psf_fwhm_arcsec),
            ("a noise level", survey.noise),
        )
        if value is None
    ]
    if missing:
        raise InputError(
            f"survey {survey.name!r} cannot be simulated because it has no {' and no '.join(m.removeprefix('a ') for m in missing)};"
            " choose one with linear flux, such as hsc-wide, decals, sdss or lsst."
        )
    strange = [band for band in survey.bands if band not in SKY_BRIGHTNESS]
    if strange:
        raise InputError(
            f"survey {survey.name!r} has bands {', '.join(strange)}, but the mock sky knows {', '.join(SKY_BRIGHTNESS)} only;"
            " simulate a survey of those."
        )
