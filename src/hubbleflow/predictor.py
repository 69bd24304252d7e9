"""A predictor: a number, its density, or a class read off every galaxy of a set by a trained model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.models import DensityModel, PredictiveModel
from hubbleflow.photoz import RedshiftDensity
from hubbleflow.precision import autocast, resolve_precision
from hubbleflow.trained import TrainedModel

if TYPE_CHECKING:
    from jaxtyping import Float

QUANTILES = (16, 50, 84)  # per cent: the median, and what a Gaussian holds within one sigma of it


@dataclass
class Predictor(TrainedModel):
    """A trained model that reads galaxies: redshifts, or probabilities of the classes `classes`."""

    use: ClassVar[str] = """    hubbleflow predict FOLDER SET.h5 OUT.ecsv
    hubbleflow info FOLDER

It reads galaxies like those it was trained on, of that survey and stamp size; what it makes of others it cannot know."""

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
        model = self.model
        assert isinstance(model, PredictiveModel)
        return np.concatenate([found.float().cpu().numpy() for found in self._read(galaxies, model.predict, on_progress)])

    def density(self, galaxies: GalaxySet, on_progress: Callable[[int], None] | None = None) -> RedshiftDensity:
        """p(z | image) of every galaxy, streaming.

        Raises:
            InputError: the model gives no densities, or see :meth:`predict`.
        """
        if not isinstance(self.model, DensityModel):
            raise InputError(f"model {self.model.name!r} gives one value a galaxy and no densities: train a redshift-density")
        return RedshiftDensity.concatenate(list(self._read(galaxies, self.model.density, on_progress)))

    def columns(self, galaxies: GalaxySet, on_progress: Callable[[int], None] | None = None) -> dict[str, np.ndarray]:
        """What is read, as columns of a table: `predicted_redshift`, of a density also `z_q16`, `z_q50`, `z_q84`; or
        `predicted_category` with one column `p_<class>` a class.

        Raises:
            InputError: see :meth:`predict`.
        """
        return self.columns_of(self.read(galaxies, on_progress))

    def read(self, galaxies: GalaxySet, on_progress: Callable[[int], None] | None = None) -> dict[str, np.ndarray]:
        """All that the model makes of every galaxy, as arrays to keep: `weights`, `means` and `sigmas` of a density, else `predicted`; and
        the `features` of a model that has a hidden layer, from the same one pass.

        Raises:
            InputError: see :meth:`predict`.
        """
        with self._heard() as heard:
            is_density = isinstance(self.model, DensityModel)
            found = asdict(self.density(galaxies, on_progress)) if is_density else {"predicted": self.predict(galaxies, on_progress)}
        return found | ({"features": np.concatenate(heard)} if heard else {})

    def features(self, galaxies: GalaxySet, on_progress: Callable[[int], None] | None = None) -> Float[np.ndarray, "n d"]:
        """What leaves the model's hidden layer for every galaxy, streaming.

        Raises:
            InputError: the model names no hidden layer, or see :meth:`predict`.
        """
        if not self.gives_features:
            raise InputError(f"model {self.model.name!r} names no hidden layer, so it gives no features: define its property `hidden`")
        return self.read(galaxies, on_progress)["features"]

    @property
    def gives_features(self) -> bool:
        """Whether the model has a hidden layer to listen at."""
        return isinstance(self.model, PredictiveModel) and self.model.hidden is not None

    @contextmanager
    def _heard(self) -> Iterator[list[Float[np.ndarray, "k d"]]]:
        """What leaves the hidden layer meanwhile, block by block."""
        heard: list[np.ndarray] = []
        layer = self.model.hidden if isinstance(self.model, PredictiveModel) else None
        if layer is None:
            yield heard
            return

        def listen(module: torch.nn.Module, taken: Any, left: torch.Tensor) -> None:
            rows = left.float()
            heard.append((rows.flatten(2).mean(dim=2) if rows.ndim > 2 else rows).cpu().numpy())

        hook = layer.register_forward_hook(listen)
        try:
            yield heard
        finally:
            hook.remove()

    def columns_of(self, read: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The columns of :meth:`columns`, of what was read before."""
        name = self.conditions.columns[0].name
        if "weights" in read:
            quantiles = density_of(read).quantile([level / 100 for level in QUANTILES])
            columns = {f"z_q{level}": quantiles[:, number] for number, level in enumerate(QUANTILES)}
            return {f"predicted_{name}": columns["z_q50"].copy(), **columns}
        found = read["predicted"]
        if found.ndim == 1:
            return {f"predicted_{name}": found}
        named = {f"p_{kind}": found[:, number] for number, kind in enumerate(self.classes)}
        return {f"predicted_{name}": np.asarray(self.classes)[found.argmax(axis=1)], **named}

    def _read(self, galaxies: GalaxySet, read: Callable[[torch.Tensor], Any], on_progress: Callable[[int], None] | None) -> Iterator[Any]:
        """What `read` makes of each block of stretched images."""
        self.check_survey(galaxies, "with this model")
        precision = resolve_precision("auto", self.device)
        for block in galaxies.blocks():
            x = self.stretch(torch.from_numpy(np.nan_to_num(block.images[:], nan=0.0, posinf=0.0, neginf=0.0)).to(self.device))
            with torch.inference_mode(), autocast(precision, self.device):
                yield read(x)
            if on_progress:
                on_progress(len(block))

    def category(self, galaxies: GalaxySet) -> np.ndarray:
        """(n,) names of the most probable class."""
        return np.asarray(self.classes)[self.predict(galaxies).argmax(axis=1)]


def density_of(read: Mapping[str, np.ndarray]) -> RedshiftDensity:
    """The densities among what a :meth:`Predictor.read` gave."""
    return RedshiftDensity(**{part.name: read[part.name] for part in fields(RedshiftDensity)})
