"""Metrics on measured tables: distances per quantity, of the joint distribution, of scaling relations, and what a classifier sees."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.special import ndtr
from scipy.stats import ks_2samp

from hubbleflow.errors import InputError
from hubbleflow.measure import Flag
from hubbleflow.metrics import Metric, Result, Sample
from hubbleflow.metrics.bins import choose_bins
from hubbleflow.metrics.c2st import METRICS as C2ST
from hubbleflow.metrics.c2st import held_out_accuracy, normal_scores
from hubbleflow.metrics.galaxy_kl import METRICS as GALAXY_KL
from hubbleflow.metrics.galaxy_kl import log_ratio
from hubbleflow.metrics.joint import METRICS as JOINT
from hubbleflow.metrics.joint import directions, sliced_wasserstein
from hubbleflow.metrics.morphology import METRICS as MORPHOLOGY
from hubbleflow.metrics.relations import FEWEST, HUBER, huber
from hubbleflow.metrics.relations import METRICS as RELATIONS
from hubbleflow.metrics.row import columns_of_rows, rows_of
from hubbleflow.metrics.splits import judge
from hubbleflow.simulate.population import draw_galaxies
from hubbleflow.survey import Survey

HSC = Survey.get("hsc-wide")
METRICS: dict[str, Metric] = {metric.name: metric for metric in (*MORPHOLOGY, *RELATIONS, *JOINT, *C2ST)}
COLOURS = ("g_r", "r_i", "i_z", "z_y")
SEEING = 2.4  # px, half-light radius of a point source


def mock(n: int, seed: int) -> Sample:
    """The simulator's population as a survey would measure it: sizes blurred, magnitudes noisy, faint galaxies without a profile."""
    rng = np.random.default_rng(seed)
    drawn = draw_galaxies(rng, n)
    mag = drawn.mag[:, 1:] + rng.normal(0, 0.01 + 0.03 * 10 ** (0.3 * (drawn.mag[:, 1:] - 23)))
    measured = {f"{band}_mag": mag[:, number] for number, band in enumerate(HSC.bands)}
    measured |= {f"{blue}_{red}": mag[:, i] - mag[:, i + 1] for i, (blue, red) in enumerate(pairwise(HSC.bands))}
    measured |= {
        # a Kron aperture loses the wings of large galaxies, circles are smaller than ellipses
        "i_half_light_radius": np.hypot(2 * (drawn.radius / 0.168) ** 0.6 * drawn.axis_ratio**0.2 * 10 ** rng.normal(0, 0.07, n), SEEING),
        "i_ellipticity": (1 - drawn.axis_ratio) * drawn.radius / np.hypot(drawn.radius, 0.168 * SEEING),
        "i_sersic_index": drawn.sersic_index * np.exp(rng.normal(0, 0.05 + 0.1 * 10 ** (0.3 * (mag[:, 2] - 22)))),
        "i_concentration": 2.7 + 0.2 * np.log(drawn.sersic_index) + rng.normal(0, 0.1, n),
        "flag": np.where(rng.random(n) < 0.02, int(Flag.NOT_DETECTED), 0),
    }
    measured["i_sersic_index"][rng.random(n) < 0.05] = np.nan
    measured["i_concentration"][mag[:, 2] > 22.3] = np.nan
    return Sample(HSC, {"redshift": drawn.redshift}, measured)


def changed(sample: Sample, **factors: float) -> Sample:
    """Measured columns times a factor."""
    return replace(sample, measured=sample.measured | {name: sample.measured[name] * factor for name, factor in factors.items()})


def redder(sample: Sample, colour: str, mag: float) -> Sample:
    return replace(sample, measured=sample.measured | {colour: sample.measured[colour] + mag})


def result(name: str, real: Sample, generated: Sample, splits: int = 40) -> Result:
    return judge(METRICS[name], real, generated, choose_bins(real, generated), 0, splits)


@pytest.fixture(scope="module")
def skies() -> list[tuple[Sample, Sample]]:
    """Pairs of independent mock skies: chance makes one pair as much as another differ."""
    return [(mock(2000, 2 * pair), mock(2000, 2 * pair + 1)) for pair in range(4)]


