"""How likely chance is: one look, many looks, sizes that are too small, and the galaxies that are worst."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, norm
from scipy.stats import t as student

from hubbleflow.galaxies import GalaxySet
from hubbleflow.metrics import Measurement, Metric, Sample, evaluate
from hubbleflow.metrics.bins import choose_bins
from hubbleflow.metrics.corrections import corrected, holm, tail_probability
from hubbleflow.metrics.metric import prepare_rows
from hubbleflow.metrics.result import LEVEL, Result
from hubbleflow.metrics.splits import judge
from hubbleflow.metrics.verdict import by_significance, verdict
from hubbleflow.metrics.worst import find_worst
from hubbleflow.survey import Survey

BAND = Survey.get("hsc-i")
COUNTS = {"n": 10, "flagged": 0}


def table(n: int, seed: int, shift: float = 0.0, flagged: int = 0) -> Sample:
    """Magnitudes and sizes that change with redshift."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0, 1, n)
    measured = {"i_mag": 20 + z + rng.normal(shift, 0.5, n), "i_major_axis": np.exp(rng.normal(1, 0.3, n))}
    return Sample(BAND, {"redshift": z}, measured | {"flag": (np.arange(n) < flagged).astype(int)})


def mean_metric(minimum: int = 20, name: str = "mean") -> Metric:
    """Difference of the mean magnitudes: its floor scatters like |a Gaussian|."""

    def prepare(real, generated, bins):
        def statistic(a, a_bins, b, b_bins):
            return Measurement(abs(a.mean() - b.mean()), np.full((1, len(bins)), np.nan))

        return prepare_rows(real.matrix(["i_mag"]), generated.matrix(["i_mag"]), bins, statistic, ("i_mag",), minimum)

    return Metric(name, "?", "comparison", "low", "mag", "here", prepare)


def result(name: str, z: float, p: float | None, **more) -> Result:
    return Result(name, 1.0 + z, 0.1, 1.0, 1.0, "low", distance=1.0 + z, z=z, p=p, **more)


# -- one look -----------------------------------------------------------------------------------------------------------------------------
@given(st.floats(-5, 30), st.integers(2, 100))
def test_tail_is_students_prediction_interval(z, splits):
    t = z / np.sqrt(1 + 1 / splits)
    assert tail_probability(z, splits) == pytest.approx(1 - student.cdf(t, splits - 1), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("splits", [3, 10, 40])
def test_tail_is_right_for_one_more_draw(splits):
    """S floors and one distance of the same Gaussian: p is uniform, as a p-value must be, for few splits too."""
    draws = np.random.default_rng(splits).normal(3.0, 0.7, (4000, splits + 1))
    floors, distance = draws[:, :-1], draws[:, -1]
    z = (distance - floors.mean(axis=1)) / floors.std(axis=1, ddof=1)
    p = np.array([tail_probability(each, splits) for each in z])
    assert kstest(p, "uniform").pvalue > 1e-3
    if splits == 3:  # with a Gaussian's tail the same would be called significant eight times too often
        assert np.mean(norm.sf(z) < 0.01) > 0.05 > np.mean(p < 0.01)


def test_judge_writes_both_probabilities():
    real, made = table(400, 1), table(200, 2, shift=0.3)
    found = judge(mean_metric(), real, made, choose_bins(real, made), splits=40)
    assert found.p == tail_probability(found.z, 40) < 1e-3
    assert found.p_rank == 1 / 41  # the rank can say no more, however large the difference
    entry = found.to_dict()
    assert {"p", "p_rank", "p_corrected", "differs", "minimum"} <= set(entry)


def test_a_floor_without_scatter_has_no_t_and_says_only_what_its_ranks_say():
    def prepare(real, generated, bins):
        return prepare_rows(
            np.zeros((100, 1)), np.ones((100, 1)), bins, lambda a, i, b, j: Measurement(abs(a.mean() - b.mean()), np.zeros((1, 1))), ("x",)
        )

    nothing = Sample(BAND, {"a": np.zeros(100)})
    found = judge(Metric("m", "?", "comparison", "low", "", "", prepare), nothing, nothing, choose_bins(nothing, nothing), splits=20)
    assert found.z == np.inf and found.p == found.p_rank == 1 / 21
    assert json.loads(json.dumps(found.to_dict()))["p"] > 0


# -- many looks ---------------------------------------------------------------------------------------------------------------------------
@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_holm_is_the_closed_test_of_bonferroni(p):
    """Marcus, Peritz & Gabriel 1976: a hypothesis falls where Bonferroni rejects every set of hypotheses that holds it."""
    members = range(len(p))
    sets = [chosen for size in range(1, len(p) + 1) for chosen in itertools.combinations(members, size)]
    closed = [max(min(1.0, len(chosen) * min(p[j] for j in chosen)) for chosen in sets if i in chosen) for i in members]
    assert holm(p) == pytest.approx(closed, rel=1e-12)


def test_a_perfect_generator_is_found_different_in_one_report_of_a_hundred_at_most():
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 1, (5000, 1))
    z = 0.8 * shared + 0.6 * rng.normal(0, 1, (5000, 20))  # twenty metrics that know of each other
    smallest = np.array([min(holm(norm.sf(row).tolist())) for row in z])
    assert np.mean(smallest < LEVEL) <= 0.01 + 3 * np.sqrt(0.01 / 5000)
    assert np.mean(norm.sf(z).min(axis=1) < LEVEL) > 0.05  # uncorrected it would be far more


