r"""Seeing: how sharp a pointing is in each band.

A survey's coadds are built of exposures taken on different nights, so that every pointing has a PSF of its own, and every band of it too.
Around the survey's median the FWHM is drawn log-normally,

    ln FWHM_b = ln median_b + s_b (sqrt(c) t + sqrt(1 - c) t_b),     t, t_b ~ N(0, 1), cut off at 2.5 sigma,

s_b the relative scatter, c what the bands of one pointing have in common (the site, the optics).

What is measured and what is chosen (calibration/sky.py, sky.json): Moffat profiles averaged over the pixels were fitted to the PSFs of 100
real HSC UltraDeep COSMOS scenes. All 100 turn out to carry the same PSF, one a band: FWHM 0.68, 0.45, 0.49, 0.44, 0.64 arcsec and beta
2.7, 2.1, 2.2, 2.1, 1.6 from g to y, ellipticities 0.02-0.09, residuals of 1-3 % of the peak. So beta is measured, on one pointing;
the scatter is a choice, 0.08 (i) to 0.13 (r), or 0.05" to 0.1" about the medians 0.77, 0.76, 0.58, 0.68, 0.68 arcsec of HSC Wide, and
c = 0.2; Aihara et al. (2019, PASJ 71, 114) is where to check it, and has not been compared number by number. Surveys other than HSC
are given the same relative scatter about their own medians, and beta 2.5. PSFs are round here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.simulate.hsc_sky import is_hsc, of_bands, sky_table
from hubbleflow.simulate.psf import BETA, LEAST_FWHM_PIXELS, Moffat

if TYPE_CHECKING:
    from hubbleflow.survey import Survey

_LEAST_BETA = 2.0  # y's fitted one would leave much of a star's light outside a stamp of 64 pixels
_FARTHEST = 2.5  # sigma


def draw_seeing(rng: np.random.Generator, survey: Survey) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """FWHM (arcsec) and Moffat beta per band of one pointing of a survey.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> fwhm, beta = draw_seeing(np.random.default_rng(1), Survey.get("hsc-wide"))
        >>> len(fwhm), beta
        (5, (2.67, 2.09, 2.15, 2.14, 2.0))
    """
    assert survey.psf_fwhm_arcsec is not None and survey.pixel_scale_arcsec is not None  # checks.check_survey comes first
    common = sky_table()["seeing_between_bands"]
    deviates = rng.standard_normal(len(survey.bands) + 1)
    deviates = np.clip(np.sqrt(common) * deviates[0] + np.sqrt(1 - common) * deviates[1:], -_FARTHEST, _FARTHEST)
    fwhm = np.array(survey.psf_fwhm_arcsec) * np.exp(of_bands("seeing_scatter", survey.bands) * deviates)
    fwhm = np.maximum(fwhm, 1.001 * LEAST_FWHM_PIXELS * survey.pixel_scale_arcsec)
    return tuple(fwhm.tolist()), moffat_beta(survey)


def moffat_beta(survey: Survey) -> tuple[float, ...]:
    """Beta of a survey's Moffat PSF per band: what HSC's PSFs have, and `psf.BETA` elsewhere."""
    if not is_hsc(survey):
        return (BETA,) * len(survey.bands)
    return tuple(max(round(beta, 2), _LEAST_BETA) for beta in of_bands("psf_beta", survey.bands).tolist())


def median_psf(survey: Survey) -> Moffat:
    """The PSF of a survey's median seeing."""
    assert survey.psf_fwhm_arcsec is not None  # checks.check_survey comes first
    return Moffat(survey.psf_fwhm_arcsec, moffat_beta(survey))
