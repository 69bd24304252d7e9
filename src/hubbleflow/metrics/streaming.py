"""What metrics need of every image, block by block, on all cores, and not twice: measurements, pixel statistics, features.

Blocks are always the same rows of a set, so the numbers do not depend on the number of workers; images on disk are read by whoever looks at
them. What was computed of the same pixels by the same code before is taken from the cache (:mod:`hubbleflow.cache`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.cache import Cache, farm_for, pixel_blocks, source_hash
from hubbleflow.counting import counting
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import Recipe, measure, named
from hubbleflow.measure.columns import column_table
from hubbleflow.measured_table import MeasuredTable
from hubbleflow.metrics.metric import pixel_functions
from hubbleflow.metrics.nearest import nearest
from hubbleflow.metrics.novelty import beside_training, twins

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.metric import PixelColumns

    Features = Callable[[GalaxySet], Float[np.ndarray, "n d"]]

AT_ONCE = 64  # galaxies that a slow network is shown at a time
VERSION = "made_of"  # attribute of a function that makes features: a hash of its weights, without which they are not kept


@dataclass(frozen=True)
class Streaming:
    """How a set is gone through.

    Attributes:
        cache: what was computed before.
        workers: processes for large sets; None takes all cores.
        progress: whether to show bars on stderr.
    """

    cache: Cache = field(default_factory=Cache)
    workers: int | None = None
    progress: bool = True

    def content_hash(self, galaxies: GalaxySet | MeasuredTable) -> str:
        """The content hash of a set or a table."""
        return galaxies.content_hash() if isinstance(galaxies, MeasuredTable) else self.cache.content_hash(galaxies, self.workers)

    def measured(self, galaxies: GalaxySet, which: str, recipe: Recipe) -> GalaxySet:
        """The set with columns measured by a recipe."""
        asked = [json.dumps(recipe.attrs(), sort_keys=True), *column_table(galaxies.survey, recipe)]
        columns = self.cache.arrays(
            "measurements",
            f"{which} set",
            self._made_of(galaxies, *asked),
            lambda: measure(galaxies, self.workers, self.progress, recipe).columns,
        )
        return named(columns, galaxies, recipe).added_to(galaxies)

    def pixel_columns(self, galaxies: GalaxySet, which: str) -> dict[str, np.ndarray]:
        """What every metric wants to know of the pixels."""
        found: dict[PixelColumns, dict[str, np.ndarray]] = {}
        made_of = {function: self._made_of(galaxies, source_hash(function)) for function in pixel_functions()}
        for function, parts in made_of.items():
            known = self.cache.get(_kind(function), f"{which} set", parts)
            if known is not None:
                found[function] = known
        missing = tuple(function for function in made_of if function not in found)
        for function, columns in zip(missing, self._looked_at(galaxies, which, missing), strict=True):
            self.cache.put(_kind(function), made_of[function], columns)
            found[function] = columns
        return {name: values for function in made_of for name, values in found[function].items()}

    def features(self, galaxies: GalaxySet, which: str, name: str, function: Features) -> Float[np.ndarray, "n d"]:
        """What a network makes of every image.

        Raises:
            InputError: that is not one row a galaxy.
        """
        weights = getattr(function, VERSION, None)
        if weights is None:
            values = np.asarray(function(galaxies))
        else:
            parts = self._made_of(galaxies, name, str(weights))
            make = lambda: {"features": np.asarray(function(galaxies))}  # noqa: E731
            values = self.cache.arrays(f"features {name}", f"{which} set", parts, make)["features"]
        if values.ndim != 2 or len(values) != len(galaxies):
            raise InputError(f"{name} gave features of shape {values.shape} for the {which} set, expected ({len(galaxies)}, d)")
        return values

    def image_features(self, galaxies: GalaxySet, rows: Int[np.ndarray, " k"], which: str, function: PixelColumns) -> dict[str, np.ndarray]:
        """What a slow network makes of the images of some galaxies."""
        weights = getattr(function, VERSION, None)
        parts = self._made_of(galaxies, "rows", str(rows.tolist()), str(weights), source_hash(type(function)))

        def make() -> dict[str, np.ndarray]:
            found: list[dict[str, np.ndarray]] = []
            with counting(f"{which} images", len(rows), shown=self.progress) as advance:
                for first in range(0, len(rows), AT_ONCE):
                    some = rows[first : first + AT_ONCE]
                    found.append(function(np.asarray(galaxies.images[some]), galaxies.survey))
                    advance(len(some))
            return {name: np.concatenate([part[name] for part in found]) for name in found[0]}

        return make() if weights is None else self.cache.arrays("image features", f"{which} set", parts, make)

    def twins(self, galaxies: GalaxySet, which: str, size: int, seed: int) -> dict[str, np.ndarray]:
        """Which galaxies have a copy among `size` of their own set."""

        def make() -> dict[str, np.ndarray]:
            with counting(f"{which} twins", size, shown=self.progress) as advance:
                return twins(galaxies, size, seed, advance)

        return self.cache.arrays("twins", f"{which} set", self._made_of(galaxies, f"{size} {seed}", source_hash(nearest)), make)

    def beside_training(self, galaxies: GalaxySet, which: str, training: GalaxySet, seed: int) -> dict[str, np.ndarray]:
        """What the training set has that is most like each galaxy."""

        def make() -> dict[str, np.ndarray]:
            with counting(f"{which} beside training", len(training), shown=self.progress) as advance:
                return beside_training(galaxies, training, seed, advance)

        parts = [*self._made_of(galaxies, str(seed), source_hash(nearest)), *self._made_of(training)]
        return self.cache.arrays("training neighbours", f"{which} set", parts, make)

    def _looked_at(self, galaxies: GalaxySet, which: str, functions: tuple[PixelColumns, ...]) -> list[dict[str, np.ndarray]]:
        """The columns that each of the functions gives, in one pass."""
        pieces: list[dict[str, list[np.ndarray]]] = [{} for _ in functions]
        if not functions:
            return []
        tasks = (_Look(block, functions) for block in pixel_blocks(galaxies))
        with (
            farm_for(len(galaxies), self.workers) as farm,
            counting(f"{which} pixels", len(galaxies), shown=self.progress) as advance,
        ):
            for n, found in farm.map(_look, tasks):
                for into, columns in zip(pieces, found, strict=True):
                    for name, values in columns.items():
                        into.setdefault(name, []).append(values)
                advance(n)
        return [{name: np.concatenate(parts) for name, parts in columns.items()} for columns in pieces]

    def _made_of(self, galaxies: GalaxySet, *parts: str) -> list[str]:
        return [self.cache.hash_of(galaxies, self.workers), *parts] if self.cache else []


@dataclass(frozen=True)
class _Look:
    """A block for one worker, and what to ask of it."""

    block: GalaxySet
    functions: tuple[PixelColumns, ...]


def _look(task: _Look) -> tuple[int, list[dict[str, np.ndarray]]]:
    images = np.asarray(task.block.images[:])
    return len(images), [function(images, task.block.survey) for function in task.functions]


def _kind(function: PixelColumns) -> str:
    """What a function's columns are called: "noise" for those of metrics/noise.py."""
    return function.__module__.rpartition(".")[2].replace("_", " ")
