"""What a Sersic fit takes in: stamps, weights, masks and PSFs of a set, given out as rows in units of their own noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hubbleflow.errors import InputError
from hubbleflow.measure.levenberg import Table

if TYPE_CHECKING:
    from jaxtyping import Bool, Complex, Float, Int
    from numpy.typing import ArrayLike
    from torch import Tensor

    from hubbleflow.measure.sersic_model import SersicModel

_LEAST = 1e-150  # where there is no weight at all: a number to divide by


@dataclass(frozen=True)
class Stamps(Table):
    """Stamps for the fit. With u = max sqrt(w), fluxes f u are numbers that float32 holds, in whatever unit f is.

    Attributes:
        data: d sqrt(w); zero where unusable.
        root: sqrt(w) / u.
        transfer: of the PSF; one row may stand for all.
        sky_weight: 1 / (u sigma_sky)^2.
        unit: u.
        others: what other objects add to all templates, `measure.sersic_others`; no row where there are none.
    """

    data: Float[Tensor, "b pixel"]
    root: Float[Tensor, "b pixel"]
    transfer: Complex[Tensor, "b kx ky"]
    sky_weight: Float[Tensor, " b"]
    unit: Float[Tensor, " b"]
    others: Float[Tensor, "b m pixel"]

    def freed(self, weighted: Float[Tensor, "b image pixel"]) -> Float[Tensor, "b image pixel"]:
        """Weighted images less what the other objects' freedom explains."""
        if not self.others.shape[1]:
            return weighted
        return torch.baddbmm(weighted, weighted @ self.others.transpose(1, 2), self.others, alpha=-1)


class StampSource:
    """The stamps of a set; nothing is copied before it is asked for.

    Args:
        images: square stamps of one size.
        ivar: inverse variance: one number, one a galaxy (n,) or one a pixel (n, y, x).
        psf: one for all (y, x) or one a galaxy (n, y, x).
        mask: non-zero = do not use.
        sky_sigma: what is known of the sky beforehand; inf for nothing.

    Raises:
        InputError: shapes disagree.
    """

    def __init__(
        self,
        images: Float[np.ndarray, "n y x"],
        ivar: ArrayLike,
        psf: Float[np.ndarray, "... y x"],
        mask: Int[np.ndarray, "n y x"] | None = None,
        sky_sigma: float = np.inf,
    ) -> None:
        self.images, self.psf, self.mask, self.sky_sigma = images, np.asarray(psf), mask, sky_sigma
        shape = np.shape(images)
        if len(shape) != 3 or shape[1] != shape[2] or shape[1] < 8:
            raise InputError(f"a Sersic fit needs square stamps (galaxy, y, x) of 8 pixels and more, but got shape {shape}.")
        self.n, self.size = shape[0], shape[1]
        self.ivar = np.asarray(ivar)
        if self.ivar.ndim == 0:
            self.ivar = np.broadcast_to(self.ivar, (self.n,))
        for name, array, allowed in (
            ("the inverse variance", self.ivar, (shape, shape[:1])),
            ("the mask", images if mask is None else mask, (shape,)),
            ("the PSF", self.psf, (self.psf.shape[-2:], (self.n, *self.psf.shape[-2:]))),
        ):
            if np.shape(array) not in allowed:
                raise InputError(f"{name} of shape {np.shape(array)} does not go with stamps of shape {shape}.")

    def usable(self, rows: np.ndarray) -> Bool[np.ndarray, "b y x"]:
        """Which pixels count."""
        return self._weights(rows) > 0

    def unit(self, rows: np.ndarray) -> Float[np.ndarray, " b"]:
        """1 / sigma of each stamp's deepest pixel: `Stamps.unit`."""
        return np.sqrt(self._weights(rows)).max(axis=(1, 2), initial=_LEAST)

    def psf_usable(self, rows: np.ndarray) -> Bool[np.ndarray, " b"]:
        """Whose PSF is finite and has light."""
        psf = self.psf_of(rows)
        return np.isfinite(psf).all(axis=(-2, -1)) & (psf.sum(axis=(-2, -1)) > 0) & np.ones(len(rows), bool)

    def psf_of(self, rows: np.ndarray) -> Float[np.ndarray, "... y x"]:
        """The one PSF, or those of some galaxies."""
        return self.psf if self.psf.ndim == 2 else self.psf[rows]

    def transfer(self, rows: np.ndarray, model: SersicModel) -> Complex[Tensor, "b kx ky"]:
        """Transfer functions of some galaxies; of one row where all share the PSF."""
        return model.transfer(torch.as_tensor(np.asarray(self.psf_of(rows), float).reshape(-1, *self.psf.shape[-2:])))

    def stamps(self, rows: np.ndarray, transfer: Complex[Tensor, "b kx ky"], model: SersicModel) -> Stamps:
        """Some galaxies, ready for the model."""
        weights = self._weights(rows)
        root = np.sqrt(weights)
        unit = root.max(axis=(1, 2), initial=_LEAST)
        data = np.where(weights > 0, self.images[rows], 0.0) * root
        with np.errstate(divide="ignore"):
            sky_weight = np.minimum(1 / (unit * self.sky_sigma) ** 2, 1e12)

        def to_device(array: np.ndarray, dtype: torch.dtype = model.dtype) -> Any:
            return torch.as_tensor(array, dtype=dtype, device=model.device)

        return Stamps(
            to_device(data).flatten(1),
            to_device(root / unit[:, None, None]).flatten(1),
            transfer.expand(len(rows), -1, -1),
            to_device(sky_weight, torch.float64),
            to_device(unit, torch.float64),
            torch.empty(len(rows), 0, self.size**2, dtype=model.dtype, device=model.device),
        )

    def _weights(self, rows: np.ndarray) -> Float[np.ndarray, "b y x"]:
        """Inverse variances, zero where a pixel is not usable."""
        weights = np.asarray(self.ivar[rows], float)
        weights = weights if weights.ndim == 3 else weights[:, None, None]
        usable = np.isfinite(self.images[rows]) & np.isfinite(weights) & (weights > 0)
        if self.mask is not None:
            usable &= np.asarray(self.mask[rows]) == 0
        return np.where(usable, weights, 0.0)
