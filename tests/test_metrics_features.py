"""What networks make of images: distances with known answers, small-sample bias, and networks that are listened to in one pass."""

from __future__ import annotations

import builtins
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.linalg import sqrtm

from hubbleflow.cache import Cache
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.judge import CategoryJudge, RedshiftJudge
from hubbleflow.metrics import Sample, all_metrics, evaluate
from hubbleflow.metrics.bins import choose_bins
from hubbleflow.metrics.coverage import coverage, density, precision, recall
from hubbleflow.metrics.features import REDSHIFT_CNN
from hubbleflow.metrics.frechet import frechet_distance, small_sample_bias
from hubbleflow.metrics.kid import kernel_distance
from hubbleflow.metrics.perception import inception_score
from hubbleflow.metrics.splits import judge
from hubbleflow.metrics.vendi import vendi_score
from hubbleflow.models import get_model
from hubbleflow.networks.inception import Inception
from hubbleflow.perception import Perception, grey, perceived, read_weights
from hubbleflow.predictor import Predictor
from hubbleflow.survey import Survey
from hubbleflow.training import Recipe, Training

HSC = Survey.get("hsc-wide")
METRICS = {metric.name: metric for metric in all_metrics()}
OURS = [name for name in METRICS if name.endswith("_redshift_cnn")]
PERCEIVED = ("fid_inception", "is_inception", "fd_efficientnet_lite0", "is_efficientnet_lite0")


