"""Statistics of pixels: closed forms, and corruptions of a small mock sky that are caught by the metrics that name them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.ndimage import convolve
from scipy.stats import ks_2samp, norm, wasserstein_distance

from hubbleflow.galaxies import GalaxySet
from hubbleflow.metrics.bins import choose_bins
from hubbleflow.metrics.c2st_images import Discriminator, in_patches, stretched, told_rightly
from hubbleflow.metrics.cells import distance_per_cell, wasserstein_per_cell
from hubbleflow.metrics.metric import all_metrics
from hubbleflow.metrics.noise import sky_columns, sky_sigma
from hubbleflow.metrics.noise_autocorrelation import CASES, autocorrelation_columns
from hubbleflow.metrics.pixel_flux import GRID, cumulative, flux_columns
from hubbleflow.metrics.power_spectrum import EDGES, power_columns
from hubbleflow.metrics.radial_profile import profile_columns, relative_profile, ring_edges, wing_ratio
from hubbleflow.metrics.result import Result
from hubbleflow.metrics.sample import Sample
from hubbleflow.metrics.splits import judge
from hubbleflow.survey import Survey

HSC, ONE = Survey.get("hsc-wide"), Survey.get("hsc-i")
SIGMA = np.array(HSC.noise)[:, None, None]
METRICS = {metric.name: metric for metric in all_metrics()}
COLUMNS = (sky_columns, autocorrelation_columns, flux_columns, power_columns, profile_columns)
SIDE = 32
RADIUS = np.hypot(*(np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2))


def light(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noiseless exponential discs, their redshifts and half-light radii (px)."""
    rng = np.random.default_rng(seed)
    z = rng.gamma(3, 0.25, n)
    scale = 1.9 * np.exp(rng.normal(0, 0.15, n))
    flux = 15 * np.exp(-z + rng.normal(0, 0.5, n))[:, None] * np.array([0.5, 0.8, 1.0, 1.15, 1.3]) ** (1 + z)[:, None]
    return (flux[:, :, None, None] * np.exp(-RADIUS / scale[:, None, None, None])).astype(np.float32), z, 1.678 * scale


def sample(images: np.ndarray, z: np.ndarray, radius: np.ndarray) -> Sample:
    pixels = {name: values for function in COLUMNS for name, values in function(images, HSC).items()}
    measured = {"i_half_light_radius": radius, "flag": np.zeros(len(z), int)}
    return Sample(HSC, {"redshift": z}, measured, pixels, images=images, image_rows=np.arange(len(z)))


def white(n: int, seed: int) -> np.ndarray:
    return (np.random.default_rng([seed, 1]).normal(0, 1, (n, 5, SIDE, SIDE)) * SIGMA).astype(np.float32)


Corruption = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def correlated(made: np.ndarray, noise: np.ndarray, radius: np.ndarray) -> np.ndarray:
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 6.0  # of squares that sum to one: the rms stays
    return made + convolve(noise, kernel[None, None], mode="wrap")


def without_wings(made: np.ndarray, noise: np.ndarray, radius: np.ndarray) -> np.ndarray:
    far = 2 * radius[:, None, None] < RADIUS
    return np.where(far[:, None] & (made < SIGMA), 0, made).astype(np.float32) + noise


CORRUPTIONS: dict[str, tuple[Corruption, tuple[str, ...], tuple[str, ...]]] = {
    "none": (lambda made, noise, radius: made + noise, (), ("c2st_images", "noise_autocorrelation", "profile_wings", "w1_pixel_flux")),
    "noise x 1.1": (
        lambda made, noise, radius: made + np.float32(1.1) * noise,
        ("noise_rms", "power_spectrum_sky", "c2st_images"),
        ("noise_correlation", "profile_wings", "w1_band_shares"),
    ),
    "correlated noise": (correlated, ("noise_autocorrelation", "noise_correlation", "power_spectrum_sky"), ("noise_rms", "profile_wings")),
    "bands swapped": (
        lambda made, noise, radius: (made + noise)[:, [0, 1, 3, 2, 4]],
        ("w1_band_shares", "ks_pixel_flux", "w1_pixel_flux"),
        (),
    ),
    "wings cut": (without_wings, ("profile_wings", "profile_radial"), ("w1_band_shares",)),
    "sizes x 1.1": (
        lambda made, noise, radius: np.exp(np.log(np.maximum(made, 1e-30)) / 1.1).astype(np.float32) + noise,
        ("profile_radial", "power_spectrum_galaxy"),
        ("noise_rms", "noise_autocorrelation"),
    ),
}


