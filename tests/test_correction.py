"""What a denoiser gets wrong on average is found by least squares: against exact answers, and at the end of a training."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hubbleflow.averages import averaged
from hubbleflow.diffusion import EdmDenoiser
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.models.edm import Edm
from hubbleflow.networks import patch_unet
from hubbleflow.networks.correction import FITTED, HIGHEST, LOWEST, NODES, SHIFTS, Correction
from hubbleflow.networks.expected_error import hats
from hubbleflow.networks.mean_galaxy import MeanImage
from hubbleflow.networks.patch_unet import noise_compressed
from hubbleflow.survey import Survey
from hubbleflow.trained import TrainedModel
from hubbleflow.training import Recipe, Training, weights_hash

SIZE, SIGMA = 32, 0.1
LEVELS = np.geomspace(LOWEST, HIGHEST, NODES)
LEVEL = float(LEVELS[5])  # two thirds of the sky's own noise


def nothing(x: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(x), 0)


def white_wiener(x_t: torch.Tensor, sigma: torch.Tensor, c: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    """The best there is for white noise of rms SIGMA around m."""
    return m + SIGMA**2 / (SIGMA**2 + sigma[:, None, None, None] ** 2) * (x_t - m)


def error(correction: Correction | None, x: torch.Tensor, m: torch.Tensor, where: torch.Tensor | None = None) -> float:
    """Mean square of what is left of x at LEVEL, over SIGMA^2."""
    sigma = torch.full((len(x),), LEVEL)
    x_t = x + LEVEL * torch.randn(x.shape, generator=torch.Generator().manual_seed(99))
    d = white_wiener(x_t, sigma, nothing(x), m)
    if correction is not None:
        d = d + correction(x_t - m, sigma, MeanImage(m))
    left = (x - d) ** 2
    return float((left if where is None else left[where.expand_as(left)]).mean()) / SIGMA**2


def found(x: torch.Tensor, m: torch.Tensor) -> Correction:
    correction = Correction(x.shape[1], SIZE)
    correction.fit(white_wiener, x, nothing(x), m)
    return correction


def test_it_is_the_sum_of_its_terms() -> None:
    generator = torch.Generator().manual_seed(0)
    correction = Correction(3, SIZE)
    correction.table.copy_(torch.randn(correction.table.shape, generator=generator))
    correction.sky_rms.copy_(torch.tensor([0.1, 0.2, 0.3]))
    rest = 0.3 * torch.randn(5, 3, SIZE, SIZE, generator=generator)
    m = torch.rand(5, 3, SIZE, SIZE, generator=generator) ** 4 * torch.tensor([0.0, 0.1, 1.0, 5.0, 30.0])[:, None, None, None]
    sigma = torch.tensor([0.001, 0.012, 0.3, 2.0, 7.0])
    place = (sigma / LOWEST).log() / math.log(HIGHEST / LOWEST)
    small = (sigma / LOWEST).clamp(max=1) ** 2
    amounts = torch.tensordot(hats(place, NODES) * ((place < 1) * small)[:, None], correction.table, 1)
    expected = torch.einsum("nbk,knbyx->nbyx", amounts, correction._terms(rest, sigma, MeanImage(m)))
    torch.testing.assert_close(correction(rest, sigma, MeanImage(m)), expected, atol=1e-5, rtol=1e-4)
    assert (expected[4] == 0).all()  # beyond the last noise level
    assert (expected[1:4].flatten(1).std(dim=1) > 0.01).all()


def test_before_it_is_fitted_it_is_nothing() -> None:
    assert Correction(1, SIZE)(torch.ones(1, 1, SIZE, SIZE), torch.tensor([0.1]), MeanImage(torch.zeros(1, 1, SIZE, SIZE))) == 0.0


def test_correlated_noise_is_denoised_as_wiener_would() -> None:
    spectrum = 1 + 0.6 * np.cos(2 * np.pi * np.fft.fftfreq(SIZE))
    power = torch.from_numpy(spectrum[:, None] * spectrum).float()  # of the sky over that of white noise; neighbours are alike
    white = torch.fft.fft2(torch.randn(200, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1)))
    x = SIGMA * torch.fft.ifft2(white * power.sqrt()).real
    m = torch.zeros_like(x)
    correction = found(x[:100], m[:100])
    best = float((power * LEVEL**2 / (power * SIGMA**2 + LEVEL**2)).mean())
    white_only, corrected = error(None, x[100:], m[100:]), error(correction, x[100:], m[100:])
    assert white_only > 1.05 * best
    assert abs(corrected - best) < 0.2 * (white_only - best)


def test_pixels_that_are_not_gaussian_are_denoised_by_a_curve() -> None:
    x = SIGMA * torch.randn(60, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(2)).sign()
    m = torch.zeros_like(x)
    corrected = error(found(x[:30], m[:30]), x[30:], m[30:])
    x_t = x[30:] + LEVEL * torch.randn(x[30:].shape, generator=torch.Generator().manual_seed(99))
    best = float((x[30:] - SIGMA * torch.tanh(x_t * SIGMA / LEVEL**2)).square().mean()) / SIGMA**2
    linear = error(None, x[30:], m[30:])
    assert linear > 1.3 * best
    assert corrected - best < 0.35 * (linear - best)  # it bends at every rms alone


def test_a_smooth_galaxy_is_rid_of_noise_that_the_denoiser_left() -> None:
    axis = torch.arange(SIZE) - (SIZE - 1) / 2
    profile = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 4.0**2))
    m = torch.linspace(0.3, 6, 80)[:, None, None, None] * profile
    bright = m > 1.0
    noise = torch.where(bright, 0.0, SIGMA) * torch.randn(m.shape, generator=torch.Generator().manual_seed(3))
    x = m + noise  # asinh compresses the noise of what is bright
    correction = found(x[::2], m[::2])
    before, after = error(None, x[1::2], m[1::2], bright[1::2]), error(correction, x[1::2], m[1::2], bright[1::2])
    assert after < 0.3 * before
    assert error(correction, x[1::2], m[1::2], m[1::2] < 0.1) < 1.01 * error(None, x[1::2], m[1::2], m[1::2] < 0.1)


def test_where_all_is_right_next_to_nothing_is_found() -> None:
    x = SIGMA * torch.randn(60, 2, SIZE, SIZE, generator=torch.Generator().manual_seed(4))
    m = torch.zeros_like(x)
    correction = found(x[:30], m[:30])
    assert float(correction.table[:, :, : len(SHIFTS)].abs().max()) < 0.02
    assert error(correction, x[30:], m[30:]) < 1.001 * error(None, x[30:], m[30:])


def test_while_it_learns_a_denoiser_is_not_corrected() -> None:
    class Flat(torch.nn.Module):
        def forward(self, *given: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(given[0])

    mean = Flat()
    mean.forward = lambda c: torch.zeros(len(c), 1, SIZE, SIZE)  # type: ignore[method-assign]
    denoiser = EdmDenoiser(Flat(), 0.5, mean, Correction(1, SIZE))
    x = SIGMA * torch.randn(30, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(5))
    sigma, c = torch.full((30,), LEVEL), torch.zeros(30, 1)
    denoiser.fit_correction(x, c)
    corrected = denoiser(x, sigma, c)
    plain = denoiser.train()(x, sigma, c)
    torch.testing.assert_close(plain, 0.5**2 / (0.5**2 + LEVEL**2) * x)
    assert float((corrected - white_wiener(x, sigma, c, torch.zeros_like(x))).square().mean()) < 0.05 * float(
        (plain - white_wiener(x, sigma, c, torch.zeros_like(x))).square().mean()
    )


@pytest.mark.parametrize("bands", [1, 2])
def test_stamps_of_any_size_numbers_that_are_none_and_noise_levels_at_the_ends(bands: int) -> None:
    correction = Correction(bands, 20)
    correction.table.fill_(0.5)
    correction.table[-1] = 0.0
    rest, m = torch.ones(6, bands, 20, 20), torch.zeros(6, bands, 20, 20)
    sigma = torch.tensor([0.0, LOWEST / 10, LOWEST, float(LEVELS[-2]), 0.999 * HIGHEST, HIGHEST])
    size = correction(rest, sigma, MeanImage(m)).abs().amax(dim=(1, 2, 3)) / (rest.amax() + 1)
    assert size[0] == 0 and size[5] == 0
    assert size[1] < 0.02 * size[2] and size[4] < 0.02 * size[3]
    rest[0, 0, 3, 3] = torch.nan
    spoilt = correction(rest, torch.full((6,), 0.1), MeanImage(m))
    assert spoilt[0].isnan().any() and spoilt[1:].isfinite().all()
    nothing_at_all = Correction(bands, 20)
    nothing_at_all.fit(lambda x_t, sigma, c, m: torch.zeros_like(x_t), torch.zeros(4, bands, 20, 20), torch.zeros(4, 0), m[:4])
    assert nothing_at_all.table.isfinite().all()


def test_models_that_have_it_are_those_whose_mean_is_learned_beside() -> None:
    arguments = {"bands": 1, "image_size": 16, "conditions": [0], "sigma_data": 0.5, "width": 16, "mean_widths": 4, "of_bands": {}}
    assert Edm(**arguments | {"mean_widths": 0}).finishing(100) == 0
    assert Edm(**arguments | {"mean_alone": True}).finishing(100) == 0
    assert Edm(**arguments).finishing(100) == 1900


def test_what_depends_on_the_mean_alone_is_made_once_a_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(patch_unet, "noise_compressed", lambda m: asked.append(tuple(m.shape)) or noise_compressed(m))
    arguments = {"bands": 1, "image_size": 16, "conditions": [0], "sigma_data": 0.5, "width": 16, "mean_widths": 4, "of_bands": {}}
    model = Edm(**arguments).eval()
    with torch.no_grad():
        model.sample(torch.zeros(3, 1), [1, 2, 3], steps=6)
        assert asked == [(3, 1, 16, 16)]
        model.sample(torch.ones(2, 1), [1, 2], steps=6)
    assert asked[1:] == [(2, 1, 16, 16)]


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> GalaxySet:
    rng = np.random.default_rng(6)
    images = rng.normal(size=(64, 5, 16, 16)).astype(np.float32)
    return GalaxySet(images, Survey.get("hsc-wide"), {"redshift": rng.uniform(0, 1, 64)}).write(tmp_path_factory.mktemp("sky") / "sky.h5")


RECIPE = Recipe(steps=200, batch_size=16, seed=1, snapshots=4, arguments={"width": 16, "mean_widths": 4})


@pytest.fixture(scope="module")
def folder(sky: GalaxySet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "first"
    training, told = Training(sky, folder, RECIPE), []
    for _ in training.run(lambda done, of: told.append((done, of))):
        assert not table_of(training.averaged()).any()
    assert told[-1] == (16 * FITTED, 16 * FITTED)
    assert training.finished
    return folder


def table_of(trained: TrainedModel) -> torch.Tensor:
    model = trained.model
    assert isinstance(model, Edm)
    return model.denoiser.correction.get_buffer("table")


def test_a_training_ends_with_it_and_another_begins_without(sky: GalaxySet, folder: Path, tmp_path: Path) -> None:
    table = table_of(Generator.load(folder))
    assert table.any()
    torch.testing.assert_close(table_of(averaged(folder, 0.1)), table)
    half = Generator.load(Generator.load(folder).save_pretrained(tmp_path / "half"))
    torch.testing.assert_close(table_of(half), table, atol=1e-4, rtol=1e-2)
    second = Training(sky, tmp_path / "second", Recipe(steps=2, batch_size=16, seed=2, start=str(folder)))
    assert not table_of(second.averaged()).any()
    student = Training(sky, tmp_path / "student", Recipe(model="consistency", steps=2, batch_size=16, start=str(folder)))
    assert student.averaged().model.finishing(100) == 0


def test_a_training_that_is_killed_as_it_finishes_goes_on_to_the_same_weights(sky: GalaxySet, folder: Path, tmp_path: Path) -> None:
    def kill(done: int, of: int) -> None:
        raise KeyboardInterrupt

    killed = Training(sky, tmp_path / "killed", RECIPE)
    with pytest.raises(KeyboardInterrupt):
        list(killed.run(kill))
    resumed = Training(sky, tmp_path / "killed", RECIPE, resume=True)
    assert resumed.progress == 1 and not resumed.finished
    assert list(resumed.run()) == []
    assert resumed.finished
    assert weights_hash(tmp_path / "killed") == weights_hash(folder)
    assert Training(sky, tmp_path / "killed", RECIPE, resume=True).finished


def test_a_longer_training_goes_on_without_it_and_ends_with_another(sky: GalaxySet, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "longer")
    longer = Training(sky, tmp_path / "longer", replace(RECIPE, steps=203), resume=True)
    for _ in longer.run():
        assert not table_of(longer.averaged()).any()
    assert table_of(longer.averaged()).any()
    assert float((table_of(longer.averaged()) - table_of(Generator.load(folder))).abs().max()) > 0
