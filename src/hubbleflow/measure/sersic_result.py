r"""What a Sersic fit gives: an astronomer's numbers, their errors from the curvature of chi^2, and flags.

The fit's own parameters are theta = (x, y, ln a, h_1, h_2, ln n), flux f and sky s; with eta = |h|

    R_e = a e^{eta/2},   q = e^{-eta},   PA = atan2(h_2, h_1) / 2,

and the covariance C of (theta, f, s) becomes D C D^T, D being the derivatives of these:

    d ln R_e = d ln a + d eta / 2,   dq = -q d eta,   dPA = (h_1 dh_2 - h_2 dh_1) / (2 eta^2),   d eta = h.dh / eta.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.measure.sersic_flags import SersicFlag

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

VALUES = ("flux", "x", "y", "radius", "axis_ratio", "position_angle", "sersic_index", "sky")
STRUCTURE = VALUES[1:-1]
_WIDEST_ANGLE = 90 / math.sqrt(3)  # degrees: the standard deviation of an angle of which nothing is known
_CORE_PX = 1.5  # least semi-axis of the ellipse that must not be masked
_CORE_FRACTION = 0.2
_POOR = 0.2  # of the model's rms, left over


@dataclass(frozen=True)
class SersicFit:
    """What was fitted, one row a galaxy; NaN where there is no number, and `flag` says why.

    Attributes:
        flux: total flux of the model, to infinity, in the image's unit.
        x, y: centre, px; pixel (row 0, column 0) has its centre at (0, 0).
        radius: semi-major half-light radius R_e, px.
        axis_ratio, position_angle: q = b/a; degrees of the major axis from +x towards +y, -90 to 90.
        sersic_index: n.
        sky: constant level under the galaxy.
        flux_err ... sky_err: one standard deviation each.
        snr: matched signal-to-noise ratio: flux over its error were the structure known, and the sky as uncertain as it is.
        chi2, dof: at the best model, over the usable pixels.
        iterations: evaluations of the model.
        flag: bits of `SersicFlag`.
    """

    flux: Float[np.ndarray, " n"]
    x: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]
    radius: Float[np.ndarray, " n"]
    axis_ratio: Float[np.ndarray, " n"]
    position_angle: Float[np.ndarray, " n"]
    sersic_index: Float[np.ndarray, " n"]
    sky: Float[np.ndarray, " n"]
    flux_err: Float[np.ndarray, " n"]
    x_err: Float[np.ndarray, " n"]
    y_err: Float[np.ndarray, " n"]
    radius_err: Float[np.ndarray, " n"]
    axis_ratio_err: Float[np.ndarray, " n"]
    position_angle_err: Float[np.ndarray, " n"]
    sersic_index_err: Float[np.ndarray, " n"]
    sky_err: Float[np.ndarray, " n"]
    snr: Float[np.ndarray, " n"]
    chi2: Float[np.ndarray, " n"]
    dof: Int[np.ndarray, " n"]
    iterations: Int[np.ndarray, " n"]
    flag: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.flux)

    def __getitem__(self, rows: slice | np.ndarray) -> SersicFit:
        return SersicFit(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def empty(cls, n: int) -> SersicFit:
        """n rows without a number, to be filled."""
        whole = {"dof": int, "iterations": int, "flag": np.int32}
        return cls(*(np.zeros(n, whole[f.name]) if f.name in whole else np.full(n, np.nan) for f in fields(cls)))


def fill_values(
    fit: SersicFit,
    rows: np.ndarray,
    theta: Float[np.ndarray, "b 6"],
    linear: Float[np.ndarray, "b 2"],
    normal: Float[np.ndarray, "b 8 8"],
) -> None:
    """Values and errors of some rows, in place; `normal` is J^T W J for (theta, f, s)."""
    x, y, ln_a, h1, h2, ln_n = theta.T
    flux, sky = linear.T
    eta = np.maximum(np.hypot(h1, h2), 1e-9)
    radius, q, n = np.exp(ln_a + eta / 2), np.exp(-eta), np.exp(ln_n)
    angle = 0.5 * np.degrees(np.arctan2(h2, h1))
    d = np.zeros((len(theta), len(VALUES), len(VALUES)))
    d[:, 0, 6] = d[:, 1, 0] = d[:, 2, 1] = d[:, 7, 7] = 1
    d[:, 3, 2], d[:, 3, 3], d[:, 3, 4] = radius, 0.5 * radius * h1 / eta, 0.5 * radius * h2 / eta
    d[:, 4, 3], d[:, 4, 4] = -q * h1 / eta, -q * h2 / eta
    d[:, 5, 3], d[:, 5, 4] = (0.5 * np.degrees(v / eta**2) for v in (-h2, h1))
    d[:, 6, 5] = n
    error = np.sqrt(np.einsum("bij,bjk,bik->bi", d, _inverse(normal), d))
    error[:, 5] = np.minimum(error[:, 5], _WIDEST_ANGLE)
    for i, (name, value) in enumerate(zip(VALUES, (flux, x, y, radius, q, angle, n, sky), strict=True)):
        getattr(fit, name)[rows], getattr(fit, f"{name}_err")[rows] = value, error[:, i]
    with np.errstate(invalid="ignore", divide="ignore"):
        fit.snr[rows] = np.abs(flux) * np.sqrt(np.maximum(normal[:, 6, 6] - normal[:, 6, 7] ** 2 / normal[:, 7, 7], 0))


def quality(
    fit: SersicFit,
    rows: np.ndarray,
    usable: Bool[np.ndarray, "b y x"],
    moved: Float[np.ndarray, " b"],
    tolerance_px: float,
    low_snr: float,
) -> None:
    """Flags that follow from the values of some rows, in place; structure without light is made NaN."""
    one = {name: getattr(fit, name)[rows] for name in ("flux", "radius", "radius_err", "snr", "chi2", "dof")}
    with np.errstate(invalid="ignore"):
        remarks = (
            (moved > tolerance_px, SersicFlag.CENTRE_MOVED),
            (_core_masked(fit[rows], usable), SersicFlag.MASKED_CORE),
            (~(one["snr"] >= low_snr), SersicFlag.LOW_SNR),
            (~(one["flux"] > 0), SersicFlag.NEGATIVE_FLUX),
            (~(one["radius"] >= 2 * one["radius_err"]), SersicFlag.POINT_LIKE),
            (_left_over(one["chi2"], one["dof"], one["snr"]) > _POOR, SersicFlag.POOR_FIT),
        )
    for where, bit in remarks:
        fit.flag[rows] |= np.where(where, np.int32(bit), np.int32(0))
    dark = rows[~(one["flux"] > 0)]
    for name in STRUCTURE:
        getattr(fit, name)[dark] = getattr(fit, f"{name}_err")[dark] = np.nan


def _left_over(chi2: Float[np.ndarray, " b"], dof: Int[np.ndarray, " b"], snr: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    """rms of what the model leaves over the model's own, both weighted by the noise, less what noise may leave (3 sigma of chi^2)."""
    excess = chi2 - dof - 3 * np.sqrt(2 * np.maximum(dof, 1))
    return np.sqrt(np.maximum(excess, 0)) / np.maximum(snr, 1e-9)


