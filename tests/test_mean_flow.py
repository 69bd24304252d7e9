"""The mean flow (bench/mean_flow.py) against data for which it is known: pixels N(m, s^2), independent of each other.

The probability flow keeps (x_t - m) / sqrt(s^2 + t^2), so that x_r = m + a (x_t - m), a^2 = (s^2 + r^2) / (s^2 + t^2), and with
g = 1 - r / t

    D(x_t, t, g) = x_t - (x_t - x_r) / g = x_t - t^2 (2 - g) / ((s^2 + t^2) (1 + a)) (x_t - m),

which is the denoiser's where g = 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hubbleflow.diffusion import EdmDenoiser, seeded_noise
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.models.from_file import load_file
from hubbleflow.models.model import Model
from hubbleflow.survey import Survey
from hubbleflow.training import Recipe, Training, weights_hash

FILE = Path(__file__).parents[1] / "bench" / "mean_flow.py"
M, S, SIZE = 0.3, 0.5, 16
SEEDS = list(range(60))
NONE = torch.zeros(len(SEEDS), 0)
# Forward differentiation loads what torch itself has written in a language that it has given up.
pytestmark = [
    pytest.mark.usefixtures("registered"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """The file's model, while these tests run."""
    before = dict(Model.registered)
    kind = load_file(FILE)
    Model.registered[kind.name] = kind
    yield
    Model.registered.clear()
    Model.registered.update(before)


class GaussianNetwork(nn.Module):
    """F of the denoiser, as `denoising` says, or of the exact D (0), or of what lies between."""

    def __init__(self, model: Any, denoising: float = 0.0) -> None:
        super().__init__()
        self.model, self.denoising, self.evaluations = [model], nn.Parameter(torch.tensor(denoising)), 0

    def forward(self, x: torch.Tensor, code: torch.Tensor, c: torch.Tensor, m: None = None) -> torch.Tensor:
        self.evaluations += 1
        t, g = torch.exp(4 * code.double())[:, None, None, None], self.model[0].gap.double()[:, None, None, None]
        total = t**2 + S**2
        a = ((S**2 + ((1 - g) * t) ** 2) / total).sqrt()
        x_t = total.sqrt() * x.double()
        exact, denoiser = (x_t - t**2 / total * amount * (x_t - M) for amount in ((2 - g) / (1 + a), 1.0))
        d = exact + self.denoising * (denoiser - exact)
        return (d - S**2 / total * x_t) / (t * S / total.sqrt())


