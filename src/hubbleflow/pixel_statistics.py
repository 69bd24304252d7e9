"""One streaming pass over a training set: how deep its sky is, how bright its brightest pixel, whether it is sound, and its hash.

The sky's sigma per band is 1.4826 times the median absolute deviation of the pixels in the outermost ring of each stamp (4 px wide), and
the median of that over stamps: the galaxy is in the middle, and neighbours move a median little. Where the ring is constant (black sky of
8-bit pictures) the quantum of one display value stands in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.files import content_hash
from hubbleflow.galaxies import GalaxySet

if TYPE_CHECKING:
    from jaxtyping import Float32

RING = 4
SAMPLE = 512


@dataclass(frozen=True)
class PixelStatistics:
    """What a pass over the images found.

    Attributes:
        n: galaxies.
        bad_pixels: non-finite pixels, over all images.
        bad_images: galaxies with at least one of them.
        low, high: smallest and largest finite pixel per band.
        sky_sigma: sky standard deviation per band, in the survey's unit.
        sample: (<= 512, band, y, x) galaxies spread evenly over the set, non-finite pixels as 0: to fit what must be fitted.
        data_hash: SHA-256 of the set's images and columns.
    """

    n: int
    bad_pixels: int
    bad_images: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    sky_sigma: tuple[float, ...]
    sample: Float32[np.ndarray, "m band y x"]
    data_hash: str

    @classmethod
    def of(cls, galaxies: GalaxySet, on_progress: Callable[[int], None] | None = None) -> PixelStatistics:
        """Stream over the set once; `on_progress` is told how many galaxies each block had."""
        bands = len(galaxies.bands)
        low, high = np.full(bands, np.inf), np.full(bands, -np.inf)
        bad_pixels = bad_images = seen = 0
        sigmas, sample, hashes = [], [], []
        wanted = set(np.linspace(0, len(galaxies) - 1, min(SAMPLE, len(galaxies))).astype(int).tolist())
        for block in galaxies.blocks():
            images = np.ascontiguousarray(block.images)
            hashes.append(content_hash(images.tobytes()))
            finite = np.isfinite(images)
            if not finite.all():
                bad_pixels += int((~finite).sum())
                bad_images += int((~finite).any(axis=(1, 2, 3)).sum())
                images = np.where(finite, images, np.float32(0))
            low, high = np.minimum(low, images.min(axis=(0, 2, 3))), np.maximum(high, images.max(axis=(0, 2, 3)))
            rows = [row for row in range(len(images)) if seen + row in wanted]
            sample.append(images[rows])
            ring = np.ones(images.shape[-2:], bool)
            ring[RING:-RING, RING:-RING] = False
            sky = images[rows][:, :, ring]
            sigmas.append(1.4826 * np.median(np.abs(sky - np.median(sky, axis=-1, keepdims=True)), axis=-1))
            seen += len(images)
            if on_progress:
                on_progress(len(images))
        sigma = np.median(np.concatenate(sigmas), axis=0)
        sigma = np.where(sigma > 0, sigma, _fallback_sigma(galaxies, low, high))
        columns = [content_hash(name, "\n".join(map(str, galaxies.columns[name].tolist()))) for name in sorted(galaxies.columns)]
        return cls(
            len(galaxies),
            bad_pixels,
            bad_images,
            tuple(low.tolist()),
            tuple(high.tolist()),
            tuple(float(s) for s in sigma),
            np.concatenate(sample),
            content_hash(galaxies.survey.to_json(), *hashes, *columns),
        )


def _fallback_sigma(galaxies: GalaxySet, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A sky that is exactly constant has no sigma to fit: one display value, the survey's stated noise, or a thousandth of the range."""
    if not galaxies.survey.linear:
        return np.ones(len(low))
    if galaxies.survey.noise is not None:
        return np.asarray(galaxies.survey.noise)
    return np.where(high > low, (high - low) / 1000, 1.0)
