"""Shapes without a model of a block of galaxies: `measure.nonparametric` in the reference band, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.measure.flags import DOUBTFUL
from hubbleflow.measure.nonparametric import SHAPE_COLUMNS, SMALLEST, Nonparametric, nonparametric
from hubbleflow.measure.shape_flags import ShapeFlag
from hubbleflow.measure.stamp import StampResult
from hubbleflow.survey import Survey

if TYPE_CHECKING:
    from jaxtyping import Float


def shape_columns(
    results: Sequence[StampResult], survey: Survey, psf_fwhm_px: Float[np.ndarray, "... band"] | None = None
) -> dict[str, np.ndarray]:
    """Columns of the shapes of some galaxies; where nothing was detected, or stamps are smaller than 8 px, there are no numbers.

    Args:
        results: what was found in each stamp.
        psf_fwhm_px: width of the PSF, (band,) or (n, band), where known.
    """
    band, start = survey.band_index(survey.reference_band), survey.reference_band
    columns = {f"{start}_{name}": np.full(len(results), np.nan) for name in SHAPE_COLUMNS}
    flag = columns[f"{start}_shape_flag"] = np.full(len(results), int(ShapeFlag.NO_OBJECT), np.int32)
    rows = [row for row, result in enumerate(results) if result.scene and min(result.scene.neighbours.shape) >= SMALLEST]
    if rows:
        widths = None if psf_fwhm_px is None else np.broadcast_to(psf_fwhm_px[..., band], len(results))[rows]
        shapes = _shapes([results[row] for row in rows], band, widths)
        for name in SHAPE_COLUMNS:
            columns[f"{start}_{name}"][rows] = getattr(shapes, name)
        flag[rows] = shapes.flag
    for row, result in enumerate(results):
        flag[row] |= ShapeFlag.UNTRUSTED_OBJECT if result.band_flags[band] & DOUBTFUL else 0
    return columns


def _shapes(results: list[StampResult], band: int, psf_fwhm_px: Float[np.ndarray, " n"] | None) -> Nonparametric:
    scenes = [result.scene for result in results if result.scene]
    found = [scene.found[band] for scene in scenes]
    own = np.stack([one.segments == scene.number for one, scene in zip(found, scenes, strict=True)])
    mask = np.stack([~one.usable | (one.segments != 0) for one in found]) & ~(own & np.stack([one.usable for one in found]))
    return nonparametric(
        np.stack([one.data for one in found]),
        np.array([one.sky.noise for one in found]),
        mask,
        np.array([float(scene.galaxy["x"]) for scene in scenes]),
        np.array([float(scene.galaxy["y"]) for scene in scenes]),
        segments=own,
        psf_fwhm=psf_fwhm_px,
    )