def gaussian(denoising: float = 0.0, **arguments: float) -> tuple[Any, GaussianNetwork]:
    """The model around that network."""
    model: Any = load_file(FILE)(1, SIZE, (), S, multipliers=(1,), width=8, of_bands={}, **arguments)
    network = GaussianNetwork(model, denoising)
    model.denoiser = EdmDenoiser(network, S)
    return model, network


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data(n: int = 400, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    return M + S * torch.randn(n, 1, SIZE, SIZE, generator=seeded(seed)), torch.zeros(n, 0)


def test_the_gradient_leads_from_the_denoiser_to_the_exact_function() -> None:
    model, network = gaussian()
    gradients = {}
    for denoising in (-0.1, 0.0, 0.1, 1.0):
        with torch.no_grad():
            network.denoising.fill_(denoising)
        network.denoising.grad = None
        model.loss(*data(), seeded(7)).backward()
        gradients[denoising] = float(network.denoising.grad)
    assert gradients[-0.1] < 0 < gradients[0.1] and gradients[1.0] > 0
    assert abs(gradients[0.0]) < 0.2 * min(-gradients[-0.1], gradients[0.1])


def test_tuning_turns_the_denoiser_into_the_exact_function() -> None:
    model, network = gaussian(denoising=1.0)
    optimizer = torch.optim.Adam(network.parameters(), 0.03)
    assert model.sample(NONE, SEEDS).std() < 0.01, "the denoiser draws the mean"
    for step in range(200):
        for group in optimizer.param_groups:
            group["lr"] = 0.03 * (1 - step / 200)
        optimizer.zero_grad()
        model.loss(*data(32, step), seeded(step)).backward()
        optimizer.step()
    assert abs(float(network.denoising.detach())) < 0.05
    assert model.sample(NONE, SEEDS).std().item() == pytest.approx(S, rel=0.1)


def test_shares_are_what_was_asked() -> None:
    model, _ = gaussian(denoised=0.25, whole=0.5)
    t = torch.full((20_000,), 10.0)
    gap = model.shares(t, seeded())
    assert float((gap == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert float((gap == 1).float().mean()) == pytest.approx(0.375, abs=0.02)
    between = gap[(gap > 0) & (gap < 1)]
    assert float(((1 - between) * 10).log().mean()) == pytest.approx(np.log(model.sigma_min * 10) / 2, abs=0.1), "ln r is even"
    low = model.shares(torch.full((1000,), model.sigma_min / 2), seeded())
    assert bool(((low == 0) | (low == 1)).all())


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_any_number_of_steps_follows_the_flow(steps: int) -> None:
    model, network = gaussian()
    noise = seeded_noise(SEEDS, model.shape)
    exact = M + S / (S**2 + model.sigma_max**2) ** 0.5 * (model.sigma_max * noise - M)
    with torch.no_grad():
        assert torch.allclose(model.sample(NONE, SEEDS, steps), exact, atol=1e-3)
    assert network.evaluations == steps


def test_what_cannot_be_asked() -> None:
    model, _ = gaussian()
    for steps in (0, -1):
        with pytest.raises(InputError, match=f"at least one step, got {steps}"):
            model.sample(NONE, SEEDS, steps)
    with pytest.raises(InputError, match="has no sampler 'heun'"):
        model.sample(NONE, SEEDS, sampler="heun")
    for shares in ({"denoised": 1.0}, {"whole": 1.5}, {"denoised": -0.1}):
        with pytest.raises(InputError, match="denoised and whole are shares"):
            gaussian(**shares)
    with pytest.raises(InputError, match="noise level of the last step"):
        gaussian(last=500.0)


@pytest.fixture(scope="module")
def sky() -> GalaxySet:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32] - 15.5
    images = 5 * np.exp(-(x**2 + y**2) / rng.uniform(5, 50, (24, 1, 1, 1))) + rng.normal(0, 0.1, (24, 2, 32, 32))
    survey = Survey("two bands", ("r", "i"), 0.2, 27.0, "count", (0.7, 0.7), (0.05, 0.05), "i", ("i", "r", "r"))
    return GalaxySet(images.astype("f4"), survey, {"redshift": rng.uniform(0.1, 2, 24)})


@pytest.fixture(scope="module")
def teacher(sky: GalaxySet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edm") / "model"
    list(Training(sky, folder, Recipe(steps=3, arguments={"width": 16, "multipliers": [1, 2], "scales": 2})).run())
    return folder


def test_it_starts_from_an_edm_and_draws_in_one_evaluation(sky: GalaxySet, teacher: Path, tmp_path: Path) -> None:
    training = Training(sky, tmp_path / "student", Recipe(model="mean-flow", steps=2, start=str(teacher)))
    first = Generator.load(teacher).model.state_dict()
    mine = training.online.state_dict()
    assert all(torch.equal(value, mine[name]) for name, value in first.items() if "correction" not in name)
    assert not any(bool(value.any()) for name, value in mine.items() if "embed_gap" in name), "g says nothing yet"
    list(training.run())
    student = Generator.load(tmp_path / "student")
    asked: list[int] = []
    network: Any = student.model
    network.denoiser.network.register_forward_hook(lambda *_: asked.append(1))
    images = student.sample(redshift=[0.5, 1.0]).images
    assert images.shape == (2, 2, 32, 32) and np.isfinite(images).all() and len(asked) == 1
    again = Training(sky, tmp_path / "again", Recipe(model="mean-flow", steps=1, start=str(tmp_path / "student")))
    assert again.online.state_dict()["embed_gap.weight"].any(), "another that goes on keeps it"


def test_a_stopped_training_goes_on_to_the_same_bits(sky: GalaxySet, teacher: Path, tmp_path: Path) -> None:
    recipe = Recipe(model="mean-flow", steps=4, start=str(teacher), save_every=2)
    list(Training(sky, tmp_path / "whole", recipe).run())
    steps = Training(sky, tmp_path / "stopped", recipe).run()
    for _ in range(3):
        next(steps)
    resumed = Training(sky, tmp_path / "stopped", recipe, resume=True)
    assert resumed.step == 2
    list(resumed.run())
    assert weights_hash(tmp_path / "stopped") == weights_hash(tmp_path / "whole")
