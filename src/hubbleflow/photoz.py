"""A photometric redshift that says how sure it is: the density p(z | image), a mixture of Gaussians in y = ln(1 + z) (Bishop 1994).

    p(y) = (1/P) sum_k w_k N(y; mu_k, sigma_k^2),  y >= 0,   P = sum_k w_k Phi(mu_k / sigma_k)
    p(z) = p(y) dy/dz = p(ln(1 + z)) / (1 + z)

Photometric redshifts scatter by a fraction of 1 + z, so that ln(1 + z) is the scale on which a density has a width of its own; what would
lie below z = 0 is cut off. A density is calibrated when the probability integral transform, PIT = p(z < z_true), is uniform over galaxies
(Polsterer et al. 2016; Schmidt et al. 2020).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hubbleflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float

BISECTIONS = 60  # each halves the bracket of a quantile: float64 to its last bit
FAR = 64.0  # ln(1 + z) beyond which nothing is looked for


@dataclass(frozen=True)
class RedshiftDensity:
    """One density a galaxy.

    Attributes:
        weights: (n, k), each row adds up to one.
        means: (n, k) of ln(1 + z), not negative.
        sigmas: (n, k) of ln(1 + z), positive.

    Raises:
        InputError: arrays that are not such densities.

    Example:
        >>> density = RedshiftDensity(np.array([[1.0]]), np.array([[np.log(2.0)]]), np.array([[0.02]]))
        >>> density.quantile([0.16, 0.5, 0.84]).round(3).tolist()
        [[0.961, 1.0, 1.04]]
        >>> density.pit([1.0]).round(6).tolist()
        [0.5]
    """

    weights: Float[np.ndarray, "n k"]
    means: Float[np.ndarray, "n k"]
    sigmas: Float[np.ndarray, "n k"]

    def __post_init__(self) -> None:
        parts = [np.asarray(part, float) for part in (self.weights, self.means, self.sigmas)]
        weights, means, sigmas = parts
        if weights.ndim != 2 or not weights.shape == means.shape == sigmas.shape:
            shapes = ", ".join(str(part.shape) for part in parts)
            raise InputError(f"a redshift density needs weights, means and sigmas of one shape (n, components), got {shapes}")
        if not all(np.isfinite(part).all() for part in parts) or (weights < 0).any() or (means < 0).any() or (sigmas <= 0).any():
            raise InputError("a redshift density needs finite weights and means of at least 0 and sigmas above 0: some are not")
        if not np.allclose(weights.sum(axis=1), 1, atol=1e-4):
            raise InputError("the weights of a redshift density must add up to one for every galaxy: divide them by their sum")
        object.__setattr__(self, "weights", weights / weights.sum(axis=1, keepdims=True))
        object.__setattr__(self, "means", means)
        object.__setattr__(self, "sigmas", sigmas)

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, rows: Any) -> RedshiftDensity:
        """The densities of a slice, a mask or a list of row numbers."""
        return RedshiftDensity(self.weights[rows], self.means[rows], self.sigmas[rows])

    @staticmethod
    def concatenate(densities: Sequence[RedshiftDensity]) -> RedshiftDensity:
        """Those of several sets, one after the other."""
        return RedshiftDensity(*(np.concatenate([getattr(d, name) for d in densities]) for name in ("weights", "means", "sigmas")))

    def pdf(self, z: Float[np.ndarray, " m"]) -> Float[np.ndarray, "n m"]:
        """p(z) of every galaxy at every redshift of a grid; 0 below z = 0."""
        z = np.atleast_1d(np.asarray(z, float))
        y = _log1p(z)
        total = np.zeros((len(self), len(y)))
        for weight, mean, sigma in self._components():
            total += weight * np.exp(-(((y - mean) / sigma) ** 2) / 2) / sigma
        return np.where(z >= 0, total * np.exp(-y) / (np.sqrt(2 * np.pi) * self._above_zero()[:, None]), 0.0)

    def cdf(self, z: Float[np.ndarray, " m"]) -> Float[np.ndarray, "n m"]:
        """p(< z) of every galaxy at every redshift of a grid."""
        y = _log1p(np.atleast_1d(np.asarray(z, float)))
        return self._cdf(np.broadcast_to(y, (len(self), len(y))))

    def pit(self, z_true: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """p(< z_true), each galaxy at its own redshift; NaN where that is not known.

        Raises:
            InputError: not one redshift a galaxy.
        """
        z_true = np.asarray(z_true, float)
        if z_true.shape != (len(self),):
            raise InputError(f"{len(self)} densities need {len(self)} true redshifts, got an array of shape {z_true.shape}")
        return self._cdf(_log1p(z_true)[:, None])[:, 0]

    def quantile(self, p: float | Sequence[float] | np.ndarray) -> Float[np.ndarray, "n ..."]:
        """The redshift below which a galaxy lies with probability p: (n,) for one p, (n, m) for m of them.

        Raises:
            InputError: a p that does not lie between 0 and 1.
        """
        levels = np.asarray(p, float)
        if not ((levels > 0) & (levels < 1)).all():
            raise InputError(f"quantiles are asked for at probabilities between 0 and 1, got {p}")
        z = self._solved(np.broadcast_to(levels.ravel(), (len(self), levels.size)))
        return z[:, 0] if levels.ndim == 0 else z

    def interval(self, level: float = 0.68) -> Float[np.ndarray, "n 2"]:
        """The credible interval: as much probability below its lower end as above its upper one, `level` between."""
        return self.quantile([(1 - level) / 2, (1 + level) / 2])

    def sample(self, seed: int) -> Float[np.ndarray, " n"]:
        """One redshift drawn from each density."""
        return self._solved(np.random.default_rng(seed).random((len(self), 1)))[:, 0]

    def _components(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Weight, mean and sigma of each component in turn, (n, 1) each: sums over a grid need no (n, m, k) array."""
        for k in range(self.weights.shape[1]):
            yield self.weights[:, k, None], self.means[:, k, None], self.sigmas[:, k, None]

    def _above_zero(self) -> Float[np.ndarray, " n"]:
        """P: at least a half, as no mean is negative."""
        return (self.weights * _phi(self.means / self.sigmas)).sum(axis=1)

    def _cdf(self, y: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
        total = np.zeros(y.shape)
        for weight, mean, sigma in self._components():
            total += weight * (_phi((y - mean) / sigma) - _phi(-mean / sigma))
        return np.clip(total / self._above_zero()[:, None], 0.0, 1.0)

    def _solved(self, p: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
        """The redshifts at which the distribution functions are p, by bisection of a bracket that is first doubled until it holds them."""
        low, high = np.zeros(p.shape), np.ones(p.shape)
        while ((short := self._cdf(high) < p) & (high < FAR)).any():
            high = np.where(short, 2 * high, high)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            short = self._cdf(middle) < p
            low, high = np.where(short, middle, low), np.where(short, high, middle)
        return np.expm1((low + high) / 2)


def _log1p(z: np.ndarray) -> np.ndarray:
    """ln(1 + z), redshifts below 0 taken as 0."""
    return np.log1p(np.maximum(z, 0))


def _phi(t: np.ndarray) -> np.ndarray:
    """The Gaussian's distribution function."""
    return torch.special.ndtr(torch.from_numpy(np.ascontiguousarray(t))).numpy()
