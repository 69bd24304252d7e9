"""How wrong a denoiser still is, at a noise level, where a galaxy is so bright and so far from the mean: what errors are weighed by.

A network learns first what its loss is made of, and most pixels are sky. The likelihood of errors e of a width exp(tau / 2) that is learned
beside (Kendall & Gal 2017; of the noise level alone, Karras et al. 2024, eq. 14),

    e^2 exp(-tau) + tau,    tau(sigma, b, d) = sum_ijk T_ijk hat_i(ln sigma) hat_j(b) hat_k(d)                            (1)

counts each in units of what is to be expected there: tau = ln E[e^2 | sigma, b, d] at its minimum. b is how bright the mean galaxy of the
conditions is, d how far from it the denoiser puts this one. Both are known to who knows the noisy image and the conditions, so that the
best denoiser is the same for all tau. Without d the few galaxies with a neighbour, and the arms of spirals, set what counts for all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

LOWEST, HIGHEST, NOISE_NODES = 0.003, 300.0, 12  # sigma
DIM, BRIGHT, BRIGHTNESS_NODES = 0.1, 10.0, 7  # b and d, evenly in asinh(b / DIM)
RATE = 8.0  # tau of a parameter of one: it must follow the network at the network's own learning rate


class ExpectedError(nn.Module):
    """tau of eq. (1), 0 at first.

    Example:
        >>> ExpectedError()(torch.tensor([0.1, 20.0]), torch.rand(2, 5, 64), torch.rand(2, 1, 64)).shape
        torch.Size([2, 5, 64])
    """

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(NOISE_NODES, BRIGHTNESS_NODES, BRIGHTNESS_NODES))

    def forward(self, sigma: Float[Tensor, " n"], b: Float[Tensor, "n k ..."], d: Float[Tensor, "n 1 ..."]) -> Float[Tensor, "n k ..."]:
        """Of each galaxy's noise level, and of brightnesses b and deviations d from the mean, stretched, from 0; d is one for all k."""
        place = (sigma / LOWEST).log() / math.log(HIGHEST / LOWEST)
        tables = RATE * torch.tensordot(hats(place, NOISE_NODES), self.table, 1)
        deviation = hats(brightness_place(d[:, 0]), BRIGHTNESS_NODES)
        of_brightness = (deviation.view(len(d), -1, BRIGHTNESS_NODES) @ tables.mT).view(deviation.shape)
        # Between the nodes on either side: hats of all k brightnesses would be most of what training a small network costs.
        place = (brightness_place(b) * (BRIGHTNESS_NODES - 1)).movedim(1, -1).clamp(0, BRIGHTNESS_NODES - 1)
        left = place.detach().long().clamp(0, BRIGHTNESS_NODES - 2)
        return torch.lerp(of_brightness.gather(-1, left), of_brightness.gather(-1, left + 1), place - left).movedim(-1, 1)


def brightness_place(b: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """From 0 to 1 on the way to the last node of brightness, and beyond."""
    z = b / DIM
    return (z + (z * z + 1).sqrt()).log() / math.asinh(BRIGHT / DIM)  # asinh z: torch's own takes five times as long


def hats(place: Float[Tensor, " ..."], nodes: int) -> Float[Tensor, "... node"]:
    """Weights of evenly spaced nodes in linear interpolation at a place from 0 to 1."""
    steps = place.clamp(0, 1)[..., None] * (nodes - 1)
    return (1 - (steps - torch.arange(nodes, device=place.device)).abs()).clamp(min=0)
