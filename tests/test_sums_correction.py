"""What a denoiser gets wrong of a galaxy's light as a whole: typical galaxies are shrunk as they should be, far ones are left."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hubbleflow.models.edm import Edm
from hubbleflow.networks.correction import HIGHEST, LOWEST, NODES
from hubbleflow.networks.sums_correction import FEWEST, ORDER_OF, WIDTHS, SumsCorrection, harmonics

SIZE, BANDS, SKY, FAR = 16, 2, 0.1, 2.0
LEVEL = float(np.geomspace(LOWEST, HIGHEST, NODES)[9])  # 0.24


def galaxies(n: int, seed: int, correction: SumsCorrection) -> torch.Tensor:
    """Sky of rms 0.1, and in one of ten galaxies sums of rms 2 in both bands alike."""
    generator = torch.Generator().manual_seed(seed)
    far = torch.rand(n, 1, 1, generator=generator) < 0.1
    sums = torch.where(far, FAR, 0.0) * torch.randn(n, 1, len(correction.get_buffer("images")), generator=generator)
    sky = SKY * torch.randn(n, BANDS, SIZE, SIZE, generator=generator)
    return sky + (sums @ correction.get_buffer("images")).unflatten(2, (SIZE, SIZE)).expand(-1, BANDS, -1, -1)


def linear(correction: SumsCorrection):
    """The best that one amount for all galaxies can do: of the sums, and of all else."""
    images, sky, all_of_them = correction.get_buffer("images"), SKY**2, SKY**2 + 0.1 * FAR**2

    def denoised(x_t: torch.Tensor, sigma: torch.Tensor, c: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        noise = sigma[:, None, None] ** 2
        u = (x_t - m).flatten(2) @ images.T
        d = sky / (sky + noise) * (x_t - m).flatten(2) + (all_of_them / (all_of_them + noise) - sky / (sky + noise)) * u @ images
        return m + d.unflatten(2, x_t.shape[2:])

    return denoised


def error(correction: SumsCorrection, x: torch.Tensor, fitted: bool, typical: torch.Tensor) -> float:
    """Mean square of what is left of typical galaxies' sums, at LEVEL."""
    sigma, m = torch.full((len(x),), LEVEL), torch.zeros_like(x)
    x_t = x + LEVEL * torch.randn(x.shape, generator=torch.Generator().manual_seed(7))
    d = linear(correction)(x_t, sigma, torch.zeros(len(x), 0), m)
    if fitted:
        d = d + correction(d - m, x_t - m, sigma)
    return float((((x - d).flatten(2) @ correction.get_buffer("images").T) ** 2)[typical].mean())


@pytest.fixture(scope="module")
def correction() -> SumsCorrection:
    correction = SumsCorrection(BANDS, SIZE)
    x = galaxies(1200, 0, correction)
    correction.fit(linear(correction), x, torch.zeros(len(x), 0), torch.zeros_like(x), torch.full((BANDS,), SKY))
    return correction


def test_few_far_ones_do_not_keep_the_others_from_being_shrunk(correction: SumsCorrection) -> None:
    """The best error of a typical sum is SKY^2 LEVEL^2 / (SKY^2 + LEVEL^2); one amount for all leaves more than twice that."""
    x = galaxies(2000, 1, correction)
    far = (x.flatten(2) @ correction.get_buffer("images").T).square().mean(dim=(1, 2)) > 16 * SKY**2
    best = SKY**2 * LEVEL**2 / (SKY**2 + LEVEL**2)
    before, after = (error(correction, x, fitted, ~far) for fitted in (False, True))
    assert before > 2 * best
    assert 0.95 * best < after < best + 0.35 * (before - best)
    assert error(correction, x, True, far) < 1.1 * error(correction, x, False, far)


def test_it_fades_where_there_is_no_noise_and_says_nothing_where_there_is_nothing_but(correction: SumsCorrection) -> None:
    rest = torch.randn(4, BANDS, SIZE, SIZE)
    said = [correction(rest, rest, torch.full((4,), sigma)) for sigma in (HIGHEST, LOWEST, LOWEST / 100)]
    assert said[0] == 0.0
    assert float(said[1].abs().max()) > 0
    torch.testing.assert_close(said[2], 1e-4 * said[1])
    assert SumsCorrection(BANDS, SIZE)(rest, rest, torch.full((4,), 0.1)) == 0.0


def test_a_model_is_finished_with_it_where_there_are_galaxies_enough() -> None:
    torch.manual_seed(0)
    model = Edm(1, 16, (0,), 0.5, width=8, multipliers=(1,), patch=2, sums=16, of_bands={}).eval()
    generator, told = torch.Generator().manual_seed(0), []
    for n, expected in ((FEWEST - 1, False), (FEWEST, True)):
        x, c = torch.randn(n, 1, 16, 16, generator=generator), torch.zeros(n, 1)
        told.clear()
        model.finish(x, c, told.append)
        assert bool(model.denoiser.sums_correction.table.any()) == expected
        assert sum(told) == model.finishing(n)


@pytest.mark.parametrize("value", [math.nan, 0.0])
def test_what_is_not_a_number_stays_in_its_own_galaxy(correction: SumsCorrection, value: float) -> None:
    rest = torch.randn(3, BANDS, SIZE, SIZE)
    rest[1] = value
    said = correction(rest, rest, torch.full((3,), 0.1))
    assert bool(torch.isfinite(said[[0, 2]]).all())
    assert bool(torch.isfinite(said[1]).all()) == (value == 0)


def test_images_of_one_angle_are_orthonormal_and_turn_into_each_other() -> None:
    images = harmonics(32)
    assert len(images) == len(ORDER_OF) * len(WIDTHS)
    for part in images.split(len(WIDTHS)):
        torch.testing.assert_close(part @ part.T, torch.eye(len(WIDTHS), dtype=torch.float64))
    by_angle = images.unflatten(1, (32, 32)).unflatten(0, (-1, len(WIDTHS)))
    cosine, sine = by_angle[1], by_angle[2]  # lopsided along x, and along y
    torch.testing.assert_close(cosine.mT, sine)
    torch.testing.assert_close(by_angle[5:], -by_angle[5:].flip(2, 3))  # three-cornered: odd


def test_a_lopsided_galaxy_is_corrected_lopsidedly_whatever_way_it_leans(correction: SumsCorrection) -> None:
    rest = torch.randn(2, BANDS, SIZE, SIZE)
    said = correction(rest, rest, torch.full((2,), LEVEL))
    turned = correction(rest.mT, rest.mT, torch.full((2,), LEVEL))
    sums = (said.mT.flatten(2) @ correction.get_buffer("images").T, turned.flatten(2) @ correction.get_buffer("images").T)
    torch.testing.assert_close(*(part[..., : 3 * len(WIDTHS)] for part in sums), atol=1e-4, rtol=1e-3)
