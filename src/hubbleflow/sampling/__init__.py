"""Samplers: from noise to galaxies, as plain functions of (denoise, x, sigmas).

All of them follow the probability-flow equation of x_t = x + sigma n (Karras et al. 2022, eq. 1), or an equation with noise that has the
same distributions on its way,

    dx / dsigma = (x - D(x; sigma)) / sigma

from sigmas[0], where x is pure noise of that standard deviation, to sigmas[-1] = 0. `denoise(x, sigma)` takes a scalar sigma tensor.

    name              evaluations of N steps    order
    euler, ddim       N                         1        DDIM (Song et al. 2021)
    heun              2 N - 1                   2        Karras et al. 2022
    dpm++2m           N                         2        Lu et al. 2022
    dpm++3m           N                         3        the same
    unipc             N                         3        Zhao et al. 2023
    deis              N                         3        Zhang & Chen 2023
    ipndm             N                         2        Liu et al. 2022
    edm-stochastic    2 N - 1                   noise    Karras et al. 2022
    ancestral         N                         noise    Ho et al. 2020

The last two take one more argument, where noise comes from; :func:`follow` calls any of them by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hubbleflow.errors import InputError
from hubbleflow.sampling.multistep import deis, dpm_solver_pp_2m, dpm_solver_pp_3m, ipndm, unipc
from hubbleflow.sampling.schedules import SCHEDULES, karras_sigmas, log_snr_sigmas, sigmas_for, vp_time_sigmas
from hubbleflow.sampling.single_step import euler, heun
from hubbleflow.sampling.stochastic import ancestral, edm_stochastic

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from hubbleflow.diffusion import Denoise

SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "dpm++2m": dpm_solver_pp_2m,
    "dpm++3m": dpm_solver_pp_3m,
    "unipc": unipc,
    "deis": deis,
    "ipndm": ipndm,
    "heun": heun,
    "euler": euler,
    "ddim": euler,
    "edm-stochastic": edm_stochastic,
    "ancestral": ancestral,
}
STOCHASTIC = frozenset({"edm-stochastic", "ancestral"})  # want to know where noise comes from
TWICE = frozenset({"heun", "edm-stochastic"})  # ask the network twice a step, but once in the step to 0


def sampler_named(name: str) -> Callable[..., Tensor]:
    """The sampler of that name.

    Raises:
        InputError: there is none; the sentence lists those there are.
    """
    if name not in SAMPLERS:
        raise InputError(f"unknown sampler {name!r}: choose one of {', '.join(SAMPLERS)}")
    return SAMPLERS[name]


def follow(
    name: str, denoise: Denoise, x: Float[Tensor, "n band y x"], sigmas: Float[Tensor, " steps+1"], noise: Callable[[], Tensor]
) -> Float[Tensor, "n band y x"]:
    """Where a sampler leads x; `noise()` gives fresh unit noise of x's shape, which the deterministic ones do not ask for.

    Raises:
        InputError: no sampler of that name.

    Example:
        >>> import torch
        >>> from hubbleflow.diffusion import NoiseStreams
        >>> noise = NoiseStreams([5, 7], (1, 8, 8))
        >>> unit = lambda x, sigma: x / (1 + sigma**2)  # the denoiser of data that are unit noise themselves
        >>> follow("ancestral", unit, 80 * noise(), karras_sigmas(5, 0.01, 80.0), noise).shape
        torch.Size([2, 1, 8, 8])
    """
    sampler = sampler_named(name)
    return sampler(denoise, x, sigmas, noise) if name in STOCHASTIC else sampler(denoise, x, sigmas)


def evaluations(name: str, steps: int) -> int:
    """How often a sampler asks the network in that many steps, the last of them to sigma = 0. Guidance doubles it.

    Raises:
        InputError: no sampler of that name; fewer than one step.

    Example:
        >>> evaluations("dpm++2m", 10), evaluations("heun", 10)
        (10, 19)
    """
    sampler_named(name)
    if steps < 1:
        raise InputError(f"a sampler takes at least one step, got {steps}")
    return 2 * steps - 1 if name in TWICE else steps


def steps_for(name: str, evaluations: int) -> int:
    """The most steps of a sampler that ask the network no oftener than that.

    Raises:
        InputError: no sampler of that name; fewer than one evaluation.

    Example:
        >>> steps_for("dpm++2m", 10), steps_for("heun", 10)
        (10, 5)
    """
    sampler_named(name)
    if evaluations < 1:
        raise InputError(f"a sampler asks the network at least once, got {evaluations} evaluations")
    return (evaluations + 1) // 2 if name in TWICE else evaluations


__all__ = [
    "SAMPLERS",
    "SCHEDULES",
    "STOCHASTIC",
    "ancestral",
    "deis",
    "dpm_solver_pp_2m",
    "dpm_solver_pp_3m",
    "edm_stochastic",
    "euler",
    "evaluations",
    "follow",
    "heun",
    "ipndm",
    "karras_sigmas",
    "log_snr_sigmas",
    "sampler_named",
    "sigmas_for",
    "steps_for",
    "unipc",
    "vp_time_sigmas",
]
