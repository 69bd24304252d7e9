"""The most similar image in a set, whichever way it is turned, without holding the set in memory.

    d(x, t) = min over the eight symmetries s of the square of |x - s t| / |x|

over pixels averaged 2 x 2 and, where they are linear flux, stretched as asinh(flux / a), a the median |flux| of the band in the set that
is searched: else the few brightest pixels would decide alone. Comparing all with all is out of reach for sets of 100,000, so it is done
in two steps:

    candidates  the symmetrised image (mean of its eight turned selves, averaged to 16 x 16 cells at most) in 64 directions, those in
                which the searched set varies most: turned copies coincide there
    distance    d to the 8 nearest candidates; the nearest of these is the answer

A copy, turned or not, is always found; among images that are not copies the answer may be the second nearest instead of the
nearest (`tests/test_novelty.py` holds the two against each other).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.galaxies import GalaxySet

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Int

CANDIDATES = 8
DIRECTIONS = 64
CELLS = 16  # a side
FITTED = 1000  # galaxies that say in which directions a set varies
AT_ONCE = 64  # pairs, which the processor's cache can hold
SYMMETRIES = tuple(product((False, True), repeat=3))  # (transposed, then mirrored along y, mirrored along x)


def turned(images: Float[np.ndarray, "... y x"], symmetry: int) -> Float[np.ndarray, "... y x"]:
    """One of the eight symmetries of the square (0 leaves everything as it is).

    Example:
        >>> turned(np.array([[1, 2], [3, 4]]), 4).tolist(), turned(np.array([[1, 2], [3, 4]]), 1).tolist()
        ([[1, 3], [2, 4]], [[2, 1], [4, 3]])
    """
    transposed, along_y, along_x = SYMMETRIES[symmetry]
    images = images.swapaxes(-2, -1) if transposed else images
    return images[..., :: -1 if along_y else 1, :: -1 if along_x else 1]


def symmetries_of(height: int, width: int) -> range:
    """Those that keep a stamp's shape: all eight of a square, the first four of another rectangle."""
    return range(8 if height == width else 4)


@dataclass(frozen=True)
class Space:
    """In which images of a set are compared.

    Attributes:
        scale: flux of each band where the stretch goes from linear to logarithmic; None for display values, which are compared as they are.
        noise: rms of the sky in each band, averaged 2 x 2, in units of `scale`; 0 where the sky does not vary.
        directions: in which the symmetrised images vary most.
    """

    scale: Float32[np.ndarray, "band 1 1"] | None
    noise: Float32[np.ndarray, " band"]
    directions: Float32[np.ndarray, "cell direction"]

    @classmethod
    def of(cls, galaxies: GalaxySet) -> Space:
        """The space of a set, from 1,000 galaxies spread evenly over it."""
        rows = np.unique(np.linspace(0, len(galaxies) - 1, min(FITTED, len(galaxies))).astype(int))
        images = np.asarray(galaxies.images[rows], np.float32)
        mean = _averaged(images, 2)
        scale = None
        if galaxies.survey.linear:
            scale = np.median(np.abs(mean), axis=(0, 2, 3))[:, None, None]
            scale = np.where(scale > 0, scale, 1).astype(np.float32)
        cells = _symmetrised(_stretched(mean, scale))
        _, _, directions = np.linalg.svd(cells - cells.mean(axis=0), full_matrices=False)
        noise = _noise(images) / 2  # of the mean of four pixels
        return cls(scale, noise if scale is None else noise / scale[:, 0, 0], np.ascontiguousarray(directions[:DIRECTIONS].T))

    def coarse(self, images: Float[np.ndarray, "n band y x"]) -> Float32[np.ndarray, "n band half_y half_x"]:
        """Averaged 2 x 2 and stretched; pixels that are not finite count as 0."""
        return _stretched(_averaged(images, 2), self.scale)

    def invariants(self, coarse: Float32[np.ndarray, "n band half_y half_x"]) -> Float32[np.ndarray, "n direction"]:
        """The same for an image however it is turned."""
        return _symmetrised(coarse) @ self.directions


