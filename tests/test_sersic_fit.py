"""The batched Sersic fit: its model against finite differences and GalSim, its numbers against truth, its flags one by one."""

from __future__ import annotations

import dataclasses

import galsim
import numpy as np
import pytest
import sep
import torch

from hubbleflow.errors import InputError
from hubbleflow.measure.sersic_fit import FitRecipe, fit_sersic, fluxes_in_other_bands
from hubbleflow.measure.sersic_flags import SersicFlag, names, trusted
from hubbleflow.measure.sersic_model import SersicModel
from hubbleflow.measure.sersic_result import STRUCTURE, VALUES
from hubbleflow.measure.sersic_start import Start, start_values

SIZE, NOISE = 64, 0.05
PSF = galsim.Moffat(beta=3.5, fwhm=3.6).shear(g1=0.05, g2=-0.03)  # pixels; not round, so that a mirrored axis would show
PSF_IMAGE = PSF.drawImage(nx=47, ny=47, scale=1, dtype=float).array


def draw(flux=100.0, x=31.5, y=31.5, radius=5.0, q=0.7, angle=20.0, n=1.5, size=SIZE, psf=PSF):
    """GalSim's image; the radius is semi-major, the angle in degrees from +x to +y."""
    params = galsim.GSParams(folding_threshold=1e-4, maximum_fft_size=16384)
    profile = galsim.Sersic(n, half_light_radius=radius * np.sqrt(q), flux=flux, gsparams=params).shear(q=q, beta=angle * galsim.degrees)
    offset = galsim.PositionD(x - (size - 1) / 2, y - (size - 1) / 2)
    return galsim.Convolve(profile, psf).drawImage(nx=size, ny=size, scale=1, offset=offset, dtype=float).array


def star(flux, x=31.5, y=31.5):
    return PSF.withFlux(flux).drawImage(nx=SIZE, ny=SIZE, scale=1, offset=(x - 31.5, y - 31.5), dtype=float).array


def noise(n, seed=0):
    return NOISE * np.random.default_rng(seed).normal(size=(n, SIZE, SIZE))


TRUTH = {
    "flux": np.array([100.0, 300.0, 50.0, 200.0, 80.0, 500.0]),
    "x": np.array([31.5, 31.2, 32.4, 30.7, 31.9, 31.5]),
    "y": np.array([31.5, 32.1, 31.0, 31.4, 33.0, 31.6]),
    "radius": np.array([4.0, 6.0, 2.0, 9.0, 3.0, 5.0]),
    "axis_ratio": np.array([0.7, 0.4, 0.9, 0.25, 0.6, 0.8]),
    "position_angle": np.array([20.0, -60.0, 75.0, 5.0, -30.0, 88.0]),
    "sersic_index": np.array([1.0, 2.0, 0.6, 0.9, 4.0, 3.0]),
}


@pytest.fixture(scope="module")
def galaxies():
    return np.stack([draw(*row) for row in zip(*TRUTH.values(), strict=True)])


@pytest.fixture(scope="module")
def noisy_fit(galaxies):
    return fit_sersic(galaxies + noise(6), NOISE**-2, PSF_IMAGE)


# ---------------------------------------------------------------------------------------------------------------- model


@pytest.mark.parametrize("theta", [[31.2, 32.7, 1.6, 0.3, -0.4, 0.8], [30.8, 31.5, 2.9, 0.8, 0.4, 1.6], [31.0, 32.0, 0.7, 0.0, 0.0, -0.9]])
def test_the_jacobian_is_that_of_finite_differences(theta):
    model = SersicModel(SIZE, dtype=torch.float64)
    transfer = model.transfer(torch.as_tensor(PSF_IMAGE)[None])
    theta = torch.tensor([theta], dtype=torch.float64)
    analytic = model(theta, transfer)[0]
    assert torch.equal(analytic[6], model.image(theta, transfer)[0])
    for i in range(6):
        step = torch.zeros_like(theta)
        step[0, i] = 1e-4
        numeric = (model.image(theta + step, transfer) - model.image(theta - step, transfer))[0] / 2e-4
        torch.testing.assert_close(analytic[i], numeric, rtol=0, atol=1e-7 * float(numeric.abs().max()))


