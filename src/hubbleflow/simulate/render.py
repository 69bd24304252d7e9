r"""Galaxies drawn in Fourier space, many at a time: exact cusps, exact PSF, one inverse FFT a band.

The image of galaxy g in band b, on pixels of side s, is the inverse discrete Fourier transform over one period P of

    T_b(k) sum_c f_cb F(n_c, kappa_c) exp(-i k . x_c),   kappa_c^2 = R_c^2 (k_u^2 + q_c^2 k_v^2),

c its components (bulge, disc, neighbours), F the transform of the Sersic profile (`hubbleflow.sersic`), R the semi-major
half-light radius, q the axis ratio, (k_u, k_v) the frequency along the major and minor axes, T_b the PSF's transfer
function with the pixel's response. Rowe et al. (2015, Astron. Comput. 10, 121) describe the same for GalSim.

Conventions, each with an exact-answer test:
- images are (y, x): rows run along +y, columns along +x; the stamp's centre is (size - 1) / 2 in both, the point that
  flips and quarter turns leave alone;
- position angles are in degrees from +x towards +y; offsets x, y in arcsec from the stamp's centre;
- a pixel's value is the flux inside it, so an image sums to the flux that falls on the stamp.

The only approximations: light that leaves one side of the period comes back at the other. Each galaxy gets the smallest
period of `PERIODS` at which that stays below `WRAPPED` of its peak, and what is left is computed and taken away
(`simulate.wrapped`). And the PSF must be sampled by the pixels (FWHM >= 1.8 px).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch

from hubbleflow.errors import InputError
from hubbleflow.sersic import b_n, check_index, flux_within, sersic_transform, surface_brightness
from hubbleflow.simulate.psf import check_sampling
from hubbleflow.simulate.wrapped import spread, wrapped_nodes

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from hubbleflow.simulate.psf import PSF

PERIODS = (96, 128, 192, 256, 384, 512)  # pixels; products of small primes, for the FFT
WRAPPED = 1e-3  # of the image's peak: where a component is fainter than this its light may wrap, to be subtracted
_WRAPPED_FLUX = 1e-3  # of a component's flux: less than this outside the period is left where it is
_CACHE_PIXELS = 600_000  # band x period x (period / 2 + 1) x galaxies drawn at a time: their spectra stay in the CPU's cache


@dataclass(frozen=True)
class Components:
    """Sersic components of a batch of galaxies; unused slots have zero flux in every band.

    Attributes:
        sersic_index: n, within `sersic.N_MIN .. N_MAX`.
        half_light_radius: semi-major axis of the ellipse that holds half the flux, arcsec, > 0.
        axis_ratio: minor over major, 0 < q <= 1.
        position_angle: of the major axis, degrees from +x (columns) towards +y (rows).
        x, y: offset of the centre from the stamp's centre, arcsec.
        flux: total flux per band, in the survey's unit.

    Raises: InputError if a shape disagrees or a value is outside those ranges.
    """

    sersic_index: Float[Tensor, "b c"]
    half_light_radius: Float[Tensor, "b c"]
    axis_ratio: Float[Tensor, "b c"]
    position_angle: Float[Tensor, "b c"]
    x: Float[Tensor, "b c"]
    y: Float[Tensor, "b c"]
    flux: Float[Tensor, "b c band"]

    def __post_init__(self) -> None:
        for field in fields(self):
            value = torch.as_tensor(getattr(self, field.name))
            object.__setattr__(self, field.name, value)  # accepts numpy too
            if value.shape[:2] != self.sersic_index.shape or value.ndim != (3 if field.name == "flux" else 2):
                raise InputError(
                    f"components need arrays (galaxy, component) and flux (galaxy, component, band), but {field.name}"
                    f" has shape {tuple(value.shape)} beside {tuple(self.sersic_index.shape)}."
                )
            if not bool(torch.isfinite(value).all()):
                raise InputError(f"{field.name} of a component is not a finite number; change or drop those galaxies.")
        check_index(self.sersic_index)
        _check("half-light radii must be positive arcsec", self.half_light_radius, self.half_light_radius > 0)
        _check("axis ratios must lie in (0, 1]", self.axis_ratio, (self.axis_ratio > 0) & (self.axis_ratio <= 1))

    def __len__(self) -> int:
        return len(self.sersic_index)

    def __getitem__(self, rows: slice | Tensor) -> Components:
        """The components of some galaxies (slice, mask or indices)."""
        return Components(*(getattr(self, field.name)[rows] for field in fields(self)))


class Renderer:
    """Draws `Components` as noiseless images.

    Args:
        size: side of the stamp, pixels.
        pixel_scale_arcsec: side of a pixel.
        psf: its PSF per band.
        device: where to draw.

    Example:
        >>> from hubbleflow.simulate.psf import Moffat
        >>> one = torch.ones(1, 1)
        >>> disc = Components(one, 0.8 * one, 0.5 * one, 30 * one, 0 * one, 0 * one, 100 * one[..., None])
        >>> image = Renderer(64, 0.168, Moffat((0.6,)))(disc)
        >>> image.shape, round(float(image.sum()), 1)
        (torch.Size([1, 1, 64, 64]), 99.9)
    """

    def __init__(self, size: int, pixel_scale_arcsec: float, psf: PSF, device: torch.device | str = "cpu") -> None:
        if size < 8:
            raise InputError(f"stamps need at least 8 pixels on a side, but {size} was asked for.")
        if not pixel_scale_arcsec > 0:
            raise InputError(f"the pixel scale must be a positive number of arcsec, but got {pixel_scale_arcsec}.")
        check_sampling(psf, pixel_scale_arcsec)
        self.size, self.pixel_scale_arcsec, self.psf = size, float(pixel_scale_arcsec), psf
        self.device = torch.device(device)
        self.transform = sersic_transform(str(self.device))
        self._grids: dict[int, _Grid] = {}

    def __call__(self, components: Components) -> Float[Tensor, "b band y x"]:
        """Images (galaxy, band, y, x), float32. A galaxy's pixels do not depend on its company in the batch."""
        bands = components.flux.shape[-1]
        if bands != len(self.psf.fwhm_arcsec):
            raise InputError(f"components have fluxes in {bands} band(s) but the PSF has {len(self.psf.fwhm_arcsec)}; give one PSF a band.")
        images = torch.empty(len(components), bands, self.size, self.size, device=self.device)
        periods = self.periods(components)
        for period in sorted(set(periods.tolist())):
            rows = np.flatnonzero(periods == period)
            step = max(1, _CACHE_PIXELS // (bands * period * (period // 2 + 1)))
            for start in range(0, len(rows), step):
                some = torch.as_tensor(rows[start : start + step])
                images[some.to(self.device)] = self._draw(components[some], self._grid(period))
        return images

    def periods(self, components: Components) -> np.ndarray:
        """The period (pixels) each galaxy needs so that what wraps round stays below `WRAPPED` of its peak.

        A component fades to a fraction w of its brightness at r_0 (half the PSF's width, where the cusp is smoothed) at
        r = ((b r_0^{1/n} + ln 1/w) / b)^n; its peak is the lower of the profile at r_0 and that of a point source.
        """
        host = {field.name: getattr(components, field.name).double().cpu().numpy() for field in fields(components)}
        n, radius, q = host["sersic_index"], host["half_light_radius"], host["axis_ratio"]
        fwhm = max(self.psf.fwhm_arcsec)
        flux = np.abs(host["flux"]).max(axis=-1)
        b = b_n(n)
        brightness = flux / (q * radius**2) * surface_brightness(0.5 * fwhm / (radius * np.sqrt(q)), n)
        peak = np.minimum(brightness, flux / (1.13 * fwhm**2)).max(axis=1, keepdims=True)
        central = flux / (q * radius**2) * surface_brightness(0.0, n)
        with np.errstate(divide="ignore"):  # unused slots have no flux
            fade = np.log(central / (WRAPPED * peak))
        reach = radius * (np.maximum(fade, 0.0) / b) ** n + 2 * fwhm
        offset = np.maximum(np.abs(host["x"]), np.abs(host["y"]))
        need = np.where(flux > 0, (offset + reach) / self.pixel_scale_arcsec + self.size / 2, self.size).max(axis=1)
        allowed = np.array([p for p in PERIODS if p >= self.size] or [2 * self.size])
        return allowed[np.minimum(np.searchsorted(allowed, need), len(allowed) - 1)]

    def _grid(self, period: int) -> _Grid:
        if period not in self._grids:
            self._grids[period] = _Grid(period, self.pixel_scale_arcsec, self.psf, self.device)
        return self._grids[period]

    def _draw(self, some: Components, grid: _Grid) -> Float[Tensor, "b band y x"]:
        values = {field.name: getattr(some, field.name).to(self.device, torch.float32) for field in fields(some)}
        used = (some.flux != 0).any(dim=-1).cpu()
        n, radius, q, angle, x, y, flux = (v[used.to(self.device)] for v in values.values())  # galaxy by galaxy
        placed = self._profile(n, radius, q, angle, grid) * _shift(x, y, 0.5 * (self.size - 1) * self.pixel_scale_arcsec, grid)
        spectrum = torch.empty(len(some), flux.shape[-1], *grid.shape, dtype=torch.complex64, device=self.device)
        as_real, placed = torch.view_as_real(spectrum).flatten(2), torch.view_as_real(placed).flatten(1)
        first = 0
        for galaxy, count in enumerate(used.sum(dim=1).tolist()):  # bands are mixed by one small matrix product a galaxy
            own = slice(first, first + count)
            torch.mm(flux[own].T, placed[own], out=as_real[galaxy])
            first += count
        grid.filter(spectrum)
        columns = torch.fft.ifft(spectrum, dim=-1)[..., : self.size]
        images = torch.fft.irfft(columns, n=grid.period, dim=-2)[..., : self.size, :]
        self._unwrap(images, values, used, grid.period)
        return images

    def _unwrap(self, images: Tensor, values: dict[str, Tensor], used: Tensor, period: int) -> None:
        """Take away, in place, the light of the periodic copies of those components that reach beyond the period."""
        n, radius, q, angle, x, y, flux = values.values()
        nearest = (period - 0.5 * self.size) * self.pixel_scale_arcsec - torch.maximum(x.abs(), y.abs())
        within = flux_within((nearest / radius).clamp(min=0).cpu().numpy(), n.cpu().numpy())
        far = used & (torch.as_tensor(within) < 1 - _WRAPPED_FLUX)
        row, slot = (index.to(images.device) for index in far.nonzero(as_tuple=True))
        if len(row) == 0:
            return
        n, radius, q, angle, x, y = (v[row, slot] for v in (n, radius, q, angle, x, y))
        radius, x, y = (v / self.pixel_scale_arcsec for v in (radius, x, y))
        nodes = wrapped_nodes(n, q, torch.deg2rad(angle), radius, x, y, self.size, period)
        for i, galaxy in enumerate(row.tolist()):
            images[galaxy] -= flux[galaxy, slot[i], :, None, None] * spread(nodes[i], self.size)

    def _profile(self, n: Tensor, radius: Tensor, q: Tensor, angle: Tensor, grid: _Grid) -> Float[Tensor, "b ky kx"]:
        """F(n, kappa) of each component on the grid."""
        theta = torch.deg2rad(angle)
        cos, sin, r2, q2 = torch.cos(theta), torch.sin(theta), radius * radius, q * q
        along_x = (r2 * (cos * cos + q2 * sin * sin))[:, None] * (grid.k_x * grid.k_x)
        along_y = (r2 * (sin * sin + q2 * cos * cos))[:, None] * (grid.k_y * grid.k_y)
        kappa2 = along_y[:, :, None] + along_x[:, None, :]
        kappa2 += ((2 * r2 * cos * sin * (1 - q2))[:, None] * grid.k_y)[:, :, None] * grid.k_x
        ln_kappa = kappa2.flatten(1).clamp_(min=1e-12).log_().mul_(0.5)
        different, which = torch.unique(n, return_inverse=True)  # all discs share one row
        return self.transform.evaluate(self.transform.rows(different), ln_kappa, which).view(kappa2.shape)


class _Grid:
    """Frequencies (radians per arcsec) and transfer function of one period."""

    def __init__(self, period: int, pixel_scale_arcsec: float, psf: PSF, device: torch.device) -> None:
        # the half plane k_y >= 0 says all of a real image; this way round, the larger of the two FFTs is along memory
        k_y = 2 * math.pi * np.fft.rfftfreq(period, pixel_scale_arcsec)
        k_x = 2 * math.pi * np.fft.fftfreq(period, pixel_scale_arcsec)
        transfer = psf.transfer(k_y, k_x, pixel_scale_arcsec)
        self.period, self.shape = period, (len(k_y), len(k_x))
        self.k_y = torch.as_tensor(k_y, dtype=torch.float32, device=device)
        self.k_x = torch.as_tensor(k_x, dtype=torch.float32, device=device)
        self.round = not np.iscomplexobj(transfer)
        # a real transfer function is kept twice, beside the real and the imaginary part: half the work of a complex product
        kept = np.repeat(transfer, 2, axis=-1) if self.round else transfer
        self.transfer = torch.as_tensor(kept, dtype=torch.float32 if self.round else torch.complex64, device=device)

    def filter(self, spectrum: Tensor) -> None:
        """Multiply by the transfer function, in place."""
        (torch.view_as_real(spectrum).flatten(-2) if self.round else spectrum).mul_(self.transfer)


def _shift(x: Tensor, y: Tensor, centre: float, grid: _Grid) -> Tensor:
    """exp(-i k . x) that puts each component where it belongs, (b, ky, kx); pixel (0, 0) is at -centre."""
    phase_y, phase_x = -(y + centre)[:, None] * grid.k_y, -(x + centre)[:, None] * grid.k_x
    along_y, along_x = (torch.polar(torch.ones_like(phase), phase) for phase in (phase_y, phase_x))
    # the Nyquist frequency stands for +k and -k at once: their mean is real (along y, irfft sees to it)
    along_x[:, grid.period // 2] = along_x[:, grid.period // 2].real.to(along_x.dtype)
    return along_y[:, :, None] * along_x[:, None, :]


def _check(sentence: str, values: Tensor, good: Tensor) -> None:
    if not bool(good.all()):
        raise InputError(f"{sentence}, but {float(values[~good].reshape(-1)[0]):g} was given.")
