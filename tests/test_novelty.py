"""Copies are found whichever way they are turned, and new galaxies are not taken for copies."""

from __future__ import annotations

import numpy as np

from hubbleflow.galaxies import GalaxySet
from hubbleflow.metrics.novelty import copied_share
from hubbleflow.survey import Survey


def blobs(n: int, seed: int) -> GalaxySet:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16] - 7.5
    q, angle = rng.uniform(0.3, 1, (n, 1, 1)), rng.uniform(0, np.pi, (n, 1, 1))
    u, v = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / q
    images = 5 * np.exp(-(u**2 + v**2) / 18) + rng.normal(0, 0.1, (n, 16, 16))
    return GalaxySet(images[:, None].astype("f4"), Survey.get("hsc-i"))


def test_new_galaxies_are_as_far_as_held_out_ones_and_copies_are_not() -> None:
    training, held_out, new = blobs(150, 0), blobs(150, 1), blobs(150, 2)
    share, real, drawn = copied_share(training, held_out, new)
    assert share < 0.15 and abs(drawn / real - 1) < 0.1
    copies = GalaxySet(np.rot90(training.images, 3, axes=(2, 3))[..., ::-1], training.survey)
    half = GalaxySet.concatenate([copies[:75], new[:75]])
    share, real, drawn = copied_share(training, held_out, half)
    assert 0.5 <= share < 0.65
