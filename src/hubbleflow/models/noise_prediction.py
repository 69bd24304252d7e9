"""What the models that predict noise share: Ho et al.'s objective and samplers around any network eps_theta(x_t, t, c) (see
:mod:`hubbleflow.ddpm`).

The papers give redshift to the network as it is, while this package's conditions are standardised (of ln(1 + z), see
:mod:`hubbleflow.conditions`): that is undone here, so that such a network sees z.

A subclass is a name, its authors' hyper-parameters and a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from hubbleflow.ddpm import DiscreteProcess, ancestral, ddim, denoiser_of, noise_loss
from hubbleflow.diffusion import NoiseStreams, guided
from hubbleflow.errors import InputError
from hubbleflow.models.model import GenerativeModel, TrainingSet
from hubbleflow.sampling import SAMPLERS, follow, karras_sigmas

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

DISCRETE = {"ancestral": 1000, "ddim": 50}  # samplers in the process's own steps: how many where nothing is asked
SOLVER_STEPS = 50  # of the others


def redshift_column(training_set: TrainingSet) -> list[float] | None:
    """(column, mean, scale) of the standardised ln(1 + z), JSON-able; None where redshift is no condition."""
    for number, condition in enumerate(training_set.conditions.columns):
        if condition.name == "redshift":
            return [number, condition.mean, condition.scale]
    return None


class NoisePredictionModel(GenerativeModel):
    """A generator that predicts the noise.

    Args:
        network: eps_theta; takes images, steps (n,) and conditions (n, k) whose redshift is z itself.
        shape: of an image, (band, y, x).
        redshift: see :func:`redshift_column`.
        huber: Huber's loss and not the squared one.
    """

    halvings: ClassVar[int] = 0  # how often the network halves an image

    def __init__(self, network: nn.Module, shape: tuple[int, int, int], redshift: Sequence[float] | None, huber: bool = False) -> None:
        super().__init__()
        self.network, self.shape, self.redshift, self.huber = network, shape, redshift, huber
        self.process = DiscreteProcess.linear()  # the papers' thousand levels

    @classmethod
    def arguments(cls, training_set: TrainingSet) -> dict[str, Any]:
        """Shape of the data and of the conditions.

        Raises:
            InputError: the stamps cannot be halved as often as the network does.
        """
        cls.needs_multiple_of(2**cls.halvings, training_set.image_size)
        return {
            "bands": training_set.bands,
            "image_size": training_set.image_size,
            "conditions": list(training_set.conditions.layout),
            "redshift": redshift_column(training_set),
        }

    @classmethod
    def default_steps(cls, sampler: str | None = None) -> int:
        """1000 for the papers' sampler, 50 for the others."""
        return DISCRETE.get(sampler or "ancestral", SOLVER_STEPS)

    def predict_noise(
        self, x_t: Float[Tensor, "n band y x"], t: Float[Tensor, " n"], c: Float[Tensor, "n k"]
    ) -> Float[Tensor, "n band y x"]:
        """eps_theta at standardised conditions."""
        if self.redshift is not None:
            column, mean, scale = int(self.redshift[0]), self.redshift[1], self.redshift[2]
            c = c.clone()
            c[:, column] = torch.expm1(mean + scale * c[:, column])
        return self.network(x_t, t, c).float()

    def loss(self, x: Float[Tensor, "n band y x"], c: Float[Tensor, "n k"], generator: torch.Generator) -> Float[Tensor, ""]:
        """Error of the predicted noise (ddpm eq. 2)."""
        return noise_loss(self.predict_noise, self.process, x, c, generator, self.huber)

    def sample(
        self,
        c: Float[Tensor, "n k"],
        seeds: Sequence[int],
        steps: int | None = None,
        guidance: float = 1.0,
        sampler: str | None = None,
        weaker: NoisePredictionModel | None = None,
    ) -> Float[Tensor, "n band y x"]:
        """Back from each galaxy's own noise.

        Args:
            c: conditions, one row a galaxy. seeds: one a galaxy. steps: of the sampler; all thousand of the ancestral one, 50 of another,
            where not given. guidance: 1 = as trained; another value needs a training with dropped conditions. sampler: "ancestral" (the
            papers', and the default) or "ddim" in the process's own steps, or another of :data:`hubbleflow.sampling.SAMPLERS` between
            Karras's noise levels. weaker: by which autoguidance guides.

        Raises:
            InputError: no such sampler; too many steps.
        """
        sampler = sampler or "ancestral"
        if sampler not in DISCRETE and sampler not in SAMPLERS:
            raise InputError(f"unknown sampler {sampler!r}: choose one of {', '.join(dict.fromkeys([*DISCRETE, *SAMPLERS]))}")
        steps = steps or self.default_steps(sampler)
        streams = NoiseStreams(seeds, self.shape)
        x = streams().to(c.device)
        if sampler in DISCRETE:
            predict = guided(self.predict_noise, c, guidance, weaker.predict_noise if weaker else None)
            return ancestral(predict, x, self.process, steps, streams) if sampler == "ancestral" else ddim(predict, x, self.process, steps)
        levels = self.process.sigmas(self.process.steps)
        sigmas = karras_sigmas(steps, float(levels[-2]), float(levels[0]))
        weak = denoiser_of(weaker.predict_noise, weaker.process) if weaker else None
        denoise = guided(denoiser_of(self.predict_noise, self.process), c, guidance, weak)
        return follow(sampler, denoise, x * float(1 + sigmas[0] ** 2) ** 0.5, sigmas, streams)
