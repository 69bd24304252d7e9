"""Densities of redshift and classes read from the images: known answers, what is caught, what is said where something is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import cramervonmises, kstest
from typer.testing import CliRunner

from hubbleflow.cli import app
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.judge import CategoryJudge, RedshiftJudge
from hubbleflow.metrics import Sample, all_metrics
from hubbleflow.metrics.bins import choose_bins
from hubbleflow.metrics.redshift_density import inside, pit_cvm, pit_ks
from hubbleflow.metrics.splits import judge
from hubbleflow.photoz import RedshiftDensity
from hubbleflow.predictor import Predictor
from hubbleflow.survey import Survey
from hubbleflow.training import Recipe, Training

HSC = Survey.get("hsc-wide")
METRICS = {metric.name: metric for metric in all_metrics()}
COVERAGE = ("redshift_coverage_68", "redshift_coverage_90")
DENSITY = ("redshift_pit_ks", "redshift_pit_cvm", "w1_redshift_pit", *COVERAGE)
KINDS = np.array(["elliptical", "merger", "spiral"])


def read_by_a_density(n: int, seed: int, width: float = 1.0, wrong: float = 0.0, bias: float = 0.0) -> Sample:
    """Galaxies whose densities, Gaussians of 0.05 in ln(1 + z), are right; or `width` times as wide; or, for a share `wrong`, of others."""
    rng = np.random.default_rng(seed)
    z = rng.gamma(3, 0.25, n) + 0.3
    y = np.log1p(z) + rng.normal(bias, 0.05, n)
    y = np.where(rng.random(n) < wrong, rng.permutation(y), y)
    density = RedshiftDensity(np.ones((n, 1)), np.maximum(y, 0)[:, None], np.full((n, 1), 0.05 * width))
    quantiles = density.quantile([0.16, 0.84])
    columns = {"redshift": z, "redshift_pit": density.pit(z), "z_q16": quantiles[:, 0], "z_q84": quantiles[:, 1]}
    return Sample(HSC, columns, {"flag": np.zeros(n, int)})


def read_by_a_classifier(n: int, seed: int, right: float = 0.8) -> Sample:
    """Galaxies of three kinds, not equally many, of which a share is read rightly."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(KINDS, n, p=[0.5, 0.2, 0.3])
    read = np.where(rng.random(n) < right, kind, rng.choice(KINDS, n))
    return Sample(HSC, {"category": kind, "predicted_category": read, "redshift": rng.uniform(0.1, 1, n)}, {"flag": np.zeros(n, int)})


def results(real: Sample, made: Sample, names: tuple[str, ...], seed: int = 0) -> dict:
    bins = choose_bins(real, made)
    return {name: judge(METRICS[name], real, made, bins, seed, 20) for name in names}


# -- known answers ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [1, 7, 300])
def test_both_distances_from_uniform_are_scipys(n: int) -> None:
    u = np.random.default_rng(n).beta(2, 3, n)
    assert pit_ks(u) == pytest.approx(kstest(u, "uniform").statistic, rel=1e-12)
    if n > 1:  # scipy wants two
        assert n * pit_cvm(u) ** 2 == pytest.approx(cramervonmises(u, "uniform").statistic, rel=1e-12)
    assert pit_cvm(np.zeros(100_000)) == pytest.approx(1 / np.sqrt(3), rel=1e-3) and pit_ks(np.full(10, 0.5)) == 0.5


def test_coverage_by_hand_and_from_quantiles_alone() -> None:
    u = np.array([0.0, 0.05, 0.16, 0.5, 0.84, 0.841, 0.951, np.nan])
    one = Sample(HSC, {"redshift": np.ones(8), "redshift_pit": u})
    assert np.array_equal(inside(one, 68), [0, 0, 1, 1, 1, 0, 0, np.nan], equal_nan=True)
    assert np.array_equal(inside(one, 90), [0, 1, 1, 1, 1, 1, 0, np.nan], equal_nan=True)
    sample = read_by_a_density(500, 1)
    bare = replace(sample, columns={name: values for name, values in sample.columns.items() if name != "redshift_pit"})
    assert np.array_equal(inside(bare, 68), inside(sample, 68))
    bare.columns["z_q84"][3] = np.nan
    assert np.isnan(inside(bare, 68)[3])


def test_accuracy_weighs_categories_alike() -> None:
    kind = np.repeat(KINDS, [60, 30, 30])
    read = np.concatenate([np.full(60, "elliptical"), np.repeat(["merger", "spiral"], 15), np.full(30, "merger")])
    made = Sample(HSC, {"category": kind, "predicted_category": read})
    result = results(made, made, ("category_accuracy",))["category_accuracy"]
    assert result.value == result.real == pytest.approx((1 + 0.5 + 0) / 3)
    assert result.per_bin["value"] == [[1.0, 0.5, 0.0]] and result.per_bin["bins"] == list(KINDS)
    assert result.distance == pytest.approx(result.floor, abs=result.floor_error) and result.within_floor


