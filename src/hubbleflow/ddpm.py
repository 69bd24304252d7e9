"""The discrete diffusion of Ho, Jain & Abbeel (2020), with which the papers' generators are made: noise in T steps, and back.

    q(x_t | x) = N(sqrt(abar_t) x, (1 - abar_t) 1),   abar_t = prod_{s <= t} (1 - beta_s)                            (1: their eq. 4)
    L = E_{t, x, eps} [ l(eps - eps_theta(x_t, t, c)) ],   l = square, or Huber's with delta = 1                     (2: eq. 14)

A network eps_theta that tells the noise from the galaxy leads back from x_T ~ N(0, 1): from step t to any earlier step s, with
a = abar_t / abar_s,

    ancestral   x_s = (x_t - (1 - a) / sqrt(1 - abar_t) eps_theta) / sqrt(a) + sqrt(1 - a) z,   z ~ N(0, 1)           (3: algorithm 2)
    DDIM        x_s = sqrt(abar_s) (x_t - sqrt(1 - abar_t) eps_theta) / sqrt(abar_t) + sqrt(1 - abar_s) eps_theta     (4)

(4) is Song, Meng & Ermon (2021), eq. 12 with eta = 0. For s = t - 1 the variance in (3) is beta_t, the larger of the two that Ho et al.
tried and the one that Li et al. (2024) use; for a longer stride it is the beta of the strided process (Nichol & Dhariwal 2021, section 4).
The step that ends in a galaxy (abar_s = 1) adds no noise. With few steps the sky is better kept by (3) than by (4): sky that is a tenth of
the data's deviation comes out with 1.03 of its rms after 50 steps of (3) and 0.74 after 50 of (4), if eps_theta is exact; and (3) forgets
eps_theta's errors where (4) adds them up.

Divided by sqrt(abar_t), x_t is a galaxy plus noise of sigma_t = sqrt((1 - abar_t) / abar_t), for which D = x - sigma eps_theta is the
denoiser of :mod:`hubbleflow.diffusion`: any sampler of :mod:`hubbleflow.sampling` can be asked for, the network being told the t, between
steps too, at which sigma_t is its sigma.

The code counts t from 0 to T - 1, the papers from 1 to T.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from hubbleflow.diffusion import column
from hubbleflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from hubbleflow.diffusion import Denoise

    PredictNoise = Callable[[Tensor, Tensor, Tensor], Tensor]  # (x_t, t, c) -> eps


class DiscreteProcess(nn.Module):
    """The T noise levels of a diffusion in steps.

    Args:
        betas: beta_1 .. beta_T, the variance that each step adds.

    Attributes:
        alpha_bar: abar_1 .. abar_T, float64.

    Example:
        >>> process = DiscreteProcess.linear()
        >>> process.steps, round(float(process.alpha_bar[0]), 6), round(float(process.sigmas(1000)[0]), 1)
        (1000, 0.9999, 157.4)
    """

    def __init__(self, betas: Sequence[float] | np.ndarray) -> None:
        super().__init__()
        self.alpha_bar = np.cumprod(1 - np.asarray(betas, float))
        for name, values in (
            ("signal", np.sqrt(self.alpha_bar)),
            ("noise", np.sqrt(1 - self.alpha_bar)),
            ("log_sigma", np.log((1 - self.alpha_bar) / self.alpha_bar) / 2),
        ):
            self.register_buffer(name, torch.from_numpy(values).float(), persistent=False)

    @classmethod
    def linear(cls, steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Self:
        """beta rising linearly (Ho et al. 2020, section 4)."""
        return cls(np.linspace(first, last, steps))

    @property
    def steps(self) -> int:
        """T."""
        return len(self.alpha_bar)

    def noised(
        self, x: Float[Tensor, "n band y x"], t: Int[Tensor, " n"], noise: Float[Tensor, "n band y x"]
    ) -> Float[Tensor, "n band y x"]:
        """x_t of eq. (1)."""
        return column(self.get_buffer("signal")[t]) * x + column(self.get_buffer("noise")[t]) * noise

    def step_at(self, sigma: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """t, between steps too, at which sigma_t is sigma: linear in ln sigma, and an end of the process beyond its ends."""
        levels = self.get_buffer("log_sigma")
        wanted = sigma.to(levels).log().clamp(levels[0], levels[-1])
        below = torch.searchsorted(levels, wanted).clamp(1, len(levels) - 1) - 1
        return below + (wanted - levels[below]) / (levels[below + 1] - levels[below])

    def strided(self, steps: int) -> list[int]:
        """`steps` values of t from T - 1 down, evenly spaced, and -1 for the galaxy itself.

        Raises:
            InputError: more steps than the process has.

        Example:
            >>> DiscreteProcess.linear(10).strided(5)
            [9, 7, 5, 3, 1, -1]
        """
        if not 1 <= steps <= self.steps:
            raise InputError(f"this generator's noise has {self.steps} steps, so that a sampler can take 1 to {self.steps}, got {steps}")
        return [round(self.steps * (steps - k) / steps) - 1 for k in range(steps + 1)]

    def sigmas(self, steps: int) -> Float[Tensor, " steps+1"]:
        """sigma_t at the strided steps, then 0; float64."""
        alpha_bar = torch.from_numpy(self.alpha_bar)[self.strided(steps)[:-1]]
        return torch.cat([((1 - alpha_bar) / alpha_bar).sqrt(), alpha_bar.new_zeros(1)])

    def transitions(self, steps: int) -> list[tuple[int, float, float]]:
        """(t, abar_t, abar_s) of each step from t to s, the last with abar_s = 1."""
        alpha_bar = [*self.alpha_bar.tolist(), 1.0]  # so that index -1 is the galaxy
        return [(t, alpha_bar[t], alpha_bar[s]) for t, s in pairwise(self.strided(steps))]


def noise_loss(
    predict: PredictNoise,
    process: DiscreteProcess,
    x: Float[Tensor, "n band y x"],
    c: Float[Tensor, "n k"],
    generator: torch.Generator,
    huber: bool = False,
) -> Float[Tensor, ""]:
    """Eq. (2) at steps drawn evenly: the mean over pixels of the squared error of the noise, or of Huber's function of it."""
    t = torch.randint(process.steps, (len(x),), generator=generator, device=x.device)
    noise = torch.randn(x.shape, generator=generator, device=x.device)
    predicted = predict(process.noised(x, t, noise), t.float(), c)
    return F.huber_loss(predicted, noise, delta=1.0) if huber else F.mse_loss(predicted, noise)


