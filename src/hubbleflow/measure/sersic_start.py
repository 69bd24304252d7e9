r"""Where a Sersic fit starts: adaptive moments, less the PSF's.

The second moments W of the elliptical Gaussian that matches an object best (Bernstein & Jarvis 2002, AJ 123, 583, section 3; Hirata &
Seljak 2003, MNRAS 343, 459) satisfy W = 2 V(W), V being the moments of the light weighted by that Gaussian: for a Gaussian of moments G,
V^{-1} = G^{-1} + W^{-1}. They are found by iterating that, and converge at any signal-to-noise ratio, unlike moments without a weight. The
same moments of the PSF are taken away, and what is left is a galaxy of semi-major radius R_e = 1.3 times the larger sigma: near enough for
the fit at any n.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Bool, Float
    from numpy.typing import ArrayLike
    from torch import Tensor

_ITERATIONS = 12
RADIUS_OVER_SIGMA = 1.3  # half-light radius over Gaussian sigma
_INDEX = 1.5
_LEAST_SIGMA = 0.4  # px, of the deconvolved galaxy
_LEAST_AXIS_RATIO = 0.2


@dataclass(frozen=True)
class Start:
    """First guesses, one a galaxy; flux and sky need none.

    Attributes:
        x, y: centre, px; pixel (row 0, column 0) has its centre at (0, 0).
        radius: semi-major half-light radius, px.
        axis_ratio: minor over major.
        position_angle: degrees from +x towards +y.
        sersic_index: n.
    """

    x: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]
    radius: Float[np.ndarray, " n"]
    axis_ratio: Float[np.ndarray, " n"]
    position_angle: Float[np.ndarray, " n"]
    sersic_index: Float[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: slice | np.ndarray) -> Start:
        return Start(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def from_table(cls, table: Mapping[str, ArrayLike] | np.ndarray, psf: Float[np.ndarray, "... y x"]) -> Start:
        """From a catalogue's x, y, a, b (rms px along the axes) and theta (radians), as sep and SExtractor give them.

        Args:
            table: by column name: a mapping, a structured array.
            psf: PSF image(s), one for all (y, x) or one a galaxy (n, y, x).

        Example:
            >>> table = {"x": [31.0], "y": [32.0], "a": [4.0], "b": [3.0], "theta": [0.5]}
            >>> start = Start.from_table(table, np.ones((1, 1)))
            >>> float(start.radius[0].round(1)), float(start.position_angle[0].round(1))
            (5.2, 28.6)
        """
        x, y, a, b, theta = (np.atleast_1d(np.asarray(table[name], float)) for name in ("x", "y", "a", "b", "theta"))
        plus, minus = (a**2 + b**2) / 2, (a**2 - b**2) / 2
        covariance = plus + minus * np.cos(2 * theta), plus - minus * np.cos(2 * theta), minus * np.sin(2 * theta)
        return _deconvolved(x, y, np.stack(covariance, axis=-1), psf_moments(psf))


def start_values(
    images: Float[np.ndarray, "n y x"],
    psf: Float[np.ndarray, "... y x"],
    usable: Bool[np.ndarray, "n y x"] | None = None,
    sky: bool = True,
) -> Start:
    """First guesses from the adaptive moments of the object at the centre of each stamp.

    Args:
        images: stamps; what is not finite is not usable.
        psf: PSF image(s), one for all (y, x) or one a galaxy (n, y, x).
        usable: which pixels may be used.
        sky: whether to take away the median of the stamp's rim.

    Example:
        >>> y, x = np.mgrid[:33, :33] - 16.0
        >>> start = start_values(np.exp(-(x**2 / 32 + y**2 / 18))[None], np.ones((1, 1)))
        >>> [round(float(v[0]), 1) for v in (start.x, start.y, start.axis_ratio, abs(start.position_angle))]
        [16.0, 16.0, 0.7, 0.0]
    """
    good = np.isfinite(images) if usable is None else usable & np.isfinite(images)
    light = torch.as_tensor(np.where(good, images, 0.0).astype(np.float32))
    if sky:
        rim = torch.ones(light.shape[1:], dtype=torch.bool)
        rim[2:-2, 2:-2] = False
        values = torch.where(torch.as_tensor(good)[:, rim], light[:, rim], torch.nan)
        light -= values.nanmedian(dim=1).values.nan_to_num()[:, None, None]
    x, y, moments = adaptive_moments(light * torch.as_tensor(good))
    return _deconvolved(x, y, moments, psf_moments(psf))


def psf_moments(psf: Float[np.ndarray, "... y x"]) -> Float[np.ndarray, "... 3"]:
    """(xx, yy, xy) of a PSF image or of many, px^2; an image without light has those of a pixel."""
    stack = torch.as_tensor(np.nan_to_num(np.asarray(psf, np.float32)).reshape(-1, *psf.shape[-2:]))
    side = 5 - min(5, *stack.shape[1:])  # a weight of 0.5 px and more wants some pixels to stand on
    _, _, moments = adaptive_moments(torch.nn.functional.pad(stack, (side // 2, side - side // 2) * 2))
    return moments.reshape(*psf.shape[:-2], 3)


def adaptive_moments(light: Float[Tensor, "n y x"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre x, y and moments (n, 3) of (xx, yy, xy) of the Gaussian that fits best near the centre of each image, px and px^2."""
    height, width = light.shape[1:]
    largest = (min(height, width) / 4) ** 2
    axes = (torch.arange(side, dtype=light.dtype, device=light.device) - (side - 1) / 2 for side in (height, width))
    grid_y, grid_x = (g.flatten() for g in torch.meshgrid(*axes, indexing="ij"))
    powers = torch.stack([torch.ones_like(grid_x), grid_x, grid_y, grid_x * grid_x, grid_y * grid_y, grid_x * grid_y])
    scale = max(min(height, width) / 20, 1.0)
    centre = torch.zeros(len(light), 2, dtype=light.dtype, device=light.device)
    weight = torch.tensor([scale**2, scale**2, 0.0], dtype=light.dtype, device=light.device).repeat(len(light), 1)
    for _ in range(_ITERATIONS):
        sums = (_gaussians(centre, weight, powers) * light.flatten(1)) @ powers.T
        mean, spread = sums[:, 1:3] / sums[:, :1], sums[:, 3:] / sums[:, :1]
        moments = spread - torch.stack([mean[:, 0] ** 2, mean[:, 1] ** 2, mean[:, 0] * mean[:, 1]], dim=1)
        sane = (sums[:, 0] > 0) & torch.isfinite(moments).all(dim=1)
        shift = (2 * (mean - centre)).clamp(-1.0, 1.0)  # a weight at the wrong place draws the mean towards itself by half
        centre = torch.where(sane[:, None], centre + shift, centre)
        weight = torch.where(sane[:, None], _limited(2 * moments, 0.25, largest), weight)
    middle = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=light.dtype, device=light.device)
    x, y = (centre + middle).double().cpu().numpy().T
    return x, y, weight.double().cpu().numpy()


