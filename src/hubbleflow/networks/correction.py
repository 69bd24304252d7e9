"""What a denoiser that has learned still gets wrong on average, found by least squares when its training is over.

    D'(x_t; sigma, c) = D + sum_k T_k(sigma, b) phi_k(x_t - m)                                                             (1)
    sum_n,pixels [x - D'(x + sigma n)]^2 + lambda T^2 -> min, for each noise level and band                                (2)

Training leaves errors of a thousandth in what the loss hardly sees and galaxies show: the sky's power spectrum is the product of ten
denoisings, a few tenths of a per cent each, always the same way; and a bright galaxy's middle is a handful of pixels. The functions phi:

*  of the sky, where the mean galaxy m is faint: x_t - m moved by up to three pixels either way along either axis, both ways averaged, which
   is a filter of that reach, even along either axis (resampling leaves a survey's noise correlated over two or three pixels; a network on
   patches with a starlet's three planes cannot say that); and a curve of each pixel's own value, in steps of its rms: stretched noise is
   not Gaussian.
*  where the mean galaxy is bright, by how bright it is: the finest planes of the starlet transform, of which noise is to go, and what the
   galaxy itself has is not; once for all of the stamp and once for its middle, where four patches meet.

Shifts and their inverse are one cosine transform (images mirrored at their edges): sum_k T_k phi_k = C' (F o (C r C')) C, F from the T_k.
lambda is the error's variance over PRIOR^2: what few pixels say is not believed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from hubbleflow.networks.expected_error import BRIGHTNESS_NODES, brightness_place, hats
from hubbleflow.networks.mean_galaxy import MeanImage, above_sky
from hubbleflow.networks.starlet import smoothed, smoothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Float
    from torch import Tensor

LOWEST, HIGHEST, NODES = 0.012, 6.0, 20  # sigma, evenly in its logarithm; from the last on, nothing is left to say
FITTED = NODES - 1
REACH = 3  # pixels along an axis
SHIFTS = tuple((dy, dx) for dy in range(REACH + 1) for dx in range(REACH + 1) if dy + dx <= REACH + 1)
CURVE = 4  # rms either way, a node each
SKY, BRIGHTEST = 2, BRIGHTNESS_NODES - 2  # nodes of brightness up to which it is sky, and from which all is alike
PLANES, MIDDLE = 2, 1.5  # px
PRIOR, TINY = 0.1, 1e-20  # of T; of a variance
AT_ONCE = 40_960  # pixels of a band
PARTS = (len(SHIFTS), 2 * CURVE + 1, (BRIGHTEST - SKY + 1) * 2 * PLANES)


class Correction(nn.Module):
    """Eq. (1); nothing before :meth:`fit`.

    Args:
        bands, image_size: of the stamps.
    """

    def __init__(self, bands: int, image_size: int) -> None:
        super().__init__()
        k, i = torch.arange(image_size, dtype=torch.float64)[:, None], torch.arange(image_size, dtype=torch.float64)
        cosines = (math.pi * (i + 0.5) * k / image_size).cos() * (2 / image_size) ** 0.5
        cosines[0] *= 0.5**0.5
        shift = (math.pi * torch.arange(REACH + 1)[:, None] * k[:, 0] / image_size).cos()
        filters = torch.stack([shift[dy][:, None] * shift[dx] for dy, dx in SHIFTS])
        self.register_buffer("cosines", cosines.float(), persistent=False)
        self.register_buffer("filters", filters.flatten(1).float(), persistent=False)
        self.register_buffer("smoothing", smoothing(image_size, PLANES), persistent=False)
        square = (i - (image_size - 1) / 2) ** 2
        self.register_buffer("middle", (-(square[:, None] + square) / (2 * MIDDLE**2)).exp().flatten().float(), persistent=False)
        self.register_buffer("table", torch.zeros(NODES, bands, sum(PARTS)))
        self.register_buffer("sky_rms", torch.ones(bands))

    def forward(self, rest: Float[Tensor, "n band y x"], sigma: Float[Tensor, " n"], m: MeanImage) -> Float[Tensor, "n band y x"] | float:
        """What is to be added to D, of x_t - m."""
        table = self.get_buffer("table")
        if bool((sigma >= HIGHEST).all()) or not bool(table.any()):
            return 0.0
        with torch.autocast(rest.device.type, enabled=False):
            amounts = torch.tensordot(node_weights(sigma.float()), table, 1).split(PARTS, dim=2)
            sky = self._filtered(rest, amounts[0]) + self._curved(rest, self._rms(sigma), amounts[1])
            return self._smoother(rest, m.once(bright_pixels), amounts[2]).addcmul_(m.once(sky_pixels), sky)

    def _rms(self, sigma: Tensor) -> Float[Tensor, "n band"]:
        return (self.get_buffer("sky_rms") ** 2 + sigma[:, None].float() ** 2).sqrt()

    def _filtered(self, rest: Tensor, amount: Float[Tensor, "n band shift"]) -> Tensor:
        cosines = self.get_buffer("cosines")
        transfer = (amount @ self.get_buffer("filters")).unflatten(2, rest.shape[2:])
        return cosines.T @ ((transfer * (cosines @ (rest @ cosines.T))) @ cosines)

    def _curved(self, rest: Tensor, rms: Float[Tensor, "n band"], amount: Float[Tensor, "n band node"]) -> Tensor:
        place = (rest.flatten(2) / rms[..., None] + CURVE).clamp(0, 2 * CURVE)
        left = place.long().clamp(0, 2 * CURVE - 1)  # not a number, and it stays that: no place in the table
        values = amount * rms[..., None]
        return torch.addcmul(values.gather(2, left), place - left, values.diff(dim=2).gather(2, left)).unflatten(2, rest.shape[2:])

    def _smoother(self, rest: Tensor, bright: Float[Tensor, "n band node yx"], amount: Float[Tensor, "n band k"]) -> Tensor:
        """sum_j a_j w_j = sum_j (a_j - a_{j-1}) c_j: the differences are taken of the few numbers instead of the many pixels."""
        of_smoothed = F.pad(amount.unflatten(2, (PLANES, 2, -1)), (0, 0, 0, 0, 1, 1)).diff(dim=2)
        everywhere, middle = (of_smoothed.transpose(2, 3).flatten(2, 3) @ bright).chunk(2, dim=2)
        maps = torch.addcmul(everywhere, self.get_buffer("middle"), middle).unflatten(3, rest.shape[2:])
        total = torch.zeros_like(rest)
        for j, c in enumerate(smoothed(rest, self.get_buffer("smoothing"))):
            total.addcmul_(maps[:, :, j], c)
        return total

    def _terms(self, rest: Tensor, sigma: Tensor, m: MeanImage) -> Float[Tensor, "k n band y x"]:
        """phi_k, one after the other."""
        n, bands = rest.shape[:2]
        rms = self._rms(sigma)
        shifts, curve, bright = (torch.eye(many, device=rest.device)[:, None, None].expand(-1, n, bands, -1) for many in PARTS)
        sky = [self._filtered(rest, one) for one in shifts] + [self._curved(rest, rms, one) for one in curve]
        where = m.once(bright_pixels)
        return torch.stack([m.once(sky_pixels) * term for term in sky] + [self._smoother(rest, where, one) for one in bright])

    @torch.no_grad()
    def fit(
        self,
        denoiser: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
        x: Float[Tensor, "n band y x"],
        c: Float[Tensor, "n k"],
        m: Float[Tensor, "n band y x"],
        on_galaxies: Callable[[int], None] = lambda n: None,
        seed: int = 0,
    ) -> None:
        """Solve eq. (2).

        Args:
            denoiser: D of (x_t, sigma, c, m).
            x, c, m: galaxies, stretched, their conditions and the means of those.
            on_galaxies: told how many have been denoised, of `FITTED * len(x)`.
            seed: of the noise.
        """
        sky = sky_pixels(m)
        self.get_buffer("sky_rms").copy_(((sky * (x - m) ** 2).sum(dim=(0, 2, 3)) / sky.sum(dim=(0, 2, 3)).clamp(min=1)).sqrt())
        many, found = sum(PARTS), torch.zeros_like(self.get_buffer("table"))
        batch = max(1, AT_ONCE // (x.shape[2] * x.shape[3]))
        for node, level in enumerate(np.geomspace(LOWEST, HIGHEST, NODES)[:FITTED].tolist()):
            products = torch.zeros(x.shape[1], many + 1, many + 1, dtype=torch.float64)
            for part, x_t, sigma, d in denoised(denoiser, x, c, m, level, batch, seed):
                error = x[part] - d
                with torch.autocast(x.device.type, enabled=False):
                    rows = torch.cat([self._terms(x_t - m[part], sigma, MeanImage(m[part])), error[None]]).permute(2, 0, 1, 3, 4).flatten(2)
                    products += (rows @ rows.transpose(1, 2)).cpu().double()
                on_galaxies(len(x_t))
            variance = (products[:, -1, -1] / (x.numel() / x.shape[1])).clamp(min=TINY)
            ridge = torch.eye(many, dtype=torch.float64) * (variance / PRIOR**2)[:, None, None]
            found[node] = torch.linalg.solve(products[:, :-1, :-1] + ridge, products[:, :-1, -1])
        self.get_buffer("table").copy_(found)


def sky_pixels(m: Float[Tensor, "n band y x"]) -> Float[Tensor, "n band y x"]:
    """From 0 where a mean galaxy is bright to 1 in the sky."""
    return (SKY - _brightness(m)).clamp(0, 1)


def bright_pixels(m: Float[Tensor, "n band y x"]) -> Float[Tensor, "n band node yx"]:
    """Weights of the nodes of brightness where it is bright; 0 in the sky."""
    p = _brightness(m).flatten(2)
    return torch.stack([(1 - (p - node).abs()).clamp(min=0) for node in range(SKY, BRIGHTEST)] + [(p - (BRIGHTEST - 1)).clamp(0, 1)], dim=2)


def _brightness(m: Tensor) -> Tensor:
    return brightness_place(above_sky(m.float())) * (BRIGHTNESS_NODES - 1)


def node_weights(sigma: Float[Tensor, " n"]) -> Float[Tensor, "n node"]:
    """Of the nodes at noise levels; D = x_t without noise, and what it gets wrong goes there as sigma^2."""
    place = (sigma / LOWEST).log() / math.log(HIGHEST / LOWEST)
    return hats(place, NODES) * ((place < 1) * (sigma / LOWEST).clamp(max=1) ** 2)[:, None]


def denoised(
    denoiser: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor], x: Tensor, c: Tensor, m: Tensor, level: float, batch: int, seed: int
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """Galaxies, some at once, with noise of one level: which they are, x_t, sigma and what the denoiser makes of them."""
    generator = torch.Generator().manual_seed(seed)
    for first in range(0, len(x), batch):
        part = slice(first, first + batch)
        sigma = torch.full((len(x[part]),), level, device=x.device)
        x_t = x[part] + level * torch.randn(x[part].shape, generator=generator).to(x.device)
        yield part, x_t, sigma, denoiser(x_t, sigma, c[part], m[part])
