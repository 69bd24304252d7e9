"""A predictor: a number or a class read off every galaxy of a set by a trained model."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.models import PredictiveModel
from hubbleflow.precision import autocast, resolve_precision
from hubbleflow.trained import TrainedModel

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass
class Predictor(TrainedModel):
    """A trained model that reads galaxies: redshifts, or probabilities of the classes `classes`."""

    @classmethod
    def load(cls, folder: str | os.PathLike[str], device: str | torch.device = "cpu") -> Self:
        """Open the folder of a predictive model; see :meth:`TrainedModel.load`."""
        trained = super().load(folder, device)
        if not isinstance(trained.model, PredictiveModel):
            raise InputError(f"{folder} holds {trained.model.name!r}, which draws galaxies and cannot read them")
        return trained

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities; empty for a redshift model."""
        return self.conditions.columns[0].classes

    def predict(self, galaxies: GalaxySet, on_progress: Callable[[int], None] | None = None) -> Float[np.ndarray, "n ..."]:
        """One prediction a galaxy, streaming.

        Raises:
            InputError: the set is of another survey or stamp size than the model was trained on.
        """
        self.check_survey(galaxies, "with this model")
        model = self.model
        assert isinstance(model, PredictiveModel)
        precision = resolve_precision("auto", self.device)
        found = []
        for block in galaxies.blocks():
            x = self.stretch(torch.from_numpy(np.nan_to_num(block.images[:], nan=0.0, posinf=0.0, neginf=0.0)).to(self.device))
            with torch.inference_mode(), autocast(precision, self.device):
                found.append(model.predict(x).float().cpu().numpy())
            if on_progress:
                on_progress(len(block))
        return np.concatenate(found)

    def category(self, galaxies: GalaxySet) -> np.ndarray:
        """(n,) names of the most probable class."""
        return np.asarray(self.classes)[self.predict(galaxies).argmax(axis=1)]
