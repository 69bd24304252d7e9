"""Pixels that a Sersic fit must not see: other objects', and a saturated core; and stamps that are square, as it wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float32

    from hubbleflow.measure.stamp import Scene

RIM_PX = 2
LEAST_SIDE = 8  # pixels, of a stamp that can be fitted; smaller ones are given a rim that is not used


def others(scene: Scene, band: int, reference: int, but: Sequence[int] = ()) -> Bool[np.ndarray, "y x"]:
    """Other objects' pixels with a rim: their light goes on beyond the isophote they were found by.

    Args:
        band: the reference band sees its own objects, another one those of all bands.
        but: numbers, in the reference band's segments, of objects that may be seen.
    """
    segments = scene.found[reference].segments
    own = segments == scene.number
    pixels = (segments != 0) & ~own if band == reference else scene.neighbours
    for number in but:
        own |= segments == number
    pixels = pixels & ~own
    return ndimage.binary_dilation(pixels, iterations=RIM_PX) & ~own if pixels.any() else pixels


def plateau(scene: Scene, band: int, reference: int) -> Bool[np.ndarray, "y x"]:
    """Pixels of the galaxy, as the reference band sees it, within 30 % (or the noise) of their largest value in a saturated band."""
    found, own = scene.found[band], scene.found[reference].segments == scene.number
    own = own & found.usable
    if not own.any():
        return own
    peak = found.data[own].max()
    near = own & (found.data >= min(0.7 * peak, peak - 5 * found.sky.noise))
    return own & ndimage.binary_dilation(near)


def square(stack: Float32[np.ndarray, "... y x"], fill: float | bool = 0) -> np.ndarray:
    """Stamps with rows or columns added at their ends where they are not square, or too small."""
    height, width = stack.shape[-2:]
    side = max(height, width, LEAST_SIDE)
    if (height, width) == (side, side):
        return stack
    return np.pad(stack, [(0, 0)] * (stack.ndim - 2) + [(0, side - height), (0, side - width)], constant_values=fill)