# -- what is caught, and what is not ------------------------------------------------------------------------------------------------------
def test_calibrated_densities_are_within_chance() -> None:
    scores = []
    for seed in range(25):
        real, made = read_by_a_density(600, 2 * seed), read_by_a_density(300, 2 * seed + 1)
        for name, result in results(real, made, DENSITY, seed).items():
            if name.startswith("redshift_pit"):
                assert result.value < 0.12 and result.real < 0.09 and result.z is None and result.floor is None, name
                continue
            scores.append(result.z)
            if name in COVERAGE:
                level = int(name[-2:]) / 100
                assert result.value == pytest.approx(level, abs=0.09) and result.real == pytest.approx(level, abs=0.06), name
    assert abs(np.mean(scores)) < 0.4 and np.mean(np.array(scores) > 3) < 0.03


@pytest.mark.parametrize(
    ("corruption", "caught"),
    [
        ({"width": 0.5}, (*COVERAGE, "w1_redshift_pit")),  # surer than is right
        ({"width": 2.0}, (*COVERAGE, "w1_redshift_pit")),  # caricatures
        ({"wrong": 0.2}, COVERAGE),  # a fifth does not follow its condition
        ({"bias": 0.03}, ("w1_redshift_pit",)),  # read too far away
    ],
)
def test_miscalibrated_densities_are_caught(corruption: dict, caught: tuple[str, ...]) -> None:
    found = results(read_by_a_density(1000, 1), read_by_a_density(500, 2, **corruption), DENSITY)
    for name in caught:
        assert found[name].z > 3, (name, found[name].z)
    for name in ("redshift_pit_ks", "redshift_pit_cvm"):
        assert found[name].value > 2 * found[name].real, name
    if corruption.get("width") == 0.5:  # the example of docs/metrics.md
        assert [round(found["redshift_coverage_68"].value, 2), round(found["redshift_coverage_68"].real, 2)] == [0.39, 0.69]
        assert [round(found["redshift_pit_ks"].value, 2), round(found["redshift_pit_ks"].real, 2)] == [0.20, 0.03]
        assert round(found["w1_redshift_pit"].value, 2) == 0.13
    if corruption.get("width") == 2.0:
        assert found["redshift_coverage_68"].value > 0.9 > found["redshift_coverage_68"].real
    assert len(found["redshift_pit_ks"].per_bin["bins"]) > 3 and "real" in found["redshift_pit_ks"].per_bin


def test_unrecognised_and_caricatured_categories_are_caught() -> None:
    real = read_by_a_classifier(900, 1)
    names = ("category_accuracy",)
    same, worse, better = (results(real, read_by_a_classifier(600, 2, right), names)["category_accuracy"] for right in (0.8, 0.6, 1.0))
    assert same.within_floor and worse.z > 3 and better.z > 3
    assert worse.value < worse.real < better.value == 1
    assert [round(result.value, 2) for result in (worse, same, better)] == [0.71, 0.83, 1] and round(
        same.real, 2
    ) == 0.87  # docs/metrics.md
    assert worse.per_bin["bins"] == list(KINDS), "also where both sets have redshifts"


def test_what_is_missing_gets_a_sentence() -> None:
    real, made = read_by_a_density(300, 1), read_by_a_density(300, 2)
    bare = replace(made, columns={"redshift": made.redshift})
    found = results(real, bare, (*DENSITY, "category_accuracy"))
    assert all("give a redshift-density as the redshift model" in found[name].note for name in DENSITY)
    assert "columns z_q16 and z_q84" in found["redshift_coverage_68"].note and "z_q05 and z_q95" in found["redshift_coverage_90"].note
    assert "give a category model" in found["category_accuracy"].note
    few = results(real, read_by_a_density(12, 2), DENSITY)["redshift_pit_ks"]
    assert not few.computed and "needs 40 usable real and 20 usable generated galaxies, has 300 and 12" in few.note
    unread = read_by_a_classifier(300, 1)
    unread.columns["predicted_category"][:] = ""
    found = results(read_by_a_classifier(300, 2), unread, ("category_accuracy",))
    assert "no category has" in found["category_accuracy"].note


