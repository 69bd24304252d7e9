"""edm: the default generator. EDM's denoising objective (Karras et al. 2022) around a mean galaxy and the patch U-Net, on asinh-stretched
flux.

What galaxies of the same conditions look like on average (networks/mean_galaxy.py) is learned beside the denoiser and subtracted first
(diffusion eq. 4). A galaxy's brightness then is right to what its conditions say before the first step, instead of being found where noise
drowns the whole stamp. What the denoiser gets wrong is weighed by what is to be expected of it (networks/expected_error.py), and what it
still gets wrong on average when it has learned is fitted (networks/correction.py).

Noise levels are drawn from ln sigma ~ N(ln(2 s) + 1, 2^2), s the data's standard deviation, and galaxies from sigma = 250 down: much wider
than the paper's N(-1.2, 1.2^2) at s = 0.5 and 80. Where redshift alone is asked, how bright and how large a galaxy is are decided where
noise drowns the stamp, not one pixel: a bright galaxy's stretched pixels y have a norm (sum y^2)^1/2 of hundreds over 5 x 64 x 64 pixels.
Starting from a sigma below that is starting from "no galaxy here", and so the brightest and largest were missing (docs/results.md).
Sampling is DPM-Solver++(2M), 10 steps, on levels that give Gaussian data their width (sampling/schedules.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from hubbleflow.band_conditions import BandConditions
from hubbleflow.diffusion import EdmDenoiser, NoiseStreams, Weighing, edm_loss, guided
from hubbleflow.errors import InputError
from hubbleflow.models.model import GenerativeModel, TrainingDefaults, TrainingSet
from hubbleflow.networks.correction import Correction
from hubbleflow.networks.expected_error import ExpectedError
from hubbleflow.networks.galaxy_sums import ORDERS, WIDTHS
from hubbleflow.networks.mean_galaxy import MeanGalaxy, MeanImage, galaxy_modes
from hubbleflow.networks.patch_unet import PatchUNet
from hubbleflow.networks.sums_correction import SumsCorrection
from hubbleflow.sampling import follow, sigmas_for

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


OWN, FEW = "dpm++2m", 15  # its sampler; steps below which a higher order loses (bench/schedule.py)


class Edm(GenerativeModel):
    """Denoiser of stretched galaxies at any noise level, given conditions.

    Args:
        bands, image_size, conditions, sigma_data: see :class:`TrainingSet` (conditions as the embedding's layout).
        width, multipliers, blocks, patch, scales: the network's size (see :class:`PatchUNet`).
        condition_frequency: highest frequency of a condition's code, rad a unit: above 16 a galaxy of held noise wobbled with redshift.
        p_mean, p_std: mean of ln(sigma / 2 sigma_data) and spread of ln sigma in training.
        sigma_min, sigma_max: noise levels between which galaxies are drawn, the lowest in 20 steps.
        mean_widths: Gaussians of r that the mean galaxy is made of; 0 for no mean.
        rest: standard deviation of what the mean leaves over sigma_data.
        mean_harmonics: orders of cosine around the centre of a mean galaxy whose position angle is asked.
        modes_weight: of what a galaxy's brightness, place, size and elongation are off by, over that of all its pixels, in training.
        galaxy_weight: how much more a bright pixel counts than the sky's, in training (see :class:`Weighing`).
        sums: width of the layers that speak of sums over the stamp (see :class:`GalaxySums`); 0 for none.
        mean_alone: train the mean galaxy alone, for a training that starts from it.
        of_bands: what the conditions say of each band by itself (:meth:`BandConditions.to_dict`).

    Raises:
        InputError: a mean galaxy of fewer than no Gaussians, or that leaves nothing; weights below 0; none, to be trained alone.
    """

    name: ClassVar[str] = "edm"
    paper: ClassVar[str] = "Karras et al. 2022, on a patch U-Net (this package)"
    steps: ClassVar[int] = 10
    passing: ClassVar[tuple[str, ...]] = ("mean_alone",)
    fitted: ClassVar[tuple[str, ...]] = ("denoiser.correction.", "denoiser.sums_correction.")
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
        condition_frequency: float = 8.0,
        p_mean: float = 1.0,
        p_std: float = 2.0,
        sigma_min: float = 0.015,
        sigma_max: float = 250.0,
        mean_widths: int = 12,
        rest: float = 0.5,
        mean_harmonics: int = 4,
        modes_weight: float = 1.0,
        galaxy_weight: float = 1.0,
        mean_alone: bool = False,
        sums: int = 256,
        *,
        of_bands: Mapping[str, Any],
    ) -> None:
        if min(mean_widths, mean_harmonics, modes_weight, galaxy_weight, sums) < 0 or not rest > 0:
            given = f"{mean_widths}, {mean_harmonics}, {modes_weight:g}, {galaxy_weight:g}, {sums} and {rest:g}"
            raise InputError(
                "mean_widths, mean_harmonics, modes_weight, galaxy_weight and sums must not be negative and rest must be positive, "
                f"got {given}"
            )
        if mean_alone and not mean_widths:
            raise InputError("mean_alone trains the mean galaxy, and mean_widths = 0 is none")
        super().__init__()
        self.shape = (bands, image_size, image_size)
        self.p_mean, self.p_std, self.sigma_min, self.sigma_max = p_mean + math.log(2 * sigma_data), p_std, sigma_min, sigma_max
        s = rest * sigma_data if mean_widths else sigma_data
        network = PatchUNet(
            bands,
            image_size,
            tuple(conditions),
            width,
            tuple(multipliers),
            blocks,
            patch=patch,
            scales=scales,
            condition_frequency=condition_frequency,
            mean=mean_widths > 0,
            sigma_data=s,
            sums=sums,
        )
        mean = None
        if mean_widths:
            mean = MeanGalaxy(
                bands,
                image_size,
                tuple(conditions),
                mean_widths,
                condition_frequency=condition_frequency,
                harmonics=mean_harmonics,
                **of_bands,
            )
        corrections = (Correction(bands, image_size), SumsCorrection(bands, image_size)) if mean_widths else (None, None)
        self.denoiser = EdmDenoiser(network, s, mean, *corrections)
        self.modes_weight, self.galaxy_weight, self.mean_alone = modes_weight, galaxy_weight, mean_alone
        self.pixel_errors, self.mode_errors = ExpectedError(), ExpectedError().requires_grad_(modes_weight > 0)
        if mean_alone:
            self.requires_grad_(False)
            self.denoiser.mean.requires_grad_(True)
        self.register_buffer("modes", galaxy_modes(image_size, WIDTHS, ORDERS), persistent=False)

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
            "of_bands": BandConditions.of(training_set.conditions, training_set.band_names).to_dict(),
        }

    @classmethod
    def default_steps(cls, sampler: str | None = None) -> int:
        """Those after which more change nothing that is measured (docs/performance.md), and twice as many of another sampler."""
        return cls.steps if sampler in (None, OWN) else 2 * cls.steps

    @classmethod
    def renewed(cls, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[str, ...]:
        """The mean galaxy, where further conditions say something of each band by itself."""
        if "of_bands" not in theirs:
            return ()
        known = len(theirs["conditions"])
        signs = [
            [[np.sign(row[:known]).tolist() for row in rows] for rows in arguments["of_bands"].get("matrix", ())]
            for arguments in (mine, theirs)
        ]
        return () if signs[0] == signs[1] else ("denoiser.mean.",)

    def loss(self, x: Float[Tensor, "n band y x"], c: Float[Tensor, "n k"], generator: torch.Generator) -> Float[Tensor, ""]:
        """Weighted denoising error (diffusion eq. 3), and what the mean is learned by."""
        if self.mean_alone:
            return self.denoiser.mean_loss(x, c)
        weighing = Weighing(self.pixel_errors, self.mode_errors, self.get_buffer("modes"), self.modes_weight, self.galaxy_weight)
        return edm_loss(self.denoiser, x, c, self.p_mean, self.p_std, generator, weighing) + self.denoiser.mean_loss(x, c)

    def finish(self, x: Float[Tensor, "n band y x"], c: Float[Tensor, "n k"], on_galaxies: Callable[[int], None]) -> None:
        """Find what the denoiser gets wrong on average."""
        if not self.mean_alone:
            self.denoiser.fit_correction(x, c, on_galaxies)

    def finishing(self, n: int) -> int:
        """Each at every noise level of the correction."""
        return 0 if self.mean_alone else self.denoiser.fitting(n)

    def middle(self, c: Float[Tensor, "n k"], guidance: float, weaker: Edm | None) -> Tensor:
        """What galaxies are drawn around: the mean, guided as the denoiser is."""
        mean = self.denoiser.middle(c)
        if guidance == 1.0:
            return mean
        other = weaker.denoiser.middle(c) if weaker else self.denoiser.middle(torch.full_like(c, torch.nan))
        return other + guidance * (mean - other)

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
            c: conditions, one row a galaxy. seeds: one a galaxy. steps: of the sampler, where not given 10 of its own, 20 of another.
            guidance: 1 = as trained; another value needs a training with dropped conditions. sampler: one of
            :data:`hubbleflow.sampling.SAMPLERS`; where not given, "dpm++2m", or "dpm++3m" for 15 steps and more. weaker: by which
            autoguidance guides.

        Raises:
            InputError: no such sampler.
        """
        steps = steps or self.default_steps(sampler)
        sampler = sampler or ("dpm++3m" if steps >= FEW else OWN)
        sigmas = sigmas_for(sampler, steps, self.sigma_min, self.sigma_max)
        streams = NoiseStreams(seeds, self.shape)
        middle = self.middle(c, guidance, weaker)
        # The mean is the same at all noise levels; guidance needs that of no conditions, too.
        denoiser = partial(self.denoiser, m=MeanImage(middle)) if guidance == 1.0 else self.denoiser
        x = middle + self.sigma_max * streams().to(c.device)
        return follow(sampler, guided(denoiser, c, guidance, weaker.denoiser if weaker else None), x, sigmas, streams)
