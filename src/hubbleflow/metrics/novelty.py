"""Has the generator learnt, or learnt by heart? How near drawn galaxies lie to the training set, beside how near held-out real ones do.

    d(x) = min over training images t and the eight symmetries s of |x - s t| / |x|      (pixels averaged 2 x 2)

A generator that copies has d near 0; one that draws new galaxies of the same kind has the distances of real galaxies that it has not seen.
The number reported is the share of drawn galaxies nearer to the training set than the nearest 5 % of the held-out ones: 0.05 for a perfect
generator, larger where it copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.galaxies import GalaxySet

if TYPE_CHECKING:
    from jaxtyping import Float

NEAREST = 0.05


def _vectors(galaxies: GalaxySet) -> Float[np.ndarray, "n band y x"]:
    """Images averaged over 2 x 2 pixels, on a scale on which the brightest pixels do not decide alone."""
    images = np.nan_to_num(np.asarray(galaxies.images[:], float))
    n, band, y, x = images.shape
    coarse = images[:, :, : y // 2 * 2, : x // 2 * 2].reshape(n, band, y // 2, 2, x // 2, 2).mean(axis=(3, 5))
    return np.arcsinh(coarse / np.median(np.abs(coarse) + 1e-12)) if galaxies.survey.linear else coarse


def distance_to(training: GalaxySet, galaxies: GalaxySet) -> Float[np.ndarray, " n"]:
    """d(x) of each galaxy of a (small) set; every image is read into memory.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> rng = np.random.default_rng(0)
        >>> some = GalaxySet(rng.normal(size=(5, 1, 8, 8)).astype("f4"), Survey.get("hsc-i"))
        >>> turned = GalaxySet(np.rot90(some.images, axes=(2, 3)), some.survey)
        >>> bool((distance_to(some, turned) < 1e-6).all())
        True
    """
    references, images = _vectors(training), _vectors(galaxies)
    flat = images.reshape(len(images), -1)
    squared = (flat**2).sum(axis=1)
    nearest = np.full(len(images), np.inf)
    for turns in range(4):
        for flipped in (False, True):
            turned = np.rot90(references, turns, axes=(2, 3))
            turned = turned[..., ::-1] if flipped else turned
            vectors = turned.reshape(len(turned), -1)
            pairs = squared[:, None] - 2 * flat @ vectors.T + (vectors**2).sum(axis=1)
            nearest = np.minimum(nearest, pairs.min(axis=1))
    return np.sqrt(np.maximum(nearest, 0) / np.maximum(squared, 1e-12))


def copied_share(training: GalaxySet, held_out: GalaxySet, generated: GalaxySet) -> tuple[float, float, float]:
    """(share of generated nearer than the nearest 5 % of held-out, median distance of held-out, of generated)."""
    real, drawn = distance_to(training, held_out), distance_to(training, generated)
    return float(np.mean(drawn < np.quantile(real, NEAREST))), float(np.median(real)), float(np.median(drawn))
