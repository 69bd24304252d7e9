r"""Light of a Sersic model's own copies, with its derivatives, so that a fit on a small FFT grid stays exact.

An inverse FFT over a period P gives sum_{i,j} I(x + iP, y + jP): the galaxy and its copies. Far from its centre a profile is smooth and the
PSF has nothing to blur, so that this light follows from the profile itself. With C = a^2 exp(H) the matrix of the half-light ellipse
(`measure.sersic_model`) and rho^2 = d^T C^{-1} d of an offset d from the centre, unit flux gives

    I = b^{2n} / (2 pi n Gamma(2n) a^2) e^{-t},    t = b rho^{1/n},

    d ln I / d ln a = t/n - 2,                            d ln I / d h_i  = -t/(2n)  d ln rho^2 / d h_i,
    d ln I / d x_0  = t/n (C^{-1} d)_x / rho^2,           d ln I / d ln n = d ln norm / d ln n - t (d ln b / d ln n - ln rho / n).

The eight nearest copies are evaluated on Chebyshev nodes across the stamp; those of the next two rings vary so little across it that their
value at its centre is enough; the light outside the square of side 7P, over P^2, stands for all farther ones (the lattice sum as an
integral, by Gauss-Legendre quadrature in ln r on 16 directions).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import digamma, gammaincc, gammaln

from hubbleflow.sersic import b_n

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

_NODES = 8  # Chebyshev nodes a side: 4e-6 of the copies' light at P = 1.25 stamps
_RINGS = 3  # rings of copies that are summed one by one
_ANGLES, _RADII, _REACH = 16, 12, 6.0  # of the integral over what lies outside them, to e^6 times their distance
_LEAST_FLUX = 1e-4  # of the galaxy's, outside the period: less is left where it is


class Copies:
    """The copies' light on a stamp of `size` pixels from a periodic image of `period` pixels."""

    def __init__(self, size: int, period: int, device: torch.device, dtype: torch.dtype) -> None:
        self.size, self.period = size, period
        order = np.arange(_NODES)
        cosines = np.cos(np.pi * (order + 0.5) / _NODES)
        at_nodes = np.cos(order * np.arccos(cosines)[:, None])
        at_pixels = np.cos(order * np.arccos(np.linspace(-1, 1, size))[:, None])
        self.to_pixels = torch.as_tensor(at_pixels @ np.linalg.inv(at_nodes), dtype=dtype, device=device)
        centre = (size - 1) / 2
        near_y, near_x = np.meshgrid(centre * (1 + cosines), centre * (1 + cosines), indexing="ij")
        rings = [(i, j) for i in range(-_RINGS, _RINGS + 1) for j in range(-_RINGS, _RINGS + 1) if (i, j) != (0, 0)]
        near = np.array([[near_x - i * period, near_y - j * period] for i, j in rings if max(abs(i), abs(j)) == 1])
        far = np.array([[centre - i * period, centre - j * period] for i, j in rings if max(abs(i), abs(j)) > 1])
        beyond, areas = _outside_square((_RINGS + 0.5) * period)
        points = np.concatenate([near.transpose(1, 0, 2, 3).reshape(2, -1), far.T, centre + beyond], axis=1)
        self.x, self.y = torch.as_tensor(points, dtype=dtype, device=device)
        self.n_near = len(near)
        self.far_weights = torch.as_tensor(np.concatenate([np.ones(len(far)), areas / period**2]), dtype=dtype, device=device)

    def reach(self, theta: Float[Tensor, "b 6"]) -> Bool[np.ndarray, " b"]:
        """Whose light the copies put on the stamp is worth taking away."""
        x, y, ln_a, h1, h2, ln_n = theta.double().cpu().numpy().T
        centre = (self.size - 1) / 2
        nearest = self.period - self.size / 2 - np.maximum(abs(x - centre), abs(y - centre))
        n = np.exp(ln_n)
        with np.errstate(over="ignore"):
            t = b_n(n) * (np.maximum(nearest, 0) / np.exp(ln_a + 0.5 * np.hypot(h1, h2))) ** (1 / n)
        return gammaincc(2 * n, t) > _LEAST_FLUX

    def __call__(self, theta: Float[Tensor, "b 6"]) -> Float[Tensor, "b 7 y x"]:
        """The copies' light of unit-flux galaxies, its derivatives to the six parameters first and itself last."""
        light = self._at_points(theta)
        split = self.n_near * _NODES * _NODES
        nodes = light[..., :split].reshape(*light.shape[:2], self.n_near, _NODES, _NODES).sum(dim=2)
        nodes = nodes + (light[..., split:] @ self.far_weights)[..., None, None]
        return self.to_pixels @ nodes @ self.to_pixels.T

    def _at_points(self, theta: Tensor) -> Float[Tensor, "b 7 point"]:
        x, y, ln_a, h1, h2, ln_n = (column[:, None] for column in theta.T)
        n = ln_n.exp()
        ln_norm, d_ln_norm, b, d_ln_b = (torch.as_tensor(v, dtype=theta.dtype, device=theta.device) for v in _constants(n.cpu().numpy()))
        dx, dy = self.x - x, self.y - y
        # rho^2 = d^T exp(-H) d / a^2 = (c (dx^2 + dy^2) - s (h1 (dx^2 - dy^2) + 2 h2 dx dy)) / a^2
        c, s, t = hyperbolic(h1, h2)
        plus, minus, cross = dx * dx + dy * dy, dx * dx - dy * dy, 2 * dx * dy
        tilt = h1 * minus + h2 * cross
        rho2 = c * plus - s * tilt
        ln_rho = 0.5 * (rho2.log() - 2 * ln_a)
        decay = b * torch.exp(ln_rho / n)
        light = torch.exp(ln_norm - 2 * ln_a - decay)
        slope = decay / n  # -d ln I / d ln rho
        over = slope / rho2
        logarithmic = [
            over * ((c - s * h1) * dx - s * h2 * dy),
            over * ((c + s * h1) * dy - s * h2 * dx),
            slope - 2,
            -0.5 * over * (s * h1 * plus - t * h1 * tilt - s * minus),
            -0.5 * over * (s * h2 * plus - t * h2 * tilt - s * cross),
            d_ln_norm - decay * (d_ln_b - ln_rho / n),
            torch.ones_like(light),
        ]
        return torch.stack(logarithmic, dim=1) * light[:, None]