@pytest.fixture(scope="module")
def real() -> Sample:
    made, z, radius = light(600, 1)
    return sample(made + white(600, 1), z, radius)


def verdicts(real: Sample, made: Sample, names: tuple[str, ...], splits: int = 12) -> dict[str, Result]:
    bins = choose_bins(real, made)
    return {name: judge(METRICS[name], real, made, bins, splits=splits) for name in names}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_caught_by_the_metrics_that_name_it(real, name):
    corrupt, caught, not_caught = CORRUPTIONS[name]
    made, z, radius = light(600, 2)
    results = verdicts(real, sample(corrupt(made, white(600, 2), radius).astype(np.float32), z, radius), (*caught, *not_caught))
    for metric in caught:
        assert results[metric].z > 3, (metric, results[metric].z)
    for metric in not_caught:
        assert results[metric].z < 3, (metric, results[metric].z)
    if name == "bands swapped":  # and it is said which
        for metric in ("w1_band_shares", "ks_pixel_flux"):
            table = results[metric].per_bin
            excess = np.nanmean(np.array(table["value"]) - np.array(table["floor"]), axis=1)
            assert {table["quantities"][row] for row in np.argsort(excess)[-2:]} == {"i", "z"}


# -- closed forms -------------------------------------------------------------------------------------------------------------------------
def test_autocorrelation_of_a_running_mean_is_its_triangle_and_of_white_noise_nothing():
    noise = np.random.default_rng(0).normal(3, 2, (60, 1, 64, 64))
    mean = noise + np.roll(noise, 1, axis=2) + np.roll(noise, 2, axis=2)  # along y
    flat, smooth = (autocorrelation_columns(x.astype(np.float32), ONE)["i_sky_autocorrelation"].mean(axis=0) for x in (noise, mean))
    assert flat == pytest.approx(0, abs=0.01)
    expected = [(1 - lag / 3) if direction == "y" else 0 for direction, lag in CASES]
    assert smooth == pytest.approx(expected, abs=0.02)
    lag_one = sky_columns(mean.astype(np.float32), ONE)["i_sky_correlation"].mean()
    assert smooth[[0, 3]].mean() == pytest.approx(lag_one, abs=0.002)  # what noise.py says of neighbours


def test_power_of_white_noise_is_its_variance_and_of_a_wave_at_its_wave_number():
    noise = np.random.default_rng(0).normal(0, 3, (200, 1, 64, 48)).astype(np.float32)
    power = power_columns(noise, ONE)["i_power"]
    known = np.isfinite(power).all(axis=0)
    assert known.tolist() == [False, False, *[True] * 10] and power[:, known].mean(axis=0) == pytest.approx(9, rel=0.05)
    x = np.arange(64)
    wave = np.cos(2 * np.pi * 10 * x / 64)[None, None, None, :] * np.ones((1, 1, 64, 1))
    got = power_columns(wave.astype(np.float32), ONE)["i_power"][0]
    ring = int(np.searchsorted(EDGES, 10 / 64, side="right") - 1)
    assert np.nanargmax(got) == ring and np.nansum(np.delete(got, ring)) < 1e-6
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    modes = ((k >= EDGES[ring]) & (k < EDGES[ring + 1])).sum()
    assert got[ring] == pytest.approx(64 * 64 / 2 / modes, rel=1e-5)  # Parseval: all of mean(cos^2) N stands in two modes


