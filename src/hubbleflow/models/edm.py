"""edm: the default generator. EDM's denoising objective (Karras et al. 2022) around the patch U-Net, on asinh-stretched flux.

Noise levels are drawn from ln sigma ~ N(ln(2 s) + 1, 2^2), s the data's standard deviation, and galaxies from sigma = 400 down: much wider
than the paper's N(-1.2, 1.2^2) at s = 0.5 and 80. How bright and how large a galaxy is are decided where noise drowns the whole stamp, not
one pixel: a bright galaxy's stretched pixels y have a norm (sum y^2)^1/2 of hundreds over 5 x 64 x 64 pixels. Starting from a sigma below
that is starting from "no galaxy here", and so the brightest and largest were missing (docs/results.md).
Sampling is DPM-Solver++(2M), 20 steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from hubbleflow.diffusion import EdmDenoiser, NoiseStreams, edm_loss, guided
from hubbleflow.models.model import GenerativeModel, TrainingDefaults, TrainingSet
from hubbleflow.networks.patch_unet import PatchUNet
from hubbleflow.sampling import follow, karras_sigmas

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Edm(GenerativeModel):
    """Denoiser of stretched galaxies at any noise level, given conditions.

    Args:
        bands, image_size, conditions, sigma_data: see :class:`TrainingSet` (conditions as the embedding's layout).
        width, multipliers, blocks, patch, scales, strongest: the network's size (see :class:`PatchUNet`).
        condition_frequency: highest frequency of a condition's code, rad a unit: above 16 a galaxy of held noise wobbled with redshift.
        p_mean, p_std: mean of ln(sigma / 2 sigma_data) and spread of ln sigma in training.
        sigma_min, sigma_max: noise levels between which galaxies are drawn.
        doubt: whether pixels count in the loss by how well they can be known (diffusion eq. 4).
    """

    name: ClassVar[str] = "edm"
    paper: ClassVar[str] = "Karras et al. 2022, on a patch U-Net (this package)"
    steps: ClassVar[int] = 20
    defaults: ClassVar[TrainingDefaults] = TrainingDefaults(
        batch_size=16, learning_rate=1e-3, weight_decay=1e-2, betas=(0.9, 0.99), ema=0.9995, decay_to=0.05, steps=20_000
    )

    def __init__(
        self,
        bands: int,
        image_size: int,
        conditions: Sequence[int],
        sigma_data: float,
        width: int = 48,
        multipliers: Sequence[int] = (1, 2),
        blocks: int = 1,
        patch: int = 4,
        scales: int = 3,
        strongest: float = 1.0,
        condition_frequency: float = 8.0,
        p_mean: float = 1.0,
        p_std: float = 2.0,
        sigma_min: float = 0.01,
        sigma_max: float = 400.0,
        doubt: bool = False,
    ) -> None:
        super().__init__()
        self.shape = (bands, image_size, image_size)
        self.p_mean, self.p_std, self.sigma_min, self.sigma_max = p_mean + math.log(2 * sigma_data), p_std, sigma_min, sigma_max
        network = PatchUNet(
            bands,
            image_size,
            tuple(conditions),
            width,
            tuple(multipliers),
            blocks,
            patch=patch,
            scales=scales,
            strongest=strongest,
            condition_frequency=condition_frequency,
            sigma_data=sigma_data,
            doubt=doubt,
        )
        self.doubt = doubt
        self.denoiser = EdmDenoiser(network, sigma_data)

    @classmethod
    def arguments(cls, training_set: TrainingSet) -> dict[str, Any]:
        """Shape of the data; patches of 4 x 4 on two levels need stamps that divide by eight, patches of 2 x 2 by four, on one level by
        two.
        """
        size = training_set.image_size
        cls.needs_multiple_of(2, size)
        patch = 4 if size % 8 == 0 else 2
        return {
            "bands": training_set.bands,
            "image_size": size,
            "conditions": list(training_set.conditions.layout),
            "sigma_data": training_set.sigma_data,
            "patch": patch,
            "multipliers": [1, 2] if size % (2 * patch) == 0 else [1],
        }

    def loss(self, x: Float[Tensor, "n band y x"], c: Float[Tensor, "n k"], generator: torch.Generator) -> Float[Tensor, ""]:
        """Weighted denoising error (diffusion eq. 3)."""
        return edm_loss(self.denoiser, x, c, self.p_mean, self.p_std, generator, self.doubt)

    def sample(
        self,
        c: Float[Tensor, "n k"],
        seeds: Sequence[int],
        steps: int | None = None,
        guidance: float = 1.0,
        sampler: str | None = None,
        weaker: Edm | None = None,
    ) -> Float[Tensor, "n band y x"]:
        """Follow the probability flow from each galaxy's own noise.

        Args:
            c: conditions, one row a galaxy. seeds: one a galaxy. steps: of the sampler, 20 where not given. guidance: 1 = as trained;
            another value needs a training with dropped conditions. sampler: one of :data:`hubbleflow.sampling.SAMPLERS`; where not given,
            "dpm++2m". weaker: by which autoguidance guides.

        Raises:
            InputError: no such sampler.
        """
        sampler = sampler or "dpm++2m"
        sigmas = karras_sigmas(steps or self.default_steps(sampler), self.sigma_min, self.sigma_max)
        streams = NoiseStreams(seeds, self.shape)
        x = self.sigma_max * streams().to(c.device)
        return follow(sampler, guided(self.denoiser, c, guidance, weaker.denoiser if weaker else None), x, sigmas, streams)