def hyperbolic(h1: Tensor, h2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """cosh eta, s = sinh eta / eta and t = (cosh eta - s) / eta^2 for eta = |h|: ds/dh_i = t h_i, d cosh eta / dh_i = s h_i."""
    eta2 = h1 * h1 + h2 * h2
    eta = torch.sqrt(eta2.clamp_min(1e-12))
    cosh, s = torch.cosh(eta), torch.sinh(eta) / eta
    t = torch.where(eta < 0.1, 1 / 3 + eta2 / 30, (cosh - s) / eta2.clamp_min(1e-12))  # the difference cancels at small eta
    return cosh, s, t


def _constants(n: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """ln of b^{2n} / (2 pi n Gamma(2n)) and its derivative to ln n; b and the derivative of ln b to ln n."""
    n = n.astype(float)
    step = 1e-4
    b = b_n(n)
    d_ln_b = np.log(b_n(n * math.exp(step)) / b_n(n * math.exp(-step))) / (2 * step)
    ln_norm = 2 * n * np.log(b) - np.log(2 * np.pi * n) - gammaln(2 * n)
    return ln_norm, 2 * n * (np.log(b) + d_ln_b) - 1 - 2 * n * digamma(2 * n), b, d_ln_b


def _outside_square(half_side: float) -> tuple[Float[np.ndarray, "2 point"], Float[np.ndarray, " point"]]:
    """Points (x, y) and areas of a quadrature over the plane outside a centred square, for what falls off steeply."""
    phi = (np.arange(_ANGLES) + 0.5) * (2 * np.pi / _ANGLES)
    edge = half_side / np.maximum(abs(np.cos(phi)), abs(np.sin(phi)))
    nodes, weights = np.polynomial.legendre.leggauss(_RADII)
    u, du = _REACH / 2 * (nodes + 1), _REACH / 2 * weights
    r = edge[:, None] * np.exp(u)  # int I r dr dphi = int I r^2 du dphi
    points = np.stack([r * np.cos(phi)[:, None], r * np.sin(phi)[:, None]]).reshape(2, -1)
    return points, (r**2 * du * (2 * np.pi / _ANGLES)).reshape(-1)