def ancestral(
    predict: Denoise, x: Float[Tensor, "n band y x"], process: DiscreteProcess, steps: int, noise: Callable[[], Tensor]
) -> Float[Tensor, "n band y x"]:
    """Eq. (3) from x = x_T; `predict(x_t, t)` is eps_theta and `noise()` a fresh z of x's shape."""
    for t, now, then in process.transitions(steps):
        ratio = now / then
        x = (x - (1 - ratio) / (1 - now) ** 0.5 * predict(x, x.new_tensor(t))) / ratio**0.5
        if then < 1:
            x = x + (1 - ratio) ** 0.5 * noise().to(x)
    return x


def ddim(predict: Denoise, x: Float[Tensor, "n band y x"], process: DiscreteProcess, steps: int) -> Float[Tensor, "n band y x"]:
    """Eq. (4) from x = x_T: no chance but x_T's own."""
    for t, now, then in process.transitions(steps):
        noise = predict(x, x.new_tensor(t))
        x = then**0.5 * (x - (1 - now) ** 0.5 * noise) / now**0.5 + (1 - then) ** 0.5 * noise
    return x


def denoiser_of(predict: PredictNoise, process: DiscreteProcess) -> PredictNoise:
    """D(x_t; sigma, c) of :mod:`hubbleflow.diffusion` from a network that predicts the noise."""

    def denoise(x_t: Tensor, sigma: Tensor, c: Tensor) -> Tensor:
        level = column(sigma)
        return x_t - level * predict(x_t * (1 + level**2).rsqrt(), process.step_at(sigma), c)

    return denoise
