r"""Levenberg-Marquardt for many small problems at once, with a working set: who has converged leaves, and the next one enters.

Problem i minimises chi^2_i(theta, l) over p parameters theta that enter non-linearly and a few, l, that enter linearly. For given theta
the best l is exact (`evaluate` solves for it), so that the search is over theta alone: variable projection (Golub & Pereyra 1973, SIAM J.
Numer. Anal. 10, 413) with Kaufman's (1975, BIT 15, 49) approximation, which keeps l in the normal equations, undamped:

    (N + lambda diag(N_theta, 0)) delta = g,   N = J^T W J,   g = J^T W r   (Marquardt 1963, J. SIAM 11, 431).

A step that lowers chi^2 is taken and lambda falls tenfold; one that does not is refused and lambda grows eightfold. The undamped step would
lower chi^2 by g^T N^{-1} g: once that is below the tolerance, which is a small part of one standard deviation, it is taken unseen and the
problem leaves. A parameter at its bound whose gradient points outward is held.

Sums are float32 over pixels and float64 from there on. One problem's path depends on nothing but its own numbers, and these on the company
it is computed in only by the rounding of float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e-7, 1e7
_FALL, _GROWTH = 0.1, 8.0
_RIDGE = 1e-7  # in units of the diagonal: float32 sums know nothing smaller
_SMALL_STEPS = 2  # running, that lower chi^2 by less than the tolerance: a flat valley's floor

Rows = TypeVar("Rows", bound="Table")


@dataclass(frozen=True)
class Table:
    """Tensors that have one row a problem."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self: Rows, rows: Tensor | np.ndarray | slice) -> Rows:
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    def joined(self: Rows, other: Rows) -> Rows:
        """These rows, then the other's."""

        def join(a: Any, b: Any) -> Any:
            return a.joined(b) if isinstance(a, Table) else torch.cat([a, b])

        return type(self)(*(join(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)))


@dataclass(frozen=True)
class Quadratic(Table):
    """chi^2 near theta and the best linear parameters: rows of the p non-linear parameters first, then the linear ones."""

    chi2: Float[Tensor, " b"]
    gradient: Float[Tensor, "b all"]  # J^T W r, half the descent of chi^2
    normal: Float[Tensor, "b all all"]  # J^T W J
    linear: Float[Tensor, "b linear"]


@dataclass(frozen=True)
class Bounds(Table):
    """A box for each problem, and a disc: |(theta_d, theta_{d+1})| <= radius for d = `DISC`."""

    lower: Float[Tensor, "b p"]
    upper: Float[Tensor, "b p"]
    disc_radius: Float[Tensor, " b"]
    DISC = 3  # no annotation: a constant, not a field

    def project(self, theta: Float[Tensor, "b p"]) -> Float[Tensor, "b p"]:
        """The nearest allowed values."""
        theta = torch.minimum(torch.maximum(theta, self.lower), self.upper)
        disc = theta[:, self.DISC : self.DISC + 2]
        disc *= (self.disc_radius / disc.norm(dim=1).clamp_min(1e-30)).clamp(max=1.0)[:, None]
        return theta

    def touched(self, theta: Float[Tensor, "b p"], slack: float = 1e-6) -> Bool[Tensor, "b p"]:
        """Which parameters are at a limit."""
        touched = (theta <= self.lower + slack) | (theta >= self.upper - slack)
        touched[:, self.DISC : self.DISC + 2] |= (theta[:, self.DISC : self.DISC + 2].norm(dim=1) >= self.disc_radius - slack)[:, None]
        return touched

    def free(self, theta: Float[Tensor, "b p"], gradient: Float[Tensor, "b all"]) -> Float[Tensor, "b all all"]:
        """Projection onto the directions that do not lead out of the box or the disc."""
        p, every = theta.shape[1], gradient.shape[1]
        push = gradient[:, :p]
        held = ((theta <= self.lower) & (push < 0)) | ((theta >= self.upper) & (push > 0))
        free = torch.diag_embed(torch.nn.functional.pad((~held).to(gradient.dtype), (0, every - p), value=1.0))
        disc = slice(self.DISC, self.DISC + 2)
        outward = torch.nn.functional.normalize(theta[:, disc], dim=1)
        at_rim = (theta[:, disc].norm(dim=1) >= self.disc_radius * (1 - 1e-9)) & ((outward * push[:, disc]).sum(1) > 0)
        free[:, disc, disc] -= outward[:, :, None] * outward[:, None, :] * at_rim[:, None, None]
        return free


@dataclass(frozen=True)
class Minimum(Table):
    """Where each problem ended, in the order of the problems; `normal` is that of the last evaluated point."""

    theta: Float[Tensor, "n p"]
    linear: Float[Tensor, "n linear"]
    chi2: Float[Tensor, " n"]
    normal: Float[Tensor, "n all all"]
    iterations: Int[Tensor, " n"]
    converged: Bool[Tensor, " n"]


@dataclass(frozen=True)
class _Working(Table):
    ids: Tensor
    theta: Tensor
    step: Tensor
    at: Quadratic
    bounds: Bounds
    dof: Tensor
    damping: Tensor
    iterations: Tensor
    small: Tensor  # running steps that gained less than the tolerance
    data: Table


