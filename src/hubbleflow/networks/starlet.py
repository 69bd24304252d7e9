"""The starlet transform: an image as a sum of planes, each of structure at twice the scale of the one before.

    c_0 = x,   c_{j+1} = h_j * c_j,   w_j = c_j - c_{j+1},   x = w_0 + ... + w_{J-1} + c_J

with h_j the cubic B-spline (1, 4, 6, 4, 1) / 16 along either axis, its taps 2^j pixels apart ("a trous"; Starck & Murtagh 1994, A&A 288,
342; Starck, Fadili & Murtagh 2007). Isotropic and without decimation, which is why astronomers denoise in it: noise fills the first
planes, galaxies as smooth as the seeing the later ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def smoothed(x: Float[Tensor, "n band y x"], spacing: int) -> Float[Tensor, "n band y x"]:
    """x under the B-spline with taps `spacing` pixels apart; beyond an edge stands its last pixel."""
    for padding, axis in (((2 * spacing, 2 * spacing, 0, 0), 3), ((0, 0, 2 * spacing, 2 * spacing), 2)):
        side, padded = x.shape[axis], F.pad(x, padding, mode="replicate")
        far, near, here, next_, last = (padded.narrow(axis, tap * spacing, side) for tap in range(5))
        x = (far + last) / 16 + (near + next_) / 4 + here * 0.375
    return x


def starlet(x: Float[Tensor, "n band y x"], scales: int) -> list[Float[Tensor, "n band y x"]]:
    """The planes w_0 ... w_{J-1}, finest first, J = `scales`; what is left of x when they are taken away is smooth.

    Example:
        >>> import torch
        >>> x = torch.zeros(1, 1, 32, 32)
        >>> x[..., 16, 16] = 1.0
        >>> [round(float(plane[..., 16, 16]), 3) for plane in starlet(x, 3)]
        [0.859, 0.111, 0.022]
    """
    planes = []
    for scale in range(scales):
        coarser = smoothed(x, 2**scale)
        planes.append(x - coarser)
        x = coarser
    return planes
