"""Structure of a block of galaxies: a Sersic fit in the reference band, and the fluxes of that model in the others.

All galaxies of a block are fitted together (`measure.sersic_fit`), from where sep's moments put them, through the PSF of the set. Pixels of
other objects, and a rim of two pixels around them, are left out, and so are unusable ones and a saturated core, which no profile describes.
Weights are the set's inverse variances; without them, one over the variance of the band's sky. Light is what `measure.detect` left after it
took the sky away, and the fit finds its own remainder of that.

This module imports torch: nothing imports it before a fit is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from hubbleflow.measure.columns import SERSIC_COLUMNS, SERSIC_FLUX_COLUMNS
from hubbleflow.measure.flags import Flag
from hubbleflow.measure.sersic_fit import FitRecipe, SersicFit, fit_sersic, fluxes_in_other_bands
from hubbleflow.measure.sersic_flags import SersicFlag
from hubbleflow.measure.sersic_start import Start
from hubbleflow.measure.stamp import Scene, StampResult
from hubbleflow.survey import Survey

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32

DOUBTFUL = Flag.OFF_CENTRE | Flag.AMBIGUOUS | Flag.SATURATED | Flag.HOT_PIXEL | Flag.DEBLEND_FAILED | Flag.SINGULAR
RIM_PX = 2
LEAST_SIDE = 8  # pixels, of a stamp that can be fitted; smaller ones are given a rim that is not used
_BATCH, _BATCH_SIDE = 32, 64  # galaxies under way at a time fill a cache at this stamp size
MAG_PER_LN_FLUX = 2.5 / np.log(10)


def sersic_columns(
    results: Sequence[StampResult],
    survey: Survey,
    psf: Float[np.ndarray, "... band y x"] | None,
    ivar: Float[np.ndarray, "n band y x"] | None = None,
    guessed: bool = False,
) -> dict[str, np.ndarray]:
    """Columns of the Sersic fits of some galaxies.

    Args:
        results: what was found in each stamp.
        psf: effective PSF images (band, y, x), or one set of them a galaxy; None: nothing is fitted.
        ivar: the set's inverse variances.
        guessed: whether the PSF is a guess, which the flag then says.
    """
    reference = survey.band_index(survey.reference_band)
    columns = _empty(len(results), survey)
    flag = columns[f"{survey.reference_band}_sersic_flag"]
    for row, result in enumerate(results):
        flag[row] = 0 if result.scene else SersicFlag.NO_OBJECT
        flag[row] |= SersicFlag.EMPTY if result.band_flags[reference] & Flag.EMPTY else 0
        flag[row] |= SersicFlag.UNTRUSTED_OBJECT if result.band_flags[reference] & DOUBTFUL else 0
    if psf is None:
        flag |= SersicFlag.NO_PSF
        return columns
    if guessed:
        flag |= SersicFlag.PSF_GUESSED
    rows = np.array([row for row, result in enumerate(results) if result.scene], int)
    if not len(rows):
        return columns
    scenes = [result.scene for result in results if result.scene]
    psf = psf if psf.ndim == 3 else psf[rows]
    weights = _weights(scenes, None if ivar is None else ivar[rows])
    saturated = np.array([bool(results[row].band_flags[reference] & Flag.SATURATED) for row in rows])
    with one_thread():
        fit = _fit(scenes, saturated, reference, psf[..., reference, :, :], weights[:, reference])
        flag[rows] |= fit.flag | np.where(
            fit.radius > 0.5 * max(scenes[0].neighbours.shape), np.int32(SersicFlag.BEYOND_STAMP), np.int32(0)
        )
        for name, values in _values(fit, survey).items():
            columns[f"{survey.reference_band}_sersic_{name}"][rows] = values
        others = [b for b in range(len(survey.bands)) if b != reference]
        if others:
            _other_bands(columns, rows, fit, scenes, survey, others, psf[..., others, :, :], weights[:, others])
    return columns


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread: there is one process a core, and sums over several threads would end in other last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _empty(n: int, survey: Survey) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    for band in survey.bands:
        for name in SERSIC_COLUMNS if band == survey.reference_band else SERSIC_FLUX_COLUMNS:
            columns[f"{band}_sersic_{name}"] = np.full(n, np.nan)
    columns[f"{survey.reference_band}_sersic_flag"] = np.zeros(n, np.int32)
    return columns


def _weights(scenes: list[Scene], ivar: Float[np.ndarray, "n band y x"] | None) -> np.ndarray:
    """Inverse variances (n, band), or (n, band, y, x) where the set has them; 0 where no noise is known."""
    if ivar is not None:
        return _square(ivar)
    noise = np.array([[one.sky.noise for one in scene.found] for scene in scenes])
    return np.divide(1.0, noise**2, out=np.zeros_like(noise), where=noise > 0)


def _fit(scenes: list[Scene], saturated: Bool[np.ndarray, " n"], band: int, psf: np.ndarray, ivar: np.ndarray) -> SersicFit:
    images = _square(np.stack([scene.found[band].data for scene in scenes]))
    hidden = np.stack([_hidden(scene, band, band) for scene in scenes])
    for row in np.flatnonzero(saturated):
        hidden[row] |= _plateau(scenes[row], band)
    galaxies = np.array([scene.galaxy for scene in scenes])
    start = Start.from_table({name: galaxies[name] for name in ("x", "y", "a", "b", "theta")}, psf)
    batch = max(1, min(_BATCH, _BATCH * _BATCH_SIDE**2 // images.shape[-1] ** 2))
    return fit_sersic(images, ivar, psf, _square(hidden, True), start, FitRecipe(batch=batch))


def _hidden(scene: Scene, band: int, reference: int) -> Bool[np.ndarray, "y x"]:
    """Unusable pixels, and other objects' with a rim: their light goes on beyond the isophote they were found by."""
    own = scene.found[reference].segments == scene.number
    others = (scene.found[reference].segments != 0) & ~own if band == reference else scene.neighbours
    if others.any():
        others = ndimage.binary_dilation(others, iterations=RIM_PX) & ~own
    return others | ~scene.found[band].usable


