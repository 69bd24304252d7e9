"""What a network on patches is too coarse for: the few sums over a stamp that a galaxy's brightness, place, size and elongation are.

    y = sum_k phi_k (g_k u_k + h_k),    u_k = <phi_k, x>,    (g, h) = MLP(asinh u; noise, conditions)                     (1)

phi: :func:`galaxy_modes`. A galaxy that is a tenth brighter than the mean of its conditions is so by a hundredth of the noise in each of
hundreds of pixels, and how much of that is to be believed depends on all of them: most galaxies are close to the mean, a few, with a
neighbour, are far off, so that small u are to be shrunk more than large ones. Convolutions learned one amount for all, and drawn galaxies
scattered about the mean half as much again as real ones do (docs/decisions/0020-sums.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from hubbleflow.networks.mean_galaxy import galaxy_modes
from hubbleflow.networks.zeroed import zeroed

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

WIDTHS, ORDERS = 12, (1, 2, 3, 4)  # of the modes (mean_galaxy eq. 1)


class GalaxySums(nn.Module):
    """Eq. (1), 0 at first.

    Args:
        bands, image_size: of the stamps.
        embedding: length of what the noise level and the conditions are told by.
        width: of the layers between.

    Example:
        >>> GalaxySums(5, 32, 16)(torch.rand(2, 5, 32, 32), torch.rand(2, 16)).shape
        torch.Size([2, 5, 32, 32])
    """

    def __init__(self, bands: int, image_size: int, embedding: int, width: int = 256) -> None:
        super().__init__()
        self.register_buffer("modes", galaxy_modes(image_size, WIDTHS, ORDERS), persistent=False)
        many = bands * len(self.get_buffer("modes"))
        self.first, self.modulation = nn.Linear(many, width), nn.Linear(embedding, 2 * width)
        self.second, self.last = nn.Linear(width, width), zeroed(nn.Linear(width, 2 * many))

    def forward(self, x: Float[Tensor, "n band y x"], embedding: Float[Tensor, "n e"]) -> Float[Tensor, "n band y x"]:
        with torch.autocast(x.device.type, enabled=False):  # thousands of pixels in a sum
            modes = self.get_buffer("modes")
            u = (x.float().flatten(2) @ modes.T).flatten(1)
            scale, shift = self.modulation(embedding.float()).chunk(2, dim=1)
            h = F.silu(torch.addcmul(shift, self.first(u.sign() * (u.abs() + (u * u + 1).sqrt()).log()), 1 + scale))
            gate, more = self.last(F.silu(self.second(h))).chunk(2, dim=1)
            return (torch.addcmul(more, gate, u).unflatten(1, (x.shape[1], -1)) @ modes).unflatten(2, x.shape[2:])
