"""li2024-ddpm: the redshift-conditioned DDPM of Li et al. (2024), section 3.8.1, appendix A.1 and figures 8 and 9.

    L = E_{t, x, eps} || eps - eps_theta(sqrt(abar_t) x + sqrt(1 - abar_t) eps, t, z) ||^2,   T = 1000, beta = 1e-4 .. 0.02
    x_{t-1} = (x_t - (1 - alpha_t) / sqrt(1 - abar_t) eps_theta) / sqrt(alpha_t) + N(0, beta_t)                          (5, 9)

around the U-Net of :mod:`hubbleflow.networks.li_unet`, 1.24e8 parameters, on fluxes as they are ("un-normalized"); learning rate 1e-5, 30
epochs of 204,513 galaxies in batches of 32. The widths and what else the paper leaves open are listed in the network's file. Not given,
and so left out: weight decay, clipping, averaged weights, jitter of the redshift. The optimiser is not named: Adam.

(The paper prints (8) with 1 / sqrt(abar_t) and (9) with 1 / sqrt(alpha_t); the second is Ho et al.'s.)

At small scale everything is a quarter as wide, with one residual block a block, and attention begins at a quarter of the resolution; it
learns in batches of 16 at 3e-4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from hubbleflow.models.model import TrainingDefaults
from hubbleflow.models.noise_prediction import NoisePredictionModel
from hubbleflow.networks.li_unet import LiUNet


class Li2024Ddpm(NoisePredictionModel):
    """Denoiser of galaxies whose redshift is a map beside every block's input.

    Args:
        bands, image_size, conditions, redshift: see :meth:`NoisePredictionModel.arguments`.
        widths, blocks: channels at each of the five resolutions, residual blocks a block.
        largest: positions on a side of the largest feature map with attention.
    """

    name: ClassVar[str] = "li2024-ddpm"
    paper: ClassVar[str] = "Li et al. 2024"
    small: ClassVar[dict[str, Any]] = {"widths": [16, 32, 64, 96, 128], "blocks": 1, "largest": 16}
    small_training: ClassVar[dict[str, Any]] = {"batch_size": 16, "learning_rate": 3e-4}
    halvings: ClassVar[int] = 4
    defaults: ClassVar[TrainingDefaults] = TrainingDefaults(
        batch_size=32,
        learning_rate=1e-5,
        clip=None,
        ema=0.0,
        condition_dropout=0.0,
        steps=30 * 204_513 // 32,
        stretch="none",
        jitter=0.0,
    )

    def __init__(
        self,
        bands: int,
        image_size: int,
        conditions: Sequence[int],
        redshift: Sequence[float] | None,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        blocks: int = 2,
        largest: int = 64,
    ) -> None:
        network = LiUNet(bands, tuple(conditions), tuple(widths), blocks, image_size, largest)
        super().__init__(network, (bands, image_size, image_size), redshift)
