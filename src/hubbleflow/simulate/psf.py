r"""Point-spread functions as transfer functions: what a telescope does to each spatial frequency.

Moffat (1969, A&A 3, 455):  I(r) ~ (1 + r^2 / r_d^2)^{-beta},  FWHM = 2 r_d sqrt(2^{1/beta} - 1), with the transform

    T(k) = 2^{2 - beta} / Gamma(beta - 1)  (k r_d)^{beta - 1} K_{beta - 1}(k r_d),

K being the modified Bessel function (Trujillo et al. 2001, MNRAS 321, 269). This is the light before the detector; a square pixel then
multiplies by sinc(k_x s / 2 pi) sinc(k_y s / 2 pi), s its side. A PSF *image* cut from a coadd is made of pixels already (an
"effective" PSF), so it gets no second pixel.

Every PSF offers `fwhm_arcsec`, `even` and `transfer(k_y, k_x, pixel_scale_arcsec)`, of unit response at k = 0 (a little less where an image
says that light falls beyond it).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import gammaln, kve

from hubbleflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Complex, Float

BETA = 2.5  # of a Moffat profile where nothing better is known: within what HSC's PSFs have (`seeing`)
_BETA_MAX = 50  # nearly a Gaussian; beyond it the Bessel function overflows
_LN_U, _INTERVALS = (math.log(1e-4), math.log(80.0)), 1024  # of Moffat's table: 1 - T < 1e-4 and T < 1e-11 at its ends if beta >= 1.5
_LEAST_ENCLOSED = 0.9  # of the light: measure.sersic_model's number, whose layer is not to be imported here; a test compares them
LEAST_FWHM_PIXELS = 1.8  # narrower seeing is not sampled by the pixels: Fourier rendering would fold it


class PSF(Protocol):
    """What the renderer asks of a point-spread function."""

    @property
    def fwhm_arcsec(self) -> tuple[float, ...]:
        """FWHM per band, arcsec (pixel not included where the PSF is analytic)."""
        ...

    @property
    def even(self) -> bool:
        """Whether the transfer function is real and the same at k_x and -k_x, so that half of it says all."""
        ...

    def transfer(
        self, k_y: Float[np.ndarray, " ky"], k_x: Float[np.ndarray, " kx"], pixel_scale_arcsec: float
    ) -> Float[np.ndarray, "band ky kx"] | Complex[np.ndarray, "band ky kx"]:
        """Transfer function at frequencies in radians per arcsec, pixel response included."""
        ...


@dataclass(frozen=True)
class Moffat:
    """A round Moffat PSF per band; `beta` is one number, or one a band.

    T is a function of u = k r_d alone, so it is tabulated once a beta and looked up: a survey of many pointings, each
    with seeing of its own, pays for no Bessel function twice.

    Raises: InputError unless every FWHM is positive and every beta > 1 (its flux would be infinite).
    """

    fwhm_arcsec: tuple[float, ...]
    beta: float | tuple[float, ...] = BETA

    def __post_init__(self) -> None:
        if not all(np.isfinite(f) and f > 0 for f in self.fwhm_arcsec):
            raise InputError(f"a PSF's FWHM must be a positive number of arcsec in every band, but got {self.fwhm_arcsec}.")
        if len(self.betas) != len(self.fwhm_arcsec):
            raise InputError(f"a Moffat PSF of {len(self.fwhm_arcsec)} band(s) needs one beta, or one a band, but got {len(self.betas)}.")
        for beta in self.betas:
            if not 1 < beta <= _BETA_MAX:
                raise InputError(f"a Moffat PSF needs beta > 1 for a finite flux, and at most {_BETA_MAX}, but got {beta:g}.")

    @property
    def betas(self) -> tuple[float, ...]:
        """The exponent beta of each band."""
        return (float(self.beta),) * len(self.fwhm_arcsec) if isinstance(self.beta, int | float) else tuple(self.beta)

    @property
    def even(self) -> bool:
        """True: the PSF is round."""
        return True

    def transfer(self, k_y: np.ndarray, k_x: np.ndarray, pixel_scale_arcsec: float) -> np.ndarray:
        """See `PSF.transfer`; real, because the PSF is round."""

        k2 = k_y[:, None] ** 2 + k_x**2
        ln_k = 0.5 * np.log(np.maximum(k2, 1e-30))
        transfer = np.empty((len(self.fwhm_arcsec), *k2.shape), np.float32)
        for out, fwhm, beta in zip(transfer, self.fwhm_arcsec, self.betas, strict=True):
            r_d = fwhm / (2 * math.sqrt(2 ** (1 / beta) - 1))
            out[:] = _interpolated(_moffat_table(beta), ln_k + math.log(r_d))
        transfer[:, k2 == 0] = 1.0
        transfer *= _pixel_response(k_y, k_x, pixel_scale_arcsec)
        return transfer


@dataclass(frozen=True)
class PSFImage:
    """Effective PSF images (band, y, x), pixels included, centred on the middle of the image.

    Their sum is read as the fit reads it (`measure.sersic_model`): a little less than 1, the rest of the light falls beyond the image;
    any other sum is a matter of units, and is made 1.

    Raises: InputError if an image is not finite or has no light, or is used with pixels of another size.
    """

    images: Float[np.ndarray, "band y x"]
    pixel_scale_arcsec: float

    def __post_init__(self) -> None:
        shape = np.shape(self.images)
        if len(shape) != 3 or not np.isfinite(self.images).all() or (self.images.sum(axis=(1, 2)) <= 0).any():
            raise InputError(
                f"PSF images must be finite, of shape (band, y, x) and of positive sum, but got shape {shape}; give one stamp a band."
            )

    @property
    def fwhm_arcsec(self) -> tuple[float, ...]:
        """Diameter of the circle that has the area above half of the peak."""
        half = (self.images > 0.5 * self.images.max(axis=(1, 2), keepdims=True)).sum(axis=(1, 2))
        return tuple(float(2 * np.sqrt(area / np.pi) * self.pixel_scale_arcsec) for area in half)

    @property
    def even(self) -> bool:
        """False: a coadd's PSF has any shape."""
        return False

    def transfer(self, k_y: np.ndarray, k_x: np.ndarray, pixel_scale_arcsec: float) -> np.ndarray:
        """See `PSF.transfer`; complex. The sum over pixels is written out, so any size and centre are exact."""
        if not np.isclose(pixel_scale_arcsec, self.pixel_scale_arcsec):
            raise InputError(
                f'the PSF image has pixels of {self.pixel_scale_arcsec:g}" but {pixel_scale_arcsec:g}" are to be drawn;'
                " resample it or give an analytic PSF."
            )
        _, height, width = self.images.shape
        y = (np.arange(height) - (height - 1) / 2) * pixel_scale_arcsec
        x = (np.arange(width) - (width - 1) / 2) * pixel_scale_arcsec
        total = self.images.sum(axis=(1, 2), keepdims=True, dtype=float)
        unit = self.images / np.where((total > _LEAST_ENCLOSED) & (total < 1), 1.0, total)
        return np.exp(-1j * np.outer(k_y, y)) @ unit @ np.exp(-1j * np.outer(x, k_x))


