"""Diffusion: noise in, the expectation of what was there out.

    x_t = x + sigma n,   n ~ N(0, 1)                                              (1)
    D(x_t; sigma, c) = E[x | x_t, c]                                              (2)

A denoiser D is all that a sampler needs: the score is (D - x_t) / sigma^2. Every process x_t = alpha x + sigma' n is (1) after division by
alpha with sigma = sigma' / alpha, so variance-preserving models and flow matching enter through the same door.

EDM (Karras et al. 2022, table 1 and eqs 7-8) writes D around a network F so that F's input, target and error all have unit variance at
every noise level:

    D(x_t; sigma) = c_skip x_t + c_out F(c_in x_t, ln(sigma) / 4)
    c_skip = s^2 / (sigma^2 + s^2)   c_out = sigma s / sqrt(sigma^2 + s^2)   c_in = 1 / sqrt(sigma^2 + s^2)   s = std of the data
    loss   = E_sigma,n [ (D - x)^2 / c_out^2 ],   ln sigma ~ N(P_mean, P_std^2)   (3)

Where the mean m(c) = E[x | c] is known beforehand (networks/mean_galaxy.py), D is written around it: all of the above for x - m, then

    D(x_t; sigma, c) = m + c_skip (x_t - m) + c_out F(c_in (x_t - m), ln(sigma) / 4, c, m)                                    (4)

so that noise which drowns the whole galaxy leaves nothing to learn, and how bright it is was settled before the first step. What it still
gets wrong on average is found when its training is over (networks/correction.py), and taken away from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hubbleflow.networks.correction import FITTED, Correction
from hubbleflow.networks.mean_galaxy import MeanImage, above_sky
from hubbleflow.networks.sums_correction import FEWEST, SumsCorrection

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    Denoise = Callable[[Tensor, Tensor], Tensor]


def column(values: Float[Tensor, " n"]) -> Float[Tensor, "n 1 1 1"]:
    """One number a galaxy, shaped to multiply images."""
    return values[:, None, None, None]


class EdmDenoiser(nn.Module):
    """D of eq. (2) around a network F(x, t, c), or of eq. (4) around F(x, t, c, m) and a mean m(c).

    Args:
        network: F; takes images, a noise code (n,), conditions (n, k) and, where there is a mean, that.
        sigma_data: standard deviation of the stretched images.
        mean: m; learns from :meth:`mean_loss` alone.
        correction: what is added to D of eq. (4) where it does not learn (`eval`); takes x_t - m, sigma and m, and so needs a mean.
        sums_correction: what is added to that; takes it less m, x_t - m and sigma.
    """

    def __init__(
        self,
        network: nn.Module,
        sigma_data: float,
        mean: nn.Module | None = None,
        correction: Correction | None = None,
        sums_correction: SumsCorrection | None = None,
    ) -> None:
        super().__init__()
        self.network: Any = network
        self.sigma_data = sigma_data
        self.mean: Any = mean
        self.correction: Any = correction
        self.sums_correction: Any = sums_correction

    def forward(
        self, x_t: Float[Tensor, "n band y x"], sigma: Float[Tensor, " n"], c: Float[Tensor, "n k"], m: MeanImage | None = None
    ) -> Float[Tensor, "n band y x"]:
        """D; `m`, where the mean of these conditions is known already."""
        s, sigma_ = self.sigma_data, column(sigma)
        total = sigma_**2 + s**2
        if self.mean is None:
            return s**2 / total * x_t + sigma_ * s * total.rsqrt() * self.network(total.rsqrt() * x_t, sigma.log() / 4, c).float()
        m = MeanImage(self.middle(c)) if m is None else m
        rest = x_t - m.image
        f = self.network(total.rsqrt() * rest, sigma.log() / 4, c, m).float()
        d = torch.addcmul(m.image, s**2 / total, rest).addcmul_(sigma_ * s * total.rsqrt(), f)
        if self.training or self.correction is None:
            return d
        d += self.correction(rest, sigma, m)
        if self.sums_correction is not None:
            d += self.sums_correction(d - m.image, rest, sigma)
        return d

    def fit_correction(
        self, x: Float[Tensor, "n band y x"], c: Float[Tensor, "n k"], on_galaxies: Callable[[int], None] = lambda n: None
    ) -> None:
        """Find what it gets wrong on average, with the weights as they are, where there is a correction."""

        def denoise(x_t: Tensor, sigma: Tensor, c: Tensor, m: Tensor) -> Tensor:
            return self(x_t, sigma, c, MeanImage(m))

        if self.correction is not None:
            self.eval()
            for found in (self.correction, self.sums_correction):
                if found is not None:
                    found.get_buffer("table").zero_()
            m = torch.cat([self.middle(part) for part in c.split(AT_ONCE)])
            few = slice(None, None, -(-len(x) // MOST_PIXELS))
            self.correction.fit(denoise, x[few], c[few], m[few], on_galaxies)
            if self.sums_correction is not None and len(x) >= FEWEST:
                self.sums_correction.fit(denoise, x, c, m, self.correction.get_buffer("sky_rms"), on_galaxies)

    def fitting(self, n: int) -> int:
        """How many denoisings of a galaxy each that takes, of n galaxies."""
        if self.correction is None:
            return 0
        return FITTED * (len(range(0, n, -(-n // MOST_PIXELS))) + (n if n >= FEWEST and self.sums_correction is not None else 0))

    def middle(self, c: Float[Tensor, "n k"]) -> Tensor:
        """What noise is added around, to start drawing from: m, or 0."""
        return self.mean(c).detach() if self.mean is not None else c.new_zeros(())

    def mean_loss(self, x: Float[Tensor, "n band y x"], c: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
        """What the mean is learned by, 0 where there is none."""
        return self.mean.loss(x, c) if self.mean is not None else x.new_zeros(())


AT_ONCE = 64  # mean galaxies
MOST_PIXELS = 240  # galaxies whose pixels are enough
MODES_SPREAD = 2.5  # standard deviation of the modes of a galaxy over that of pixels


@dataclass(frozen=True)
class Weighing:
    """What counts how much in the loss. Whatever it is, the best denoiser stays the best: weights depend on noise level, conditions and
    what the denoiser makes of the noisy image alone, and what is best in every pixel is best in every sum of them; but a network that is
    not yet there learns first what counts more.

    Attributes:
        pixels, modes: tau of pixels' and modes' errors (see :class:`hubbleflow.networks.expected_error.ExpectedError`); takes noise
            levels, brightness and deviation from the mean.
        images: the modes, of unit length.
        modes_weight: of the modes.
        galaxy_weight: g of a pixel's share (1 + g b / s)^2 of its stamp, b how bright it is. Sky's is 1.
    """

    pixels: Callable[[Tensor, Tensor, Tensor], Tensor]
    modes: Callable[[Tensor, Tensor, Tensor], Tensor]
    images: Float[Tensor, "k yx"]
    modes_weight: float
    galaxy_weight: float

    def loss(self, d: Float[Tensor, "n band y x"], x: Tensor, sigma: Float[Tensor, " n"], mean: Tensor, s: float) -> Float[Tensor, ""]:
        """Minus the log-likelihood of denoising errors a pixel, and a mode, in units of c_out; of denoised d, and x, around a mean."""
        with torch.autocast(d.device.type, enabled=False):
            error, far = d - x, (d - mean).detach()
            mean = above_sky(mean.float()).expand_as(error) if mean.ndim else mean.expand_as(error)
            share = (1 + self.galaxy_weight * mean / s) ** 2
            share = share / share.mean(dim=(2, 3), keepdim=True)
            tau = self.pixels(sigma, mean, rms(far, 1))
            squared = column((sigma**2 + s**2) / (sigma * s) ** 2) * error**2
            loss = (share * (squared * (-tau).exp() + tau)).mean()
            if not self.modes_weight:
                return loss
            s = MODES_SPREAD * s
            tau = self.modes(sigma, rms(mean, (2, 3))[..., 0, 0], rms(far.flatten(2) @ self.images.T, (1, 2))[..., 0])
            weight = (sigma**2 + s**2) / (sigma * s) ** 2
            squared = weight[:, None] * (error.flatten(2) @ self.images.T).square().mean(dim=2)
            return loss + self.modes_weight * (squared * (-tau).exp() + tau).mean()


def rms(values: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Root mean square along axes that stay, of size 1."""
    return values.square().mean(dim=dim, keepdim=True).sqrt()


