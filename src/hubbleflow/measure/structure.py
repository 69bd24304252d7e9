"""Structure of a block of galaxies: a Sersic fit in the reference band, and the fluxes of that model in the others.

All galaxies of a block are fitted together (`measure.sersic_fit`), from where sep's moments put them, through the PSF of the set. Pixels of
other objects, and a rim of two pixels around them, are left out, and so are unusable ones and a saturated core, which no profile describes.
Where other objects' light reaches the galaxy all the same, they are fitted too and taken away, in all bands (`measure.neighbours`).
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

from hubbleflow.measure.columns import SERSIC_COLUMNS, SERSIC_FLUX_COLUMNS
from hubbleflow.measure.flags import DOUBTFUL, Flag
from hubbleflow.measure.neighbours import Apart, fitted_apart
from hubbleflow.measure.sersic_fit import FitRecipe, fit_sersic, fluxes_in_other_bands
from hubbleflow.measure.sersic_flags import SersicFlag
from hubbleflow.measure.sersic_masks import others, plateau, square
from hubbleflow.measure.sersic_result import SersicFit
from hubbleflow.measure.sersic_start import Start
from hubbleflow.measure.stamp import Scene, StampResult
from hubbleflow.survey import Survey

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

_BATCH, _BATCH_SIDE = 32, 64  # galaxies under way at a time fill a cache at this stamp size
MAG_PER_LN_FLUX = 2.5 / np.log(10)


def sersic_columns(
    results: Sequence[StampResult],
    survey: Survey,
    psf: Float[np.ndarray, "... band y x"] | None,
    ivar: Float[np.ndarray, "n band y x"] | None = None,
    guessed: bool = False,
    subtract_neighbours: bool = True,
) -> dict[str, np.ndarray]:
    """Columns of the Sersic fits of some galaxies.

    Args:
        results: what was found in each stamp.
        psf: effective PSF images (band, y, x), or one set of them a galaxy; None: nothing is fitted.
        ivar: the set's inverse variances.
        guessed: whether the PSF is a guess, which the flag then says.
        subtract_neighbours: whether models of neighbours whose light reaches the galaxy are taken away.
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
    saturated = np.array([[bool(flag & Flag.SATURATED) for flag in results[row].band_flags] for row in rows])
    with one_thread():
        fit, apart = _fit(scenes, saturated[:, reference], reference, psf[..., reference, :, :], weights[:, reference], subtract_neighbours)
        flag[rows] |= fit.flag | np.where(
            fit.radius > 0.5 * max(scenes[0].neighbours.shape), np.int32(SersicFlag.BEYOND_STAMP), np.int32(0)
        )
        for name, values in _values(fit, survey).items():
            columns[f"{survey.reference_band}_sersic_{name}"][rows] = values
        bands = [b for b in range(len(survey.bands)) if b != reference]
        if bands:
            _other_bands(columns, rows, fit, apart, scenes, saturated, survey, bands, psf[..., bands, :, :], weights[:, bands])
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
        return square(ivar)
    noise = np.array([[one.sky.noise for one in scene.found] for scene in scenes])
    return np.divide(1.0, noise**2, out=np.zeros_like(noise), where=noise > 0)


def _fit(
    scenes: list[Scene], saturated: Bool[np.ndarray, " n"], band: int, psf: np.ndarray, ivar: np.ndarray, apart: bool
) -> tuple[SersicFit, list[Apart]]:
    """The fits, and what was found of the neighbours of some."""
    images = square(np.stack([scene.found[band].data for scene in scenes]))
    never = np.stack(
        [~scene.found[band].usable | (plateau(scene, band, band) if s else False) for scene, s in zip(scenes, saturated, strict=True)]
    )
    hidden = np.stack([others(scene, band, band) for scene in scenes]) | never
    start = Start.from_table(np.array([scene.galaxy for scene in scenes]), psf)
    batch = max(1, min(_BATCH, _BATCH * _BATCH_SIDE**2 // images.shape[-1] ** 2))
    fit = fit_sersic(images, ivar, psf, square(hidden, True), start, FitRecipe(batch=batch))
    return fit, fitted_apart(fit, scenes, band, images, ivar, psf, square(never, True), batch) if apart else []


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
    apart: list[Apart],
    scenes: list[Scene],
    saturated: Bool[np.ndarray, "n band"],
    survey: Survey,
    bands: list[int],
    psf: np.ndarray,
    ivar: np.ndarray,
) -> None:
    images = square(np.stack([[scene.found[b].data for b in bands] for scene in scenes]))
    reference = survey.band_index(survey.reference_band)
    unusable = np.stack(
        [
            [~scene.found[b].usable | (plateau(scene, b, reference) if cut[b] else False) for b in bands]
            for scene, cut in zip(scenes, saturated, strict=True)
        ]
    )
    hidden = unusable | np.stack([others(scene, bands[0], reference) for scene in scenes])[:, None]
    found = fluxes_in_other_bands(fit, images, ivar, psf, square(hidden, True))
    flux, flux_err = found.flux, found.flux_err
    for some in apart:  # with the neighbours' fluxes: a blue one shines elsewhere
        at = some.rows
        hidden = (
            unusable[at]
            | np.stack([others(scenes[row], bands[0], reference, gone) for row, gone in zip(at, some.numbers, strict=True)])[:, None]
        )
        hidden = square(hidden, True) | some.cores[:, None]
        found = fluxes_in_other_bands(fit[at], images[at], ivar[at], psf if psf.ndim == 3 else psf[at], hidden, others=some.shining)
        flux[at], flux_err[at] = found.flux, found.flux_err
    for place, b in enumerate(bands):
        start = f"{survey.bands[b]}_sersic_"
        columns[f"{start}flux"][rows], columns[f"{start}flux_err"][rows] = flux[:, place], flux_err[:, place]
        columns[f"{start}mag"][rows] = survey.magnitude(flux[:, place])
