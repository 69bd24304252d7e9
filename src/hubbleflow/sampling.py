"""Samplers: from noise to galaxies, as plain functions of (denoise, x, sigmas).

All of them follow the probability-flow equation of x_t = x + sigma n (Karras et al. 2022, eq. 1)

    dx / dsigma = (x - D(x; sigma)) / sigma

from sigmas[0], where x is pure noise of that standard deviation, to sigmas[-1] = 0. `denoise(x, sigma)` takes a scalar sigma tensor.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from hubbleflow.diffusion import Denoise


def karras_sigmas(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Float[Tensor, " steps+1"]:
    """Noise levels spaced evenly in sigma^(1/rho) from sigma_max to sigma_min, then 0 (Karras et al. 2022, eq. 5), float64.

    Raises:
        ValueError: fewer than one step.

    Example:
        >>> [round(s, 2) for s in karras_sigmas(3, 0.1, 10.0).tolist()]
        [10.0, 1.45, 0.1, 0.0]
    """
    if steps < 1:
        raise ValueError(f"a sampler needs at least one step, got {steps}")
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    sigmas = (sigma_max ** (1 / rho) + ramp * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def euler(denoise: Denoise, x: Float[Tensor, "n band y x"], sigmas: Float[Tensor, " steps+1"]) -> Float[Tensor, "n band y x"]:
    """First order: DDIM (Song et al. 2021) in these coordinates. One evaluation a step."""
    for sigma, following in pairwise(sigmas):
        estimate = denoise(x, sigma.to(x))
        x = estimate + (following / sigma).to(x) * (x - estimate)
    return x


def heun(denoise: Denoise, x: Float[Tensor, "n band y x"], sigmas: Float[Tensor, " steps+1"]) -> Float[Tensor, "n band y x"]:
    """Second order (Karras et al. 2022, algorithm 1). Two evaluations a step, one in the last."""
    for sigma, following in pairwise(sigmas):
        slope = (x - denoise(x, sigma.to(x))) / sigma.to(x)
        ahead = x + (following - sigma).to(x) * slope
        if following > 0:
            slope = (slope + (ahead - denoise(ahead, following.to(x))) / following.to(x)) / 2
        x = x + (following - sigma).to(x) * slope
    return x


def dpm_solver_pp_2m(denoise: Denoise, x: Float[Tensor, "n band y x"], sigmas: Float[Tensor, " steps+1"]) -> Float[Tensor, "n band y x"]:
    """Second-order multistep DPM-Solver++(2M) (Lu et al. 2022, algorithm 2). One evaluation a step.

    With lambda = -ln sigma and h = lambda' - lambda the exact solution is x' = (sigma'/sigma) x + integral of e^-(lambda'-l) D dl; D is
    taken as the line through its last two values.
    """
    previous, last_step = None, torch.ones(())
    for sigma, following in pairwise(sigmas):
        estimate = denoise(x, sigma.to(x))
        if following == 0:
            return estimate
        step = torch.log(sigma / following)
        direction = estimate
        if previous is not None:
            direction = estimate + (step / (2 * last_step)).to(x) * (estimate - previous)
        x = (following / sigma).to(x) * x - torch.expm1(-step).to(x) * direction
        previous, last_step = estimate, step
    return x


SAMPLERS = {"dpm++2m": dpm_solver_pp_2m, "heun": heun, "euler": euler}
