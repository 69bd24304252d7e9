r"""The Sersic profile and its two-dimensional Fourier transform, shared by the renderer and the fitter.

The surface brightness of a galaxy component of unit total flux and unit half-light radius is (Sersic 1968; Graham &
Driver 2005, PASA 22, 118, eqs. 1-4)

    I(r) = b^{2n} / (2 pi n Gamma(2n)) exp(-b r^{1/n}),       P(2n, b) = 1/2,

P being the regularised lower incomplete gamma function: b makes r = 1 enclose half of the light. Its Fourier transform
is a Hankel transform,

    F(n, k) = 2 pi  int_0^inf I(r) J_0(k r) r dr,             F(n, 0) = 1,

which has no closed form except for n = 1/2, exp(-k^2 / (4 b)), and n = 1, (1 + k^2 / b^2)^{-3/2}. It is computed here
by FFTLog (Hamilton 2000, MNRAS 312, 257), the fast Hankel transform on a logarithmic grid. FFTLog is spectrally
accurate for this family: the Mellin transform of I falls as exp(-pi n |t| / 2), so a step of 0.025 in ln r leaves nothing
to alias even at n = 0.3, and the table costs milliseconds: no data file.

An elliptical component of flux f, semi-major half-light radius R_e, axis ratio q and centre (x_0, y_0) then has the
transform f F(n, sqrt((R_e k_u)^2 + (q R_e k_v)^2)) exp(-i (k_x x_0 + k_y y_0)), u along the major axis: the cusp of
large n, which no pixel grid samples well, is never sampled.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.fft import fht
from scipy.interpolate import CubicSpline
from scipy.special import gammainc, gammaincinv, gammaln

from hubbleflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from numpy.typing import ArrayLike
    from torch import Tensor

N_MIN, N_MAX = 0.3, 6.2  # GalSim's range of n; GalaxiesML's fits are bounded by 0.3 too
K_MIN, K_MAX = 1e-4, 3e3  # radians per half-light radius: 1 - F(6.2, K_MIN) = 3e-7, F(6.2, K_MAX) = 2e-8
_LN_N_NODES = 80
_LN_K_STEP = 0.025
_FFTLOG_POINTS = 2048  # times the step: 51 e-folds of r, so that r I(r) is zero to double precision at both ends


def b_n(n: ArrayLike) -> Float[np.ndarray, "*shape"]:
    """The constant b of the Sersic profile: the solution of P(2n, b) = 1/2 (exact, not a series).

    >>> bool(abs(b_n(4.0) - 7.66924944) < 1e-7)
    True
    """
    return gammaincinv(2.0 * np.asarray(n, dtype=float), 0.5)


def surface_brightness(r: ArrayLike, n: ArrayLike) -> Float[np.ndarray, "*shape"]:
    """I(r) of unit flux and unit half-light radius, in flux per (half-light radius)^2; r in half-light radii.

    >>> round(float(surface_brightness(1.0, 1.0)), 5)     # b^2 exp(-b) / 2 pi
    0.08369
    """
    r, n = np.asarray(r, dtype=float), np.asarray(n, dtype=float)
    b = b_n(n)
    return np.exp(2 * n * np.log(b) - np.log(2 * np.pi * n) - gammaln(2 * n) - b * r ** (1 / n))


def flux_within(r: ArrayLike, n: ArrayLike) -> Float[np.ndarray, "*shape"]:
    """Fraction of the total flux inside r half-light radii: P(2n, b r^{1/n}).

    >>> round(float(flux_within(1.0, 4.0)), 12)
    0.5
    """
    r, n = np.asarray(r, dtype=float), np.asarray(n, dtype=float)
    return gammainc(2 * n, b_n(n) * r ** (1 / n))


def total_flux(
    intensity_e: ArrayLike, half_light_radius: ArrayLike, n: ArrayLike, axis_ratio: ArrayLike = 1.0
) -> Float[np.ndarray, "*shape"]:
    """Total flux of a profile of surface brightness `intensity_e` at its half-light ellipse.

    L = I_e R_e^2 q 2 pi n e^b b^{-2n} Gamma(2n) (Graham & Driver 2005, eq. 4, with the axis ratio q).

    >>> round(float(total_flux(surface_brightness(1.0, 2.5), 1.0, 2.5)), 12)
    1.0
    """
    area = np.asarray(axis_ratio, dtype=float) * np.asarray(half_light_radius, dtype=float) ** 2
    return np.asarray(intensity_e, dtype=float) * area / surface_brightness(1.0, n)


def hankel_transform(n: float) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """ln k and F(n, k) of one profile on the whole FFTLog grid (double precision).

    FFTLog gives A(k) = int a(r) J_0(k r) k dr; with a = 2 pi r I(r), F = A / k. The r grid is symmetric about r = 1, so
    the k grid is the same one. Exact to 1e-10 for K_MIN < k < K_MAX; the outermost e-folds are not to be used.
    """
    ln_r = (np.arange(_FFTLOG_POINTS) - (_FFTLOG_POINTS - 1) / 2) * _LN_K_STEP
    r = np.exp(ln_r)
    # r^{1/n} overflows at the far end for small n, where the light is zero: cap the exponent
    b = float(b_n(n))
    exponent = b * np.exp(np.minimum(ln_r / n, 40.0))
    ln_norm = 2 * n * np.log(b) - np.log(n) - gammaln(2 * n)
    a = r * np.exp(np.maximum(ln_norm - exponent, -700.0))
    return ln_r, fht(a, _LN_K_STEP, mu=0.0) / r


@functools.lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ln n nodes, ln k nodes, and (4, n, k): F, dF/dln k, dF/dln n, d2F/dln n dln k at the nodes."""
    ln_n = np.linspace(np.log(N_MIN), np.log(N_MAX), _LN_N_NODES)
    transforms = [hankel_transform(float(n)) for n in np.exp(ln_n)]
    ln_k = transforms[0][0]
    first, last = np.searchsorted(ln_k, np.log([K_MIN, K_MAX]))
    inside = slice(first - 1, last + 1)
    f = np.stack([values for _, values in transforms])
    f_k = CubicSpline(ln_k, f, axis=1)(ln_k[inside], 1)
    f = f[:, inside]
    f_n, f_nk = (CubicSpline(ln_n, v, axis=0)(ln_n, 1) for v in (f, f_k))
    return ln_n, ln_k[inside], np.stack([f, f_k, f_n, f_nk])