def test_only_metrics_with_a_probability_count_as_looks():
    results = {"a": result("a", 4.0, 0.001), "b": result("b", 1.0, 0.2), "c": result("c", 0.0, None)}
    found = corrected(results)
    assert [found[name].p_corrected for name in "abc"] == [0.002, 0.2, None]
    assert [found[name].differs for name in "abc"] == [True, False, None]
    assert corrected({}) == {}


def test_order_is_of_significance_not_of_z():
    few, many = result("few", 9.0, 0.002), result("many", 5.0, 0.0001)  # five splits know less than forty
    assert [r.name for r in by_significance([result("none", 99.0, None), few, many])] == ["many", "few", "none"]


# -- the sentences ------------------------------------------------------------------------------------------------------------------------
def sentences(*results: Result) -> tuple[str, str, str]:
    return verdict(corrected({r.name: r for r in results}), COUNTS, COUNTS)


def test_verdict_counts_what_is_left_after_the_correction():
    clear, lost, near = result("noise_rms", 9.0, 1e-8), result("w1_size", 2.6, 0.008), result("w1_magnitude", 0.1, 0.4)
    differs, within, rest = sentences(near, lost, clear)
    assert differs == (
        "1 of 3 metrics differs from the real set by more than chance (p < 1 %, corrected for 3 looks): noise_rms (10 times its floor)."
    )
    assert within == (
        "1 is within the scatter of real against real (z < 2): w1_magnitude; 1 is beyond it, but not after the correction: w1_size."
    )
    assert rest.startswith("0.0 % of 10 real")
    assert sentences(lost)[0].startswith("1 of 1 metric differs from the real set by more than chance (p < 1 %): w1_size")


def test_verdict_names_the_most_significant_first_and_where_it_is_worst():
    cells = {"bins": ["z 0-1", "z 1-2"], "quantities": ["g", "r"], "floor": [[0.1, 0.1]] * 2, "floor_error": [[0.1, 0.1]] * 2}
    there = {**cells, "distance": [[0.2, 0.1], [0.1, 0.9]]}
    differs, within, _ = sentences(result("a_b", 5.0, 1e-5), result("c_d", 7.0, 1e-7, per_bin=there))
    assert differs.index("c_d") < differs.index("a_b") and differs.endswith("; c_d is worst at z 1-2.")
    assert within == "None is within the scatter of real against real (z < 2)."


