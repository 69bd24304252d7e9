"""What the field's published measuring code computes, under `published_...`: to compare with its figures, and for nothing else.

For each image of the g band alone, I, as read in the public repository of Lizarraga et al. (2024) (facts only, no line of it):

    1. I is smoothed by a Gaussian of dispersion 1.5 px.
    2. Sources are extracted by sep, and objects[0] is taken: the first of sep's list, neither the central one nor the brightest.
    3. e = 1 - b / a from its second moments.                   (The paper prints 1 - a / b.)
    4. "sersic index" = ln 2 / ln((1 + e) / (1 - e)).

What is wrong with it. (2) measures a neighbour wherever sep lists one first, and often nothing at all: smoothing makes noise correlated,
so that even 1.5 of its sigmas are exceeded by patches of sky, and sep lists from the bottom up. (1) and the PSF make everything rounder
and larger: a Gaussian of dispersions a and b has sqrt(a^2 + 1.5^2 + 0.5) and sqrt(b^2 + 1.5^2 + 0.5), 0.5 px^2 being sep's own filter.
(4) is a function of e alone: every galaxy of e = 1/3 has n = 1, a disc as much as an elliptical; it has no sky, no PSF and no profile in
it. `measure.sersic_fit` fits the profile.

That code also drops images of low signal-to-noise ratio. Here no row is dropped: what finds no object is NaN, and `published_n_objects`
says what was there. What the facts do not say is ours to choose: sep's defaults for background (a mesh of 64 px), filter and deblending,
1.5 times the background's rms as threshold (the isophote of Li et al. 2024), the area is sep's `npix`. How often objects[0] is not the
galaxy in the middle, and what the index says, is printed by bench/published.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sep
from scipy import ndimage

from hubbleflow.errors import InputError
from hubbleflow.measure.detect import LARGEST, extract
from hubbleflow.measure.recipe import Recipe

if TYPE_CHECKING:
    from jaxtyping import Float

SMOOTHING_PX = 1.5
# sep's defaults, spelt out: they must not follow ours when ours change
RECIPE = Recipe(threshold=1.5, minarea=5, deblend_nthresh=32, deblend_cont=0.005)

UNITS = {
    "published_semi_major_axis": "pix",
    "published_ellipticity": "",
    "published_sersic_index": "",
    "published_isophotal_area": "pix2",
    "published_x": "pix",
    "published_y": "pix",
    "published_n_objects": "",
}
DESCRIPTIONS = {
    "published_semi_major_axis": "a of the first object of sep's list, g band smoothed by 1.5 px",
    "published_ellipticity": "1 - b / a of that object",
    "published_sersic_index": "ln 2 / ln((1 + e) / (1 - e)): a function of ellipticity, no fit",
    "published_isophotal_area": "npix of that object: pixels above 1.5 times the background's rms in the twice smoothed image",
    "published_x": "centre of that object, 0 at the middle of the first pixel",
    "published_y": "centre of that object, 0 at the middle of the first pixel",
    "published_n_objects": "length of sep's list: where it is not 1, the object measured is any of them; where 0, none",
}


def published(images: Float[np.ndarray, "n y x"]) -> dict[str, np.ndarray]:
    """The published columns of every image: to compare with published figures only.

    Args:
        images: the g band's, in any linear unit.

    Returns:
        the columns of `UNITS` and `DESCRIPTIONS`, (n,) each; NaN where nothing was found.

    Raises:
        InputError: `images` is no stack of images of one band.

    Example:
        >>> y, x = np.mgrid[:64, :64] - 31.5
        >>> noise = np.random.default_rng(1).normal(0, 1e-5, (64, 64))
        >>> columns = published((np.exp(-(x**2 / 50 + y**2 / 18)) + noise)[None])             # a = 5, b = 3
        >>> [round(float(columns[f"published_{name}"][0]), 1) for name in ("semi_major_axis", "ellipticity", "sersic_index")]
        [5.3, 0.3, 1.0]
    """
    if np.ndim(images) != 3:
        raise InputError(
            f"images must be (n, y, x), the g band alone, not of shape {np.shape(images)}: pass images[:, survey.band_index('g')]."
        )
    columns = {name: np.full(len(images), np.nan) for name in UNITS}
    columns["published_n_objects"] = np.zeros(len(images), np.int32)
    for i, image in enumerate(images):
        objects = _objects(np.asarray(image))
        columns["published_n_objects"][i] = len(objects)
        if len(objects):
            first = objects[0]
            columns["published_semi_major_axis"][i] = first["a"]
            columns["published_ellipticity"][i] = 1.0 - first["b"] / first["a"]
            columns["published_isophotal_area"][i] = first["npix"]
            columns["published_x"][i], columns["published_y"][i] = first["x"], first["y"]
    columns["published_sersic_index"] = published_sersic_index(columns["published_ellipticity"])
    return columns


def published_sersic_index(ellipticity: Any) -> np.ndarray:
    """ln 2 / ln((1 + e) / (1 - e)): infinite for a round galaxy, 0 for a line; not a Sersic index.

    Example:
        >>> published_sersic_index([0.0, 1 / 3, 0.6]).round(12).tolist()
        [inf, 1.0, 0.5]
    """
    e = np.asarray(ellipticity, float)
    with np.errstate(divide="ignore"):
        return np.log(2.0) / (np.log1p(e) - np.log1p(-e))


def _objects(image: Float[np.ndarray, "y x"]) -> np.ndarray:
    # sep's list; empty where the image is no image (that code stops there)
    smooth = np.zeros(image.shape, np.float32)
    with np.errstate(invalid="ignore"):
        if np.all(np.abs(image) < LARGEST):  # False for NaN
            smooth = ndimage.gaussian_filter(image.astype(float), SMOOTHING_PX).astype(np.float32)
    background = sep.Background(smooth)
    objects, _, _ = extract(smooth - background.back(), background.globalrms, np.ones(image.shape, bool), RECIPE)
    return objects
