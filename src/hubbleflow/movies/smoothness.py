"""How smoothly a track goes: the largest change from one frame to the next.

For frames x and x' of one galaxy, N pixels a band, and sky noise sigma of a pixel,

    light   rms(x' - x) / sqrt( rms((x + x') / 2)^2 - sigma^2 )     in the reference band                     (1)
    sky     rms(x' - x) / sigma                                     in the band where it is largest           (2)

(1) compares with the galaxy's own light, the sky's taken out; it has no value where that light is within three standard errors of none
(sigma^4 2 / N is the variance of a mean square of noise). (2) is sqrt 2 between two images that share nothing but a faint galaxy, and 0
between equals: a track holds its noise, and so its sky changes slowly, too. Both are printed with the seed and the frames they are of, as
are the largest changes of every measured quantity between frames in which it is trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.movies.quantities import quantities

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.movies.track import Track

ERRORS = 3.0  # of no light at all


@dataclass(frozen=True)
class Change:
    """The largest change of something.

    Attributes:
        value: its size; NaN where nothing can be said.
        seed: of the galaxy.
        redshifts: of the two frames.
        typical: median size of that change over all frames and galaxies.
    """

    value: float
    seed: int
    redshifts: tuple[float, float]
    typical: float


@dataclass(frozen=True)
class Smoothness:
    """The largest frame-to-frame changes of a track.

    Attributes:
        light: eq. (1).
        sky: eq. (2).
        measured: quantity -> change in its own unit.
        untrusted: share of the images whose measurement is not trusted.
    """

    light: Change
    sky: Change
    measured: Mapping[str, Change]
    untrusted: float


def smoothness(track: Track) -> Smoothness:
    """The largest changes of a track.

    Example:
        >>> from hubbleflow.movies.track import Track
        >>> from hubbleflow.survey import Survey
        >>> galaxy = np.random.default_rng(0).normal(0, 0.1, (1, 16, 16))
        >>> galaxy[0, 6:10, 6:10] += 40
        >>> images = np.stack([galaxy, 1.1 * galaxy])[None].astype(np.float32)
        >>> track = Track(images, np.array([1.0, 0.9]), np.array([7.9, 7.5]), (1,), ("",), Survey.get("hsc-i"), {}, np.array([0.1]))
        >>> round(smoothness(track).light.value, 3)
        0.095
    """
    pixels = (3, 4)
    change = np.stack([np.sqrt(np.mean(np.diff(one[None].astype(float), axis=1) ** 2, axis=pixels)) for one in track.images])[:, 0]
    band = track.survey.band_index(track.survey.reference_band)
    noise = np.nan_to_num(track.noise)
    mean_square = np.stack([np.mean(((one[1:, band] + one[:-1, band]).astype(float) / 2) ** 2, axis=(1, 2)) for one in track.images])
    light = mean_square - noise[band] ** 2
    n = int(np.prod(track.images.shape[3:]))
    light = np.sqrt(np.where(light > ERRORS * noise[band] ** 2 * np.sqrt(2 / n), light, np.nan))
    in_skies = np.divide(change, noise, out=np.full(change.shape, np.nan), where=noise > 0)
    in_skies = np.max(np.nan_to_num(in_skies, nan=-1.0), axis=2)
    in_skies[in_skies < 0] = np.nan
    names = [quantity.name for quantity in quantities(track.survey) if quantity.name in track.measured]
    untrusted = float(np.isnan(track.measured[names[0]]).mean()) if names else float("nan")
    steps = {name: np.abs(np.diff(track.measured[name], axis=1)) for name in names}
    return Smoothness(
        _largest(change[:, :, band] / light, track),
        _largest(in_skies, track),
        {name: _largest(step, track) for name, step in steps.items()},
        untrusted,
    )


def _largest(steps: Float[np.ndarray, "seed step"], track: Track) -> Change:
    known = np.isfinite(steps)
    if not known.any():
        return Change(float("nan"), track.seeds[0], (float("nan"), float("nan")), float("nan"))
    seed, step = np.unravel_index(np.argmax(np.where(known, steps, -1.0)), steps.shape)
    between = float(track.redshift[step]), float(track.redshift[step + 1])
    return Change(float(steps[seed, step]), track.seeds[seed], between, float(np.median(steps[known])))
