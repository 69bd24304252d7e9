"""Samplers that remember the last few evaluations: one evaluation a step, whatever the order (Adams and Bashforth's idea).

With lambda = -ln sigma the probability flow dx / dsigma = eps(x; sigma) = (x - D(x; sigma)) / sigma is solved exactly over a step by

    x' = x + int_sigma^sigma' eps ds                                                                              (1)
       = (sigma'/sigma) x + int_lambda^lambda' exp(-(lambda' - l)) D dl                                           (2)

and a sampler says how eps, or D, goes on: as the polynomial through what the network said last, in which variable. A polynomial in t
through values f_j at t_j gives sum_j w_j f_j, w_j the integral of its j-th Lagrange polynomial.

                 what goes on as a polynomial       in                 through        corrected with what is found there
    dpm++2m      D of (2)                           lambda             2 values
    dpm++3m      D of (2)                           lambda             3
    unipc        D of (2)                           lambda             2 (or 3)       yes
    deis         eps of (1)                         sigma^(1/rho)      3 (or fewer)
    ipndm        eps of (1), as if steps were even  the step's number  4 (or fewer)

The first steps have less to remember, and are of lower order; at high sigma, where D and eps hardly change, that costs little. So are the
last steps of (2) to sigma = 0: lambda is infinite there, and the last of them gives D itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from hubbleflow.diffusion import Denoise

GAUSS = np.polynomial.legendre.leggauss(24)  # exact for polynomials to degree 47, and for exp over any step that a schedule takes
ADAMS_BASHFORTH = ((1,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))  # the newest first


def lagrange_weights(
    nodes: Sequence[float], start: float, stop: float, density: Callable[[Float[np.ndarray, " m"]], Float[np.ndarray, " m"]]
) -> list[float]:
    """w_j = int_start^stop density(t) prod_(m != j) (t - t_m) / (t_j - t_m) dt: the integral of density f is sum_j w_j f(t_j) for every
    polynomial f of a degree below the number of nodes.

    Example:
        >>> [round(w, 3) for w in lagrange_weights([0.0, -1.0, -2.0], 0.0, 1.0, np.ones_like)]  # Adams and Bashforth's 23, -16, 5 / 12
        [1.917, -1.333, 0.417]
    """
    t = start + (stop - start) * (GAUSS[0] + 1) / 2
    weight = (stop - start) / 2 * GAUSS[1] * density(t)
    return [
        float(weight @ math.prod(((t - other) / (node - other) for m, other in enumerate(nodes) if m != j), start=np.ones_like(t)))
        for j, node in enumerate(nodes)
    ]


def _weighted(weights: Sequence[float], values: Sequence[Float[Tensor, "n band y x"]]) -> Float[Tensor, "n band y x"]:
    return sum((weight * value for weight, value in zip(weights[1:], values[1:], strict=True)), weights[0] * values[0])


def _exponential(
    x: Float[Tensor, "n band y x"], step: float, known: Sequence[tuple[float, Float[Tensor, "n band y x"]]]
) -> Float[Tensor, "n band y x"]:
    """(2) over a step of lambda, D being known at lambdas counted from where it begins."""
    weights = lagrange_weights([past for past, _ in known], 0.0, step, lambda past: np.exp(past - step))
    return math.exp(-step) * x + _weighted(weights, [estimate for _, estimate in known])


def _predicted(x: Float[Tensor, "n band y x"], step: float, known: Sequence[tuple[float, Tensor]]) -> Float[Tensor, "n band y x"]:
    """(2), the newest D first. Through two values dpm++2m's line, which takes half the slope where exp would weigh it with more."""
    if len(known) != 2:
        return _exponential(x, step, known)
    (_, estimate), (past, previous) = known
    return math.exp(-step) * x - math.expm1(-step) * (estimate + step / (-2 * past) * (estimate - previous))


def dpm_solver_pp_2m(denoise: Denoise, x: Float[Tensor, "n band y x"], sigmas: Float[Tensor, " steps+1"]) -> Float[Tensor, "n band y x"]:
    """Second-order multistep DPM-Solver++(2M) (Lu et al. 2022, algorithm 2). One evaluation a step.

    With lambda = -ln sigma and h = lambda' - lambda the exact solution is x' = (sigma'/sigma) x + integral of e^-(lambda'-l) D dl; D is
    taken as the line through its last two values.
    """
    previous, last_step = None, torch.ones(())
    for sigma, following in pairwise(sigmas):
        estimate = denoise(x, sigma.to(x))
        if following == 0:
            return estimate
        step = torch.log(sigma / following)
        direction = estimate
        if previous is not None:
            direction = estimate + (step / (2 * last_step)).to(x) * (estimate - previous)
        x = (following / sigma).to(x) * x - torch.expm1(-step).to(x) * direction
        previous, last_step = estimate, step
    return x