def with_moments(n: int, mean: np.ndarray, covariance: np.ndarray, seed: int = 0) -> np.ndarray:
    """n rows that have exactly this mean and covariance (over n - 1)."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x -= x.mean(axis=0)
    whitened = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return mean + whitened @ np.linalg.cholesky(covariance).T


# -- Frechet distance ---------------------------------------------------------------------------------------------------------------------
def test_frechet_distance_of_gaussians_has_the_closed_form():
    rng = np.random.default_rng(1)
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    one, other = np.array([1.0, 4, 9, 0.25, 2, 3]), np.array([2.0, 1, 9, 4, 0.5, 3])  # variances along the same axes
    a, b = (
        with_moments(200, np.zeros(6), turn @ np.diag(one) @ turn.T),
        with_moments(300, np.arange(6.0), turn @ np.diag(other) @ turn.T, 1),
    )
    expected = (np.arange(6.0) ** 2).sum() + ((np.sqrt(one) - np.sqrt(other)) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_equals_scipys_root_of_a_matrix():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(150, 20)) @ rng.normal(size=(20, 20)), rng.normal(1, 2, size=(130, 20)) @ rng.normal(size=(20, 20))
    s, t = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_with_fewer_rows_than_features():
    """Rows that lie in a few dimensions have the distance that they have there, whichever of the two roots is taken."""
    rng = np.random.default_rng(3)
    flat, other = rng.normal(size=(30, 5)), rng.normal(1, 2, size=(40, 5))
    into, _ = np.linalg.qr(rng.normal(size=(100, 5)))
    assert frechet_distance(flat @ into.T, other @ into.T) == pytest.approx(frechet_distance(flat, other), rel=1e-8)
    wide = rng.normal(size=(25, 100))
    assert frechet_distance(wide, wide) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(wide, wide + 0.5) == pytest.approx(25, rel=1e-9)


def test_small_samples_of_one_population_are_apart_as_foretold():
    rng = np.random.default_rng(4)
    d = 8
    covariance = np.diag(np.linspace(0.2, 3, d))
    draw = lambda m: rng.multivariate_normal(np.zeros(d), covariance, m)  # noqa: E731
    means = {m: np.mean([frechet_distance(draw(m), draw(m)) for _ in range(300)]) for m in (2 * d, 100, 400)}
    for m in (100, 400):
        assert means[m] == pytest.approx(small_sample_bias(covariance, m), rel=0.05)
    assert means[2 * d] > 20 * means[400]  # the reason for a smallest size
    # a Gaussian of unit variance: 2 d/m of the means, d (d + 1)/(2m) of the covariances
    assert small_sample_bias(np.eye(d), 100) == pytest.approx((2 * d + d * (d + 1) / 2) / 100)


# -- KID ----------------------------------------------------------------------------------------------------------------------------------
def test_kernel_distance_is_the_sum_over_pairs():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(9, 4)), rng.normal(1, 1, size=(7, 4))
    k = lambda a, b: (a @ b / 4 + 1) ** 3  # noqa: E731
    same = [np.mean([k(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]) for s in (x, y)]
    cross = np.mean([k(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(same[0] + same[1] - 2 * cross, rel=1e-12)


def test_kernel_distance_is_unbiased_where_the_frechet_distance_is_not():
    rng = np.random.default_rng(6)
    found = np.array([kernel_distance(rng.normal(size=(20, 8)), rng.normal(size=(20, 8))) for _ in range(400)])
    assert abs(found.mean()) < 3 * found.std(ddof=1) / np.sqrt(len(found)) and (found < 0).any()
    apart = np.array([kernel_distance(rng.normal(size=(20, 8)), rng.normal(0.7, 1, size=(20, 8))) for _ in range(50)])
    assert apart.mean() > 10 * apart.std(ddof=1) / np.sqrt(len(apart))


# -- precision, recall, density, coverage -------------------------------------------------------------------------------------------------
def test_balls_are_those_of_the_definition():
    rng = np.random.default_rng(7)
    real, made = rng.normal(size=(40, 3)), rng.normal(0.5, 1.5, size=(30, 3))
    far = lambda a, b: np.linalg.norm(a[:, None] - b[None], axis=2)  # noqa: E731
    radius = lambda x, k: np.sort(far(x, x), axis=1)[:, k]  # noqa: E731
    inside = far(made, real) <= radius(real, 3)
    assert precision(real, made).tolist() == inside.any(axis=1).tolist()
    assert recall(real, made).tolist() == (far(real, made) <= radius(made, 3)).any(axis=1).tolist()
    inside = far(made, real) <= radius(real, 5)
    assert density(real, made) == pytest.approx(inside.sum(axis=1) / 5)
    assert coverage(real, made).tolist() == inside.any(axis=0).tolist()


def test_copies_are_covered_and_strangers_are_not():
    x = np.random.default_rng(8).normal(size=(60, 5))
    for share in (precision, recall, coverage):
        assert share(x, x[::-1]).all() and not share(x, x + 100).any()
    assert density(x, x + 100).sum() == 0
    twins = np.repeat(x[:5], 12, axis=0)  # five galaxies, twelve times each: all could be real, little is covered
    assert precision(x, twins).all() and recall(x, twins).mean() < 0.15 and coverage(x, twins).mean() < 0.6


def test_one_population_has_the_density_and_coverage_of_theory():
    rng, m, k = np.random.default_rng(9), 200, 5
    found = [(rng.normal(size=(m, 4)), rng.normal(size=(m, 4))) for _ in range(40)]
    below = np.prod([(m - i) / (2 * m - i) for i in range(1, k + 1)])  # Naeem et al. 2020, eq. 9
    assert np.mean([density(*pair).mean() for pair in found]) == pytest.approx(1, abs=0.02)
    assert np.mean([coverage(*pair).mean() for pair in found]) == pytest.approx(1 - below, abs=0.005)


# -- Vendi and Inception scores -----------------------------------------------------------------------------------------------------------
def test_vendi_score_counts_kinds():
    assert vendi_score(np.repeat(np.eye(7), 5, axis=0)) == pytest.approx(7)
    assert vendi_score(np.outer(np.arange(1, 9.0), [1.0, -2, 3])) == pytest.approx(1)
    x = np.random.default_rng(10).normal(size=(30, 6))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    shares = np.linalg.eigvalsh(unit @ unit.T / 30)  # the n x n kernel of the paper
    assert vendi_score(x) == pytest.approx(np.exp(-sum(s * np.log(s) for s in shares if s > 1e-12)), rel=1e-9)


def test_inception_score_is_exp_of_the_mean_divergence():
    p = np.random.default_rng(11).dirichlet(np.ones(10), size=50)
    mean = p.mean(axis=0)
    expected = np.exp(np.mean([(row * np.log(row / mean)).sum() for row in p]))
    assert inception_score(np.log(p)) == pytest.approx(expected, rel=1e-12)


# -- as metrics ---------------------------------------------------------------------------------------------------------------------------
def seen(n: int, seed: int, spread: float = 1.0, shift: float = 0.0, d: int = 8) -> Sample:
    """Galaxies with d features that follow redshift, as a redshift network's do."""
    rng = np.random.default_rng(seed)
    z = rng.gamma(3, 0.25, n)
    features = np.tanh(np.outer(np.log1p(z), np.linspace(-2, 2, d)) + spread * rng.normal(0, 0.5, (n, d)) + shift)
    return Sample(HSC, {"redshift": z}, features={REDSHIFT_CNN: features.astype(np.float32)})


