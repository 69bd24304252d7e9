r"""Neighbours of the galaxies of a block, fitted and taken away.

A mask hides a neighbour's pixels, not its wings: outside of it they look like more radius and a higher index of the galaxy, with errors
that know nothing of it. Where that matters, three steps follow the first fit (all neighbours of a block, all galaxies, at a time):

1. choose: a neighbour of flux F whose profile were a de Vaucouleurs law (n = 4) of sep's axes puts I(d) on the galaxy's centre, and stands
   out from its noise within the ellipse of two half-light radii, of area A, by I(d) sqrt(A) / sigma. From `LEAST_PULL` on it is fitted:
   at most the `MOST` strongest ones of a stamp;
2. fit them, from sep's moments, with the galaxy's first model taken away;
3. fit the galaxy again from its first solution, with the neighbours' models taken away and their parameters free to change a little
   (`measure.sersic_others`), which makes it the joint fit of all. A neighbour's core, its segment's pixels above `CORE` sigma, stays
   hidden: real ones are no Sersic profiles, and their wings say what is needed (bench/neighbours.py).

A neighbour whose fit cannot be trusted stays masked; a galaxy whose second fit cannot be keeps the numbers of the first.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.measure.sersic_fit import FitRecipe, fit_sersic, theta_of
from hubbleflow.measure.sersic_flags import NO_VALUES, SersicFlag, trusted
from hubbleflow.measure.sersic_masks import others, square
from hubbleflow.measure.sersic_others import Freedom, Others
from hubbleflow.measure.sersic_result import SersicFit
from hubbleflow.measure.sersic_start import RADIUS_OVER_SIGMA, Start
from hubbleflow.sersic import surface_brightness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float, Int

    from hubbleflow.measure.stamp import Scene

LEAST_PULL, MOST, CORE = 0.1, 3, 10.0
_WINDOW = 0.625  # side, in stamps, of the window in which a neighbour is fitted
_ROUGH = 3.0  # tolerance, in chi^2, of the neighbours' fits: the joint fit corrects them
_TOWARDS_PX = 3.0  # a neighbour's model that comes this much nearer to the galaxy fits the galaxy
_FAILED = NO_VALUES | SersicFlag.NOT_CONVERGED | SersicFlag.NEGATIVE_FLUX


@dataclass(frozen=True)
class Apart:
    """Galaxies of a block that were fitted again, and what was taken away: the same number of neighbours each.

    Attributes:
        rows: of the galaxies in the block's stamps.
        numbers: of the neighbours in the reference band's segments, (galaxy, neighbour).
        models: of the neighbours.
        cores: their pixels that stay hidden.
    """

    rows: np.ndarray
    numbers: np.ndarray
    models: Others
    cores: Bool[np.ndarray, "a y x"]

    @property
    def shining(self) -> Others:
        """The neighbours in another band: the same structures, of any flux."""
        return Others(self.models.theta, self.models.flux, Freedom.FLUX)


@dataclass(frozen=True)
class _Window:
    # the part of each stamp in which its neighbour is fitted: pixels from (x, y) on
    x: np.ndarray
    y: np.ndarray
    side: int

    @classmethod
    def around(cls, start: Start, size: int) -> _Window:
        side = max(8, 2 * round(_WINDOW * size / 2))
        x, y = (np.clip(np.rint(np.nan_to_num(centre)).astype(int) - side // 2, 0, size - side) for centre in (start.x, start.y))
        return cls(x, y, side)

    def cut(self, stack: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        rows = np.arange(len(stack)) if rows is None else rows
        across = np.arange(self.side)
        return stack[rows[:, None, None], (self.y[:, None] + across)[:, :, None], (self.x[:, None] + across)[:, None, :]]

    def inside(self, theta: Float[np.ndarray, "n 6"]) -> Float[np.ndarray, "n 6"]:
        return theta - np.stack([self.x, self.y, *[np.zeros(len(theta))] * 4], axis=1)


def fitted_apart(
    fit: SersicFit,
    scenes: list[Scene],
    band: int,
    images: Float[np.ndarray, "n y x"],
    ivar: Float[np.ndarray, "n ..."],
    psf: Float[np.ndarray, "... y x"],
    never: Bool[np.ndarray, "n y x"],
    batch: int | None = None,
) -> list[Apart]:
    """Fit those galaxies again, in place, whose neighbours matter; the others' numbers are not touched.

    Args:
        fit: first fits, of all galaxies.
        scenes, band: what was found in the stamps, and the band that is fitted.
        images, ivar, psf: what was fitted.
        never: pixels that no fit may see.
    """
    pairs = [(row, number) for row, scene in enumerate(scenes) if fit.flux[row] > 0 for number in pulling(scene, band)]
    if not pairs:
        return []
    row_of, number_of = np.array(pairs).T
    theirs = _of(psf, row_of)
    objects = np.array([scenes[row].found[band].objects[number - 1] for row, number in pairs])
    start = Start.from_table(objects, theirs)
    masks = square(np.stack([others(scenes[row], band, band, (number,)) for row, number in pairs]), True) | never[row_of]
    window = _Window.around(start, images.shape[-1])
    galaxies = Others(window.inside(theta_of(fit)[row_of])[:, None], fit.flux[row_of, None], Freedom.NONE)
    weights = ivar[row_of] if ivar.ndim == 1 else window.cut(ivar, row_of)
    recipe = FitRecipe(batch=batch, tolerance=_ROUGH)
    begin = replace(start, x=start.x - window.x, y=start.y - window.y)
    models = fit_sersic(window.cut(images, row_of), weights, theirs, window.cut(masks), begin, recipe, others=galaxies)
    models = replace(models, x=models.x + window.x, y=models.y + window.y)
    good = np.flatnonzero(trusted_neighbour(models, start, fit[row_of], images.shape[-1]))
    structures, found = theta_of(models), []
    for count in range(1, MOST + 1):
        rows, times = np.unique(row_of[good], return_counts=True)
        rows = rows[times == count]
        if not len(rows):
            continue
        which = np.stack([good[row_of[good] == row] for row in rows])
        numbers, taken = number_of[which], Others(structures[which], models.flux[which])
        cores = square(np.stack([_cores(scenes[row], band, gone) for row, gone in zip(rows, numbers, strict=True)]))
        masks = square(np.stack([others(scenes[row], band, band, gone) for row, gone in zip(rows, numbers, strict=True)]), True)
        masks |= cores | never[rows]
        again = fit_sersic(images[rows], ivar[rows], _of(psf, rows), masks, fit[rows], FitRecipe(batch=batch), others=taken)
        again.flag[:] |= np.where(_strayed(again, scenes, rows), np.int32(SersicFlag.CENTRE_MOVED), np.int32(0))
        worse = trusted(fit.flag[rows]) & ~trusted(again.flag)
        better = ((again.flag & int(_FAILED | SersicFlag.CENTRE_MOVED)) == 0) & ~worse
        _replace(fit, rows[better], again[better])
        found.append(Apart(rows[better], numbers[better], Others(taken.theta[better], taken.flux[better]), cores[better]))
    return [some for some in found if len(some.rows)]


def pulling(scene: Scene, band: int) -> list[int]:
    """Numbers, in the band's segments, of the neighbours whose light reaches the galaxy, the strongest first."""
    found, galaxy = scene.found[band], scene.galaxy
    objects = found.objects
    dx, dy = galaxy["x"] - objects["x"], galaxy["y"] - objects["y"]
    cosine, sine = np.cos(objects["theta"]), np.sin(objects["theta"])
    distance = np.hypot((dx * cosine + dy * sine) / objects["a"], (dy * cosine - dx * sine) / objects["b"]) / RADIUS_OVER_SIGMA
    light = objects["flux"] * surface_brightness(distance, 4.0) / (RADIUS_OVER_SIGMA**2 * objects["a"] * objects["b"])
    area = np.pi * (2 * RADIUS_OVER_SIGMA) ** 2 * galaxy["a"] * galaxy["b"]
    pull = np.where(np.arange(len(objects)) == scene.number - 1, 0.0, light * np.sqrt(area) / found.sky.noise)
    return [int(number) + 1 for number in np.argsort(-pull, kind="stable")[:MOST] if pull[number] >= LEAST_PULL]