def check_sampling(psf: PSF, pixel_scale_arcsec: float) -> None:
    """Raise InputError if the seeing is too sharp for these pixels (FWHM below 1.8 pixels), which would alias."""
    sharpest = min(psf.fwhm_arcsec)
    if not isinstance(psf, PSFImage) and sharpest < LEAST_FWHM_PIXELS * pixel_scale_arcsec:
        raise InputError(
            f'a PSF of FWHM {sharpest:g}" is not sampled by pixels of {pixel_scale_arcsec:g}";'
            f' use a FWHM of at least {LEAST_FWHM_PIXELS * pixel_scale_arcsec:.2f}".'
        )


@functools.lru_cache(maxsize=256)
def _moffat_table(beta: float) -> Float[np.ndarray, "interval 4"]:
    """T of a Moffat profile as a cubic in each interval of ln u, u = k r_d."""
    order = beta - 1
    ln_u = np.linspace(*_LN_U, _INTERVALS + 1)
    u = np.exp(ln_u)
    # kve = exp(u) K(u): kept in the logarithm, K underflows where it does not matter and u^order never overflows
    transfer = np.exp((1 - order) * math.log(2) - gammaln(order) + order * ln_u + np.log(kve(order, u)) - u)
    return np.ascontiguousarray(CubicSpline(np.arange(_INTERVALS + 1), transfer).c[::-1].T)


def _interpolated(table: Float[np.ndarray, "interval 4"], ln_u: Float[np.ndarray, "ky kx"]) -> Float[np.ndarray, "ky kx"]:
    """The cubics of `_moffat_table` at ln u; a CubicSpline would search for the intervals, which here are equal."""
    position = np.clip((ln_u - _LN_U[0]) * (_INTERVALS / (_LN_U[1] - _LN_U[0])), 0, _INTERVALS)
    interval = np.minimum(position.astype(np.intp), _INTERVALS - 1)
    t = position - interval
    c = table.take(interval, axis=0)
    return ((c[..., 3] * t + c[..., 2]) * t + c[..., 1]) * t + c[..., 0]


def _pixel_response(k_y: np.ndarray, k_x: np.ndarray, pixel_scale_arcsec: float) -> np.ndarray:
    turns = pixel_scale_arcsec / (2 * np.pi)  # np.sinc(t) = sin(pi t) / (pi t)
    return np.sinc(k_y * turns)[:, None] * np.sinc(k_x * turns)[None, :]