def _averaged(images: Float[np.ndarray, "n band y x"], step: int) -> Float32[np.ndarray, "n band small_y small_x"]:
    ends = [side // step * step for side in images.shape[2:]]
    values = np.asarray(images[:, :, : ends[0], : ends[1]], np.float32)
    if not np.isfinite(values).all():
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    total = np.zeros((*values.shape[:2], ends[0] // step, ends[1] // step), np.float32)
    for y, x in product(range(step), repeat=2):
        total += values[:, :, y::step, x::step]
    return total / np.float32(step**2)


def _stretched(mean: Float32[np.ndarray, "n band y x"], scale: Float32[np.ndarray, "band 1 1"] | None) -> Float32[np.ndarray, "n band y x"]:
    return mean if scale is None else np.arcsinh(mean / scale)


def _noise(images: Float[np.ndarray, "n band y x"]) -> Float32[np.ndarray, " band"]:
    """Rms of the noise, whatever lies smoothly below it: from second differences along y and along x, whose rms is six times that
    of white noise (Immerkaer 1996); median over images. Less where neighbouring pixels share noise."""
    if min(images.shape[2:]) < 3:
        return np.zeros(images.shape[1], np.float32)
    rough = np.diff(np.diff(np.nan_to_num(images, nan=0.0, posinf=0.0, neginf=0.0), 2, axis=2), 2, axis=3)
    return np.median(1.4826 / 6 * np.median(np.abs(rough), axis=(2, 3)), axis=0).astype(np.float32)


def _symmetrised(coarse: Float32[np.ndarray, "n band y x"]) -> Float32[np.ndarray, "n cell"]:
    """The mean of an image's turned selves, each cell once (times the root of how often it stands there, so that distances are kept)."""
    cells = _averaged(coarse, -(-max(coarse.shape[2:]) // CELLS))
    number = np.arange(cells.shape[2] * cells.shape[3]).reshape(cells.shape[2:])
    alike = np.min([turned(number, symmetry) for symmetry in symmetries_of(*cells.shape[2:])], axis=0)
    _, which, times = np.unique(alike, return_inverse=True, return_counts=True)
    fold = (which.reshape(-1, 1) == np.arange(len(times))) / np.sqrt(times)
    return (cells.reshape(*cells.shape[:2], -1) @ fold.astype(np.float32)).reshape(len(cells), -1)


@dataclass(frozen=True)
class Nearest:
    """What was found for each galaxy that was asked about.

    Attributes:
        row: of the most similar image in the set searched.
        distance: d to it.
        symmetry: by which that image is to be turned to look like the one asked about.
        others: the largest d among the candidates: how far images that merely look alike are.
        noise: |x - s t| in units of what two exposures of one galaxy would differ by; NaN where the sky does not vary.
    """

    row: Int[np.ndarray, " n"]
    distance: Float[np.ndarray, " n"]
    symmetry: Int[np.ndarray, " n"]
    others: Float[np.ndarray, " n"]
    noise: Float[np.ndarray, " n"]


def nearest(
    asked: GalaxySet,
    among: GalaxySet,
    own: Int[np.ndarray, " n"] | None = None,
    space: Space | None = None,
    on_progress: Callable[[int], None] | None = None,
    candidates: int = CANDIDATES,
) -> Nearest:
    """The most similar galaxy to each of `asked` (some thousand; held in memory at half resolution) in a set of any size.

    Args:
        asked, among: sets of one survey and stamp size.
        own: row of each asked galaxy in `among`, where it is one of them: it is not its own neighbour.
        space: in which to compare; that of `among` where not given.
        on_progress: told how many galaxies of `among` have been gone through since it was told last.
        candidates: at most so many are looked at closely.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> rng = np.random.default_rng(0)
        >>> some = GalaxySet(rng.normal(size=(20, 1, 8, 8)).astype("f4"), Survey.get("hsc-i"))
        >>> found = nearest(GalaxySet(np.rot90(some.images, axes=(2, 3)), some.survey), some)
        >>> bool((found.row == np.arange(20)).all()), bool((found.distance < 1e-3).all())
        (True, True)
    """
    space = space or Space.of(among)
    coarse = np.concatenate([space.coarse(part.images[:]) for part in asked.blocks()])
    rows = _candidates(space.invariants(coarse), among, own, space, on_progress, min(candidates, len(among) - (own is not None)))
    return _closest(coarse, rows, among, space)


def _candidates(
    asked: Float32[np.ndarray, "n direction"],
    among: GalaxySet,
    own: Int[np.ndarray, " n"] | None,
    space: Space,
    on_progress: Callable[[int], None] | None,
    number: int,
) -> Int[np.ndarray, "n candidate"]:
    """Rows of the nearest symmetrised images, by a pass over the set."""
    best = np.full((len(asked), number), np.inf, np.float32)
    rows = np.zeros((len(asked), number), int)
    squared = (asked**2).sum(axis=1)
    first = 0
    for part in among.blocks():
        block = space.invariants(space.coarse(part.images[:]))
        distance = squared[:, None] + (block**2).sum(axis=1) - 2 * asked @ block.T
        if own is not None:
            inside = np.flatnonzero((own >= first) & (own < first + len(block)))
            distance[inside, own[inside] - first] = np.inf
        better = np.flatnonzero((distance < best.max(axis=1)[:, None]).any(axis=1))
        every = np.concatenate([best[better], distance[better]], axis=1)
        every_row = np.concatenate([rows[better], np.broadcast_to(first + np.arange(len(block)), (len(better), len(block)))], axis=1)
        kept = np.argpartition(every, number - 1, axis=1)[:, :number]
        best[better], rows[better] = np.take_along_axis(every, kept, axis=1), np.take_along_axis(every_row, kept, axis=1)
        first += len(block)
        if on_progress:
            on_progress(len(block))
    return rows


def _closest(asked: Float32[np.ndarray, "n band y x"], rows: Int[np.ndarray, "n candidate"], among: GalaxySet, space: Space) -> Nearest:
    """d to all candidates, each of which is read once."""
    distance, symmetry = np.full(rows.shape, np.inf), np.zeros(rows.shape, int)
    who, which = np.unravel_index(np.argsort(rows, axis=None, kind="stable"), rows.shape)
    for first in range(0, len(who), AT_ONCE):
        pairs = (who[first : first + AT_ONCE], which[first : first + AT_ONCE])
        wanted, where = np.unique(rows[pairs], return_inverse=True)
        distance[pairs], symmetry[pairs] = _distance(asked[pairs[0]], space.coarse(among.images[wanted])[where])
    best, every = distance.argmin(axis=1), np.arange(len(rows))
    norm = np.maximum(np.sqrt(np.einsum("nbyx,nbyx->n", asked, asked)), 1e-12)
    slope = 1 if space.scale is None else 1 / np.cosh(asked)  # of the stretch, by which it shrinks the noise
    two_exposures = np.sqrt(2 * ((space.noise[:, None, None] * slope) ** 2 * np.ones_like(asked)).sum(axis=(1, 2, 3)))
    return Nearest(
        rows[every, best],
        distance[every, best] / norm,
        symmetry[every, best],
        distance.max(axis=1) / norm,
        np.where(two_exposures > 0, distance[every, best] / np.maximum(two_exposures, 1e-12), np.nan),
    )


def _distance(
    x: Float32[np.ndarray, "n band y x"], t: Float32[np.ndarray, "n band y x"]
) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """min over symmetries s of |x - s t|, and which.

    Mirrors are their own inverses, so that x . (mirrored transposed t) = (mirrored x) . (transposed t): four of one and two of the other.
    """
    n, allowed = len(x), symmetries_of(*x.shape[2:])
    mirrored = np.stack([turned(x, symmetry).reshape(n, -1) for symmetry in range(4)], axis=1)
    upright = np.stack([turned(t, symmetry).reshape(n, -1) for symmetry in allowed[::4]], axis=1)
    products = (upright @ mirrored.transpose(0, 2, 1)).reshape(n, -1)
    symmetry = products.argmax(axis=1)
    squared = (mirrored[:, 0] ** 2).sum(axis=1) + (upright[:, 0] ** 2).sum(axis=1) - 2 * products[np.arange(n), symmetry]
    return np.sqrt(np.maximum(squared, 0)), symmetry
