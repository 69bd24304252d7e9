"""Shapes without a model: exact answers, known profiles, symmetry, masks, and a flag for every stamp that has no shape."""

from __future__ import annotations

import galsim
import numpy as np
import pytest
import sep
from scipy.optimize import brentq
from scipy.special import gammainc

from hubbleflow.errors import InputError
from hubbleflow.measure.asymmetry import SKY, Asymmetry
from hubbleflow.measure.gini import Pixels, gini, m20
from hubbleflow.measure.growth import Growth
from hubbleflow.measure.nonparametric import SHAPE_COLUMNS, Nonparametric, nonparametric
from hubbleflow.measure.shape import ShapeRecipe, Stamp
from hubbleflow.measure.shape_flags import DESCRIPTIONS, NO_VALUES, ShapeFlag, names, trusted

SIZE, MIDDLE = 64, 31.5
FAINT = 1e-4  # sky noise that is none


def sersic(n, radius, size=SIZE, x=None, y=None, q=1.0, angle=0.0, flux=100.0):
    """GalSim's image, pixel included, PSF not; `radius` is semi-major, `angle` in degrees from +x to +y."""
    params = galsim.GSParams(folding_threshold=1e-4, maximum_fft_size=32768)
    profile = galsim.Sersic(n, half_light_radius=radius * np.sqrt(q), flux=flux, gsparams=params).shear(q=q, beta=angle * galsim.degrees)
    x, y = (0.0 if value is None else value - (size - 1) / 2 for value in (x, y))
    return profile.drawImage(nx=size, ny=size, scale=1, offset=(x, y), dtype=float).array


def disc(size=SIZE, x=MIDDLE, y=MIDDLE, scale=4.0):
    rows, columns = np.mgrid[:size, :size]
    return np.exp(-np.hypot(columns - x, rows - y) / scale)


def measured(image, noise=FAINT, **options):
    return nonparametric(np.asarray(image)[None], noise, **options)


def no_number(shape):
    return all(np.isnan(getattr(shape, name)).all() for name in SHAPE_COLUMNS)