# -- distributions, one by one ------------------------------------------------------------------------------------------------------------
def test_every_quantity_has_both_distances():
    quantities = {"isophotal_area", "major_axis", "ellipticity", "half_light_radius", "magnitude", "sersic_index", "colours", "shapes"}
    assert {metric.name for metric in MORPHOLOGY} == {f"{family}_{quantity}" for family in ("w1", "ks") for quantity in quantities}


def test_ks_per_bin_is_scipys():
    real, made = mock(600, 1), mock(600, 2)
    bins = choose_bins(real, made)
    prepared = METRICS["ks_colours"].prepare(real, made, bins)
    table = prepared.statistic(prepared.real, prepared.real_bins, prepared.generated, prepared.generated_bins).table
    assert table.shape == (4, len(bins))
    for row, name in enumerate(prepared.quantities):
        for number in range(len(bins)):
            a, b = (s.trusted(name)[index == number] for s, index in ((real, bins.real), (made, bins.generated)))
            expected = ks_2samp(a[np.isfinite(a)], b[np.isfinite(b)]).statistic
            assert table[row, number] == pytest.approx(expected, abs=1e-12)


def test_an_outlier_rules_w1_and_not_ks():
    n = 400
    flat = np.linspace(0, 1, n)
    real, moved, one_off = (Sample(HSC, {}, {"i_mag": x}) for x in (flat, flat + 0.25, np.where(np.arange(n) == 7, 1e4, flat)))
    bins = choose_bins(real, moved)
    distances = {}
    for name in ("w1_magnitude", "ks_magnitude"):
        for which, made in (("moved", moved), ("one off", one_off)):
            prepared = METRICS[name].prepare(real, made, bins)
            of = prepared.statistic(prepared.real, prepared.real_bins, prepared.generated, prepared.generated_bins)
            distances[name, which] = of.overall
    assert distances["ks_magnitude", "moved"] == pytest.approx(0.25, abs=1 / n)
    assert distances["w1_magnitude", "moved"] == pytest.approx(0.25 / flat.std())
    assert distances["ks_magnitude", "one off"] == pytest.approx(1 / n)
    assert distances["w1_magnitude", "one off"] == pytest.approx(1e4 / n / flat.std(), rel=1e-3)  # 86


def test_shapes_are_those_that_both_sets_have_and_that_vary():
    real, made = mock(300, 1), mock(300, 2)
    found = result("w1_shapes", real, made, splits=3)
    assert found.per_bin["quantities"] == ["i_concentration"] and found.computed
    both = [replace(s, measured=s.measured | {"i_gini": np.full(300, 0.5), "i_m20": s.measured["i_ellipticity"]}) for s in (real, made)]
    assert result("ks_shapes", *both, splits=3).per_bin["quantities"] == ["i_concentration", "i_m20"]
    still = replace(real, measured={"i_gini": np.full(300, 0.5)})
    assert "one value only" in result("ks_shapes", still, still, splits=3).note
    assert "needs shapes measured" in result("w1_shapes", replace(real, measured={}), made, splits=3).note


# -- the joint distribution ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("n", "m"), [(300, 300), (300, 170)])
def test_sliced_wasserstein_is_pots(n, m):
    ot = pytest.importorskip("ot", reason="POT (pip install pot) is the oracle")
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (n, 5)), rng.normal(0.3, 1.4, (m, 5))
    theta = directions(5)
    expected = ot.sliced_wasserstein_distance(a, b, projections=theta, p=2)
    assert sliced_wasserstein(a, b, theta) == pytest.approx(expected, rel=1e-9)
    assert sliced_wasserstein(b, a, theta) == pytest.approx(expected, rel=1e-9)


