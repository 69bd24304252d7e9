r"""Light that a periodic image gets from its own copies, so that it can be taken away again.

An inverse discrete Fourier transform over a period P holds sum_{i,j} I(x + iP, y + jP): beside the galaxy also its copies,
one period apart. Far from its centre a galaxy is smooth and the PSF has nothing to blur, so this light follows from the
profile itself, without any transform:

- the eight nearest copies are evaluated on Chebyshev nodes across the stamp and interpolated;
- the forty of the next two rings vary so little across it that their sum at its centre is enough;
- all farther ones add up to the galaxy's flux outside the square of side 7P, divided by P^2 (the lattice sum as an
  integral), with

      outside = int_0^{2 pi} dphi  w(phi) [1 - P(2n, b rho(phi)^{1/n})],     w = 1 / (2 pi q e(phi)^2),

  rho = e(phi) r(phi) / R_e the elliptical radius of the square's edge in direction phi, e^2 = cos^2 + sin^2 / q^2 (phi from
  the major axis).

With it a de Vaucouleurs galaxy's flux on the stamp is right to 1e-3 at periods too short for it otherwise.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import gammaincinv

from hubbleflow.sersic import N_MAX, N_MIN, b_n

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

_NODES = 12  # Chebyshev nodes a side
_ANGLES = 48  # directions of the integral over the square's outside
_RINGS = 3  # rings of copies that are summed one by one
_NEAR = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))
_FAR = tuple((i, j) for i in range(-_RINGS, _RINGS + 1) for j in range(-_RINGS, _RINGS + 1) if max(abs(i), abs(j)) > 1)


def wrapped_nodes(
    n: Float[Tensor, " b"],
    q: Float[Tensor, " b"],
    angle: Float[Tensor, " b"],
    radius: Float[Tensor, " b"],
    x: Float[Tensor, " b"],
    y: Float[Tensor, " b"],
    size: int,
    period: Float[Tensor, " b"],
) -> Float[Tensor, "b node node"]:
    """Flux a pixel that the copies of unit-flux components put on the stamp, at its Chebyshev nodes.

    Lengths in pixels, x and y from the stamp's centre, angle in radians; see `spread` for the pixels between the nodes.
    """
    nodes, _ = _chebyshev(size, str(n.device))
    b = torch.as_tensor(b_n(n.cpu().numpy()), dtype=torch.float32, device=n.device)
    ln_norm = 2 * n * b.log() - torch.log(2 * math.pi * n) - torch.lgamma(2 * n) - torch.log(q * radius * radius)
    cos, sin = torch.cos(angle), torch.sin(angle)

    def brightness(dx: Tensor, dy: Tensor) -> Tensor:
        column = lambda v: v.view(-1, *(1,) * (dx.ndim - 1))  # noqa: E731
        major, minor = dx * column(cos) + dy * column(sin), (dy * column(cos) - dx * column(sin)) / column(q)
        rho2 = (major.square_() + minor.square_()) / column(radius * radius)
        return torch.addcmul(column(ln_norm), column(-b), rho2.pow_(column(0.5 / n))).exp_()

    near, far = (torch.tensor(copies, dtype=n.dtype, device=n.device) for copies in (_NEAR, _FAR))
    in_periods = lambda centre, copies: centre[:, None] + copies * period[:, None]  # noqa: E731
    far_light = brightness(-in_periods(x, far[:, 0]), -in_periods(y, far[:, 1])).sum(dim=-1)
    far_light += outside_flux(n, b, radius, q, angle, (_RINGS + 0.5) * period) / period**2
    dx = nodes - in_periods(x, near[:, 0])[..., None]
    dy = nodes - in_periods(y, near[:, 1])[..., None]
    return brightness(dx[:, :, None, :], dy[:, :, :, None]).sum(dim=1) + far_light[:, None, None]


def spread(at_nodes: Float[Tensor, "*b node node"], size: int) -> Float[Tensor, "*b y x"]:
    """Values at the nodes -> the polynomial through them at every pixel of the stamp."""
    _, to_pixels = _chebyshev(size, str(at_nodes.device))
    return to_pixels @ at_nodes @ to_pixels.T


def outside_flux(
    n: Float[Tensor, " b"],
    b: Float[Tensor, " b"],
    radius: Float[Tensor, " b"],
    q: Float[Tensor, " b"],
    angle: Float[Tensor, " b"],
    half_side: float | Float[Tensor, " b"],
) -> Float[Tensor, " b"]:
    """Fraction of a galaxy's flux outside a centred square of side 2 `half_side` (same unit as `radius`)."""
    half_side = torch.as_tensor(half_side, dtype=radius.dtype, device=radius.device).view(-1, 1)
    direction = torch.arange(_ANGLES, device=n.device) * (2 * math.pi / _ANGLES)
    edge = half_side / torch.maximum(direction.cos().abs(), direction.sin().abs())
    phi = direction[None, :] - angle[:, None]
    e2 = phi.cos() ** 2 + (phi.sin() / q[:, None]) ** 2
    rho = e2.sqrt() * edge / radius[:, None]
    beyond = torch.special.gammaincc((2 * n)[:, None].expand_as(rho), b[:, None] * rho.pow(1 / n[:, None]))
    weight = 1 / e2
    return (beyond * weight).sum(dim=1) / weight.sum(dim=1)


def radius_of_all_but(fraction: float, n: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Radius (half-light radii) outside which a Sersic profile has `fraction` of its flux; interpolated in a table, to 1e-3."""
    index, radius = _radii(fraction)
    return np.interp(n, index, radius)


@functools.lru_cache(maxsize=4)
def _radii(fraction: float) -> tuple[np.ndarray, np.ndarray]:
    n = np.geomspace(N_MIN, N_MAX, 200)
    return n, (gammaincinv(2 * n, 1 - fraction) / b_n(n)) ** n


@functools.lru_cache(maxsize=16)
def _chebyshev(size: int, device: str) -> tuple[Tensor, Tensor]:
    """Node positions (pixels from the stamp's centre) and the matrix (pixel, node) that interpolates."""
    order = torch.arange(_NODES, dtype=torch.float64)
    cosines = torch.cos(math.pi * (order + 0.5) / _NODES)
    pixels = torch.linspace(-1, 1, size, dtype=torch.float64)
    at_nodes = torch.cos(order[None, :] * cosines.clamp(-1, 1).acos()[:, None])
    at_pixels = torch.cos(order[None, :] * pixels.acos()[:, None])
    to_pixels = at_pixels @ torch.linalg.inv(at_nodes)
    return (cosines * (size - 1) / 2).to(device, torch.float32), to_pixels.to(device, torch.float32)