def ideal(n, radius, size):
    """exp(-b (r / R_e)^(1/n)) about the middle of the middle pixel, over whole pixels: finely where it is steep."""
    b = brentq(lambda b: gammainc(2 * n, b) - 0.5, 0.01, 30)

    def over_pixels(side, parts):
        at = (np.arange(side * parts) + 0.5) / parts - side / 2
        values = np.exp(-b * (np.hypot(at, at[:, None]) / radius) ** (1 / n))
        return values.reshape(side, parts, side, parts).mean(axis=(1, 3))

    image, core = over_pixels(size, 3), slice(size // 2 - 4, size // 2 + 5)
    image[core, core] = over_pixels(9, 101)
    return image / image.max()


def profile_truth(n):
    """r_P, r20, r80 (in R_e) of an ideal Sersic profile, and C: rings infinitely thin."""
    b = brentq(lambda b: gammainc(2 * n, b) - 0.5, 0.01, 30)

    def light(r):
        return gammainc(2 * n, b * r ** (1 / n))

    def eta(r):  # I(r) / mean within r = r L'(r) / (2 L(r))
        h = 1e-5 * r
        return r * (light(r + h) - light(r - h)) / (2 * h) / (2 * light(r))

    petrosian = brentq(lambda r: eta(r) - 0.2, 0.5, 20)
    r20, r80 = (brentq(lambda r, p=p: light(r) - p * light(1.5 * petrosian), 1e-3, 20) for p in (0.2, 0.8))
    return petrosian, r20, r80, 5 * np.log10(r80 / r20)


class TestGini:
    def test_a_constant_is_shared_evenly(self):
        assert gini(np.full(50, 3.7)) == pytest.approx(0, abs=1e-12)

    def test_one_pixel_has_everything(self):
        assert gini(np.eye(1, 40, 3)[0]) == pytest.approx(1)

    def test_a_ramp(self):
        n = 1000  # of 1, 2, ... n: (n + 1) / (3 (n - 1)) x (n - 1) / (n + 1) ... = 1/3 whatever n
        values = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
        assert gini(values) == pytest.approx(1 / 3)

    def test_neither_scale_nor_sign_matters(self):
        values = np.random.default_rng(1).normal(size=300)
        assert gini(values) == pytest.approx(gini(-7 * np.abs(values)))

    @pytest.mark.parametrize("values", [[], [1.0], [0.0, 0.0]])
    def test_nothing_to_share(self, values):
        assert np.isnan(gini(np.array(values)))


class TestM20:
    def test_by_hand(self):
        image = np.zeros((9, 9))
        image[4, 4], image[4, 0], image[4, 8], image[0, 4], image[8, 4] = 4.0, 4.0, 4.0, 4.0, 4.0
        image[3, 4] = image[5, 4] = 10.0  # the two brightest, 1 px off: 20 of 40; the five others 4 px off but one
        assert m20(Pixels.of(image, image > 0)) == pytest.approx(np.log10(20 / (20 + 4 * 4 * 16)))

    def test_nothing_bright(self):
        image = np.array([[-1.0, 0.5]])
        assert np.isnan(m20(Pixels.of(image, image != 0)))


class TestGrowth:
    def test_radii_of_an_exponential(self):
        growth = Growth(disc().astype(np.float32), None, MIDDLE, MIDDLE)
        light = np.array([0.2, 0.5, 0.8]) * growth.light(np.array([30.0]))
        radii = growth.radii_of(light, np.array([30.0, 1.0, 0.0]), 30.0)  # wherever the search starts
        assert growth.light(radii) == pytest.approx(light, rel=2e-4)

    def test_an_ellipse_is_a_squeezed_circle(self):
        rows, columns = np.mgrid[:96, :96] - 47.5
        cos, sin = np.cos(0.6), np.sin(0.6)
        stretched = np.exp(-np.hypot(columns * cos + rows * sin, (rows * cos - columns * sin) / 0.5) / 5)
        ellipse = Growth(stretched.astype(np.float32), None, 47.5, 47.5, 0.5, 0.6).petrosian()
        circle = Growth(disc(96, 47.5, 47.5, 5.0).astype(np.float32), None, 47.5, 47.5).petrosian()
        assert ellipse == pytest.approx(circle, rel=0.01)

    @pytest.mark.parametrize("near", [2.0, 10.0, 25.0])
    def test_the_start_of_the_search_does_not_matter(self, near):
        growth = Growth(disc(scale=3.0).astype(np.float32), None, 31.2, 31.9)
        assert growth.petrosian(near=near) == pytest.approx(growth.petrosian(), abs=2e-3)

    def test_areas_know_the_edge_and_the_mask(self):
        usable = np.ones((SIZE, SIZE), bool)
        usable[:, 40:] = False
        half = Growth(np.zeros((SIZE, SIZE), np.float32), usable, 39.5, 31.5).area(np.array([5.0]))
        corner = Growth(np.zeros((SIZE, SIZE), np.float32), None, -0.5, -0.5).area(np.array([5.0]))
        assert (half[0], corner[0]) == pytest.approx((np.pi * 25 / 2, np.pi * 25 / 4), rel=1e-4)

    def test_a_flat_image_has_no_petrosian_radius(self):
        assert np.isnan(Growth(np.ones((SIZE, SIZE), np.float32), None, MIDDLE, MIDDLE).petrosian())


class TestProfiles:
    @pytest.mark.parametrize(("n", "radius", "within"), [(1.0, 12.0, 0.03), (0.5, 14.0, 0.03), (4.0, 12.0, 0.06)])
    def test_concentration_and_radii_of_an_ideal_profile(self, n, radius, within):
        petrosian, r20, r80, concentration = profile_truth(n)
        shape = measured(ideal(n, radius, 193), 1e-5)
        assert shape.petro_rad_circular[0] == pytest.approx(petrosian * radius, rel=0.015)
        assert shape.petro_rad[0] == pytest.approx(petrosian * radius, rel=0.015)
        assert shape.r20[0] == pytest.approx(r20 * radius, rel=0.03)
        assert shape.r80[0] == pytest.approx(r80 * radius, rel=0.02)
        assert shape.concentration[0] == pytest.approx(concentration, abs=within)

    def test_textbook_concentrations(self):
        assert profile_truth(1.0)[3] == pytest.approx(2.7, abs=0.05)  # Bershady et al. 2000
        assert profile_truth(4.0)[3] == pytest.approx(4.4, abs=0.3)  # 5.2 were the aperture infinite

    def test_the_semi_major_radius_of_an_inclined_disc(self):
        face_on, inclined = (measured(sersic(1.0, 9.0, 128, q=q, angle=35)) for q in (1.0, 0.5))
        assert inclined.petro_rad[0] == pytest.approx(face_on.petro_rad[0], rel=0.03)
        assert inclined.petro_rad_circular[0] < 0.85 * face_on.petro_rad_circular[0]

    def test_the_centre_is_found(self):
        shape = measured(disc(x=29.3, y=33.6))
        assert (shape.asymmetry_x[0], shape.asymmetry_y[0]) == pytest.approx((29.3, 33.6), abs=0.06)

    def test_units_of_brightness_do_not_matter(self):
        image = sersic(1.5, 6.0, q=0.7) + np.random.default_rng(0).normal(0, 0.01, (SIZE, SIZE))
        one, other = measured(image, 0.01), measured(1e6 * image, 1e4)
        assert all(getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-3, abs=1e-3) for name in SHAPE_COLUMNS)


