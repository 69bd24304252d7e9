r"""A PSF-convolved Sersic profile fitted to every galaxy, many at a time.

A stamp d with inverse variances w is modelled as f M(theta) + s: flux f, sky s, and M the unit-flux image of structure theta = (x, y, ln a,
h_1, h_2, ln n) of `measure.sersic_model`. What is minimised is

    chi^2 = sum_pixels w (d - f M(theta) - s)^2  [ + (s / sigma_sky)^2 where something is known about the sky beforehand ],

f and s exactly for each theta (two linear equations), theta by the batched Levenberg-Marquardt of `measure.levenberg` with analytic
derivatives. Pixels that are masked, not finite or of no weight have w = 0.

Errors are those of the curvature, (J^T W J)^{-1} for (theta, f, s) (`measure.sersic_result`). They are right where w is: noise that is
correlated between pixels (resampled coadds) makes the true errors larger. The model is exact to 2e-4 of its peak for R_e < S/5 and to 1e-3
at R_e = 0.45 S, S the stamp's side. A radius beyond S/2 and the sky are nearly one parameter: `sky_sigma` says what is known of the latter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hubbleflow.errors import InputError
from hubbleflow.measure.levenberg import Bounds, Minimum, Quadratic, minimise
from hubbleflow.measure.sersic_flags import NO_VALUES, SersicFlag
from hubbleflow.measure.sersic_model import PARAMETERS, SersicModel, keep_freed_memory
from hubbleflow.measure.sersic_others import Others
from hubbleflow.measure.sersic_recipe import FitRecipe
from hubbleflow.measure.sersic_result import VALUES, SersicFit, fill_values, quality
from hubbleflow.measure.sersic_stamps import Stamps, StampSource
from hubbleflow.measure.sersic_start import Start, start_values
from hubbleflow.sersic import N_MAX, N_MIN

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from numpy.typing import ArrayLike
    from torch import Tensor

_LONGEST_STEP = (1.5, 1.5, 0.7, 0.6, 0.6, 0.6)  # of theta in one iteration
_BLOCK = 256  # galaxies looked at together before and after the fit


def fit_sersic(
    images: Float[np.ndarray, "n y x"],
    ivar: ArrayLike,
    psf: Float[np.ndarray, "... y x"],
    mask: Int[np.ndarray, "n y x"] | None = None,
    start: Start | SersicFit | None = None,
    recipe: FitRecipe | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    others: Others | None = None,
) -> SersicFit:
    """Fit flux, centre, half-light radius, axis ratio, position angle, Sersic index and sky of one band.

    A galaxy's result depends on the others' company by float32's rounding only, and no galaxy raises: it is flagged.

    Args:
        images: square stamps of one size, any unit.
        ivar: inverse variance: one number, one a galaxy (n,) or one a pixel (n, y, x); zero is unusable.
        psf: effective PSF image (pixel included), centred on the middle of its image and sampled by its pixels: one for all (y, x) or
            one a galaxy (n, y, x).
        mask: non-zero = do not use; neighbours belong in it.
        start: first guesses, or what another fit ended at; None takes adaptive moments (`start_values`).
        recipe: limits and tolerances.
        others: models of other objects, to be taken away.

    Raises:
        InputError: shapes disagree.

    Example:
        >>> y, x = np.mgrid[:64, :64] - 31.5
        >>> psf = np.exp(-(x**2 + y**2) / 4)
        >>> galaxy = 100 * np.exp(-(x**2 + y**2) / 40) / (40 * np.pi)                   # n = 0.5, after that PSF
        >>> fit = fit_sersic(galaxy[None], 1e6, psf)
        >>> [round(float(v[0]), 2) for v in (fit.flux, fit.sersic_index, fit.radius)]  # R_e = sqrt(36 ln 2)
        [100.0, 0.5, 5.0]
    """
    recipe = recipe or FitRecipe()
    keep_freed_memory()
    source = StampSource(images, ivar, psf, mask, recipe.sky_sigma)
    model = SersicModel(source.size, device, dtype)
    fit, begin = SersicFit.empty(source.n), np.zeros((source.n, PARAMETERS))
    for rows in _blocks(source.n):
        usable = source.usable(rows)
        fit.dof[rows] = usable.sum(axis=(1, 2)) - len(VALUES)
        fit.flag[rows] = np.where(fit.dof[rows] < 1, SersicFlag.EMPTY, 0) | np.where(source.psf_usable(rows), 0, SersicFlag.NO_PSF)
        begin[rows] = theta_of(start_values(images[rows], source.psf_of(rows), usable) if start is None else start[rows], source.size)
    fitted = np.flatnonzero((fit.flag & int(NO_VALUES)) == 0)
    theta = torch.as_tensor(begin[fitted], device=model.device)
    bounds = _bounds(theta, source.size, recipe)
    minimum = minimise(
        theta,
        bounds,
        torch.as_tensor(fit.dof[fitted], dtype=torch.float64, device=model.device),
        _loader(source, model, fitted, others),
        lambda at, stamps: _quadratic(model, at, stamps),
        len(VALUES) - PARAMETERS,
        torch.tensor(_LONGEST_STEP, dtype=torch.float64, device=model.device),
        recipe.tolerance,
        recipe.max_iterations,
        recipe.batch or (32 if model.device.type == "cpu" else 2048),
    )
    at_bound = bounds.touched(minimum.theta).any(dim=1)
    for part in _blocks(len(fitted)):
        some = fitted[part]
        _take(fit, some, minimum[part], at_bound[part], source.unit(some))
        moved = np.hypot(fit.x[some] - begin[some, 0], fit.y[some] - begin[some, 1])
        quality(fit, some, source.usable(some), moved, recipe.centre_tolerance_px, recipe.low_snr)
    return fit


@dataclass(frozen=True)
class BandFluxes:
    """Fluxes of one structure in several bands; NaN where there is no number.

    Attributes:
        flux, sky: and their errors, with the structure held: those of the structure are not in them.
        chi2, dof: of each band.
        flag: EMPTY, NO_PSF of that band, and all the flags of the structure.
    """

    flux: Float[np.ndarray, "n band"]
    sky: Float[np.ndarray, "n band"]
    flux_err: Float[np.ndarray, "n band"]
    sky_err: Float[np.ndarray, "n band"]
    chi2: Float[np.ndarray, "n band"]
    dof: Int[np.ndarray, "n band"]
    flag: Int[np.ndarray, "n band"]


def fluxes_in_other_bands(
    fit: SersicFit,
    images: Float[np.ndarray, "n band y x"],
    ivar: ArrayLike,
    psf: Float[np.ndarray, "... band y x"],
    mask: Int[np.ndarray, "n band y x"] | None = None,
    sky_sigma: float = math.inf,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    others: Others | None = None,
) -> BandFluxes:
    """Flux and sky of each band with the structure of `fit`: one drawing through each band's PSF and two linear equations.

    Args:
        fit: of the reference band.
        images, ivar, psf, mask: as for `fit_sersic`, with a band axis: ivar one number, (band,), (n, band) or a pixel map; psf
            (band, y, x) or (n, band, y, x).
        sky_sigma: see `FitRecipe`.
        others: structures of other objects, whose fluxes are found with it.

    Raises:
        InputError: shapes disagree.
    """
    shape = np.shape(images)
    if len(shape) != 4 or shape[0] != len(fit) or np.ndim(psf) not in (3, 4) or np.shape(psf)[-3] != shape[1]:
        raise InputError(f"images {shape} and PSFs {np.shape(psf)} must be (galaxy, band, y, x) and (band, y, x) for {len(fit)} fits.")
    ivar = np.asarray(ivar)
    ivar = ivar if ivar.ndim == 4 else np.broadcast_to(ivar, shape[:2])
    values = np.full((5, *shape[:2]), np.nan)
    dof, flag = np.zeros(shape[:2], int), np.repeat(fit.flag[:, None], shape[1], axis=1)
    model = SersicModel(shape[-1], device, dtype)
    structure = theta_of(fit)
    drawn = np.isfinite(structure).all(axis=1)
    for band in range(shape[1]):
        own = np.asarray(psf)[..., band, :, :]
        source = StampSource(images[:, band], ivar[:, band], own, None if mask is None else mask[:, band], sky_sigma)
        for rows in _blocks(source.n):
            dof[rows, band] = source.usable(rows).sum(axis=(1, 2)) - 2
            flag[rows, band] |= np.where(dof[rows, band] < 1, SersicFlag.EMPTY, 0) | np.where(source.psf_usable(rows), 0, SersicFlag.NO_PSF)
        some = np.flatnonzero(drawn & ((flag[:, band] & int(NO_VALUES)) == 0))
        load = _loader(source, model, some, others)
        for rows in _blocks(len(some)):
            stamps = load(torch.as_tensor(rows))
            at = torch.as_tensor(structure[some[rows]], dtype=dtype, device=model.device)
            templates = stamps.freed(torch.stack([model.image(at, stamps.transfer).flatten(1) * stamps.root, stamps.root], dim=1))
            chi2, linear, normal, _ = _linear_part(templates, stamps)
            errors = torch.linalg.inv(normal).diagonal(dim1=1, dim2=2).sqrt() / stamps.unit[:, None]
            result = torch.cat([linear / stamps.unit[:, None], errors, chi2[:, None]], dim=1)
            values[:, some[rows], band] = result.T.cpu().numpy()
    flux, sky, flux_err, sky_err, chi2_ = values
    return BandFluxes(flux, sky, flux_err, sky_err, chi2_, dof, flag)


def _quadratic(model: SersicModel, theta: Tensor, stamps: Stamps) -> Quadratic:
    """chi^2, its gradient and curvature at theta, with the best flux and sky; flux and sky in units of 1 / `stamps.unit`."""
    light = model(theta.to(model.dtype), stamps.transfer)
    weighted = torch.empty(len(theta), len(VALUES), stamps.data.shape[1], dtype=model.dtype, device=model.device)
    by_pixel = weighted.unflatten(-1, light.shape[-2:])
    torch.mul(light, stamps.root.unflatten(-1, light.shape[-2:])[:, None], out=by_pixel[:, : PARAMETERS + 1])
    weighted[:, -1] = stamps.root
    weighted = stamps.freed(weighted)
    chi2, linear, _, residual = _linear_part(weighted[:, PARAMETERS:], stamps)
    scale = torch.ones(len(theta), len(VALUES), dtype=torch.float64, device=model.device)
    scale[:, :PARAMETERS] = linear[:, :1]
    gradient = (residual[:, None] @ weighted.transpose(1, 2))[:, 0].double() * scale  # this way round: ten times as fast
    normal = (weighted @ weighted.transpose(1, 2)).double() * scale[:, :, None] * scale[:, None, :]
    gradient[:, -1] -= linear[:, 1] * stamps.sky_weight
    normal[:, -1, -1] += stamps.sky_weight
    return Quadratic(chi2, gradient, normal, linear)


def _linear_part(templates: Float[Tensor, "b 2 pixel"], stamps: Stamps) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """chi^2 and (flux, sky) of the best combination of weighted templates, the 2x2 curvature, and the weighted residuals."""
    normal = (templates @ templates.transpose(1, 2)).double()
    normal[:, 1, 1] += stamps.sky_weight
    projection = (stamps.data[:, None] @ templates.transpose(1, 2))[:, 0].double()
    (a, b), (_, c) = normal.permute(1, 2, 0)
    determinant = (a * c - b * b).clamp_min(1e-300)
    flux = (c * projection[:, 0] - b * projection[:, 1]) / determinant
    sky = (a * projection[:, 1] - b * projection[:, 0]) / determinant
    linear = torch.stack([flux, sky], dim=1)
    residual = stamps.data - (linear.to(templates.dtype)[:, None, :] @ templates)[:, 0]
    chi2 = residual.square().sum(dim=1, dtype=torch.float64) + sky**2 * stamps.sky_weight
    return chi2, linear, normal, residual


def _loader(source: StampSource, model: SersicModel, chosen: np.ndarray, others: Others | None) -> Callable[[Tensor], Stamps]:
    """A function from positions in `chosen` to `Stamps`; a PSF that all share is transformed once."""
    shared = source.transfer(chosen, model) if source.psf.ndim == 2 and len(chosen) else None

    def load(ids: Tensor) -> Stamps:
        rows = chosen[ids.cpu().numpy()]
        stamps = source.stamps(rows, source.transfer(rows, model) if shared is None else shared, model)
        return others.taken_from(stamps, rows, model) if others else stamps

    return load


def _take(fit: SersicFit, rows: np.ndarray, minimum: Minimum, at_bound: Tensor, unit: Float[np.ndarray, " b"]) -> None:
    """The optimiser's numbers of some rows, in the image's units."""
    theta, linear, normal, chi2, converged = (
        getattr(minimum, name).cpu().numpy() for name in ("theta", "linear", "normal", "chi2", "converged")
    )
    scale = np.ones((len(rows), len(VALUES)))
    scale[:, PARAMETERS:] = unit[:, None]
    lost = ~np.isfinite(chi2)
    theta[lost], linear[lost] = np.nan, np.nan
    fill_values(fit, rows, theta, linear / unit[:, None], normal * scale[:, :, None] * scale[:, None, :])
    fit.chi2[rows], fit.iterations[rows] = np.where(lost, np.nan, chi2), minimum.iterations.cpu().numpy()
    fit.flag[rows] |= np.where(converged, 0, SersicFlag.NOT_CONVERGED) | np.where(at_bound.cpu().numpy(), SersicFlag.AT_BOUND, 0)


def theta_of(start: Start | SersicFit, size: int | None = None) -> Float[np.ndarray, "n 6"]:
    """The fit's parameters; with a `size`, what is not finite is replaced by a round disc of 2 px in the middle of the stamp."""
    columns = [start.x, start.y, start.radius, start.axis_ratio, start.position_angle, start.sersic_index]
    values = np.stack([np.asarray(column, float) for column in columns], axis=1)
    if size is not None:
        values = np.where(np.isfinite(values), values, [(size - 1) / 2, (size - 1) / 2, 2.0, 0.9, 0.0, 1.5])
    x, y, radius, q, angle, n = values.T
    eta, twice = -np.log(np.clip(q, 1e-3, 1.0)), 2 * np.radians(angle)
    ln_a = np.log(np.maximum(radius, 1e-3)) - eta / 2
    return np.stack([x, y, ln_a, eta * np.cos(twice), eta * np.sin(twice), np.log(np.clip(n, N_MIN, N_MAX))], axis=1)


def _bounds(theta: Tensor, size: int, recipe: FitRecipe) -> Bounds:
    """The centre, the circularised radius and n in a box; q in a disc of (h_1, h_2)."""
    lower, upper = torch.full_like(theta, -torch.inf), torch.full_like(theta, torch.inf)
    lower[:, :2], upper[:, :2] = theta[:, :2] - recipe.centre_reach_px, theta[:, :2] + recipe.centre_reach_px
    lower[:, 2], upper[:, 2] = math.log(recipe.least_radius), math.log(size)
    lower[:, 5], upper[:, 5] = math.log(N_MIN), math.log(N_MAX)
    return Bounds(lower, upper, torch.full_like(theta[:, 0], -math.log(recipe.least_axis_ratio)))


def _blocks(n: int) -> Iterator[np.ndarray]:
    yield from (np.arange(first, min(n, first + _BLOCK)) for first in range(0, n, _BLOCK))
