r"""The PSF of a set that ships none: what the survey's stated seeing says.

A round Moffat profile (1969, A&A 3, 455) of the stated full width at half maximum in each band,

    I(r) ~ (1 + (r / alpha)^2)^{-beta},   FWHM = 2 alpha sqrt(2^{1/beta} - 1),   beta = 2.5.

Turbulence alone gives wings like beta = 4.765; telescopes add to them, and ground-based stars are found at 2.5 to 3 (Trujillo et al. 2001,
MNRAS 328, 977). The HSC PSFs at hand have 1.6 to 2.7 (calibration/sky.py), and 2.5 is what the mock sky uses where it knows no better.
Stated seeing is that of star images, the pixel included: the profile is the effective PSF, and is taken at the pixels' middles.

A single pointing's seeing scatters by a tenth about a survey's median, and the fit's errors know nothing of it: a guessed PSF is flagged
(`SersicFlag.PSF_GUESSED`). Where no seeing is stated, or no pixel scale, nothing is guessed, and nothing is fitted: 8-bit pictures are
not linear in flux, so that neither a Sersic profile nor a PSF describes them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.survey import Survey

BETA = 2.5
_REACH = 6.0  # FWHM to the edge of the image: beyond lies 0.3 % of the light


def guessed_psf(survey: Survey) -> Float[np.ndarray, "band y x"] | None:
    """A PSF image a band, of unit sum; None where the survey states no seeing or no pixel scale, or is not linear in flux.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> guessed_psf(Survey.get("hsc-wide")).shape, guessed_psf(Survey.get("sdss-rgb"))
        ((5, 57, 57), None)
    """
    if survey.psf_fwhm_arcsec is None or survey.pixel_scale_arcsec is None or not survey.linear:
        return None
    widths = np.array(survey.psf_fwhm_arcsec) / survey.pixel_scale_arcsec
    half = math.ceil(_REACH * widths.max())
    r2 = np.add.outer(np.arange(-half, half + 1) ** 2, np.arange(-half, half + 1) ** 2)
    alpha = widths / (2 * math.sqrt(2 ** (1 / BETA) - 1))
    images = (1 + r2 / alpha[:, None, None] ** 2) ** -BETA
    return images / images.sum(axis=(1, 2), keepdims=True)


def fwhm_px(psf: Float[np.ndarray, "... y x"]) -> Float[np.ndarray, ...]:
    """Diameter (px) of the circle with the area above half of the peak: the full width at half maximum, within a sixth of it.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> fwhm_px(guessed_psf(Survey.get("hsc-i"))).round(1)  # stated: 0.58 arcsec, 3.45 px
        array([3.4])
    """
    psf = np.asarray(psf)
    above = psf > 0.5 * psf.max(axis=(-2, -1), keepdims=True)
    return 2.0 * np.sqrt(np.count_nonzero(above, axis=(-2, -1)) / np.pi)