def test_the_model_is_galsims_image():
    model = SersicModel(SIZE, dtype=torch.float64)
    transfer = model.transfer(torch.as_tensor(PSF_IMAGE)[None])
    q, angle, radius = 0.6, np.radians(30.0), 6.0
    h = -np.log(q) * np.array([np.cos(2 * angle), np.sin(2 * angle)])
    theta = torch.tensor([[30.2, 32.9, np.log(radius * np.sqrt(q)), *h, np.log(1.3)]])
    expected = draw(1.0, 30.2, 32.9, radius, q, 30.0, 1.3)
    assert np.abs(model.image(theta, transfer)[0].numpy() - expected).max() < 5e-4 * expected.max()  # GalSim's own accuracy


@pytest.mark.parametrize(("a", "n", "accuracy"), [(5.0, 2.0, 2e-5), (10.0, 4.3, 2e-4), (20.0, 1.0, 2e-3), (20.0, 6.0, 1e-3)])
def test_light_that_wraps_round_the_period_is_taken_away(a, n, accuracy):
    images = []
    for size in (SIZE, 4 * SIZE):
        model, pad = SersicModel(size, dtype=torch.float64), (size - SIZE) // 2
        theta = torch.tensor([[31.2 + pad, 33.0 + pad, np.log(a), 0.3, 0.1, np.log(n)]])
        image = model.image(theta, model.transfer(torch.as_tensor(PSF_IMAGE)[None]))[0]
        images.append(image[pad : pad + SIZE, pad : pad + SIZE])
    assert float((images[0] - images[1]).abs().max() / images[1].max()) < accuracy


@pytest.mark.parametrize("side", [46, 47])
def test_a_psf_image_of_even_side_is_centred_too(side):
    image = PSF.drawImage(nx=side, ny=side, scale=1, dtype=float).array
    fit = fit_sersic(draw(x=30.0, y=33.0)[None], 1e6, image)
    assert (fit.x[0], fit.y[0]) == pytest.approx((30.0, 33.0), abs=1e-3)


# ------------------------------------------------------------------------------------------------------------- recovery


def test_noiseless_galaxies_are_recovered(galaxies):
    fit = fit_sersic(galaxies + 0.3, 1e6, PSF_IMAGE)
    for name in ("flux", "radius", "sersic_index"):
        np.testing.assert_allclose(getattr(fit, name), TRUTH[name], rtol=1e-3)
    for name in ("x", "y", "axis_ratio"):
        np.testing.assert_allclose(getattr(fit, name), TRUTH[name], atol=1e-3)
    np.testing.assert_allclose(fit.position_angle, TRUTH["position_angle"], atol=0.1)
    np.testing.assert_allclose(fit.sky, 0.3, atol=1e-3)
    assert trusted(fit.flag).all() and (fit.dof == SIZE**2 - 8).all()


@pytest.mark.parametrize("unit", [1e-20, 1e12])
def test_any_unit_of_flux_will_do(galaxies, noisy_fit, unit):
    fit = fit_sersic((galaxies + noise(6)) * unit, (NOISE * unit) ** -2, PSF_IMAGE)
    np.testing.assert_allclose(fit.flux / unit, noisy_fit.flux, rtol=1e-4)
    np.testing.assert_allclose(fit.flux_err / unit, noisy_fit.flux_err, rtol=1e-3)
    np.testing.assert_allclose(fit.sersic_index, noisy_fit.sersic_index, rtol=1e-4)


def test_stated_errors_are_the_scatter():
    image, n = draw(40.0, n=1.2, radius=4.0, q=0.5), 150
    fit = fit_sersic(image + noise(n, 1), NOISE**-2, PSF_IMAGE)
    truth = {"flux": 40.0, "x": 31.5, "y": 31.5, "radius": 4.0, "axis_ratio": 0.5, "position_angle": 20.0, "sersic_index": 1.2, "sky": 0.0}
    assert 40 < fit.snr.mean() < 140
    for name, value in truth.items():
        pulls = (getattr(fit, name) - value) / getattr(fit, f"{name}_err")
        assert abs(np.median(pulls)) < 0.4, name
        assert np.std(pulls) == pytest.approx(1.0, abs=0.2), name  # 0.058 by chance
    assert np.mean(fit.chi2 / fit.dof) == pytest.approx(1.0, abs=0.01)


