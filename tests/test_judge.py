"""The judge of redshifts is never asked about galaxies it has seen, and says when there are too few to train one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.judge import RedshiftJudge
from hubbleflow.survey import Survey
from hubbleflow.training import Recipe, Training, weights_hash


def blobs(n: int, seed: int = 0) -> GalaxySet:
    """Galaxies whose size tells their redshift."""
    rng = np.random.default_rng(seed)
    redshift = rng.uniform(0.1, 2, n)
    y, x = np.mgrid[:32, :32] - 15.5
    images = 5 * np.exp(-(x**2 + y**2) / (2 * (5 - 2 * redshift[:, None, None]) ** 2))[:, None] + rng.normal(0, 0.1, (n, 1, 32, 32))
    return GalaxySet(images.astype("f4"), Survey.get("hsc-i"), {"redshift": redshift})


def test_the_judge_has_not_seen_whom_it_judges(tmp_path: Path) -> None:
    galaxies = blobs(440)
    judge = RedshiftJudge.of(galaxies, tmp_path / "judge", minutes=0.05)
    assert judge.predictor is not None and len(judge.unseen) == 220
    assert judge.predictor.training["n"] == 220 and "other 220 real galaxies" in judge.note
    assert judge.predictor.predict(judge.unseen).shape == (220,)
    first = weights_hash(tmp_path / "judge")
    again = RedshiftJudge.of(galaxies, tmp_path / "judge", minutes=0.05)
    assert weights_hash(tmp_path / "judge") == first, "the same galaxies and budget use the same judge"
    assert np.array_equal(again.unseen.redshift, judge.unseen.redshift)
    RedshiftJudge.of(blobs(440, seed=1), tmp_path / "judge", minutes=0.05)
    assert weights_hash(tmp_path / "judge") != first, "other galaxies need another judge"


def test_too_few_galaxies_are_said_to_be_too_few(tmp_path: Path) -> None:
    judge = RedshiftJudge.of(blobs(50), tmp_path / "judge")
    assert judge.predictor is None and len(judge.unseen) == 50
    assert "50 real galaxies have one, at least 400 are needed" in judge.note
    assert RedshiftJudge.of(blobs(50), tmp_path / "judge", "none").predictor is None


def test_a_model_that_reads_no_redshifts_is_refused(tmp_path: Path) -> None:
    galaxies = blobs(30)
    galaxies.columns["category"] = np.where(galaxies.redshift > 1, "far", "near")
    list(Training(galaxies, tmp_path / "classes", Recipe(model="category-cnn", steps=1)).run())
    with pytest.raises(InputError, match="reads category, not redshifts"):
        RedshiftJudge.of(galaxies, tmp_path / "judge", str(tmp_path / "classes"))
    list(Training(galaxies, tmp_path / "edm", Recipe(steps=1, arguments={"width": 16})).run())
    with pytest.raises(InputError, match="draws galaxies and cannot read them"):
        RedshiftJudge.of(galaxies, tmp_path / "judge", str(tmp_path / "edm"))
