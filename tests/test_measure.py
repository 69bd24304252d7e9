"""Measurement: exact answers on galaxies whose numbers are known, a flag for everything that goes wrong, real sky."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sep
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import (
    DESCRIPTIONS,
    UNTRUSTED,
    Flag,
    Recipe,
    flags,
    measure,
    measure_file,
    measure_stamp,
    sersic_flags,
    shape_flags,
    trusted,
)
from hubbleflow.measure.columns import BAND_COLUMNS, SERSIC_COLUMNS, row_values
from hubbleflow.measure.detect import central, detect
from hubbleflow.measure.nonparametric import SHAPE_COLUMNS
from hubbleflow.measure.photometry import Aperture, half_light_radius, kron_aperture, without
from hubbleflow.measure.sky import sky_of
from hubbleflow.survey import Survey

HSC_I = Survey.get("hsc-i")
HSC = Survey.get("hsc-wide")
KRON = Recipe(sersic=False, shapes=False)  # what fits and shapes give is in test_measure_shapes.py
FILTER_VARIANCE = 0.5  # of [1, 2, 1] / 4 along each axis: moments are taken on the convolved image


def gaussian(size=64, x=31.5, y=31.5, a=4.0, b=4.0, degrees=0.0, flux=1000.0):
    """An elliptical Gaussian sampled at the pixels' middles."""
    rows, columns = np.mgrid[:size, :size]
    t = np.radians(degrees)
    u = (columns - x) * np.cos(t) + (rows - y) * np.sin(t)
    v = -(columns - x) * np.sin(t) + (rows - y) * np.cos(t)
    return flux / (2 * np.pi * a * b) * np.exp(-0.5 * ((u / a) ** 2 + (v / b) ** 2))


def sky(size=64, sigma=0.05, seed=0):
    return np.random.default_rng(seed).normal(0.0, sigma, (size, size))


def one_band(image, **planes):
    """Row, flag and result of a stamp in one band."""
    result = measure_stamp(np.asarray(image)[None], HSC_I, **{name: plane[None] for name, plane in planes.items()})
    return result.rows[0], result.flag, result


# -- exact answers -------------------------------------------------------------------------------------
@pytest.mark.parametrize("degrees", [-60.0, 0.0, 30.0, 85.0])
def test_gaussian_is_measured_exactly(degrees):
    a, b, flux, x, y = 5.0, 3.0, 2000.0, 31.8, 30.9
    row, flag, _ = one_band(gaussian(64, x, y, a, b, degrees, flux) + sky(sigma=1e-3))
    assert flag == 0
    # The isophote reaches beyond 4.5 sigma: what it cuts off is less than 1e-3 of the second moments.
    assert row.major_axis == pytest.approx(np.sqrt(a**2 + FILTER_VARIANCE), rel=2e-3)
    assert row.minor_axis == pytest.approx(np.sqrt(b**2 + FILTER_VARIANCE), rel=2e-3)
    assert row.ellipticity == pytest.approx(1 - row.minor_axis / row.major_axis, abs=1e-12)
    assert row.pos_angle == pytest.approx(degrees, abs=0.1)
    assert (row.centroid_x, row.centroid_y) == pytest.approx((x, y), abs=2e-3)
    assert row.flux == pytest.approx(flux, rel=2e-3)
    assert row.mag == pytest.approx(27.0 - 2.5 * np.log10(flux), abs=2e-3)
    assert row.peak_surface_brightness == pytest.approx(
        27.0 - 2.5 * np.log10(gaussian(64, x, y, a, b, degrees, flux).max() / 0.168**2), abs=1e-3
    )
    assert row.sky == pytest.approx(0.0, abs=2e-4)
    assert row.noise == pytest.approx(1e-3, rel=0.05)


@pytest.mark.parametrize("s", [2.0, 4.0, 7.0])
def test_half_light_radius_of_a_round_gaussian(s):
    # 1.17741 sigma for a Gaussian; a pixel is a square of constant light, which adds 1/12 px^2 to its variance.
    row, _, _ = one_band(gaussian(a=s, b=s) + sky(sigma=1e-3))
    assert row.half_light_radius == pytest.approx(1.177410 * np.sqrt(s**2 + 1 / 12), rel=5e-3)


def test_half_light_radius_agrees_with_seps_own():
    image = gaussian(a=6.0, b=4.0).astype(np.float32)
    kron = Aperture(31.5, 31.5, 24.0, 16.0, 0.0)
    theirs, _ = sep.flux_radius(image, [31.5], [31.5], [24.0], 0.5, normflux=np.array([1000.0]))
    assert half_light_radius(image, kron, 1000.0) == pytest.approx(float(theirs[0]), rel=0.01)


