r"""Shapes of mock galaxies: solid bodies seen from random directions, and the bulge and disc that share a Sersic profile.

An ellipsoid of axes 1 >= b >= c seen from polar angle theta and azimuth phi has the apparent axis ratio (Binney 1985, MNRAS 212, 767)

    q^2 = (A + C - D) / (A + C + D),   D^2 = (A - C)^2 + B^2,
    A = cos^2 theta / c^2 (sin^2 phi + cos^2 phi / b^2) + sin^2 theta / b^2,
    B = cos theta sin 2 phi (1 - 1 / b^2) / c^2,         C = (sin^2 phi / b^2 + cos^2 phi) / c^2;

for b = 1 it is Hubble's (1926) q^2 = cos^2 theta + c^2 sin^2 theta.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammainc

from hubbleflow.sersic import b_n

if TYPE_CHECKING:
    from jaxtyping import Float


def apparent_axis_ratio(c: np.ndarray, cos_theta: np.ndarray, b: np.ndarray | float = 1.0, phi: np.ndarray | float = 0.0) -> np.ndarray:
    """q of an ellipsoid of axes 1, b, c seen from (theta, phi).

    >>> apparent_axis_ratio(np.array([0.2, 0.2]), np.array([0.0, 1.0])).round(3).tolist()      # a thin disc, edge-on and face-on
    [0.2, 1.0]
    >>> apparent_axis_ratio(np.array([0.2]), np.array([1.0]), b=0.8).round(3).tolist()         # an oval disc, face-on
    [0.8]
    """
    cos2, sin_phi2, cos_phi2 = cos_theta**2, np.sin(phi) ** 2, np.cos(phi) ** 2
    a = cos2 / c**2 * (sin_phi2 + cos_phi2 / b**2) + (1 - cos2) / b**2
    cross = cos_theta * np.sin(2 * phi) * (1 - 1 / b**2) / c**2
    d = (sin_phi2 / b**2 + cos_phi2) / c**2
    root = np.sqrt((a - d) ** 2 + cross**2)
    return np.sqrt(np.clip((a + d - root) / (a + d + root), 1e-4, 1))


def joint_half_light(bulge_to_total: np.ndarray, bulge_n: np.ndarray, disc_n: np.ndarray, ratio: np.ndarray) -> Float[np.ndarray, " n"]:
    """Half-light radius of bulge plus disc, in the disc's half-light radii, by bisection.

    ratio: the bulge's half-light radius over the disc's. The radius is along ellipses of each component's own axis ratio.

    >>> joint_half_light(*(np.array([v]) for v in (0.0, 4.0, 1.0, 0.3))).round(4).tolist()
    [1.0]
    """
    low, high = np.minimum(ratio, 1.0), np.maximum(ratio, 1.0)
    b_bulge, b_disc = b_n(bulge_n), b_n(disc_n)
    for _ in range(16):
        middle = 0.5 * (low + high)
        bulge = gammainc(2 * bulge_n, b_bulge * (middle / ratio) ** (1 / bulge_n))
        disc = gammainc(2 * disc_n, b_disc * middle ** (1 / disc_n))
        inside = bulge_to_total * bulge + (1 - bulge_to_total) * disc > 0.5
        low, high = np.where(inside, low, middle), np.where(inside, middle, high)
    return 0.5 * (low + high)
