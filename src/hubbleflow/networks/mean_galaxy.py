"""What galaxies of the same conditions look like on average: a galaxy in the middle of the stamp, round, or along its major axis.

With no angle asked they lie at every one (training turns and flips them), so that the mean of their stretched images depends on the band
and on the distance r from the centre alone. With the position angle theta of their major axis it is as often mirrored at that axis as not,
and turns with it. Numbers a read from the other conditions weigh radial profiles B times even waves around the centre, at the angle phi:

    m_b(r, phi) = sum_hk a_hk(b, c_b) B_hk(r) cos 2h (phi - theta)                                                             (1)

of which those of h > 0 are left out where there is no theta. B_0k are made of a constant and Gaussians of r, from one pixel wide to half
the stamp, B_hk of Gaussians that vanish as r^2h in the middle; those of one h are orthogonal over the stamp's pixels with a mean square of
one, so that the error of each number counts the same, whichever the scale.

All bands learn one a from one another: c_b is the band's own magnitude and seeing, where the conditions say them (band_conditions.py), in
the place of all bands' magnitudes, colours and seeing; then all other conditions. It is learned by the likelihood of Gaussian scatter
around it, of a width that a learns, too: what is left of a galaxy, arms and where in its pixel it lies, is a hundred times more for a
bright than for a faint one, whose colours would drown in it (docs/decisions/0018-what-counts.md).
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
    from collections.abc import Callable, Sequence

    from jaxtyping import Float
    from torch import Tensor

MOST_LN_VARIANCE = 10.0  # of a mode, either way
TINY = 1e-6  # of a mode that adds nothing to the others, of stamps smaller than 14 px


def radial_profiles(size: int, widths: int, h: float) -> Float[Tensor, "k y x"]:
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
    basis, _ = orthonormal(torch.stack(plain).flatten(1))
    return size * basis.reshape(-1, size, size)


def waves(size: int, widths: int, orders: Sequence[int]) -> tuple[Float[Tensor, "h k y x"], Float[Tensor, "h k y x"]]:
    """B_hk(r) cos 2h phi and B_hk(r) sin 2h phi of eq. (1), of each order 2h; phi from +x (columns) towards +y (rows)."""
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    phi = torch.atan2(axis[:, None], axis)
    pairs = [(radial_profiles(size, widths, order / 2), order * phi) for order in orders]
    return torch.stack([b * angle.cos() for b, angle in pairs]), torch.stack([b * angle.sin() for b, angle in pairs])


def galaxy_modes(size: int, widths: int, orders: Sequence[int]) -> Float[Tensor, "k yx"]:
    """Orthonormal images that span those of eq. (1): how bright a galaxy in the middle is, how large, how concentrated, how elongated; and,
    of odd orders, how lopsided or off the middle. Those that add nothing to the ones before them, on stamps of few pixels, are blank.
    """
    round_ones, around = radial_profiles(size, widths, 0), waves(size, widths, orders) if orders else ()
    basis, new = orthonormal(torch.cat([round_ones, *(wave.flatten(0, 1) for wave in around)]).flatten(1))
    return torch.where(new[:, None] > TINY * size, basis, 0.0).float()


def orthonormal(images: Float[Tensor, "k yx"]) -> tuple[Float[Tensor, "j yx"], Float[Tensor, " j"]]:
    """Gram-Schmidt, and how long what each image adds to those before it is. A network's weights are of these images, so that they have to
    be the same on every machine: each leans towards its own image, where libraries of linear algebra differ in sign.
    """
    q, r = torch.linalg.qr(images.T)
    added = r.diagonal()
    return (q * torch.where(added < 0, -1.0, 1.0)).T, added.abs()


def above_sky(m: Float[Tensor, "n band y x"]) -> Float[Tensor, "n band y x"]:
    """How much brighter than its stamp's corners a mean galaxy is, or darker: where it is bright, whatever number the sky has."""
    corners = m[..., [0, 0, -1, -1], [0, -1, 0, -1]]
    return (m - corners.mean(dim=-1)[..., None, None]).abs()


class MeanImage:
    """Mean galaxies of some conditions, and what else is made of either at every noise level alike: it is made once.

    Args:
        image: (n, band, y, x), stretched.
    """

    def __init__(self, image: Float[Tensor, "n band y x"]) -> None:
        self.image = image
        self._made: dict[Callable[[Tensor], Tensor], Tensor] = {}

    def once(self, made: Callable[[Tensor], Tensor], c: Tensor | None = None) -> Tensor:
        """What `made`, a function of a module or a layer that does not learn, makes of the image, or of its conditions."""
        if made not in self._made:
            self._made[made] = made(self.image if c is None else c)
        return self._made[made]


