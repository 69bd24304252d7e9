"""Metrics: known answers, floors that hold, corruptions that are caught, notes instead of crashes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr, wasserstein_distance
from scipy.stats import t as student

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import Flag
from hubbleflow.metrics import Measurement, Metric, Report, Sample, all_metrics, evaluate
from hubbleflow.metrics.bins import choose_bins
from hubbleflow.metrics.cells import distance_per_cell
from hubbleflow.metrics.examples import choose_examples
from hubbleflow.metrics.galaxy_fitting import log_errcxy, log_error_ellipse
from hubbleflow.metrics.galaxy_kl import kl_divergence
from hubbleflow.metrics.metric import mean_of_finite, prepare_rows, scatter_of_finite
from hubbleflow.metrics.morphology import histograms, means_per_bin
from hubbleflow.metrics.noise import sky_columns
from hubbleflow.metrics.redshift_loss import bias, outlier_fraction, per_galaxy_loss, sigma_nmad, spearman
from hubbleflow.metrics.splits import judge
from hubbleflow.survey import Survey

HSC = Survey.get("hsc-wide")
METRICS = {metric.name: metric for metric in all_metrics()}


def sample(n: int, seed: int, size: float = 1.0, noise: float = 1.0, colour: float = 0.0, flagged: float = 0.05) -> Sample:
    """A table such as measure gives: sizes, magnitudes and colours that change with redshift, and what a decent photo-z reads."""
    rng = np.random.default_rng(seed)
    z = rng.gamma(3, 0.25, n)
    radius = size * 8 / (1 + 2 * z) * np.exp(rng.normal(0, 0.3, n))
    magnitude = 19 + 3 * np.log10(1 + 8 * z) + rng.normal(0, 0.7, n)
    variance = 1e-3 * 10 ** (0.4 * (magnitude - 20)) * noise**2 * size**2
    measured = {
        "i_major_axis": radius,
        "i_isophotal_area": 12 * radius**2,
        "i_ellipticity": rng.beta(2, 3, n),
        "i_mag": magnitude,
        "i_half_light_radius": 1.2 * radius,
        "i_errx2": variance,
        "i_erry2": variance,
        "i_errxy": variance * rng.uniform(-0.5, 0.5, n),
        "flag": np.where(rng.random(n) < flagged, int(Flag.NOT_DETECTED), 0),
    }
    for name, base, slope in (("g_r", 0.5, 0.6), ("r_i", 0.2, 0.3), ("i_z", 0.15, 0.1), ("z_y", 0.1, 0.05)):
        measured[name] = base + slope * z + rng.normal(0, 0.08, n) + (colour if name == "g_r" else 0)
    pixels = {f"{band}_sky_rms": s * noise * rng.normal(1, 0.02, n) for band, s in zip(HSC.bands, HSC.noise or (), strict=True)}
    pixels |= {f"{band}_sky_correlation": rng.normal(0, 0.02, n) for band in HSC.bands}
    return Sample(HSC, {"redshift": z}, measured, pixels, z + (1 + z) * rng.normal(0, 0.08, n))


def verdicts(real: Sample, generated: Sample, seed: int = 0, splits: int = 20) -> dict:
    bins = choose_bins(real, generated)
    return {name: judge(metric, real, generated, bins, seed, splits) for name, metric in METRICS.items()}


# -- known answers ------------------------------------------------------------------------------------------------------------------------
def test_kl_of_identical_histograms_is_zero_and_by_hand():
    assert kl_divergence(np.array([3.0, 0.0, 7.0]), np.array([3.0, 0.0, 7.0])) == 0
    # P = (3.5, 1.5) / 5, Q = (1.5, 3.5) / 5 once half a galaxy is added to each bin
    expected = 0.7 * np.log(0.7 / 0.3) + 0.3 * np.log(0.3 / 0.7)
    assert kl_divergence(np.array([3.0, 1.0]), np.array([1.0, 3.0])) == pytest.approx(expected, rel=1e-12)
    assert np.isfinite(kl_divergence(np.array([10.0, 0.0]), np.array([0.0, 10.0])))
    assert np.isinf(kl_divergence(np.array([10.0, 0.0]), np.array([0.0, 10.0]), pseudo_count=0))


def test_galaxy_kl_uses_ten_bins_over_the_real_range_and_clips():
    n = 40
    real = Sample(HSC, {}, {"i_ellipticity": np.linspace(0, 1, n)})  # four galaxies in each of ten bins
    beyond = Sample(HSC, {}, {"i_ellipticity": np.full(n, 50.0)})  # all in the last bin, and the range is not stretched to 50
    prepared = METRICS["galaxy_kl"].prepare(real, beyond, choose_bins(real, beyond))
    got = prepared.statistic(prepared.real, prepared.real_bins, prepared.generated, prepared.generated_bins).overall
    p, q = np.full(10, 4.5), np.array([0.5] * 9 + [40.5])
    assert got == pytest.approx(float((p / 45 * np.log((p / 45) / (q / 45))).sum()), rel=1e-12)


def test_eq_4_exact_values():
    asked = np.array([1.0, 1.0, 1.0, 1.0])
    predicted = np.array([1.0, 1.15, 0.7, 1.0 + 0.15 * 3])
    assert per_galaxy_loss(predicted, asked) == pytest.approx([0, 0.5, 0.8, 0.9], abs=1e-12)
    assert per_galaxy_loss(predicted, asked, scaled=True) == pytest.approx([0, 0.2, 0.5, 9 / 13], abs=1e-12)


def test_redshift_statistics_against_their_definitions():
    rng = np.random.default_rng(0)
    asked = rng.uniform(0.1, 3, 500)
    predicted = np.round(asked + rng.normal(0.05, 0.2, 500), 1)  # rounded: ties
    scaled = (predicted - asked) / (1 + asked)
    assert spearman(predicted, asked) == pytest.approx(spearmanr(predicted, asked).statistic, rel=1e-12)
    assert np.isnan(spearman(np.ones(5), np.arange(5.0)))
    assert bias(predicted, asked) == np.median(scaled)
    assert outlier_fraction(predicted, asked) == np.mean(np.abs(scaled) > 0.15)
    exact = rng.normal(0, 0.05, 200_000)
    assert sigma_nmad(exact, np.zeros_like(exact)) == pytest.approx(0.05, rel=0.01)


def test_both_fitting_losses_by_hand_and_nan_where_undefined():
    errors = {"i_errx2": np.array([0.02, 0.02, 0.0]), "i_erry2": np.array([0.03, 0.03, 0.01]), "i_errxy": np.array([0.01, 0.0, 0.01])}
    one = Sample(HSC, {}, errors)
    assert log_error_ellipse(one)[:2] == pytest.approx([np.log(5e-4), np.log(6e-4)])
    assert log_errcxy(one)[0] == pytest.approx(np.log(2 * 0.01 / 5e-4))
    assert np.isnan(log_errcxy(one)[1:]).all() and np.isnan(log_error_ellipse(one)[2])


def test_fitting_losses_go_the_ways_that_the_facts_say():
    noisy, clean = sample(2000, 1, noise=2), sample(2000, 1)
    assert np.nanmean(log_error_ellipse(noisy)) > np.nanmean(log_error_ellipse(clean))
    assert np.nanmean(log_errcxy(noisy)) < np.nanmean(log_errcxy(clean))  # the paper's "loss" falls as images get worse


def test_w1_is_the_shift_in_units_of_the_real_spread():
    rng = np.random.default_rng(3)
    x, zeros = rng.normal(0, 1, (300, 2)), np.zeros(300, int)
    moved = distance_per_cell(wasserstein_distance, x, zeros, x + np.array([0.5, 0.1]), zeros, 1)
    assert moved.table.ravel() == pytest.approx([0.5, 0.1], rel=1e-9)
    real = sample(2000, 4)
    shifted = replace(real, measured=real.measured | {"i_mag": real.measured["i_mag"] + 1.0})
    scale = np.nanstd(real.trusted("i_mag"))
    assert verdicts(real, shifted)["w1_magnitude"].value == pytest.approx(1 / scale, rel=0.1)


def test_means_and_intervals_are_students_t():
    values, index = np.array([1.0, 2.0, 4.0, np.nan, 7.0]), np.array([0, 0, 0, 0, 2])
    means = means_per_bin(values, index, 4)
    half = student.ppf(0.975, 2) * np.std([1, 2, 4], ddof=1) / np.sqrt(3)
    assert means["mean"][0] == pytest.approx(7 / 3) and means["high"][0] - means["mean"][0] == pytest.approx(half)
    assert means["n"].tolist() == [3, 0, 1, 0]
    assert means["mean"][2] == 7 and np.isnan(means["low"][2]) and np.isnan(means["mean"][1])


def test_intervals_cover_the_mean_in_95_per_cent():
    draws = np.random.default_rng(1).normal(0, 1, 20_000)
    means = means_per_bin(draws, np.repeat(np.arange(2000), 10), 2000)
    assert np.mean((means["low"] < 0) & (means["high"] > 0)) == pytest.approx(0.95, abs=0.015)


def test_histograms_lose_no_galaxy():
    histogram = histograms(np.array([0.0, 1, 2, 3, 1e9]), np.array([np.nan, 1.0, -1e9]))
    assert histogram["real"].sum() == 5 and histogram["generated"].sum() == 2


@pytest.mark.parametrize("galaxy", [False, True])
def test_sky_statistics_recover_rms_and_correlation(galaxy):
    rng = np.random.default_rng(5)
    white = rng.normal(10.0, 2.0, (40, 1, 64, 64))
    kernel = (white + np.roll(white, 1, axis=3)) / np.sqrt(2) - 10 * (np.sqrt(2) - 1)  # lag-1 correlation 1/2 along x, 0 along y
    y, x = np.mgrid[:64, :64] - 31.5
    light = 500 * np.exp(-(x**2 + y**2) / 32) * galaxy
    survey = Survey.get("hsc-i")
    plain, smooth = (sky_columns((images + light).astype(np.float32), survey) for images in (white, kernel))
    assert np.median(plain["i_sky_rms"]) == pytest.approx(2.0, rel=0.02)
    assert np.median(plain["i_sky_correlation"]) == pytest.approx(0.0, abs=0.01)
    assert np.median(smooth["i_sky_correlation"]) == pytest.approx(0.25, abs=0.015)


def test_sky_of_black_tiny_and_broken_stamps_is_nan_or_a_number_never_a_warning():
    survey = Survey.get("hsc-i")
    images = np.zeros((3, 1, 32, 32), np.float32)
    images[1] = np.nan
    images[2, 0] = np.random.default_rng(0).normal(0, 1, (32, 32))
    images[2, 0, 0, 0] = np.nan
    rms = sky_columns(images, survey)["i_sky_rms"]
    assert np.isnan(rms[:2]).all() and rms[2] == pytest.approx(1.0, rel=0.1)
    assert sky_columns(images[:, :, :4, :4], survey)["i_sky_rms"].shape == (3,)


# -- the machinery ------------------------------------------------------------------------------------------------------------------------
def test_value_equals_floor_for_two_draws_of_one_population():
    real = {name: [] for name in METRICS}
    for seed in range(12):
        for name, result in verdicts(sample(300, 2 * seed), sample(300, 2 * seed + 1), seed).items():
            if result.z is not None:
                real[name].append(result.z)
    for name, z in real.items():
        if z:
            assert np.max(z) < 5, name
            assert abs(np.mean(z)) < 0.6, name  # neither side of the comparison is favoured
    everything = np.concatenate([z for z in real.values() if z])
    assert np.mean(everything > 2) < 0.05


@pytest.mark.parametrize(
    ("corruption", "caught", "not_caught"),
    [
        (
            {"size": 1.3},
            ("w1_isophotal_area", "w1_major_axis", "w1_half_light_radius", "galaxy_kl"),
            ("w1_magnitude", "noise_rms", "w1_colours"),
        ),
        ({"noise": 1.3}, ("noise_rms", "galaxy_fitting_loss"), ("w1_major_axis", "w1_magnitude", "w1_colours")),
        ({"colour": 0.1}, ("w1_colours",), ("w1_major_axis", "noise_rms")),
        ({"flagged": 0.3}, ("flagged_fraction",), ("w1_major_axis", "noise_rms")),
    ],
)
def test_a_corruption_is_caught_by_the_metrics_that_name_it(corruption, caught, not_caught):
    results = verdicts(sample(600, 10), sample(600, 11, **corruption))
    for name in caught:
        assert results[name].z > 3 and results[name].within_floor is False, name
    for name in not_caught:
        assert results[name].within_floor is True, name


def test_shuffled_redshifts_are_caught_and_stand_beside_the_real_value():
    real, made = sample(600, 10), sample(600, 11)
    shuffled = replace(made, predicted_redshift=np.random.default_rng(0).permutation(made.predicted_redshift))
    results = verdicts(real, shuffled)
    assert abs(results["redshift_spearman"].value) < 0.1 < 0.8 < results["redshift_spearman"].real
    assert results["redshift_loss"].z > 10 and results["redshift_loss"].real < results["redshift_loss"].value
    per_bin = results["redshift_loss"].per_bin
    assert len(per_bin["bins"]) == len(per_bin["value"][0]) == len(per_bin["real"][0]) > 3


def test_sizes_are_matched_and_the_floor_does_not_depend_on_the_generated_set():
    seen = []

    def prepare(real, generated, bins):
        def statistic(a, a_bins, b, b_bins):
            seen.append((len(a), len(b), set(a[:, 0]) & set(b[:, 0])))
            return Measurement(0.0, np.zeros((1, 1)))

        rows = np.arange(len(real))[:, None].astype(float), 1e6 + np.arange(len(generated))[:, None]
        return prepare_rows(*rows, bins, statistic, ("row",))

    metric = Metric("m", "?", "comparison", "low", "", "", prepare)
    real, generated = Sample(HSC, {"a": np.zeros(101)}), Sample(HSC, {"a": np.zeros(300)})
    judge(metric, real, generated, choose_bins(real, generated), splits=5)
    assert {(n, m) for n, m, _ in seen} == {(50, 50)}
    assert all(not common for _, _, common in seen)  # the two real halves are disjoint


def test_same_seed_same_numbers_other_seed_other_splits():
    real, made = sample(200, 1), sample(200, 2, size=1.1)
    first, again, other = (verdicts(real, made, seed) for seed in (4, 4, 5))
    for name in first:
        assert json.dumps(first[name].to_dict()) == json.dumps(again[name].to_dict()), name
    assert first["w1_major_axis"].value != other["w1_major_axis"].value


def test_untrusted_rows_are_left_out_and_notes_are_not():
    flags = np.array([0, Flag.EDGE, Flag.NOT_DETECTED, Flag.BLENDED | Flag.SATURATED])
    one = Sample(HSC, {}, {"i_mag": np.arange(4.0), "z_mag": np.arange(4.0), "z_flag": flags[::-1], "g_r": np.arange(4.0), "flag": flags})
    assert one.flagged.tolist() == [False, False, True, True]
    assert one.trusted("i_mag")[:2].tolist() == [0, 1] and np.isnan(one.trusted("i_mag")[2:]).all()
    assert np.isnan(one.trusted("z_mag")[:2]).all() and one.trusted("z_mag")[2:].tolist() == [2, 3]  # its own band's flag
    assert np.isnan(one.trusted("g_r")[2:]).all()  # a colour is taken in the reference band's aperture


def test_z_band_y_coordinate_and_colours_are_told_apart():
    table = {name: np.zeros(3) for name in ("g_r", "r_i", "i_z", "z_y", "g_y", "i_y", "i_x", "flag")}
    from hubbleflow.metrics.sample import colours

    assert colours(Sample(HSC, {}, table)) == ["g_r", "r_i", "i_z", "z_y"]


def test_bins_hold_equal_numbers_of_real_galaxies_and_count_what_they_leave_out():
    real, made = sample(800, 1), sample(400, 2)
    z = made.redshift.copy()
    z[:7], z[7:10] = 99.0, np.nan
    bins = choose_bins(real, replace(made, columns={"redshift": z}))
    counts = np.bincount(bins.real, minlength=len(bins))
    assert bins.kind == "redshift" and len(bins) == 8 and counts.max() - counts.min() <= 1
    assert (bins.generated[:10] == -1).all()
    assert any(note.startswith("3 of 400 generated galaxies have no redshift") for note in bins.notes)
    outside = int((z > real.redshift.max()).sum() + (z < real.redshift.min()).sum())
    assert any(note.startswith(f"{outside} of 400 generated galaxies lie outside") for note in bins.notes)


def test_sets_without_redshift_are_compared_by_category_and_else_at_once():
    real, made = sample(300, 1), sample(300, 2)
    kinds = np.array(["spiral", "elliptical", "merger"])
    real = replace(real, columns={"category": kinds[np.arange(300) % 3]}, predicted_redshift=None)
    made = replace(made, columns={"category": kinds[np.arange(300) % 2]}, predicted_redshift=None)
    bins = choose_bins(real, made)
    assert bins.kind == "category" and bins.labels == ("elliptical", "spiral")
    assert bins.notes == ("no generated galaxies of category merger",)
    results = {name: judge(metric, real, made, bins, splits=5) for name, metric in METRICS.items()}
    assert results["w1_major_axis"].per_bin["bins"] == ["elliptical", "spiral"] and results["w1_major_axis"].computed
    assert not results["redshift_loss"].computed and "redshift" in results["redshift_loss"].note
    nothing = replace(real, columns={})
    assert choose_bins(nothing, nothing).labels == ("all",)


@pytest.mark.parametrize(
    ("real", "made"),
    [
        (sample(10, 1), sample(10, 2)),
        (sample(300, 1, flagged=1.0), sample(300, 2)),
        (sample(300, 1), sample(1, 2)),
        (Sample(HSC, {"redshift": np.linspace(0, 1, 100)}), Sample(HSC, {"redshift": np.linspace(0, 1, 100)})),
        (replace(sample(300, 1), measured={}, pixels={}, predicted_redshift=None), sample(300, 2)),
    ],
    ids=["few", "all flagged", "one generated", "redshifts only", "nothing measured"],
)
def test_what_cannot_be_computed_gets_a_sentence(real, made):
    for name, result in verdicts(real, made, splits=5).items():
        assert result.computed or (result.note and len(result.note) > 10), name
        json.dumps(result.to_dict())
    assert any(not result.computed for result in verdicts(real, made, splits=5).values())


def test_other_conditions_are_compared_with_what_was_measured():
    real, made = sample(400, 1), sample(400, 2)
    asked = made.measured["i_mag"] + np.random.default_rng(0).normal(0, 0.1, 400)
    follows = replace(made, columns=made.columns | {"asked_i_mag": asked})
    ignores = replace(made, columns=made.columns | {"asked_i_mag": asked[::-1]})
    good, bad = (verdicts(real, s, splits=5)["condition_spearman"] for s in (follows, ignores))
    assert good.value > 0.95 and abs(bad.value) < 0.2
    assert good.floor is None and good.within_floor is None and "no independent value" in good.note


def test_metric_names_are_the_contract():
    assert {"galaxy_kl", "galaxy_fitting_loss", "galaxy_fitting_loss_li2024", "redshift_loss", "redshift_loss_scaled"} <= set(METRICS)
    assert {"redshift_spearman", "noise_rms", "w1_magnitude", "w1_colours"} <= set(METRICS)
    assert METRICS["redshift_spearman"].better == "high" and METRICS["galaxy_kl"].better == "low"


def test_means_of_finite_values_are_numpys():
    values = np.random.default_rng(0).normal(size=(5, 6))
    assert mean_of_finite(values, axis=1) == pytest.approx(values.mean(axis=1))
    assert scatter_of_finite(values, axis=0) == pytest.approx(values.std(axis=0, ddof=1))
    values[0] = np.nan
    assert mean_of_finite(values, axis=0) == pytest.approx(values[1:].mean(axis=0))
    assert np.isnan(mean_of_finite(values, axis=1)[0]) and np.isnan(scatter_of_finite(np.array([1.0])))


# -- evaluate -----------------------------------------------------------------------------------------------------------------------------
def galaxies(n: int, seed: int, survey: Survey = HSC, **changes) -> GalaxySet:
    """A measured set: the table of `sample` and small images of noise with a spot of light."""
    table = sample(n, seed, **changes)
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:24, :24] - 11.5
    bands = len(survey.bands)
    images = rng.normal(0, np.array(survey.noise or (1.0,) * bands)[:, None, None] * changes.get("noise", 1.0), (n, bands, 24, 24))
    images += np.exp(-(x**2 + y**2) / 8)
    return GalaxySet(images.astype(np.float32), survey, dict(table.columns), measured=dict(table.measured))


def shifted(which: GalaxySet) -> np.ndarray:
    return which.redshift + 0.01


def test_evaluate_streams_sets_from_disk_and_its_json_is_the_contract(tmp_path):
    real, made = (galaxies(n, seed).write(tmp_path / f"{seed}.h5") for n, seed in ((300, 1), (280, 2)))
    report = evaluate(real, made, shifted, seed=3, progress=False, splits=5)
    entry = json.loads(report.to_json(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    flagged = int((real.measured["flag"] != 0).sum())
    assert entry["real"]["n"] == 300 and entry["real"]["flagged"] == flagged and entry["generated"]["n"] == 280
    assert entry["real"]["flagged_fraction"] == flagged / 300 and entry["real"]["flags"] == {"NOT_DETECTED": flagged}
    assert set(entry["metrics"]) == set(METRICS)
    for name, metric in entry["metrics"].items():
        assert {"value", "error", "floor", "floor_error", "better", "z", "p"} <= set(metric), name
    for name in ("galaxy_fitting_loss", "redshift_loss", "redshift_spearman"):
        assert isinstance(entry["metrics"][name]["real"], float)
    assert entry["metrics"]["redshift_bias"]["value"] > 0 and len(entry["verdict"]) == 3
    assert entry["quantities"]["i_mag"]["means"]["real"]["n"] and sum(entry["quantities"]["i_mag"]["histogram"]["real"]) == 300 - flagged
    assert report.to_json() == evaluate(real, made, shifted, seed=3, progress=False, splits=5).to_json()
    assert len(report.summary().splitlines()) == 3


def test_evaluate_measures_what_is_not_measured():
    made = galaxies(30, 1)
    bare = GalaxySet(made.images, HSC, made.columns)
    report = evaluate(bare, bare, progress=False, splits=3)
    assert "flag" in report.real.measured and "i_isophotal_area" in report.real.measured
    assert not report.results["redshift_loss"].computed


def test_sets_measured_by_different_recipes_are_measured_again():
    made = galaxies(30, 1)
    other = GalaxySet(made.images, HSC, made.columns, measured=made.measured, measured_attrs={"recipe": "somebody else's"})
    report = evaluate(made, other, progress=False, splits=3)
    assert "measured again" in " ".join(report.notes)
    assert np.array_equal(report.real.measured["i_mag"], report.generated.measured["i_mag"], equal_nan=True)


def test_one_recipe_on_disk_and_in_memory_is_one_recipe(tmp_path):
    attrs = {"recipe": "ours", "number": np.int64(2), "sep": "1.4.1", "parameters": '{"b": 1, "a": 2.5}', "flag_bits": {"B": 2, "A": 1}}
    real, made = galaxies(30, 1), galaxies(30, 2)
    real.measured_attrs = attrs
    made.measured_attrs = {**attrs, "parameters": {"a": 2.5, "b": 1}}
    stored = real.write(tmp_path / "real.h5")
    assert stored.measured_attrs != attrs and stored.recipe == real.recipe == made.recipe
    assert not any("measured" in note for note in evaluate(stored, made, progress=False, splits=3).notes)
    assert GalaxySet.concatenate([stored, made]).measured
    made.measured_attrs = {**attrs, "flag_bits": {"B": 2, "A": 4}}
    assert made.recipe != stored.recipe


def test_a_set_without_one_finite_pixel_gets_notes():
    real = galaxies(60, 1)
    empty = GalaxySet(np.full(real.images.shape, np.nan, np.float32), HSC, {"redshift": real.redshift})
    sky = sky_columns(empty.images[:], HSC)
    assert len(sky) == 10 and all(values.shape == (60,) and np.isnan(values).all() for values in sky.values())
    report = evaluate(GalaxySet(real.images, HSC, real.columns), empty, progress=False, splits=3)
    assert not report.results["noise_rms"].computed and "needs images" in report.results["noise_rms"].note
    assert report.to_dict()["generated"]["flagged"] == 60


def test_different_surveys_get_notes_and_what_is_common_is_compared():
    narrow = replace(HSC.with_bands(("r", "i", "z")), pixel_scale_arcsec=0.2)
    report = evaluate(galaxies(120, 1), galaxies(120, 2, survey=narrow), progress=False, splits=3)
    text = " ".join(report.notes)
    assert "only those in common" in text and "0.2 arcsec" in text
    assert report.results["w1_magnitude"].computed and report.results["noise_rms"].per_bin["quantities"] == ["r", "i", "z"]


def test_bad_input_is_one_sentence():
    real = galaxies(30, 1)
    with pytest.raises(InputError, match="holds no galaxies"):
        evaluate(real, real[:0], progress=False)
    with pytest.raises(InputError, match="none in common"):
        evaluate(real, GalaxySet(np.zeros((5, 3, 24, 24), np.float32), Survey.get("sdss-rgb")), progress=False)
    with pytest.raises(InputError, match="expected \\(30,\\)"):
        evaluate(real, real, lambda which: np.zeros(3), progress=False)


def test_a_column_of_predictions_is_used():
    real, made = galaxies(60, 1), galaxies(60, 2)
    for which in (real, made):
        which.columns["predicted_redshift"] = which.redshift
    report = evaluate(real, made, progress=False, splits=3)
    assert report.results["redshift_loss"].value == 0 and report.results["redshift_loss"].within_floor


def test_shown_galaxies_have_the_same_redshifts_and_none_is_shown_twice():
    real, made = galaxies(300, 1), galaxies(300, 2)
    examples = choose_examples(real, made)
    z = [[float(label.split("=")[1]) for label in side.labels] for side in (examples.real, examples.generated)]
    assert z[0] == sorted(z[0]) and np.abs(np.subtract(*z))[:-1].max() < 0.1
    assert len({image.tobytes() for image in examples.generated.images}) == len(examples.generated) == 10
    assert [label.split(",")[0] for side in examples.bands for label in side.labels] == ["real", "real", "generated", "generated"]


def test_verdict_does_not_flatter():
    report = evaluate(galaxies(200, 1), galaxies(200, 2, size=1.5), progress=False, splits=10)
    differs, within, rest = report.verdict()
    assert "w1_major_axis" in differs and "times its floor" in differs and "w1_major_axis" not in within
    assert "carry flags" in rest and isinstance(report, Report)