class TestAsymmetry:
    def test_a_symmetric_image_has_none(self):
        assert measured(disc(), 1e-6).asymmetry[0] == pytest.approx(0, abs=1e-4)

    def test_a_known_one(self):
        """A symmetric disc, and a pixel with a share f of the light added: that pixel and its opposite both differ by f."""
        image = disc(65, 32.0, 32.0)
        extra = 0.1 * image.sum()
        image[40, 36] += extra
        asymmetry = Asymmetry(image.astype(np.float32), None, 0.0, 32.0, 32.0, 25.0, 4.0)
        inside = sep.sum_circle(image, [32.0], [32.0], [25.0], subpix=0)[0][0]
        assert asymmetry.centre() == pytest.approx((32.0, 32.0), abs=0.02)
        assert asymmetry.at(32.0, 32.0)[0] == pytest.approx(2 * extra / inside, rel=1e-4)

    def test_half_a_galaxy_is_as_asymmetric_as_can_be(self):
        image = disc(65, 32.0, 32.0)
        image[:, :32] = 0
        image[:, 32] /= 2
        value, share = Asymmetry(image.astype(np.float32), None, 0.0, 32.0, 32.0, 20.0, 4.0).at(32.0, 32.0)
        half = sep.sum_circle(np.where(np.arange(65) == 32, image, 0), [32.0], [32.0], [20.0], subpix=0)[0][0]
        whole = sep.sum_circle(image, [32.0], [32.0], [20.0], subpix=0)[0][0]
        assert value == pytest.approx(2 * (1 - half / whole), rel=1e-4)
        assert share == 1.0

    def test_sky_alone_has_none_left(self):
        """On integer centres the turned image is not smoothed, and B is what it should be."""
        noise = np.random.default_rng(2).normal(0, 1, (200, 33, 33)).astype(np.float32)
        left = [Asymmetry(one, None, 1.0, 16.0, 16.0, 14.0, 1.0).at(16.0, 16.0)[0] for one in noise]
        assert np.mean(left) == pytest.approx(0, abs=0.01)
        assert pytest.approx(np.mean(np.abs(noise - noise[:, ::-1, ::-1])), rel=0.01) == SKY

    def test_the_search_follows_the_galaxy(self):
        asymmetry = Asymmetry(disc(x=35.0, y=28.0).astype(np.float32), None, 0.0, 31.5, 31.5, 18.0, 6.0)
        assert asymmetry.centre() == pytest.approx((35.0, 28.0), abs=0.05)

    def test_but_not_beyond_its_reach(self):
        assert Asymmetry(disc(x=35.0, y=28.0).astype(np.float32), None, 0.0, 31.5, 31.5, 18.0, 2.0).centre() is None


