"""What a model is: a torch module that can be trained, and either draws galaxies or reads them.

The training loop knows three things about a model: how to build it for a training set (`arguments`), its loss, and the learning rate and
batch size its authors used (`defaults`). Everything in `arguments` is JSON-able and stored with the weights, so that a folder can be
opened without the training set.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from hubbleflow.conditions import Conditions
from hubbleflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from hubbleflow.photoz import RedshiftDensity


SCALES = ("paper", "small")


@dataclass(frozen=True)
class TrainingSet:
    """What a model may know of the galaxies when it is built.

    Attributes:
        bands: image channels.
        image_size: pixels on a side.
        conditions: the fitted conditions.
        sigma_data: standard deviation of the stretched images.
        band_names: of the channels, where they are known.
    """

    bands: int
    image_size: int
    conditions: Conditions
    sigma_data: float
    band_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingDefaults:
    """The authors' training: what `train` uses where the user says nothing."""

    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = 1.0
    ema: float = 0.999
    decay_to: float = 1.0  # last learning rate over the first; 1 keeps it constant
    condition_dropout: float = 0.1
    steps: int = 100_000
    conditions: tuple[str, ...] = ("redshift",)
    stretch: str | None = None  # a stretch's name; None chooses by the survey
    jitter: float | None = None  # of redshift in training; None is the condition's own


