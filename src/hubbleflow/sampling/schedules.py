"""At which noise levels a sampler stops on its way: from sigma_max to sigma_min in so many steps, and 0 after the last.

    Karras     sigma^(1/rho) evenly spaced (Karras et al. 2022, eq. 5): the default
    log-SNR    lambda = -ln sigma evenly spaced (Lu et al. 2022, DPM-Solver, section 3.4)
    VP time    t evenly spaced, where 1 + sigma^2 = exp(beta_d t^2 / 2 + beta_min t)  (Song et al. 2021)             (1)

(1) is the continuous limit of Ho et al.'s thousand steps, beta_min = 0.1 and beta_d = 19.9, on whose networks DEIS and UniPC were tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

BETA_D, BETA_MIN = 19.9, 0.1  # of (1)


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


SCHEDULES: dict[str, Callable[[int, float, float], Tensor]] = {
    "karras": karras_sigmas,
    "log-snr": log_snr_sigmas,
    "vp-time": vp_time_sigmas,
}
