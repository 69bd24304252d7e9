"""li2024-cvae: the conditional variational autoencoder of Li et al. 2024 (sections 3.8.2 and A.2, figures 10 and 11, eq. 6).

An encoder gives the posterior q(v | x, c) = N(mu, s^2) of a 64-number latent vector v, a decoder the image x(v, c); they are trained on
the lower bound of Sohn et al. 2015,

    L = MSE(x(v, c), x) + w KL(N(mu, s^2) | N(0, 1)),   v = mu + s n,   w = 1e-3
    KL = sum over the 64 numbers of (mu^2 + s^2 - 1 - ln s^2) / 2                                          (Kingma & Welling 2013, app. B)

and a galaxy is drawn as x(v, c) with v ~ N(0, 1). No pixel noise is added to what the decoder gives, as in the paper, which finds the
background of these images smooth and correlated.

The paper gives: convolutions each with its own skip to the flat layer; the redshift concatenated to the flat layer and to the latent
vector; dense layers; 64 latent numbers; a decoder that mirrors the encoder and has slightly fewer parameters; MSE + 1e-3 KL; batches of
512; 250 epochs (of 204,513 galaxies: 99,860 steps); images that are not normalised. It leaves open, and we choose:

    convolutions         four, 4x4 with stride 2, of 64-128-256-512 channels, no norm; transposed ones in the decoder
    skips                1x1 convolutions that bring each level to 4,096 numbers (networks/hd_cnn.py)
    dense layers         512-256 between the 16,384 flat numbers and the 2 x 64 of the posterior, and back
    activation           SiLU
    mean of the MSE      over galaxies, bands and pixels: what "mean squared error" says
    sum of the KL        over the 64 numbers, averaged over galaxies: "the KL divergence between the latent distribution and the prior".
                         Together these are the likelihood of pixels with sigma^2 = w D / 2 for D = 5 x 64 x 64 pixels, 3.2 counts:
                         structure below that is not worth a latent number (argument `kl_weight` moves it)
    ln s^2               held within +-10 by 10 tanh(h / 10): pixels of 1e4 counts would overflow its exponential
    how redshift enters  as (ln(1 + z) - mean) / std over the training set
    scale                the network sees x / std of the training pixels and its output is multiplied by it, so that the weights start
                         at the right size; the loss is in the stretch's own units, counts for the paper's "none"
    optimiser            Adam at a constant 1e-4 (the rate of the same group's redshift network), no clipping, no averaged weights
    conditions           never dropped: there is no guidance
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F

from hubbleflow.diffusion import seeded_noise
from hubbleflow.errors import InputError
from hubbleflow.models.model import GenerativeModel, TrainingDefaults, TrainingSet
from hubbleflow.networks.embedding import ConditionNumbers
from hubbleflow.networks.hd_cnn import HdDecoder, HdEncoder

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

LARGEST = 10.0  # |ln s^2|


def gaussian_kl(mean: Float[Tensor, "n d"], log_variance: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """KL(N(mean, variance) | N(0, 1)) of each row.

    Example:
        >>> gaussian_kl(torch.tensor([[0.0, 2.0]]), torch.zeros(1, 2)).tolist()
        [2.0]
    """
    return (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2


class Li2024Cvae(GenerativeModel):
    """Conditions and 64 random numbers -> images, in one pass.

    Args:
        bands, image_size, conditions, sigma_data: see :class:`TrainingSet` (conditions as the layout of their columns).
        widths: channels of the convolutions; each halves the side.
        features: numbers that each convolution's skip sends to the flat layer.
        dense: widths of the dense layers.
        latent: numbers of the latent vector.
        kl_weight: w.
    """

    name: ClassVar[str] = "li2024-cvae"
    paper: ClassVar[str] = "Li et al. 2024"
    defaults: ClassVar[TrainingDefaults] = TrainingDefaults(
        batch_size=512, learning_rate=1e-4, clip=None, ema=0.0, condition_dropout=0.0, steps=99_860, stretch="none", jitter=0.0
    )
    small: ClassVar[dict[str, Any]] = {"widths": [48, 96, 192, 384], "features": 2048, "dense": [256, 128]}
    small_training: ClassVar[dict[str, Any]] = {"batch_size": 32, "learning_rate": 1e-3}

    def __init__(
        self,
        bands: int,
        image_size: int,
        conditions: Sequence[int],
        sigma_data: float,
        widths: Sequence[int] = (64, 128, 256, 512),
        features: int = 4096,
        dense: Sequence[int] = (512, 256),
        latent: int = 64,
        kl_weight: float = 1e-3,
    ) -> None:
        super().__init__()
        self.sigma_data, self.latent, self.kl_weight = sigma_data, latent, kl_weight
        self.numbers = ConditionNumbers(conditions)
        self.encoder = HdEncoder(bands, image_size, self.numbers.size, widths, features, [*dense, 2 * latent])
        self.decoder = HdDecoder(bands, image_size, self.numbers.size, widths, features, [*reversed(dense)], latent)

    @classmethod
    def arguments(cls, training_set: TrainingSet) -> dict[str, Any]:
        """Shape of the data; the four convolutions need stamps that divide by sixteen."""
        cls.needs_multiple_of(16, training_set.image_size)
        return {
            "bands": training_set.bands,
            "image_size": training_set.image_size,
            "conditions": list(training_set.conditions.layout),
            "sigma_data": training_set.sigma_data,
        }

    def posterior(self, x: Float[Tensor, "n band y x"], c: Float[Tensor, "n k"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """Mean and ln variance of the latent vector of each galaxy."""
        mean, log_variance = self.encoder(x / self.sigma_data, self.numbers(c)).float().chunk(2, dim=1)
        return mean, LARGEST * torch.tanh(log_variance / LARGEST)

    def decode(self, v: Float[Tensor, "n d"], c: Float[Tensor, "n k"]) -> Float[Tensor, "n band y x"]:
        """The image of a latent vector under conditions c."""
        return self.sigma_data * self.decoder(v, self.numbers(c)).float()

    def loss(self, x: Float[Tensor, "n band y x"], c: Float[Tensor, "n k"], generator: torch.Generator) -> Float[Tensor, ""]:
        """MSE + w KL."""
        mean, log_variance = self.posterior(x, c)
        v = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=generator, device=mean.device)
        return F.mse_loss(self.decode(v, c), x) + self.kl_weight * gaussian_kl(mean, log_variance).mean()

    def sample(
        self, c: Float[Tensor, "n k"], seeds: Sequence[int], steps: int | None = None, guidance: float = 1.0, sampler: str | None = None
    ) -> Float[Tensor, "n band y x"]:
        """The decoder's images of Gaussian latent vectors, one a seed. There is one pass whatever `steps` says.

        Raises:
            InputError: guidance or a sampler is asked for: there is neither.
        """
        if guidance != 1.0:
            raise InputError(
                f"model {self.name!r} was trained with its conditions only and has no guidance, got {guidance:g}: leave it at 1"
            )
        if sampler is not None:
            raise InputError(f"model {self.name!r} draws in one pass and has no samplers, got {sampler!r}: leave it out")
        return self.decode(seeded_noise(seeds, (self.latent,)).to(c.device), c)
