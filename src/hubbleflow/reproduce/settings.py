"""How a paper is reproduced: at which scale, for how long, on which galaxies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hubbleflow.errors import InputError
from hubbleflow.models.model import SCALES

MINUTES = 30.0  # of training each network at small scale, where nothing is said


@dataclass(frozen=True)
class Settings:
    """How to reproduce.

    Attributes:
        scale: "small" or "paper".
        minutes: of training every network, the judge included; at paper scale None is the authors' own number of steps.
        n: galaxies that each model draws.
        seed: of everything.
        others: further models in the same table, by their names; MODEL:STRETCH is a model on another stretch than its own.
        steps: of the samplers, at most; None is each paper's own.
        galaxies: of the mock sky, where no data is given.
        data: a set to train on, of which a fifth is kept to judge by.
        test: a set to judge by instead.
        pace: seconds a training step of a network ("judge" for the judge) on a machine with nothing else to do. Those that have one
            train for as many steps as the minutes hold at it, and not by the clock, so that a busy machine changes nothing.
    """

    scale: str = "small"
    minutes: float | None = None
    n: int = 2000
    seed: int = 0
    others: tuple[str, ...] = ("edm",)
    steps: int | None = None
    galaxies: int = 20_000
    data: Path | None = None
    test: Path | None = None
    pace: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise InputError(f"unknown scale {self.scale!r}: choose one of {', '.join(SCALES)}")
        for name in ("minutes", "n", "steps", "galaxies"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} must be positive, got {value}")
        if self.test is not None and self.data is None:
            raise InputError("a set to judge by was given and none to train on: give both, or the one to train on alone")

    @property
    def budget(self) -> float | None:
        """Minutes, or None for the authors' steps."""
        return self.minutes or (MINUTES if self.scale == "small" else None)
