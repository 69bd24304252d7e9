"""The mock's sky: noise and its correlation against exact answers and real scenes, seeing, bright stars."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from hubbleflow.simulate.hsc_sky import is_hsc, of_bands, sky_table
from hubbleflow.simulate.noise import add_noise, residual_rms, sky_counts
from hubbleflow.simulate.psf import Moffat
from hubbleflow.simulate.render import Components, Renderer
from hubbleflow.simulate.seeing import draw_seeing, median_psf
from hubbleflow.simulate.sky import REACH, empty_pixels, measure_sky
from hubbleflow.simulate.stars import add_stars, draw_magnitudes, point_source, saturation_level
from hubbleflow.survey import Survey

HSC = Survey.get("hsc-wide")


def noise(n: int, size: int = 64, survey: Survey = HSC, **options: bool) -> np.ndarray:
    return add_noise(np.zeros((n, len(survey.bands), size, size), np.float32), survey, 1, np.arange(n), **options)


def at(correlation: np.ndarray, dx: int, dy: int) -> np.ndarray:
    return correlation[:, REACH + dy, REACH + dx]


# -- measuring an empty sky ------------------------------------------------------------------------------------------------------
def test_known_noise_is_measured_on_small_images_with_a_level_a_gradient_and_sources():
    rng = np.random.default_rng(0)
    white = rng.standard_normal((60, 3, 40, 42))
    x, y = np.indices((40, 40))[::-1]
    images = 2.0 * (white[..., 1:-1] + 0.3 * (white[..., 2:] + white[..., :-2])) + 7.0 + 0.02 * x
    for image, (x0, y0) in zip(images, rng.uniform(5, 35, (60, 2)), strict=True):
        image += np.array([20, 40, 60])[:, None, None] * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 8)
    sky = measure_sky(images)
    variance = 1 + 2 * 0.3**2
    assert np.nanmean(sky.rms**2, axis=0) == pytest.approx([4 * variance] * 3, rel=0.03)
    rho = sky.correlation()
    assert at(rho, 1, 0) == pytest.approx([0.6 / variance] * 3, abs=0.02)
    assert at(rho, 2, 0) == pytest.approx([0.09 / variance] * 3, abs=0.02)
    for lag in ((3, 0), (0, 1), (0, 2), (1, 1), (-1, 1), (4, 4)):
        assert at(rho, *lag) == pytest.approx([0] * 3, abs=0.03)
    assert np.nanmean(sky.gradient, axis=(0, 1)) == pytest.approx([0.02, 0.0], abs=4e-3)
    assert np.array_equal(rho, rho[:, ::-1, ::-1])


def test_the_mask_does_not_choose_among_the_noise_of_the_band_it_is_for():
    images = np.random.default_rng(1).standard_normal((40, 2, 64, 64))
    chosen = [image[0][empty_pixels(image, (0,))].mean() for image in images]
    biased = [image[0][empty_pixels(image, (1,))].mean() for image in images]
    assert np.mean(chosen) == pytest.approx(0, abs=5 * np.std(chosen) / np.sqrt(40))
    assert np.mean(biased) < -0.01


def test_an_image_full_of_light_has_no_empty_sky():
    full = np.random.default_rng(2).standard_normal((2, 3, 16, 16))
    full[0] += 100 * np.exp(-((np.indices((16, 16)) - 7.5) ** 2).sum(axis=0) / 200)
    sky = measure_sky(full)
    assert np.isnan(sky.rms[0]).all() and np.isfinite(sky.rms[1]).all()
    assert np.isfinite(at(sky.correlation(), 1, 0)).all()


# -- HSC's sky ---------------------------------------------------------------------------------------------------------------------
def test_the_table_speaks_for_hscs_surveys_alone():
    mine = {name for name in Survey.names() if is_hsc(Survey.get(name))}
    assert mine == {name for name in Survey.names() if name.startswith("hsc")}
    assert not is_hsc(replace(HSC, name="hsc-and-u", bands=("u", *HSC.bands[1:]), rgb=("i", "r", "u")))


def test_an_entry_is_given_in_any_bands():
    g, *_, z, y = sky_table()["saturation"]
    assert of_bands("saturation", ("y", "u", "z", "g")).tolist() == [y, g, z, g]
    assert of_bands("kernel_x", ("i",)).tolist() == [sky_table()["kernel_x"][2]]


# -- correlated noise ------------------------------------------------------------------------------------------------------------
def test_kernels_have_the_correlation_that_was_measured():
    table = sky_table()
    for axis, along in (("kernel_x", "noise_along_x"), ("kernel_y", "noise_along_y")):
        for taps, rho in zip(table[axis], table[along], strict=True):
            own = np.correlate(taps, taps, "full")[len(taps) - 1 :]
            assert own[:4] == pytest.approx([1, *rho[:3]], abs=1e-3)
            assert taps == taps[::-1]


def test_noise_has_the_surveys_rms_everywhere_and_the_kernels_correlation():
    images = noise(600, 32, sky_residual=False)
    sigma = images.std(axis=0) / np.array(HSC.noise)[:, None, None]
    assert sigma.mean(axis=(1, 2)) == pytest.approx([1] * 5, abs=3e-3)
    scatter = 1 / np.sqrt(2 * 600)
    edge = np.ones((32, 32), bool)
    edge[1:-1, 1:-1] = False
    assert sigma[:, edge].mean() == pytest.approx(1, abs=5 * scatter / np.sqrt(5 * edge.sum()))
    assert sigma.std() == pytest.approx(scatter, rel=0.1)
    table = sky_table()
    for lag in (1, 2, 3):
        for axis, along in ((-1, "noise_along_x"), (-2, "noise_along_y")):
            moved = np.moveaxis(images, axis, -1)
            found = (moved[..., lag:] * moved[..., :-lag]).mean(axis=(0, 2, 3)) / np.array(HSC.noise) ** 2
            assert found == pytest.approx(np.array(table[along])[:, lag - 1], abs=7e-3)
    assert np.corrcoef(images.transpose(1, 0, 2, 3).reshape(5, -1))[np.triu_indices(5, 1)] == pytest.approx([0] * 10, abs=6e-3)


@pytest.mark.parametrize("name", ["sdss", "decals", "lsst"])
def test_noise_is_white_where_no_correlation_is_known(name):
    survey = Survey.get(name)
    images = noise(100, 32, survey, sky_residual=False)
    found = (images[..., 1:] * images[..., :-1]).mean(axis=(0, 2, 3)) / np.array(survey.noise) ** 2
    assert found == pytest.approx([0] * len(survey.bands), abs=0.015)
    assert np.array_equal(images, noise(100, 32, survey, correlated=False, sky_residual=False))


@pytest.mark.parametrize("options", [{}, {"correlated": False}, {"sky_residual": False}])
def test_a_galaxys_noise_is_the_same_in_any_batch(options):
    together = noise(5, 24, **options)
    alone = add_noise(np.zeros((2, 5, 24, 24), np.float32), HSC, 1, np.array([3, 1]), **options)
    assert np.array_equal(alone, together[[3, 1]])


def test_bright_pixels_have_their_photons_noise_and_the_same_correlation():
    flux = np.float32(40.0)
    images = add_noise(np.full((300, 5, 16, 16), flux), HSC, 2, np.arange(300), sky_residual=False)
    expected = np.array(HSC.noise) ** 2 * (1 + flux / sky_counts(HSC))
    assert images.var(axis=(0, 2, 3)) == pytest.approx(expected, rel=0.03)
    images -= flux
    rho = (images[..., 1:] * images[..., :-1]).mean(axis=(0, 2, 3)) / expected
    assert rho == pytest.approx(np.array(sky_table()["noise_along_x"])[:, 0], abs=0.02)


def test_what_the_sky_leaves_is_a_plane_of_the_stated_rms():
    left = noise(3000, 8) - noise(3000, 8, sky_residual=False)
    level, slope = residual_rms(HSC)
    assert left.mean(axis=(2, 3)).std(axis=0) == pytest.approx(level, rel=0.06)
    across = np.diff(left.mean(axis=2), axis=-1)
    assert across.mean(axis=-1).std(axis=0) == pytest.approx(slope, rel=0.06)
    assert np.abs(np.diff(across, axis=-1)).max() < 1e-5
    together = np.corrcoef(left.mean(axis=(2, 3)).T)[np.triu_indices(5, 1)].mean()
    assert together == pytest.approx(sky_table()["residual_between_bands"], abs=0.05)
    # a surface brightness: half the pixel has a quarter of it, another unit the same
    finer = replace(HSC, pixel_scale_arcsec=0.084)
    assert residual_rms(finer)[0] == pytest.approx(level / 4) and residual_rms(finer)[1] == pytest.approx(slope / 8)
    assert residual_rms(replace(HSC, zero_point=29.5))[0] == pytest.approx(10 * level)


def test_noise_is_like_the_real_skys(shared_data: Path):
    survey = Survey.get("hsc-udeep")
    paths = sorted((shared_data / "hsc_cosmos_scenes").glob("*.npz"))
    real = measure_sky([np.load(path)["images"] for path in paths])
    mock = measure_sky(noise(60, survey=survey))
    assert np.nanmedian(mock.rms, axis=0) / np.nanmedian(real.rms, axis=0) == pytest.approx([1] * 5, abs=0.10)
    for lag in ((1, 0), (2, 0), (3, 0), (0, 1), (0, 2), (0, 3), (1, 1), (-1, 1)):
        assert at(mock.correlation(), *lag) == pytest.approx(at(real.correlation(), *lag), abs=0.05)
    weights = np.array([[np.quantile(w[w > 0], 0.75) for w in np.load(path)["weights"]] for path in paths])
    assert np.nanmedian(real.rms * np.sqrt(weights), axis=0) == pytest.approx([1] * 5, abs=0.03)


# -- seeing ----------------------------------------------------------------------------------------------------------------------
def test_seeing_scatters_about_the_surveys_median():
    rng = np.random.default_rng(0)
    fwhm = np.array([draw_seeing(rng, HSC)[0] for _ in range(3000)])
    assert np.median(fwhm, axis=0) == pytest.approx(HSC.psf_fwhm_arcsec, rel=0.01)
    assert np.log(fwhm).std(axis=0) == pytest.approx(sky_table()["seeing_scatter"], rel=0.06)
    assert np.corrcoef(np.log(fwhm).T)[np.triu_indices(5, 1)].mean() == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("name", ["hsc-wide", "hsc-i", "sdss", "lsst", "decals"])
def test_seeing_can_always_be_rendered(name):
    survey = Survey.get(name)
    sharp = replace(survey, psf_fwhm_arcsec=tuple(1.8 * survey.pixel_scale_arcsec for _ in survey.bands))
    for seed in range(20):
        fwhm, beta = draw_seeing(np.random.default_rng(seed), sharp)
        assert len(fwhm) == len(beta) == len(survey.bands) and min(beta) >= 2
        Renderer(32, survey.pixel_scale_arcsec, Moffat(fwhm, beta))


# -- bright stars ----------------------------------------------------------------------------------------------------------------
def blank(n: int, size: int = 64, bands: int = 5) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((n, bands, size, size), np.float32), np.zeros((n, bands, size, size), np.uint8)


PSF = median_psf(HSC)


def test_a_point_source_is_the_renderers():
    images = point_source(np.full(5, 1000.0), PSF, 40, 0.168, 0.31, -0.52)
    renderer = Renderer(40, 0.168, PSF)
    one = torch.ones(1, 1)
    tiny = Components(0.5 * one, 0.02 * one, one, 0 * one, 0.31 * one, -0.52 * one, torch.full((1, 1, 5), 1000.0))
    drawn = renderer(tiny)[0].numpy()
    assert np.abs(images - drawn).max() < 0.01 * drawn.max()
    assert images.sum(axis=(1, 2)) == pytest.approx(drawn.sum(axis=(1, 2)), rel=0.03)  # the renderer's wings wrap a little


def test_stars_fall_on_their_share_of_stamps_and_clear_of_the_target():
    (images, mask), size = blank(400, 40), 40
    faint = replace(HSC, zero_point=15.0)  # nothing saturates: a star is the PSF
    star = add_stars(images, mask, faint, 5, np.arange(400), PSF, share=0.1)
    has = np.isfinite(star)
    assert abs(has.sum() - 40) <= 3 * 6 and star[has].min() >= 13 and star[has].max() <= 18  # binomial, 3 sigma
    assert not images[~has].any() and not mask.any()
    # the brightest pixel holds what it does of a star that is anywhere in it, from a corner to the middle, and is clear of the target
    seen = images[has][:, 2]
    corner, middle = (point_source(np.ones(5), PSF, 41, 0.168, at, at)[2].max() for at in (0.084, 0.0))
    share = seen.max(axis=(1, 2)) / faint.flux(star[has])
    assert share.min() > 0.999 * corner and share.max() < 1.001 * middle and np.ptp(share) > 0.3 * (middle - corner)
    row, column = np.unravel_index(seen.reshape(len(seen), -1).argmax(axis=1), (size, size))
    distance = 0.168 * np.hypot(row - (size - 1) / 2, column - (size - 1) / 2)
    assert distance.min() > 3.0 - 0.168 and {row.min() < 10, row.max() >= 30, column.min() < 10, column.max() >= 30} == {True}
    images, mask = blank(400, 40)
    assert np.array_equal(add_stars(images, mask, HSC, 5, np.arange(400), PSF, share=0.1), star, equal_nan=True)
    assert mask[has].any() and not mask[~has].any()
    centre = mask[:, :, 19:21, 19:21].any(axis=(1, 2, 3))
    assert centre.mean() < 0.02  # only trails and the largest cores reach it


def test_saturated_cores_are_flat_masked_and_bleed_along_the_rows():
    images, mask = blank(60)
    star = add_stars(images, mask, HSC, 3, np.arange(60), PSF, share=1.0)
    level = saturation_level(HSC)
    assert (images.max(axis=(2, 3)) <= 1.01 * level * np.ones((60, 5))).mean() > 0.97  # a core across the edge has one good side
    saturated = mask.sum(axis=(1, 2, 3))
    assert np.corrcoef(star, np.log(saturated + 1))[0, 1] < -0.7
    bright = np.flatnonzero(star < 15)
    wide = [mask[g, 2].any(axis=0).sum() for g in bright]
    high = [mask[g, 2].any(axis=1).sum() for g in bright]
    assert np.mean(wide) > 1.5 * np.mean(high)
    unsaturated, no_mask = blank(1)
    faint = replace(HSC, zero_point=20.0)  # every star is 600 times fainter in counts
    add_stars(unsaturated, no_mask, faint, 3, np.arange(1), PSF, share=1.0)
    assert not no_mask.any() and unsaturated.any()


def test_a_star_is_the_same_in_any_batch_and_adds_to_what_is_there():
    (together, mask), (alone, _) = blank(6), blank(1)
    star = add_stars(together, mask, HSC, 3, np.arange(6), PSF, share=0.5)
    alone += 1
    assert add_stars(alone, np.zeros_like(mask[:1]), HSC, 3, np.array([4]), PSF, share=0.5) == pytest.approx(star[4:5], nan_ok=True)
    good = mask[4] == 0
    assert (alone[0] - 1)[good] == pytest.approx(together[4][good], abs=1e-4)


def test_stars_have_stellar_colours():
    rng = np.random.default_rng(0)
    i_mag, mag = zip(*(draw_magnitudes(rng, HSC) for _ in range(2000)), strict=True)
    g, r, i, z = np.array(mag).T[:4]
    assert np.array_equal(i, i_mag)
    assert (g - r).min() > 0.2 and (g - r).max() < 1.65
    giant = (g - r > 1.3) & (r - i > 0.9)
    assert giant.any() and np.corrcoef(r - i, i - z)[0, 1] > 0.95


def test_star_counts_have_their_slope():
    rng = np.random.default_rng(0)
    i_mag = np.array([draw_magnitudes(rng, HSC)[0] for _ in range(5000)])

    def p_value(slope: float) -> float:
        """That the counts up to magnitude m, from 13 to 18, grow as 10^(slope m)."""
        return kstest(10 ** (slope * i_mag), "uniform", (10 ** (slope * 13), 10 ** (slope * 18) - 10 ** (slope * 13))).pvalue

    assert p_value(0.2) > 0.01
    assert max(p_value(0.17), p_value(0.23)) < 1e-3  # so many stars would show another slope


def test_a_stamp_too_small_for_a_star_has_none():
    images, mask = blank(3, 16)
    assert np.isnan(add_stars(images, mask, HSC, 1, np.arange(3), PSF, share=1.0)).all() and not images.any()
