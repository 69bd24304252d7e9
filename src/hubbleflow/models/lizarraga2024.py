"""lizarraga2024: the continuous-redshift DDPM of Lizarraga et al. (2024), section 5.1 and figure 1.

    L = E_{t, x, eps} Huber( eps - eps_theta(sqrt(abar_t) x + sqrt(1 - abar_t) eps, t, z + N(0, 0.01^2)) ),   T = 1000, beta = 1e-4 .. 0.02

around the U-Net of :mod:`hubbleflow.networks.lizarraga_unet`, on images mapped to 0..1 by the whole set's minimum and maximum. AdamW at
2e-5, gradients clipped to norm 1, the average of the weights with decay 0.995, 600 epochs of 204,513 galaxies in batches of 128; drawn by
the ancestral sampler.

Given in the released code and not in the paper: 0.995. Given by neither, and chosen: AdamW's weight decay (torch's 0.01); the sampler's
variance beta_t (see :mod:`hubbleflow.ddpm`). The paper describes self-attention at each resolution, its released network has none:
`attention` chooses, the described network by default.

At small scale everything is a quarter as wide, attention begins at a quarter of the resolution, and batches of 16 at 3e-4 learn something
in minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from hubbleflow.models.model import TrainingDefaults
from hubbleflow.models.noise_prediction import NoisePredictionModel
from hubbleflow.networks.lizarraga_unet import LizarragaUNet


class Lizarraga2024(NoisePredictionModel):
    """Denoiser of galaxies whose redshift is added to the time code.

    Args:
        bands, image_size, conditions, redshift: see :meth:`NoisePredictionModel.arguments`.
        width, code: channels at full resolution, length of the time code.
        attention: the described network, or the released one without it.
        largest: positions on a side of the largest feature map with attention.
    """

    name: ClassVar[str] = "lizarraga2024"
    paper: ClassVar[str] = "Lizarraga et al. 2024"
    small: ClassVar[dict[str, Any]] = {"width": 16, "largest": 16}
    small_training: ClassVar[dict[str, Any]] = {"batch_size": 16, "learning_rate": 3e-4}
    halvings: ClassVar[int] = 3
    defaults: ClassVar[TrainingDefaults] = TrainingDefaults(
        batch_size=128,
        learning_rate=2e-5,
        weight_decay=1e-2,
        clip=1.0,
        ema=0.995,
        condition_dropout=0.0,
        steps=600 * 204_513 // 128,
        stretch="minmax",
        jitter=0.01,
    )

    def __init__(
        self,
        bands: int,
        image_size: int,
        conditions: Sequence[int],
        redshift: Sequence[float] | None,
        width: int = 64,
        code: int = 256,
        attention: bool = True,
        largest: int = 64,
    ) -> None:
        added = None if redshift is None else int(redshift[0])
        network = LizarragaUNet(bands, tuple(conditions), added, width, code, attention, image_size, largest)
        super().__init__(network, (bands, image_size, image_size), redshift, huber=True)
