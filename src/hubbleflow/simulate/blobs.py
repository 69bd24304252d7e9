r"""Knots, arms and tails: hundreds of small round Gaussians a galaxy, for the price of one matrix product.

A round Gaussian is separable, so the transform of a galaxy's blobs is a product of two real matrices per galaxy,

    sum_k w_k exp(-sigma_k^2 (k_x^2 + k_y^2) / 2) exp(-i (k_x x_k + k_y y_k)) = sum_k w_k (c_k - i s_k)(k_y) (c_k - i s_k)(k_x),
    c_k(k) = exp(-sigma_k^2 k^2 / 2) cos(k x_k),     s_k(k) = exp(-sigma_k^2 k^2 / 2) sin(k x_k):

sum_k w_k [c_k, s_k](k_y)^T [c_k, s_k](k_x) over frequencies >= 0 holds the four real sums of which the transform at +k_x and at -k_x is
made. Nothing is approximated, and a blob costs no more than its sines and cosines.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeVar

import torch

from hubbleflow.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from jaxtyping import Bool, Complex, Float
    from torch import Tensor

Batch = TypeVar("Batch", bound="DataclassInstance")

_REACH_SIGMA = 3.5  # a blob ends where it has faded to 2e-3 of its centre ...
_REACH_FWHM = 2.0  # ... and the PSF's wing to 1e-2
_CACHE_SLOTS = 1024  # blobs whose waves are computed at a time: they stay in the CPU's cache
_SLOTS = 16  # each galaxy's blobs fill up a multiple of these: its rows start at the same place of a cache line in any batch


@dataclass(frozen=True)
class Blobs:
    """Round Gaussians of one colour family (young knots, say, or an old tidal tail) of a batch of galaxies.

    Blob k of galaxy g has flux `weight[g, k] * flux[g, band]`.

    Attributes:
        x, y: offset of the centre from the stamp's centre, arcsec.
        sigma: standard deviation along any direction, arcsec, >= 0 (0 is a point).
        weight: share of `flux`, >= 0; unused slots have zero.
        flux: per band, in the survey's unit; negative where light is taken away (dust).

    Raises: InputError if a shape disagrees or a value is outside those ranges.

    Example:
        >>> one = torch.ones(1, 1)
        >>> knot = Blobs(x=0.5 * one, y=0 * one, sigma=0.1 * one, weight=one, flux=torch.tensor([[2.0, 1.0]]))
        >>> len(knot), knot[:0].weight.shape
        (1, torch.Size([0, 1]))
    """

    x: Float[Tensor, "b k"]
    y: Float[Tensor, "b k"]
    sigma: Float[Tensor, "b k"]
    weight: Float[Tensor, "b k"]
    flux: Float[Tensor, "b band"]

    def __post_init__(self) -> None:
        for field in fields(self):
            value = torch.as_tensor(getattr(self, field.name))
            object.__setattr__(self, field.name, value)  # accepts numpy too
            good = value.ndim == 2 and (len(value) == len(self.x) if field.name == "flux" else value.shape == self.x.shape)
            if not good:
                raise InputError(
                    f"blobs need arrays (galaxy, blob) and flux (galaxy, band), but {field.name}"
                    f" has shape {tuple(value.shape)} beside {tuple(self.x.shape)}."
                )
            if not bool(torch.isfinite(value).all()):
                raise InputError(f"{field.name} of a blob is not a finite number; change or drop those galaxies.")
        for name, unit in (("sigma", " arcsec"), ("weight", "")):
            least = float(getattr(self, name).min()) if self.x.numel() else 0.0
            if least < 0:
                raise InputError(f"a blob's {name} must be zero or positive, but {least:g}{unit} was given.")

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: slice | Tensor) -> Blobs:
        """The blobs of some galaxies (slice, mask or indices)."""
        return part_of(self, rows)

    @property
    def lit(self) -> Bool[Tensor, "b k"]:
        """Which blobs have light at all."""
        return (self.weight != 0) & (self.flux != 0).any(dim=1, keepdim=True)

    def reach_arcsec(self, fwhm_arcsec: float) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k"]]:
        """Distance of each blob's centre from the stamp's, along the farther axis, and how far its light reaches from there."""
        return torch.maximum(self.x.abs(), self.y.abs()), _REACH_SIGMA * self.sigma + _REACH_FWHM * fwhm_arcsec

    def period_arcsec(self, half_stamp_arcsec: float, fwhm_arcsec: float) -> Float[Tensor, " b"]:
        """The period at which no blob that reaches the stamp comes back on its other side; 0 without blobs."""
        distance, reach = self.reach_arcsec(fwhm_arcsec)
        seen = self.lit & (distance - reach < half_stamp_arcsec)
        need = torch.where(seen, distance + reach + half_stamp_arcsec, 0.0)
        return need.amax(dim=1) if need.shape[1] else need.new_zeros(len(need))

    def held(self, period_arcsec: float, half_stamp_arcsec: float, fwhm_arcsec: float) -> Bool[Tensor, "b k"]:
        """Which blobs to draw: those with light that are nearer to the stamp than their periodic copies' light is."""
        distance, reach = self.reach_arcsec(fwhm_arcsec)
        return self.lit & (distance <= (period_arcsec - half_stamp_arcsec - reach).clamp(min=0.5 * period_arcsec))