def verdicts(
    real: Sample, made: Sample, names: list[str] | tuple[str, ...] = tuple(OURS), seed: int = 0, splits: int = 20
) -> dict[str, Any]:
    bins = choose_bins(real, made)
    return {name: judge(METRICS[name], real, made, bins, seed, splits) for name in names}


def test_seven_metrics_of_features():
    names = {f"{kind}_redshift_cnn" for kind in ("frechet", "kid", "precision", "recall", "density", "coverage", "vendi")}
    assert set(OURS) == names
    assert all(METRICS[name].better == ("low" if name.startswith(("frechet", "kid")) else "high") for name in names)


@pytest.mark.parametrize(
    ("made", "caught"),
    [
        ({"shift": 0.3}, {"frechet", "kid", "precision", "density", "recall", "coverage"}),
        ({"spread": 0.3}, {"frechet", "kid", "recall", "coverage", "vendi"}),  # all alike: each could be real
        ({"spread": 2.0}, {"frechet", "precision", "density", "vendi"}),  # all real ones are among them
    ],
    ids=["elsewhere", "too much alike", "too varied"],
)
def test_what_differs_is_caught_and_to_be_worse_is_to_have_a_high_z(made, caught):
    results = verdicts(seen(800, 1), seen(400, 2, **made))
    assert {name.removesuffix("_redshift_cnn") for name, result in results.items() if result.z > 3} >= caught
    assert all(results[f"{name}_redshift_cnn"].p < 0.01 for name in caught)


def test_too_much_alike_is_no_fault_of_precision():
    result = verdicts(seen(800, 1), seen(400, 2, spread=0.3), ["precision_redshift_cnn"])["precision_redshift_cnn"]
    assert result.value > result.floor and result.z < 0 and result.p > 0.5 and result.within_floor


def test_one_population_is_within_the_floor():
    found = [result.z for seed in range(8) for result in verdicts(seen(300, 2 * seed), seen(300, 2 * seed + 1), seed=seed).values()]
    assert np.mean(np.array(found) > 3) <= 0.02 and abs(np.mean(found)) < 0.5


def test_bins_tell_at_which_redshift_images_are_wrong():
    real, made = seen(1600, 1, spread=0.3), seen(800, 2, spread=0.3)
    wrong = made.redshift > np.quantile(real.redshift, 0.8)
    features = made.features[REDSHIFT_CNN].copy()
    features[wrong] = -features[wrong]
    made = Sample(HSC, made.columns, features={REDSHIFT_CNN: features})
    results = verdicts(real, made, ["frechet_redshift_cnn", "precision_redshift_cnn", "coverage_redshift_cnn"])
    for name, result in results.items():
        assert result.z > 3 and result.worst_cell()[1] == result.per_bin["bins"][-1], name


def test_too_few_galaxies_for_their_features_are_refused_with_a_number():
    real, made = seen(200, 1, d=64), seen(200, 2, d=64)
    results = verdicts(real, made, splits=3)
    assert (
        not results["frechet_redshift_cnn"].computed
        and "needs 128 galaxies a side of the same redshifts, has" in results["frechet_redshift_cnn"].note
    )
    assert results["kid_redshift_cnn"].computed  # unbiased: few are enough
    assert verdicts(seen(400, 1, d=64), made, splits=3)["frechet_redshift_cnn"].computed


