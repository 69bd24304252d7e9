"""Samplers that add noise on the way, and so forget a network's errors where those of the probability flow add them up.

`noise()` gives unit noise of x's shape, fresh at every call; with :class:`hubbleflow.diffusion.NoiseStreams` each galaxy has a stream of
its own, and is the same whatever is drawn beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from hubbleflow.diffusion import Denoise


def edm_stochastic(
    denoise: Denoise,
    x: Float[Tensor, "n band y x"],
    sigmas: Float[Tensor, " steps+1"],
    noise: Callable[[], Tensor],
    churn: float = 40.0,
    churned: tuple[float, float] = (0.05, 50.0),
    inflation: float = 1.0,
) -> Float[Tensor, "n band y x"]:
    """Heun's steps, each after a step back into more noise (Karras et al. 2022, algorithm 2):

        sigma^ = (1 + gamma) sigma,   x^ = x + sqrt(sigma^2 gamma (2 + gamma)) S_noise z,   gamma = min(S_churn / N, sqrt(2) - 1)

    Two evaluations a step, one in the step to sigma = 0.

    Args:
        churn: S_churn; that of the paper's ImageNet-64 (table 5). 0 is Heun's sampler.
        churned: S_tmin and S_tmax, the noise levels between which gamma is not 0; the paper's.
        inflation: S_noise. 1 is right for an exact denoiser; the paper's 1.003 makes up for a network that denoises a little too much.
    """
    gamma_max = min(churn / (len(sigmas) - 1), math.sqrt(2) - 1)
    for sigma, following in pairwise(sigmas):
        gamma = gamma_max if churned[0] <= sigma <= churned[1] else 0.0
        if gamma > 0:
            x = x + (sigma * math.sqrt(gamma * (2 + gamma)) * inflation).to(x) * noise().to(x)
            sigma = sigma * (1 + gamma)
        slope = (x - denoise(x, sigma.to(x))) / sigma.to(x)
        ahead = x + (following - sigma).to(x) * slope
        if following > 0:
            slope = (slope + (ahead - denoise(ahead, following.to(x))) / following.to(x)) / 2
        x = x + (following - sigma).to(x) * slope
    return x


def ancestral(
    denoise: Denoise, x: Float[Tensor, "n band y x"], sigmas: Float[Tensor, " steps+1"], noise: Callable[[], Tensor]
) -> Float[Tensor, "n band y x"]:
    """Each step draws from the posterior q(x' | x, x_0 = D) of the noising (Ho et al. 2020, eqs 6-7), which in these coordinates is

        x' = D + (sigma'/sigma)^2 (x - D) + sigma' sqrt(1 - sigma'^2 / sigma^2) z

    One evaluation a step. At the noise levels of a discrete process it is :func:`hubbleflow.ddpm.ancestral` with the smaller of Ho et
    al.'s two variances, beta~_t; that with the larger needs to know the variance of the data, which sigma alone does not say.
    """
    for sigma, following in pairwise(sigmas):
        estimate = denoise(x, sigma.to(x))
        ratio = following / sigma
        x = estimate + (ratio**2).to(x) * (x - estimate)
        if following > 0:
            x = x + (following * (1 - ratio**2).sqrt()).to(x) * noise().to(x)
    return x