def test_half_light_radius_needs_light():
    image = gaussian().astype(np.float32)
    assert np.isnan(half_light_radius(image, Aperture(31.5, 31.5, 12.0, 12.0, 0.0), -1.0))
    assert np.isnan(half_light_radius(image, Aperture(31.5, 31.5, 12.0, 12.0, 0.0), 1e6))  # more than there is


def test_kron_radius_of_a_gaussian():
    # A round Gaussian's first moment is <r> = sqrt(pi/2) sigma: 2.5 <r> is below the least, 3.5 A, which holds.
    s = 4.0
    row, _, _ = one_band(gaussian(a=s, b=s) + sky(sigma=1e-3))
    assert row.kron_radius == pytest.approx(3.5 * row.major_axis, rel=1e-6)


def test_kron_aperture_where_the_light_reaches_far():
    # Small ellipse, extended light: 2.5 times the first moment over 6 (a, b), against the sum done by hand.
    rows, columns = np.mgrid[:129, :129] - 64.0
    r = np.hypot(rows, columns)
    image = (500 * np.exp(-r / 4.0)).astype(np.float32)
    kron = kron_aperture(image, Aperture(64.0, 64.0, 3.0, 3.0, 0.0), Recipe())
    inside = r <= 18.0
    assert kron.a == pytest.approx(2.5 * (r * image)[inside].sum() / image[inside].sum(), rel=0.01)
    assert kron.a > 3.5 * 3.0


def test_kron_aperture_of_no_light_is_the_least():
    empty = np.zeros((32, 32), np.float32)
    assert kron_aperture(empty, Aperture(15.5, 15.5, 2.0, 1.0, 0.3), Recipe()).a == pytest.approx(7.0)


def test_colours_come_from_one_aperture():
    fluxes = np.array([200.0, 500.0, 1000.0, 1100.0, 1500.0])
    images = np.stack([gaussian(a=4, b=3, flux=flux) + sky(sigma=1e-3, seed=b) for b, flux in enumerate(fluxes)])
    measured = measure(GalaxySet(images[None].astype(np.float32), HSC), progress=False, recipe=KRON)
    for name, k in (("g_r", 0), ("r_i", 1), ("i_z", 2), ("z_y", 3)):
        assert measured.columns[name][0] == pytest.approx(-2.5 * np.log10(fluxes[k] / fluxes[k + 1]), abs=2e-3)
        assert measured.units[name] == "mag"


def test_isophotal_area_is_the_count_of_pixels_above_the_threshold():
    # Hand-made: a plus of 12 bright pixels, noise stated to be 1. The filter spreads light, the area counts the image.
    image = np.zeros((32, 32))
    image[14:18, 15:17] = 100.0
    image[15:17, 14:18] = 100.0
    row, _, _ = one_band(image, ivar=np.ones_like(image))
    assert row.isophotal_area == 12
    # And of a smooth one: the pixels above 1.5 sigma, counted.
    image = gaussian(a=5.0, b=3.0, degrees=20.0)
    row, _, _ = one_band(image, ivar=np.full_like(image, 4.0))
    assert row.isophotal_area == (image > 1.5 * 0.5).sum()


def test_error_ellipse_of_the_centroid():
    # sep: var(x) = sum sigma^2 (x_i - x)^2 / (sum I_i)^2 over the isophote, I on the convolved image.
    noise = 0.2
    image = gaussian(a=5.0, b=3.0, degrees=30.0)
    row, _, _ = one_band(image, ivar=np.full_like(image, noise**-2))
    found = detect(image, Recipe(), ivar=np.full_like(image, noise**-2))
    member = found.segments == 1
    rows, columns = np.nonzero(member)
    total = float(found.objects["cflux"][0])
    expected_xx = noise**2 * ((columns - row.centroid_x) ** 2).sum() / total**2
    expected_yy = noise**2 * ((rows - row.centroid_y) ** 2).sum() / total**2
    expected_xy = noise**2 * ((columns - row.centroid_x) * (rows - row.centroid_y)).sum() / total**2
    assert (row.errx2, row.erry2, row.errxy) == pytest.approx((expected_xx, expected_yy, expected_xy), rel=2e-3)
    assert row.errcxy == pytest.approx(-2 * expected_xy / (expected_xx * expected_yy - expected_xy**2), rel=5e-3)
    assert row.errcxy < 0 < row.errxy  # a major axis between +x and +y


def test_error_ellipse_is_the_scatter_of_the_centroid():
    # The same galaxy under 300 skies: the centroid scatters as errx2 says (a little more: the isophote moves too).
    truth = gaussian(48, 23.5, 23.5, 3.0, 3.0, flux=300.0)
    rows = [one_band(truth + sky(48, 0.1, seed), ivar=np.full((48, 48), 100.0))[0] for seed in range(300)]
    scatter = np.std([row.centroid_x for row in rows])
    assert 0.8 < scatter / np.sqrt(np.median([row.errx2 for row in rows])) < 1.4