def test_verdict_of_agreement_and_of_nothing():
    differs, within, _ = sentences(result("a_b", 0.5, 0.3), result("c_d", -1.0, 0.8))
    assert differs == "None of 2 metrics differs from the real set by more than chance (p < 1 %, corrected for 2 looks)."
    assert within == "2 are within the scatter of real against real (z < 2): c_d, a_b."
    assert sentences(result("a_b", 0.0, None))[0].startswith("No metric could be held against a floor")


# -- sizes --------------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("n_real", "n_made", "enough"), [(100, 50, True), (99, 50, False), (100, 49, False)])
def test_the_minimum_is_stated_and_enforced(n_real, n_made, enough):
    real, made = table(n_real, 1), table(n_made, 2)
    found = judge(mean_metric(minimum=50), real, made, choose_bins(real, made), splits=5)
    assert found.computed is enough and found.to_dict()["minimum"] == 50
    assert enough or found.note == f"needs 100 usable real and 50 usable generated galaxies, has {n_real} and {n_made}: give larger sets"


# -- cells --------------------------------------------------------------------------------------------------------------------------------
def test_z_of_cells_is_their_distance_from_their_own_floor():
    per_bin = {
        "bins": ["a", "b", "c"],
        "quantities": ["q"],
        "distance": [[0.5, None, 0.3]],
        "floor": [[0.1, 0.1, 0.1]],
        "floor_error": [[0.2, 0.1, 0.0]],
    }
    found = Result("m", 1.0, 0.1, 0.5, 0.1, "low", per_bin=per_bin)
    assert found.cell_z()[0, 0] == pytest.approx(2.0) and np.isnan(found.cell_z()[0, 1:]).all()
    assert found.worst_cell() == ("q", "a")
    assert replace(found, per_bin=None).cell_z() is None and replace(found, value=np.nan).worst_cell() is None
    assert replace(found, per_bin=per_bin | {"distance": [[None] * 3]}).worst_cell() is None


def test_a_cell_in_which_nothing_ever_happens_strays_by_one_of_its_galaxies():
    real, made = table(400, 1), table(400, 2, flagged=0)
    made = replace(made, measured=made.measured | {"flag": (made.redshift > 0.8).astype(int)})
    from hubbleflow.metrics.flagged import METRICS

    found = judge(METRICS[0], real, made, choose_bins(real, made), splits=10)
    z = found.cell_z()[0]
    assert np.isfinite(z).all() and np.abs(z[:-1]).max() <= 1 and z[-1] > 10
    assert found.worst_cell() == ("flagged", found.per_bin["bins"][-1])


# -- the worst ----------------------------------------------------------------------------------------------------------------------------
LABELS = {"i_mag": "i magnitude (mag)", "i_major_axis": "i semi-major axis (px)"}


def test_the_planted_galaxy_is_the_worst_and_its_fault_is_named():
    real, made = table(800, 1), table(400, 2)
    made.measured["i_mag"][17] += 9.0
    made.measured["i_major_axis"][40] = 0.05
    bins = choose_bins(real, made)
    found = find_worst(real, made, bins, LABELS)
    first = found.faults[0]
    assert (first.row, first.quantity, first.label) == (17, "i_mag", "i magnitude (mag)")
    assert first.score > 10 and first.value > first.high > first.low
    second = next(fault for fault in found.faults if fault.row == 40)
    assert second.quantity == "i_major_axis" and second.score < 0 and second.value < second.low
    assert found.beyond >= 2 and found.scored == (bins.generated >= 0).sum() and len(found.faults) == 10
    sizes = [abs(fault.score) for fault in found.faults]
    assert sizes == sorted(sizes, reverse=True)


