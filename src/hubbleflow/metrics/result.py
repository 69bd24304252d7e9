"""What a metric says: a number, its error, and the same number for real galaxies against real galaxies.

A value alone says nothing: the same generator scores a different Wasserstein distance with 200 galaxies than with
20,000. So every value stands beside its *floor*, the same computation between two halves of the real set of the same
size, and beside the floor's own scatter:

    z = (distance - floor) / floor_error            p = P(T_{S-1} >= z / sqrt(1 + 1/S))

where `distance` is the value itself for a metric that compares two sets, and |value - real| for one that describes a
single set (a generator whose galaxies have a *lower* redshift loss than real ones is not right either). Where a comparison
should be high (a coverage), z is (floor - distance) / floor_error. See :mod:`hubbleflow.metrics.splits` and, for p and for
what many looks do to it, :mod:`hubbleflow.metrics.corrections`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

Better = Literal["low", "high"]
SIGMA_OF_A_DIFFERENCE = 2.0  # below this z a value is within the scatter of real against real
LEVEL = 0.01  # a value counts as different from the real set where p, corrected for all looks of its report, is below this


@dataclass(frozen=True)
class Result:
    """One metric's answer for one pair of sets.

    Attributes:
        name: the metric's name, as in metrics.json.
        value: the number for the generated set; NaN where it could not be computed (`note` says why).
        error: standard deviation of the value under resampling of both sets.
        floor: the number for real against real galaxies at the same sizes (for a single-set metric: the mean
            |difference| of the number between two real halves); None where the question has no real-against-real form.
        floor_error: scatter of the floor over random splits: how far one comparison of that size strays by chance.
        better: which way is better.
        real: the number for the real set itself, for metrics that describe a single set; else None.
        unit: of value, error, floor and real ("" = none).
        description: the question, in one sentence.
        per_bin: the same numbers per quantity and redshift (or category) bin: "bins", "edges", "quantities" and, each
            as [quantity][bin], "value", "error", "floor", "floor_error", "n_real", "n_generated" and, for single-set
            metrics, "real".
        note: what a reader must know (rows left out, sizes too small); None where there is nothing.
        distance: what is held against the floor: `value`, or |value - real|.
        z: (distance - floor) / floor_error.
        p: probability that real against real galaxies come out at least as far apart, by Student's t; None without a floor.
        source: paper and equation.
        p_rank: share of real-against-real splits at least as far apart.
        p_corrected: p, corrected for all metrics of the report; None outside of one.
        minimum: fewest usable galaxies a side (real ones: twice as many, a half being held against the other); None where the
            sets lack what is needed to say.

    Example:
        >>> result = Result("w1_magnitude", 0.30, 0.02, 0.10, 0.02, "low", distance=0.30, z=10.0, p_corrected=1e-9)
        >>> result.within_floor, result.differs, round(result.ratio, 1)
        (False, True, 3.0)
    """

    name: str
    value: float
    error: float
    floor: float | None
    floor_error: float | None
    better: Better
    real: float | None = None
    unit: str = ""
    description: str = ""
    per_bin: dict[str, Any] | None = None
    note: str | None = None
    distance: float = math.nan
    z: float | None = None
    p: float | None = None
    source: str = ""
    p_rank: float | None = None
    p_corrected: float | None = None
    minimum: int | None = None

    @property
    def computed(self) -> bool:
        """Whether there is a value at all."""
        return math.isfinite(self.value)

    @property
    def within_floor(self) -> bool | None:
        """Whether the distance is what chance gives between two real sets (z < 2); None where there is no floor to hold it against."""
        return None if self.z is None or not self.computed else self.z < SIGMA_OF_A_DIFFERENCE

    @property
    def differs(self) -> bool | None:
        """Whether the distance is more than chance after the correction for many looks (1 %); None where there is nothing to say it by."""
        return None if self.p_corrected is None or not self.computed else self.p_corrected < LEVEL

    @property
    def ratio(self) -> float | None:
        """Distance over floor: how many times further than real galaxies are from real galaxies; None without a positive floor."""
        return self.distance / self.floor if self.computed and self.floor is not None and self.floor > 0 else None

    def cell_z(self) -> Float[np.ndarray, "quantity bin"] | None:
        """z of every cell of `per_bin`, NaN where a cell has too few galaxies; None without a table of floors."""
        table = self.per_bin
        if not self.computed or not table or not table.get("floor"):
            return None
        distance, floor, scatter = (np.array(table[key], float) for key in ("distance", "floor", "floor_error"))
        sense = -1 if self.better == "high" and self.real is None else 1  # of being worse, for a comparison of two sets
        return np.where(scatter > 0, sense * (distance - floor) / np.where(scatter > 0, scatter, 1.0), np.nan)

    def worst_cell(self) -> tuple[str, str] | None:
        """(quantity, bin) furthest above its own floor, in the floor's scatter; None without a table of floors."""
        z = self.cell_z()
        if self.per_bin is None or z is None or not np.isfinite(z).any():
            return None
        row, column = np.unravel_index(np.nanargmax(z), z.shape)
        return self.per_bin["quantities"][row], self.per_bin["bins"][column]

    def to_dict(self) -> dict[str, Any]:
        """The entry of metrics.json; numbers that do not exist are NaN here and null in the file.

        Example:
            >>> sorted(Result("a", 1.0, 0.1, 0.5, 0.1, "low").to_dict())[:4]
            ['better', 'description', 'differs', 'distance']
        """
        entry: dict[str, Any] = {
            "value": self.value,
            "error": self.error,
            "floor": self.floor,
            "floor_error": self.floor_error,
            "better": self.better,
            "distance": self.distance,
            "ratio": self.ratio,
            "z": self.z,
            "p": self.p,
            "p_corrected": self.p_corrected,
            "p_rank": self.p_rank,
            "within_floor": self.within_floor,
            "differs": self.differs,
            "minimum": self.minimum,
            "unit": self.unit,
            "description": self.description,
            "source": self.source,
        }
        if self.real is not None:
            entry["real"] = self.real
        if self.note is not None:
            entry["note"] = self.note
        if self.per_bin is not None:
            entry["per_bin"] = self.per_bin
        return entry
