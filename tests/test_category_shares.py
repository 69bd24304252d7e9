"""Shares of categories: exact, and caught where one is missing."""

from __future__ import annotations

import numpy as np
import pytest

from hubbleflow.metrics.bins import choose_bins
from hubbleflow.metrics.category_shares import METRICS
from hubbleflow.metrics.result import Result
from hubbleflow.metrics.sample import Sample
from hubbleflow.metrics.splits import judge
from hubbleflow.survey import Survey


def shared(real: np.ndarray, generated: np.ndarray, metric: int = 0) -> Result:
    samples = [Sample(Survey.get("hsc-i"), {"category": np.array(names)}) for names in (real, generated)]
    return judge(METRICS[metric], samples[0], samples[1], choose_bins(*samples))


def test_the_distance_is_that_of_the_shares() -> None:
    result = shared(np.repeat(["a", "b", "c"], [2000, 1000, 1000]), np.repeat(["a", "b"], [3000, 1000]))
    assert result.value == pytest.approx(0.25, abs=0.01) and result.z is not None and result.z > 10
    assert result.note == "no generated galaxies of category c"


def test_a_missing_kind_is_caught_and_chance_is_not() -> None:
    rng = np.random.default_rng(0)
    kinds, shares = np.array([f"kind {k}" for k in range(10)]), np.array([0.08] * 5 + [0.12] * 5)
    real, same = (rng.choice(kinds, 2000, p=shares) for _ in range(2))
    assert shared(real, same).within_floor
    without = shared(real, same[same != "kind 0"])
    assert without.z is not None and without.z > 3


def test_a_rare_kind_that_is_missing_is_found_by_chi2() -> None:
    rng = np.random.default_rng(0)
    kinds, shares = np.array([f"kind {k}" for k in range(10)]), np.array([0.05] + [0.09] * 5 + [0.125] * 4)
    real, same = (rng.choice(kinds, 2000, p=shares) for _ in range(2))
    without = same[same != "kind 0"]
    total, chi2 = (shared(real, without, metric).z for metric in range(2))
    assert total is not None and chi2 is not None and chi2 > max(5.0, total)
    assert shared(real, same, metric=1).within_floor


def test_without_categories_it_says_so() -> None:
    result = shared(np.repeat(["a", "b"], 50), np.repeat([""], 100))
    assert not result.computed and result.note == "needs categories in both sets"
