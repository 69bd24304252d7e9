"""At which noise levels a sampler stops on its way: from sigma_max to sigma_min in so many steps, and 0 after the last.

    Karras     sigma^(1/rho) evenly spaced (Karras et al. 2022, eq. 5): the default
    log-SNR    lambda = -ln sigma evenly spaced (Lu et al. 2022, DPM-Solver, section 3.4)
    VP time    t evenly spaced, where 1 + sigma^2 = exp(beta_d t^2 / 2 + beta_min t)  (Song et al. 2021)             (1)

(1) is the continuous limit of Ho et al.'s thousand steps, beta_min = 0.1 and beta_d = 19.9, on whose networks DEIS and UniPC were tried.

Which is best depends on the sampler and on the number of steps, and can be found without a network: the exact denoiser of Gaussian data
leads to a galaxy, or a sky, whose standard deviation a sampler of few steps gets wrong by so many per cent (bench/schedule.py). Twenty
steps of DPM-Solver++(2M) on Karras' levels from 400 to 0.01 make it up to 7 % too wide, ten on fitted levels (fitted.py) 0.02 %; see
:func:`sigmas_for`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from hubbleflow.sampling.fitted import gaussian_sigmas

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

BETA_D, BETA_MIN = 19.9, 0.1  # of (1)
# Of sigmas_for, by bench/schedule.py.
STEPS, DEIS_RHO = 20, 5.0
MOST_FITTED = 30  # steps: with more, levels even in ln sigma are as good
EARLY = frozenset({"deis", "ipndm", "heun", "edm-stochastic"})


def _ramp(steps: int) -> Float[Tensor, " steps"]:
    """0 to 1."""
    if steps < 1:
        raise ValueError(f"a sampler needs at least one step, got {steps}")
    return torch.linspace(0, 1, steps, dtype=torch.float64)


def karras_sigmas(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Float[Tensor, " steps+1"]:
    """Noise levels spaced evenly in sigma^(1/rho) from sigma_max to sigma_min, then 0 (Karras et al. 2022, eq. 5), float64.

    Raises:
        ValueError: fewer than one step.

    Example:
        >>> [round(s, 2) for s in karras_sigmas(3, 0.1, 10.0).tolist()]
        [10.0, 1.45, 0.1, 0.0]
    """
    sigmas = (sigma_max ** (1 / rho) + _ramp(steps) * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def log_snr_sigmas(steps: int, sigma_min: float, sigma_max: float) -> Float[Tensor, " steps+1"]:
    """Noise levels spaced evenly in ln sigma from sigma_max to sigma_min, then 0 (Lu et al. 2022, section 3.4), float64.

    Raises:
        ValueError: fewer than one step.

    Example:
        >>> [round(s, 2) for s in log_snr_sigmas(3, 0.1, 10.0).tolist()]
        [10.0, 1.0, 0.1, 0.0]
    """
    sigmas = sigma_max * (sigma_min / sigma_max) ** _ramp(steps)
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def vp_time_sigmas(steps: int, sigma_min: float, sigma_max: float) -> Float[Tensor, " steps+1"]:
    """Noise levels spaced evenly in the time t of eq. (1) from sigma_max to sigma_min, then 0, float64.

    Raises:
        ValueError: fewer than one step.

    Example:
        >>> [round(s, 2) for s in vp_time_sigmas(3, 0.1, 10.0).tolist()]
        [10.0, 1.59, 0.1, 0.0]
    """
    ends = (math.sqrt(BETA_MIN**2 + 2 * BETA_D * math.log1p(sigma**2)) - BETA_MIN for sigma in (sigma_max, sigma_min))
    first, last = (end / BETA_D for end in ends)
    t = first + _ramp(steps) * (last - first)
    sigmas = torch.expm1(BETA_D * t**2 / 2 + BETA_MIN * t).sqrt()
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def sigmas_for(sampler: str, steps: int, sigma_min: float, sigma_max: float) -> Float[Tensor, " steps+1"]:
    """The noise levels on which that sampler gets the width of Gaussian data right: of DPM-Solver++(2M) those that are fitted to that, of
    DEIS even in sigma^(1/5), of all others in ln sigma.

    The step from the last level to 0 loses what is smaller than that level; the more steps there are, the later it may be. sigma_min is
    that of 20 steps, and a quarter of the narrowest width that is fitted to. With fewer, some lose less by stopping earlier, in shorter
    steps.

    Raises:
        ValueError: fewer than one step.

    Example:
        >>> [round(s, 2) for s in sigmas_for("deis", 10, 0.02, 80.0).tolist()][-3:]
        [0.28, 0.06, 0.0]
    """
    if sampler == "dpm++2m" and steps <= MOST_FITTED and 32 * sigma_min < sigma_max:
        return gaussian_sigmas(steps, sigma_max, 4 * sigma_min, sigma_max / 8)
    most = math.inf if sampler in EARLY else 1.0
    last = min(sigma_max / 2, sigma_min * min(max((STEPS / max(steps, 1)) ** 1.6, 0.25), most))
    return karras_sigmas(steps, last, sigma_max, DEIS_RHO) if sampler == "deis" else log_snr_sigmas(steps, last, sigma_max)


SCHEDULES: dict[str, Callable[[int, float, float], Tensor]] = {
    "karras": karras_sigmas,
    "log-snr": log_snr_sigmas,
    "vp-time": vp_time_sigmas,
}