def trusted_neighbour(models: SersicFit, start: Start, galaxies: SersicFit, side: int) -> Bool[np.ndarray, " n"]:
    """Whose model may be taken away.

    A star's may, which has no radius, and one whose centre has left the stamp: an object at the edge looks nearer than it is.
    """
    star = (models.flag & int(SersicFlag.POINT_LIKE)) != 0
    loose = ((models.flag & int(SersicFlag.AT_BOUND)) != 0) & ~star
    before, after = (np.hypot(one.x - galaxies.x, one.y - galaxies.y) for one in (start, models))
    return ((models.flag & int(_FAILED)) == 0) & ~loose & (after > before - _TOWARDS_PX) & (models.radius <= 0.5 * side)


def _cores(scene: Scene, band: int, numbers: np.ndarray) -> Bool[np.ndarray, "y x"]:
    found = scene.found[band]
    return np.isin(found.segments, numbers) & (found.data > CORE * found.sky.noise)


def _of(psf: Float[np.ndarray, "... y x"], rows: np.ndarray) -> Float[np.ndarray, "... y x"]:
    return psf if psf.ndim == 2 else psf[rows]


def _replace(fit: SersicFit, rows: np.ndarray, again: SersicFit) -> None:
    for field in fields(fit):
        getattr(fit, field.name)[rows] = getattr(again, field.name)
    fit.flag[rows] |= int(SersicFlag.NEIGHBOUR_SUBTRACTED)


def _strayed(fit: SersicFit, scenes: Sequence[Scene], rows: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whose centre went too far from sep's: the second fit counts from where the first one ended."""
    x, y = (np.array([float(scenes[row].galaxy[name]) for row in rows]) for name in ("x", "y"))
    return np.hypot(fit.x - x, fit.y - y) > FitRecipe().centre_tolerance_px