def part_of(whole: Batch, rows: slice | Tensor) -> Batch:
    """Some galaxies of a batch of components or blobs; what was checked as a whole is not checked again."""
    part = object.__new__(type(whole))
    for field in fields(whole):
        object.__setattr__(part, field.name, getattr(whole, field.name)[rows])
    return part


def blob_spectra(blobs: Blobs, drawn: Bool[Tensor, "b k"], corner_arcsec: float, k: Float[Tensor, " m"]) -> Complex[Tensor, "g ky kx"]:
    """Transform of the `drawn` blobs of each galaxy that has any, per unit of `flux`.

    Args:
        blobs: of the galaxies; moved to the device of `k`.
        drawn: which of them.
        corner_arcsec: distance of pixel (0, 0) from the stamp's centre along either axis.
        k: the frequencies 0 .. Nyquist, radians per arcsec: the rows; the columns are these and the negative ones, in FFT order.
    """
    flat, slots = _packed(blobs, drawn)
    m = len(k)
    sums = torch.empty(len(slots), 2 * m, 2 * m, device=k.device)
    step = max(1, _CACHE_SLOTS // max(slots, default=1)) if k.device.type == "cpu" else len(slots)
    first = 0
    for start in range(0, len(slots), step):
        own = slots[start : start + step]
        x, y, sigma, weight = flat[:, first : first + sum(own)].to(k.device)
        first += sum(own)
        fade = torch.exp((sigma * k).square_().mul_(-0.5))
        of_x, of_y = _waves(x + corner_arcsec, fade, k), _waves(y + corner_arcsec, fade.mul_(weight), k)
        for out, wave_y, wave_x in zip(sums[start : start + step], of_y.split(own), of_x.split(own), strict=True):
            torch.mm(wave_y.T, wave_x, out=out)
    return _assembled(sums, m)


def _packed(blobs: Blobs, drawn: Bool[Tensor, "b k"]) -> tuple[Float[Tensor, "4 slot 1"], list[int]]:
    """x, y, sigma, weight of the drawn blobs, galaxy after galaxy, and how many slots each of those that have any takes."""
    row, slot = drawn.nonzero(as_tuple=True)
    count = drawn.sum(dim=1)
    slots = (count + _SLOTS - 1) // _SLOTS * _SLOTS
    place = torch.arange(len(row), device=row.device) + ((slots.cumsum(0) - slots) - (count.cumsum(0) - count))[row]
    flat = torch.zeros(4, int(slots.sum()), 1, device=row.device)
    for values, field in zip(flat, (blobs.x, blobs.y, blobs.sigma, blobs.weight), strict=True):
        values[place, 0] = field[row, slot].to(torch.float32)
    return flat, [number for number in slots.tolist() if number]


def _waves(place: Float[Tensor, "slot 1"], fade: Float[Tensor, "slot m"], k: Float[Tensor, " m"]) -> Float[Tensor, "slot 2m"]:
    """[c, s] of each blob."""
    phase = place * k
    return torch.cat([torch.cos(phase).mul_(fade), phase.sin_().mul_(fade)], dim=1)


def _assembled(sums: Float[Tensor, "g 2m 2m"], m: int) -> Complex[Tensor, "g ky kx"]:
    """(c - i s)(k_y) (c - i s)(k_x) at k_x >= 0, and its like with +i s(k_x) at k_x < 0."""
    (cc, cs), (sc, ss) = ((block[..., :m], block[..., m:]) for block in (sums[:, :m], sums[:, m:]))
    spectra = torch.empty(len(sums), m, 2 * (m - 1), 2, device=sums.device)
    real, imaginary = spectra.unbind(dim=-1)
    torch.sub(cc, ss, out=real[..., :m])
    torch.add(cs, sc, out=imaginary[..., :m]).neg_()
    inside = slice(1, m - 1)
    real[..., m:] = (cc[..., inside] + ss[..., inside]).flip(-1)
    imaginary[..., m:] = (cs[..., inside] - sc[..., inside]).flip(-1)
    real[..., m - 1], imaginary[..., m - 1] = cc[..., -1], -sc[..., -1]  # Nyquist is +k and -k at once: their mean
    return torch.view_as_complex(spectra)