def test_score_of_a_gaussian_is_in_standard_deviations_and_knows_the_long_side():
    rng = np.random.default_rng(0)
    real = Sample(BAND, {}, {"i_mag": rng.normal(20, 2, 100_000), "i_major_axis": np.exp(rng.normal(0, 1, 100_000))})
    made = Sample(BAND, {}, {"i_mag": np.array([20.0, 26.0, 14.0]), "i_major_axis": np.exp([4.0, 0.0, 0.0])})
    by_row = {fault.row: fault for fault in find_worst(real, made, choose_bins(real, made), LABELS).faults}
    assert by_row[1].score == pytest.approx(3, rel=0.03) and by_row[2].score == pytest.approx(-3, rel=0.03)
    assert by_row[0].score == pytest.approx((np.exp(4) - 1) / (np.e - 1), rel=0.03)


def test_absurd_real_galaxies_do_not_hide_generated_ones_and_flagged_ones_have_no_score():
    real, made = table(800, 1), table(400, 2)
    real.measured["i_mag"][:20] = 1e6
    made.measured["i_mag"][5] = 40.0
    made.measured["i_mag"][6], made.measured["flag"][6] = 90.0, 1
    bins = choose_bins(real, made)
    found = find_worst(real, made, bins, LABELS)
    assert found.faults[0].row == 5 and found.scored == (bins.generated >= 0).sum() - 1
    assert found.beyond == 0 and found.largest_real > 1e5  # there is a precedent for it, absurd as it is


@pytest.mark.parametrize("which", ["no quantities", "few real", "other redshifts"])
def test_nothing_to_score_is_nothing(which):
    real, made = table(800, 1), table(40, 2)
    if which == "few real":
        real = table(19, 1)
    if which == "other redshifts":
        made.columns["redshift"][:] = 7.0
    found = find_worst(real, made, choose_bins(real, made), {} if which == "no quantities" else LABELS)
    assert found.faults == () and found.scored == 0 and found.beyond == 0


# -- a whole report -----------------------------------------------------------------------------------------------------------------------
def galaxies(n: int, seed: int, **changes) -> GalaxySet:
    made = table(n, seed, **changes)
    images = np.random.default_rng(seed).normal(0, 0.05, (n, 1, 16, 16)).astype(np.float32)
    return GalaxySet(images, BAND, dict(made.columns), measured=dict(made.measured), provenance={"model": "toy"})


def test_report_says_which_sets_it_saw_and_what_chance_is():
    real, made = galaxies(300, 1), galaxies(200, 2, shift=2.0)
    report = evaluate(real, made, progress=False, splits=10)
    entry = json.loads(report.to_json())
    assert entry["real"]["content_hash"] == real.content_hash() != entry["generated"]["content_hash"]
    assert entry["real"]["recipe"] == entry["generated"]["recipe"] and entry["generated"]["model"] == "toy"
    metrics = entry["metrics"].values()
    looks = [m["p"] for m in metrics if m["p"] is not None]
    assert [m["p_corrected"] for m in metrics if m["p"] is not None] == holm(looks)
    assert all(m["p_corrected"] is None and m["differs"] is None for m in metrics if m["p"] is None)
    assert entry["metrics"]["w1_magnitude"]["differs"] and entry["metrics"]["w1_magnitude"]["minimum"] == 20
    assert f"corrected for {len(looks)} looks" in entry["verdict"][0]
    worst = entry["worst"]["galaxies"]
    assert len(worst) == 10 and {"row", "quantity", "value", "low", "high", "score", "bin"} <= set(worst[0])
    assert report.worst.pictures.images.shape == (10, 1, 16, 16)
    assert np.array_equal(report.worst.pictures.images[0], made.images[worst[0]["row"]])


def test_the_same_sky_has_the_same_hash_whatever_was_read_from_it():
    real, made = galaxies(60, 1), galaxies(40, 2)
    one = evaluate(real, made, progress=False, splits=3)
    other = evaluate(real, made, lambda which: which.redshift, progress=False, splits=3)
    real.columns["predicted_redshift"] = real.redshift
    third = evaluate(real, made, progress=False, splits=3)
    assert one.origin == other.origin == third.origin
    real.columns["redshift"] = real.redshift + 0.01
    assert evaluate(real, made, progress=False, splits=3).origin["real"] != one.origin["real"]