def test_flux_error_is_the_scatter_of_the_flux():
    truth = gaussian(48, 23.5, 23.5, 3.0, 3.0, flux=300.0)
    rows = [one_band(truth + sky(48, 0.1, seed))[0] for seed in range(200)]
    stated = np.median([row.flux_err for row in rows])
    assert 0.85 < np.std([row.flux for row in rows]) / stated < 1.5  # the sky's own error comes on top
    assert rows[0].snr == pytest.approx(rows[0].flux / rows[0].flux_err)


def test_sky_offset_changes_nothing_but_the_sky():
    image = gaussian(a=4, b=3, degrees=20, flux=400) + sky(sigma=0.1)
    plain, flag, _ = one_band(image)
    for offset in (-5.0, 1000.0):
        moved, moved_flag, _ = one_band(image + offset)
        assert moved_flag == flag
        assert moved.sky - plain.sky == pytest.approx(offset, abs=1e-6)
        for name in set(BAND_COLUMNS) - {"sky"}:
            assert getattr(moved, name) == pytest.approx(getattr(plain, name), rel=1e-4, abs=1e-5), name


def test_scaling_the_image_scales_fluxes_and_nothing_else():
    image = gaussian(a=4, b=3, degrees=20, flux=400) + sky(sigma=0.1)
    plain, scaled = one_band(image)[0], one_band(1000.0 * image)[0]
    for name in ("isophotal_area", "major_axis", "minor_axis", "pos_angle", "half_light_radius", "errx2", "snr"):
        assert getattr(scaled, name) == pytest.approx(getattr(plain, name), rel=1e-4), name
    assert scaled.mag == pytest.approx(plain.mag - 7.5, abs=1e-4)


def test_quarter_turn_turns_the_angle_and_nothing_else():
    image = gaussian(a=5, b=3, degrees=30) + sky(sigma=0.1)
    plain, turned = one_band(image)[0], one_band(np.rot90(image, -1))[0]  # rows run upwards: from +x to +y
    assert turned.pos_angle == pytest.approx(plain.pos_angle - 90, abs=0.01)
    for name in ("isophotal_area", "major_axis", "minor_axis", "flux", "half_light_radius"):
        assert getattr(turned, name) == pytest.approx(getattr(plain, name), rel=1e-4), name


def test_neighbours_do_not_change_the_central_galaxy():
    alone = gaussian(a=3, b=2.5, degrees=40, flux=500) + sky(sigma=0.05)
    crowded = alone + gaussian(x=50, y=40, a=2.5, b=2, flux=800) + gaussian(x=12, y=20, a=2, b=2, flux=1500)
    one, flag, lonely = one_band(alone)
    two, crowded_flag, result = one_band(crowded)
    assert (lonely.n_neighbours, result.n_neighbours) == (0, 2)
    assert flag == crowded_flag == 0
    assert two.flux == pytest.approx(one.flux, rel=0.005)
    for name, tolerance in (("major_axis", 0.005), ("isophotal_area", 0.01), ("half_light_radius", 0.01)):
        assert getattr(two, name) == pytest.approx(getattr(one, name), rel=tolerance), name


def test_touching_neighbour_is_taken_out_by_mirrored_pixels():
    alone = gaussian(a=3, b=3, flux=500) + sky(sigma=0.05)
    row, flag, _ = one_band(alone + gaussian(x=44, y=31.5, a=2, b=2, flux=1000))
    assert flag & Flag.BLENDED
    assert not flag & Flag.OFF_CENTRE
    assert row.centroid_x == pytest.approx(31.5, abs=0.3)
    assert row.flux == pytest.approx(500, rel=0.05)  # 1500 without


def test_mirror_uses_sky_where_both_pixels_are_hidden():
    image = np.arange(25, dtype=np.float32).reshape(5, 5)
    hidden = np.zeros((5, 5), bool)
    hidden[0, 0] = hidden[4, 4] = hidden[1, 2] = True
    cleaned = without(image, hidden, 2.0, 2.0)
    assert cleaned[0, 0] == cleaned[4, 4] == 0
    assert cleaned[1, 2] == image[3, 2]
    assert (cleaned[~hidden] == image[~hidden]).all()
    assert without(image, hidden, 0.0, 0.0)[1, 2] == 0  # mirrored outside the stamp