def test_without_features_or_with_others_there_is_a_sentence():
    bare, real = Sample(HSC, {"redshift": np.linspace(0, 1, 100)}), seen(100, 1)
    assert all("give a redshift model" in result.note for result in verdicts(real, bare).values())
    assert all("use one network" in result.note for result in verdicts(real, seen(100, 2, d=5)).values())
    names = {"fid_inception": "--inception", "is_inception": "--inception", "fd_efficientnet_lite0": "--perception"}
    for name, option in names.items():
        assert option in verdicts(real, real, [name])[name].note


def test_galaxies_that_the_network_has_seen_are_left_out():
    real, made = seen(400, 1), seen(200, 2)
    features = real.features[REDSHIFT_CNN].copy()
    features[:100] = np.nan
    result = verdicts(Sample(HSC, real.columns, features={REDSHIFT_CNN: features}), made)["frechet_redshift_cnn"]
    assert result.computed and sum(result.per_bin["n_real"]) == 300


# -- networks that are listened to --------------------------------------------------------------------------------------------------------
def blobs(n: int, seed: int = 0) -> GalaxySet:
    """Galaxies whose size tells their redshift."""
    rng = np.random.default_rng(seed)
    redshift = rng.uniform(0.1, 2, n)
    y, x = np.mgrid[:32, :32] - 15.5
    images = 5 * np.exp(-(x**2 + y**2) / (2 * (5 - 2 * redshift[:, None, None]) ** 2))[:, None] + rng.normal(0, 0.1, (n, 1, 32, 32))
    return GalaxySet(images.astype("f4"), Survey.get("hsc-i"), {"redshift": redshift, "category": np.where(redshift > 1, "far", "near")})


def trained(folder: Path, model: str, **recipe: Any) -> Predictor:
    list(Training(blobs(300), folder, Recipe(model=model, steps=2, batch_size=16, **recipe)).run())
    return Predictor.load(folder)


def test_features_are_what_leaves_the_last_dense_layer(tmp_path):
    reader, galaxies = trained(tmp_path / "cnn", "li2024-redshift-cnn"), blobs(300, 3)
    calls = []
    hook = reader.model.network[0].register_forward_hook(lambda *_: calls.append(1))
    read = reader.read(galaxies)
    hook.remove()
    assert len(calls) == 2  # blocks of 256: one pass for both
    assert read["features"].shape == (300, 32) and read["features"].dtype == np.float32
    assert np.array_equal(read["predicted"], reader.predict(galaxies)) and np.array_equal(read["features"], reader.features(galaxies))
    assert not reader.model.hidden._forward_hooks
    with torch.inference_mode():  # the last layer and the scale make the prediction of the features
        standardised = reader.model.network[-1](torch.from_numpy(read["features"]))[:, 0]
    redshift = np.expm1(reader.model.log1p_mean + reader.model.log1p_std * standardised.double().numpy())
    assert redshift == pytest.approx(read["predicted"], abs=0.02)  # where the prediction was made in bfloat16


def test_densities_and_classifiers_have_features_too(tmp_path):
    galaxies = blobs(40, 3)
    density_of, sorter = trained(tmp_path / "d", "redshift-density"), trained(tmp_path / "c", "category-cnn", conditions=("category",))
    assert set(density_of.read(galaxies)) == {"weights", "means", "sigmas", "features"}
    assert density_of.features(galaxies).shape == (40, 128) and sorter.features(galaxies).shape == (40, 128)
    with torch.inference_mode():
        head = sorter.model.head(torch.from_numpy(sorter.features(galaxies))).softmax(dim=1).numpy()
    assert head == pytest.approx(sorter.predict(galaxies), abs=0.02)
    assert set(density_of.columns(galaxies)) == {"predicted_redshift", "z_q16", "z_q50", "z_q84"}


