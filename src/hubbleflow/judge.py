"""The judge of redshifts: Li 2024's network, trained on real galaxies that it is not then asked about.

`evaluate` wants a function from galaxies to redshifts. Where the user names a trained model, that is it. Where not, one half of the real
set trains a judge and the other half stands for the real set, so that no galaxy is judged by a network that has seen it.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.predictor import Predictor
from hubbleflow.training import Recipe
from hubbleflow.watch import train

FEWEST = 400  # real galaxies with redshifts below which no judge is trained
MINUTES = 1.0


@dataclass
class RedshiftJudge:
    """A predictor of redshifts, and the real galaxies that it has not seen."""

    predictor: Predictor | None
    unseen: GalaxySet
    note: str

    @classmethod
    def of(
        cls, real: GalaxySet, folder: str | os.PathLike[str], model: str | None = None, minutes: float = MINUTES, seed: int = 0
    ) -> RedshiftJudge:
        """Open `model`, or train one on half of `real` into `folder`; "none" does neither.

        Raises:
            InputError: the model does not read redshifts, or not of this survey.
        """
        if model == "none":
            return cls(None, real, "redshifts were not judged: --redshift-model none")
        if model is not None:
            predictor = Predictor.load(model)
            if predictor.conditions.names != ("redshift",):
                raise InputError(f"{model} reads {', '.join(predictor.conditions.names)}, not redshifts: give a li2024-redshift-cnn")
            predictor.check_survey(real, f"with --redshift-model {model}")
            return cls(predictor, real, f"redshifts read by {model}")
        known = np.flatnonzero(np.isfinite(real.redshift) & (real.redshift >= 0))
        if len(known) < FEWEST or len(np.unique(real.redshift[known])) < 2 or real.image_size < 32:
            return cls(
                None, real, f"redshifts were not judged: {len(known)} real galaxies have one, at least {FEWEST} are needed to train a judge"
            )
        order = np.random.default_rng(seed).permutation(known)
        teach, keep = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
        recipe = judge_recipe(minutes, seed)
        try:  # a judge of the same galaxies and budget from an earlier evaluation is used again
            training = train(real[teach], folder, recipe, resume=True, sheets=False, tensorboard=False)
        except InputError:
            shutil.rmtree(folder, ignore_errors=True)
            training = train(real[teach], folder, recipe, sheets=False, tensorboard=False)
        return cls(
            training.averaged(),
            real[keep],
            f"redshifts read by a li2024-redshift-cnn trained for {minutes:g} min on the other {len(teach)} real galaxies",
        )


def judge_recipe(minutes: float, seed: int) -> Recipe:
    """Li 2024's network for minutes instead of hours: smaller batches and a higher learning rate than the paper's 256 and 1e-4."""
    return Recipe(model="li2024-redshift-cnn", conditions=("redshift",), minutes=minutes, batch_size=32, learning_rate=5e-4, seed=seed)
