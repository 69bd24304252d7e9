"""A population that tracks are seen against: the quantities of many galaxies, each at its own redshift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.diffusion import galaxy_seeds
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import measure
from hubbleflow.measured_file import canonical
from hubbleflow.movies.quantities import RECIPE, quantity_values

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.generator import Generator
    from hubbleflow.movies.track import Track

GALAXIES = 400
DECISIVE = ("recipe", "recipe_number", "recipe_parameters")  # of what a measurement says of itself: the numbers here depend on these
FEWEST = 20  # galaxies in a bin
MOST_BINS = 12
GAUSSIAN = 1.4826  # standard deviations in a median absolute deviation
MEDIAN = 1.2533  # error of a median over that of a mean, of Gaussian values: sqrt(pi / 2)


def check_measured(galaxies: GalaxySet) -> None:
    """Refuse a set whose measured columns are not those of this version's recipe.

    Raises:
        InputError: it has not been measured, or by another recipe.
    """
    if any(galaxies.recipe.get(name) != canonical(value) for name, value in RECIPE.attrs().items() if name in DECISIVE):
        where = galaxies.path or Path("the set")
        raise InputError(f"{where} has not been measured as generated galaxies are: run 'hubbleflow measure {where}' first")


@dataclass(frozen=True)
class Population:
    """Galaxies as points.

    Attributes:
        words: what they are, for people.
        redshift: (n,).
        values: quantity -> (n,), NaN where not trusted.
    """

    words: str
    redshift: Float[np.ndarray, " n"]
    values: Mapping[str, Float[np.ndarray, " n"]]

    def __len__(self) -> int:
        return len(self.redshift)

    @classmethod
    def measured(cls, galaxies: GalaxySet, redshifts: Float[np.ndarray, " frame"], kinds: str | Sequence[str] | None = None) -> Population:
        """Galaxies of a set that has been measured: those between the redshifts of a track and, where kinds are asked for, of these.

        Raises:
            InputError: the set has not been measured by this version's recipe, or has too few such galaxies.
        """
        where, (near, far) = galaxies.path or Path("the set"), (np.min(redshifts), np.max(redshifts))
        check_measured(galaxies)
        wanted = sorted({kinds} if isinstance(kinds, str) else set(kinds if kinds is not None else ()))
        chosen, of = (galaxies.redshift >= near) & (galaxies.redshift <= far), ""
        if wanted and (galaxies.category != "").any():
            chosen, of = chosen & np.isin(galaxies.category, wanted), f" ({', '.join(wanted)})"
        if chosen.sum() < FEWEST:
            raise InputError(
                f"{where} has {int(chosen.sum())} galaxies{of} between z = {near:.3g} and {far:.3g}, and a population needs {FEWEST}: "
                f"take a larger set, or none, for galaxies of the generator's own"
            )
        z = galaxies.redshift[chosen]
        values = quantity_values({name: column[chosen] for name, column in galaxies.measured.items()}, z, galaxies.survey)
        return cls(f"{len(z):,} galaxies of {where.name}{of}", z, values)

    @classmethod
    def generated(
        cls,
        generator: Generator,
        track: Track,
        n: int = GALAXIES,
        progress: bool = False,
    ) -> Population:
        """n galaxies that the generator draws as it drew the track, each of a noise of its own, spread over its redshifts and kinds.

        Raises:
            InputError: too few, or see :func:`hubbleflow.movies.evolve`.
        """
        if n < FEWEST:
            raise InputError(f"a population needs at least {FEWEST} galaxies, got {n}")
        z = np.interp(np.linspace(0, track.frames - 1, n), np.arange(track.frames), track.redshift)
        values: dict[str, np.ndarray] = {"redshift": z}
        if any(track.kinds):
            values["category"] = np.resize(track.kinds, n)
        beside = next(seed for seed in range(len(track.seeds) + 1) if seed not in track.seeds)  # none of the track's galaxies
        images = track.drawing.images(generator, values, galaxy_seeds(beside, 0, n), progress)
        found = measure(GalaxySet(images, generator.survey), progress=progress, recipe=RECIPE).columns
        return cls(f"{n:,} other galaxies of the same generator", z, quantity_values(found, z, generator.survey))

    def edges(self, most: int = MOST_BINS) -> Float[np.ndarray, " bin+1"]:
        """Redshifts between which there are equally many galaxies: at least 20 of them."""
        bins = int(np.clip(len(self) // FEWEST, 1, most))
        return np.unique(np.quantile(self.redshift, np.linspace(0, 1, bins + 1)))

    def cells(self, name: str, edges: Float[np.ndarray, " bin+1"]) -> list[tuple[np.ndarray, np.ndarray]]:
        """(redshifts, values) of the trusted galaxies in each bin; both ends closed."""
        number = np.clip(np.searchsorted(edges, self.redshift, side="right") - 1, 0, len(edges) - 2)
        good = np.isfinite(self.values[name])
        return [(self.redshift[good & (number == b)], self.values[name][good & (number == b)]) for b in range(len(edges) - 1)]

    def quantiles(self, name: str, levels: tuple[float, ...] = (0.16, 0.5, 0.84)) -> tuple[np.ndarray, Float[np.ndarray, "level bin"]]:
        """Median redshift of each bin, and the quantiles of a quantity there; NaN where fewer than half of 20 are trusted.

        Example:
            >>> z = np.linspace(0, 1, 40)
            >>> middle, (median,) = Population("forty", z, {"i_mag": 20 + 2 * z}).quantiles("i_mag", (0.5,))
            >>> middle.round(2).tolist(), median.round(2).tolist()
            ([0.24, 0.76], [20.49, 21.51])
        """
        cells = self.cells(name, self.edges())
        enough = [len(values) >= FEWEST / 2 for _, values in cells]
        middle = np.array([np.median(z) if many else np.nan for (z, _), many in zip(cells, enough, strict=True)])
        spread = [np.quantile(v, levels) if many else np.full(len(levels), np.nan) for (_, v), many in zip(cells, enough, strict=True)]
        return middle, np.stack(spread, axis=1)