def clumpy():
    """A noisy inclined galaxy with two clumps, unlike its mirror images."""
    image = sersic(1.2, 9.0, q=0.6, angle=25, x=31.1, y=32.3)
    for x, y, light in ((38, 36, 4.0), (25, 27, 2.0)):
        rows, columns = np.mgrid[:SIZE, :SIZE]
        image += light * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 3) / 9.4
    return image + np.random.default_rng(3).normal(0, 0.01, image.shape)


@pytest.mark.parametrize("turn", [lambda a: np.rot90(a), lambda a: a[::-1], lambda a: a.T, lambda a: a[::-1, ::-1]])
def test_a_turned_or_mirrored_galaxy_has_the_same_shape(turn):
    one, other = measured(clumpy(), 0.01), measured(np.ascontiguousarray(turn(clumpy())), 0.01)
    assert one.flag[0] == other.flag[0]
    # Even boxes of the smoothing lie half a pixel to one side
    for name, tolerance in {
        "gini": 2e-3,
        "m20": 5e-3,
        "concentration": 0.01,
        "asymmetry": 3e-3,
        "smoothness": 0.01,
        "petro_rad": 0.05,
    }.items():
        assert getattr(one, name)[0] == pytest.approx(getattr(other, name)[0], abs=tolerance), name


class TestSmoothness:
    def test_a_smooth_galaxy_is_less_clumpy_than_one_with_clumps(self):
        smooth = clumpy()
        rough = smooth + 0.3 * (np.random.default_rng(8).random(smooth.shape) < 0.2) * (disc(scale=20.0) > 0.7)
        assert measured(rough, 0.01).smoothness[0] > measured(smooth, 0.01).smoothness[0] + 0.05

    @pytest.mark.parametrize("correlated", [False, True])
    def test_the_sky_is_taken_off(self, correlated):
        """Of sky alone nothing is left, whether its pixels know of each other or not."""
        noise = np.random.default_rng(4).normal(0, 1, (60, 65, 65))
        if correlated:
            noise = sum(noise[:, i : i + 64, j : j + 64] for i in (0, 1) for j in (0, 1)) / 2
        left = []
        for one in noise[:, :64, :64].astype(np.float32):
            circle, segment = Growth(one, None, MIDDLE, MIDDLE), disc() > 0.1
            left.append(Stamp(one, None, 1.0, ShapeRecipe())._smoothness(circle, np.array([4.0, 25.0]), 1000.0, 4, segment))
        clumps = 0.39 * np.pi * (25**2 - 4**2) / 1000  # of independent pixels, with none of it taken off
        assert np.mean(left) == pytest.approx(0, abs=0.01 * clumps)


class TestMasks:
    def test_what_is_masked_does_not_matter(self):
        image, mask = clumpy(), np.zeros((SIZE, SIZE), bool)
        mask[45:54, 10:20] = True
        reference = measured(image, 0.01, mask=mask[None])
        for hidden in (1e3, -50.0, np.nan, np.inf, 1e30):
            other = measured(np.where(mask, hidden, image), 0.01, mask=mask[None])
            assert all(getattr(reference, name)[0] == getattr(other, name)[0] for name in SHAPE_COLUMNS)
        assert reference.flag[0] == measured(np.where(mask, np.nan, image), 0.01).flag[0]  # NaN is masked, said or not

    def test_a_masked_neighbour_changes_little(self):
        image, neighbour = sersic(1.0, 5.0), sersic(1.0, 1.5, x=44.0, y=41.0, flux=20.0)
        image += np.random.default_rng(7).normal(0, 0.02, image.shape)
        alone, hidden, seen = (
            measured(image, 0.02),
            measured(image + neighbour, 0.02, mask=(neighbour > 0.01)[None]),
            measured(image + neighbour, 0.02),
        )
        for name, tolerance in {"gini": 0.01, "m20": 0.05, "concentration": 0.1, "asymmetry": 0.03, "petro_rad": 0.5}.items():
            value = getattr(alone, name)[0]
            assert getattr(hidden, name)[0] == pytest.approx(value, abs=tolerance), name
        assert abs(seen.asymmetry[0] - alone.asymmetry[0]) > 0.1

    def test_a_masked_centre_is_said(self):
        mask = np.zeros((SIZE, SIZE), bool)
        mask[30:34, 30:34] = True
        assert measured(disc(), mask=mask[None]).flag[0] & ShapeFlag.MASKED

    def test_a_masked_half_is_said(self):
        mask = np.zeros((SIZE, SIZE), bool)
        mask[:, 34:] = True
        assert not trusted(measured(disc(), mask=mask[None]).flag)[0]