def test_rings_hold_the_profile_and_wings_are_the_integral():
    scale, radius = 6.0, 8.0
    y, x = np.mgrid[:128, :128] - 63.5
    disc = np.exp(-np.hypot(x, y) / scale)[None, None]
    flux = profile_columns(disc.astype(np.float32), ONE)["i_ring_flux"][None]
    assert flux[0, 0, 3:] == pytest.approx(np.exp(-np.arange(3.5, 64) / scale), rel=0.03)

    def mean(low: float, high: float) -> float:
        return quad(lambda r: np.exp(-r / scale) * 2 * r, low, high)[0] / (high**2 - low**2)

    ratio = wing_ratio(100 * flux, np.array([radius]))[0, 0]
    assert ratio == pytest.approx(mean(2 * radius, 4 * radius) / mean(0, radius), rel=0.02)
    relative = relative_profile(100 * flux, ring_edges(64))[0, 0]
    edges = ring_edges(64)
    assert relative[-3:] == pytest.approx([mean(a, b) / mean(0, 3) for a, b in zip(edges[-4:-1], edges[-3:], strict=True)], rel=0.03)
    assert np.isnan(relative_profile(0.01 * flux, edges)).all() and np.isnan(wing_ratio(0.01 * flux, np.array([radius]))).all()  # too faint


def test_flux_distributions_are_those_of_the_pixels():
    rng = np.random.default_rng(0)
    images = (rng.normal(0, 1, (40, 1, 64, 64)) + 50 * np.exp(-np.hypot(*(np.mgrid[:64, :64] - 31.5)) / 4)).astype(np.float32)
    rows = cumulative(flux_columns(images, ONE)["i_flux_quantiles"])
    pixels = np.arcsinh(images.reshape(40, -1))
    exact = (pixels[:, :, None] <= GRID).mean(axis=1)
    assert np.abs(rows - exact).max() < 0.03
    a, b = norm(0, 1), norm(0, 1.1)
    two = [
        np.median(cumulative(flux_columns(rng.normal(0, s, (40, 1, 64, 64)).astype(np.float32), ONE)["i_flux_quantiles"]), 0)
        for s in (1, 1.1)
    ]
    assert np.abs(two[0] - two[1]).max() == pytest.approx(max(abs(a.cdf(x) - b.cdf(x)) for x in np.sinh(GRID)), abs=0.004)


def test_pixel_distances_are_scipys_where_all_images_are_alike(real):
    x, y = (np.random.default_rng(seed).normal(mean, 1, 64 * 64) for seed, mean in ((0, 0.0), (1, 0.3)))
    sets = []
    for values in (x, y):
        images = np.broadcast_to(values.reshape(1, 1, 64, 64), (60, 1, 64, 64)).astype(np.float32)
        sets.append(Sample(ONE, {"redshift": np.linspace(0, 1, 60)}, {}, flux_columns(images, ONE)))
    results = verdicts(sets[0], sets[1], ("w1_pixel_flux", "ks_pixel_flux"), splits=3)
    assert results["w1_pixel_flux"].value == pytest.approx(wasserstein_distance(np.arcsinh(x), np.arcsinh(y)), abs=0.01)
    assert results["ks_pixel_flux"].value == pytest.approx(ks_2samp(x, y).statistic, abs=0.02)


@pytest.mark.parametrize("sizes", [(60, 60), (60, 41)])
def test_wasserstein_of_many_columns_is_scipys(sizes):
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (sizes[0], 3)), rng.normal(0.3, 2, (sizes[1], 3))
    a[:20, 1], b[:, 2] = np.nan, np.nan
    index = [np.arange(len(v)) % 2 for v in (a, b)]
    ours, theirs = (
        f.table
        for f in (wasserstein_per_cell(a, index[0], b, index[1], 2), distance_per_cell(wasserstein_distance, a, index[0], b, index[1], 2))
    )
    assert np.isnan(ours[2]).all() and np.isnan(theirs[2]).all()
    assert ours[:2] == pytest.approx(theirs[:2], rel=0.1)
    if sizes[0] == sizes[1]:
        assert ours[0] == pytest.approx(theirs[0], rel=1e-9)


