"""The consistency model against data for which the consistency function is known: pixels N(m, s^2), independent of each other.

The probability flow keeps (x_t - m) / sqrt(s^2 + t^2), so that f(x_t, t) = m + s / sqrt(s^2 + t^2) (x_t - m), and the denoiser is the same
with the square of that slope.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hubbleflow.diffusion import EdmDenoiser, seeded_noise
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.models import get_model
from hubbleflow.models.consistency import Consistency
from hubbleflow.survey import Survey
from hubbleflow.training import Recipe, Training, weights_hash

M, S, SIZE = 0.3, 0.5, 32
SEEDS = list(range(40))
NONE = torch.zeros(len(SEEDS), 0)


class GaussianNetwork(nn.Module):
    """F of m + slope^(1 + power) (x_t - m): power 0 is the consistency function, power 1 the denoiser, and all agree where t = 0."""

    def __init__(self, power: float = 0.0) -> None:
        super().__init__()
        self.power, self.evaluations = nn.Parameter(torch.tensor(power)), 0

    def forward(self, x: torch.Tensor, code: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        self.evaluations += 1
        t = torch.exp(4 * code.double())[:, None, None, None]
        total = t**2 + S**2
        x_t = total.sqrt() * x.double()
        f = M + (S / total.sqrt()) ** (1 + self.power) * (x_t - M)
        return (f - S**2 / total * x_t) / (t * S / total.sqrt())


def gaussian(power: float = 0.0, **arguments: float) -> tuple[Consistency, GaussianNetwork]:
    """The model around that network."""
    model, network = Consistency(1, SIZE, (), S, multipliers=(1,), width=8, of_bands={}, **arguments), GaussianNetwork(power)
    model.denoiser = EdmDenoiser(network, S)
    return model, network


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data(n: int = 256, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    return M + S * torch.randn(n, 1, SIZE, SIZE, generator=seeded(seed)), torch.zeros(n, 0)


def power_gradient(model: Consistency, network: GaussianNetwork) -> float:
    network.power.grad = None
    model.loss(*data(), seeded(7)).backward()
    assert network.power.grad is not None
    return float(network.power.grad)


def test_the_loss_of_the_exact_function_is_what_the_straight_path_costs() -> None:
    """x + t n and x + r n lie on one straight line, not on one path of the flow: with a the slope of f, the mean square of what is left is
    s^2 (a_t - a_r)^2 + (t a_t - r a_r)^2, less and less as r comes near t."""
    model, _ = gaussian(sigma_min=0.01)
    x, c = data()
    losses = []
    for progress in (0.0, 0.5, 1.0):
        model.anneal(progress)
        t = (model.p_mean + model.p_std * torch.randn(len(x), generator=seeded(7))).exp().double()
        r = model.earlier(t)
        a_t, a_r = S / (S**2 + t**2).sqrt(), S / (S**2 + r**2).sqrt()
        a_r = torch.where(r > 0, a_r, 1.0)
        left = S**2 * (a_t - a_r) ** 2 + (t * a_t - r * a_r) ** 2
        losses.append(model.loss(x, c, seeded(7)).item())
        assert losses[-1] == pytest.approx(float((left * (t**-2 + S**-2) * t / (t - r)).mean()), rel=0.05)
    assert losses[0] > 5 * losses[1] > 25 * losses[2]


def test_the_gradient_leads_from_the_denoiser_to_the_exact_function() -> None:
    model, network = gaussian()
    model.anneal(1.0)
    gradients = {}
    for power in (-0.2, 0.0, 0.2, 1.0):
        with torch.no_grad():
            network.power.fill_(power)
        gradients[power] = power_gradient(model, network)
    assert gradients[-0.2] < 0 < gradients[0.2] and gradients[1.0] > 0
    assert abs(gradients[0.0]) < 0.1 * min(-gradients[-0.2], gradients[0.2])


def test_tuning_turns_the_denoiser_into_the_exact_function() -> None:
    model, network = gaussian(power=1.0)
    optimizer = torch.optim.Adam(network.parameters(), 0.03)
    assert model.sample(NONE, SEEDS).std() < 0.01, "the denoiser draws the mean"
    for step in range(200):
        model.anneal(step / 200)
        for group in optimizer.param_groups:
            group["lr"] = 0.03 * (1 - step / 200)
        optimizer.zero_grad()
        model.loss(*data(32, step), seeded(step)).backward()
        optimizer.step()
    assert abs(float(network.power.detach())) < 0.02
    assert model.sample(NONE, SEEDS).std().item() == pytest.approx(S, rel=0.1)


def test_one_step_is_the_closed_form() -> None:
    model, network = gaussian()
    noise = seeded_noise(SEEDS, model.shape)
    exact = M + S / (S**2 + model.sigma_max**2) ** 0.5 * (model.sigma_max * noise - M)
    with torch.no_grad():
        assert torch.allclose(model.sample(NONE, SEEDS), exact, atol=1e-4)
    assert network.evaluations == 1


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_any_number_of_steps_draws_the_right_distribution(steps: int) -> None:
    model, network = gaussian()
    with torch.no_grad():
        drawn = model.sample(NONE, SEEDS, steps)
    assert network.evaluations == steps
    assert drawn.mean().item() == pytest.approx(M, abs=0.01) and drawn.std().item() == pytest.approx(S, rel=0.02)


def test_a_galaxy_is_its_seeds_alone() -> None:
    model, _ = gaussian()
    with torch.no_grad():
        for steps in (1, 2):
            together = model.sample(NONE, SEEDS, steps)
            assert torch.allclose(together[5:7], model.sample(NONE[5:7], SEEDS[5:7], steps), atol=1e-5)
            assert not torch.allclose(together[5], together[6], atol=0.1)


def test_what_cannot_be_asked() -> None:
    model, _ = gaussian()
    for steps in (0, -1):
        with pytest.raises(InputError, match=f"at least one step, got {steps}"):
            model.sample(NONE, SEEDS, steps)
    with pytest.raises(InputError, match="has no sampler 'heun'"):
        model.sample(NONE, SEEDS, sampler="heun")
    for gaps in ({"gap_first": 1.5}, {"gap_last": 0.0}, {"gap_first": 0.1, "gap_last": 0.2}):
        with pytest.raises(InputError, match="gap_first and gap_last"):
            gaussian(**gaps)
    with pytest.raises(InputError, match="noise level of the last step"):
        gaussian(last=500.0)


def test_it_has_the_arguments_of_edm_and_its_own() -> None:
    options = Consistency.options()
    assert {"gap_last", "last", *get_model("edm").options()} <= set(options) and len(set(options)) == len(options)
    with pytest.raises(InputError, match="no argument 'depth': it has gap_first, .*width"):
        Consistency.checked({"depth": 3})
    at_zero = Consistency(1, SIZE, (), S, multipliers=(1,), width=8, sigma_max=80.0, of_bands={})
    assert at_zero.sigma_max == 80.0


@pytest.fixture(scope="module")
def sky() -> GalaxySet:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    images = 5 * np.exp(-(x**2 + y**2) / rng.uniform(5, 50, (24, 1, 1, 1))) + rng.normal(0, 0.1, (24, 2, SIZE, SIZE))
    survey = Survey("two bands", ("r", "i"), 0.2, 27.0, "count", (0.7, 0.7), (0.05, 0.05), "i", ("i", "r", "r"))
    return GalaxySet(images.astype("f4"), survey, {"redshift": rng.uniform(0.1, 2, 24)})


@pytest.fixture(scope="module")
def teacher(sky: GalaxySet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edm") / "model"
    list(Training(sky, folder, Recipe(steps=3, arguments={"width": 16, "multipliers": [1, 2], "scales": 2})).run())
    return folder


def test_it_starts_from_an_edm_and_draws_in_one_evaluation(sky: GalaxySet, teacher: Path, tmp_path: Path) -> None:
    training = Training(sky, tmp_path / "student", Recipe(model="consistency", steps=2, start=str(teacher)))
    first = Generator.load(teacher)
    arguments = training.trained.arguments
    assert (arguments["width"], arguments["multipliers"], arguments["scales"]) == (16, [1, 2], 2)
    assert all(torch.equal(value, first.model.state_dict()[name]) for name, value in training.online.state_dict().items())
    list(training.run())
    student = Generator.load(tmp_path / "student")
    asked: list[int] = []
    assert isinstance(student.model, Consistency)
    student.model.denoiser.network.register_forward_hook(lambda *_: asked.append(1))
    images = student.sample(redshift=[0.5, 1.0]).images
    assert images.shape == (2, 2, SIZE, SIZE) and np.isfinite(images).all() and len(asked) == 1
    assert student.provenance(0, None, 1.0, None)["steps"] == 1


def test_a_stopped_training_goes_on_to_the_same_bits(sky: GalaxySet, teacher: Path, tmp_path: Path) -> None:
    recipe = Recipe(model="consistency", steps=4, start=str(teacher), save_every=2)
    list(Training(sky, tmp_path / "whole", recipe).run())
    steps = Training(sky, tmp_path / "stopped", recipe).run()
    for _ in range(3):
        next(steps)
    resumed = Training(sky, tmp_path / "stopped", recipe, resume=True)
    assert resumed.step == 2
    list(resumed.run())
    assert weights_hash(tmp_path / "stopped") == weights_hash(tmp_path / "whole")
