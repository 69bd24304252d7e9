"""What galaxies of the same conditions look like on average: a round galaxy in the middle of the stamp.

They lie at every angle (training turns and flips them), so that the mean of their stretched images depends on the band and on the distance
r from the centre alone. Numbers read from the conditions weigh a constant and Gaussians of r, from one pixel wide to half the stamp,
made orthogonal over the stamp's pixels with a mean square of one:

    m_b(r) = sum_k a_bk(c) B_k(r)                                                                                             (1)

so that the error of each a counts the same, whichever the scale.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from hubbleflow.networks.embedding import ConditionEmbedding

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def round_profiles(size: int, widths: int) -> Float[Tensor, "k y x"]:
    """B of eq. (1): a constant and `widths` Gaussians of r, orthogonal, each of mean square one.

    Example:
        >>> profiles = round_profiles(32, 6)
        >>> torch.allclose(torch.einsum("iyx,jyx->ij", profiles, profiles) / 32**2, torch.eye(7), atol=1e-5)
        True
    """
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    r2 = axis[:, None] ** 2 + axis**2
    sigmas = torch.logspace(0.0, math.log10(size / 2), widths, dtype=torch.float64)
    plain = torch.stack([torch.ones_like(r2), *(torch.exp(-r2 / (2 * sigma**2)) for sigma in sigmas)])
    orthonormal, _ = torch.linalg.qr(plain.flatten(1).T)
    return (size * orthonormal.T).reshape(plain.shape).float()


class MeanGalaxy(nn.Module):
    """m(c) of eq. (1).

    Args:
        bands, image_size: of the stamps.
        conditions: layout of the conditions (see :class:`ConditionEmbedding`).
        widths: Gaussians of r.
        width: of the two layers between.
        condition_frequency: highest of a condition's code.

    Example:
        >>> MeanGalaxy(5, 32, (0,))(torch.zeros(2, 1)).shape
        torch.Size([2, 5, 32, 32])
    """

    def __init__(
        self, bands: int, image_size: int, conditions: tuple[int, ...], widths: int = 12, width: int = 128, condition_frequency: float = 8.0
    ) -> None:
        super().__init__()
        self.bands = bands
        self.register_buffer("profiles", round_profiles(image_size, widths), persistent=False)
        self.embed = ConditionEmbedding(conditions, width, condition_frequency)
        self.weights = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, bands * (widths + 1)))

    def forward(self, c: Float[Tensor, "n k"]) -> Float[Tensor, "n band y x"]:
        profiles = self.get_buffer("profiles")
        with torch.autocast(c.device.type, enabled=False):  # it goes into the galaxy as it is, and costs next to nothing
            weights = self.weights(self.embed(c)).unflatten(1, (self.bands, len(profiles)))
            return (weights @ profiles.flatten(1)).unflatten(2, profiles.shape[1:])
