"""Samplers against exact answers: for Gaussian data the optimal denoiser is known, so every sampler must recover mean and deviation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hubbleflow.diffusion import EdmDenoiser, edm_loss, galaxy_seeds, guided, seeded_noise
from hubbleflow.sampling import SAMPLERS, euler, karras_sigmas

MEAN, STD = 0.7, 0.3


def exact(x_t: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """E[x | x_t] for x ~ N(MEAN, STD^2): Wiener's filter."""
    return MEAN + STD**2 / (STD**2 + sigma**2) * (x_t - MEAN)


def exact_flow(x: torch.Tensor, sigma_max: float) -> torch.Tensor:
    """Where the probability flow takes x from sigma_max to 0: x - MEAN shrinks by STD / sqrt(STD^2 + sigma^2)."""
    return MEAN + (x - MEAN) * STD / (STD**2 + sigma_max**2) ** 0.5


@pytest.mark.parametrize(("name", "steps", "tolerance"), [("euler", 400, 0.02), ("heun", 40, 0.01), ("dpm++2m", 40, 0.01)])
def test_gaussian_data_are_recovered(name: str, steps: int, tolerance: float) -> None:
    x = 60 * torch.randn(4000, 1, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = SAMPLERS[name](exact, x, karras_sigmas(steps, 0.002, 60.0))
    assert float(out.mean()) == pytest.approx(float(exact_flow(x, 60.0).mean()), abs=tolerance)
    assert float(out.std()) == pytest.approx(STD, rel=tolerance + 0.02)


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2), ("dpm++2m", 2)])
def test_order_of_convergence(name: str, order: int) -> None:
    """Halving the step divides the error by 2^order (the schedule stops at sigma = 0.5, so that its last leap is not what is measured)."""

    def shifted(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return exact(x, sigma)

    x = torch.tensor([3.0, -5.0, 8.0], dtype=torch.float64)[:, None, None, None]
    start, stop = 10.0, 0.5
    truth = MEAN + (x - MEAN) * ((STD**2 + stop**2) / (STD**2 + start**2)) ** 0.5

    def error(steps: int) -> float:
        sigmas = karras_sigmas(steps + 1, stop, start)[:-1]
        return float((SAMPLERS[name](shifted, x, sigmas) - truth).abs().max())

    measured = np.log2(error(64) / error(128))
    assert measured == pytest.approx(order, abs=0.35)


def test_dpm_solver_agrees_with_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    steps = 12
    sigmas = karras_sigmas(steps, 0.02, 30.0)
    scheduler = diffusers.EDMDPMSolverMultistepScheduler(
        sigma_min=0.02,
        sigma_max=30.0,
        sigma_data=0.5,
        prediction_type="epsilon",
        solver_order=2,
        final_sigmas_type="zero",
        lower_order_final=True,
    )
    scheduler.set_timesteps(steps)
    assert torch.allclose(scheduler.sigmas.double(), sigmas, rtol=1e-4)
    x = 30 * torch.randn(5, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    ours = SAMPLERS["dpm++2m"](exact, x.double(), scheduler.sigmas.double())
    theirs = x.double()
    for sigma, t in zip(scheduler.sigmas[:-1].double(), scheduler.timesteps, strict=True):
        # diffusers turns a network's output F into D = c_skip x + c_out F: give it the F that makes D exact.
        skip, out = 0.25 / (sigma**2 + 0.25), sigma * 0.5 / (sigma**2 + 0.25) ** 0.5
        theirs = scheduler.step((exact(theirs, sigma) - skip * theirs) / out, t, theirs).prev_sample.double()
    assert float((ours - theirs).abs().max()) < 1e-4


def test_one_euler_step_is_the_denoiser() -> None:
    x = torch.randn(3, 1, 2, 2)
    assert torch.allclose(euler(exact, x, karras_sigmas(1, 0.1, 5.0)), exact(x, torch.tensor(5.0)))
    with pytest.raises(ValueError, match="at least one step"):
        karras_sigmas(0, 0.1, 5.0)


class Zero(torch.nn.Module):
    """A network that says nothing."""

    def forward(self, x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)


def test_edm_preconditioning_of_a_silent_network_is_the_wiener_filter() -> None:
    """With F = 0 and data N(0, s^2), D = c_skip x_t is already optimal and the weighted loss is c_skip-optimal: exactly 1 on average."""
    denoiser = EdmDenoiser(Zero(), 0.5)
    x_t = torch.randn(2, 1, 4, 4)
    assert torch.allclose(denoiser(x_t, torch.tensor([0.5, 2.0]), torch.zeros(2, 0))[0], x_t[0] / 2)
    generator = torch.Generator().manual_seed(0)
    x = 0.5 * torch.randn(2000, 1, 8, 8, generator=generator)
    assert float(edm_loss(denoiser, x, torch.zeros(2000, 0), 0.0, 1.4, generator)) == pytest.approx(1.0, abs=0.02)


def test_guidance_is_a_line_through_both_answers() -> None:
    class Asked(torch.nn.Module):
        def forward(self, x_t: torch.Tensor, sigma: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
            return torch.where(torch.isnan(c[:, :1, None, None]), torch.zeros_like(x_t), torch.ones_like(x_t))

    x, sigma, c = torch.zeros(2, 1, 2, 2), torch.tensor(1.0), torch.zeros(2, 1)
    for w in (0.0, 1.0, 2.5):
        assert torch.allclose(guided(Asked(), c, w)(x, sigma), torch.full_like(x, w))  # type: ignore[arg-type]


def test_noise_depends_on_the_galaxy_alone() -> None:
    seeds = galaxy_seeds(3, 0, 10)
    assert len(set(seeds + galaxy_seeds(4, 0, 10))) == 20
    noise = seeded_noise(seeds, (5, 8, 8))
    assert torch.equal(seeded_noise(galaxy_seeds(3, 4, 2), (5, 8, 8)), noise[4:6])
    assert float(noise.std()) == pytest.approx(1, abs=0.05)