def test_errors_scale_with_the_noise(galaxies, noisy_fit):
    louder = fit_sersic(galaxies + 2 * noise(6), NOISE**-2 / 4, PSF_IMAGE)
    for name in VALUES:
        ratio = getattr(louder, f"{name}_err") / getattr(noisy_fit, f"{name}_err")
        assert np.median(ratio) == pytest.approx(2.0, rel=0.15), name  # other noise, another best fit
    same = fit_sersic(galaxies + noise(6), NOISE**-2 / 4, PSF_IMAGE)
    np.testing.assert_allclose(same.radius_err, 2 * noisy_fit.radius_err, rtol=2e-2)  # of the last point looked at
    np.testing.assert_allclose(same.chi2, noisy_fit.chi2 / 4, rtol=1e-4)


def test_weights_may_be_a_number_one_a_galaxy_or_one_a_pixel(galaxies, noisy_fit):
    images = galaxies + noise(6)
    for ivar in (np.full(6, NOISE**-2), np.full(images.shape, NOISE**-2)):
        fit = fit_sersic(images, ivar, np.repeat(PSF_IMAGE[None], 6, axis=0))
        np.testing.assert_allclose(fit.sersic_index, noisy_fit.sersic_index, rtol=1e-4)


def test_knowing_the_sky_makes_errors_smaller(galaxies, noisy_fit):
    images = galaxies + noise(6)
    known, nearly, free = (fit_sersic(images, NOISE**-2, PSF_IMAGE, recipe=FitRecipe(sky_sigma=s)) for s in (0.0, 1e-3, 1e9))
    assert np.abs(known.sky).max() < 1e-6
    assert (known.sersic_index_err < nearly.sersic_index_err).all() and (nearly.sersic_index_err < noisy_fit.sersic_index_err).all()
    np.testing.assert_allclose(free.radius, noisy_fit.radius, rtol=1e-4)


def test_a_masked_neighbour_is_as_good_as_none(galaxies):
    neighbour = draw(800.0, 50.0, 42.0, 3.0, 0.8, 0.0, 1.0)
    neighbour[neighbour < NOISE] = 0.0
    mask = (neighbour > 0).astype(np.uint8)[None].repeat(6, axis=0)
    alone = fit_sersic(galaxies + noise(6), NOISE**-2, PSF_IMAGE, mask)
    beside = fit_sersic(galaxies + noise(6) + neighbour, NOISE**-2, PSF_IMAGE, mask)
    assert mask.mean() > 0.05
    for name in (*STRUCTURE, "flux"):
        assert (np.abs(getattr(beside, name) - getattr(alone, name)) < 0.05 * getattr(alone, f"{name}_err")).all(), name
    weighed = fit_sersic(galaxies + noise(6) + neighbour, np.where(mask, 0.0, NOISE**-2), PSF_IMAGE)
    np.testing.assert_array_equal(weighed.flux, beside.flux)
    unmasked = fit_sersic(galaxies + noise(6) + neighbour, NOISE**-2, PSF_IMAGE)
    assert (unmasked.chi2 > 2 * beside.chi2).all()


def test_a_galaxys_result_does_not_depend_on_its_company(galaxies, noisy_fit):
    images = galaxies + noise(6)
    alone = [fit_sersic(images[i : i + 1], NOISE**-2, PSF_IMAGE) for i in range(6)]
    among = fit_sersic(np.concatenate([noise(40, 3), images[::-1]]), NOISE**-2, PSF_IMAGE, recipe=FitRecipe(batch=5))
    for name in VALUES:
        error = getattr(noisy_fit, f"{name}_err")
        for other in (np.concatenate([getattr(fit, name) for fit in alone]), getattr(among, name)[:39:-1]):
            assert (np.abs(other - getattr(noisy_fit, name)) < 1e-3 * error).all(), name
    again = fit_sersic(images, NOISE**-2, PSF_IMAGE)
    for field in dataclasses.fields(again):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(noisy_fit, field.name))