def test_the_central_object_is_measured_not_the_brightest():
    image = gaussian(a=2.5, b=2.5, flux=100) + gaussian(x=50, y=50, a=4, b=4, flux=5000) + sky(sigma=0.05)
    row, flag, _ = one_band(image)
    assert (row.centroid_x, row.centroid_y) == pytest.approx((31.5, 31.5), abs=0.3)
    assert flag & UNTRUSTED == 0


# -- the sky ---------------------------------------------------------------------------------------------
def test_sky_is_robust_to_sources():
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(7.0, 0.5, 9000), rng.uniform(8, 300, 1000)])
    level = sky_of(values)
    assert level.level == pytest.approx(7.0, abs=0.1)
    assert level.noise == pytest.approx(0.5, rel=0.15)
    assert level.flag == 0


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_noise_of_a_clipped_sky_is_that_of_its_bright_side(clip):
    # N(0, 1) with everything below `clip` set to it: 50 % and 69 % of the sky are black; the 84th percentile is at 1.
    values = np.maximum(np.random.default_rng(4).normal(0, 1, 40_000), clip)
    level = sky_of(values)
    assert level.flag == Flag.CLIPPED_SKY
    assert level.level == clip
    assert level.noise == pytest.approx(1.0 - clip, rel=0.05)


def test_black_sky_of_a_picture_has_the_noise_of_rounding():
    picture = np.round(gaussian(a=4, b=4, flux=8000)).astype(np.uint8).astype(np.float32)
    result = measure_stamp(np.stack([picture] * 3), Survey.get("sdss-rgb"))
    row = result.rows[1]
    assert row.noise == pytest.approx(1 / np.sqrt(12))
    assert result.flag == Flag.CLIPPED_SKY
    assert row.isophotal_area == (picture >= 1).sum()


def test_stated_inverse_variance_is_the_noise():
    image = gaussian(flux=300) + sky(sigma=0.1)
    row, _, _ = one_band(image, ivar=np.full_like(image, 0.2**-2))
    assert row.noise == pytest.approx(0.2)
    assert row.flux_err == pytest.approx(2 * one_band(image, ivar=np.full_like(image, 0.1**-2))[0].flux_err, rel=0.3)


# -- what is wrong gets its flag -------------------------------------------------------------------------
def isophotal(row):
    return [getattr(row, name) for name in BAND_COLUMNS if name not in ("sky", "noise")]


def test_every_bit_is_described_and_bits_never_move():
    assert set(DESCRIPTIONS) == set(Flag)
    assert [bit.value for bit in DESCRIPTIONS] == [1 << k for k in range(len(DESCRIPTIONS))]
    assert not UNTRUSTED & (Flag.BLENDED | Flag.CLIPPED_SKY | Flag.EDGE)
    assert trusted(np.array([0, Flag.EDGE | Flag.FILLED, Flag.EDGE | Flag.SATURATED])).tolist() == [True, True, False]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_usable_pixel(value):
    row, flag, _ = one_band(np.full((64, 64), value))
    assert flag == Flag.EMPTY | Flag.NO_NOISE_ESTIMATE | Flag.NOT_DETECTED
    assert np.isnan(row_values(row)).all()


def test_no_weight_anywhere_is_empty_too():
    image = gaussian() + sky()
    for planes in ({"ivar": np.zeros_like(image)}, {"mask": np.ones(image.shape, np.uint8)}):
        row, flag, _ = one_band(image, **planes)
        assert flag & Flag.EMPTY and flag & Flag.NOT_DETECTED
        assert np.isnan(row_values(row)).all()


@pytest.mark.parametrize("value", [0.0, 3.7, -25241.0])
def test_constant_stamp(value):
    row, flag, _ = one_band(np.full((64, 64), value))
    assert flag == Flag.CONSTANT | Flag.NO_NOISE_ESTIMATE | Flag.NOT_DETECTED
    assert row.sky == value
    assert np.isnan(isophotal(row)).all()


def test_blank_sky_is_not_detected():
    row, flag, result = one_band(sky())
    assert flag == Flag.NOT_DETECTED
    assert np.isnan(isophotal(row)).all()
    assert row.noise == pytest.approx(0.05, rel=0.1)
    assert result.n_neighbours == 0


def test_negative_galaxy():
    row, flag, _ = one_band(sky() - gaussian())
    assert flag == Flag.NOT_DETECTED | Flag.NEGATIVE_FLUX
    assert np.isnan(isophotal(row)).all()


def test_negative_flux_in_one_band_has_no_colour():
    images = np.stack([gaussian(flux=500) + sky(seed=b) for b in range(5)])
    images[0] = sky(seed=9) - gaussian(flux=50)
    measured = measure(GalaxySet(images[None].astype(np.float32), HSC), progress=False, recipe=KRON)
    columns = measured.columns
    assert columns["g_flag"][0] & Flag.NEGATIVE_FLUX and columns["g_flag"][0] & Flag.NOT_DETECTED
    assert columns["g_flux"][0] == pytest.approx(-50, rel=0.1)  # a forced flux is a number all the same
    assert np.isnan(columns["g_mag"][0]) and np.isnan(columns["g_r"][0]) and np.isfinite(columns["r_i"][0])
    assert columns["flag"][0] == 0