def _gaussians(centre: Tensor, moments: Tensor, powers: Tensor) -> Float[Tensor, "n pixel"]:
    """exp(-d^T W^{-1} d / 2), its exponent as a polynomial in x and y."""
    xx, yy, xy = moments.T
    det = xx * yy - xy * xy
    a, b, c = yy / det, xx / det, -xy / det
    u, v = centre.T
    terms = [a * u * u + b * v * v + 2 * c * u * v, -2 * (a * u + c * v), -2 * (b * v + c * u), a, b, 2 * c]
    return torch.exp(-0.5 * (torch.stack(terms, dim=1) @ powers))


def _limited(moments: Tensor, least: float, most: float) -> Tensor:
    """The same axes, with variances between two limits."""
    xx, yy, xy = moments.T
    plus, minus = (xx + yy) / 2, (xx - yy) / 2
    half = torch.sqrt(minus * minus + xy * xy).clamp_min(1e-12)
    major, minor = (plus + half).clamp(least, most), (plus - half).clamp(least, most)
    mean, stretch = (major + minor) / 2, (major - minor) / 2 / half
    return torch.stack([mean + stretch * minus, mean - stretch * minus, stretch * xy], dim=1)


def _deconvolved(x: np.ndarray, y: np.ndarray, moments: np.ndarray, psf: np.ndarray) -> Start:
    """A galaxy whose Gaussian has these moments after a PSF of those."""
    xx, yy, xy = np.moveaxis(moments - psf, -1, 0)
    plus, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    major = np.sqrt(np.maximum(plus + half, _LEAST_SIGMA**2))
    minor = np.sqrt(np.maximum(plus - half, _LEAST_SIGMA**2))
    angle = 0.5 * np.degrees(np.arctan2(2 * xy, xx - yy))
    q = np.maximum(minor / major, _LEAST_AXIS_RATIO)
    return Start(x, y, RADIUS_OVER_SIGMA * major, q, angle, np.full(len(x), _INDEX))
