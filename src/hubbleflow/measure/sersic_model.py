r"""A batch of PSF-convolved Sersic galaxies with analytic derivatives, by inverse FFT of their exact transforms.

Structure is six numbers a galaxy, theta = (x_0, y_0, ln a, h_1, h_2, ln n), free of the singularity that the position angle has for a
round galaxy. The half-light ellipse d^T C^{-1} d = 1 has the matrix

    C = a^2 exp(H),   H = [[h_1, h_2], [h_2, -h_1]],   h = eta (cos 2 phi, sin 2 phi),   q = e^{-eta},   R_e = a e^{eta/2} = a / sqrt(q):

phi the position angle, R_e the semi-major half-light radius, a = R_e sqrt(q) the circularised one. A galaxy of unit flux is, with
F(n, kappa) the Hankel transform of the profile (`hubbleflow.sersic`) and T the transfer function of PSF and pixel,

    M(k) = T(k) F(n, kappa) e^{-i k.x_0},   kappa^2 = k^T C k,

and its derivatives have the same form, one inverse FFT each:

    dM/d ln a = T F' e,   dM/dh_i = T F' e (k^T dC/dh_i k) / (2 kappa^2),   dM/d ln n = T dF/d ln n e,   dM/dx_0 = -i k_x M,

F' = dF/d ln kappa, e the phase. With cosh eta = c, sinh eta / eta = s, (c - s) / eta^2 = t: exp H = c + s H and dC/dh_i = a^2 (s h_i
+ t h_i H + s dH/dh_i). The cusp of a steep profile, which no pixel grid samples, is never sampled. The image is one period of 1.25 stamps;
what its copies put on the stamp is taken away (`measure.sersic_copies`). The PSF must be sampled by the pixels: the Nyquist frequency is
left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from hubbleflow.measure.sersic_copies import Copies, hyperbolic
from hubbleflow.sersic import sersic_transform

if TYPE_CHECKING:
    from jaxtyping import Complex, Float
    from torch import Tensor

PARAMETERS = 6  # x, y, ln a, h1, h2, ln n
_COARSER = 4  # nodes of the transform's table in ln k to one of ours
LEAST_ENCLOSED = 0.9  # of the light: the sum of a PSF image that is not a matter of units


class SersicModel:
    """Draws structure parameters `theta` as unit-flux stamps of `size` pixels, with derivatives.

    Pixel (row 0, column 0) has its centre at (x, y) = (0, 0). Computed in `dtype`, on `device`.

    Example:
        >>> model = SersicModel(32)
        >>> transfer = model.transfer(torch.ones(1, 1, 1))            # a PSF of one pixel
        >>> theta = torch.tensor([[15.5, 15.5, 1.4, 0.0, 0.0, 0.0]])  # a round exponential disc of 4 px
        >>> images = model(theta, transfer)
        >>> images.shape, round(float(images[0, 6].sum()), 2)         # derivatives to theta, then the image
        (torch.Size([1, 7, 32, 32]), 0.99)
    """

    def __init__(self, size: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.size, self.device, self.dtype = size, torch.device(device), dtype
        self.period = good_period(size)
        self.profile = _Profile(self.device, dtype)
        self.copies = Copies(size, self.period, self.device, dtype)
        step = 2 * math.pi / self.period
        # the half plane k_x >= 0 says all of a real image
        self.k_x = (step * torch.arange(self.period // 2 + 1, dtype=torch.float64)).to(self.device, dtype)
        self.k_y = (2 * math.pi * torch.fft.fftfreq(self.period, dtype=torch.float64)).to(self.device, dtype)
        k_x, k_y = torch.meshgrid(self.k_x, self.k_y, indexing="ij")
        self.k2 = torch.stack([k_x * k_x, k_y * k_y, 2 * k_x * k_y]).flatten(1)  # kappa^2 = (C_xx, C_yy, C_xy) @ k2
        self.minus_i_k = torch.complex(torch.zeros(2, *k_x.shape).to(k_x), -torch.stack([k_x, k_y]))

    def transfer(self, psf: Float[Tensor, "b y x"]) -> Complex[Tensor, "b kx ky"]:
        """Transfer functions of PSF images (pixel included, centred on the middle of their image).

        An image whose pixels add up to a little less than 1 is taken at its word: the rest of the light falls beyond it, and the response
        at k = 0 is that sum, so that fluxes are of all the light. Any other sum is a matter of units, and is made 1. The sums over pixels
        are written out, so that any size and any parity of it is exact.
        """
        psf = psf.to(self.device, self.dtype)
        y, x = (torch.arange(side, device=self.device, dtype=self.dtype) - (side - 1) / 2 for side in psf.shape[1:])
        along_x, along_y = _phase(self.k_x, -x[:, None]), _phase(self.k_y, -y[:, None])
        total = psf.sum(dim=(1, 2), keepdim=True)
        unit = psf / torch.where((total > LEAST_ENCLOSED) & (total < 1), 1.0, total)
        transfer = along_x.T @ unit.transpose(1, 2).to(along_x.dtype) @ along_y
        transfer[:, -1], transfer[:, :, self.period // 2] = 0, 0  # the Nyquist frequency stands for +k and -k at once
        return transfer

    def __call__(self, theta: Float[Tensor, "b 6"], transfer: Complex[Tensor, "b kx ky"]) -> Float[Tensor, "b 7 y x"]:
        """Derivatives of the unit-flux image to theta (6), then the image itself; transfer may be one for all (b = 1)."""
        matrix, d_matrix = ellipse(theta)
        kappa2 = (matrix @ self.k2).clamp_(min=1e-12)
        value, slope, d_n = self.profile(theta[:, 5], kappa2.log().mul_(0.5))
        d_h = (d_matrix.flatten(0, 1) @ self.k2).view(len(theta), 2, -1)
        per_k2 = 0.5 * slope / kappa2
        placed = self._placed(theta, transfer)
        spectrum = torch.empty(len(theta), PARAMETERS + 1, placed.shape[1], dtype=placed.dtype, device=self.device)
        for row, real in ((6, value), (2, slope), (3, d_h[:, 0] * per_k2), (4, d_h[:, 1] * per_k2), (5, d_n)):
            torch.mul(placed, real, out=spectrum[:, row])
        torch.mul(spectrum[:, 6:], self.minus_i_k.flatten(1), out=spectrum[:, :2])
        return self._images(spectrum, theta, slice(None))

    def image(self, theta: Float[Tensor, "b 6"], transfer: Complex[Tensor, "b kx ky"]) -> Float[Tensor, "b y x"]:
        """The unit-flux images alone."""
        matrix, _ = ellipse(theta)
        value, _, _ = self.profile(theta[:, 5], (matrix @ self.k2).clamp_(min=1e-12).log_().mul_(0.5))
        return self._images((value * self._placed(theta, transfer))[:, None], theta, slice(PARAMETERS, None))[:, 0]

    def _placed(self, theta: Tensor, transfer: Tensor) -> Complex[Tensor, "b k"]:
        """T e^{-i k.x_0}."""
        along_x, along_y = _phase(self.k_x, -theta[:, :1]), _phase(self.k_y, -theta[:, 1:2])
        return ((transfer * along_x[:, :, None]) * along_y[:, None, :]).flatten(1)

    def _images(self, spectrum: Tensor, theta: Tensor, which: slice) -> Float[Tensor, "b image y x"]:
        columns = torch.fft.ifft(spectrum.unflatten(-1, self.minus_i_k.shape[1:]), dim=-1)[..., : self.size]
        # both FFTs run along memory: transposing between them costs less than a strided one
        images = torch.fft.irfft(columns.transpose(-1, -2).contiguous(), n=self.period, dim=-1)[..., : self.size]
        far = torch.as_tensor(self.copies.reach(theta), device=self.device).nonzero()[:, 0]
        if len(far):
            images.index_add_(0, far, self.copies(theta[far])[:, which], alpha=-1)
        return images


class _Profile:
    """F, dF/d ln kappa and dF/d ln n of each galaxy on its own ln kappa: `sersic.SersicTransform`, looked up once for all three.

    Every fourth node of its table is enough here (Hermite cubics over 0.1 in ln k err by 3e-7), and each galaxy's row stays in the cache.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        table = sersic_transform(str(device), dtype)
        self.ln_n0, self.d_ln_n, self.n_nodes = table.ln_n0, table.d_ln_n, table.n_nodes
        self.ln_k0, self.d_ln_k = table.ln_k0, _COARSER * table.d_ln_k
        nodes = table.coefficients[:, :, ::_COARSER, :2] * torch.tensor([1.0, _COARSER], dtype=dtype, device=device)
        self.intervals = nodes.shape[2] - 1
        # (ln n node, [F, dF/dn] x (ln k node, [., d./dk])), in steps of the nodes
        self.nodes = nodes.transpose(0, 1).flatten(2).contiguous()

    def __call__(self, ln_n: Float[Tensor, " b"], ln_kappa: Float[Tensor, "b m"]) -> tuple[Tensor, Tensor, Tensor]:
        rows = self._rows(ln_n)
        t = ((ln_kappa - self.ln_k0) * (1 / self.d_ln_k)).clamp_(0, self.intervals)
        interval = t.to(torch.int32).clamp_(max=self.intervals - 1)
        t -= interval
        interval += (torch.arange(len(rows), device=rows.device, dtype=torch.int32) * self.intervals)[:, None]
        c = rows.view(-1, 8).index_select(0, interval.view(-1)).view(*t.shape, 8).unbind(-1)
        # Horner's scheme for the value and, one step behind it, for its derivative
        b2 = torch.addcmul(c[2], c[3], t)
        b1 = torch.addcmul(c[1], b2, t)
        slope = torch.addcmul(b1, b2.addcmul_(c[3], t), t).mul_(1 / self.d_ln_k)
        value = torch.addcmul(c[0], b1, t, out=b1)
        d_n = torch.addcmul(c[6], c[7], t)
        d_n = torch.addcmul(c[5], d_n, t, out=d_n)
        return value, slope, torch.addcmul(c[4], d_n, t, out=d_n)

    def _rows(self, ln_n: Tensor) -> Float[Tensor, "b k 8"]:
        """Each galaxy's cubics in ln kappa: power coefficients of F and of dF/d ln n in every interval."""
        position = (ln_n - self.ln_n0) / self.d_ln_n
        node = position.floor().clamp(0, self.n_nodes - 2).long()
        t = position - node
        value_1, slope_0, slope_1 = (3 - 2 * t) * t * t, ((t - 2) * t + 1) * t, (t - 1) * t * t
        d_value_1, d_slope_0, d_slope_1 = 6 * t - 6 * t * t, 3 * t * t - 4 * t + 1, 3 * t * t - 2 * t
        weights = torch.stack([1 - value_1, slope_0, value_1, slope_1], 1), torch.stack([-d_value_1, d_slope_0, d_value_1, d_slope_1], 1)
        around = torch.stack([self.nodes[node], self.nodes[node + 1]], dim=1).flatten(1, 2)  # (b, 4, k node x 2)
        hermite = (torch.stack([weights[0], weights[1] / self.d_ln_n], dim=1) @ around).view(len(ln_n), 2, -1, 2)
        v0, v1, s0, s1 = hermite[:, :, :-1, 0], hermite[:, :, 1:, 0], hermite[:, :, :-1, 1], hermite[:, :, 1:, 1]
        rise = v1 - v0
        power = torch.stack([v0, s0, 3 * rise - 2 * s0 - s1, s0 + s1 - 2 * rise], dim=-1)  # (b, 2, interval, 4)
        return power.transpose(1, 2).flatten(2).contiguous()


