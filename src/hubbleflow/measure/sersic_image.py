"""What a fit says the galaxies look like: the image that is taken from the stamp to see the residual."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from hubbleflow.measure.sersic_fit import theta_of
from hubbleflow.measure.sersic_model import SersicModel
from hubbleflow.measure.sersic_result import SersicFit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float


def sersic_images(
    fit: SersicFit, psf: Float[np.ndarray, "... y x"], size: int, dtype: torch.dtype = torch.float32
) -> Float[np.ndarray, "n y x"]:
    """The fitted models, PSF and sky included, in the image's unit; zero where there was no fit.

    Args:
        fit: of `fit_sersic`.
        psf: the PSF image that the fit was given: one for all (y, x) or one a galaxy (n, y, x).
        size: side of the stamps, px.

    Example:
        >>> y, x = np.mgrid[:64, :64] - 31.5
        >>> psf = np.exp(-(x**2 + y**2) / 4)
        >>> galaxy = 100 * np.exp(-(x**2 + y**2) / 40) / (40 * np.pi)
        >>> from hubbleflow.measure.sersic_fit import fit_sersic
        >>> model = sersic_images(fit_sersic(galaxy[None], 1e6, psf), psf, 64)
        >>> bool(abs(model - galaxy).max() < 2e-3 * galaxy.max())
        True
    """
    structure = theta_of(fit)
    known = np.isfinite(np.stack([*structure.T, fit.flux, fit.sky])).all(axis=0)
    images = np.zeros((len(fit), size, size))
    if known.any():
        model = SersicModel(size, dtype=dtype)
        kernels = torch.as_tensor(np.asarray(psf if np.ndim(psf) == 2 else psf[known], float).reshape(-1, *np.shape(psf)[-2:]))
        theta = torch.as_tensor(structure[known], dtype=dtype)
        unit = model.image(theta, model.transfer(kernels).expand(len(theta), -1, -1)).numpy()
        images[known] = fit.flux[known, None, None] * unit + fit.sky[known, None, None]
    return images


def fit_of_columns(columns: Mapping[str, np.ndarray], band: str) -> SersicFit:
    """The fit of one band out of a set's measured columns (`i_sersic_radius`, ...), enough of it to draw.

    Raises:
        KeyError: the set was measured without it.
    """
    fit = SersicFit.empty(len(columns[f"{band}_sersic_flux"]))
    for name in ("flux", "x", "y", "radius", "sersic_index", "sky"):
        getattr(fit, name)[:] = columns[f"{band}_sersic_{name.removeprefix('sersic_')}"]
    fit.axis_ratio[:] = 1 - columns[f"{band}_sersic_ellipticity"]
    fit.position_angle[:] = columns[f"{band}_sersic_pos_angle"]
    fit.flag[:] = columns[f"{band}_sersic_flag"]
    return fit