def dpm_solver_pp_3m(denoise: Denoise, x: Float[Tensor, "n band y x"], sigmas: Float[Tensor, " steps+1"]) -> Float[Tensor, "n band y x"]:
    """Third-order multistep DPM-Solver++(3M) (of the code of Lu et al. 2022): (2) with D the parabola through its last three values. One
    evaluation a step.

    Its version in diffusers gives the parabola's quadratic term half its weight, with which the order is 2; here it has all of it. Like
    there, the last step but one is of second order where there are fewer than 15.
    """
    known: list[tuple[float, Tensor]] = []
    for left, (sigma, following) in zip(range(len(sigmas) - 1, 0, -1), pairwise(sigmas.tolist()), strict=True):
        estimate = denoise(x, x.new_tensor(sigma))
        if following == 0:
            return estimate
        known = [(-math.log(sigma), estimate), *known[:2]]
        order = 2 if left == 2 and len(sigmas) <= 15 and sigmas[-1] == 0 else 3
        x = _predicted(x, math.log(sigma / following), _since(-math.log(sigma), known[:order]))
    return x


def _since(now: float, known: Sequence[tuple[float, Tensor]]) -> list[tuple[float, Tensor]]:
    return [(then - now, estimate) for then, estimate in known]


def unipc(
    denoise: Denoise, x: Float[Tensor, "n band y x"], sigmas: Float[Tensor, " steps+1"], order: int = 2
) -> Float[Tensor, "n band y x"]:
    """UniPC with the data prediction and B_2(h) (Zhao et al. 2023, algorithms 1 and 2): (2) with D the polynomial through its last `order`
    values (UniP), and once D is known where that leads, the same step again through that value too (UniC). The corrected x goes on; D is
    not asked again at it, so that a step costs one evaluation. Of order `order` + 1.

    UniP of order 2 and UniC of order 1 take half the slope, as their authors do (a_1 = 1/2), and the last steps to sigma = 0 are of order
    ..., 2, 1.
    """
    known: list[tuple[float, Tensor]] = []
    begun, used = x, 0  # where the last step began, and through how many values it went
    for left, (sigma, following) in zip(range(len(sigmas) - 1, 0, -1), pairwise(sigmas.tolist()), strict=True):
        now, estimate = -math.log(sigma), denoise(x, x.new_tensor(sigma))
        if following == 0:
            return estimate
        if known:
            before = known[0][0]
            x = _corrected(begun, now - before, estimate, _since(before, known[:used]))
        known = [(now, estimate), *known[: order - 1]]
        begun, used = x, min(len(known), left) if sigmas[-1] == 0 else len(known)
        x = _predicted(x, math.log(sigma / following), _since(now, known[:used]))
    return x


def _corrected(
    x: Float[Tensor, "n band y x"], step: float, found: Float[Tensor, "n band y x"], known: Sequence[tuple[float, Tensor]]
) -> Float[Tensor, "n band y x"]:
    """(2) through what was found at its end, too."""
    if len(known) == 1:
        return math.exp(-step) * x - math.expm1(-step) * (known[0][1] + found) / 2
    return _exponential(x, step, [(step, found), *known])


def deis(
    denoise: Denoise, x: Float[Tensor, "n band y x"], sigmas: Float[Tensor, " steps+1"], order: int = 3, rho: float = 7.0
) -> Float[Tensor, "n band y x"]:
    """DEIS-tAB (Zhang & Chen 2023, eqs 14-15): (1) with eps the polynomial through its last `order` values, integrated exactly. One
    evaluation a step.

    The paper leaves open in which t: it is t = sigma^(1/rho) here, in which Karras's noise levels are evenly spaced. rho = 1 is sigma
    itself (their rho-AB), large rho is ln sigma.
    """
    known: list[tuple[float, Tensor]] = []
    for sigma, following in pairwise(sigmas.tolist()):
        slope = (x - denoise(x, x.new_tensor(sigma))) / sigma
        known = [(sigma ** (1 / rho), slope), *known[: order - 1]]
        nodes = [t for t, _ in known]
        weights = lagrange_weights(nodes, nodes[0], following ** (1 / rho), lambda t: rho * t ** (rho - 1))
        x = x + _weighted(weights, [value for _, value in known])
    return x


def ipndm(
    denoise: Denoise, x: Float[Tensor, "n band y x"], sigmas: Float[Tensor, " steps+1"], order: int = 4
) -> Float[Tensor, "n band y x"]:
    """iPNDM (Liu et al. 2022; begun with lower orders, as Zhang & Chen 2023): x' = x + (sigma' - sigma) sum_j w_j eps_j with Adams and
    Bashforth's own weights, (55, -59, 37, -9) / 24 for four values. One evaluation a step.

    These are exact for even steps in sigma, where it is of order `order`; between other noise levels it is of order 2.
    """
    if not 1 <= order <= 4:
        raise ValueError(f"iPNDM has orders 1 to 4, got {order}")
    slopes: list[Tensor] = []
    for sigma, following in pairwise(sigmas.tolist()):
        slopes = [(x - denoise(x, x.new_tensor(sigma))) / sigma, *slopes[: order - 1]]
        x = x + (following - sigma) * _weighted(ADAMS_BASHFORTH[len(slopes) - 1], slopes)
    return x