def test_float32_is_as_good_as_float64(galaxies, noisy_fit):
    double = fit_sersic(galaxies + noise(6), NOISE**-2, PSF_IMAGE, dtype=torch.float64)
    for name in VALUES:
        error = getattr(double, f"{name}_err")
        assert (np.abs(getattr(double, name) - getattr(noisy_fit, name)) < 0.02 * error).all(), name
        np.testing.assert_allclose(getattr(noisy_fit, f"{name}_err"), error, rtol=1e-2)


# ---------------------------------------------------------------------------------------------------------------- start


def test_moments_start_near_the_truth(galaxies):
    start = start_values(galaxies + noise(6) + 0.3, PSF_IMAGE)
    np.testing.assert_allclose(start.x, TRUTH["x"], atol=0.3)
    np.testing.assert_allclose(start.y, TRUTH["y"], atol=0.3)
    assert (np.abs(np.log(start.radius / TRUTH["radius"])) < 0.8).all()
    turned = (start.position_angle - TRUTH["position_angle"] + 90) % 180 - 90
    assert (np.abs(turned) < 12).all()


def test_a_catalogue_of_sep_is_a_start_too(galaxies, noisy_fit):
    table = np.array([sep.extract(image, 1.5, err=NOISE)[0] for image in galaxies + noise(6)])
    fit = fit_sersic(galaxies + noise(6), NOISE**-2, PSF_IMAGE, start=Start.from_table(table, PSF_IMAGE))
    for name in VALUES:
        assert (np.abs(getattr(fit, name) - getattr(noisy_fit, name)) < 0.05 * getattr(fit, f"{name}_err")).all(), name


def test_a_fit_is_a_start_too(galaxies, noisy_fit):
    again = fit_sersic(galaxies + noise(6), NOISE**-2, PSF_IMAGE, start=noisy_fit)
    assert (again.iterations < noisy_fit.iterations).all()  # it is there already
    for name in VALUES:
        assert (np.abs(getattr(again, name) - getattr(noisy_fit, name)) < 0.05 * getattr(noisy_fit, f"{name}_err")).all(), name


def test_a_useless_start_is_replaced(galaxies, noisy_fit):
    nothing = np.full(6, np.nan)
    fit = fit_sersic(galaxies + noise(6), NOISE**-2, PSF_IMAGE, start=Start(*[nothing] * 6))
    assert (np.abs(fit.sersic_index - noisy_fit.sersic_index) < 0.05 * fit.sersic_index_err).all()


# ---------------------------------------------------------------------------------------------------------------- flags


def flags_of(image, **options):
    fit = fit_sersic(np.asarray(image, float)[None], options.pop("ivar", NOISE**-2), options.pop("psf", PSF_IMAGE), **options)
    return fit, names(int(fit.flag[0]))


def test_a_good_galaxy_has_no_flag():
    assert flags_of(draw() + noise(1)[0])[1] == []


@pytest.mark.parametrize("image", [np.full((SIZE, SIZE), np.nan), np.full((SIZE, SIZE), np.inf)])
def test_a_stamp_without_a_pixel_is_empty(image):
    fit, flags = flags_of(image)
    assert flags == ["EMPTY"]
    assert all(np.isnan(getattr(fit, name)[0]) for name in (*VALUES, "chi2", "snr", "radius_err"))


@pytest.mark.parametrize("ivar", [0.0, -1.0, np.nan])
def test_a_stamp_without_weight_is_empty(ivar):
    assert flags_of(draw(), ivar=ivar)[1] == ["EMPTY"]
    assert flags_of(draw(), mask=np.ones((1, SIZE, SIZE), np.uint8))[1] == ["EMPTY"]


@pytest.mark.parametrize("level", [0.0, 7.0, -3.0])
def test_a_constant_stamp_has_no_galaxy(level):
    fit, flags = flags_of(np.full((SIZE, SIZE), level))
    assert "LOW_SNR" in flags and not trusted(fit.flag[0])
    assert abs(fit.flux[0]) < 1e-3 or np.isnan(fit.flux[0])
    assert fit.sky[0] == pytest.approx(level, abs=1e-4)


