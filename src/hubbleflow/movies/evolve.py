"""Evolve: one galaxy at many redshifts.

A deterministic sampler is a map from noise and condition to a galaxy, x = f(n, c) (the probability-flow equation of Karras et al. 2022,
eq. 1, solved; or a decoder). With n held and the redshift in c moved, one galaxy changes as the population does: what the generator
believes of it at every epoch. It is no simulation of one object's history: nothing in the training tells which galaxy became which.
Lizarraga et al. 2024 (section 7) ask for it.

Galaxy s of a track is the first galaxy that `hubbleflow generate --seed s` draws under the same conditions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.diffusion import galaxy_seeds
from hubbleflow.errors import InputError
from hubbleflow.generator import BATCH, Generator
from hubbleflow.movies.drawing import Drawing, deterministic_sampler, known_conditions
from hubbleflow.movies.redshifts import Spacing, frame_redshifts, parse_range, trained_range
from hubbleflow.movies.track import Track

if TYPE_CHECKING:
    from jaxtyping import Float


def evolve(
    generator: Generator,
    seeds: Sequence[int],
    redshifts: Sequence[float] | Float[np.ndarray, " frame"],
    kinds: str | Sequence[str] | None = None,
    *,
    steps: int | None = None,
    sampler: str | None = None,
    extrapolate: bool = False,
    precision: str = "auto",
    batch_size: int = BATCH,
    progress: bool = False,
) -> Track:
    """Draw galaxies of held noise through redshift, and measure them.

    Args:
        generator: it must be conditioned on redshift.
        seeds: one a galaxy.
        redshifts: one a frame, in the order of the frames (see :func:`hubbleflow.movies.frame_redshifts`).
        kinds: the galaxies' category, or several, which the seeds take in turn; where None, each has one drawn.
        steps: of the sampler; the model's default where None.
        sampler: a deterministic one; the model's default where None, or DPM-Solver++(2M) where that is not deterministic.
        extrapolate: allow redshifts outside the trained range.
        precision: "auto", "float32" or "bfloat16".
        batch_size: images at a time; the track does not depend on it (but for rounding).
        progress: whether to show progress bars, of drawing and of measuring (on stderr).

    Raises:
        InputError: the generator has no redshift, or no such kind; the sampler is stochastic; redshifts outside the trained range.

    Example (with a folder that `hubbleflow train` wrote)::

        track = evolve(Generator.load("model"), seeds=[1, 2], redshifts=frame_redshifts(2.0, 0.1, 60))
        track.images    # (2, 60, band, y, x)
    """
    if not len(seeds) or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise InputError(f"a track needs different seeds, none of them negative, got {', '.join(map(str, seeds)) or 'none'}")
    z, named = np.asarray(redshifts, float), _one_a_seed(kinds, len(seeds))
    if z.ndim != 1 or len(z) < 2:
        raise InputError(f"a track needs at least two redshifts, got {z.size}")
    values: dict[str, np.ndarray] = {"redshift": np.tile(z, len(seeds))}
    if any(named):
        values["category"] = np.repeat(named, len(z))
    own = [galaxy_seeds(seed, 0, 1)[0] for seed in seeds]
    if generator.prior is not None and "category" in generator.prior.categories and not any(named):
        # Kinds have other shares at other redshifts, and a galaxy would jump from one to another: it stays what it is half way.
        named = tuple(generator.prior.draw({"redshift": np.full(len(seeds), np.median(z))}, own)["category"].tolist())
        values["category"] = np.repeat(named, len(z))
    noise = np.repeat(own, len(z)).tolist()
    drawing = Drawing(steps, sampler, extrapolate, precision, batch_size)
    images = drawing.images(generator, values, noise, progress)
    provenance = generator.provenance(0, steps, 1.0, deterministic_sampler(generator, sampler))
    return Track.of(
        images.reshape(len(seeds), len(z), *images.shape[1:]),
        z,
        tuple(int(seed) for seed in seeds),
        generator.survey,
        named,
        {**provenance, "made_by": "hubbleflow evolve", "seed": [int(seed) for seed in seeds]},
        drawing,
        progress,
    )


def asked_redshifts(generator: Generator, text: str | None, frames: int, spacing: Spacing = "lookback") -> Float[np.ndarray, " frame"]:
    """Redshifts of frames over a range like "3:0.1", or over what the generator was trained on, as time goes.

    Raises:
        InputError: the text is no range, or the generator has no redshift.
    """
    condition = next((column for column in generator.conditions.columns if column.name == "redshift"), None)
    if condition is None:
        raise InputError(
            f"this generator is not conditioned on redshift, so that nothing can evolve: it knows {known_conditions(generator)}"
        )
    return frame_redshifts(*(parse_range(text) if text is not None else trained_range(condition)), frames, spacing)


def _one_a_seed(kinds: str | Sequence[str] | None, n: int) -> tuple[str, ...]:
    several = (kinds,) if isinstance(kinds, str) else tuple(map(str, kinds if kinds is not None else ()))
    if len(several) > n:
        seeds = "1 seed" if n == 1 else f"{n} seeds"
        raise InputError(f"{len(several)} kinds ({', '.join(several)}) are asked for and only {seeds}: name fewer, or give more seeds")
    return tuple(np.resize(several, n).tolist()) if several else ("",) * n