def _core_masked(fit: SersicFit, usable: Bool[np.ndarray, "b y x"]) -> Bool[np.ndarray, " b"]:
    """Whether the central pixel, or too many of those within the half-light ellipse, cannot be used."""
    size = usable.shape[-1]
    grid = np.arange(size)
    u, v = grid - fit.x[:, None, None], grid[:, None] - fit.y[:, None, None]
    angle = np.radians(fit.position_angle)[:, None, None]
    along, across = u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)
    major = np.maximum(fit.radius, _CORE_PX)[:, None, None]
    minor = np.maximum(fit.radius * fit.axis_ratio, _CORE_PX)[:, None, None]
    inside = (along / major) ** 2 + (across / minor) ** 2 < 1
    lost = (inside & ~usable).sum(axis=(1, 2)) > _CORE_FRACTION * inside.sum(axis=(1, 2))
    column, row = (np.clip(np.nan_to_num(np.rint(c)), 0, size - 1).astype(int) for c in (fit.x, fit.y))
    return lost | ~usable[np.arange(len(usable)), row, column]


def _inverse(normal: Float[np.ndarray, "b k k"]) -> Float[np.ndarray, "b k k"]:
    """Inverse of symmetric positive matrices of any scale; NaN where a parameter moves nothing at all."""
    diagonal = np.diagonal(normal, axis1=1, axis2=2)
    known = np.isfinite(normal).all(axis=(1, 2)) & (diagonal > 0).all(axis=1)
    scale = 1 / np.sqrt(np.where(known[:, None], diagonal, 1.0))
    scaled = np.where(known[:, None, None], normal * scale[:, :, None] * scale[:, None, :], np.eye(normal.shape[1]))
    values, vectors = np.linalg.eigh(scaled)
    inverse = (vectors / np.maximum(values, 1e-7)[:, None, :]) @ vectors.transpose(0, 2, 1)
    return np.where(known[:, None, None], inverse * scale[:, :, None] * scale[:, None, :], np.nan)
