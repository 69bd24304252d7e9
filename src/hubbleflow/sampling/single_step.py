"""Samplers that remember nothing between steps, along the probability-flow equation

dx / dsigma = (x - D(x; sigma)) / sigma
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from hubbleflow.diffusion import Denoise


def euler(denoise: Denoise, x: Float[Tensor, "n band y x"], sigmas: Float[Tensor, " steps+1"]) -> Float[Tensor, "n band y x"]:
    """First order: x' = D + (sigma'/sigma) (x - D), DDIM (Song et al. 2021) in these coordinates. One evaluation a step.

    Example:
        >>> import torch
        >>> from hubbleflow.sampling import karras_sigmas
        >>> x = torch.ones(1, 1, 1, 1)
        >>> float(euler(lambda x, sigma: x / (1 + sigma**2), 10 * x, karras_sigmas(1, 0.1, 10.0)))  # one step: the denoiser itself
        0.0990...
    """
    for sigma, following in pairwise(sigmas):
        estimate = denoise(x, sigma.to(x))
        x = estimate + (following / sigma).to(x) * (x - estimate)
    return x


def heun(denoise: Denoise, x: Float[Tensor, "n band y x"], sigmas: Float[Tensor, " steps+1"]) -> Float[Tensor, "n band y x"]:
    """Second order: Euler's step, then again with the mean of the slopes at both of its ends (Karras et al. 2022, algorithm 1). Two
    evaluations a step, one in the step to sigma = 0.
    """
    for sigma, following in pairwise(sigmas):
        slope = (x - denoise(x, sigma.to(x))) / sigma.to(x)
        ahead = x + (following - sigma).to(x) * slope
        if following > 0:
            slope = (slope + (ahead - denoise(ahead, following.to(x))) / following.to(x)) / 2
        x = x + (following - sigma).to(x) * slope
    return x
