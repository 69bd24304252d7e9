"""Copies are found whichever way they are turned, and new galaxies are not taken for copies."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hubbleflow.galaxies import GalaxySet
from hubbleflow.metrics import Report, Result, evaluate
from hubbleflow.metrics.bins import choose_bins
from hubbleflow.metrics.metric import all_metrics
from hubbleflow.metrics.nearest import Space, nearest, symmetries_of, turned
from hubbleflow.metrics.novelty import beside_training, copied_share, is_copy, twins
from hubbleflow.metrics.sample import Sample
from hubbleflow.metrics.splits import judge
from hubbleflow.report import write_report
from hubbleflow.survey import Survey

HSC = Survey.get("hsc-i")
METRICS = {metric.name: metric for metric in all_metrics()}


def blobs(n: int, seed: int, noise: float = 0.3, survey: Survey = HSC) -> GalaxySet:
    """Galaxies of any size and place, with a companion each."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:24, :24] - 11.5
    images = rng.normal(0, noise, (n, 24, 24))
    for flux, widest, far in ((5.0, 4.0, 1.0), (2.0, 2.0, 7.0)):
        q, angle, a = rng.uniform(0.3, 1, (n, 1, 1)), rng.uniform(0, np.pi, (n, 1, 1)), rng.uniform(1.5, widest, (n, 1, 1))
        x0, y0 = rng.normal(0, far, (2, n, 1, 1))
        u, v = ((x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)), ((y - y0) * np.cos(angle) - (x - x0) * np.sin(angle)) / q
        images += flux * rng.lognormal(0, 0.5, (n, 1, 1)) * np.exp(-(u**2 + v**2) / (2 * a**2))
    bands = len(survey.bands)
    return GalaxySet(np.repeat(images[:, None], bands, axis=1).astype("f4"), survey, {"redshift": rng.uniform(0, 1, n)})


def judged(name: str, columns: list[dict[str, np.ndarray]]) -> Result:
    real, made = (Sample(HSC, {"redshift": np.linspace(0, 1, len(next(iter(c.values()))))}, {}, c) for c in columns)
    return judge(METRICS[name], real, made, choose_bins(real, made))


def some_copied(made: GalaxySet, source: GalaxySet, share: float = 0.1) -> GalaxySet:
    """The first of `made` are those of `source`, each turned otherwise."""
    images = made.images.copy()
    for row in range(int(share * len(made))):
        images[row] = turned(source.images[row], row % 8)
    return GalaxySet(images, made.survey, dict(made.columns))


def test_new_galaxies_are_as_far_as_held_out_ones_and_copies_are_not() -> None:
    training, held_out, new = blobs(150, 0), blobs(150, 1), blobs(150, 2)
    share, real, drawn = copied_share(training, held_out, new)
    assert share < 0.15 and abs(drawn / real - 1) < 0.1
    copies = GalaxySet(np.rot90(training.images, 3, axes=(2, 3))[..., ::-1], training.survey)
    half = GalaxySet.concatenate([copies[:75], new[:75]])
    share, real, drawn = copied_share(training, held_out, half)
    assert 0.5 <= share < 0.65


def test_there_are_eight_symmetries_and_four_of_a_rectangle():
    picture = np.arange(16.0).reshape(4, 4)
    assert len({turned(picture, symmetry).tobytes() for symmetry in symmetries_of(4, 4)}) == 8
    assert {turned(picture[:2], symmetry).shape for symmetry in symmetries_of(2, 4)} == {(2, 4)} and len(symmetries_of(2, 4)) == 4
    everything = {np.ascontiguousarray(side).tobytes() for k in range(4) for side in (np.rot90(picture, k), np.rot90(picture, k)[:, ::-1])}
    assert {turned(picture, symmetry).tobytes() for symmetry in range(8)} == everything


def by_brute_force(asked: GalaxySet, among: GalaxySet) -> np.ndarray:
    """d of every pair, from its definition."""
    space = Space.of(among)
    x, t = (space.coarse(which.images[:]).astype(float) for which in (asked, among))
    every = [np.linalg.norm((x[:, None] - turned(t, symmetry)[None]).reshape(len(x), len(t), -1), axis=2) for symmetry in range(8)]
    return np.min(every, axis=0) / np.linalg.norm(x.reshape(len(x), -1), axis=1)[:, None]


def test_distances_are_their_definition_and_the_search_loses_little():
    training, new = blobs(300, 0), blobs(80, 1)
    exact = by_brute_force(new, training)
    found = nearest(new, training)
    assert found.distance == pytest.approx(exact[np.arange(80), found.row], rel=1e-3)
    assert np.median(found.distance / exact.min(axis=1)) < 1.05 and np.max(found.distance / exact.min(axis=1)) < 1.3
    everything = nearest(new, training, candidates=300)
    assert (everything.row == exact.argmin(axis=1)).all()


def test_one_s_own_row_is_no_neighbour_and_the_symmetry_leads_back():
    some = blobs(60, 0)
    found = nearest(some, some, own=np.arange(60))
    assert (found.row != np.arange(60)).all() and found.distance.min() > 0.05
    for symmetry in range(8):
        again = nearest(GalaxySet(turned(some.images, symmetry).copy(), HSC), some)
        assert (again.row == np.arange(60)).all()
        assert all(
            np.array_equal(turned(some.images[row], symmetry), turned(some.images[row], int(s))) for row, s in enumerate(again.symmetry)
        )