class MeanGalaxy(nn.Module):
    """m(c) of eq. (1).

    Args:
        bands, image_size: of the stamps.
        conditions: layout of the conditions (see :class:`ConditionEmbedding`); its first angle is theta.
        widths: Gaussians of r.
        width: of the two layers between.
        condition_frequency: highest of a condition's code.
        harmonics: greatest h, where there is an angle.
        matrix, offset: what the conditions say of each band by itself (see :class:`hubbleflow.band_conditions.BandConditions`).

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
        matrix: Sequence[Sequence[Sequence[float]]] = (),
        offset: Sequence[Sequence[float]] = (),
    ) -> None:
        super().__init__()
        self.bands, self.image_size = bands, image_size
        self.theta = conditions.index(ANGLE) if ANGLE in conditions and harmonics else None
        own = torch.tensor(matrix, dtype=torch.float32).reshape(len(matrix), bands, len(conditions))
        self.register_buffer("matrix", own, persistent=False)
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float32).reshape(len(matrix), bands), persistent=False)
        # In the place of those that say something of every band: where one is left out, they are told to all.
        whole = [rows for rows in matrix if all(any(row) for row in rows)]
        spent = {number for rows in whole for row in rows for number, factor in enumerate(row) if factor}
        self.others = [number for number in range(len(conditions)) if number not in spent and number != self.theta]
        orders = [2 * h for h in range(1, harmonics + 1)] if self.theta is not None else []
        self.register_buffer("profiles", radial_profiles(image_size, widths, 0).flatten(1).float(), persistent=False)
        self.register_buffer("modes", galaxy_modes(image_size, widths, orders), persistent=False)
        layout = (*((bands,) if bands > 1 else ()), *(0 for _ in own), *(conditions[number] for number in self.others))
        self.embed = ConditionEmbedding(layout, width, condition_frequency)
        self.radial = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), zeroed(nn.Linear(width, widths + 1)))
        self.ln_variance = nn.Sequential(nn.SiLU(), nn.Linear(width, width // 2), nn.SiLU(), zeroed(nn.Linear(width // 2, 1)))
        if self.theta is not None:
            cosines, sines = waves(image_size, widths, orders)
            self.register_buffer("waves", torch.cat([cosines, sines]).flatten(0, 1).flatten(1).float(), persistent=False)
            self.register_buffer("orders", torch.arange(1, harmonics + 1).float(), persistent=False)
            last = zeroed(nn.Linear(width, harmonics * widths))
            self.elongation = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last)

    def forward(self, c: Float[Tensor, "n k"]) -> Float[Tensor, "n band y x"]:
        return self._around(self._code(c), c)

    def loss(self, x: Float[Tensor, "n band y x"], c: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
        """Minus the log-likelihood of galaxies a mode, but for its constant: of Gaussian scatter around the mean, of each band and kind of
        galaxy its own width. What is left besides the modes that the mean is made of has nothing to say of it.
        """
        code = self._code(c)
        with torch.autocast(c.device.type, enabled=False):
            left = (x.float() - self._around(code, c)).flatten(2) @ self.get_buffer("modes").T
            ln_variance = self.ln_variance(code)[..., 0].clamp(-MOST_LN_VARIANCE, MOST_LN_VARIANCE)
            return 0.5 * ((left**2).mean(dim=2) * (-ln_variance).exp() + ln_variance).mean()

    def _code(self, c: Tensor) -> Float[Tensor, "n band code"]:
        with torch.autocast(c.device.type, enabled=False):  # it goes into the galaxy as it is, and costs next to nothing
            matrix, offset = self.get_buffer("matrix"), self.get_buffer("offset")
            terms = torch.where(matrix == 0, 0.0, matrix * c[:, None, None].float())  # what is not asked for matters where it is a term
            own = torch.where((matrix != 0).any(dim=2), terms.sum(dim=3) + offset, torch.nan)
            band = torch.arange(self.bands, device=c.device, dtype=torch.float32).expand(len(c), 1, -1)
            others = c[:, self.others, None].float().expand(-1, -1, self.bands)
            rows = torch.cat([*([band] if self.bands > 1 else []), own, others], dim=1).transpose(1, 2)
            return self.embed(rows.flatten(0, 1)).unflatten(0, (-1, self.bands))

    def _around(self, code: Float[Tensor, "n band code"], c: Tensor) -> Float[Tensor, "n band y x"]:
        with torch.autocast(c.device.type, enabled=False):
            galaxies = self.radial(code) @ self.get_buffer("profiles")
            if self.theta is not None:
                angle, orders = c[:, self.theta, None].float(), self.get_buffer("orders")  # 2 theta
                along = torch.where(angle.isnan(), 0.0, torch.cat([(angle * orders).cos(), (angle * orders).sin()], dim=1))
                amount = self.elongation(code).unflatten(2, (len(orders), -1)).repeat(1, 1, 2, 1)
                galaxies = galaxies + (amount * along[:, None, :, None]).flatten(2) @ self.get_buffer("waves")
            return galaxies.unflatten(2, (self.image_size, self.image_size))
