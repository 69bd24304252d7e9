"""What a stamp holds beside its galaxy: other objects, light in one band alone, noise; for whoever decides which stamps to use.

From the same detections as the measurements. Definitions (1), (3) and (4) are those of :mod:`hubbleflow.clean`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import uniform_filter

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from hubbleflow.measure.block import Block
    from hubbleflow.measure.detect import Detections
    from hubbleflow.measure.stamp import StampResult
    from hubbleflow.survey import Survey

QUIET = 0.8  # of definition (1)
SHINES, ALONE = 3.0, 0.4  # of definition (3)
PIECE, WORTH_ASKING = 0.55, 0.1  # of definition (4), and the least flux over the galaxy's for which it is asked


def look_at_block(block: Block) -> dict[str, np.ndarray]:
    """What is seen in each stamp of a block by itself: flag, snr, other objects and their light, and flux, sky and noise of each band."""
    block = block.loaded()
    rows = [
        _look_at(result, block.survey) | {"pixel_noise": [_pixel_noise(band) for band in images]}
        for images, result in zip(block.images, block.measured(), strict=True)
    ]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _pixel_noise(image: Float[np.ndarray, "y x"]) -> float:
    """Definition (1); NaN where no pixel has neighbours with numbers."""
    steps = np.concatenate([np.abs(np.diff(image.astype(float), 2, axis=axis)).ravel() for axis in (0, 1)])
    steps = np.sort(steps[np.isfinite(steps)])
    return float(steps[: max(1, int(QUIET * len(steps)))].mean()) if len(steps) else np.nan


def _look_at(result: StampResult, survey: Survey) -> dict[str, Any]:
    reference = survey.band_index(survey.reference_band)
    seen: dict[str, Any] = {"flag": int(result.flag), "n_neighbours": result.n_neighbours, "snr": result.rows[reference].snr}
    for name in ("flux", "sky", "noise"):
        seen[name] = [getattr(row, name) for row in result.rows]
    scene = result.scene
    if scene is None:
        return seen | {"one_band_light": np.nan, "neighbour_flux": np.nan, "other_light": np.nan}
    found = scene.found[reference]
    sigmas = np.stack([one.data / one.sky.noise for one in scene.found])
    outside = found.segments != scene.number
    own, others = _fluxes(found, scene.number)
    total = own + others.sum()
    return seen | {
        "one_band_light": _alone(sigmas, outside) if len(sigmas) > 1 else np.nan,
        "neighbour_flux": others.max(initial=0.0) / own if own > 0 else np.nan,
        "other_light": others.sum() / total if total > 0 else np.nan,
    }


def _fluxes(found: Detections, number: int) -> tuple[float, Float[np.ndarray, " m"]]:
    """Flux of the central galaxy with its pieces (definition 4), and fluxes of the other objects."""
    flux = np.bincount(found.segments.ravel(), weights=found.data.ravel(), minlength=len(found.objects) + 1)[1:].clip(min=0)
    smooth = uniform_filter(found.data, 3)
    piece = np.arange(len(flux)) == number - 1
    for other in np.flatnonzero(flux > WORTH_ASKING * flux[number - 1]):
        piece[other] = piece[other] or _saddle(smooth, found.segments, number, int(other) + 1) > PIECE
    return float(flux[piece].sum()), flux[~piece]


def _saddle(smooth: Float[np.ndarray, "y x"], segments: Int[np.ndarray, "y x"], one: int, other: int) -> float:
    """The least light on the straight line between two objects' peaks, over that of the fainter peak."""
    ends = np.array([np.unravel_index(np.where(segments == number, smooth, -np.inf).argmax(), smooth.shape) for number in (one, other)])
    points = 2 * int(np.hypot(*(ends[1] - ends[0]))) + 2
    rows, columns = np.rint(np.linspace(ends[0], ends[1], points)).astype(int).T
    line = smooth[rows, columns]
    fainter = min(line[0], line[-1])
    return float(line.min() / fainter) if fainter > 0 else 0.0


def _alone(sigmas: Float[np.ndarray, "band y x"], outside: Bool[np.ndarray, "y x"]) -> float:
    """Definition (3): the largest share, over bands."""
    order = np.sort(sigmas, axis=0)
    brightest, second = sigmas.argmax(axis=0), order[-2]
    alone = outside & (order[-1] > SHINES) & (second < ALONE * order[-1])
    return float(np.bincount(brightest[alone], minlength=len(sigmas)).max() / outside.size)
