"""What galaxies of the same conditions look like on average: a galaxy in the middle of the stamp, round, or along its major axis.

With no angle asked they lie at every one (training turns and flips them), so that the mean of their stretched images depends on the band
and on the distance r from the centre alone. With the position angle theta of their major axis it is as often mirrored at that axis as not,
and turns with it. Numbers a read from the other conditions weigh radial profiles B times even waves around the centre, at the angle phi:

    m_b(r, phi) = sum_hk a_bhk(c) B_hk(r) cos 2h (phi - theta)                                                                 (1)

of which those of h > 0 are left out where there is no theta. B_0k are made of a constant and Gaussians of r, from one pixel wide to half
the stamp, B_hk of Gaussians that vanish as r^2h in the middle; those of one h are orthogonal over the stamp's pixels with a mean square of
one, so that the error of each number counts the same, whichever the scale.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from hubbleflow.conditions import ANGLE
from hubbleflow.networks.embedding import ConditionEmbedding
from hubbleflow.networks.zeroed import zeroed

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def radial_profiles(size: int, widths: int, h: int) -> Float[Tensor, "k y x"]:
    """B_h of eq. (1), on stamps of `size` pixels: of as many Gaussians, and for h = 0 a constant.

    Example:
        >>> profiles = radial_profiles(32, 6, 0)
        >>> torch.allclose(torch.einsum("iyx,jyx->ij", profiles, profiles) / 32**2, torch.eye(7).double())
        True
    """
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    r2 = axis[:, None] ** 2 + axis**2
    sigmas = torch.logspace(0.0, math.log10(size / 2), widths, dtype=torch.float64)
    plain = [(r2 / (r2 + sigma**2)) ** h * torch.exp(-r2 / (2 * sigma**2)) for sigma in sigmas]
    if h == 0:
        plain = [torch.ones_like(r2), *plain]
    orthonormal, _ = torch.linalg.qr(torch.stack(plain).flatten(1).T)
    return (size * orthonormal.T).reshape(-1, size, size)


def waves(size: int, widths: int, harmonics: int) -> tuple[Float[Tensor, "h k y x"], Float[Tensor, "h k y x"]]:
    """B_hk(r) cos 2h phi and B_hk(r) sin 2h phi of eq. (1), h from 1 to `harmonics`; phi from +x (columns) towards +y (rows)."""
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    phi = torch.atan2(axis[:, None], axis)
    pairs = [(radial_profiles(size, widths, h), 2 * h * phi) for h in range(1, harmonics + 1)]
    return torch.stack([b * angle.cos() for b, angle in pairs]), torch.stack([b * angle.sin() for b, angle in pairs])


def galaxy_modes(size: int, widths: int, harmonics: int) -> Float[Tensor, "k yx"]:
    """Orthonormal images that span those of eq. (1): how bright a galaxy in the middle is, how large, how concentrated, how elongated."""
    round_ones, around = radial_profiles(size, widths, 0), waves(size, widths, harmonics) if harmonics else ()
    orthonormal, _ = torch.linalg.qr(torch.cat([round_ones, *(wave.flatten(0, 1) for wave in around)]).flatten(1).T)
    return orthonormal.T.float()


class MeanGalaxy(nn.Module):
    """m(c) of eq. (1).

    Args:
        bands, image_size: of the stamps.
        conditions: layout of the conditions (see :class:`ConditionEmbedding`); its first angle is theta.
        widths: Gaussians of r.
        width: of the two layers between.
        condition_frequency: highest of a condition's code.
        harmonics: greatest h, where there is an angle.

    Example:
        >>> MeanGalaxy(5, 32, (0,))(torch.zeros(2, 1)).shape
        torch.Size([2, 5, 32, 32])
    """

    def __init__(
        self,
        bands: int,
        image_size: int,
        conditions: tuple[int, ...],
        widths: int = 12,
        width: int = 128,
        condition_frequency: float = 8.0,
        harmonics: int = 4,
    ) -> None:
        super().__init__()
        self.bands, self.image_size = bands, image_size
        self.theta = conditions.index(ANGLE) if ANGLE in conditions and harmonics else None
        self.register_buffer("profiles", radial_profiles(image_size, widths, 0).flatten(1).float(), persistent=False)
        self.embed = ConditionEmbedding(conditions, width, condition_frequency)
        self.weights = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, bands * (widths + 1)))
        if self.theta is not None:
            cosines, sines = waves(image_size, widths, harmonics)
            self.register_buffer("waves", torch.cat([cosines, sines]).flatten(0, 1).flatten(1).float(), persistent=False)
            self.register_buffer("orders", torch.arange(1, harmonics + 1).float(), persistent=False)
            last = zeroed(nn.Linear(width, bands * harmonics * widths))
            self.elongation = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last)

    def forward(self, c: Float[Tensor, "n k"]) -> Float[Tensor, "n band y x"]:
        with torch.autocast(c.device.type, enabled=False):  # it goes into the galaxy as it is, and costs next to nothing
            if self.theta is None:
                return self._round(self.embed(c))
            angle = c[:, self.theta, None]  # 2 theta
            others = c.clone()
            others[:, self.theta] = torch.nan  # what it looks like does not depend on how it lies
            code = self.embed(others)
            orders = self.get_buffer("orders")
            along = torch.where(angle.isnan(), 0.0, torch.cat([(angle * orders).cos(), (angle * orders).sin()], dim=1))
            amount = self.elongation(code).unflatten(1, (self.bands, len(orders), -1)).repeat(1, 1, 2, 1)
            elongated = (amount * along[:, None, :, None]).flatten(2) @ self.get_buffer("waves")
            return self._round(code) + elongated.unflatten(2, (self.image_size, self.image_size))

    def _round(self, code: Tensor) -> Tensor:
        weights = self.weights(code).unflatten(1, (self.bands, -1))
        return (weights @ self.get_buffer("profiles")).unflatten(2, (self.image_size, self.image_size))