def test_sliced_wasserstein_of_shifted_and_wider_gaussians():
    rng = np.random.default_rng(1)
    shift, theta = np.array([0.8, -0.4, 0.2, 0.0]), directions(4, 512)
    a, b = rng.normal(0, 1, (5000, 4)), rng.normal(0, 1, (5000, 4))
    assert sliced_wasserstein(a, b + shift, theta) == pytest.approx(np.sqrt((shift**2).sum() / 4), rel=0.06)
    assert sliced_wasserstein(a, 1.5 * b + shift, theta) == pytest.approx(np.sqrt((shift**2).sum() / 4 + 0.25), rel=0.06)  # (s - 1)^2


def test_the_joint_distance_sees_right_numbers_in_the_wrong_galaxies(skies):
    real, made = skies[0]
    order = np.random.default_rng(0).permutation(2000)
    mixed = replace(made, measured=made.measured | {name: made.measured[name][order] for name in COLOURS})
    assert result("joint_sliced_wasserstein", real, mixed).z > 5 and result("c2st_table", real, mixed, splits=20).z > 5
    assert result("joint_sliced_wasserstein", real, made).z < 3


def test_the_joint_distance_says_what_it_left_out():
    real, made = mock(400, 1), mock(400, 2)
    real.measured["i_concentration"][:200] = np.nan
    found = result("joint_sliced_wasserstein", real, made, splits=3)
    lacking = int((~np.isfinite(rows_of(made, ["i_sersic_index", "i_mag"])).all(axis=1)).sum())
    assert "left out, as most real galaxies lack it: i_concentration" in found.note
    assert f"{lacking} of 400 generated galaxies lack a number" in found.note
    # z, magnitude, four colours, half-light radius, Sersic index, ellipticity
    assert found.per_bin["quantities"] == ["9 quantities together"]


def test_rows_use_what_both_have_and_redshift_where_known():
    real, made = mock(100, 1), mock(100, 2)
    names = columns_of_rows(real, made, choose_bins(real, made))
    assert names == ["redshift", "i_mag", *COLOURS, "i_half_light_radius", "i_sersic_index", "i_ellipticity", "i_concentration"]
    unknown = [replace(s, columns={}) for s in (real, made)]
    assert columns_of_rows(*unknown, choose_bins(*unknown))[0] == "i_mag"
    assert "at least two" in result("c2st_table", replace(real, measured={"i_mag": real.measured["i_mag"]}), made).note


# -- scaling relations --------------------------------------------------------------------------------------------------------------------
def test_huber_is_scipys():
    rng = np.random.default_rng(0)
    x = np.stack([np.ones(300), rng.normal(0, 1, 300), rng.normal(0, 1, 300)], axis=1)
    y = x @ np.array([1.0, -2.0, 0.5]) + 0.1 * rng.standard_t(2, 300)
    expected = least_squares(lambda beta: y - x @ beta, np.zeros(3), loss="huber", f_scale=HUBER * 0.1, xtol=1e-12, ftol=1e-12).x
    assert huber(x, y, scale=0.1) == pytest.approx(expected, abs=1e-3 * 0.1)


def straight(n: int, seed: int, offset: float = 0.0, slope: float = 0.0, evolution: float = 0.0, scatter: float = 0.1) -> Sample:
    """Sizes of a known, curved relation."""
    rng = np.random.default_rng(seed)
    m, z = rng.normal(21, 1.5, n), rng.gamma(3, 0.2, n)
    zeta = np.log10(1 + z)
    log_r = 0.8 - (0.12 - slope) * (m - 21) + 0.02 * (m - 21) ** 2 - (0.5 - evolution) * (zeta - 0.2) + zeta**2 + offset
    return Sample(HSC, {"redshift": z}, {"i_mag": m, "i_half_light_radius": 10 ** (log_r + rng.normal(0, scatter, n))})


def test_each_term_of_a_relation_is_found_where_it_was_put():
    real = straight(8000, 1)
    cases = {
        "offset": (straight(4000, 2, offset=0.03), 0.03, 0.006),
        "slope": (straight(4000, 2, slope=0.02), 0.02, 0.003),
        "evolution": (straight(4000, 2, evolution=0.3), 0.3, 0.04),
        "scatter": (straight(4000, 2, scatter=0.12), np.log(1.2), 0.03),
    }
    for term, (made, value, error) in cases.items():
        found = {name: result(f"relation_size_{name}", real, made, splits=20) for name in cases}
        assert found[term].value == pytest.approx(value, abs=error), term
        # the pivot is the median and not the mean, so that a tilt moves the offset a little: by less than a tenth of a scatter
        others = [name for name in cases if name not in (term, "offset")]
        assert found[term].z > 3 and all(found[name].z < 3 for name in others), term
        assert found["offset"].value < 0.01 or term == "offset"


