"""Sky level and noise of a stamp, from its own pixels.

The sky is the median of the pixels away from every source, its noise 1.4826 times their median absolute deviation
(the standard deviation, for a Gaussian), both after clipping at 3 sigma (Hoaglin, Mosteller & Tukey 1983; clipping as
in SExtractor's background, Bertin & Arnouts 1996). Sources are found on a first estimate and masked out to several
times their axes, then both numbers are estimated again.

A picture whose sky was clipped to black has a median absolute deviation of 0. If x ~ N(0, sigma) was clipped below,
the *bright* side is still Gaussian, so sigma = quantile(0.8413) - median, or (quantile(0.9772) - median) / 2 where
even that is 0. Where the whole sky has one value, what is left is the rounding of the values: step / sqrt(12), with
the smallest step between two values of the stamp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.measure.flags import Flag

if TYPE_CHECKING:
    from jaxtyping import Float

MAD_TO_SIGMA = 1.482602218505602
CLIP = 3.0
CLIP_ROUNDS = 5
BRIGHT_SIDE = ((0.841345, 1.0), (0.977250, 2.0))  # quantile of a Gaussian, its distance in sigmas


@dataclass(frozen=True)
class Sky:
    """Level and noise (standard deviation of a pixel) of the sky, in the image's unit; NaN where there is none."""

    level: float
    noise: float
    flag: Flag


def sky_of(values: Float[np.ndarray, " n"], step: float = np.nan) -> Sky:
    """Level and noise of the sky from pixels that show mostly sky.

    Args:
        values: pixel values, all finite.
        step: smallest difference between two values of the whole stamp, used where the sky has one value only.

    Example:
        >>> pixels = np.random.default_rng(0).normal(10.0, 2.0, 10_000)
        >>> sky = sky_of(pixels)
        >>> bool(abs(sky.level - 10) < 0.1), bool(abs(sky.noise - 2) < 0.1)
        (True, True)
    """
    if values.size == 0:
        return Sky(np.nan, np.nan, Flag.NO_NOISE_ESTIMATE)
    values = np.sort(values.astype(np.float64))
    low, high = 0, len(values)
    level, noise = np.nan, np.nan
    for _ in range(CLIP_ROUNDS):
        kept = values[low:high]
        level = _middle(kept)
        noise = MAD_TO_SIGMA * _median_deviation(kept, level)
        if noise == 0:
            noise = _noise_of_clipped(values, level, step)
            return Sky(level, noise, Flag.CLIPPED_SKY if noise > 0 else Flag.NO_NOISE_ESTIMATE)
        bounds = (
            int(np.searchsorted(values, level - CLIP * noise)),
            int(np.searchsorted(values, level + CLIP * noise, side="right")),
        )
        if bounds == (low, high):
            break
        low, high = bounds
    return Sky(level, noise, Flag(0))


def smallest_step(values: Float[np.ndarray, " n"]) -> float:
    """Smallest difference between two different values (1 for an 8-bit picture); NaN where all are equal."""
    steps = np.diff(np.unique(values.astype(np.float64)))
    return float(steps.min()) if steps.size else np.nan


def _middle(ordered: Float[np.ndarray, " n"]) -> float:
    n = len(ordered)
    return 0.5 * float(ordered[(n - 1) // 2] + ordered[n // 2])


def _median_deviation(ordered: Float[np.ndarray, " n"], level: float) -> float:
    # Of ordered values, the half nearest to `level` stands in one piece: the narrowest piece of that length, no
    # second sort.
    half = len(ordered) // 2
    return float(np.maximum(level - ordered[: len(ordered) - half], ordered[half:] - level).min())


def _noise_of_clipped(ordered: Float[np.ndarray, " n"], level: float, step: float) -> float:
    rounding = (step if np.isfinite(step) else smallest_step(ordered)) / np.sqrt(12.0)
    for quantile, sigmas in BRIGHT_SIDE:
        value = float(ordered[min(int(quantile * len(ordered)), len(ordered) - 1)])
        if value > level:
            return max((value - level) / sigmas, rounding)
    return rounding
