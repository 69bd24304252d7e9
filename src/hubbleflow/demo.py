"""The whole road in a few minutes: a mock sky, a generator trained on it, galaxies at the test set's redshifts, and a verdict."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hubbleflow.galaxies import GalaxySet
from hubbleflow.judge import judge_recipe
from hubbleflow.metrics import Report, evaluate
from hubbleflow.report import write_report
from hubbleflow.simulate import simulate
from hubbleflow.training import Recipe
from hubbleflow.watch import counting, train

TRAIN, TEST, GENERATED = 8000, 1200, 600


def demo(out: str | os.PathLike[str], minutes: float = 2.5, judge_minutes: float = 0.75, n_train: int = TRAIN, seed: int = 1) -> Report:
    """Run the demonstration in `out` and return its report; the files it leaves are a small tour of the package.

    Args:
        out: a folder; anything that is already there from an earlier demo is made anew, models excepted, which are resumed.
        minutes: of training the generator.
        judge_minutes: of training the redshift judge.
        n_train: galaxies of the mock sky to train on.
        seed: of everything.

    Raises:
        InputError: the folder cannot be written.
    """
    out = Path(out)
    _say(1, f"a mock sky of {n_train:,} galaxies to learn from and {TEST:,} to judge by")
    sky = simulate(out / "train.h5", n_train, seed=seed)
    test = simulate(out / "test.h5", TEST, seed=seed + 1)

    _say(2, f"train a generator for {minutes:g} minutes (watch {out / 'model' / 'samples'})")
    generator = train(sky, out / "model", Recipe(minutes=minutes, seed=seed), resume=True).averaged()

    _say(3, "draw galaxies at the test set's redshifts")
    asked = generator.conditions_like(test[:GENERATED])
    with counting("drawing galaxies", GENERATED) as on_progress:
        generator.generate(out / "generated.h5", asked, seed=seed, extrapolate=True, on_progress=on_progress)

    _say(4, "train the judge of redshifts (Li et al. 2024) on the mock sky, and evaluate")
    judge = train(sky, out / "redshift-cnn", judge_recipe(judge_minutes, seed), resume=True).averaged()
    report = evaluate(test, GalaxySet.open(out / "generated.h5"), predict_redshift=judge.predict, seed=seed)
    write_report(report, out / "report")
    return report


def _say(number: int, what: str) -> None:
    print(f"[{number}/4] {what}", file=sys.stderr, flush=True)