def test_a_model_that_names_no_hidden_layer_gives_none(tmp_path, monkeypatch):
    reader = trained(tmp_path / "cnn", "li2024-redshift-cnn")
    monkeypatch.setattr(get_model("li2024-redshift-cnn"), "hidden", None)
    assert set(reader.read(blobs(10))) == {"predicted"} and not reader.gives_features
    with pytest.raises(InputError, match="names no hidden layer"):
        reader.features(blobs(10))
    galaxies = blobs(10)
    assert RedshiftJudge(reader, "", galaxies).features == {}


def test_the_judge_gives_features_of_whom_it_has_not_seen_and_reads_once(tmp_path, monkeypatch):
    real, made = blobs(440), blobs(120, seed=5)
    judge_of = RedshiftJudge.of(real, made, tmp_path, steps=2)
    read, drawn = judge_of.read(real), judge_of.read(made)
    monkeypatch.setattr(Predictor, "read", lambda *_: pytest.fail("the images were read a second time"))
    features = judge_of.features[REDSHIFT_CNN]
    found = features(read)
    assert found.shape == (440, 32) and np.isnan(found[judge_of.seen]).all()
    assert np.array_equal(np.isnan(found).any(axis=1), np.isnan(read.columns["predicted_redshift"]))
    assert np.isfinite(features(drawn)).all()
    report = evaluate(read, drawn, progress=False, splits=3, features=judge_of.features)
    for name in OURS:
        assert report.results[name].computed, name
    assert sum(report.results["frechet_redshift_cnn"].per_bin["n_real"]) == 220
    assert CategoryJudge(None, "", real).features == {}


def test_features_are_read_where_nothing_was_read_before_and_kept_with_readings(tmp_path):
    real, made = blobs(440), blobs(60, seed=5)
    first = RedshiftJudge.of(real, made, tmp_path, steps=2, cache=Cache(tmp_path / "cache"))
    found = first.features[REDSHIFT_CNN](made)
    assert found.shape == (60, 32)
    cache = Cache(tmp_path / "cache")
    again = RedshiftJudge.of(real, made, tmp_path, steps=2, cache=cache)
    assert np.array_equal(again.features[REDSHIFT_CNN](made), found) and ("redshift readings", "generated set") in cache.taken


# -- networks for photographs -------------------------------------------------------------------------------------------------------------
def test_grey_is_monotonic_within_its_ends_and_the_same_for_every_image():
    sigma = HSC.noise[2]
    flux = np.zeros((1, 5, 1, 7), np.float32)
    flux[0, 2, 0] = sigma * np.array([-50, -3, 0, 1, 30, 3000, 1e7])
    levels = grey(flux, HSC)[0, 2, 0]
    assert levels[[0, 1, 5, 6]] == pytest.approx([0, 0, 1, 1], abs=1e-6) and levels[0] == 0 and levels[6] == 1
    assert (np.diff(levels[1:6]) > 0).all()
    scale = np.arcsinh(1000) + np.arcsinh(1)
    assert levels[3] == pytest.approx((np.arcsinh(1 / 3) + np.arcsinh(1)) / scale, abs=1e-6)
    flux[0, 2, 0, 0] = np.nan
    assert grey(flux, HSC)[0, 2, 0, 0] == levels[2]  # the sky
    pictures = np.array([0, 51, 255, 300], np.float32)[None, None, None].repeat(3, axis=1)
    assert grey(pictures, Survey.get("sdss-rgb"))[0, 0, 0].tolist() == pytest.approx([0, 0.2, 1, 1])


def test_flux_of_unknown_noise_is_refused_before_anything_is_read():
    from dataclasses import replace

    with pytest.raises(InputError, match="does not say how noisy"):
        perceived(True, None, [HSC, replace(HSC, noise=None)])
    assert perceived(False, None, [replace(HSC, noise=None)]) is None


def toy(side: int = 12) -> Perception:
    """A network of one layer, to see what reaches it."""
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return Perception("inception", body.eval(), torch.nn.Linear(4, 6).eval(), side, 127.5, 127.5, "toy")


