r"""Galaxies drawn in Fourier space, many at a time: exact cusps, exact PSF, one inverse FFT a band.

The image of galaxy g in band b, on pixels of side s, is the inverse discrete Fourier transform over one period P of

    T_b(k) [ sum_c f_cb F(n_c, kappa_c) exp(-i k . x_c) + sum_j g_jb B_j(k) ],   kappa_c^2 = R_c^2 (k_u^2 + q_c^2 k_v^2),

c its components (bulge, disc, bar, neighbours), F the transform of the Sersic profile (`hubbleflow.sersic`), R the semi-major
half-light radius, q the axis ratio, (k_u, k_v) the frequency along the major and minor axes, B_j the transform of a family of
blobs (`simulate.blobs`: knots, arms, tails), T_b the PSF's transfer function with the pixel's response. Fluxes may be negative:
a dust lane takes light away. Rowe et al. (2015, Astron. Comput. 10, 121) describe the same for GalSim.

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
from hubbleflow.simulate.blobs import Blobs, blob_spectra, part_of
from hubbleflow.simulate.psf import check_sampling
from hubbleflow.simulate.wrapped import radius_of_all_but, spread, wrapped_nodes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Complex, Float
    from torch import Tensor

    from hubbleflow.simulate.psf import PSF

PERIODS = (96, 128, 192, 256, 384, 512)  # pixels; products of small primes, for the FFT
WRAPPED = 4e-4  # of the image's peak: where a component is fainter than this its light may wrap, to be subtracted
_WRAPPED_FLUX = 1e-3  # of a component's flux: less than this outside the period is left where it is
_TOGETHER = 16  # components of a galaxy transformed at a time: hundreds of neighbours on a wide stamp need no more memory than these
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
        return part_of(self, rows)


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
        self.half_arcsec = 0.5 * size * self.pixel_scale_arcsec
        self._corner = 0.5 * (size - 1) * self.pixel_scale_arcsec  # pixel (0, 0) is this far from the stamp's centre
        self.device = torch.device(device)
        self.transform = sersic_transform(str(self.device))
        self._grids: dict[int, _Grid] = {}

    def __call__(self, components: Components, blobs: Sequence[Blobs] = ()) -> Float[Tensor, "b band y x"]:
        """Images (galaxy, band, y, x), float32, of components and blobs (one `Blobs` a colour family) of the same galaxies.

        A galaxy's pixels do not depend on its company in the batch.
        """
        bands = components.flux.shape[-1]
        for what, flux in (("components", components.flux), *(("blobs", family.flux) for family in blobs)):
            if flux.shape[-1] != len(self.psf.fwhm_arcsec):
                have, need = flux.shape[-1], len(self.psf.fwhm_arcsec)
                raise InputError(f"{what} have fluxes in {have} band(s) but the PSF has {need}; give one PSF a band.")
            if len(flux) != len(components):
                raise InputError(f"blobs of {len(flux)} galaxies were given with components of {len(components)}; give as many of both.")
        images = torch.empty(len(components), bands, self.size, self.size, device=self.device)
        periods = self.periods(components, blobs)
        for period in sorted(set(periods.tolist())):
            rows = np.flatnonzero(periods == period)
            step = max(1, _CACHE_PIXELS // (bands * period * (period // 2 + 1)))
            for start in range(0, len(rows), step):
                some = torch.as_tensor(rows[start : start + step])
                images[some.to(self.device)] = self._draw(components[some], [family[some] for family in blobs], self._grid(period))
        self._unwrap(images, components, periods)
        return images

    def periods(self, components: Components, blobs: Sequence[Blobs] = ()) -> np.ndarray:
        """The period (pixels) each galaxy needs so that what wraps round stays below `WRAPPED` of its peak.

        A component of central brightness I_0 fades to w of the galaxy's peak at r = (ln(I_0 / (w peak)) / b)^n half-light radii;
        the peak is that of the light within half the PSF's width, seen as a point source, of the brightest component. A blob
        that reaches the stamp must not reach it again from the other side.
        """
        host = {field.name: getattr(components, field.name).double().cpu().numpy() for field in fields(components)}
        flux = np.abs(host.pop("flux")).max(axis=-1, initial=0.0)
        galaxy, slot = np.nonzero(flux)
        n, radius, q, _, x, y = (value[galaxy, slot] for value in host.values())
        flux, fwhm = flux[galaxy, slot], max(self.psf.fwhm_arcsec)
        area = q * radius**2
        within_seeing = flux_within(0.5 * fwhm / (radius * np.sqrt(q)), n)
        peak = np.zeros(len(components))
        np.maximum.at(peak, galaxy, flux * within_seeing / (1.13 * fwhm**2))
        with np.errstate(divide="ignore"):  # a point's brightness away from its centre is zero
            fade = np.log(flux / area * surface_brightness(0.0, n) / (WRAPPED * peak[galaxy]))
        reach = radius * (np.maximum(fade, 0.0) / b_n(n)) ** n + 2 * fwhm
        need = np.full(len(components), self.half_arcsec * 2)
        np.maximum.at(need, galaxy, np.maximum(np.abs(x), np.abs(y)) + reach + self.half_arcsec)
        for family in blobs:
            need = np.maximum(need, family.period_arcsec(self.half_arcsec, fwhm).cpu().numpy())
        allowed = [period for period in PERIODS if period >= self.size]
        if not allowed or allowed[-1] < 1.5 * self.size:  # large stamps need room beside them too
            allowed.append(2 * self.size)
        return np.array(allowed)[np.minimum(np.searchsorted(allowed, need / self.pixel_scale_arcsec), len(allowed) - 1)]

    def _grid(self, period: int) -> _Grid:
        if period not in self._grids:
            self._grids[period] = _Grid(period, self.pixel_scale_arcsec, self.psf, self.device)
        return self._grids[period]

    def _draw(self, some: Components, blobs: list[Blobs], grid: _Grid) -> Float[Tensor, "b band y x"]:
        used = (some.flux != 0).any(dim=-1)
        portion = (used.cumsum(dim=1) - 1) // _TOGETHER  # by a galaxy's own components alone, so that its company changes no bit
        spectrum = torch.empty(len(some), some.flux.shape[-1], 2 * math.prod(grid.shape), device=self.device)
        for number in range(max(1, math.ceil(int(used.sum(dim=1).max()) / _TOGETHER))):
            here = used & (portion == number)
            values = (getattr(some, field.name)[here].to(self.device, torch.float32) for field in fields(some))  # galaxy by galaxy
            n, radius, q, angle, x, y, flux = values
            placed = self._place(self._profile(n, radius, q, angle, grid), x, y, grid)
            self._mix(spectrum, placed, flux, here.sum(dim=1).tolist(), first=number == 0)
        for family in blobs:
            self._add_blobs(spectrum, family, grid)
        return self._to_pixels(self._filter(spectrum.view(*spectrum.shape[:2], *grid.shape, 2), grid), grid)

    def _place(self, profile: Tensor, x: Tensor, y: Tensor, grid: _Grid) -> Float[Tensor, "c kykx2"]:
        """Move each component to its place; spectra lie flat, real beside imaginary part."""
        return torch.view_as_real(profile * _shift(x, y, self._corner, grid)).flatten(1)

    def _mix(self, spectrum: Float[Tensor, "b band kykx2"], placed: Tensor, flux: Tensor, counts: list[int], first: bool) -> None:
        """A galaxy's bands from its `first` components, or more of them added, in place: one small matrix product."""
        for out, light, own in zip(spectrum, flux.split(counts), placed.split(counts), strict=True):
            if first:
                torch.mm(light.T, own, out=out)
            elif len(own):
                out.addmm_(light.T, own)

    def _add_blobs(self, spectrum: Float[Tensor, "b band kykx2"], family: Blobs, grid: _Grid) -> None:
        """Add a family's light, in place."""
        drawn = family.held(grid.period * self.pixel_scale_arcsec, self.half_arcsec, max(self.psf.fwhm_arcsec))
        own = torch.view_as_real(blob_spectra(family, drawn, self._corner, grid.k_y)).flatten(1)
        flux = family.flux.to(self.device, torch.float32)
        for galaxy, blobs in zip(drawn.any(dim=1).nonzero()[:, 0].tolist(), own, strict=True):
            torch.addr(spectrum[galaxy], flux[galaxy], blobs, out=spectrum[galaxy])

    def _filter(self, spectrum: Float[Tensor, "b band ky kx 2"], grid: _Grid) -> Complex[Tensor, "b band ky kx"]:
        """Multiply by the transfer function, in place."""
        if grid.real:
            spectrum.flatten(-2).mul_(grid.transfer)
            return torch.view_as_complex(spectrum)
        return torch.view_as_complex(spectrum).mul_(grid.transfer)

    def _to_pixels(self, spectrum: Complex[Tensor, "b band ky kx"], grid: _Grid) -> Float[Tensor, "b band y x"]:
        columns = torch.fft.ifft(spectrum, dim=-1)[..., : self.size]
        return torch.fft.irfft(columns, n=grid.period, dim=-2)[..., : self.size, :]

    def _unwrap(self, images: Tensor, components: Components, periods: np.ndarray) -> None:
        """Take away, in place, the light of the periodic copies of those components that reach beyond the period."""
        host = {field.name: getattr(components, field.name).cpu().numpy() for field in fields(components)}
        nearest = (periods - 0.5 * self.size)[:, None] * self.pixel_scale_arcsec - np.maximum(np.abs(host["x"]), np.abs(host["y"]))
        reach = host["half_light_radius"] * radius_of_all_but(_WRAPPED_FLUX, host["sersic_index"])
        galaxy, slot = np.nonzero((reach > nearest) & (host["flux"] != 0).any(axis=-1))
        if len(galaxy) == 0:
            return
        own = {name: torch.as_tensor(value[galaxy, slot], dtype=torch.float32, device=self.device) for name, value in host.items()}
        radius, x, y = (own[name] / self.pixel_scale_arcsec for name in ("half_light_radius", "x", "y"))
        period = torch.as_tensor(periods[galaxy], dtype=torch.float32, device=self.device)
        angle = torch.deg2rad(own["position_angle"])
        nodes = wrapped_nodes(own["sersic_index"], own["axis_ratio"], angle, radius, x, y, self.size, period)
        different, which = np.unique(galaxy, return_inverse=True)
        light = torch.zeros(len(different), *own["flux"].shape[1:], *nodes.shape[1:], device=self.device)
        light.index_add_(0, torch.as_tensor(which, device=self.device), own["flux"][:, :, None, None] * nodes[:, None])
        for row, at_nodes in zip(different.tolist(), light, strict=True):
            images[row].sub_(spread(at_nodes, self.size))

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
        self.period, self.shape = period, (len(k_y), len(k_x))
        self.k_y = torch.as_tensor(k_y, dtype=torch.float32, device=device)
        self.k_x = torch.as_tensor(k_x, dtype=torch.float32, device=device)
        self.real = psf.even
        if psf.even:  # kept twice, beside the real and the imaginary part of a spectrum: half the work of a complex product
            index = np.minimum(np.arange(period), period - np.arange(period)).repeat(2)
            transfer = psf.transfer(k_y, k_y, pixel_scale_arcsec).take(index, axis=-1)
        else:
            transfer = psf.transfer(k_y, k_x, pixel_scale_arcsec)
        self.transfer = torch.as_tensor(transfer, dtype=torch.float32 if psf.even else torch.complex64, device=device)


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