def test_one_hot_pixel():
    image = sky()
    image[32, 32] = 50.0
    row, flag, _ = one_band(image)
    assert flag & Flag.HOT_PIXEL
    assert row.isophotal_area < 5


def test_a_star_is_no_hot_pixel():
    assert one_band(gaussian(a=1.5, b=1.5, flux=2000) + sky())[1] == 0


def test_saturated_core():
    image = gaussian(a=3, b=3, flux=3000) + sky()
    assert one_band(np.minimum(image, 30.0))[1] == Flag.SATURATED
    assert one_band(image)[1] == 0


def test_white_in_a_picture_is_saturated_but_equal_values_are_not():
    grey = np.round(gaussian(a=5, b=5, flux=15_000) + 20 + 3 * sky(sigma=1)).clip(0, 255)
    rgb = Survey.get("sdss-rgb")
    assert not measure_stamp(np.stack([grey] * 3), rgb).flag & Flag.SATURATED
    assert measure_stamp(np.stack([(3 * grey).clip(0, 255)] * 3), rgb).flag & Flag.SATURATED


def test_off_centre():
    row, flag, _ = one_band(gaussian(x=36.0, y=31.5, a=4, b=4) + sky())
    assert flag == 0  # it covers the centre
    assert row.centroid_x == pytest.approx(36.0, abs=0.05)
    far = gaussian(x=31.5 + 7.0, y=31.5, a=1.2, b=1.2, flux=50) + sky()
    row, flag, _ = one_band(far)
    assert flag == Flag.OFF_CENTRE
    assert row.centroid_x == pytest.approx(38.5, abs=0.2)


def test_a_galaxy_elsewhere_is_not_the_central_one():
    row, flag, result = one_band(gaussian(x=50, y=50, a=2, b=2) + sky())
    assert flag == Flag.NOT_DETECTED
    assert np.isnan(isophotal(row)).all()
    assert result.n_neighbours == 1


def test_galaxy_off_the_edge():
    assert one_band(gaussian(x=0.0, y=31.5, a=4, b=4) + sky())[1] == Flag.NOT_DETECTED
    # and one so large that it reaches the centre from there
    _, flag, _ = one_band(gaussian(x=5.0, y=31.5, a=14, b=8, flux=9000) + sky())
    assert flag & Flag.EDGE and flag & Flag.OFF_CENTRE and flag & Flag.APERTURE_TRUNCATED
    assert not trusted(flag)


def test_two_equal_galaxies_are_ambiguous():
    image = gaussian(x=27.0, y=31.5, a=1.5, b=1.5) + gaussian(x=36.0, y=31.5, a=1.5, b=1.5) + sky(sigma=0.02)
    row, flag, result = one_band(image)
    assert flag & Flag.AMBIGUOUS
    assert not trusted(flag)
    assert result.n_neighbours == 1
    assert row.flux == pytest.approx(1000, rel=0.1)  # one of the two, not both


def test_galaxy_that_fills_the_stamp():
    _, flag, _ = one_band(gaussian(a=25, b=25, flux=1e5) + sky())
    assert flag & Flag.FILLED and flag & Flag.EDGE
    assert trusted(flag)  # both are notes: the brightest and largest galaxies must not leave the comparison


def test_low_signal_is_flagged():
    rng = np.random.default_rng(2)
    stated = np.full((48, 48), 100.0)
    results = [one_band(gaussian(48, 23.5, 23.5, 2, 2, flux=4) + rng.normal(0, 0.1, (48, 48)), ivar=stated) for _ in range(120)]
    detected = [(row.snr, flag) for row, flag, _ in results if not flag & Flag.NOT_DETECTED]
    assert len(detected) > 20
    assert {bool(flag & Flag.LOW_SNR) for _, flag in detected} == {True, False}
    assert all(bool(flag & Flag.LOW_SNR) == (snr < 5) for snr, flag in detected)


@pytest.mark.parametrize("how", ["nan", "mask", "ivar"])
def test_bad_pixels_in_the_object(how):
    image = gaussian(a=3, b=3, flux=500) + sky(sigma=0.05)
    bad = np.zeros(image.shape, bool)
    bad[34:36, 33] = True
    broken, planes = image.copy(), {}
    broken[bad] = np.nan if how == "nan" else 1e6
    if how == "mask":
        planes["mask"] = bad.astype(np.uint8)
    if how == "ivar":
        planes["ivar"] = np.where(bad, 0.0, 400.0)
    row, flag, _ = one_band(broken, **planes)
    assert flag == Flag.BAD_PIXELS
    assert row.flux == pytest.approx(500, rel=0.01)  # the mirrored pixels stand in