def _phase(k: Tensor, minus_x: Tensor) -> Complex[Tensor, "b k"]:
    phase = minus_x * k
    return torch.polar(torch.ones_like(phase), phase)


def ellipse(theta: Float[Tensor, "b 6"]) -> tuple[Float[Tensor, "b 3"], Float[Tensor, "b 2 3"]]:
    """(C_xx, C_yy, C_xy) of the half-light ellipse and its derivatives to h_1 and h_2."""
    h1, h2 = theta[:, 3], theta[:, 4]
    c, s, t = hyperbolic(h1, h2)
    a2 = torch.exp(2 * theta[:, 2])
    matrix = torch.stack([c + s * h1, c - s * h1, s * h2], dim=1)
    d_1 = torch.stack([s * h1 + t * h1 * h1 + s, s * h1 - t * h1 * h1 - s, t * h1 * h2], dim=1)
    d_2 = torch.stack([s * h2 + t * h2 * h1, s * h2 - t * h2 * h1, t * h2 * h2 + s], dim=1)
    return matrix * a2[:, None], torch.stack([d_1, d_2], dim=1) * a2[:, None, None]


def good_period(size: int) -> int:
    """The least even number of small prime factors (2, 3, 5) that holds 1.25 stamps: its FFT is fast.

    >>> good_period(64), good_period(69)
    (80, 90)
    """
    period = 2 * math.ceil(1.25 * size / 2)
    while True:
        rest = period
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return period
        period += 2


def keep_freed_memory() -> None:
    """Let the C library keep the megabytes that each evaluation frees for the next one.

    glibc gives large blocks back to the system at once, and faults them in again page by page, until a larger one has been freed: from
    then on (mallopt(3), M_MMAP_THRESHOLD, "dynamic") it keeps up to twice that much. 32 MiB is the largest that it learns from.
    """
    torch.empty(31 << 20, dtype=torch.uint8)
