"""How long a training would take on this machine: one step of the network itself, on two stamps, timed."""

from __future__ import annotations

import time

import torch

from hubbleflow.conditions import Conditions
from hubbleflow.galaxies import GalaxySet
from hubbleflow.models import GenerativeModel, TrainingSet, get_model
from hubbleflow.training import Recipe

STAMPS = 2
FORWARD = 1 / 3  # of a training step: the rest is the way back
UNITS = ((365.25 * 86400, "years"), (86400, "days"), (3600, "hours"), (60, "minutes"))


def estimate(galaxies: GalaxySet, recipe: Recipe, n: int) -> tuple[float, float]:
    """Seconds of training and of drawing n galaxies, one network of the recipe's size on this machine's CPU."""
    recipe, kind = recipe.with_defaults(), get_model(recipe.model)
    conditions = Conditions.fit(recipe.conditions or (), galaxies)
    model = kind(**kind.arguments_at(TrainingSet(len(galaxies.bands), galaxies.image_size, conditions, 0.5), recipe.scale))
    x = torch.randn(STAMPS, len(galaxies.bands), galaxies.image_size, galaxies.image_size)
    c = conditions.encode({name: galaxies.column(name)[:STAMPS] for name in conditions.names}, extrapolate=True)
    seconds = []
    for _ in range(2):  # the first also allocates
        started = time.perf_counter()
        model.loss(x, c, torch.Generator().manual_seed(0)).backward()
        seconds.append((time.perf_counter() - started) / STAMPS)
    training = 60 * recipe.minutes if recipe.minutes else min(seconds) * (recipe.steps or 1) * (recipe.batch_size or 1)
    return training, min(seconds) * FORWARD * n * kind.default_steps() if issubclass(kind, GenerativeModel) else 0.0


def in_words(seconds: float) -> str:
    """A rough duration.

    Example:
        >>> in_words(40), in_words(5400), in_words(4e7)
        ('1 minutes', '1.5 hours', '1.3 years')
    """
    for unit, name in UNITS:
        if seconds >= unit or name == "minutes":
            return f"{max(seconds / unit, 1):.2g} {name}"
    raise AssertionError