def test_noise_alone_is_flagged():
    fit = fit_sersic(noise(40, 5), NOISE**-2, PSF_IMAGE)
    assert ((fit.flag & int(SersicFlag.LOW_SNR)) != 0).all()


def test_a_negative_galaxy_has_no_structure():
    fit, flags = flags_of(-draw() + noise(1)[0])
    assert "NEGATIVE_FLUX" in flags
    assert all(np.isnan(getattr(fit, name)[0]) for name in STRUCTURE)


def test_a_psf_that_is_none_is_flagged_and_spoils_no_other(galaxies, noisy_fit):
    psf = np.repeat(PSF_IMAGE[None], 6, axis=0)
    psf[1, 3, 3], psf[4] = np.nan, 0.0
    fit = fit_sersic(galaxies + noise(6), NOISE**-2, psf)
    assert [names(int(f)) for f in fit.flag[[1, 4]]] == [["NO_PSF"], ["NO_PSF"]]
    assert np.isnan(fit.flux[[1, 4]]).all()
    good = [0, 2, 3, 5]
    assert (np.abs(fit.radius - noisy_fit.radius)[good] < 1e-3 * noisy_fit.radius_err[good]).all()
    assert flags_of(draw(), psf=np.zeros((9, 9)))[1] == ["NO_PSF"]


def test_too_few_iterations_are_flagged():
    assert "NOT_CONVERGED" in flags_of(draw(n=4.0, q=0.3) + noise(1)[0], recipe=FitRecipe(max_iterations=1))[1]


def test_a_needle_is_at_the_bound_of_its_axis_ratio():
    fit, flags = flags_of(draw(3000.0, radius=14.0, q=0.04, n=1.0) + noise(1)[0], recipe=FitRecipe(least_axis_ratio=0.2))
    assert "AT_BOUND" in flags
    assert fit.axis_ratio[0] == pytest.approx(0.2, rel=1e-4)
    assert fit.position_angle[0] == pytest.approx(20.0, abs=0.5)


def test_a_profile_steeper_than_the_table_is_at_its_bound():
    cusp = draw(400.0, n=6.0, radius=8.0, q=0.9) + star(200.0)
    fit, flags = flags_of(cusp + noise(1)[0])
    assert "AT_BOUND" in flags and fit.sersic_index[0] == pytest.approx(6.2, rel=1e-4)


def test_a_star_is_point_like():
    fit = fit_sersic(np.stack([star(flux, 31.7, 31.1) for flux in (20.0, 100.0, 1000.0)]) + noise(3), NOISE**-2, PSF_IMAGE)
    assert ((fit.flag & int(SersicFlag.POINT_LIKE | SersicFlag.AT_BOUND)) != 0).all()
    assert (fit.radius < 0.5).all()
    np.testing.assert_allclose(fit.flux, [20, 100, 1000], rtol=0.1)


def test_one_hot_pixel_is_no_galaxy():
    image = noise(1)[0]
    image[31, 32] += 50.0
    assert not trusted(flags_of(image)[0].flag[0])


def test_a_centre_that_moved_is_flagged():
    start = Start(*(np.array([v]) for v in (27.0, 31.5, 4.0, 0.8, 0.0, 1.0)))
    assert "CENTRE_MOVED" in flags_of(draw() + noise(1)[0], start=start)[1]


def test_a_masked_core_is_flagged():
    mask = np.zeros((1, SIZE, SIZE), np.uint8)
    mask[0, 29:34, 29:34] = 1
    fit, flags = flags_of(draw(radius=8.0) + noise(1)[0], mask=mask)
    assert "MASKED_CORE" in flags
    assert fit.radius[0] == pytest.approx(8.0, rel=0.2)  # its wings are still seen
    far = np.zeros((1, SIZE, SIZE), np.uint8)
    far[0, :, 50:] = 1
    assert flags_of(draw() + noise(1)[0], mask=far)[1] == []


def test_a_saturated_core_with_no_weight_is_flagged():
    image = draw(2000.0)
    ivar = np.where(image > 0.5 * image.max(), 0.0, NOISE**-2)
    assert "MASKED_CORE" in flags_of(image + noise(1)[0], ivar=ivar[None])[1]