# -- the judges ---------------------------------------------------------------------------------------------------------------------------
def sky(n: int, seed: int, size: int = 32) -> GalaxySet:
    """Galaxies whose size tells their redshift, and whose shape their kind."""
    rng = np.random.default_rng(seed)
    redshift, kind = rng.uniform(0.1, 2, n), KINDS[np.arange(n) % 3]
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    wide = (4 - 1.5 * redshift)[:, None, None]
    stretch = np.array([1.0, 2.0, 0.5])[np.arange(n) % 3][:, None, None]
    images = 5 * np.exp(-(x**2 * stretch + y**2 / stretch) / (2 * wide**2))[:, None] + rng.normal(0, 0.1, (n, 1, size, size))
    return GalaxySet(images.astype("f4"), Survey.get("hsc-i"), {"redshift": redshift, "category": kind})


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets, and models that read them, hardly trained."""
    folder = tmp_path_factory.mktemp("condition")
    real = sky(150, 1).write(folder / "real.h5")
    sky(90, 2).write(folder / "made.h5")
    for name, arguments in (("redshift-density", {"widths": [8, 8], "dense": 16}), ("category-cnn", {"widths": [8, 8]})):
        list(Training(real, folder / name, Recipe(model=name, steps=30, batch_size=16, arguments=arguments)).run())
    return folder


def test_a_density_as_the_judge_gives_pit_and_quantiles(road: Path) -> None:
    real, made = GalaxySet.open(road / "real.h5"), GalaxySet.open(road / "made.h5")
    judge = RedshiftJudge.of(real, made, road, str(road / "redshift-density"))
    read, density = judge.read(made), Predictor.load(road / "redshift-density").density(made)
    assert np.allclose(read.columns["redshift_pit"], density.pit(made.redshift), atol=1e-5)
    for name, level in (("z_q16", 0.16), ("z_q84", 0.84), ("predicted_redshift", 0.5)):
        assert np.allclose(read.columns[name], density.quantile(level), rtol=1e-4), name
    assert "redshift_pit" not in made.columns


def test_a_classifier_leaves_out_what_it_does_not_know(road: Path) -> None:
    real, made = GalaxySet.open(road / "real.h5"), GalaxySet.open(road / "made.h5")
    made.columns["category"] = np.where(np.arange(len(made)) < 5, "ring", made.category)
    judge = CategoryJudge.of(real, made, road, str(road / "category-cnn"))
    read = judge.read(made).columns["predicted_category"]
    assert (read[:5] == "").all() and set(read[5:]) <= set(KINDS)
    assert np.array_equal(read[5:], Predictor.load(road / "category-cnn").category(made)[5:])


def test_a_bias_keeps_its_sign_where_it_is_compared() -> None:
    scores, n = [], 400
    for seed in range(60):  # a set that happens to have no bias has halves of opposite ones: their sizes are the same, their signs are not
        rng = np.random.default_rng(seed)
        z = [rng.uniform(0.2, 2, size) for size in (2 * n, n)]
        real, made = (Sample(HSC, {"redshift": v}, {}, {}, v + (1 + v) * rng.normal(0, 0.05, len(v))) for v in z)
        scores.append(results(real, made, ("redshift_bias",), seed)["redshift_bias"].z)
    assert np.mean(np.array(scores) > 3) < 0.04 and np.max(scores) < 6
    nearer, further = (replace(real, predicted_redshift=real.redshift + sign * 0.02 * (1 + real.redshift)) for sign in (-1, 1))
    found = results(nearer, further, ("redshift_bias",))["redshift_bias"]
    assert found.value == pytest.approx(0.02) and found.real == pytest.approx(0.02) and found.distance == pytest.approx(0.04)


def test_a_named_model_is_opened_before_another_is_trained(road: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: object) -> None:
        raise AssertionError("a judge was trained although a model that was named is wrong")

    monkeypatch.setattr("hubbleflow.judge._trained", train)
    monkeypatch.setattr("hubbleflow.judge.FEWEST", 1)
    for option, folder, things in (
        ("--category-model", "redshift-density", "categories"),
        ("--redshift-model", "category-cnn", "redshifts"),
    ):
        words = ("evaluate", road / "real.h5", road / "made.h5", tmp_path / "report", option, road / folder, "--cache", tmp_path / "cache")
        ended = CliRunner().invoke(app, [*map(str, words)], standalone_mode=False)
        assert isinstance(ended.exception, InputError) and f"not {things}" in str(ended.exception)


def test_both_judges_through_the_command(road: Path, tmp_path: Path) -> None:
    models = ("--redshift-model", road / "redshift-density", "--category-model", road / "category-cnn")
    words = ("evaluate", road / "real.h5", road / "made.h5", tmp_path / "report", *models, "--cache", tmp_path / "cache")
    outputs = [CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False, standalone_mode=False).output for _ in range(2)]
    report = json.loads((tmp_path / "report" / "metrics.json").read_text())
    for name in (*DENSITY, "category_accuracy", "redshift_bias", "redshift_sigma_nmad", "redshift_outliers", "redshift_loss"):
        metric = report["metrics"][name]
        assert metric["value"] is not None and (name.startswith("w1") or metric["real"] is not None), name
        assert (metric["z"] is None) == name.startswith("redshift_pit"), name
    assert report["metrics"]["redshift_bias"]["value"] >= 0
    said = outputs[1].replace("\n", " ")
    assert "redshift readings" in said and "category readings" in said
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Asked and recovered redshift" in page
    table = page[page.index("Asked and recovered redshift") :]
    for words_of_a_row in ("bias", "scatter", "outliers", "redshift loss", "68 %", "90 %"):
        assert words_of_a_row in table, words_of_a_row
