"""The judge of redshifts: Li 2024's network, trained on real galaxies that it is not then asked about.

`evaluate` wants a redshift read from each image. Where the user names a trained model, that reads them. Where not, a judge is trained on
one half of the real galaxies that have a redshift and reads the others: no galaxy is judged by a network that has seen it. What it reads
goes into the column `predicted_redshift`, NaN for galaxies that it has seen, so that every other metric still has the whole set.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.files import content_hash
from hubbleflow.galaxies import GalaxySet
from hubbleflow.metrics.evaluate import PREDICTED
from hubbleflow.predictor import Predictor
from hubbleflow.training import Recipe
from hubbleflow.watch import counting, train

FEWEST = 400  # real galaxies with redshifts below which no judge is trained
STEPS = 1200


@dataclass
class RedshiftJudge:
    """A predictor of redshifts (None: redshifts are not judged), why, and which galaxies of the real set it has seen.

    Attributes:
        predictor: the network.
        note: one sentence for the report.
        real: the real set that was given.
        seen: rows of it that trained the judge.
    """

    predictor: Predictor | None
    note: str
    real: GalaxySet
    seen: np.ndarray = field(default_factory=lambda: np.empty(0, int))

    @classmethod
    def of(
        cls,
        real: GalaxySet,
        generated: GalaxySet,
        folder: str | os.PathLike[str],
        model: str | None = None,
        steps: int = STEPS,
        seed: int = 0,
    ) -> RedshiftJudge:
        """Open `model`, or train one on half of `real` into a folder of its own within `folder`; "none" does neither.

        A judge of the same galaxies, steps and seed that stands there from an earlier evaluation is used again.

        Raises:
            InputError: the model does not read redshifts, or not of this survey.
        """
        if model == "none":
            return cls(None, "redshifts were not judged: --redshift-model none", real)
        if model is not None:
            predictor = Predictor.load(model)
            if predictor.conditions.names != ("redshift",):
                what = ", ".join(predictor.conditions.names)
                raise InputError(f"{model} reads {what}, not redshifts: give a li2024-redshift-cnn or a redshift-density")
            for galaxies in (real, generated):
                predictor.check_survey(galaxies, f"with --redshift-model {model}")
            return cls(predictor, f"redshifts read by {model}", real)
        known = np.flatnonzero(np.isfinite(real.redshift) & (real.redshift >= 0))
        reason = _why_not(real, generated, known)
        if reason:
            return cls(None, f"redshifts were not judged: {reason}", real)
        order = np.random.default_rng(seed).permutation(known)
        seen = np.sort(order[: len(order) // 2])
        teach = real[seen]
        recipe = judge_recipe(seed, steps=steps)
        place = Path(folder) / f"redshift-cnn-{content_hash(teach.content_hash(), repr(recipe))[:8]}"
        training = train(teach, place, recipe, resume=True, sheets=False, tensorboard=False)
        which = f"{len(seen)} of the real galaxies, which it does not judge"
        note = f"redshifts read by a li2024-redshift-cnn after {training.step} steps on {which}"
        return cls(training.averaged(), note, real, seen)

    def read(self, galaxies: GalaxySet) -> GalaxySet:
        """The set with the column `predicted_redshift`; unchanged where there is no predictor."""
        if self.predictor is None:
            return galaxies
        with counting("reading redshifts", len(galaxies)) as on_progress:
            redshift = np.asarray(self.predictor.predict(galaxies, on_progress), float)
        if galaxies is self.real:
            redshift[self.seen] = np.nan
        judged = galaxies[:]
        judged.columns[PREDICTED] = redshift
        return judged


def _why_not(real: GalaxySet, generated: GalaxySet, known: np.ndarray) -> str:
    """Why no judge can be trained, or "" where one can."""
    if not np.isfinite(generated.redshift).any():
        return "the generated galaxies were not asked for at a redshift"
    if len(known) < FEWEST or len(np.unique(real.redshift[known])) < 2:
        return f"{len(known)} real galaxies have a redshift, at least {FEWEST} are needed to train a judge"
    if real.image_size < 32:
        return f"stamps of {real.image_size} px are too small for the judge, which needs 32"
    if real.survey != generated.survey or real.image_size != generated.image_size:
        return "the two sets differ in survey or stamp size"
    return ""


def judge_recipe(seed: int, steps: int | None = None, minutes: float | None = None) -> Recipe:
    """Li 2024's network in minutes instead of hours: smaller batches and a higher learning rate than the paper's 256 and 1e-4."""
    return Recipe(
        model="li2024-redshift-cnn",
        conditions=("redshift",),
        steps=steps,
        minutes=minutes,
        batch_size=32,
        learning_rate=5e-4,
        seed=seed,
    )