def test_bad_pixels_elsewhere_do_not_matter():
    image = gaussian(a=3, b=3, flux=500) + sky(sigma=0.05)
    plain = one_band(image)[0]
    image[2:5, :] = np.nan
    row, flag, _ = one_band(image)
    assert flag == 0
    assert row.flux == pytest.approx(plain.flux, rel=2e-3)


def test_stamp_of_little_data_is_said_to_be_sparse():
    image = gaussian(a=3, b=3, flux=500) + sky(sigma=0.05)
    image[:, :17] = image[:, 47:] = image[:12] = np.nan
    row, flag, _ = one_band(image)
    assert flag == Flag.SPARSE
    assert row.flux == pytest.approx(500, rel=0.02)


def test_missing_band():
    images = np.stack([gaussian(flux=500) + sky(seed=b) for b in range(5)])
    images[4] = np.nan
    result = measure_stamp(images, HSC)
    assert result.flag == Flag.MISSING_BAND
    assert result.band_flags[4] & Flag.EMPTY
    assert np.isnan(row_values(result.rows[4])).all()


def test_clumps_beyond_seps_limits_are_detected_without_deblending(monkeypatch):
    # Nine knots in one plateau, more than sep is allowed to hold here: its exception must not reach us.
    image = sky(sigma=1.0)
    image[14:50, 14:50] += 50.0
    for x in (20, 32, 44):
        for y in (20, 32, 44):
            image += gaussian(x=x, y=y, a=2, b=2, flux=(300 + 10 * x + y) * 8 * np.pi)
    row, flag, result = one_band(image)
    assert flag & Flag.BLENDED and result.n_neighbours == 8
    monkeypatch.setattr("hubbleflow.measure.detect.SUB_OBJECTS", 4)
    row, flag, result = one_band(image)
    assert flag & Flag.DEBLEND_FAILED and not flag & Flag.BLENDED
    assert row.isophotal_area > 36 * 36 and result.n_neighbours == 0


def test_centre_between_four_pixels():
    recipe = Recipe()
    found = detect(gaussian(32, 15.5, 15.5, 1.5, 1.5) + sky(32), recipe)
    assert central(found, 15.5, 15.5, recipe) == (0, Flag(0))
    assert central(found, 27.0, 27.0, recipe) == (None, Flag.NOT_DETECTED)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    numpy_strategies.arrays(np.float32, (1, 16, 16), elements=st.floats(width=32, allow_nan=True, allow_infinity=True), fill=st.just(0.0)),
    st.sampled_from([1.0, 1e20]),
)
def test_no_stamp_makes_it_fail(image, scale):
    noise = np.random.default_rng(0).normal(size=image.shape).astype(np.float32)
    with np.errstate(all="ignore"):
        for stamp in (image, image * np.float32(scale) + noise):
            result = measure_stamp(stamp, HSC_I)
            row = result.rows[0]
            assert result.flag == 0 or result.flag
            if result.flag & Flag.NOT_DETECTED:
                assert np.isnan(isophotal(row)).all()
            else:
                assert row.isophotal_area >= 0 and row.major_axis >= row.minor_axis > 0


# -- the set ---------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def small_set() -> GalaxySet:
    """300 five-band stamps, among them every kind of broken one."""
    rng = np.random.default_rng(5)
    images = np.empty((300, 5, 32, 32), np.float32)
    for i in range(len(images)):
        a, q, flux = rng.uniform(1.2, 4), rng.uniform(0.4, 1), 10 ** rng.uniform(0.5, 3)
        shape = gaussian(32, 15.5, 15.5, a, a * q, rng.uniform(-90, 90), flux)
        images[i] = shape * np.array([0.4, 0.7, 1, 1.2, 1.3])[:, None, None] + rng.normal(0, 0.05, (5, 32, 32))
    images[7], images[8], images[9, 2], images[10] = np.nan, 0.0, np.inf, -images[10]
    return GalaxySet(images, HSC, {"object_id": np.arange(300) + 1000})


