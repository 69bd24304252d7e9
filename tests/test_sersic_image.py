"""The image of a fit: what the fit was made of, and what the measured columns still know of it."""

from __future__ import annotations

import numpy as np

from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import measure
from hubbleflow.measure.psf_guess import guessed_psf
from hubbleflow.measure.sersic_fit import fit_sersic
from hubbleflow.measure.sersic_image import fit_of_columns, sersic_images
from hubbleflow.survey import Survey


def ellipse(size: int = 64) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return 200 * np.exp(-(x**2 / 40 + y**2 / 18))


def test_a_fitted_image_is_the_galaxys():
    y, x = np.mgrid[:21, :21] - 10.0
    psf = np.exp(-(x**2 + y**2) / 6)
    stack = np.stack([ellipse() + 3.0, np.full((64, 64), np.nan)])
    models = sersic_images(fit_sersic(stack, 1e4, psf), psf, 64)
    assert np.abs(models[0] - stack[0]).max() < 2e-3 * stack[0].max()
    assert (models[1] == 0).all()  # no fit, no image


def test_columns_keep_what_is_needed_to_draw_the_fit():
    survey = Survey.get("hsc-i")
    noise = np.random.default_rng(1).normal(0, 0.5, (2, 1, 64, 64))
    galaxies = GalaxySet((0.1 * ellipse() + noise).astype(np.float32), survey)
    columns = measure(galaxies, progress=False).columns
    psf = guessed_psf(survey)
    assert psf is not None
    residual = galaxies.images[:, 0] - columns["i_sky"][:, None, None] - sersic_images(fit_of_columns(columns, "i"), psf[0], 64)
    assert 0.45 < residual.std() < 0.55