class Model(nn.Module, ABC):
    """A network with its objective.

    Subclasses set `name` (which registers them), `paper` and `defaults`, and define `arguments` and `loss`. Their constructor's defaults
    are the paper's size; `small` holds the arguments of a narrower network that trains in minutes on a CPU, where there is one, and
    `small_training` what its training has other than `defaults`: the authors' batches and learning rates are for weeks of a GPU. `passing`
    names arguments of one training, which another that starts from the model does not take over; `fitted` names, by their beginnings,
    weights that :meth:`finish` finds.
    """

    name: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    defaults: ClassVar[TrainingDefaults]
    small: ClassVar[dict[str, Any]] = {}
    small_training: ClassVar[dict[str, Any]] = {}
    passing: ClassVar[tuple[str, ...]] = ()
    fitted: ClassVar[tuple[str, ...]] = ()
    registered: ClassVar[dict[str, type[Model]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            Model.registered[cls.name] = cls

    @classmethod
    @abstractmethod
    def arguments(cls, training_set: TrainingSet) -> dict[str, Any]:
        """Constructor arguments for this training set, JSON-able.

        Raises:
            InputError: the model cannot be trained on it, and why.
        """

    @classmethod
    def at_scale(cls, scale: str) -> dict[str, Any]:
        """Constructor arguments of a scale: none for "paper", those of `small` for "small".

        Raises:
            InputError: there is no such scale.
        """
        if scale not in SCALES:
            raise InputError(f"unknown scale {scale!r}: choose one of {', '.join(SCALES)}")
        return dict(cls.small) if scale == "small" else {}

    @classmethod
    def arguments_at(cls, training_set: TrainingSet, scale: str) -> dict[str, Any]:
        """Constructor arguments for this training set at a scale.

        Raises:
            InputError: see :meth:`arguments` and :meth:`at_scale`.
        """
        return cls.arguments(training_set) | cls.at_scale(scale)

    @classmethod
    def needs_multiple_of(cls, unit: int, image_size: int) -> None:
        """Refuse stamps that the network cannot halve as often as it does.

        Raises:
            InputError: the side is no multiple of `unit` pixels.
        """
        if image_size % unit:
            raise InputError(
                f"model {cls.name!r} needs stamps of a multiple of {unit} pixels on a side, got {image_size}: crop or pad them"
            )

    @classmethod
    def training_at(cls, scale: str) -> TrainingDefaults:
        """How a network of that scale is trained where the user says nothing."""
        return replace(cls.defaults, **cls.small_training) if scale == "small" else cls.defaults

    @classmethod
    def titled(cls, scale: str) -> str:
        """What it is called where it is shown: "lizarraga2024 (small)" at a small scale that is not the paper's."""
        return f"{cls.name} (small)" if scale == "small" and cls.small else cls.name

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Constructor arguments that a user may choose, those that the galaxies do not decide, and what they are by default."""
        parameters = inspect.signature(cls).parameters.items()
        return {name: parameter.default for name, parameter in parameters if parameter.default is not parameter.empty}

    @classmethod
    def checked(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The user's own constructor arguments, if the model has them.

        Raises:
            InputError: the model has no argument of that name; the sentence lists those it has.
        """
        for name in arguments:
            if name not in cls.options():
                raise InputError(f"model {cls.name!r} has no argument {name!r}: it has {', '.join(cls.options())}")
        return dict(arguments)

    @classmethod
    def renewed(cls, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[str, ...]:
        """Beginnings of names of weights that are others in a model of other arguments, and begin anew where it starts from that."""
        return ()

    @abstractmethod
    def loss(self, x: Float[Tensor, "n band y x"], c: Float[Tensor, "n k"], generator: torch.Generator) -> Float[Tensor, ""]:
        """Scalar loss of a batch of stretched images and encoded conditions; all randomness from `generator`."""

    def anneal(self, progress: float) -> None:
        """Told before every step how far the training is, 0 to 1."""

    def finish(self, x: Float[Tensor, "n band y x"], c: Float[Tensor, "n k"], on_galaxies: Callable[[int], None]) -> None:
        """Told once, when a training is over, on the averaged weights: galaxies of it, to find what is not learned step by step.

        `on_galaxies` is told of each part of the work, of :meth:`finishing` in all.
        """

    def finishing(self, n: int) -> int:
        """How much work :meth:`finish` is on n galaxies, 0 where there is none."""
        return 0

    def forward(self, x: Tensor, c: Tensor, generator: torch.Generator) -> Tensor:
        """The loss: what a distributed wrapper needs `forward` to be."""
        return self.loss(x, c, generator)


class GenerativeModel(Model):
    """A model that draws stretched images."""

    steps: ClassVar[int] = 1  # network evaluations of its default sampler

    @classmethod
    def default_steps(cls, sampler: str | None = None) -> int:
        """Steps that a sampler takes where nothing is asked."""
        return cls.steps

    @abstractmethod
    def sample(
        self, c: Float[Tensor, "n k"], seeds: Sequence[int], steps: int | None = None, guidance: float = 1.0, sampler: str | None = None
    ) -> Float[Tensor, "n band y x"]:
        """One image a row of c; galaxy i depends on seeds[i] and c[i] alone."""


class PredictiveModel(Model):
    """A model that reads stretched images: a redshift, or probabilities of classes."""

    @classmethod
    def redshift_arguments(cls, training_set: TrainingSet, smallest: int) -> dict[str, Any]:
        """`arguments` of a model that reads redshifts: shape of the data, mean and deviation of ln(1 + z) over it.

        Raises:
            InputError: another condition than redshift alone, or stamps of less than `smallest` pixels on a side.
        """
        names = training_set.conditions.names
        if names != ("redshift",):
            raise InputError(f"model {cls.name!r} learns redshift alone: pass --condition redshift, got {', '.join(names)}")
        if training_set.image_size < smallest:
            raise InputError(f"model {cls.name!r} needs stamps of at least {smallest} px, got {training_set.image_size}")
        redshift = training_set.conditions.columns[0]
        return {
            "bands": training_set.bands,
            "image_size": training_set.image_size,
            "log1p_mean": redshift.mean,
            "log1p_std": redshift.scale,
        }

    @abstractmethod
    def predict(self, x: Float[Tensor, "n band y x"]) -> Float[Tensor, "n ..."]:
        """(n,) values in the condition's own unit, or (n, classes) probabilities."""

    @property
    def hidden(self) -> nn.Module | None:
        """A last hidden layer, run once a prediction: what leaves it, averaged over pixels where it is a map, are the image's features,
        by which sets are compared. None where the model names none.
        """
        return None


class DensityModel(PredictiveModel):
    """A model that reads redshifts and says how sure it is; its prediction is the density's median."""

    @abstractmethod
    def density(self, x: Float[Tensor, "n band y x"]) -> RedshiftDensity:
        """p(z | image) of each stretched image."""
