"""The published recipe: exactly what it does, its mistakes included."""

from __future__ import annotations

import numpy as np
import pytest

from hubbleflow.errors import InputError
from hubbleflow.measure.published import DESCRIPTIONS, UNITS, published, published_sersic_index

SMOOTHING_VARIANCE = 1.5**2 + 0.5  # of the Gaussian, and of sep's filter [1, 2, 1] / 4


def gaussian(x=31.5, y=31.5, a=5.0, b=3.0, degrees=0.0, peak=1.0, size=64):
    """An elliptical Gaussian sampled at the pixels' middles."""
    rows, columns = np.mgrid[:size, :size]
    t = np.radians(degrees)
    u = (columns - x) * np.cos(t) + (rows - y) * np.sin(t)
    v = (rows - y) * np.cos(t) - (columns - x) * np.sin(t)
    return peak * np.exp(-0.5 * ((u / a) ** 2 + (v / b) ** 2))


def noise(sigma=1e-4, size=64, seed=0):
    return np.random.default_rng(seed).normal(0.0, sigma, (size, size))


def value(columns, name):
    return columns[f"published_{name}"][0]


def test_the_index_is_a_function_of_ellipticity():
    # ln 2 / ln 2, ln 2 / ln 4, ln 2 / ln 8; a round galaxy has none, a line has 0
    e = np.array([1 / 3, 0.6, 7 / 9])
    np.testing.assert_allclose(published_sersic_index(e), [1.0, 1 / 2, 1 / 3], rtol=1e-14)
    assert published_sersic_index(0.0) == np.inf
    assert published_sersic_index(1.0) == 0.0
    assert np.isnan(published_sersic_index(np.nan))


@pytest.mark.parametrize("degrees", [0.0, 40.0, 90.0])
def test_a_gaussian_is_made_larger_and_rounder_by_the_smoothing(degrees):
    columns = published((gaussian(degrees=degrees) + noise())[None])
    major, minor = np.sqrt(25 + SMOOTHING_VARIANCE), np.sqrt(9 + SMOOTHING_VARIANCE)
    assert value(columns, "n_objects") == 1
    assert value(columns, "semi_major_axis") == pytest.approx(major, rel=2e-3)
    assert value(columns, "ellipticity") == pytest.approx(1 - minor / major, abs=2e-3)
    e = value(columns, "ellipticity")
    assert value(columns, "sersic_index") == pytest.approx(np.log(2) / np.log((1 + e) / (1 - e)), rel=1e-12)


def test_the_isophotal_area_is_that_of_the_twice_smoothed_image():
    # A Gaussian of peak p after both smoothings is above t within an ellipse of area 2 pi A B ln(p / t).
    sigma = 0.02
    columns = published((gaussian(y=16.0) + noise(sigma, seed=1))[None])
    major, minor = np.sqrt(25 + SMOOTHING_VARIANCE), np.sqrt(9 + SMOOTHING_VARIANCE)
    least = 1.5 * sigma / (2 * np.sqrt(np.pi) * 1.5)  # 1.5 sigma of the noise after the first smoothing
    expected = 2 * np.pi * major * minor * np.log(15.0 / (major * minor) / least)
    assert value(columns, "isophotal_area") == pytest.approx(expected, rel=0.05)


def test_a_patch_of_sky_is_measured_where_it_is_listed_first():
    # one galaxy of S/N 250 a pixel: smoothing makes patches of the sky exceed 1.5 sigma, and sep lists them too
    columns = published((gaussian(peak=5.0) + noise(0.02, seed=0))[None])
    assert value(columns, "n_objects") > 1
    assert value(columns, "isophotal_area") < 30  # the galaxy covers more than 600
    assert value(columns, "semi_major_axis") < 2


def test_a_disc_and_an_elliptical_of_one_ellipticity_get_the_same_index():
    rows, columns = np.mgrid[:64, :64] - 31.5
    r = np.hypot(columns, rows / 0.5)
    disc, elliptical = (np.exp(-((r / 4) ** (1 / n)) * k) for n, k in ((1.0, 1.0), (4.0, 5.0)))
    found = published(np.stack([disc / disc.max(), elliptical / elliptical.max()]) + noise())
    np.testing.assert_allclose(found["published_sersic_index"], 0.63, atol=0.1)  # e = 1/2: ln 2 / ln 3 = 0.63; the true n are 1 and 4


def test_the_first_of_the_list_is_measured_not_the_galaxy_in_the_middle():
    galaxy, neighbour = gaussian(a=4.0, b=3.8, peak=2.0), gaussian(x=52.0, y=8.0, a=2.5, b=1.5)
    both = published((galaxy + neighbour + noise())[None])
    major, minor = np.sqrt(2.5**2 + SMOOTHING_VARIANCE), np.sqrt(1.5**2 + SMOOTHING_VARIANCE)
    assert value(both, "n_objects") == 2
    assert (value(both, "x"), value(both, "y")) == pytest.approx((52.0, 8.0), abs=0.05)
    assert value(both, "semi_major_axis") == pytest.approx(major, rel=0.01)
    assert value(both, "ellipticity") == pytest.approx(1 - minor / major, abs=0.01)


def test_no_row_is_dropped():
    images = np.stack([noise(1.0) * 0, np.full((64, 64), np.nan), np.full((64, 64), 3.0), gaussian() + noise(), -gaussian()])
    images[4, 0, 0] = np.inf
    columns = published(images)
    assert set(columns) == set(UNITS) == set(DESCRIPTIONS)
    assert all(len(column) == 5 for column in columns.values())
    assert columns["published_n_objects"].tolist() == [0, 0, 0, 1, 0]
    for name in set(columns) - {"published_n_objects"}:
        assert np.isfinite(columns[name]).tolist() == [False, False, False, True, False], name


def test_more_than_one_band_is_refused():
    with pytest.raises(InputError, match="g band alone"):
        published(np.zeros((2, 5, 64, 64)))
