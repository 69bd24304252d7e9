"""Samplers against exact answers (for Gaussian data the optimal denoiser and the probability flow are known), against their orders of
convergence, and against diffusers' schedulers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from hubbleflow.ddpm import DiscreteProcess
from hubbleflow.diffusion import EdmDenoiser, NoiseStreams, edm_loss, galaxy_seeds, guided, seeded_noise
from hubbleflow.errors import InputError
from hubbleflow.models.edm import Edm
from hubbleflow.models.lizarraga2024 import Lizarraga2024
from hubbleflow.sampling import (
    SAMPLERS,
    SCHEDULES,
    STOCHASTIC,
    ancestral,
    deis,
    dpm_solver_pp_3m,
    edm_stochastic,
    euler,
    evaluations,
    follow,
    heun,
    ipndm,
    karras_sigmas,
    log_snr_sigmas,
    sigmas_for,
    steps_for,
    unipc,
    vp_time_sigmas,
)
from hubbleflow.sampling.fitted import gaussian_sigmas

MEAN, STD = 0.7, 0.3
SHARES, MEANS, STDS = (torch.tensor(v, dtype=torch.float64) for v in ((0.3, 0.5, 0.2), (-1.0, 0.4, 1.5), (0.3, 0.5, 0.2)))
DETERMINISTIC = [name for name in SAMPLERS if name not in STOCHASTIC]


def exact(x_t: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """E[x | x_t] for x ~ N(MEAN, STD^2): Wiener's filter."""
    return MEAN + STD**2 / (STD**2 + sigma**2) * (x_t - MEAN)


def exact_flow(x: torch.Tensor, sigma_max: float) -> torch.Tensor:
    """Where the probability flow takes x from sigma_max to 0: x - MEAN shrinks by STD / sqrt(STD^2 + sigma^2)."""
    return MEAN + (x - MEAN) * STD / (STD**2 + sigma_max**2) ** 0.5