def test_the_examples_of_the_docs():
    n = 60
    columns = {"redshift": np.linspace(0, 1, n)}
    noise = np.random.default_rng(0).normal(0, 1, (n, 1, 64, 64)).astype(np.float32)
    pixels = [{**power_columns(x, ONE), **sky_columns(x, ONE)} for x in (noise, np.float32(1.1) * noise)]
    real, made = (Sample(ONE, columns, {}, found) for found in pixels)
    prepared = METRICS["power_spectrum_sky"].prepare(real, made, choose_bins(real, made))
    same = prepared.statistic(prepared.real, prepared.real_bins, prepared.generated, prepared.generated_bins)
    assert same.overall == pytest.approx(2 * np.log(1.1), abs=1e-4) and round(2 * np.log(1.1), 2) == 0.19
    bright = np.outer(np.exp(np.random.default_rng(0).normal(9, 1, n)), [1, 1, 2, 1, 1])
    shares = [{f"{band}_core_flux": x[:, number] for number, band in enumerate(HSC.bands)} for x in (bright, bright[:, [0, 2, 1, 3, 4]])]
    real, made = (Sample(HSC, columns, {f"{band}_noise": np.ones(n) for band in HSC.bands}, found) for found in shares)
    prepared = METRICS["w1_band_shares"].prepare(real, made, choose_bins(real, made))
    swapped = prepared.statistic(prepared.real, prepared.real_bins, prepared.generated, prepared.generated_bins)
    assert swapped.overall == pytest.approx(2 * np.log(2) / 5, rel=1e-3) and round(2 * np.log(2) / 5, 2) == 0.28
    x = np.sqrt(2 * np.log(1.1) / (1 - 1.1**-2))  # where both Gaussians' densities are equal
    assert round(float(norm.cdf(x) - norm.cdf(x / 1.1)), 3) == 0.023 and round(float(norm.cdf(0.75)), 2) == 0.77


# -- the classifier -----------------------------------------------------------------------------------------------------------------------
def test_the_classifier_reaches_what_two_gaussians_allow():
    rng = np.random.default_rng(0)
    level = [rng.normal(mean, 1, 500) for mean in (0.0, 1.5)]  # of a whole image: the best there is tells Phi(d / 2) rightly
    a, b = (in_patches((x[:, None, None, None] + rng.normal(0, 0.3, (500, 1, 16, 16))).astype(np.float32)) for x in level)
    right = np.concatenate(told_rightly(a, b))
    assert right.mean() == pytest.approx(norm.cdf(0.75), abs=3 * 0.5 / np.sqrt(1000))
    same = np.concatenate(told_rightly(a[:250], a[250:]))
    assert same.mean() == pytest.approx(0.5, abs=3 * 0.5 / np.sqrt(500))


def test_turning_the_weights_is_turning_the_images():
    torch.manual_seed(0)
    images = np.random.default_rng(0).normal(0, 1, (4, 2, 24, 24)).astype(np.float32)
    network = Discriminator(2).eval()
    with torch.inference_mode():
        for along_y, along_x, transposed in product((False, True), repeat=3):
            seen = images.swapaxes(2, 3) if transposed else images
            seen = seen[:, :, :: -1 if along_y else 1, :: -1 if along_x else 1]
            axes = tuple(axis for axis, mirrored in ((1, along_y), (2, along_x)) if mirrored)
            odds = network(torch.from_numpy(in_patches(np.ascontiguousarray(seen))))
            turned = network(torch.from_numpy(in_patches(images)), axes, transposed)
            assert torch.allclose(odds, turned, atol=1e-5), (axes, transposed)


def test_copies_stand_in_one_fold_and_teach_nothing():
    rng = np.random.default_rng(0)
    a, few = rng.normal(0, 1, (120, 1, 16, 16)).astype(np.float32), rng.normal(0, 1, (12, 1, 16, 16)).astype(np.float32)
    right = np.concatenate(told_rightly(in_patches(a), in_patches(np.repeat(few, 10, axis=0)), steps=60))
    assert right[:120].mean() + right[120:].mean() < 1.35  # each known by heart, ten times: 2 if they stood in both folds