def minimise(
    start: Float[Tensor, "n p"],
    bounds: Bounds,
    dof: Float[Tensor, " n"],
    load: Callable[[Tensor], Any],
    evaluate: Callable[[Tensor, Any], Quadratic],
    n_linear: int,
    longest_step: Float[Tensor, " p"],
    tolerance: float = 0.01,
    max_iterations: int = 60,
    batch: int = 32,
) -> Minimum:
    """Minimise every problem.

    Args:
        start, bounds: float64, on the device of the computation.
        dof: degrees of freedom; where chi^2 exceeds them, the tolerance grows in proportion.
        load: row numbers -> their data, a `Table`.
        evaluate: (theta, data) -> `Quadratic`, in float64.
        n_linear: number of linear parameters.
        longest_step: of each non-linear parameter in one iteration; a longer step is shortened as a whole.
        tolerance: how much lower chi^2 could still be at the end.
        batch: problems under way at a time.
    """
    n, p = start.shape
    nan = torch.full((n, p + n_linear), torch.nan, dtype=start.dtype, device=start.device)
    none = torch.zeros(n, dtype=torch.long, device=start.device)
    result = Minimum(start.clone(), nan[:, p:].clone(), nan[:, 0].clone(), torch.diag_embed(nan), none, none > 0)
    first, working = 0, _entering(none[:0], start, bounds, dof, load(none[:0]), p + n_linear)
    while first < n or len(working):
        if first < n and len(working) <= 3 * batch // 4:
            ids = torch.arange(first, min(n, first + batch - len(working)), device=start.device)
            working = working.joined(_entering(ids, start, bounds, dof, load(ids), p + n_linear))
            first += len(ids)
        working = _tried(working, evaluate, tolerance)
        limit = _limit(working, tolerance)
        whole, step, expected = _steps(working)
        shortening = (longest_step / step.abs().clamp_min(1e-30)).amin(dim=1).clamp(max=1.0)
        working = replace(working, step=step * shortening[:, None])
        converged = (expected < limit) | (working.small >= _SMALL_STEPS)
        leaving = converged | (working.iterations >= max_iterations) | (working.damping > _MOST_DAMPING)
        if bool(leaving.any()):
            # the last step is taken unseen, unless it is long: a valley so flat that its floor is nowhere in particular
            short = converged & (expected < limit) & (whole[:, :p].abs() < longest_step).all(dim=1)
            last = torch.where(short[:, None], whole, 0.0)
            _record(result, working, last, torch.where(short, expected, 0.0), converged, leaving)
            working = working[~leaving]
    return result


def _entering(ids: Tensor, start: Tensor, bounds: Bounds, dof: Tensor, data: Table, every: int) -> _Working:
    # chi^2 is infinite before the first evaluation, so that it is always taken; the step to it is none
    theta, own, none = start[ids], bounds[ids], torch.zeros_like(ids)
    zeros = theta.new_zeros(len(ids), every)
    at = Quadratic(zeros[:, 0] + torch.inf, zeros, torch.diag_embed(zeros + 1), zeros[:, start.shape[1] :])
    damping = zeros[:, 0] + _FIRST_DAMPING / _FALL
    return _Working(ids, own.project(theta), torch.zeros_like(theta), at, own, dof[ids], damping, none, none, data)


def _tried(working: _Working, evaluate: Callable[[Tensor, Any], Quadratic], tolerance: float) -> _Working:
    """The step of each problem, taken or refused."""
    trial = working.bounds.project(working.theta + working.step)
    new, old = evaluate(trial, working.data), working.at
    better = new.chi2 < old.chi2  # never of NaN
    little = old.chi2 - new.chi2 < _limit(working, tolerance)
    return replace(
        working,
        theta=_where(better, trial, working.theta),
        at=Quadratic(*(_where(better, getattr(new, f.name), getattr(old, f.name)) for f in fields(old))),
        damping=torch.where(better, (working.damping * _FALL).clamp_min(_LEAST_DAMPING), working.damping * _GROWTH),
        iterations=working.iterations + 1,
        small=torch.where(better, torch.where(little, working.small + 1, 0), working.small),
    )


def _limit(working: _Working, tolerance: float) -> Tensor:
    return tolerance * (working.at.chi2 / working.dof).clamp(min=1.0, max=1e6)


def _steps(working: _Working) -> tuple[Tensor, Tensor, Tensor]:
    """The undamped step of all parameters, the damped one of theta, and by how much the undamped would lower chi^2."""
    theta, p = working.theta, working.theta.shape[1]
    free = working.bounds.free(theta, working.at.gradient)
    gradient = (free @ working.at.gradient[:, :, None])[:, :, 0]
    normal = free @ working.at.normal @ free + torch.eye(free.shape[1], dtype=free.dtype, device=free.device) - free
    scale = normal.diagonal(dim1=1, dim2=2).clamp_min(1e-30).rsqrt()
    scaled = normal * scale[:, :, None] * scale[:, None, :]
    damping = torch.full_like(gradient, _RIDGE).repeat(2, 1)
    damping[len(theta) :, :p] += working.damping[:, None]
    solved, _ = torch.linalg.solve_ex(scaled.repeat(2, 1, 1) + torch.diag_embed(damping), (gradient * scale).repeat(2, 1))
    whole, damped = ((free @ (part * scale)[:, :, None])[:, :, 0] for part in solved.chunk(2))
    return whole, damped[:, :p], (gradient * whole).sum(dim=1)


def _record(result: Minimum, working: _Working, last: Tensor, expected: Tensor, converged: Tensor, leaving: Tensor) -> None:
    p = working.theta.shape[1]
    last, expected, converged, working = last[leaving], expected[leaving], converged[leaving], working[leaving]
    ids = working.ids
    result.theta[ids] = working.bounds.project(working.theta + last[:, :p])
    result.linear[ids] = working.at.linear + last[:, p:]
    result.chi2[ids] = working.at.chi2 - expected
    result.normal[ids] = working.at.normal
    result.iterations[ids] = working.iterations
    result.converged[ids] = converged & torch.isfinite(working.at.chi2)


def _where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition.view(-1, *[1] * (a.ndim - 1)), a, b)