EMPTY = np.zeros((SIZE, SIZE))
SKY_ONLY = np.random.default_rng(5).normal(0, 1, (SIZE, SIZE))
HOT = SKY_ONLY + 500 * (np.arange(SIZE * SIZE).reshape(SIZE, SIZE) == 32 * SIZE + 32)


class TestDegenerate:
    @pytest.mark.parametrize(
        ("image", "noise", "bit"),
        [
            (EMPTY, 1.0, ShapeFlag.NO_OBJECT),
            (np.full((SIZE, SIZE), np.nan), 1.0, ShapeFlag.NO_OBJECT),
            (np.full((SIZE, SIZE), -3.0), 1.0, ShapeFlag.NO_OBJECT),
            (np.full((SIZE, SIZE), 1e20), 1.0, ShapeFlag.NO_OBJECT),
            (-100 * disc() + SKY_ONLY, 1.0, ShapeFlag.NO_OBJECT),
            (np.full((SIZE, SIZE), 7.0), 1.0, ShapeFlag.NO_PETROSIAN),
            (100 * disc(), 0.0, ShapeFlag.NO_OBJECT),
            (100 * disc(), np.nan, ShapeFlag.NO_OBJECT),
            (100 * disc(), -1.0, ShapeFlag.NO_OBJECT),
            (100 * disc(x=6.0, y=8.0) + SKY_ONLY, 1.0, ShapeFlag.NO_OBJECT),  # somewhere else
            (HOT, 1.0, ShapeFlag.TOO_SMALL | ShapeFlag.NO_PETROSIAN),
            (disc(scale=200.0) * 100, 1.0, ShapeFlag.NO_PETROSIAN),  # larger than the stamp
        ],
        ids=["empty", "nan", "below", "huge", "hole", "constant", "noiseless", "nan noise", "negative noise", "elsewhere", "hot", "large"],
    )
    def test_no_number_but_a_flag(self, image, noise, bit):
        shape = measured(image, noise)
        assert no_number(shape)
        assert ShapeFlag(int(shape.flag[0])) & bit == bit
        assert int(shape.flag[0]) & NO_VALUES
        assert not trusted(shape.flag)[0]

    def test_own_pixels_without_light(self):
        shape = measured(-disc(), segments=(disc() > 0.1)[None])
        assert no_number(shape)
        assert shape.flag[0] == ShapeFlag.NO_FLUX

    def test_a_faint_one_is_said(self):
        shape = measured(8 * disc(scale=3.0) + SKY_ONLY, 1.0)
        assert names(shape.flag[0] & ShapeFlag.LOW_SNR) == ["LOW_SNR"]

    def test_a_star_is_unresolved_where_the_psf_is_known(self):
        star = galsim.Moffat(beta=2.5, fwhm=3.6, flux=100).drawImage(nx=SIZE, ny=SIZE, scale=1, dtype=float).array
        assert measured(star, psf_fwhm=3.6).flag[0] & ShapeFlag.TOO_SMALL
        assert not measured(sersic(1.0, 8.0), psf_fwhm=3.6).flag[0] & ShapeFlag.TOO_SMALL

    def test_a_small_one_has_no_smoothness(self):
        shape = measured(sersic(0.5, 2.0))
        assert shape.flag[0] & ShapeFlag.NO_SMOOTHNESS
        assert np.isnan(shape.smoothness[0])
        assert np.isfinite(shape.gini[0])

    def test_off_centre_is_measured_as_well(self):
        middle, off = (measured(disc(96, 47.5 + d, 47.5 - d)) for d in (0.0, 6.0))
        assert off.flag[0] == 0
        assert off.concentration[0] == pytest.approx(middle.concentration[0], abs=0.01)
        assert off.asymmetry_x[0] == pytest.approx(53.5, abs=0.05)

    def test_where_it_is_can_be_said(self):
        two = 100 * disc(x=15.0, y=15.0, scale=2.0) + 100 * disc(x=48.0, y=45.0, scale=2.0) + SKY_ONLY
        shapes = nonparametric(np.stack([two, two]), 1.0, x=np.array([16.0, 47.0]), y=np.array([16.0, 44.0]))
        assert shapes.asymmetry_x == pytest.approx([15.0, 48.0], abs=0.3)

    @pytest.mark.parametrize(("x", "y"), [(0.0, 31.5), (63.4, 63.4), (2.0, 1.0)])
    def test_cut_by_the_edge(self, x, y):
        shape = measured(100 * disc(x=x, y=y) + SKY_ONLY, 1.0, x=x, y=y)
        assert not trusted(shape.flag)[0]
        assert shape.flag[0] & (ShapeFlag.EDGE | ShapeFlag.NO_PETROSIAN)

    def test_anything_at_all(self):
        """Noise of every kind, with holes: a number or a flag, and never an exception or a warning."""
        rng = np.random.default_rng(6)
        images = rng.standard_cauchy((60, 24, 24)) * 10 ** rng.uniform(-3, 12, (60, 1, 1))
        images[rng.random(images.shape) < 0.1] = np.nan
        shape = nonparametric(images, 10 ** rng.uniform(-6, 6, 60), rng.random(images.shape) < 0.2)
        none = np.isnan(shape.concentration)
        assert np.array_equal(none, (shape.flag & int(NO_VALUES)) != 0)
        assert np.array_equal(np.isnan(shape.gini + shape.m20), (shape.flag & int(NO_VALUES | ShapeFlag.NO_GINI)) != 0)