def test_stretched_takes_the_middle_and_broken_pixels_are_sky():
    images = np.zeros((1, 1, 70, 66), np.float32)
    images[0, 0, 35, 33], images[0, 0, 20, 20] = np.sinh(2.0) * 0.5, np.nan
    got = stretched(images, np.full((1, 1, 1), 0.5, np.float32))
    assert got.shape == (1, 1, 64, 64) and got[0, 0, 32, 32] == pytest.approx(2.0) and np.isfinite(got).all()


# -- sets that lack something -------------------------------------------------------------------------------------------------------------
def test_what_cannot_be_computed_gets_a_sentence(real):
    names = (
        "noise_autocorrelation",
        "power_spectrum_sky",
        "profile_radial",
        "profile_wings",
        "w1_pixel_flux",
        "w1_band_shares",
        "c2st_images",
    )
    blind = replace(real, pixels={}, images=None, image_rows=None)
    for name, result in verdicts(real, blind, names, splits=3).items():
        assert not result.computed and "needs images" in result.note, name
    unmeasured = replace(real, measured={})
    assert "half-light radius" in verdicts(real, unmeasured, ("profile_wings",), splits=3)["profile_wings"].note
    small = replace(real, images=real.images[:, :, :16, :16])
    assert "one size" in verdicts(real, small, ("c2st_images",), splits=3)["c2st_images"].note


@pytest.mark.parametrize("value", [np.nan, 0.0, 7.0])
def test_empty_images_give_numbers_or_nan_and_no_warning(value):
    images = np.full((3, 1, 32, 20), value, np.float32)
    images[2, 0, 3, 3] = np.nan
    for function in COLUMNS:
        for name, values in function(images, ONE).items():
            assert len(values) == 3, name
    assert np.isnan(autocorrelation_columns(images, ONE)["i_sky_autocorrelation"]).all()
    assert np.isnan(power_columns(images, ONE)["i_power"][2]).all() and np.isnan(flux_columns(images, ONE)["i_flux_quantiles"][2]).all()


def test_sets_of_other_bands_are_compared_in_those_in_common(real):
    made, z, radius = light(600, 2)
    narrow = HSC.with_bands(("r", "i", "z"))
    images = (made + white(600, 2))[:, 1:4]
    pixels = {name: values for function in COLUMNS for name, values in function(images, narrow).items()}
    other = Sample(
        narrow,
        {"redshift": z},
        {"i_half_light_radius": radius, "flag": np.zeros(600, int)},
        pixels,
        images=images,
        image_rows=np.arange(600),
    )
    results = verdicts(real, other, ("ks_pixel_flux", "profile_radial", "c2st_images"), splits=4)
    assert results["ks_pixel_flux"].per_bin["quantities"] == ["r", "i", "z"] and results["ks_pixel_flux"].z < 3
    assert all(name.split()[0] in ("r", "i", "z") for name in results["profile_radial"].per_bin["quantities"])
    assert results["c2st_images"].z < 3


def test_sky_sigma_falls_back():
    assert sky_sigma(Sample(ONE, {}, {"i_noise": np.array([0.1, 0.3, 0.2])})) == {"i": 0.2}
    assert sky_sigma(Sample(ONE, {}, {"i_noise": np.array([np.nan])})) == {"i": 1.0}


def test_blocks_do_not_change_what_is_read_of_an_image():
    images = (light(30, 1)[0] + white(30, 1)).astype(np.float32)
    some = GalaxySet(images, HSC)
    for function in COLUMNS:
        whole, parts = function(images, HSC), [function(np.asarray(block.images[:]), HSC) for block in some.blocks(7)]
        for name, values in whole.items():
            assert np.concatenate([part[name] for part in parts]) == pytest.approx(values, rel=1e-4, abs=1e-5, nan_ok=True), name
