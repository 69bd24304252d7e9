"""How the images of a movie are drawn, and drawing them: the track and the population it is seen against in the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.counting import counting
from hubbleflow.errors import InputError
from hubbleflow.generator import BATCH, Generator
from hubbleflow.models.noise_prediction import NoisePredictionModel
from hubbleflow.sampling import STOCHASTIC

if TYPE_CHECKING:
    from jaxtyping import Float32

DETERMINISTIC = "dpm++2m"  # taken where a model's own sampler is not


@dataclass(frozen=True)
class Drawing:
    """What :meth:`hubbleflow.generator.Generator.draw` is asked.

    Attributes:
        steps: of the sampler; the model's default where None.
        sampler: a deterministic one; the model's default where None, or DPM-Solver++(2M) where that is not deterministic.
        extrapolate: whether redshifts outside the trained range are allowed.
        precision: "auto", "float32" or "bfloat16".
        batch_size: images at a time; they do not depend on it (but for rounding).
    """

    steps: int | None = None
    sampler: str | None = None
    extrapolate: bool = False
    precision: str = "auto"
    batch_size: int = BATCH

    def images(
        self, generator: Generator, values: Mapping[str, np.ndarray], noise: Sequence[int], progress: bool = False
    ) -> Float32[np.ndarray, "n band y x"]:
        """Images under conditions, each of its own seed of noise, with a bar on stderr, if `progress`.

        Raises:
            InputError: the generator has no such condition; the sampler is stochastic; redshifts outside the trained range.
        """
        for name, what in (("redshift", "so that nothing can evolve"), ("category", "so that it has no kinds")):
            if name in values and name not in generator.conditions.names:
                raise InputError(f"this generator is not conditioned on {name}, {what}: it knows {known_conditions(generator)}")
        generator.conditions.encode(values, self.extrapolate)  # what is wrong with them is told before a bar is shown
        batches = generator.draw(
            values,
            seeds=noise,
            steps=self.steps,
            sampler=deterministic_sampler(generator, self.sampler),
            extrapolate=self.extrapolate,
            precision=self.precision,
            batch_size=self.batch_size,
        )
        found = []
        with counting("drawing", len(noise), shown=progress) as advance:
            for images, _ in batches:
                found.append(images)
                advance(len(images))
        return np.concatenate(found)


def deterministic_sampler(generator: Generator, sampler: str | None) -> str | None:
    """The sampler for a track; None is the model's own.

    Raises:
        InputError: the one that is asked for is stochastic.
    """
    if sampler in STOCHASTIC:
        raise InputError(
            f"sampler {sampler!r} adds fresh noise at every step, and a track follows one noise: choose a deterministic one, such as "
            f"{DETERMINISTIC}, or leave it out"
        )
    return DETERMINISTIC if sampler is None and isinstance(generator.model, NoisePredictionModel) else sampler


def known_conditions(generator: Generator) -> str:
    """Their names, in a sentence."""
    return ", ".join(generator.conditions.names) or "no condition"