def test_failed_measurements_do_not_rule_a_relation():
    real, made = straight(4000, 1), straight(4000, 2)
    broken = made.measured["i_half_light_radius"].copy()
    broken[::20] *= 100  # 2 dex, 20 times the scatter
    failed = replace(made, measured=made.measured | {"i_half_light_radius": broken})
    clean, spoilt = (result("relation_size_offset", real, which, splits=20) for which in (made, failed))
    # five per cent at k = 2 scatters each
    assert spoilt.value < clean.value + 1.5 * 0.05 * HUBER * 0.1 < 0.05 * 2.0


@pytest.mark.parametrize(
    ("names", "corrupt"),
    [
        (("relation_size_offset",), lambda s: changed(s, i_half_light_radius=1.05)),
        (("relation_colour_offset",), lambda s: redder(s, "g_r", 0.05)),
        (("relation_colour_joint",), lambda s: redder(redder(s, "g_r", -0.05), "r_i", 0.05)),  # the r band too faint
        (("relation_sersic_offset", "w1_sersic_index", "c2st_table"), lambda s: changed(s, i_sersic_index=1.2)),
        (("relation_ellipticity_offset", "relation_ellipticity_scatter", "ks_ellipticity"), lambda s: changed(s, i_ellipticity=0.8)),
    ],
    ids=["sizes x 1.05", "g - r + 0.05 mag", "r + 0.05 mag", "n x 1.2", "ellipticities x 0.8"],
)
def test_corruptions_are_caught_at_two_thousand_galaxies(skies, names, corrupt):
    for name in names:
        z = [result(name, real, corrupt(made), splits=20).z for real, made in skies]
        assert np.mean(z) > 3, (name, z)


def test_two_skies_alike_are_within_the_floor(skies):
    z = {metric.name: result(metric.name, *skies[1], splits=10).z for metric in (*RELATIONS, *JOINT)}
    assert max(z.values()) < 4 and abs(np.mean(list(z.values()))) < 0.6, z


def test_a_table_of_bins_says_where_a_relation_breaks(skies):
    real, made = skies[1]
    far = made.redshift > np.median(real.redshift)
    half = replace(made, measured=made.measured | {"i_half_light_radius": made.measured["i_half_light_radius"] * np.where(far, 1.3, 1)})
    found = result("relation_size_offset", real, half, splits=10)
    table = np.array(found.per_bin["value"])[0]
    assert table.shape == (8,) and (table[4:] > 0.08).all() and (table[:4] < 0.08).all()
    assert found.per_bin["quantities"] == ["i_half_light_radius"]
    assert result("relation_size_evolution", real, half, splits=10).z > 3


def test_without_redshift_a_relation_is_at_the_same_magnitude():
    real, made = (replace(mock(400, seed), columns={}) for seed in (1, 2))
    found = result("relation_size_offset", real, made, splits=5)
    assert found.computed and found.note == "at the same magnitude: redshifts are not known"
    assert "needs redshifts" in result("relation_size_evolution", real, made).note
    bare = replace(real, measured={"i_mag": real.measured["i_mag"]})
    assert "needs sizes and a magnitude" in result("relation_size_offset", bare, made).note
    few = result("relation_size_offset", mock(FEWEST, 1), mock(FEWEST, 2))
    assert not few.computed and "give larger sets" in few.note


# -- the classifier -----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("apart", [0.0, 0.5, 1.0, 2.0])
def test_accuracy_between_two_gaussians_is_phi_of_half_their_distance(apart):
    rng = np.random.default_rng(int(10 * apart))
    n = 10_000
    x = rng.normal(0, 1, (2 * n, 3))
    generated = np.arange(2 * n) >= n
    x[generated, 1] += apart
    right = held_out_accuracy(normal_scores(x), generated, rng.permutation(2 * n) % 5)
    assert right.mean() == pytest.approx(ndtr(apart / 2), abs=3 * 0.5 / np.sqrt(2 * n) + 0.002)