def test_pictures_are_enlarged_bilinearly_between_pixel_centres_and_repeated():
    x = torch.rand(2, 1, 5, 5, dtype=torch.float64)
    got = toy(12).pictures(x)
    assert got.shape == (2, 3, 12, 12) and torch.equal(got[:, 0], got[:, 2])
    where = ((np.arange(12) + 0.5) * 5 / 12 - 0.5).clip(0, 4)  # as cv2.INTER_LINEAR, which Li et al. use
    low = np.minimum(where.astype(int), 3)
    weights = np.zeros((12, 5))
    weights[np.arange(12), low], weights[np.arange(12), low + 1] = 1 - (where - low), where - low
    expected = (255 * (weights @ x[1, 0].numpy() @ weights.T) - 127.5) / 127.5
    assert got[1, 1].numpy() == pytest.approx(expected, abs=1e-9)


def test_every_band_is_a_picture_of_its_own():
    images = np.random.default_rng(0).normal(0, 0.1, (3, 5, 16, 16)).astype(np.float32)
    network = toy()
    found = network(images, HSC)
    assert found["inception"].shape == (3, 5, 4) and found["inception classes"].shape == (3, 5, 6)
    assert np.exp(found["inception classes"]).sum(axis=2) == pytest.approx(1, abs=1e-5)
    changed = images.copy()
    changed[1, 3] += 1
    differs = (network(changed, HSC)["inception"] != found["inception"]).any(axis=2)
    assert np.argwhere(differs).tolist() == [[1, 3]]


def skies(n: int, seed: int, light: float = 1.0) -> GalaxySet:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:24, :24] - 11.5
    images = rng.normal(0, np.array(HSC.noise)[:, None, None], (n, 5, 24, 24))
    images += light * rng.lognormal(0, 1, (n, 1, 1, 1)) * np.exp(-(x**2 + y**2) / 8)
    return GalaxySet(images.astype(np.float32), HSC, {"redshift": rng.uniform(0.1, 1, n)}, measured={"flag": np.zeros(n, int)})


def test_numbers_are_called_fid_and_is_only_where_inception_made_them(tmp_path):
    real, made = skies(240, 1), skies(120, 2, light=3.0)
    cache = Cache(tmp_path)
    for _ in range(2):
        report = evaluate(real, made, progress=False, splits=3, image_features=toy(), cache=cache)
    assert ("image features", "real set") in cache.taken
    fid, score = report.results["fid_inception"], report.results["is_inception"]
    assert fid.computed and fid.per_bin["quantities"] == list("grizy") and fid.z > 3
    assert fid.value == pytest.approx(np.mean(fid.per_bin["value"])) and score.value == pytest.approx(np.mean(score.per_bin["value"]))
    assert score.real is not None and 1 <= score.value <= 6
    assert not report.results["fd_efficientnet_lite0"].computed and not report.results["is_efficientnet_lite0"].computed
    seen_by = toy()(made.images, HSC)
    direct = np.mean([inception_score(seen_by["inception classes"][:, band].astype(float)) for band in range(5)])
    assert score.value == pytest.approx(direct, rel=1e-5)


def test_a_small_sample_for_many_features_says_so():
    rng = np.random.default_rng(0)
    real, made = (
        Sample(HSC, {"redshift": rng.uniform(0, 1, n)}, image_features={"inception": rng.normal(size=(n, 5, 80)).astype(np.float32)})
        for n in (240, 120)
    )
    result = verdicts(real, made, ["fid_inception"], splits=3)["fid_inception"]
    assert result.computed and "120 galaxies a side for 80 features" in result.note and abs(result.z) < 4
    few = Sample(HSC, {"redshift": np.zeros(50)}, image_features={"inception": rng.normal(size=(50, 5, 80))})
    assert "needs 200 real and 100 generated" in verdicts(real, few, ["fid_inception"], splits=3)["fid_inception"].note


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights under the published names, with what torchvision's file has besides."""
    torch.manual_seed(0)
    state = Inception().state_dict()
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save({name: values for name, values in state.items() if not name.endswith("num_batches_tracked")}, path)
    return path