def edm_loss(
    denoiser: EdmDenoiser,
    x: Float[Tensor, "n band y x"],
    c: Float[Tensor, "n k"],
    p_mean: float,
    p_std: float,
    generator: torch.Generator,
    weighing: Weighing | None = None,
) -> Float[Tensor, ""]:
    """Eq. (3): mean squared denoising error in units of c_out, at noise levels drawn from a log-normal; or weighed otherwise."""
    sigma = (p_mean + p_std * torch.randn(len(x), generator=generator, device=x.device)).exp()
    noise = torch.randn(x.shape, generator=generator, device=x.device)
    s = denoiser.sigma_data
    mean = denoiser.middle(c)
    d = denoiser(x + column(sigma) * noise, sigma, c, MeanImage(mean))
    if weighing is not None:
        return weighing.loss(d, x, sigma, mean, s)
    error = d - x
    weight = (sigma**2 + s**2) / (sigma * s) ** 2
    return (column(weight) * error**2).mean()


def guided(
    denoiser: Callable[[Tensor, Tensor, Tensor], Tensor],
    c: Float[Tensor, "n k"],
    guidance: float = 1.0,
    weaker: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> Denoise:
    """The denoiser at conditions c as a function of (x_t, sigma); or what else a network says of (x_t, noise level, c), as its noise.

    `guidance` w is classifier-free guidance (Ho & Salimans 2022): D_nothing + w (D_c - D_nothing). 1 is the model as trained, 0 ignores
    the conditions, > 1 exaggerates them, at twice the cost.

    With a `weaker` denoiser (a smaller network, or one trained for less long) it is autoguidance (Karras et al. 2024, arXiv 2406.02507,
    eq. 4): D_weaker + w (D - D_weaker), both at c. 1 is the better one alone, 0 the weaker, > 1 leads away from the errors that both make.

    Example:
        >>> good, weak = (lambda x_t, sigma, c: x_t + 1), (lambda x_t, sigma, c: x_t)
        >>> guided(good, torch.zeros(1, 0), 2.0, weak)(torch.zeros(1, 1, 1, 1), torch.tensor(1.0)).item()
        2.0
    """

    def denoise(x_t: Tensor, sigma: Tensor) -> Tensor:
        sigmas = sigma.expand(len(x_t))
        if guidance == 1.0:
            return denoiser(x_t, sigmas, c)
        if weaker is not None:
            without = weaker(x_t, sigmas, c)
            return without if guidance == 0.0 else without + guidance * (denoiser(x_t, sigmas, c) - without)
        nothing = torch.full_like(c, torch.nan)
        if guidance == 0.0:
            return denoiser(x_t, sigmas, nothing)
        both = denoiser(torch.cat([x_t, x_t]), torch.cat([sigmas, sigmas]), torch.cat([c, nothing]))
        with_c, without = both.chunk(2)
        return without + guidance * (with_c - without)

    return denoise


def galaxy_seeds(seed: int, first: int, n: int) -> list[int]:
    """One seed a galaxy from one seed a set: SplitMix64 (Steele et al. 2014) of the galaxy's number, so that galaxy i of a set is the same
    whatever n, the batch size, or the number of machines.

    Example:
        >>> galaxy_seeds(1, 0, 3)[2] == galaxy_seeds(1, 2, 1)[0]
        True
    """
    mask = 2**64 - 1

    def mixed(value: int) -> int:
        value = (value + 0x9E3779B97F4A7C15) & mask
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
        return value ^ (value >> 31)

    return [mixed(mixed(seed) + number) >> 1 for number in range(first, first + n)]


class NoiseStreams:
    """Unit Gaussian noise, again and again: one independent stream a galaxy, so that galaxy i's noise depends on its own seed and on how
    often it was asked for, and on nothing else. Drawn on the CPU, whose streams are the same on every machine.

    Args:
        seeds: one a galaxy.
        shape: of one galaxy's noise.

    Example:
        >>> streams = NoiseStreams([5, 7], (3,))
        >>> first, second = streams(), streams()
        >>> torch.equal(first, second), torch.equal(first, seeded_noise([5, 7], (3,)))
        (False, True)
    """

    def __init__(self, seeds: Sequence[int], shape: tuple[int, ...]) -> None:
        self.shape, self.generators = shape, [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self) -> Float[Tensor, "n ..."]:
        return torch.stack([torch.randn(self.shape, generator=generator) for generator in self.generators])


def seeded_noise(seeds: Sequence[int], shape: tuple[int, ...]) -> Float[Tensor, "n ..."]:
    """The first noise of each galaxy's stream (see :class:`NoiseStreams`).

    Example:
        >>> torch.equal(seeded_noise([5, 7], (3,))[1], seeded_noise([7], (3,))[0])
        True
    """
    return NoiseStreams(seeds, shape)()