def test_the_classifier_sees_widths_pairs_and_what_is_missing():
    rng = np.random.default_rng(0)
    n = 3000
    generated, fold = np.arange(2 * n) >= n, rng.permutation(2 * n) % 5
    plain = rng.normal(0, 1, (2 * n, 2))
    wider = plain * np.where(generated, 1.6, 1.0)[:, None]
    together = plain.copy()
    together[generated, 1] = 0.6 * together[generated, 0] + 0.8 * together[generated, 1]
    lost = np.where((rng.random(2 * n) < np.where(generated, 0.4, 0.1))[:, None], np.nan, plain)
    for x, least in ((wider, 0.58), (together, 0.58), (lost, 0.62)):
        assert held_out_accuracy(normal_scores(x), generated, fold).mean() > least
    assert held_out_accuracy(normal_scores(plain), generated, fold).mean() == pytest.approx(0.5, abs=0.025)


def test_the_classifiers_metric_is_half_for_one_population_and_phi_for_a_shift(skies):
    real, made = skies[2]
    alike = result("c2st_table", real, made, splits=10)
    assert alike.value == pytest.approx(0.5, abs=0.03) and alike.floor == pytest.approx(0.5, abs=0.015) and alike.z < 3
    # a bootstrap sample's doubles do not teach the answer: the error is that of 2,000 tosses of a coin, not more than doubled
    assert alike.error < 2 * 0.5 / np.sqrt(2000) and np.shape(alike.per_bin["value"]) == (1, 8)
    rng = np.random.default_rng(0)
    two = [Sample(HSC, {}, {"i_mag": rng.normal(d, 1, 4000), "g_r": rng.normal(0, 1, 4000)}) for d in (0, 1.0)]
    assert result("c2st_table", *two, splits=10).value == pytest.approx(ndtr(0.5), abs=0.015)


# -- figure 5 of Li et al. ----------------------------------------------------------------------------------------------------------------
def test_log_ratio_of_two_models_comes_from_their_json(skies):
    real, made = skies[3]
    bins = choose_bins(real, made)
    entries = []
    for factor in (1.6, 1.1):
        one = judge(GALAXY_KL[0], real, changed(made, i_sersic_index=factor), bins, splits=5)
        entries.append(json.loads(json.dumps(one.to_dict())))
    ratio = log_ratio(*entries)
    assert ratio["quantities"] == ["i_ellipticity", "i_sersic_index"] and ratio["bins"] == list(bins.labels)
    kl = [np.array(entry["per_bin"]["value"]) for entry in entries]
    assert np.array(ratio["value"]) == pytest.approx(np.log(kl[0] / kl[1]))
    errors = [np.array(entry["per_bin"]["error"]) / k for entry, k in zip(entries, kl, strict=True)]
    assert np.array(ratio["error"]) == pytest.approx(np.sqrt(errors[0] ** 2 + errors[1] ** 2))
    assert (np.array(ratio["value"])[1] > 0).all()  # the second model is better
    assert np.array(log_ratio(*entries[::-1])["value"]) == pytest.approx(-np.array(ratio["value"]))


def test_log_ratio_of_reports_that_do_not_go_together_is_refused():
    table = {"bins": ["a", "b"], "edges": None, "quantities": ["i_ellipticity"], "value": [[0.1, None]], "error": [[0.01, None]]}
    assert np.isnan(log_ratio({"per_bin": table}, {"per_bin": table})["value"][0][1])
    for other, words in (
        ({}, "note says why"),
        ({"per_bin": table | {"bins": ["a", "c"]}}, "same real set"),
        ({"per_bin": table | {"quantities": ["i_major_axis"]}}, "in common"),
    ):
        with pytest.raises(InputError, match=words):
            log_ratio({"per_bin": table}, other)
