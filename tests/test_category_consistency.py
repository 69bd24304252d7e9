"""Colours and sizes of each category: planted shifts are found, in the category that has them, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ks_2samp

from hubbleflow.measure import Flag
from hubbleflow.metrics import Result, Sample
from hubbleflow.metrics.bins import choose_bins
from hubbleflow.metrics.category_consistency import METRICS as OURS
from hubbleflow.metrics.category_consistency import scatter
from hubbleflow.metrics.cells import kolmogorov_smirnov
from hubbleflow.metrics.splits import judge
from hubbleflow.survey import Survey

SDSS = Survey.get("sdss-rgb")
METRICS = {metric.name: metric for metric in OURS}
# kind -> mean R - G and its scatter, mean size and its scatter (of its logarithm)
KINDS = {
    "elliptical": (0.8, 0.05, 8.0, 0.2),
    "spiral": (0.4, 0.15, 12.0, 0.3),
    "edge-on": (0.6, 0.1, 9.0, 0.25),
    "merger": (0.5, 0.2, 11.0, 0.4),
}


def sample(counts: dict[str, int], seed: int, colour: float = 0.0, size: float = 0.0, only: str = "") -> Sample:
    """Galaxies of four kinds; `colour` and `size` shift those of kind `only` (or all) by so many scatters."""
    rng = np.random.default_rng(seed)
    kind = np.repeat(list(counts), list(counts.values()))
    mean, spread, radius, log_spread = (np.array([KINDS[name][i] for name in kind]) for i in range(4))
    shifted = (kind == only) | (not only)
    n = len(kind)
    log_size = rng.normal(0, log_spread) + size * shifted * log_spread
    measured = {
        "R_G": mean + spread * (rng.normal(size=n) + colour * shifted),
        "G_B": mean + 0.1 + spread * (rng.normal(size=n) + colour * shifted),
        "G_half_light_radius": radius * np.exp(log_size),
        "G_isophotal_area": np.pi * (2 * radius * np.exp(log_size + rng.normal(0, 0.05, n))) ** 2,
        "flag": np.where(rng.random(n) < 0.05, int(Flag.NOT_DETECTED), 0),
    }
    return Sample(SDSS, {"category": kind}, measured)


EVEN = dict.fromkeys(KINDS, 400)


def verdicts(real: Sample, generated: Sample, seed: int = 0) -> dict[str, Result]:
    bins = choose_bins(real, generated)
    return {name: judge(metric, real, generated, bins, seed, splits=20) for name, metric in METRICS.items()}


def test_ks_is_scipys_and_the_scatter_a_gaussians_standard_deviation():
    rng = np.random.default_rng(0)
    for n, m in ((10, 30), (200, 77)):
        p, q = rng.integers(0, 20, n).astype(float), rng.integers(3, 25, m).astype(float)  # with ties
        assert kolmogorov_smirnov(p, q) == pytest.approx(ks_2samp(p, q).statistic, abs=1e-12)
    x = rng.normal(3, 2, (50_000, 2))
    x[:100, 1] = 1e6
    x[100:200, 1] = np.nan
    assert scatter(x) == pytest.approx([2, 2], rel=0.02)


@pytest.mark.parametrize(
    ("found", "others", "value", "ks_value"),
    [("colour", "size", (0.35, 0.13), (0.18, 0.09)), ("size", "colour", (0.29, 0.14), (0.16, 0.08))],
)
def test_a_shift_of_a_third_of_the_scatter_is_found_and_measured(
    found: str, others: str, value: tuple[float, float], ks_value: tuple[float, float]
) -> None:
    """Values and floors that docs/metrics.md gives as examples."""
    shift = {found: 0.3}
    results = verdicts(sample(EVEN, 1), sample(EVEN, 2, **shift))
    one, ks = results[f"category_{found}"], results[f"category_{found}_ks"]
    assert one.within_floor is False and ks.within_floor is False
    assert (one.value, one.floor) == pytest.approx(value, abs=0.006) and (ks.value, ks.floor) == pytest.approx(ks_value, abs=0.006)
    assert one.z > 7 and ks.z > 8 and 0 < one.error < 0.1
    assert results[f"category_{others}"].within_floor and results[f"category_{others}_ks"].within_floor
    assert one.per_bin["bins"] == sorted(KINDS) and one.per_bin["n_real"][0] > 350


def test_no_shift_is_within_the_floor_and_neither_side_is_favoured() -> None:
    z = {name: [] for name in METRICS}
    for seed in range(10):
        for name, result in verdicts(sample(EVEN, 10 + 2 * seed), sample(EVEN, 11 + 2 * seed), seed).items():
            z[name].append(result.z)
    for name, values in z.items():
        assert np.abs(np.mean(values)) < 0.8, name
        assert np.mean(np.array(values) > 2) <= 0.1, name


def test_other_shares_of_the_categories_are_no_difference() -> None:
    real = sample({"elliptical": 900, "spiral": 500, "edge-on": 60, "merger": 40}, 3)
    z = [result.z for seed in range(6) for result in verdicts(real, sample(dict.fromkeys(KINDS, 120), 40 + seed), seed).values()]
    assert np.abs(np.mean(z)) < 0.8 and np.mean(np.array(z) > 2) <= 0.1


def test_the_category_that_is_wrong_is_named() -> None:
    results = verdicts(sample(EVEN, 5), sample(EVEN, 6, colour=0.6, only="spiral"))
    assert results["category_colour"].worst_cell() in {("R_G", "spiral"), ("G_B", "spiral")}
    cells = dict(zip(sorted(KINDS), np.mean(results["category_colour"].per_bin["value"], axis=0), strict=True))
    assert cells["spiral"] > 0.5 and max(value for name, value in cells.items() if name != "spiral") < 0.25


def test_categories_that_are_mixed_up_are_caught_though_all_galaxies_together_are_right() -> None:
    real, made = sample(EVEN, 7), sample(EVEN, 8)
    mixed = replace(made, columns={"category": np.random.default_rng(0).permutation(made.category)})
    results = verdicts(real, mixed)
    assert results["category_colour"].value == pytest.approx(1.8, abs=0.05) and results["category_colour"].z > 100
    assert results["category_size_ks"].z > 5


def test_redshifts_change_nothing() -> None:
    z = np.linspace(0.1, 1, sum(EVEN.values()))
    real, made = sample(EVEN, 1), sample(EVEN, 2)
    with_redshift = [replace(one, columns=one.columns | {"redshift": z}) for one in (real, made)]
    assert choose_bins(*with_redshift).kind == "redshift"
    assert verdicts(*with_redshift) == verdicts(real, made)


def test_where_it_does_not_apply_it_says_so() -> None:
    real, made = sample(EVEN, 1), sample(EVEN, 2)
    for which, name in ((0, "real"), (1, "generated")):
        pair = [real, made]
        pair[which] = replace(pair[which], columns={})
        for result in verdicts(*pair).values():
            assert not result.computed and result.note == f"does not apply: the {name} set has no categories"
    one_band = [
        Sample(Survey.get("hsc-i"), one.columns, {"i_half_light_radius": one.measured["G_half_light_radius"], "flag": one.measured["flag"]})
        for one in (real, made)
    ]
    results = verdicts(*one_band)
    assert "colours need two bands" in results["category_colour"].note and results["category_size"].computed
    assert results["category_size"].per_bin["quantities"] == ["i_half_light_radius"]


def test_small_categories_are_left_out_and_named() -> None:
    results = verdicts(sample({"spiral": 100, "merger": 12}, 1), sample({"spiral": 100, "merger": 50, "edge-on": 40}, 2))
    result = results["category_colour"]
    assert result.per_bin["bins"] == ["spiral"] and "edge-on (0), merger (" in result.note
    few = verdicts(sample({"spiral": 12}, 1), sample({"spiral": 12}, 2))["category_size"]
    assert not few.computed and "no category has 20 usable real" in few.note
