"""The starlet transform: an image as a sum of planes, each of structure at twice the scale of the one before.

    c_0 = x,   c_{j+1} = h_j * c_j,   w_j = c_j - c_{j+1},   x = w_0 + ... + w_{J-1} + c_J                                    (1)

with h_j the cubic B-spline (1, 4, 6, 4, 1) / 16 along either axis, its taps 2^j pixels apart ("a trous"; Starck & Murtagh 1994, A&A 288,
342; Starck, Fadili & Murtagh 2007); beyond an edge stands its last pixel. Isotropic and without decimation, which is why astronomers
denoise in it: noise fills the first planes, galaxies as smooth as the seeing the later ones.

Along one axis of a stamp, all smoothing up to c_j is one matrix of its side: c_j = G_j x G_j^T, two products instead of passes over the
pixels, tap by tap, scale by scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def smoothing(size: int, scales: int) -> Float[Tensor, "scales size size"]:
    """G_1 ... G_J, J = `scales`, for stamps of `size` pixels on a side.

    Example:
        >>> [round(float(matrix[16, 16]), 3) for matrix in smoothing(32, 2)]
        [0.375, 0.172]
    """
    taps = torch.tensor([1, 4, 6, 4, 1], dtype=torch.float64) / 16
    matrix, found = torch.eye(size, dtype=torch.float64), []
    for scale in range(scales):
        padded = F.pad(matrix.T[None], (2 * 2**scale, 2 * 2**scale), mode="replicate")[0]
        matrix = sum((tap * padded[:, k * 2**scale :][:, :size] for k, tap in enumerate(taps)), padded.new_zeros(size, size)).T
        found.append(matrix)
    return torch.stack(found).float() if found else torch.zeros(0, size, size)


def smoothed(x: Float[Tensor, "n band y x"], matrices: Float[Tensor, "scales size size"]) -> list[Float[Tensor, "n band y x"]]:
    """c_0 ... c_J of eq. (1); the planes are the differences of neighbours.

    Example:
        >>> x = torch.zeros(1, 1, 32, 32)
        >>> x[..., 16, 16] = 1.0
        >>> [round(float(c[..., 16, 16]), 3) for c in smoothed(x, smoothing(32, 3))]
        [1.0, 0.141, 0.03, 0.007]
    """
    return [x, *(matrix @ (x @ matrix.T) for matrix in matrices)]
