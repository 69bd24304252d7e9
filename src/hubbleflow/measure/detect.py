"""Which pixels of a stamp belong to the central galaxy, and which to its neighbours.

SExtractor's detection (Bertin & Arnouts 1996, A&AS 117, 393) as the library `sep` does it (Barbary 2016): the sky is
subtracted, the image convolved with the 3x3 pyramid [[1, 2, 1], [2, 4, 2], [1, 2, 1]] / 16, pixels above 1.5 sky
sigmas are linked where at least five touch, and each group is deblended along 32 levels of brightness. With this
filter and this least area sep agrees with SExtractor 2.25: its `tnpix` is ISOAREA_IMAGE (`npix`, counted on the
convolved image, is ISOAREAF_IMAGE), its a and b are A_IMAGE and B_IMAGE.

The galaxy that a stamp is about is the one at its centre: not the first of the list, nor the brightest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import sep

from hubbleflow.measure.flags import Flag
from hubbleflow.measure.recipe import Recipe
from hubbleflow.measure.sky import Sky, sky_of, smallest_step

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Int

LARGEST = 1e15  # beyond, squares overflow the single precision in which sep works: no such pixel is data
SUB_OBJECTS = 1024  # that deblending may find in one object: sep's default
FILTER = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32)
SKY_ROUNDS = 2  # detect and mask, twice: the second time around what the first has found
SHRINK = 0.93  # of the ellipses kept from the sky, a step


@dataclass(frozen=True)
class Detections:
    """Everything found in one band of one stamp.

    Attributes:
        data: sky-subtracted image; 0 where a pixel is unusable.
        usable: False where a pixel is non-finite (or beyond 1e15), masked or has no weight.
        error: noise of a pixel, one number or an image.
        sky: level and typical noise.
        objects: sep's structured array, one row an object.
        segments: number of the object (row + 1) that each pixel belongs to; 0 = none.
        flag: what is wrong with the whole stamp.
    """

    data: Float32[np.ndarray, "y x"]
    usable: Bool[np.ndarray, "y x"]
    error: Any
    sky: Sky
    objects: np.ndarray
    segments: Int[np.ndarray, "y x"]
    flag: Flag


def detect(
    image: Float[np.ndarray, "y x"],
    recipe: Recipe,
    ivar: Float[np.ndarray, "y x"] | None = None,
    mask: Int[np.ndarray, "y x"] | None = None,
) -> Detections:
    """Subtract the sky and find every object. Nothing in an image makes this fail: what is wrong is in `flag`.

    Args:
        image: pixels of one band, in any linear unit.
        recipe: thresholds and tolerances.
        ivar: inverse variance of each pixel, used as the noise where given; 0 = no data.
        mask: non-zero = do not use.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> y, x = np.mgrid[:32, :32] - 15.5
        >>> image = 50 * np.exp(-(x**2 + y**2) / 18) + rng.normal(5, 1, (32, 32))
        >>> found = detect(image, Recipe())
        >>> len(found.objects), bool(abs(found.objects["x"][0] - 15.5) < 0.2)
        (1, True)
    """
    with np.errstate(invalid="ignore"):
        usable = np.abs(image) < LARGEST  # False for NaN
    if ivar is not None:
        usable &= np.isfinite(ivar) & (ivar > 0)
    if mask is not None:
        usable &= mask == 0
    values = image[usable]
    if values.size == 0:
        return _nothing(image, usable, Sky(np.nan, np.nan, Flag(0)), Flag.EMPTY | Flag.NO_NOISE_ESTIMATE)
    if values.min() == values.max():
        return _nothing(image, usable, Sky(float(values[0]), np.nan, Flag(0)), Flag.CONSTANT | Flag.NO_NOISE_ESTIMATE)

    sky, flag = sky_of(values), Flag(0)
    step = smallest_step(values) if sky.flag else np.nan
    for _ in range(SKY_ROUNDS):
        data, error = _subtracted(image, usable, sky, ivar)
        objects, _, _ = extract(data, error, usable, recipe, deblend=False)
        free, flag = free_of_sources(objects, usable, recipe)
        sky = sky_of(image[free], step)
    if ivar is not None:  # the stated noise is used; clipping and rounding do not matter to it
        sky = Sky(sky.level, float(np.median(ivar[usable].astype(np.float64)) ** -0.5), Flag(0))
    data, error = _subtracted(image, usable, sky, ivar)
    objects, segments, failed = extract(data, error, usable, recipe)
    if values.size < recipe.sparse_fraction * usable.size:
        flag |= Flag.SPARSE
    return Detections(data, usable, error, sky, objects, segments, flag | sky.flag | failed)


def _subtracted(image: np.ndarray, usable: np.ndarray, sky: Sky, ivar: np.ndarray | None) -> tuple[np.ndarray, Any]:
    # In double precision before the sky is gone: a sky of 1e4 counts would cost a float32 its last digits.
    data = np.ascontiguousarray(np.where(usable, image.astype(np.float64) - sky.level, 0.0), np.float32)
    if ivar is None:
        return data, float(sky.noise)
    error = np.ones(image.shape, np.float32)
    error[usable] = ivar[usable].astype(np.float64) ** -0.5
    error[~usable] = error[usable].max()  # masked anyway; sep wants numbers
    return data, error


def extract(
    data: Float32[np.ndarray, "y x"], error: Any, usable: Bool[np.ndarray, "y x"], recipe: Recipe, deblend: bool = True
) -> tuple[np.ndarray, Int[np.ndarray, "y x"], Flag]:
    """Objects and segments of a sky-subtracted image; Flag.DEBLEND_FAILED where deblending had to be given up."""
    # sep allocates its whole pixel stack at every call: the default of 300,000 costs more than the detection itself.
    sep.set_extract_pixstack(max(2 * data.size, 4096))
    sep.set_sub_object_limit(SUB_OBJECTS)  # both are state of the process: set, so that nobody else's choice counts
    if not np.all(np.asarray(error) > 0):
        return _no_objects(), np.zeros(data.shape, np.int32), Flag.NO_NOISE_ESTIMATE
    options = {
        "err": error,
        "mask": None if usable.all() else ~usable,
        "minarea": recipe.minarea,
        "filter_kernel": FILTER,
        "filter_type": "conv",
        "deblend_cont": recipe.deblend_cont,
        "segmentation_map": True,
    }
    try:
        objects, segments = sep.extract(data, recipe.threshold, deblend_nthresh=recipe.deblend_nthresh if deblend else 1, **options)
        return objects, segments, Flag(0)
    except Exception:  # sep raises bare Exceptions: its sub-object limit, on very clumpy images
        objects, segments = sep.extract(data, recipe.threshold, deblend_nthresh=1, **options)
        return objects, segments, Flag.DEBLEND_FAILED


def free_of_sources(objects: np.ndarray, usable: Bool[np.ndarray, "y x"], recipe: Recipe) -> tuple[Bool[np.ndarray, "y x"], Flag]:
    """Pixels to take the sky from: outside the ellipses of all objects, which shrink where too few are left."""
    least = max(recipe.sky_fraction * np.count_nonzero(usable), 1)
    reach, free = recipe.sky_reach, usable & ~covered(objects, usable.shape, recipe.sky_reach)
    while np.count_nonzero(free) < least and reach > 0.5:
        reach *= SHRINK
        free = usable & ~covered(objects, usable.shape, reach)
    if np.count_nonzero(free) < least:
        return usable, Flag.FILLED
    return free, Flag.FILLED if reach < recipe.filled_reach else Flag(0)


def covered(objects: np.ndarray, shape: tuple[int, int], reach: float) -> Bool[np.ndarray, "y x"]:
    """Pixels within `reach` times the axes of any object."""
    inside = np.zeros(shape, bool)
    if len(objects):
        theta = np.clip(objects["theta"], -np.pi / 2, np.pi / 2)
        sep.mask_ellipse(inside, objects["x"], objects["y"], objects["a"], objects["b"], theta, r=reach)
    return inside


def central(found: Detections, x: float, y: float, recipe: Recipe) -> tuple[int | None, Flag]:
    """Row of the object at (x, y): the one whose segment covers that point, else the nearest within the tolerance,
    else None.

    On a stamp of even size the centre lies between four pixels; where they belong to several objects, the nearest
    barycentre decides.
    """
    if not len(found.objects):
        return None, Flag.NOT_DETECTED
    height, width = found.segments.shape
    rows, columns = ({min(max(int(f(v)), 0), n - 1) for f in (np.floor, np.ceil)} for v, n in ((y, height), (x, width)))
    labels = {int(found.segments[row, column]) for row in rows for column in columns} - {0}
    distance = np.hypot(found.objects["x"] - x, found.objects["y"] - y)
    flag = Flag(0)
    candidates = np.array(sorted(labels), int) - 1 if labels else np.flatnonzero(distance <= recipe.tolerance_px)
    if not len(candidates):
        return None, Flag.NOT_DETECTED
    index = int(candidates[np.argmin(distance[candidates])])
    if not labels or distance[index] > recipe.tolerance_px:
        flag |= Flag.OFF_CENTRE
    if len(candidates) > 1 and np.sort(distance[candidates])[1] - distance[index] < 1.0:
        flag |= Flag.AMBIGUOUS
    return index, flag


def _no_objects() -> np.ndarray:
    # An empty table with sep's own columns.
    return sep.extract(np.zeros((8, 8), np.float32), 1.0, err=1.0)


def _nothing(image: np.ndarray, usable: np.ndarray, sky: Sky, flag: Flag) -> Detections:
    empty = np.zeros(image.shape, np.float32)
    return Detections(empty, usable, np.nan, sky, _no_objects(), np.zeros(image.shape, np.int32), flag)
