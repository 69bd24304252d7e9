"""my-model: <what it is, in a line> (<Author et al. year>).

    x ~ N(mu(c), sigma_band^2),    loss = < (x - mu)^2 / (2 sigma^2) + ln sigma >

Copy this file to src/hubbleflow/models/<name>.py and replace what it does: it draws the mean galaxy at each condition,
plus noise. Images x come stretched (about unit scale), conditions c as rows of numbers, in which NaN means "not asked".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from hubbleflow.diffusion import seeded_noise
from hubbleflow.errors import InputError
from hubbleflow.models.model import GenerativeModel, TrainingDefaults, TrainingSet
from hubbleflow.networks.embedding import ConditionEmbedding

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class MyModel(GenerativeModel):
    """The mean galaxy at a condition, plus noise.

    Args:
        bands, image_size: shape of the data.
        conditions: the embedding's layout.
        width: units of the hidden layer.
    """

    name: ClassVar[str] = "my-model"  # what --model calls it
    paper: ClassVar[str] = "Author et al. year"
    defaults: ClassVar[TrainingDefaults] = TrainingDefaults(batch_size=32, learning_rate=1e-3, steps=5_000)

    def __init__(self, bands: int, image_size: int, conditions: Sequence[int], width: int = 32) -> None:
        # These arguments are stored with the weights: to rename one later is to change a file format.
        super().__init__()
        self.shape = (bands, image_size, image_size)
        self.embed = ConditionEmbedding(tuple(conditions), width)
        self.decode = nn.Sequential(nn.SiLU(), nn.Linear(width, bands * image_size**2))
        self.log_sigma = nn.Parameter(torch.zeros(bands, 1, 1))

    @classmethod
    def arguments(cls, training_set: TrainingSet) -> dict[str, Any]:
        """Constructor arguments for a training set; raises InputError where it does not suit the model."""
        return {
            "bands": training_set.bands,
            "image_size": training_set.image_size,
            "conditions": list(training_set.conditions.layout),
        }

    def mean(self, c: Float[Tensor, "n k"]) -> Float[Tensor, "n band y x"]:
        """mu(c)."""
        return self.decode(self.embed(c)).unflatten(1, self.shape)

    def loss(self, x: Float[Tensor, "n band y x"], c: Float[Tensor, "n k"], generator: torch.Generator) -> Float[Tensor, ""]:
        """Negative log-likelihood, up to a constant. A loss that needs noise takes it from `generator` alone."""
        return ((x - self.mean(c)) ** 2 / (2 * torch.exp(2 * self.log_sigma)) + self.log_sigma).mean()

    def sample(
        self,
        c: Float[Tensor, "n k"],
        seeds: Sequence[int],
        steps: int | None = None,
        guidance: float = 1.0,
        sampler: str | None = None,
    ) -> Float[Tensor, "n band y x"]:
        """One image a row of c; galaxy i depends on seeds[i] and c[i] alone."""
        if sampler is not None:
            raise InputError(f"model {self.name!r} draws in one step and has no sampler {sampler!r}: leave it out")
        anything = self.mean(torch.full_like(c, torch.nan))
        mean = anything + guidance * (self.mean(c) - anything)
        return mean + torch.exp(self.log_sigma) * seeded_noise(seeds, self.shape).to(c.device)
