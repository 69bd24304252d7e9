"""Neighbours taken away from Sersic fits: the truth comes back, with errors that hold; nobody else's numbers move; failures fall back."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import Recipe, SersicFlag, measure, neighbours
from hubbleflow.measure.neighbours import pulling, trusted_neighbour
from hubbleflow.measure.sersic_fit import fit_sersic
from hubbleflow.measure.sersic_model import SersicModel
from hubbleflow.measure.sersic_others import BELIEF, Freedom, Others
from hubbleflow.measure.sersic_result import SersicFit
from hubbleflow.measure.sersic_stamps import StampSource
from hubbleflow.measure.sersic_start import Start
from hubbleflow.measure.stamp import measure_stamp
from hubbleflow.survey import Survey
from test_measure import same
from test_sersic_fit import PSF_IMAGE, SIZE, draw

HSC, HSC_I = Survey.get("hsc-wide"), Survey.get("hsc-i")
MASKED, APART = Recipe(shapes=False, subtract_neighbours=False), Recipe(shapes=False)
SUBTRACTED = int(SersicFlag.NEIGHBOUR_SUBTRACTED)
NOISE = 0.05
GALAXY = {"flux": 250.0, "x": 31.2, "y": 32.1, "radius": 5.0, "q": 0.7, "angle": 20.0, "n": 1.5}
TRUTH = {"flux": 250.0, "x": 31.2, "y": 32.1, "radius": 5.0, "ellipticity": 0.3, "pos_angle": 20.0, "index": 1.5}
NEIGHBOUR = {"flux": 500.0, "x": 49.0, "y": 40.0, "radius": 4.0, "q": 0.8, "angle": -50.0, "n": 3.0}
SECOND = {"flux": 400.0, "x": 17.0, "y": 17.5, "radius": 3.0, "q": 0.6, "angle": 70.0, "n": 2.0}


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return NOISE * np.random.default_rng(seed).normal(size=(*shape, SIZE, SIZE))


def measured(images: np.ndarray, recipe: Recipe = APART, **options) -> dict[str, np.ndarray]:
    """Columns of stamps in one band."""
    return dict(measure(_set(images), progress=False, recipe=recipe, **options).columns)


def _set(images: np.ndarray) -> GalaxySet:
    return GalaxySet(np.asarray(images, np.float32)[:, None], HSC_I, psf=PSF_IMAGE[None])


def equal(first: dict[str, np.ndarray], second: dict[str, np.ndarray], rows: np.ndarray) -> bool:
    return all(first[name][rows].tobytes() == second[name][rows].tobytes() for name in first)


@pytest.fixture(scope="module")
def galaxy() -> np.ndarray:
    return draw(**GALAXY)


@pytest.fixture(scope="module")
def pair(galaxy) -> np.ndarray:
    return galaxy + draw(**NEIGHBOUR)


@pytest.fixture(scope="module")
def mixed(galaxy, pair) -> np.ndarray:
    """40 stamps; every third has the neighbour, every fifth a faint one far away."""
    images = galaxy + noise(40, seed=2)
    images[::3] += pair - galaxy
    images[1::5] += draw(flux=6.0, x=58.0, y=58.0, radius=1.5, n=1.0)
    return images


# -- the truth -------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("others", [(NEIGHBOUR,), (NEIGHBOUR, SECOND)])
def test_the_truth_comes_back_with_errors_that_hold(galaxy, others):
    image = galaxy + sum(draw(**one) for one in others)
    masked, apart = (measured(image + noise(60, seed=1), recipe) for recipe in (MASKED, APART))
    assert (apart["i_sersic_flag"] == SUBTRACTED).all() and (masked["i_sersic_flag"] == 0).all()
    for name, truth in TRUTH.items():
        pulls = (apart[f"i_sersic_{name}"] - truth) / apart[f"i_sersic_{name}_err"]
        assert abs(np.mean(pulls)) < 0.7 and 0.75 < np.std(pulls) < 1.3, name
    for name in ("radius", "index", "flux"):  # the wings that a mask leaves
        assert np.mean((masked[f"i_sersic_{name}"] - TRUTH[name]) / masked[f"i_sersic_{name}_err"]) > 2.0, name
    assert 0.9 < np.median(apart["i_sersic_chi2"]) < 1.1


def test_fluxes_of_all_bands(galaxy):
    own, others = np.array([100.0, 180.0, 250.0, 280.0, 300.0]), np.array([900.0, 700.0, 500.0, 300.0, 100.0])  # a blue neighbour
    bands = np.stack([galaxy * (f / 250) + draw(**NEIGHBOUR | {"flux": g}) for f, g in zip(own, others, strict=True)])
    galaxies = GalaxySet((bands + noise(12, 5)).astype(np.float32), HSC, psf=np.stack([PSF_IMAGE] * 5))
    apart, masked = (measure(galaxies, progress=False, recipe=recipe).columns for recipe in (APART, MASKED))
    for band, flux in zip(HSC.bands, own, strict=True):
        assert np.mean(apart[f"{band}_sersic_flux"]) == pytest.approx(flux, rel=0.01), band
        assert np.std(apart[f"{band}_sersic_flux"]) < 3 * np.median(apart[f"{band}_sersic_flux_err"]) + 0.01 * flux, band
    assert np.mean(masked["g_sersic_flux"]) > 1.03 * own[0]


def test_psf_of_each_galaxy_weights_and_shape(galaxy, pair):
    images = (pair + noise(6)).astype(np.float32)[:, None]
    galaxies = GalaxySet(images, HSC_I, psf=np.stack([PSF_IMAGE[None]] * 6), ivar=np.full_like(images, NOISE**-2))
    shared = measure(GalaxySet(images, HSC_I, psf=PSF_IMAGE[None], ivar=galaxies.ivar), progress=False, recipe=APART)
    each = measure(galaxies, progress=False, recipe=APART)
    assert each.columns["i_sersic_radius"] == pytest.approx(shared.columns["i_sersic_radius"], rel=1e-4)
    assert np.mean(each.columns["i_sersic_radius"]) == pytest.approx(5.0, rel=0.02)
    oblong = measure(GalaxySet(images[..., 4:, :], HSC_I, psf=PSF_IMAGE[None]), progress=False, recipe=APART).columns
    assert (oblong["i_sersic_flag"] == SUBTRACTED).all()
    assert oblong["i_sersic_radius"] == pytest.approx(shared.columns["i_sersic_radius"], rel=0.02)


# -- everybody else --------------------------------------------------------------------------------------------------------------------
def test_who_has_no_such_neighbour_keeps_every_bit(mixed):
    masked, apart = measured(mixed, MASKED), measured(mixed)
    touched = (apart["i_sersic_flag"] & SUBTRACTED) != 0
    assert touched.tolist() == [row % 3 == 0 for row in range(len(mixed))]
    assert masked["n_neighbours"][1] == 1 and not touched[1]  # a faint one far away does not matter
    assert equal(masked, apart, ~touched)
    assert all(masked["i_sersic_radius"][touched] != apart["i_sersic_radius"][touched])
    others = [name for name in apart if "_sersic_" not in name]
    assert all(apart[name].tobytes() == masked[name].tobytes() for name in others)


def test_workers_do_not_change_a_bit(mixed, monkeypatch):
    monkeypatch.setattr("hubbleflow.measure.block.LARGEST", 16)  # three blocks
    alone, sent = (measure(_set(mixed), workers=workers, progress=False, recipe=APART) for workers in (1, 2))
    assert same(alone, sent)


# -- failures --------------------------------------------------------------------------------------------------------------------------
def test_a_neighbour_that_cannot_be_fitted_stays_masked(mixed, monkeypatch):
    masked = measured(mixed, MASKED)
    monkeypatch.setattr(neighbours, "trusted_neighbour", lambda models, *_: np.zeros(len(models), bool))
    assert equal(masked, measured(mixed), np.arange(len(mixed)))


def test_a_second_fit_that_fails_leaves_the_first(mixed, monkeypatch):
    def failing(*planes, others, **options):
        fit = fit_sersic(*planes, others=others, **options)
        fit.flag[:5] |= SersicFlag.NOT_CONVERGED if others.freedom is Freedom.ALL else 0
        return fit

    masked, apart = measured(mixed, MASKED), measured(mixed)
    monkeypatch.setattr(neighbours, "fit_sersic", failing)
    some, touched = measured(mixed), np.flatnonzero(apart["i_sersic_flag"] & SUBTRACTED)
    assert equal(some, masked, touched[:5]) and equal(some, apart, touched[5:])


def test_which_models_are_trusted():
    fit = SersicFit(*(np.ones(8, int if f.name in ("dof", "iterations", "flag") else float) for f in fields(SersicFit)))
    fit.flag[:] = [0, 0, 0, 0, 0, 0, 0, 0]
    fit.x[:] = [50.0, 50.0, 50.0, 50.0, 50.0, 70.0, 40.0, 50.0]
    fit.radius[1] = 33.0
    fit.flag[2], fit.flag[3], fit.flag[7] = SersicFlag.NOT_CONVERGED, SersicFlag.NEGATIVE_FLUX, SersicFlag.AT_BOUND
    fit.flag[4] = SersicFlag.AT_BOUND | SersicFlag.POINT_LIKE
    start = Start(*(np.full(8, v) for v in (50.0, 1.0, 1.0, 1.0, 1.0, 1.0)))
    galaxies = SersicFit(*(np.full(8, 31.5) for _ in fields(SersicFit)))
    assert trusted_neighbour(fit, start, galaxies, 64).tolist() == [True, False, False, False, True, True, False, False]


def test_a_neighbour_of_negative_or_no_light_is_no_matter(galaxy):
    hole = galaxy - draw(**NEIGHBOUR | {"flux": 50.0}) + noise(4)
    assert not (measured(hole)["i_sersic_flag"] & SUBTRACTED).any()


# -- who matters -----------------------------------------------------------------------------------------------------------------------
def test_who_pulls(pair, galaxy):
    def pulled(image):
        scene = measure_stamp((image + noise(1)[0])[None], HSC_I).scene
        return [tuple(np.rint([scene.found[0].objects[number - 1][axis] for axis in "xy"])) for number in pulling(scene, 0)]

    assert pulled(galaxy) == []
    assert pulled(pair) == [(49, 40)]
    assert pulled(pair + draw(**SECOND)) == [(49, 40), (17, 18)] or pulled(pair + draw(**SECOND)) == [(17, 18), (49, 40)]
    assert pulled(galaxy + draw(flux=6.0, x=58.0, y=58.0, radius=1.5, n=1.0)) == []
    many = galaxy + sum(draw(flux=150.0, x=x, y=y, radius=1.5) for x, y in ((8, 8), (56, 8), (8, 56), (56, 56), (32, 8)))
    assert len(pulled(many)) == neighbours.MOST


# -- the algebra -----------------------------------------------------------------------------------------------------------------------
def test_leaving_the_others_free_is_the_joint_fit():
    rng, model = np.random.default_rng(0), SersicModel(24, dtype=torch.float64)
    source = StampSource(rng.normal(size=(1, 24, 24)), 4.0, np.ones((1, 1)))
    rows, theta = np.zeros(1, int), np.array([[[15.0, 9.0, 0.7, 0.2, 0.1, 0.3], [6.0, 5.0, 0.4, 0.0, -0.1, 0.0]]])
    plain = source.stamps(rows, source.transfer(rows, model), model)
    flux = np.array([[300.0, 20.0]])
    apart = Others(theta, flux).taken_from(plain, rows, model)
    light = 2.0 * model(torch.as_tensor(theta[0]), plain.transfer.expand(2, -1, -1)).flatten(2).numpy() * flux[0][:, None, None]
    templates, residual = (light * np.array(BELIEF)[:, None]).reshape(-1, 576), plain.data[0].numpy() - light[:, -1].sum(axis=0)
    least, *_ = np.linalg.lstsq(np.vstack([templates.T, np.eye(14)]), np.concatenate([residual, np.zeros(14)]), rcond=None)
    expected = np.sum((residual - least @ templates) ** 2) + np.sum(least**2)
    assert float(apart.data.square().sum()) == pytest.approx(expected, rel=1e-6)
    assert expected < 0.99 * np.sum(residual**2)
    held = Others(theta, flux, Freedom.NONE).taken_from(plain, rows, model)
    assert held.data.numpy()[0] == pytest.approx(residual, abs=1e-9) and held.others.shape == (1, 0, 576)
    shining = Others(theta, flux, Freedom.FLUX).taken_from(plain, rows, model)
    images = light[:, -1]
    least, *_ = np.linalg.lstsq(images.T, plain.data[0].numpy(), rcond=None)
    assert float(shining.data.square().sum()) == pytest.approx(np.sum((plain.data[0].numpy() - least @ images) ** 2), rel=1e-5)
