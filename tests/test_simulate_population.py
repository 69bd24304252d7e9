"""The mock sky's population: the catalogues' distributions, the laws between its quantities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from hubbleflow.sersic import flux_within
from hubbleflow.simulate.cosmology import lookback_time, luminosity_distance
from hubbleflow.simulate.kinds import EDGE_ON, KINDS, SMOOTH
from hubbleflow.simulate.population import draw_galaxies, draw_neighbours
from hubbleflow.simulate.quantiles import QuantileGrid
from hubbleflow.simulate.shapes import apparent_axis_ratio
from hubbleflow.simulate.spectra import BANDS, spectra


@pytest.fixture(scope="module")
def galaxies():
    return draw_galaxies(np.random.default_rng(5), 20_000)


def test_redshifts_are_those_of_galaxiesml(galaxies, shared_data):
    from astropy.table import Table

    table = Table.read(shared_data / "catalogs/galaxiesml_specz_photoz_test.csv.gz", format="ascii.csv")
    assert kstest(galaxies.redshift, np.array(table["spect_z_test"])).statistic < 0.03


def test_colours_are_those_of_zcosmos(galaxies, shared_data):
    from astropy.table import Table

    table = Table.read(shared_data / "catalogs/zcosmos_bright20k.csv.gz", format="ascii.csv")
    mag = np.stack([np.array(table[f"{b}_photzi25"], float) for b in "griz"], axis=1)
    z = np.array(table["zpec"], float)
    good = ((mag > 10) & (mag < 30)).all(axis=1)
    for low in np.arange(0.2, 1.0, 0.2):
        real = mag[good & (z > low) & (z < low + 0.2)]
        mock = galaxies.mag[(galaxies.redshift > low) & (galaxies.redshift < low + 0.2) & (galaxies.mag[:, 3] > 20.5)][:, 1:5]
        real = real[real[:, 2] > 20.5]
        difference = np.median(-np.diff(mock, axis=1), axis=0) - np.median(-np.diff(real, axis=1), axis=0)
        assert np.abs(difference).max() < 0.15, (low, difference)


def test_galaxies_evolve(galaxies):
    z = galaxies.redshift
    bins = [(0.05, 0.2), (0.3, 0.6), (0.8, 1.2), (2.0, 3.5)]
    of = lambda values: [np.median(values[(z > a) & (z < b)]) for a, b in bins]  # noqa: E731
    magnitude, size, red = of(galaxies.mag[:, 3]), of(galaxies.radius), of(galaxies.mag[:, 2] - galaxies.mag[:, 3])
    assert np.all(np.diff(magnitude) > 0.5)
    assert np.all(np.diff(size) < 0)
    assert red[1] > red[0] and red[2] > red[1] > red[3]  # r-i peaks where the 4000 A break passes between the bands
    u_g = (galaxies.mag[:, 0] - galaxies.mag[:, 1])[z > 3.2]
    assert np.median(u_g) > 1.0  # the Lyman break is in u
    assert (z >= 0.01).all() and (z <= 4).all()
    assert np.isfinite(galaxies.mag).all()


def test_views_are_random(galaxies):
    assert kstest(galaxies.cos_i, "uniform").pvalue > 1e-3


def test_apparent_axis_ratio_of_solid_bodies():
    assert apparent_axis_ratio(np.array(0.2), np.array(0.0)) == pytest.approx(0.2)
    assert apparent_axis_ratio(np.array(0.2), np.array(1.0)) == pytest.approx(1.0)
    # a triaxial body along each of its axes shows the other two
    b, c = 0.7, 0.4
    for cos_theta, phi, expected in ((1.0, 0.0, b), (0.0, 0.0, c / b), (0.0, np.pi / 2, c)):
        assert apparent_axis_ratio(np.array(c), np.array(cos_theta), b, phi) == pytest.approx(expected, abs=1e-6)


def test_half_of_the_light_is_inside_the_half_light_radius(galaxies):
    bulge = flux_within(galaxies.radius / galaxies.bulge_radius, galaxies.bulge_n)
    disc = flux_within(galaxies.radius / galaxies.disc_radius, galaxies.disc_n)
    inside = galaxies.bulge_to_total * bulge + (1 - galaxies.bulge_to_total) * disc
    assert np.abs(inside - 0.5).max() < 1e-3


def test_the_mean_index_of_the_components_is_the_galaxys(galaxies):
    share = galaxies.bulge_to_total
    assert share * galaxies.bulge_n + (1 - share) * galaxies.disc_n == pytest.approx(galaxies.sersic_index, abs=1e-6)
    assert ((share >= 0) & (share <= 1)).all()
    assert (galaxies.bulge_mag >= galaxies.mag - 1e-9).all()  # no bulge has more light than its galaxy


def test_kinds_mean_what_they_say(galaxies):
    kinds, counts = np.unique(galaxies.kind, return_counts=True)
    assert set(kinds) == set(KINDS) and counts.min() > 0.01 * len(galaxies)
    assert galaxies.cos_i[np.isin(galaxies.kind, EDGE_ON)].max() < 0.2
    smooth = np.isin(galaxies.kind, SMOOTH)
    assert np.median(galaxies.sersic_index[smooth]) > 2 > np.median(galaxies.sersic_index[~smooth])
    assert (galaxies.bulge_to_total[smooth] == 1).all()
    assert galaxies.quiescent[smooth].mean() > 2 * galaxies.quiescent[~smooth].mean()
    assert galaxies.bulge_q[galaxies.kind == "Cigar Shaped Smooth"].max() < galaxies.bulge_q[galaxies.kind == "Round Smooth"].min()
    merging = galaxies.kind == "Merging"
    assert merging[galaxies.redshift > 1].mean() > 2 * merging[galaxies.redshift < 0.3].mean()


def test_star_formation_follows_mass_and_redshift(galaxies):
    massive = galaxies.log_mass > 10.5
    specific = galaxies.log_sfr - galaxies.log_mass
    near, far = (np.median(specific[massive & (galaxies.redshift > a) & (galaxies.redshift < b)]) for a, b in ((0.2, 0.6), (1.2, 3)))
    assert far > near + 0.5  # dex
    light = (galaxies.log_mass > 8.5) & (galaxies.log_mass < 9.5) & (galaxies.redshift < 0.5)
    assert galaxies.quiescent[light].mean() < 0.3 < galaxies.quiescent[massive & (galaxies.redshift < 0.5)].mean()


def test_masses_and_quiescence_stay_what_3d_hst_has_seen():
    galaxies = draw_galaxies(np.random.default_rng(8), 60_000)
    z, mass = galaxies.redshift, galaxies.log_mass
    assert (mass[z > 1.2] > 12).mean() < 1e-3 and (mass[z > 1.2] > 11.5).mean() < 0.02  # the most massive of 18,779 has 11.7
    assert 9.8 < np.median(mass[z > 2]) < 10.6
    heavy = (mass > 10.5) & (mass < 11)
    share = [galaxies.quiescent[heavy & (z > a) & (z < b)].mean() for a, b in ((0.2, 0.5), (0.5, 1.0), (1.2, 1.6), (2.0, 3.0))]
    assert np.all(np.diff(share) < 0) and 0.55 < share[0] < 0.85 and 0.1 < share[-1] < 0.5
    giants = (mass > 11) & galaxies.quiescent & (z < 1.2)
    assert (galaxies.sersic_index[giants] < 1.5).mean() < 0.2


def test_compact_galaxies_are_old(galaxies):
    cell = (galaxies.log_mass > 10.3) & (galaxies.log_mass < 10.9) & (galaxies.redshift > 0.4) & (galaxies.redshift < 0.9)
    old = galaxies.quiescent[cell]
    assert np.median(galaxies.radius[cell][old]) < np.median(galaxies.radius[cell][~old])
    assert np.median(galaxies.sersic_index[cell][old]) > np.median(galaxies.sersic_index[cell][~old])


def test_the_lyman_break_passes_through_g():
    colours = spectra().colours(np.full(3, 3.0), np.array([2.5, 3.5, 4.0]))
    g_r = colours[:, BANDS.index("g")] - colours[:, BANDS.index("r")]
    assert g_r[0] < 0.5 < 1.0 < g_r[1] < g_r[2]


def test_a_quantile_table_gives_back_what_was_put_in():
    rng, p = np.random.default_rng(1), np.linspace(0, 1, 21)
    x, y = np.array([0.0, 1.0]), np.array([0.0, 2.0])
    values = np.array([[np.quantile(rng.normal(a + 3 * b, 1 + a, 4000), p) for b in y] for a in x])
    grid = QuantileGrid(x, y, p, values)
    ones = np.ones(20_000)
    drawn = grid.value(0.5 * ones, 1.0 * ones, rng.random(20_000))
    assert np.median(drawn) == pytest.approx(0.5 + 3.0, abs=0.06) and np.diff(np.quantile(drawn, (0.16, 0.84))) / 2 == pytest.approx(
        1.5, abs=0.1
    )
    assert grid.rank(0.5 * ones, 1.0 * ones, drawn) == pytest.approx(np.sort(drawn).searchsorted(drawn) / 20_000, abs=0.02)
    assert np.array_equal(grid.value(ones - 9, ones + 9, np.full(20_000, 0.5))[:1], values[0, 1, 10:11])  # outside: the edge's


def test_distances_and_ages_between_the_nodes_are_planck18s():
    from astropy.cosmology import Planck18

    z = np.geomspace(0.01, 4.0, 1001)
    assert luminosity_distance(z) == pytest.approx(Planck18.luminosity_distance(z).value, rel=3e-5)
    assert lookback_time(z) == pytest.approx(Planck18.lookback_time(z).value, rel=3e-5)


def test_neighbours_have_the_fields_density():
    stamp, x, y, others = draw_neighbours(np.random.default_rng(0), 4000, 12.0)
    assert len(stamp) / 4000 == pytest.approx(31.0 * (12 / 60) ** 2, rel=0.05)
    assert np.abs(x).max() <= 6 and np.abs(y).max() <= 6 and others.mag[:, 3].max() <= 25.0
    bright = (others.mag[:, 3] < 24).sum() / (others.mag[:, 3] < 25).sum()
    assert bright == pytest.approx(10**-0.30, rel=0.1)