class TestBatch:
    def test_one_by_one_is_the_same(self):
        images = np.stack([clumpy(), disc(), EMPTY, 3 * disc(x=30.0)]).astype(np.float32)
        together, noise = nonparametric(images, np.array([0.01, 1e-3, 1.0, 0.02])), (0.01, 1e-3, 1.0, 0.02)
        for i in range(4):
            alone = nonparametric(images[i : i + 1], noise[i])
            for name in (*SHAPE_COLUMNS, "flag"):
                np.testing.assert_array_equal(getattr(together[i : i + 1], name), getattr(alone, name))

    def test_own_segments_may_be_given(self):
        image = clumpy()
        near, core = (measured(image, 0.01, segments=(image > level)[None]) for level in (0.02, 0.3))
        assert near.petro_rad_circular[0] == pytest.approx(core.petro_rad_circular[0], rel=0.02)
        assert near.petro_rad[0] != core.petro_rad[0]  # its ellipse is another

    def test_none(self):
        assert len(nonparametric(np.zeros((0, 32, 32)), 1.0)) == 0

    @pytest.mark.parametrize(
        ("images", "options", "words"),
        [
            (EMPTY, {}, "images must be"),
            (np.zeros((2, 4, 4)), {}, "images must be"),
            (EMPTY[None], {"mask": np.zeros((2, SIZE, SIZE), bool)}, "mask must have"),
            (EMPTY[None], {"segments": EMPTY > 0}, "segments must have"),
            (EMPTY[None], {"x": np.zeros(3)}, "x must be one number"),
        ],
    )
    def test_shapes_that_do_not_fit(self, images, options, words):
        with pytest.raises(InputError, match=words):
            nonparametric(images, 1.0, **options)

    def test_every_column_and_bit_is_described(self):
        assert [*SHAPE_COLUMNS, "flag"] == list(Nonparametric.empty(1).__dict__)  # every field but the flag has its words
        assert set(DESCRIPTIONS) == set(ShapeFlag)
        assert all(text for _, text in SHAPE_COLUMNS.values())