def test_inception_is_the_published_network(weights):
    network = Inception()
    body = sum(values.numel() for name, values in network.named_parameters() if not name.startswith("fc."))
    assert body == 21_785_568 and network.fc.weight.shape == (1008, 2048)  # 2,048,000 + 1,000 fewer than torchvision's 23,834,568
    names = set(network.state_dict())
    for name in ("Conv2d_1a_3x3.conv.weight", "Mixed_5b.branch5x5_2.bn.running_var", "Mixed_6e.branch7x7dbl_5.conv.weight"):
        assert name in names
    assert network.Mixed_7c.branch3x3dbl_3b.conv.weight.shape == (384, 384, 3, 1)
    assert network.Mixed_6b.branch7x7dbl_2.conv.weight.shape == (128, 128, 7, 1) and network.Mixed_6a.branch3x3.conv.stride == (2, 2)


@pytest.mark.parametrize(("block", "width", "maximum"), [("Mixed_5b", 192, False), ("Mixed_7b", 1280, False), ("Mixed_7c", 2048, True)])
def test_inception_pools_as_the_fid_does(block, width, maximum):
    part = Inception().eval().get_submodule(block)
    x, pooled = torch.randn(1, width, 8, 8), []
    part.branch_pool.register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0]))
    with torch.inference_mode():
        assert part(x).shape[1] == {"Mixed_5b": 256, "Mixed_7b": 2048, "Mixed_7c": 2048}[block]
    mean = F.avg_pool2d(x, 3, 1, 1) / F.avg_pool2d(torch.ones_like(x), 3, 1, 1)  # over pixels that exist
    torch.testing.assert_close(pooled[0], F.max_pool2d(x, 3, 1, 1) if maximum else mean)


def test_inception_takes_weights_from_a_file(weights):
    network = perceived(False, weights, [HSC])
    assert network is not None and network.name == "inception" and network.side == 299
    x = network.pictures(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1))
    assert x.min() == -1 and x.max() == 1
    found = network(np.zeros((1, 5, 8, 8), np.float32), HSC)
    assert found["inception"].shape == (1, 5, 2048) and found["inception classes"].shape == (1, 5, 1008)


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return builtins.exec, ("raise SystemExit('code of the file was run')",)


def test_no_file_is_executed_and_each_bad_one_is_a_sentence(tmp_path, weights):
    trap, script, empty, other = (tmp_path / name for name in ("trap.pth", "script.pt", "empty.pth", "other.pth"))
    trap.write_bytes(pickle.dumps({"fc.weight": Trap()}))
    torch.save(torch.nn.Linear(2, 2), script)  # a whole module is code, too
    empty.write_bytes(b"")
    torch.save({"fc.weight": torch.zeros(1000, 2048)}, other)
    for path in (trap, script, empty):
        with pytest.raises(InputError, match="without running code"):
            read_weights(path)
    with pytest.raises(InputError, match="no such file"):
        Perception.inception(tmp_path / "absent.pth")
    with pytest.raises(InputError, match="does not hold the weights of the FID's Inception-v3"):
        Perception.inception(other)
    torch.save([torch.zeros(2)], other)
    with pytest.raises(InputError, match="no state dict"):
        read_weights(other)


def test_efficientnet_sees_bands_as_pictures():
    pytest.importorskip("efficientnet_lite_pytorch", reason="the extra `perception` is not installed")
    network = Perception.efficientnet(device="cpu")
    images = skies(3, 1).images
    found = network(images, HSC)
    assert found["efficientnet-lite0"].shape == (3, 5, 1280) and found["efficientnet-lite0 classes"].shape == (3, 5, 1000)
    assert np.exp(found["efficientnet-lite0 classes"]).sum(axis=2) == pytest.approx(1, abs=1e-4)
    alone = network(images[1:2], HSC)["efficientnet-lite0"]
    assert alone[0] == pytest.approx(found["efficientnet-lite0"][1], abs=0.05)  # bfloat16 where the machine has it
    assert network.made_of == Perception.efficientnet(device="cpu").made_of


def test_without_the_extra_there_is_a_sentence(monkeypatch):
    real_import = builtins.__import__

    def absent(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("efficientnet"):
            raise ImportError(name)
        return real_import(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(InputError, match=r"pip install 'hubbleflow\[perception\]'"):
        perceived(True, None, [HSC])
