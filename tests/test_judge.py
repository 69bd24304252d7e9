"""The judge of redshifts is never asked about galaxies it has seen, and says when there are too few to train one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.judge import RedshiftJudge
from hubbleflow.metrics import evaluate
from hubbleflow.survey import Survey
from hubbleflow.training import Recipe, Training


def blobs(n: int, seed: int = 0) -> GalaxySet:
    """Galaxies whose size tells their redshift."""
    rng = np.random.default_rng(seed)
    redshift = rng.uniform(0.1, 2, n)
    y, x = np.mgrid[:32, :32] - 15.5
    images = 5 * np.exp(-(x**2 + y**2) / (2 * (5 - 2 * redshift[:, None, None]) ** 2))[:, None] + rng.normal(0, 0.1, (n, 1, 32, 32))
    return GalaxySet(images.astype("f4"), Survey.get("hsc-i"), {"redshift": redshift})


def test_the_judge_has_not_seen_whom_it_judges(tmp_path: Path) -> None:
    real, made = blobs(440), blobs(30, seed=5)
    judge = RedshiftJudge.of(real, made, tmp_path, steps=4)
    assert judge.predictor is not None and judge.predictor.training["n"] == 220 == len(judge.seen)
    assert "after 4 steps on 220 of the real galaxies" in judge.note
    read, drawn = judge.read(real), judge.read(made)
    predicted = read.columns["predicted_redshift"]
    assert len(read) == 440 and np.isnan(predicted[judge.seen]).all() and np.isfinite(predicted).sum() == 220
    assert np.isfinite(drawn.columns["predicted_redshift"]).all() and "predicted_redshift" not in made.columns
    report = evaluate(read, drawn, progress=False, splits=4)
    assert report.results["redshift_loss"].computed and report.counts(report.real)["n"] == 440


def test_a_judge_is_used_again_and_never_replaces_another(tmp_path: Path) -> None:
    folders = []
    for seed, steps in ((0, 3), (0, 3), (1, 3), (0, 4)):
        RedshiftJudge.of(blobs(440, seed), blobs(30, 5), tmp_path, steps=steps)
        folders.append(sorted(path.name for path in tmp_path.iterdir()))
    assert [len(names) for names in folders] == [1, 1, 2, 3]


def test_why_redshifts_are_not_judged(tmp_path: Path) -> None:
    few, many = blobs(50), blobs(440)
    unasked = GalaxySet(few.images, few.survey)
    for real, made, model, why in (
        (few, few, None, "50 real galaxies have a redshift, at least 400 are needed"),
        (many, unasked, None, "were not asked for at a redshift"),
        (many, many, "none", "--redshift-model none"),
    ):
        judge = RedshiftJudge.of(real, made, tmp_path, model)
        assert judge.predictor is None and why in judge.note
        assert judge.read(real) is real


def test_a_model_that_reads_no_redshifts_is_refused(tmp_path: Path) -> None:
    galaxies = blobs(30)
    galaxies.columns["category"] = np.where(galaxies.redshift > 1, "far", "near")
    list(Training(galaxies, tmp_path / "classes", Recipe(model="category-cnn", steps=1)).run())
    with pytest.raises(InputError, match="reads category, not redshifts"):
        RedshiftJudge.of(galaxies, galaxies, tmp_path, str(tmp_path / "classes"))
    list(Training(galaxies, tmp_path / "edm", Recipe(steps=1, arguments={"width": 16})).run())
    with pytest.raises(InputError, match="draws galaxies and cannot read them"):
        RedshiftJudge.of(galaxies, galaxies, tmp_path, str(tmp_path / "edm"))