class SersicTransform:
    """F(n, k) by bicubic (Hermite) interpolation of the table over (ln n, ln k).

    Call it with n (...,) and k (..., m), k in radians per semi-major half-light radius; it returns (..., m). Work is
    done in two steps so that a fit or a rendering pays for the n direction once a galaxy: `rows(n)` gives each galaxy's
    own one-dimensional piecewise cubic in ln k, `evaluate(rows, ln_k)` looks it up. k below K_MIN or above K_MAX takes the
    value at that end; n outside N_MIN..N_MAX raises `InputError`.

    >>> transform = SersicTransform()
    >>> round(float(transform(torch.tensor(1.0), torch.tensor([2.0]))), 4)      # (1 + (2 / 1.678347)^2)^(-3/2)
    0.2656
    """

    def __init__(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        ln_n, ln_k, nodes = _table()
        self.ln_n0, self.d_ln_n, self.n_nodes = float(ln_n[0]), float(ln_n[1] - ln_n[0]), len(ln_n)
        self.ln_k0, self.d_ln_k, self.k_nodes = float(ln_k[0]), float(ln_k[1] - ln_k[0]), len(ln_k)
        f, f_k, f_n, f_nk = nodes
        # power coefficients in the k direction, of F and of dF/dln n (scaled to node units): (2, n, k interval, 4)
        coefficients = np.stack([_cubic(f, f_k * self.d_ln_k), _cubic(f_n, f_nk * self.d_ln_k) * self.d_ln_n])
        self.coefficients = torch.as_tensor(coefficients, dtype=dtype, device=device)

    def rows(self, n: Float[Tensor, " b"]) -> Float[Tensor, "b k 4"]:
        """Each galaxy's cubic in ln k: power coefficients of F(n, .) in every interval of ln k.

        Raises: InputError if an n is outside the table or not a number.
        """
        check_index(n)
        position = (n.to(torch.float64).log() - self.ln_n0) / self.d_ln_n
        node = position.floor().clamp(0, self.n_nodes - 2).long()
        t = (position - node).to(self.coefficients.dtype)[:, None]
        value_0, value_1 = (2 * t - 3) * t * t + 1, (3 - 2 * t) * t * t
        slope_0, slope_1 = ((t - 2) * t + 1) * t, (t - 1) * t * t
        f, f_n = self.coefficients
        flat = f.flatten(1), f_n.flatten(1)
        row = value_0 * flat[0][node]
        row += value_1 * flat[0][node + 1]
        row += slope_0 * flat[1][node]
        row += slope_1 * flat[1][node + 1]
        return row.view(len(n), self.k_nodes - 1, 4)

    def evaluate(
        self, rows: Float[Tensor, "r k 4"], ln_k: Float[Tensor, "b m"], of: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b m"]:
        """The cubics at `ln_k` (natural logarithm of k): row `of[i]` for ln_k[i], by default row i."""
        intervals = rows.shape[1]
        t = ((ln_k - self.ln_k0) * (1 / self.d_ln_k)).clamp_(0, intervals)
        interval = t.to(torch.int32).clamp_(max=intervals - 1)  # int32: half the index traffic of int64
        t -= interval
        of = torch.arange(len(rows), device=rows.device) if of is None else of
        interval += (of.to(torch.int32) * intervals)[:, None]
        c = rows.view(-1, 4).index_select(0, interval.view(-1)).view(*ln_k.shape, 4)
        value = torch.addcmul(c[..., 2], c[..., 3], t)
        value = torch.addcmul(c[..., 1], value, t, out=value)
        return torch.addcmul(c[..., 0], value, t, out=value)

    def __call__(self, n: Float[Tensor, "*b"], k: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """F(n, k), shape of k; k >= 0. Raises: InputError if an n is outside the table."""
        dtype, device = self.coefficients.dtype, self.coefficients.device
        n = torch.as_tensor(n, device=device)
        k = torch.as_tensor(k, dtype=dtype, device=device)
        flat_n = n.expand(k.shape[:-1]).reshape(-1)
        ln_k = k.reshape(len(flat_n), -1).clamp_min(K_MIN).log()
        return self.evaluate(self.rows(flat_n), ln_k).view(k.shape)


def check_index(n: Float[Tensor, ...]) -> None:
    """Raise InputError if any Sersic index is not within the table's range."""
    bad = ~((n >= N_MIN * (1 - 1e-6)) & (n <= N_MAX * (1 + 1e-6)))
    if bool(bad.any()):
        raise InputError(
            f"Sersic indices must lie within {N_MIN}..{N_MAX}, but {float(n[bad].reshape(-1)[0]):g} was given;"
            " change or drop those galaxies."
        )


def _cubic(value: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Hermite data at the nodes of the last axis (slope per node step) -> power coefficients (..., interval, 4)."""
    v0, v1, s0, s1 = value[..., :-1], value[..., 1:], slope[..., :-1], slope[..., 1:]
    return np.stack([v0, s0, 3 * (v1 - v0) - 2 * s0 - s1, 2 * (v0 - v1) + s0 + s1], axis=-1)


@functools.lru_cache(maxsize=8)
def sersic_transform(device: str = "cpu", dtype: torch.dtype = torch.float32) -> SersicTransform:
    """The process's one `SersicTransform` on a device (the table is computed once and shared)."""
    return SersicTransform(device, dtype)
