"""What a denoiser that has learned still gets wrong of a galaxy's light as a whole, found by least squares when its training is over.

    D''(x_t; sigma, c) = D' + sum_ja P_ja y_bja,    y_bja = sum_fi T_lbjfi(sigma) z_bfa hat_i(ln e_bl)                     (1)
    z_ba: <P_ja, D' - m>, <P_ja, x_t - m> and the first's mean of bands,    e_bl^2 = mean_ja z_bja^2 + TOGETHER mean_bja z_bja^2  (2)
    sum_na [<P_ja, x - D''(x + sigma n)>]^2 + lambda T^2 -> min, for each noise level, band, order l and j                 (3)

P: orthonormal images that span exp(-r^2 / 2 w^2) r^l cos(l theta), sin(l theta) in the middle: how bright and concentrated a galaxy is, how
lopsided, elongated, three-cornered; a is the angle's function, and both of an order are treated alike. Most galaxies are close to the mean
m of their like, a few, with a neighbour, are not; the best denoiser takes most of a small deviation e for noise and leaves a large one. A
network falls a little short of that, always the same way, and all denoisings of a galaxy together make much of it: typical ones came out
half as far again from the mean as they should be (docs/decisions/0021-typical-galaxies.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from hubbleflow.networks.correction import FITTED, HIGHEST, LOWEST, NODES, denoised, node_weights
from hubbleflow.networks.expected_error import hats
from hubbleflow.networks.mean_galaxy import orthonormal

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float
    from torch import Tensor

WIDTHS, ORDERS = (1.5, 3.0, 6.0), 4  # px; l from 0
ORDER_OF = tuple(order for order in range(ORDERS) for _ in range(min(order + 1, 2)))  # of each function of the angle: a cosine, and a sine
EACH = [ORDER_OF.count(order) for order in range(ORDERS)]
SMALLEST, DEVIATIONS = 0.3, 6  # of e over the sky's rms, each twice the last
TOGETHER = 0.3
FUNCTIONS = 3 * len(WIDTHS) * DEVIATIONS
FEWEST = 300  # galaxies, to be fitted by
BELIEF, TINY = 30.0, 1e-12  # galaxies that say T = 0; of a mean square
AT_ONCE = 16


class SumsCorrection(nn.Module):
    """Eq. (1); nothing before :meth:`fit`.

    Args:
        bands, image_size: of the stamps.
    """

    def __init__(self, bands: int, image_size: int) -> None:
        super().__init__()
        self.register_buffer("images", harmonics(image_size).float(), persistent=False)
        self.register_buffer("table", torch.zeros(NODES, bands, ORDERS, FUNCTIONS, len(WIDTHS)))
        self.register_buffer("sky_rms", torch.ones(()))

    def forward(
        self, d: Float[Tensor, "n band y x"], rest: Float[Tensor, "n band y x"], sigma: Float[Tensor, " n"]
    ) -> Float[Tensor, "n band y x"] | float:
        """What is to be added to D', of D' - m and x_t - m."""
        table = self.get_buffer("table")
        if bool((sigma >= HIGHEST).all()) or not bool(table.any()):
            return 0.0
        with torch.autocast(rest.device.type, enabled=False):
            amounts = torch.tensordot(node_weights(sigma.float()), table, 1)[:, :, list(ORDER_OF)]
            y = (self._functions(d.float(), rest.float())[..., None, :] @ amounts).flatten(2)
            return (y @ self.get_buffer("images")).unflatten(2, rest.shape[2:])

    def _sums(self, images: Tensor) -> Float[Tensor, "n band a j"]:
        return (images.flatten(2) @ self.get_buffer("images").T).unflatten(2, (len(ORDER_OF), len(WIDTHS)))

    def _functions(self, d: Tensor, rest: Tensor) -> Float[Tensor, "n band a f"]:
        a, u = self._sums(d), self._sums(rest)
        square = torch.stack([part.square().mean(dim=(2, 3)) for part in a.split(EACH, dim=2)], dim=2)[:, :, list(ORDER_OF)]
        e = (square + TOGETHER * square.mean(dim=1, keepdim=True)).sqrt() / self.get_buffer("sky_rms")
        steps = (e / SMALLEST).log2() / (DEVIATIONS - 1)
        z = torch.cat([a, u, a.mean(dim=1, keepdim=True).expand_as(a)], dim=3)
        return (z[..., None] * hats(steps, DEVIATIONS)[..., None, :]).flatten(3)

    @torch.no_grad()
    def fit(
        self,
        denoiser: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
        x: Float[Tensor, "n band y x"],
        c: Float[Tensor, "n k"],
        m: Float[Tensor, "n band y x"],
        sky_rms: Float[Tensor, " band"],
        on_galaxies: Callable[[int], None] = lambda n: None,
        seed: int = 0,
    ) -> None:
        """Solve eq. (3); each noise level is told by its neighbours, too, at half the weight.

        Args:
            denoiser: D' of (x_t, sigma, c, m).
            x, c, m: galaxies, stretched, their conditions and the means of those.
            sky_rms: of each band, stretched.
            on_galaxies: told how many have been denoised, of `FITTED * len(x)`.
            seed: of the noise.
        """
        bands, many = x.shape[1], FUNCTIONS + len(WIDTHS)
        self.get_buffer("sky_rms").copy_(sky_rms.mean())
        products = torch.zeros(FITTED, bands, ORDERS, many, many, dtype=torch.float64)
        for node, level in enumerate(np.geomspace(LOWEST, HIGHEST, NODES)[:FITTED].tolist()):
            for part, x_t, _, d in denoised(denoiser, x, c, m, level, AT_ONCE, seed + node):
                rows = torch.cat([self._functions(d - m[part], x_t - m[part]), self._sums(x[part] - d)], dim=3).permute(1, 2, 0, 3)
                products[node].index_add_(1, torch.tensor(ORDER_OF), (rows.mT @ rows).cpu().double())
                on_galaxies(len(x_t))
        told = products.clone()
        told[1:] += 0.5 * products[:-1]
        told[:-1] += 0.5 * products[1:]
        inner, outer = told[..., :FUNCTIONS, :FUNCTIONS], told[..., :FUNCTIONS, FUNCTIONS:]
        ridge = torch.diag_embed(BELIEF / len(x) * inner.diagonal(dim1=-2, dim2=-1) + TINY * len(x))
        self.get_buffer("table").zero_()[:FITTED].copy_(torch.linalg.solve(inner + ridge, outer))


def harmonics(size: int) -> Float[Tensor, "aj yx"]:
    """P of eq. (1): of each function of the angle, by l and the cosine first, one of each width; the first leans towards the narrowest."""
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    place = torch.complex(axis.expand(size, size), axis[:, None].expand(size, size))
    widths = torch.stack([(-(place.abs() ** 2) / (2 * width**2)).exp() for width in WIDTHS])
    powers = [place**order for order in range(ORDERS)]
    angles = [part for order, power in enumerate(powers) for part in (power.real, power.imag)[: EACH[order]]]
    return torch.cat([orthonormal((widths * angle).flatten(1))[0] for angle in angles])
