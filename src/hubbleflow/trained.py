"""A trained model with everything it needs to be used: its stretch, its conditions, and the survey it has seen.

`TrainedModel` is what the training loop makes and what a folder holds; a :class:`~hubbleflow.generator.Generator` draws galaxies with it,
a :class:`~hubbleflow.predictor.Predictor` reads them.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import torch

from hubbleflow.conditions import Conditions
from hubbleflow.errors import InputError
from hubbleflow.files import content_hash, without_nan
from hubbleflow.galaxies import GalaxySet
from hubbleflow.model_folder import FORMAT, halved, model_card, read_config, read_weights, write_folder
from hubbleflow.models import Model, get_model, model_names
from hubbleflow.models.from_file import VARIABLE
from hubbleflow.pretrained import SHELF, find_model, upload
from hubbleflow.prior import Prior
from hubbleflow.stretch import Stretch, stretch_from_dict
from hubbleflow.survey import Survey

PRIOR = "prior."  # before the names of its numbers among the weights


@dataclass
class TrainedModel:
    """Network + stretch + conditions + survey.

    Attributes:
        model: the torch module, in evaluation mode.
        arguments: its constructor arguments, JSON-able.
        stretch: flux <-> network units.
        conditions: columns <-> tensors.
        survey: of the training set.
        image_size: pixels on a side.
        training: data hash, number of galaxies, seed and hyper-parameters; JSON-able.
        versions: of the software that trained it.
        progress: steps and images so far, as strings (the weights' header).
        prior: the joint distribution of several conditions in the training set, from which those that are not asked for are drawn.
    """

    model: Model
    arguments: dict[str, Any]
    stretch: Stretch
    conditions: Conditions
    survey: Survey
    image_size: int
    training: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    progress: dict[str, str] = field(default_factory=dict)
    prior: Prior | None = None

    use: ClassVar[str] = "    hubbleflow info FOLDER"  # in the model card

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.model.parameters()).device

    @property
    def title(self) -> str:
        """The model's name, and that it is small where it is: "lizarraga2024 (small)"."""
        return self.model.titled(self.training.get("scale", "paper"))

    @property
    def n_parameters(self) -> int:
        """Number of trained numbers."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def weights_hash(self) -> str:
        """SHA-256 of all that decides what the model makes of a galaxy: its weights, arguments, stretch and conditions."""
        config = self.config()
        decisive = ("model", "arguments", "stretch", "conditions", "survey")
        parts: list[bytes | str] = [json.dumps(without_nan(config[name]), sort_keys=True) for name in decisive]
        for name, tensor in sorted(self.weights().items()):
            values = tensor.detach().cpu().contiguous()
            parts += [f"{name} {values.dtype} {tuple(values.shape)}", values.flatten().view(torch.uint8).numpy().tobytes()]
        return content_hash(*parts)

    def weights(self) -> dict[str, torch.Tensor]:
        """All trained numbers by name, as the folder holds them: the network's, and the prior's under a prefix."""
        others = self.prior.tensors() if self.prior else {}
        return self.model.state_dict() | {PRIOR + name: tensor for name, tensor in others.items()}

    def to(self, device: str | torch.device) -> Self:
        """Move the network to a device."""
        self.model.to(device)
        return self

    def config(self) -> dict[str, Any]:
        """Everything but the weights, JSON-able."""
        return {
            "format": FORMAT,
            "model": self.model.name,
            "paper": self.model.paper,
            "arguments": self.arguments,
            "stretch": self.stretch.to_dict(),
            "conditions": self.conditions.to_dict(),
            **({"prior": self.prior.to_dict()} if self.prior else {}),
            "survey": self.survey.to_dict(),
            "image_size": self.image_size,
            "training": self.training,
            "versions": self.versions,
        }

    def save(self, folder: str | os.PathLike[str], half: bool = False) -> Path:
        """Write the folder (see :mod:`hubbleflow.model_folder`) and return its path; `half`: the weights in float16.

        Raises:
            InputError: the folder cannot be written, or a weight is too large for float16.
        """
        config, weights = self.config(), self.weights()
        card = model_card(config, self.title, self.n_parameters, self.use)
        write_folder(folder, config, halved(weights) if half else weights, self.progress, card)
        return Path(folder)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write the folder as models are passed on: the weights in float16, two bytes a parameter."""
        return self.save(folder, half=True)

    def push_to_hub(self, repository: str, private: bool = False, token: str | None = None) -> str:
        """Put the model, as :meth:`save_pretrained` writes it, into the repository USER/NAME of the Hugging Face hub; returns its address.

        Raises:
            InputError: see :func:`hubbleflow.pretrained.upload`.
        """
        with TemporaryDirectory(prefix="hubbleflow-") as folder:
            return upload(self.save_pretrained(folder), repository, private=private, token=token)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], device: str | torch.device = "cpu") -> Self:
        """Open a folder; nothing in it is executed.

        Raises:
            InputError: the folder is missing, damaged, holds a pickle, was changed, or needs a model that is not installed.
        """
        config = read_config(folder)
        if config.get("model") not in model_names():
            raise InputError(
                f"{folder} was trained with the model {config.get('model')!r}, which is not one of this package's: "
                f"name the .py file that defines it in the environment, {VARIABLE}=FILE.py"
            )
        weights, header = read_weights(folder, config)
        try:
            model = get_model(config["model"])(**config["arguments"])
            others = {name.removeprefix(PRIOR): weights.pop(name) for name in list(weights) if name.startswith(PRIOR)}
            model.load_state_dict(weights)
            trained = cls(
                model.eval(),
                config["arguments"],
                stretch_from_dict(config["stretch"]),
                Conditions.from_dict(config["conditions"]),
                Survey.from_dict(config["survey"]),
                config["image_size"],
                config["training"],
                config["versions"],
                {key: value for key, value in header.items() if key not in ("format", "config_sha256")},
                Prior.from_dict(config["prior"], others) if others else None,
            )
        except (RuntimeError, TypeError, KeyError, ValueError) as error:
            what = str(error).splitlines()[0]
            raise InputError(f"{folder} does not fit together, or another version of this package trained it: {what}") from error
        return trained.to(device)

    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike[str], device: str | torch.device = "cpu", *, revision: str | None = None, shelf: Path = SHELF
    ) -> Self:
        """Open a model by its name: a folder's, that of one which ships with the package, or USER/NAME of the Hugging Face hub.

        Args:
            name: see :func:`hubbleflow.pretrained.find_model`.
            device: where the network is to be.
            revision: of a repository of the hub.
            shelf: where the shipped models are.

        Raises:
            InputError: there is no such model, it could not be downloaded, or see :meth:`load`.
        """
        return cls.load(find_model(name, shelf, hub=True, revision=revision), device)

    def check_survey(self, galaxies: GalaxySet, purpose: str) -> None:
        """Refuse galaxies of another survey, other bands or another stamp size.

        Raises:
            InputError: naming the first difference.
        """
        mine, theirs = self.survey, galaxies.survey
        for what, ours, other in (
            ("survey", mine.name, theirs.name),
            ("bands", ", ".join(mine.bands), ", ".join(theirs.bands)),
            ("pixel scale", mine.pixel_scale_arcsec, theirs.pixel_scale_arcsec),
            ("zero point", mine.zero_point, theirs.zero_point),
            ("stamp size", self.image_size, galaxies.image_size),
        ):
            if ours != other:
                where = galaxies.path or "the set"
                raise InputError(f"{where} cannot be used {purpose}: its {what} is {other} but the model was trained on {ours}")