def test_bad_galaxies_do_not_spoil_the_good(galaxies, noisy_fit):
    bad = np.stack([np.full((SIZE, SIZE), np.nan), np.zeros((SIZE, SIZE)), np.full((SIZE, SIZE), 1e30), -galaxies[0], np.eye(SIZE) * 1e6])
    fit = fit_sersic(np.concatenate([bad, galaxies + noise(6)]), NOISE**-2, PSF_IMAGE)
    assert not trusted(fit.flag[:5]).any()
    assert (np.abs(fit.radius[5:] - noisy_fit.radius) < 1e-3 * noisy_fit.radius_err).all()


def test_no_galaxies_are_fitted_too():
    fit = fit_sersic(np.zeros((0, SIZE, SIZE)), 1.0, PSF_IMAGE)
    assert len(fit) == 0


def test_shapes_that_disagree_are_said():
    with pytest.raises(InputError, match="square stamps"):
        fit_sersic(np.zeros((2, 64, 60)), 1.0, PSF_IMAGE)
    with pytest.raises(InputError, match="mask of shape"):
        fit_sersic(np.zeros((2, 64, 64)), 1.0, PSF_IMAGE, mask=np.zeros((64, 64)))
    with pytest.raises(InputError, match="PSF of shape"):
        fit_sersic(np.zeros((2, 64, 64)), 1.0, np.zeros((3, 9, 9)))


# ---------------------------------------------------------------------------------------------------------------- bands


def test_fluxes_in_other_bands(galaxies):
    blurred = galsim.Moffat(beta=3.5, fwhm=4.4)
    colours, psfs = (0.4, 1.0, 1.7), (blurred, PSF, PSF)
    rows = list(zip(*TRUTH.values(), strict=True))
    bands = np.stack([c * (np.stack([draw(*row, psf=p) for row in rows])) for c, p in zip(colours, psfs, strict=True)], axis=1)
    bands += 0.1 + np.stack([noise(6, seed) for seed in range(3)], axis=1)
    psf = np.stack([p.drawImage(nx=47, ny=47, scale=1, dtype=float).array for p in psfs])
    fit = fit_sersic(bands[:, 1], NOISE**-2, psf[1])
    mask = np.zeros(bands.shape, np.uint8)
    mask[2, 0] = 1
    fluxes = fluxes_in_other_bands(fit, bands, NOISE**-2, psf, mask)
    good = np.ones((6, 3), bool)
    good[2, 0] = False
    assert names(int(fluxes.flag[2, 0])) == ["EMPTY"] and np.isnan(fluxes.flux[2, 0])
    np.testing.assert_allclose(fluxes.flux[:, 1], fit.flux, rtol=1e-3)  # the reference band's own
    ratio = (fluxes.flux / fluxes.flux[:, 1:2])[good]
    np.testing.assert_allclose(ratio, np.broadcast_to(colours, (6, 3))[good], rtol=0.05)
    np.testing.assert_allclose(fluxes.sky[good], 0.1, atol=0.01)
    assert (fluxes.flux_err[:, 1] < fit.flux_err).all()  # the structure is held
    np.testing.assert_allclose((fluxes.chi2 / fluxes.dof)[good], 1.0, atol=0.1)


def test_band_flux_errors_are_the_scatter():
    image, n = draw(), 60
    fit = fit_sersic(np.repeat(image[None], n, axis=0), 1e6, PSF_IMAGE)  # the structure is known
    fluxes = fluxes_in_other_bands(fit, 0.3 * image + noise(n, 8)[:, None], NOISE**-2, PSF_IMAGE[None])
    pulls = (fluxes.flux - 30.0) / fluxes.flux_err
    assert abs(np.mean(pulls)) < 0.5 and np.std(pulls) == pytest.approx(1.0, abs=0.3)


def test_a_galaxy_without_structure_has_no_flux_in_other_bands():
    fit, _ = flags_of(np.full((SIZE, SIZE), np.nan))
    fluxes = fluxes_in_other_bands(fit, draw()[None, None], NOISE**-2, PSF_IMAGE[None])
    assert np.isnan(fluxes.flux[0, 0]) and fluxes.flag[0, 0] & SersicFlag.EMPTY