def test_two_exposures_of_one_galaxy_differ_by_their_noise_and_are_no_copies():
    clean = blobs(200, 0, noise=0.0).images
    first, second = (GalaxySet((clean + np.random.default_rng(s).normal(0, 0.1, clean.shape)).astype("f4"), HSC) for s in (1, 2))
    found = nearest(second, first, candidates=200)
    assert np.median(found.noise) == pytest.approx(1.0, abs=0.12)
    assert not is_copy(found).any()
    nearly = GalaxySet((first.images + np.random.default_rng(3).normal(0, 0.04, clean.shape)).astype("f4"), HSC)
    assert is_copy(nearest(nearly, first)).mean() > 0.95


def test_pictures_without_a_sky_know_copies_by_the_others():
    survey = Survey.get("sdss-rgb")
    training, new = (blobs(100, seed, 0.0, survey) for seed in (0, 1))
    for which in (training, new):
        which.images[which.images < 1] = 0
        which.images[:, :, :2] = which.images[:, :, -2:] = which.images[..., :2] = which.images[..., -2:] = 0
    found = nearest(some_copied(new, training), training)
    assert np.isnan(found.noise).all()
    assert is_copy(found)[:10].all() and is_copy(found)[10:].mean() < 0.4  # noiseless blobs of one parameter are much alike


def test_ten_per_cent_copied_from_training_are_found():
    training, real, made = blobs(600, 0), blobs(600, 1), blobs(600, 2)
    copied = some_copied(made, training)
    columns = [beside_training(which, training) for which in (real, made, copied)]
    for name, least in (("memorisation", 3), ("training_copies", 20)):
        assert judged(name, [columns[0], columns[1]]).z < 3
        assert judged(name, [columns[0], columns[2]]).z > least, name
    assert judged("training_copies", [columns[0], columns[2]]).value == pytest.approx(0.1)
    assert judged("memorisation", [columns[0], columns[1]]).floor == pytest.approx(0.05, abs=0.02)


def test_ten_per_cent_duplicates_are_found():
    real, made = blobs(500, 1), blobs(500, 2)
    doubled = some_copied(made, GalaxySet(made.images[100:], HSC))
    columns = [twins(which, 500) for which in (real, made, doubled)]
    assert judged("duplicates", [columns[0], columns[1]]).value == 0
    found = judged("duplicates", [columns[0], columns[2]])
    assert found.value == pytest.approx(0.2) and found.real == 0 and found.z > 20  # the copy and its original


def test_real_galaxies_of_the_training_set_do_not_hide_what_is_copied():
    training, made = blobs(600, 0), blobs(600, 2)
    real = some_copied(blobs(600, 1), training, share=0.2)
    columns = [beside_training(which, training) for which in (real, some_copied(made, training))]
    found = judged("memorisation", columns)
    assert found.note == "120 real galaxies are in the training set: they were left out" and found.z > 3


def test_only_some_are_asked_and_the_sets_are_matched():
    real, made = blobs(60, 1), blobs(200, 2)
    assert np.isfinite(twins(made, 60)["twin"]).sum() == 60 == np.isfinite(twins(real, 60)["twin"]).sum()
    assert np.isnan(twins(made, 2)["twin"]).all()


# -- in a report --------------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def report() -> Report:
    training, real, made = blobs(150, 0), blobs(120, 1), blobs(120, 2)
    return evaluate(real, some_copied(made, training), training=training, progress=False, splits=5)


def test_evaluate_looks_for_copies_and_shows_the_closest_pairs(report, tmp_path):
    assert report.results["training_copies"].value == pytest.approx(0.1) and report.results["training_copies"].real == 0
    assert report.results["duplicates"].value == 0 and report.results["memorisation"].computed
    assert report.closest is not None and len(report.closest.distance) == 10
    assert {generated for generated, _ in report.closest.rows} <= set(range(12)) and max(report.closest.distance) < 1e-2
    assert all(generated == training for generated, training in report.closest.rows)
    assert report.closest.generated.images == pytest.approx(report.closest.training.images, abs=1e-6)  # turned to fit
    page = write_report(report, tmp_path, progress=False).read_text()
    assert "Closest pairs" in page and (tmp_path / "figures" / "closest_pairs.png").is_file()
    pairs = json.loads((tmp_path / "metrics.json").read_text())["closest_pairs"]
    assert len(pairs) == 10 and set(pairs[0]) == {"generated", "training", "distance"}


def test_what_is_missing_is_said(report):
    real, made = blobs(60, 1), blobs(60, 2)
    without = evaluate(real, made, progress=False, splits=3)
    assert "--training" in without.results["memorisation"].note and without.closest is None
    assert without.results["duplicates"].computed and "closest_pairs" not in without.to_dict()
    small = GalaxySet(blobs(30, 0).images[..., :12, :12], HSC)
    other = evaluate(real, made, training=small, progress=False, splits=3)
    assert any("stamp size" in note for note in other.notes) and not other.results["memorisation"].computed
    blind = replace(report.real, pixels={})
    assert "images" in judge(METRICS["duplicates"], blind, report.generated, report.bins).note


def test_real_galaxies_are_no_copies_of_each_other_nor_of_their_deeper_exposures(shared_data):
    with np.load(shared_data / "hsc_two_depths" / "hsc_wide_deep_64.npz") as stamps:
        wide, deep = (GalaxySet(stamps[depth][:, None].astype("f4"), HSC) for depth in ("wide", "deep"))
    assert len(wide) == 600 and twins(wide, 600)["twin"].sum() == 0
    found = nearest(wide, deep)
    assert (found.row == np.arange(600)).mean() > 0.98 and not is_copy(found).any()  # the same galaxies under another noise
