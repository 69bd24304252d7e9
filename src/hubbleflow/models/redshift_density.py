"""redshift-density: reads a redshift off an image and says how sure it is, as a density p(z | image). Ours, beside li2024-redshift-cnn.

A mixture density network (Bishop 1994): (3x3 convolution, GroupNorm, SiLU, 2x2 mean-pooling) four times, flattened; beside that the image
itself in 8 x 8 cells, because norms make a galaxy's shape plain and its brightness not; one dense layer; and for each of K components a
weight, a mean and a width of a Gaussian in y = ln(1 + z), cut off at z = 0 (photoz.py). Trained on

    L = -mean ln p(y) = -mean [ ln sum_k w_k N(y; mu_k, sigma_k^2) - ln sum_k w_k Phi(mu_k / sigma_k) ]           (1)

which has its minimum at the true density (a proper score), so a network that has not begun to overfit is calibrated. One that has is too
sure of itself. Therefore every galaxy in `1 / held_out` never trains the network: it trains two numbers only, by (1) again,

    sigma_k -> a sigma_k,   w_k -> w_k^b / sum_j w_j^b                                                            (2)

(as Guo et al. 2017 do for classes with b). Which galaxies those are must not change from epoch to epoch, nor when an image is flipped or
turned; the loss sees images and no names, so the choice is read off the image itself: the sum of its pixels over their norm, taken as a
random number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from hubbleflow.errors import InputError
from hubbleflow.models.model import DensityModel, TrainingDefaults, TrainingSet
from hubbleflow.photoz import RedshiftDensity

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    Mixture = tuple[Tensor, Tensor, Tensor]  # ln weights, means, sigmas: (n, k) each

NARROWEST = 1e-3  # sigma of ln(1 + z): spectroscopic redshifts are no better
SHARPNESS = 20.0  # of the bend that keeps means above 0
CELLS = 8  # on a side
GRAIN = 1e-4  # pixel sums over the images' norms are told apart on this scale, hundreds of times their rounding


class RedshiftDensityCnn(DensityModel):
    """Images -> densities of redshift.

    Args:
        bands, image_size: shape of the data.
        log1p_mean, log1p_std: of ln(1 + z) over the training set.
        components: K.
        widths: channels of the convolutions; each is followed by pooling.
        dense: width of the dense layer.
        dropout: of the dense layer, in training.
        held_out: the share of galaxies that calibrates; 0 leaves the network as it is.
    """

    name: ClassVar[str] = "redshift-density"
    paper: ClassVar[str] = "this package, after Bishop 1994"
    defaults: ClassVar[TrainingDefaults] = TrainingDefaults(
        batch_size=64, learning_rate=2e-3, weight_decay=5e-2, ema=0.999, decay_to=0.01, condition_dropout=0.0, steps=6_000, jitter=0.0
    )

    def __init__(
        self,
        bands: int,
        image_size: int,
        log1p_mean: float,
        log1p_std: float,
        components: int = 6,
        widths: Sequence[int] = (24, 48, 96, 128),
        dense: int = 128,
        dropout: float = 0.2,
        held_out: float = 0.1,
    ) -> None:
        super().__init__()
        if not 0 <= held_out <= 0.5:
            raise InputError(f"model {self.name!r} can hold out between 0 and half of the galaxies to calibrate on, got {held_out}")
        self.log1p_mean, self.log1p_std, self.dropout, self.held_out = log1p_mean, log1p_std, dropout, held_out
        layers: list[nn.Module] = []
        channels, size = bands, image_size
        for width in widths:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(8, width), nn.SiLU(), nn.AvgPool2d(2)]
            channels, size = width, size // 2
        self.shapes = nn.Sequential(*layers, nn.Flatten())
        self.light = nn.Sequential(nn.AdaptiveAvgPool2d(CELLS), nn.Flatten())
        self.dense = nn.Sequential(nn.Linear(channels * size**2 + bands * CELLS**2, dense), nn.SiLU())
        self.head = nn.Linear(dense, 3 * components)
        with torch.no_grad():  # components begin side by side over the training set's range
            self.head.bias[:components] = 0
            self.head.bias[components : 2 * components] = torch.linspace(-1.5, 1.5, components)
            self.head.bias[2 * components :] = -0.5
        self.calibration = nn.Parameter(torch.zeros(2), requires_grad=held_out > 0)  # ln a and ln b of eq. (2)

    @classmethod
    def arguments(cls, training_set: TrainingSet) -> dict[str, Any]:
        """Needs `redshift` as its one condition, and stamps that can be halved four times."""
        return cls.redshift_arguments(training_set, smallest=16)

    @property
    def hidden(self) -> nn.Module:
        """The dense layer, from which the mixture is read."""
        return self.dense

    def calibrates(self, x: Float[Tensor, "n band y x"]) -> Bool[Tensor, " n"]:
        """Which galaxies never train the network: the same ones whatever their order, and however their images are flipped and turned."""
        pixels = x.double().flatten(1)
        grains = (pixels.sum(dim=1) / pixels.norm(dim=1) / GRAIN).floor()  # of an empty image NaN, which is not held out
        golden = (math.sqrt(5) - 1) / 2  # whose multiples modulo 1 are spread evenly (Knuth's multiplicative hash)
        return (grains * golden) % 1 < self.held_out

    def _features(self, x: Tensor) -> Tensor:
        shapes = self.shapes(x)
        return self.dense(torch.cat([shapes, self.light(x).to(shapes)], dim=1)).float()

    def _mixture(self, h: Tensor) -> Mixture:
        """The network's own mixture, before eq. (2)."""
        with torch.autocast(h.device.type, enabled=False):  # bfloat16 would round ln(1 + z) to a hundredth
            logits, means, widths = self.head(h.float()).chunk(3, dim=1)
        means = F.softplus(self.log1p_mean + self.log1p_std * means, beta=SHARPNESS)
        return logits.log_softmax(dim=1), means, NARROWEST + self.log1p_std * F.softplus(widths)

    def _calibrated(self, mixture: Mixture) -> Mixture:
        """Eq. (2)."""
        log_weights, means, sigmas = mixture
        a, b = self.calibration.exp()
        return (b * log_weights).log_softmax(dim=1), means, a * sigmas

    def loss(self, x: Float[Tensor, "n band y x"], c: Float[Tensor, "n 1"], generator: torch.Generator) -> Float[Tensor, ""]:
        """Eq. (1), for each galaxy of what it trains: the network, or the two numbers of eq. (2)."""
        y = (self.log1p_mean + self.log1p_std * c[:, 0]).clamp(min=0)
        h, held = self._features(x), self.calibrates(x)
        keep = torch.rand(h.shape, generator=generator, device=h.device) >= self.dropout
        network = -log_density(self._mixture(h * keep / (1 - self.dropout)), y)
        if not self.held_out:
            return network.mean()
        with torch.no_grad():
            fixed = self._mixture(h)
        numbers = -log_density(self._calibrated(fixed), y)
        return torch.where(held, numbers, network).mean()

    def density(self, x: Float[Tensor, "n band y x"]) -> RedshiftDensity:
        """p(z) of each image."""
        log_weights, means, sigmas = (part.detach().double().cpu().numpy() for part in self._calibrated(self._mixture(self._features(x))))
        return RedshiftDensity(torch.from_numpy(log_weights).exp().numpy(), means, sigmas)

    def predict(self, x: Float[Tensor, "n band y x"]) -> Float[Tensor, " n"]:
        """The densities' medians."""
        return torch.as_tensor(self.density(x).quantile(0.5), dtype=torch.float32, device=x.device)


def log_density(mixture: Mixture, y: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """ln p(y) of eq. (1)."""
    log_weights, means, sigmas = mixture
    normal = -(((y[:, None] - means) / sigmas) ** 2) / 2 - sigmas.log() - math.log(2 * math.pi) / 2
    return (log_weights + normal).logsumexp(dim=1) - (log_weights + torch.special.log_ndtr(means / sigmas)).logsumexp(dim=1)
