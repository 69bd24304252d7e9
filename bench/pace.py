"""How long a training step of several networks takes, side by side, so that each can be given as many as some minutes hold."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hubbleflow.files import write_json
from hubbleflow.galaxies import GalaxySet
from hubbleflow.training import Recipe, Training

Clock = Callable[[], float]  # `time.monotonic`, or `time.process_time` where the machine is shared
FIRST = 5  # steps, in which memory is found and kernels are chosen


def seconds_a_step(galaxies: GalaxySet, recipe: Recipe, seconds: float, clock: Clock) -> float:
    """Of training, averages and all, after the first few steps, watched for `seconds`."""
    with TemporaryDirectory() as folder:
        training = Training(galaxies, Path(folder) / "model", replace(recipe, minutes=None, steps=10**6, save_every=10**6))
        started = 0.0
        for step in training.run():
            now = clock()
            if step.number == FIRST:
                started = now
            elif step.number > FIRST and now - started > seconds:
                return (now - started) / (step.number - FIRST)
    raise AssertionError


def paces(
    galaxies: Callable[[], GalaxySet], recipes: Mapping[str, Recipe], path: Path, seconds: float, clock: Clock = time.monotonic
) -> dict[str, float]:
    """Seconds a step of each: timed once and kept in `path`, in two rounds, of which the faster counts."""
    known: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    if set(recipes) <= set(known):
        return known
    some = galaxies()
    rounds = [{name: seconds_a_step(some, recipe, seconds, clock) for name, recipe in recipes.items()} for _ in range(2)]
    found = {name: min(timed[name] for timed in rounds) for name in recipes}
    for name, step in found.items():
        print(f"{name:20s} {1000 * step:8.1f} ms a step of {recipes[name].with_defaults().batch_size}", file=sys.stderr)
    write_json(path, known | found)
    return known | found
