r"""Noise levels from which few steps make no error where one can be computed: on Gaussian data of any width.

Where data are N(0, s^2) the denoiser is D = x s^2 / (s^2 + sigma^2), and the probability flow leads from x at sigma to
x s / (s^2 + sigma^2)^1/2. A sampler leads somewhere near it: too wide or too narrow by a factor 1 + e that depends on s and on where it
stops on the way. The sky's noise, the scatter of a galaxy's brightness and all between are such widths. So the levels are those that
minimise

    sum_s e(s; sigma_1 .. sigma_N-1)^2,     s evenly in ln s from the narrowest to the widest                                     (1)

found by Levenberg's and Marquardt's method from levels even in ln sigma (scipy has one, but whoever draws need not have scipy). Ten steps
of DPM-Solver++(2M) then are right to 0.02 % where levels even in ln sigma leave 3 % (bench/schedule.py).
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch

from hubbleflow.sampling.multistep import dpm_solver_pp_2m

if TYPE_CHECKING:
    from jaxtyping import Float64
    from torch import Tensor

WIDTHS = 21
SMOOTH = 3e-4  # what a bend of the steps' logarithms weighs, as an error: real data are not Gaussian, and like even levels
MOST_ITERATIONS, MOST_TRIES = 40, 6
NUDGE = 1e-6  # of a finite difference


def gaussian_sigmas(steps: int, sigma_max: float, narrowest: float, widest: float) -> Float64[Tensor, " steps+1"]:
    """Noise levels from sigma_max down, then 0, for DPM-Solver++(2M) on data as narrow and as wide as that (eq. 1).

    Raises:
        ValueError: fewer than one step, or widths that are not positive and below sigma_max.

    Example:
        >>> [round(sigma, 2) for sigma in gaussian_sigmas(6, 80.0, 0.06, 10.0).tolist()]
        [80.0, 12.3, 1.88, 0.29, 0.05, 0.0, 0.0]
    """
    if steps < 1:
        raise ValueError(f"a sampler needs at least one step, got {steps}")
    if not 0 < narrowest < widest < sigma_max:
        raise ValueError(f"widths must lie in order between 0 and sigma_max, got {narrowest:g}, {widest:g} and {sigma_max:g}")
    return torch.tensor([*_fitted(steps, sigma_max, narrowest, widest), 0.0], dtype=torch.float64)


@functools.lru_cache(maxsize=64)
def _fitted(steps: int, sigma_max: float, narrowest: float, widest: float) -> tuple[float, ...]:
    s = torch.logspace(math.log10(narrowest), math.log10(widest), WIDTHS, dtype=torch.float64)
    first = torch.full_like(s, sigma_max)
    exact = first * s / (s**2 + sigma_max**2).sqrt()

    def levels(gaps: Tensor) -> Tensor:
        return sigma_max * (-torch.cat([gaps.new_zeros(1), gaps.exp().cumsum(0)])).exp()

    def errors(gaps: Tensor) -> Tensor:
        sigmas = torch.cat([levels(gaps), gaps.new_zeros(1)])
        e = dpm_solver_pp_2m(lambda x, sigma: x * s**2 / (s**2 + sigma**2), first, sigmas) / exact - 1
        return torch.cat([e, SMOOTH * gaps.diff(n=2)])

    # The parameters are logarithms of steps in ln sigma, so that levels stay in order.
    gaps = torch.full((steps - 1,), math.log(math.log(4 * sigma_max / narrowest) / max(steps - 1, 1)), dtype=torch.float64)
    e, damping, identity = errors(gaps), 0.01, torch.eye(steps - 1, dtype=torch.float64)
    for _ in range(MOST_ITERATIONS if steps > 1 else 0):
        jacobian = torch.stack([(errors(gaps + NUDGE * one) - e) / NUDGE for one in identity], dim=1)
        square = jacobian.T @ jacobian
        for _ in range(MOST_TRIES):
            tried = gaps - torch.linalg.solve(square + damping * square.diagonal().mean() * identity, jacobian.T @ e)
            found = errors(tried)
            if found.square().sum() < e.square().sum():
                break
            damping *= 5
        else:
            break
        gained = float(1 - found.square().sum() / e.square().sum())
        gaps, e, damping = tried, found, max(damping / 5, 1e-9)
        if gained < 1e-3:
            break
    return tuple(levels(gaps).tolist())