def mixture(x_t: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """E[x | x_t] where every pixel is one of three Gaussians: as crooked a denoiser as any network's, and exact."""
    x, variance = x_t[..., None], STDS**2 + sigma**2
    weight = (SHARES.log() - (x - MEANS) ** 2 / variance / 2 - variance.log() / 2).softmax(-1)
    return (weight * (MEANS + STDS**2 / variance * (x - MEANS))).sum(-1)


def start(sigma: float, n: int = 5, seed: int = 1) -> torch.Tensor:
    return sigma * torch.randn(n, 1, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(shape: torch.Size, seed: int = 2) -> Callable[[], torch.Tensor]:
    """Noise as diffusers draws it."""
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator, dtype=torch.float64)


def no_noise() -> torch.Tensor:
    raise AssertionError("a deterministic sampler asked for noise")


# -- exact answers --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "steps", "tolerance"),
    [
        ("euler", 400, 0.02),
        ("heun", 40, 0.01),
        ("dpm++2m", 40, 0.01),
        ("dpm++3m", 40, 0.01),
        ("unipc", 40, 0.01),
        ("deis", 40, 0.01),
        ("ipndm", 40, 0.01),
    ],
)
def test_gaussian_data_are_recovered(name: str, steps: int, tolerance: float) -> None:
    x = 60 * torch.randn(4000, 1, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = follow(name, exact, x, karras_sigmas(steps, 0.002, 60.0), no_noise)
    assert float(out.mean()) == pytest.approx(float(exact_flow(x, 60.0).mean()), abs=tolerance)
    assert float(out.std()) == pytest.approx(STD, rel=tolerance + 0.02)
    # Galaxy by galaxy, not only on average
    assert float((out - exact_flow(x, 60.0)).abs().max()) < 4 * tolerance * STD


@pytest.mark.parametrize(("name", "steps", "tolerance"), [("ancestral", 400, 0.02), ("edm-stochastic", 100, 0.01)])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_noise_on_the_way_leaves_gaussian_data_as_they_are(name: str, steps: int, tolerance: float, schedule: str) -> None:
    n = 20_000
    x, noise = start(60.0, n // 4), seeded(torch.Size([n // 4, 1, 2, 2]))
    out = follow(name, exact, x, SCHEDULES[schedule](steps, 0.002, 60.0), noise)
    assert float(out.mean()) == pytest.approx(MEAN, abs=4 * STD / n**0.5 + 0.01 * STD)
    assert float(out.std()) == pytest.approx(STD, rel=tolerance + 3 / (2 * n) ** 0.5)
    assert not torch.allclose(out, exact_flow(x, 60.0), atol=STD / 2), "the noise on the way counts"


@pytest.mark.parametrize(("name", "steps"), [(name, 200 if name in ("euler", "ddim", "ancestral") else 60) for name in SAMPLERS])
def test_a_mixture_keeps_its_shares(name: str, steps: int) -> None:
    n = 20_000
    x, noise = start(60.0, n // 4), seeded(torch.Size([n // 4, 1, 2, 2]))
    out = follow(name, mixture, x, karras_sigmas(steps, 0.002, 60.0), noise).flatten()
    edges = torch.linspace(-2, 2.5, 16, dtype=torch.float64)
    below = (SHARES * torch.special.ndtr((edges[:, None] - MEANS) / STDS)).sum(-1)
    found, expected = torch.histogram(out, edges).hist / n, below.diff()
    # Four deviations of a bin's count, and a fifth of a percent of all for finite steps
    assert bool(((found - expected).abs() < 4 * (expected / n).sqrt() + 2e-3).all()), (found - expected).tolist()


# -- order of convergence -------------------------------------------------------------------------------------------------------
def errors(sampler: Callable[..., torch.Tensor], sigmas: Callable[[int], torch.Tensor], steps: tuple[int, ...]) -> list[float]:
    """Largest distance from the probability flow of the mixture, which scipy follows to eleven digits."""
    first, last = (float(sigmas(steps[0])[k]) for k in (0, -1))
    x = first * torch.tensor([0.75, -1.3, 2.0, 0.25, -0.5], dtype=torch.float64)[:, None, None, None]

    def slope(sigma: float, values: np.ndarray) -> np.ndarray:
        return (values - mixture(torch.from_numpy(values), torch.tensor(sigma, dtype=torch.float64)).numpy()) / sigma

    truth = solve_ivp(slope, (first, last), x.flatten().numpy(), method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    return [float(np.abs(sampler(mixture, x, sigmas(n)).flatten().numpy() - truth).max()) for n in steps]


def karras_to(stop: float, first: float = 40.0) -> Callable[[int], torch.Tensor]:
    """Without the last leap to sigma = 0, which is not what is measured."""
    return lambda steps: karras_sigmas(steps + 1, stop, first)[:-1]


@pytest.mark.parametrize(
    ("sampler", "order"),
    [
        (SAMPLERS["euler"], 1),
        (SAMPLERS["heun"], 2),
        (SAMPLERS["dpm++2m"], 2),
        (SAMPLERS["dpm++3m"], 3),
        (SAMPLERS["unipc"], 3),
        (SAMPLERS["deis"], 3),
        (SAMPLERS["ipndm"], 2),  # steps are uneven in sigma
        (lambda *args: unipc(*args, order=1), 2),
        (lambda *args: deis(*args, order=1), 1),
        (lambda *args: deis(*args, order=2), 2),
        (lambda *args: deis(*args, rho=1.0), 3),
        (lambda *args: ipndm(*args, order=1), 1),
        (lambda *args: edm_stochastic(*args, no_noise, churn=0), 2),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_order_of_convergence(sampler: Callable[..., torch.Tensor], order: int) -> None:
    """Halving the step divides the error by 2^order."""
    coarse, fine = errors(sampler, karras_to(0.5), (200, 400))
    assert np.log2(coarse / fine) == pytest.approx(order, abs=0.2)


def test_unipc_of_order_three_is_of_order_four_but_for_its_beginning() -> None:
    coarse, fine = errors(lambda *args: unipc(*args, order=3), karras_to(0.5), (100, 200))
    assert np.log2(coarse / fine) > 3.1
    assert fine < errors(SAMPLERS["unipc"], karras_to(0.5), (200,))[0] / 10


def test_ipndm_is_of_its_order_where_steps_are_even() -> None:
    def even(steps: int) -> torch.Tensor:
        return torch.linspace(10, 0.5, steps + 1, dtype=torch.float64)

    for order, within in ((2, 0.1), (3, 0.1), (4, 0.3)):
        coarse, fine = errors(lambda *args, order=order: ipndm(*args, order=order), even, (800, 1600))
        assert np.log2(coarse / fine) == pytest.approx(order, abs=within)
    x = start(10.0)
    # Adams and Bashforth's weights are the exact integrals there: iPNDM is DEIS in sigma.
    assert torch.allclose(ipndm(mixture, x, even(50), order=3), deis(mixture, x, even(50), order=3, rho=1.0), atol=1e-12)


# diffusers calls numpy's functions on torch's tensors, of which numpy 2 warns through torch.
of_numpy_1 = pytest.mark.filterwarnings("ignore:__array(_wrap)?__ :DeprecationWarning")


# -- diffusers ------------------------------------------------------------------------------------------------------------------
def scheduled(kind: str | type, sigmas: torch.Tensor, **options: Any) -> Any:
    """A scheduler of diffusers', told our noise levels in float64 (its own come from float32 tables of 1000)."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = (getattr(diffusers, kind) if isinstance(kind, str) else kind)(**options)
    scheduler.set_timesteps(len(sigmas) - 1)
    scheduler.sigmas = sigmas
    return scheduler


def preserving(scheduler: Any, x: torch.Tensor) -> torch.Tensor:
    """The schedulers of variance-preserving models know alpha x_t, alpha = 1 / sqrt(1 + sigma^2), and take what D says."""
    scales = (1 + scheduler.sigmas**2).rsqrt()
    y = x * scales[0]
    for sigma, scale, t in zip(scheduler.sigmas[:-1], scales[:-1], scheduler.timesteps, strict=True):
        y = scheduler.step(mixture((y / scale).double(), sigma), t, y).prev_sample
    return y / scales[-1]


def exploding(scheduler: Any, x: torch.Tensor, **options: Any) -> torch.Tensor:
    """Those of x_t = x + sigma n take the noise."""
    for sigma, t in zip(scheduler.sigmas[:-1], scheduler.timesteps, strict=True):
        scheduler.scale_model_input(x, t)
        x = scheduler.step((x - mixture(x.double(), sigma)) / sigma, t, x, **options).prev_sample
    return x


@of_numpy_1
def test_euler_is_diffusers() -> None:
    sigmas, x = karras_sigmas(12, 0.02, 30.0), start(30.0)
    assert (
        float((exploding(scheduled("EulerDiscreteScheduler", sigmas), x) - euler(mixture, x, sigmas)).abs().max()) < 2e-6
    )  # theirs goes through float32


@of_numpy_1
def test_heun_is_diffusers() -> None:
    sigmas, x = karras_sigmas(12, 0.02, 30.0), start(30.0)
    scheduler = scheduled("HeunDiscreteScheduler", sigmas)
    scheduler.sigmas = torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(2), sigmas[-1:]])  # each level is asked twice
    assert float((exploding(scheduler, x) - heun(mixture, x, sigmas)).abs().max()) < 1e-12


@of_numpy_1
def test_ancestral_is_diffusers() -> None:
    sigmas, x = karras_sigmas(12, 0.02, 30.0), start(30.0)
    scheduler = scheduled("EulerAncestralDiscreteScheduler", sigmas)
    # It draws noise for the step to sigma = 0, too, and multiplies it by 0.
    theirs = exploding(scheduler, x, generator=torch.Generator().manual_seed(2))
    assert float((theirs - ancestral(mixture, x, sigmas, seeded(x.shape))).abs().max()) < 2e-6


@pytest.mark.parametrize("steps", [1000, 50])
def test_ancestral_is_ddpms_posterior(steps: int) -> None:
    """At the levels of Ho et al.'s process, with the smaller of their variances."""
    diffusers = pytest.importorskip("diffusers")
    process, x = DiscreteProcess.linear(), start(1.0)
    theirs = diffusers.DDPMScheduler(
        beta_start=1e-4,
        beta_end=0.02,
        variance_type="fixed_small",
        timestep_spacing="trailing",
        clip_sample=False,
        prediction_type="sample",
    )
    theirs.alphas_cumprod = torch.from_numpy(process.alpha_bar)  # its own are float32
    theirs.set_timesteps(steps)
    y, generator = x, torch.Generator().manual_seed(2)
    sigmas = process.sigmas(steps)
    for sigma, t in zip(sigmas[:-1], theirs.timesteps, strict=True):
        step = theirs.step(mixture(y * (1 + sigma**2).sqrt(), sigma), int(t), y, generator=generator)
        # A strided last step ends in the galaxy, and diffusers adds its noise to that all the same.
        y = step.pred_original_sample if t == theirs.timesteps[-1] else step.prev_sample
    ours = ancestral(mixture, x * (1 + sigmas[0] ** 2).sqrt(), sigmas, seeded(x.shape))
    assert float((ours - y).abs().max()) < 1e-5


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


def whole_parabola() -> type:
    """diffusers' DPM-Solver++(3M) with the half of the parabola's quadratic term that it leaves out."""
    diffusers = pytest.importorskip("diffusers")

    class Whole(diffusers.DPMSolverMultistepScheduler):
        def multistep_dpm_solver_third_order_update(self, outputs, *args, sample=None, **options):
            there, now, before, long_before = (-self.sigmas[self.step_index + k].log() for k in (1, 0, -1, -2))
            oldest, older, newest = outputs
            curve = ((newest - older) / (now - before) - (older - oldest) / (before - long_before)) / (now - long_before)
            h = there - now
            integral = h**2 - 2 * h + 2 - 2 * torch.exp(-h)  # of (l - now)^2 exp(-(there - l))
            scale = (1 + self.sigmas[self.step_index + 1] ** 2).rsqrt()
            return super().multistep_dpm_solver_third_order_update(outputs, sample=sample, **options) + scale * integral / 2 * curve

    return Whole


@of_numpy_1
@pytest.mark.parametrize("steps", [3, 4, 12, 14, 15, 20])
def test_third_order_dpm_solver_is_diffusers_made_whole(steps: int) -> None:
    """Also where fewer than 15 steps have a last but one of second order, as theirs."""
    sigmas, x = karras_sigmas(steps, 0.02, 30.0), start(30.0)
    options = {"solver_order": 3, "prediction_type": "sample", "final_sigmas_type": "zero"}
    ours = dpm_solver_pp_3m(mixture, x, sigmas)
    assert float((preserving(scheduled(whole_parabola(), sigmas, **options), x) - ours).abs().max()) < 2e-6  # theirs goes through float32
    half = float((preserving(scheduled("DPMSolverMultistepScheduler", sigmas, **options), x) - ours).abs().max())
    assert half < 2e-6 if steps < 5 else half > 1e-2, "four steps are of orders 1, 2, 2, 1: there is no parabola"


@of_numpy_1
@pytest.mark.parametrize("steps", [1, 2, 5, 20])
def test_second_order_dpm_solver_is_diffusers(steps: int) -> None:
    sigmas, x = karras_sigmas(steps, 0.02, 30.0), start(30.0)
    options = {"solver_order": 2, "prediction_type": "sample", "final_sigmas_type": "zero"}
    theirs = preserving(scheduled("DPMSolverMultistepScheduler", sigmas, **options), x)
    assert float((theirs - SAMPLERS["dpm++2m"](mixture, x, sigmas)).abs().max()) < 2e-6


@of_numpy_1
def test_half_a_parabola_is_of_second_order() -> None:
    """Why ours differs."""
    options = {"solver_order": 3, "prediction_type": "sample", "lower_order_final": False}

    def theirs(_denoise: object, x: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
        return preserving(scheduled("DPMSolverMultistepScheduler", sigmas, **options), x)

    coarse, fine = errors(theirs, karras_to(0.5), (50, 100))
    assert np.log2(coarse / fine) < 2.6
    assert errors(dpm_solver_pp_3m, karras_to(0.5), (100,))[0] < fine / 1.5


@of_numpy_1
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 12, 20])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc_is_diffusers(order: int, steps: int) -> None:
    sigmas, x = karras_sigmas(steps, 0.02, 30.0), start(30.0)
    options = {"solver_order": order, "prediction_type": "sample", "final_sigmas_type": "zero", "solver_type": "bh2"}
    theirs = preserving(scheduled("UniPCMultistepScheduler", sigmas, **options), x)
    assert float((theirs - unipc(mixture, x, sigmas, order)).abs().max()) < 1e-12


@of_numpy_1
@pytest.mark.parametrize("order", [1, 2, 3])
def test_deis_is_diffusers(order: int) -> None:
    """Theirs is a polynomial in ln sigma, to which sigma^(1/rho) tends; it cannot end at 0, and with 15 steps and more keeps its order."""
    sigmas, x = karras_sigmas(21, 0.02, 30.0)[:-1], start(30.0)
    theirs = preserving(scheduled("DEISMultistepScheduler", sigmas, solver_order=order, prediction_type="sample"), x)
    assert float((theirs - deis(mixture, x, sigmas, order, rho=1e6)).abs().max()) < 1e-7


def test_ipndm_is_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    sigmas, x = karras_sigmas(12, 0.02, 30.0), start(30.0)
    scale = (1 + sigmas**2).rsqrt()
    scheduler = diffusers.IPNDMScheduler(trained_betas=(sigmas * scale).tolist())
    scheduler.set_timesteps(12)
    scheduler.alphas, scheduler.betas = scale, sigmas * scale  # float64
    y = x * scale[0]
    for sigma, a, t in zip(sigmas[:-1], scale[:-1], scheduler.timesteps, strict=True):
        eps = (y / a - mixture(y / a, sigma)) / sigma
        y = scheduler.step((eps - y * sigma * a) / a, t, y).prev_sample  # it makes eps of the velocity
    assert float((y - ipndm(mixture, x, sigmas)).abs().max()) < 1e-10


# -- what all of them promise ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_is_the_denoiser(name: str) -> None:
    x = torch.randn(3, 1, 2, 2)
    one = follow(name, exact, x, karras_sigmas(1, 0.1, 80.0), no_noise)
    assert torch.allclose(one, exact(x, torch.tensor(80.0)))


@pytest.mark.parametrize("name", SAMPLERS)
def test_evaluations_are_counted(name: str) -> None:
    for steps in (1, 2, 3, 7):
        asked = []

        def denoise(x: torch.Tensor, sigma: torch.Tensor, asked: list[float] = asked) -> torch.Tensor:
            assert sigma.ndim == 0 and sigma.dtype == x.dtype and sigma > 0
            asked.append(float(sigma))
            return exact(x, sigma)

        x = torch.randn(3, 1, 2, 2)
        out = follow(name, denoise, x, karras_sigmas(steps, 0.1, 5.0), seeded(x.shape))
        assert out.dtype == x.dtype and len(asked) == evaluations(name, steps)
        assert steps_for(name, len(asked)) == steps
    for budget in range(1, 12):
        steps = steps_for(name, budget)
        assert evaluations(name, steps) <= budget < evaluations(name, steps + 1)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_galaxy_is_the_same_whatever_is_drawn_beside_it(name: str) -> None:
    def drawn(seeds: list[int]) -> torch.Tensor:
        streams = NoiseStreams(seeds, (1, 4, 4))
        return follow(name, exact, 60 * streams(), karras_sigmas(9, 0.02, 60.0), streams)

    together = drawn([3, 5, 8])
    assert torch.equal(drawn([8, 5, 3]).flip(0), together) and torch.equal(drawn([5]), together[1:2])
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_models_know_every_sampler(sampler: str) -> None:
    torch.manual_seed(0)
    ours = Edm(2, 8, [0], 0.5, width=8, multipliers=[1, 2], of_bands={}).eval()
    papers = Lizarraga2024(2, 16, [0], None, width=8, largest=4).eval()
    c = torch.tensor([[-1.0], [0.0], [1.0]])
    with torch.no_grad():
        for model in (ours, papers):
            together = model.sample(c, [1, 2, 3], steps=4, sampler=sampler)
            assert together.shape == (3, *model.shape) and torch.isfinite(together).all()
            alone = model.sample(c[1:2], [2], steps=4, sampler=sampler)
            assert torch.allclose(alone, together[1:2], atol=1e-4 * float(together.std()))


def test_names_and_numbers() -> None:
    x, sigmas = torch.zeros(1, 1, 2, 2), karras_sigmas(2, 0.1, 5.0)
    for ask in (
        lambda: follow("magic", exact, x, sigmas, no_noise),
        lambda: evaluations("magic", 3),
        lambda: steps_for("magic", 3),
        lambda: Edm(2, 8, [0], 0.5, width=8, multipliers=[1, 2], of_bands={}).sample(torch.zeros(1, 1), [1], sampler="magic"),
    ):
        with pytest.raises(InputError, match=r"^unknown sampler 'magic': choose one of dpm\+\+2m, dpm\+\+3m, unipc, .*, ancestral$"):
            ask()
    with pytest.raises(InputError, match="unknown sampler 'magic': choose one of ancestral, ddim, dpm.*edm-stochastic$"):
        Lizarraga2024(2, 16, [0], None, width=8, largest=4).sample(torch.zeros(1, 1), [1], sampler="magic")
    with pytest.raises(InputError, match="at least one step, got 0"):
        evaluations("heun", 0)
    with pytest.raises(InputError, match="at least once, got 0 evaluations"):
        steps_for("heun", 0)
    with pytest.raises(ValueError, match="orders 1 to 4, got 5"):
        ipndm(exact, x, sigmas, order=5)


def test_without_churn_edms_sampler_is_heuns() -> None:
    x, sigmas = start(60.0), karras_sigmas(8, 0.02, 60.0)
    assert torch.equal(edm_stochastic(mixture, x, sigmas, no_noise, churn=0.0), heun(mixture, x, sigmas))
    assert torch.equal(edm_stochastic(mixture, x, sigmas, no_noise, churned=(1e3, 1e4)), heun(mixture, x, sigmas))


# -- noise levels ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_go_from_end_to_end(schedule: str) -> None:
    sigmas = SCHEDULES[schedule](7, 0.02, 400.0)
    assert sigmas.dtype == torch.float64 and len(sigmas) == 8
    assert sigmas[[0, -2, -1]].tolist() == pytest.approx([400.0, 0.02, 0.0], rel=1e-9)
    assert all(after < before for before, after in pairwise(sigmas.tolist()))
    assert SCHEDULES[schedule](1, 0.02, 400.0).tolist() == pytest.approx([400.0, 0.0])
    with pytest.raises(ValueError, match="at least one step, got 0"):
        SCHEDULES[schedule](0, 0.1, 5.0)


def test_schedules_are_diffusers_and_ddpms() -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.EDMDPMSolverMultistepScheduler(sigma_min=0.02, sigma_max=30.0, sigma_schedule="exponential")
    scheduler.set_timesteps(12)
    assert torch.allclose(scheduler.sigmas.double(), log_snr_sigmas(12, 0.02, 30.0), rtol=1e-5)
    levels = DiscreteProcess.linear().sigmas(1000)
    assert torch.allclose(vp_time_sigmas(1000, float(levels[-2]), float(levels[0])), levels, rtol=0.03)  # a limit, not the same


@pytest.mark.parametrize(
    ("sampler", "steps", "at_most"),
    [
        ("deis", 10, 0.02),
        ("deis", 20, 0.003),
        ("dpm++3m", 20, 0.008),
        ("dpm++2m", 6, 0.03),
        ("dpm++2m", 10, 0.002),
        ("dpm++2m", 20, 1e-4),
        ("dpm++2m", 40, 0.01),
        ("ipndm", 50, 0.002),
    ],
)
def test_noise_levels_chosen_for_a_sampler_keep_the_width_of_gaussian_data(sampler: str, steps: int, at_most: float) -> None:
    """From a quiet sky's pixels to the brightness of whole galaxies; on Karras' levels twenty steps are off by up to seven per cent."""
    levels = sigmas_for(sampler, steps, 0.02, 80.0)
    assert len(levels) == steps + 1 and levels[0] == pytest.approx(80.0) and levels[-1] == 0 and bool((levels.diff() < 0).all())
    for s in (0.12, 0.164, 0.25, 0.5, 1.0, 3.0, 10.0):
        x = torch.full((1, 1, 1, 1), 80.0, dtype=torch.float64)
        drawn = follow(sampler, lambda x, sigma, s=s: x * s**2 / (s**2 + sigma**2), x, levels, None)  # type: ignore[misc]
        assert drawn.item() == pytest.approx(80 * s / (s**2 + 80**2) ** 0.5, rel=at_most)


def test_fitted_levels_are_in_order_for_any_number_of_steps_and_refuse_what_cannot_be() -> None:
    for steps in range(1, 16):
        levels = gaussian_sigmas(steps, 250.0, 0.08, 30.0)
        assert len(levels) == steps + 1 and levels[0] == pytest.approx(250.0) and bool((levels.diff() < 0).all())
    assert torch.equal(gaussian_sigmas(9, 250.0, 0.08, 30.0), gaussian_sigmas(9, 250.0, 0.08, 30.0))
    for wrong in [(0, 80.0, 0.1, 10.0), (5, 80.0, 0.1, 80.0), (5, 80.0, 0.0, 10.0), (5, 80.0, 10.0, 1.0)]:
        with pytest.raises(ValueError, match="at least one step|must lie in order"):
            gaussian_sigmas(*wrong)


# -- the denoiser and its guidance ----------------------------------------------------------------------------------------------
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


def test_autoguidance_leads_away_from_the_weaker() -> None:
    asked: list[str] = []

    def better(x_t: torch.Tensor, sigma: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        asked.append("better")
        return x_t + c[:, :1, None, None]

    def weaker(x_t: torch.Tensor, sigma: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        asked.append("weaker")
        return x_t + c[:, :1, None, None] / 2

    x, sigma, c = torch.zeros(2, 1, 2, 2), torch.tensor(1.0), torch.tensor([[1.0], [3.0]])
    for w, who in ((0.0, ["weaker"]), (1.0, ["better"]), (2.5, ["better", "weaker"])):
        asked.clear()
        expected = c[:, :, None, None] * (0.5 + 0.5 * w) * torch.ones_like(x)
        assert torch.allclose(guided(better, c, w, weaker)(x, sigma), expected) and sorted(asked) == who


def test_noise_depends_on_the_galaxy_alone() -> None:
    seeds = galaxy_seeds(3, 0, 10)
    assert len(set(seeds + galaxy_seeds(4, 0, 10))) == 20
    noise = seeded_noise(seeds, (5, 8, 8))
    assert torch.equal(seeded_noise(galaxy_seeds(3, 4, 2), (5, 8, 8)), noise[4:6])
    assert float(noise.std()) == pytest.approx(1, abs=0.05)
