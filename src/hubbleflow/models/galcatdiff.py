"""galcatdiff: the category-conditioned DDPM of Fan et al. (2025), figures 1 and 2.

    q(X_t | X_0) adds Gaussian noise at each step t; P_theta(X_{t-1} | X_t) removes it, by a network that estimates the noise   (figure 1)

around the U-Net of Astro-RABs in :mod:`hubbleflow.networks.astro_rab`, whose file says which parts of the network are given and which are
chosen. Category and time are embedded and enter every Astro-RAB. What is known here of the paper are its abstract and captions; these do
not give, and so this package chose:

    image size             the training set's, a multiple of 4 pixels on a side
    widths, counts         64, 128, 256 channels; two Astro-RABs a stage: 9.6 million parameters with three bands and six categories
    windows                8 pixels on a side
    fusion rule            a gate for every pixel and channel (astro_rab, eq. 2)
    schedule               T = 1000, beta from 1e-4 to 0.02 linearly, the other two papers'; ancestral sampling with sigma_t^2 = beta_t
    loss                   mean squared error of the noise
    optimiser              Adam, learning rate 2e-4, gradients clipped to norm 1
    training               100,000 steps of 64; weights averaged with decay 0.999; the category dropped for one galaxy in ten, for guidance
    stretch                by the survey: linear for 8-bit pictures, asinh for flux

Its table of results is therefore nothing that a run of this can reproduce.

At small scale the network is 24 channels wide at full resolution and 2x2 pixels are one position; stages, blocks and windows are the same.
It learns in batches of 16 at 3e-4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from hubbleflow.models.model import TrainingDefaults, TrainingSet
from hubbleflow.models.noise_prediction import NoisePredictionModel
from hubbleflow.networks.astro_rab import AstroRabUNet


class GalCatDiff(NoisePredictionModel):
    """Denoiser of galaxies of a category, or of any other conditions.

    Args:
        bands, image_size, conditions: see :class:`TrainingSet` (conditions as the embedding's layout).
        width, multipliers, blocks, window, patch: the network's size (see :class:`AstroRabUNet`).
    """

    name: ClassVar[str] = "galcatdiff"
    paper: ClassVar[str] = "Fan et al. 2025"
    small: ClassVar[dict[str, Any]] = {"width": 24, "multipliers": [1, 2, 3], "patch": 2}
    small_training: ClassVar[dict[str, Any]] = {"batch_size": 16, "learning_rate": 3e-4}
    halvings: ClassVar[int] = 2
    defaults: ClassVar[TrainingDefaults] = TrainingDefaults(
        batch_size=64, learning_rate=2e-4, clip=1.0, ema=0.999, condition_dropout=0.1, steps=100_000, conditions=("category",)
    )

    def __init__(
        self,
        bands: int,
        image_size: int,
        conditions: Sequence[int],
        width: int = 64,
        multipliers: Sequence[int] = (1, 2, 4),
        blocks: int = 2,
        window: int = 8,
        patch: int = 1,
    ) -> None:
        fine, middle, coarse = multipliers
        self.needs_multiple_of(4 * patch, image_size)
        network = AstroRabUNet(bands, tuple(conditions), width, (fine, middle, coarse), blocks, window, patch)
        super().__init__(network, (bands, image_size, image_size), redshift=None)  # the embedding takes standardised conditions

    @classmethod
    def arguments(cls, training_set: TrainingSet) -> dict[str, Any]:
        """Shape of the data and of the conditions."""
        return {name: value for name, value in super().arguments(training_set).items() if name != "redshift"}
