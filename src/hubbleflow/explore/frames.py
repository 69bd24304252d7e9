"""Frames: galaxies of held noise as bytes that a browser can show.

The galaxy of seed s under conditions c is the first galaxy that `hubbleflow generate --seed s` draws under c, as in a movie
(:mod:`hubbleflow.movies.evolve`): with s held and c moved, it changes. All pictures have one scale (:func:`hubbleflow.report.colour.rgb`,
"noise"), taken once from some galaxies of all conditions, so that whatever brightens or fades on the screen does so in flux.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.diffusion import galaxy_seeds
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import NATURAL, Generator
from hubbleflow.models import GenerativeModel
from hubbleflow.movies.drawing import Drawing, deterministic_sampler, known_conditions
from hubbleflow.report.colour import rgb, sky_of_picture

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, UInt8

MOST_GALAXIES = 16  # of one request
MOST_STEPS = 50  # of one request, where `--steps` does not say more: what the papers' models take by default
SCALE_GALAXIES = 8  # that the scale of the pictures is taken from
DRAFT_SECONDS = 0.08  # for a galaxy while a slider is dragged: twelve frames a second
FEWEST_DRAFT_STEPS = 4  # with fewer it is another galaxy that is dragged

Conditions = Mapping[str, float | str]  # what is asked: one value a condition, for all galaxies of a request


@dataclass(frozen=True)
class Frames:
    """What draws.

    Attributes:
        generator: with which.
        steps: of the sampler.
        draft_steps: of the sampler while a slider is dragged.
        sigma: (3,) sky in the picture's bands: the scale of all pictures.
    """

    generator: Generator
    steps: int
    draft_steps: int
    sigma: Float[np.ndarray, " 3"]

    @classmethod
    def of(cls, generator: Generator, steps: int | None = None, progress: bool = False) -> Frames:
        """Draw some galaxies, for the pictures' scale and to see how many steps a dragged slider can wait for.

        Raises:
            InputError: fewer than one step.
        """
        model, sampler = generator.model, deterministic_sampler(generator, None)
        assert isinstance(model, GenerativeModel)
        steps = model.default_steps(sampler) if steps is None else steps
        noise = galaxy_seeds(0, 0, SCALE_GALAXIES)
        values = generator.draw_conditions(SCALE_GALAXIES)
        images = Drawing(steps, batch_size=SCALE_GALAXIES // 4).images(generator, values, noise, progress)
        few, times = min(4, steps), []
        for _ in range(3):
            started = time.perf_counter()
            Drawing(few).images(generator, {name: value[:1] for name, value in values.items()}, noise[:1])
            times.append((time.perf_counter() - started) / few)
        draft = int(np.clip(DRAFT_SECONDS / min(times), min(FEWEST_DRAFT_STEPS, steps), steps))
        return cls(generator, steps, draft, sky_of_picture(images, generator.survey))

    @property
    def most_steps(self) -> int:
        """That one request may ask for."""
        return max(MOST_STEPS, self.steps)

    @property
    def sampler(self) -> str:
        """Its name, as the provenance of generated galaxies has it."""
        return deterministic_sampler(self.generator, None) or "default"

    def images(self, seeds: Sequence[int], conditions: Conditions, steps: int | None = None) -> Float32[np.ndarray, "n band y x"]:
        """Galaxies in linear flux, one a seed.

        Raises:
            InputError: no or too many galaxies or steps; conditions that the generator does not have, of another type, or outside the
                trained range.
        """
        if not 1 <= len(seeds) <= MOST_GALAXIES:
            raise InputError(f"{len(seeds)} galaxies are asked for: ask for 1 to {MOST_GALAXIES} at a time")
        steps = self.steps if steps is None else steps
        if not 1 <= steps <= self.most_steps:
            raise InputError(f"{steps} steps are asked for: ask for 1 to {self.most_steps}")
        noise = [galaxy_seeds(seed, 0, 1)[0] for seed in seeds]
        return Drawing(steps).images(self.generator, self._values(conditions, len(seeds)), noise)

    def galaxies(self, seeds: Sequence[int], conditions: Conditions, steps: int | None = None) -> GalaxySet:
        """The same with their table: what was asked, and each one's seed.

        Raises:
            InputError: see :meth:`images`.
        """
        images = self.images(seeds, conditions, steps)
        asked = self._values(conditions, len(seeds))
        columns = {name if name in NATURAL else f"asked_{name}": values for name, values in asked.items()}
        columns |= {"object_id": np.asarray(seeds, np.int64), "seed": np.asarray(seeds, np.int64)}
        provenance = self.generator.provenance(0, steps or self.steps, 1.0, deterministic_sampler(self.generator, None))
        provenance |= {"made_by": "hubbleflow explore", "seed": list(seeds)}
        return GalaxySet(images, self.generator.survey, columns, provenance=provenance)

    def pictures(self, images: Float32[np.ndarray, "n band y x"]) -> UInt8[np.ndarray, "n y x 4"]:
        """Red, green, blue and opacity, the uppermost row first: what a browser's canvas takes."""
        survey = self.generator.survey
        colour = rgb(images, survey, "noise", self.sigma)
        if survey.linear:  # an image's first row is at the bottom
            colour = colour[:, ::-1]
        return np.concatenate([colour, np.full((*colour.shape[:-1], 1), 255, np.uint8)], axis=-1)

    def _values(self, conditions: Conditions, n: int) -> dict[str, np.ndarray]:
        known = {column.name: column for column in self.generator.conditions.columns}
        for name, value in conditions.items():
            if name not in known:
                raise InputError(f"this generator is not conditioned on {name!r}: it knows {known_conditions(self.generator)}")
            if known[name].is_category is not isinstance(value, str):
                wanted = f"one of {', '.join(known[name].classes)}" if known[name].is_category else "a number"
                raise InputError(f"{name} must be {wanted}, got {value!r}")
        return {name: np.repeat([value], n) for name, value in conditions.items()}
