"""The whole road in a few minutes: galaxies at once, from the generator that ships; then a mock sky, a generator trained on it, galaxies at
the test set's redshifts, and a verdict.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from hubbleflow.counting import counting
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.judge import judge_recipe
from hubbleflow.metrics import Report, evaluate
from hubbleflow.report import sheet, write_report
from hubbleflow.simulate import simulate
from hubbleflow.training import Recipe
from hubbleflow.watch import train

TRAIN, TEST = 8000, 1200
SHOWN = 32
SHIPPED = "hsc"
FIRST_AT = (0.05, 2.0)  # redshifts from which to which the first galaxies are spread, evenly in ln(1 + z)
# Half of the default network's parameters: in minutes, more steps of a smaller network show better galaxies.
NETWORK = {"width": 32}


def demo(
    out: str | os.PathLike[str],
    minutes: float = 3.0,
    judge_minutes: float = 1.0,
    n_train: int = TRAIN,
    n_test: int = TEST,
    seed: int = 1,
) -> Report:
    """Run the demonstration in `out` and return its report; the files it leaves are a small tour of the package.

    Args:
        out: a folder; anything that is already there from an earlier demo is made anew, models excepted, which are resumed.
        minutes: of training the generator.
        judge_minutes: of training the redshift judge.
        n_train: galaxies of the mock sky to train on.
        n_test: galaxies of another mock sky to judge by; half as many are drawn.
        seed: of everything.

    Raises:
        InputError: the folder cannot be written, or holds the models of a demo with other options.
    """
    out = Path(out)
    _say(1, f"{SHOWN} galaxies from {SHIPPED}, the generator that comes with hubbleflow: {out / 'first.png'}")
    low, high = np.log1p(FIRST_AT)
    first = Generator.from_pretrained(SHIPPED).sample(redshift=np.expm1(np.linspace(low, high, SHOWN)), seed=seed)
    sheet(first, out / "first.png")

    _say(2, f"a mock sky of {n_train:,} galaxies to learn from and {n_test:,} to judge by")
    sky = simulate(out / "train.h5", n_train, seed=seed)
    test = simulate(out / "test.h5", n_test, seed=seed + 1)
    sheet(_by_redshift(test), out / "mock_sky.png")

    _say(3, f"train a generator for {minutes:g} minutes (watch {out / 'model' / 'samples'})")
    generator = train(sky, out / "model", Recipe(minutes=minutes, seed=seed, arguments=NETWORK), resume=True).averaged()

    _say(4, f"draw {n_test // 2:,} galaxies at the test set's redshifts")
    asked = generator.conditions_like(test[: n_test // 2])
    with counting("drawing galaxies", n_test // 2) as on_progress:
        made = generator.generate(out / "generated.h5", asked, seed=seed, extrapolate=True, on_progress=on_progress)
    _sheet_of_pairs(test[: n_test // 2], made, out / "side_by_side.png")

    _say(5, "train the judge of redshifts (Li et al. 2024) on the mock sky, and evaluate")
    judge = train(sky, out / "redshift-cnn", judge_recipe(seed, minutes=judge_minutes), resume=True).averaged()
    report = evaluate(test, made, predict_redshift=judge.predict, seed=seed, features={"redshift-cnn": judge.features})
    write_report(report, out / "report")
    return report


def _by_redshift(galaxies: GalaxySet) -> GalaxySet:
    """Some galaxies of a set, evenly over its ranking in redshift."""
    order = np.argsort(galaxies.redshift)
    return galaxies[order[np.linspace(0, len(order) - 1, min(SHOWN, len(order))).astype(int)]]


def _sheet_of_pairs(real: GalaxySet, made: GalaxySet, path: Path) -> None:
    """Rows of real galaxies over rows of those drawn at the same redshifts."""
    order = np.argsort(real.redshift)
    rows = order[np.linspace(0, len(order) - 1, min(24, len(order) // 8 * 8)).astype(int)].reshape(-1, 8)
    parts = [GalaxySet(source[row].images, source.survey, {"redshift": real.redshift[row]}) for row in rows for source in (real, made)]
    labels = [f"{('mock', 'drawn')[number % 2]} z = {z:.2f}" for number, part in enumerate(parts) for z in part.redshift]
    sheet(GalaxySet.concatenate(parts), path, columns=8, labels=labels)


def _say(number: int, what: str) -> None:
    print(f"[{number}/5] {what}", file=sys.stderr, flush=True)