def _plateau(scene: Scene, band: int) -> Bool[np.ndarray, "y x"]:
    """Pixels of the galaxy that share its largest value."""
    data, own = scene.found[band].data, scene.found[band].segments == scene.number
    return own & (data == data[own].max())


def _values(fit: SersicFit, survey: Survey) -> dict[str, np.ndarray]:
    """SERSIC_COLUMNS by name."""
    names = {"index": "sersic_index", "radius": "radius", "pos_angle": "position_angle", "flux": "flux", "x": "x", "y": "y", "sky": "sky"}
    values = {f"{ours}{tail}": getattr(fit, f"{theirs}{tail}") for ours, theirs in names.items() for tail in ("", "_err")}
    with np.errstate(divide="ignore", invalid="ignore"):
        values["chi2"] = np.where(fit.dof > 0, fit.chi2 / fit.dof, np.nan)
        values["mag_err"] = np.where(fit.flux > 0, MAG_PER_LN_FLUX * fit.flux_err / fit.flux, np.nan)
    values |= {
        "ellipticity": 1.0 - fit.axis_ratio,
        "ellipticity_err": fit.axis_ratio_err,
        "mag": survey.magnitude(fit.flux),
        "snr": fit.snr,
    }
    return values


def _other_bands(
    columns: dict[str, np.ndarray],
    rows: np.ndarray,
    fit: SersicFit,
    scenes: list[Scene],
    survey: Survey,
    bands: list[int],
    psf: np.ndarray,
    ivar: np.ndarray,
) -> None:
    images = _square(np.stack([[scene.found[b].data for b in bands] for scene in scenes]))
    reference = survey.band_index(survey.reference_band)
    hidden = _square(np.stack([[_hidden(scene, b, reference) for b in bands] for scene in scenes]), True)
    fluxes = fluxes_in_other_bands(fit, images, ivar, psf, hidden)
    for place, b in enumerate(bands):
        start = f"{survey.bands[b]}_sersic_"
        columns[f"{start}flux"][rows], columns[f"{start}flux_err"][rows] = fluxes.flux[:, place], fluxes.flux_err[:, place]
        columns[f"{start}mag"][rows] = survey.magnitude(fluxes.flux[:, place])


def _square(stack: Float32[np.ndarray, "... y x"], fill: float | bool = 0) -> np.ndarray:
    """Stamps with rows or columns added at their ends where they are not square, or too small."""
    height, width = stack.shape[-2:]
    side = max(height, width, LEAST_SIDE)
    if (height, width) == (side, side):
        return stack
    return np.pad(stack, [(0, 0)] * (stack.ndim - 2) + [(0, side - height), (0, side - width)], constant_values=fill)