def test_every_row_is_kept_and_every_column_has_unit_and_description(small_set):
    measured = measure(small_set, workers=1, progress=False, recipe=KRON)
    assert len(measured) == 300
    assert set(measured.columns) == set(measured.units) == set(measured.descriptions)
    assert all(values.shape == (300,) for values in measured.columns.values())
    assert all(measured.descriptions.values())
    assert {"i_isophotal_area", "i_major_axis", "g_errcxy", "i_flag", "g_r", "n_neighbours", "flag"} <= set(measured.columns)
    undetected = (measured.columns["flag"] & Flag.NOT_DETECTED) != 0
    assert undetected[[7, 8, 9, 10]].all() and undetected.sum() < 30
    assert np.array_equal(np.isnan(measured.columns["i_isophotal_area"]), undetected)
    assert measured.flag_counts["untrusted"] == (~trusted(measured.columns["flag"])).sum() >= undetected.sum()
    assert measured.attrs["recipe"] == "sep-central" and measured.attrs["recipe_number"] == Recipe().number
    assert json.loads(measured.attrs["recipe_parameters"])["threshold"] == 1.5


def test_units_are_astropys(small_set):
    from astropy import units as u

    measured = measure(small_set[:2], progress=False)
    for unit in measured.units.values():
        u.Unit(unit)  # raises where astropy does not know it
    table = measured.added_to(small_set[:2]).table
    assert table["i_major_axis"].unit == u.pix and table["i_peak_surface_brightness"].unit == u.mag / u.arcsec**2


def same(first, second):
    return all(first.columns[name].tobytes() == second.columns[name].tobytes() for name in first.columns)


def test_workers_do_not_change_a_bit(small_set, tmp_path, monkeypatch):
    monkeypatch.setattr("hubbleflow.measure.block.LARGEST", 32)  # four blocks
    small_set = small_set[:120]
    alone = measure(small_set, workers=1, progress=False)
    sent = measure(small_set, workers=3, progress=False, recipe=KRON)
    assert all(sent.columns[name].tobytes() == alone.columns[name].tobytes() for name in sent.columns)
    stored = small_set.write(tmp_path / "set.h5")
    assert same(alone, measure(stored, workers=2, progress=False))  # workers read the file themselves, and import torch
    some = np.array([3, 50, 119])
    few = measure(stored[some], workers=1, progress=False)
    # The Sersic fit sums in single precision, in an order that depends on which galaxies are fitted together: a small part of its error.
    assert all(few.columns[name].tobytes() == alone.columns[name][some].tobytes() for name in alone.columns if "_sersic_" not in name)
    np.testing.assert_allclose(few.columns["i_sersic_radius"], alone.columns["i_sersic_radius"][some], rtol=1e-3)


def test_measure_file_writes_the_group_and_can_do_it_again(small_set, tmp_path):
    path = tmp_path / "set.h5"
    small_set[:60].write(path)
    measured = measure_file(path, workers=1, progress=False)
    again = measure_file(path, workers=1, progress=False)
    assert same(measured, again)
    opened = GalaxySet.open(path)
    assert list(opened.columns["object_id"][:2]) == [1000, 1001]
    assert set(opened.measured) == set(measured.columns)
    for name, values in measured.columns.items():
        np.testing.assert_array_equal(opened.measured[name], values)
    assert opened.measured_units["i_major_axis"] == "pix"
    assert opened.measured_attrs["recipe"] == "sep-central"
    table = opened.table
    for name in ("t.ecsv", "t.fits", "t.csv"):
        table.write(tmp_path / name)


def test_planes_of_the_set_are_used(small_set):
    images = np.asarray(small_set.images[20:24])
    mask = np.zeros(images.shape, np.uint8)
    mask[1, 2] = 1
    measured = measure(GalaxySet(images, HSC, mask=mask, ivar=np.full_like(images, 400.0)), progress=False, recipe=KRON)
    assert measured.columns["i_noise"][[0, 2, 3]] == pytest.approx(0.05)
    assert measured.columns["flag"][1] & Flag.EMPTY


def test_survey_without_zero_point_says_so(small_set):
    images = np.asarray(small_set.images[20:24])[:, :3]
    measured = measure(GalaxySet(100 * images, Survey.get("sdss-rgb")), progress=False)
    assert "INSTRUMENTAL" in measured.descriptions["G_mag"] and measured.units["G_flux"] == ""
    assert measured.units["G_peak_surface_brightness"] == "mag / pix2"
    np.testing.assert_allclose(measured.columns["G_mag"], -2.5 * np.log10(measured.columns["G_flux"]))


def test_any_number_of_bands_and_any_reference():
    images = np.stack([gaussian(48, 23.5, 23.5, flux=300) + sky(48, seed=b) for b in range(2)])[None]
    survey = replace(Survey.custom("two", ("u", "K")), reference_band="u")
    measured = measure(GalaxySet(images.astype(np.float32), survey), progress=False, recipe=KRON)
    assert measured.columns["flag"][0] == measured.columns["u_flag"][0] == 0
    assert measured.columns["u_K"][0] == pytest.approx(0.0, abs=0.01)


def test_workers_must_be_positive(small_set):
    with pytest.raises(InputError, match="at least 1"):
        measure(small_set, workers=0)


def test_measuring_does_not_import_torch():
    code = "import sys, hubbleflow.measure; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_workers_do_not_run_the_users_script_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy as np\n"
        "from hubbleflow.galaxies import GalaxySet\n"
        "from hubbleflow.measure import Recipe, measure\n"
        "from hubbleflow.survey import Survey\n"
        "print('once')\n"
        "images = np.random.default_rng(0).normal(size=(300, 1, 16, 16)).astype(np.float32)\n"
        "galaxies, recipe = GalaxySet(images, Survey.get('hsc-i')), Recipe(sersic=False)\n"
        "print(len(measure(galaxies, workers=2, progress=False, recipe=recipe)))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["once", "300"], "")


def test_killed_worker_is_said_in_one_sentence(monkeypatch, small_set):
    monkeypatch.setattr("hubbleflow.measure.pipeline.measure_block", os._exit)
    monkeypatch.setattr("hubbleflow.measure.pipeline.blocks", lambda *_: iter([9, 9]))
    with pytest.raises(InputError, match="fewer workers"):
        measure(small_set, workers=2, progress=False)


# -- the real sky ----------------------------------------------------------------------------------------
def test_real_hsc_galaxies_at_two_depths(shared_data: Path):
    stamps = np.load(shared_data / "hsc_two_depths" / "hsc_wide_deep_64.npz")
    sets = (GalaxySet(stamps[key][:, None], HSC_I) for key in ("wide", "deep"))
    wide, deep = (measure(galaxies, workers=1, progress=False, recipe=KRON) for galaxies in sets)
    for one in (wide, deep):
        assert len(one) == 600
        assert np.mean((one.columns["flag"] & Flag.NOT_DETECTED) == 0) > 0.99
    # The rms at the stamps' edges is 0.064 and 0.025 (data/README): ours is robust, so neighbours do not count.
    assert 0.035 < np.median(wide.columns["i_noise"]) < 0.07
    assert 0.008 < np.median(deep.columns["i_noise"]) < 0.03
    both = trusted(wide.columns["flag"]) & trusted(deep.columns["flag"])
    assert both.mean() > 0.6
    difference = (wide.columns["i_mag"] - deep.columns["i_mag"])[both]
    assert abs(np.median(difference)) < 0.03
    assert np.diff(np.percentile(difference, [16, 84]))[0] < 0.1
    apart = np.hypot(
        wide.columns["i_centroid_x"] - deep.columns["i_centroid_x"], wide.columns["i_centroid_y"] - deep.columns["i_centroid_y"]
    )
    assert np.median(apart[both]) < 0.3  # the fainter isophote of a lopsided galaxy has another barycentre


def test_real_sdss_pictures(shared_data: Path):
    stamps = np.load(shared_data / "gz2_rgb64" / "gz2_four_classes.npz")
    green = np.moveaxis(stamps["images"], -1, 1)[:, 1:2].astype(np.float32)
    galaxies = GalaxySet(green, Survey.get("sdss-rgb").with_bands(("G",)))
    measured = measure(galaxies, workers=1, progress=False, recipe=KRON)
    assert len(measured) == 700
    assert np.mean((measured.columns["flag"] & Flag.NOT_DETECTED) == 0) > 0.95
    label = stamps["label"]
    ellipticity = measured.columns["G_ellipticity"]
    edge_on, round_ = (np.nanmedian(ellipticity[label == name]) for name in ("edge-on", "elliptical"))
    assert edge_on > 0.5 > 0.25 > round_  # what people saw is what we measure


def test_documentation_names_every_column_and_flag():
    text = (Path(__file__).resolve().parents[1] / "docs" / "measure.md").read_text()
    missing = [f"b_{name}" for name in BAND_COLUMNS if f"`b_{name}`" not in text]
    missing += [f"i_sersic_{name}" for name in SERSIC_COLUMNS if not name.endswith("_err") and f"`i_sersic_{name}`" not in text]
    missing += [f"i_{name}" for name in SHAPE_COLUMNS if f"`i_{name}`" not in text]
    modules = (flags, sersic_flags, shape_flags)
    bits = [(module, bit) for module in modules for bit in module.DESCRIPTIONS]
    missing += [bit.name for _, bit in bits if f"| {int(bit).bit_length() - 1} | {bit.name} |" not in text]
    untrusted = [line.split("|")[2].strip() for line in text.splitlines() if line.count("|") == 5 and "| yes |" in line]
    assert missing == []
    assert not re.search(r"^[A-Z]{4,}$", text, re.MULTILINE), "a word in place of a result"
    assert untrusted == [bit.name for module, bit in bits if bit & module.UNTRUSTED]
