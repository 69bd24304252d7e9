"""Galaxies of which there are numbers and no images: somebody's catalogue, judged by the same metrics as far as numbers go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.files import content_hash
from hubbleflow.galaxy_file import as_numbers, as_text
from hubbleflow.measured_file import canonical
from hubbleflow.survey import Survey

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped


@dataclass
class MeasuredTable:
    """What a :class:`~hubbleflow.galaxies.GalaxySet` says, without its pixels.

    Attributes:
        survey: whose bands the columns' names begin with, and what their units mean.
        columns: name -> (n,) values: `redshift`, `category`, anything else.
        measured: name -> (n,) values under our names for what `hubbleflow measure` measures (GalaxiesML's, where it has one).
        measured_attrs: how it was measured, where the table says so.
        provenance: where it comes from.
        path: of the file.

    Raises:
        InputError: there are no rows, columns of different lengths, or redshifts that are no numbers.

    Example:
        >>> table = MeasuredTable(Survey.get("hsc-i"), {"redshift": np.array([0.2, 0.4])}, {"i_mag": np.array([20.0, 21.0])})
        >>> len(table), table.redshift.tolist(), table.category.tolist()
        (2, [0.2, 0.4], ['', ''])
    """

    survey: Survey
    columns: dict[str, np.ndarray]
    measured: dict[str, np.ndarray]
    measured_attrs: dict[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def __post_init__(self) -> None:
        lengths = {values.shape for values in (*self.columns.values(), *self.measured.values())}
        if len(lengths) != 1 or len(next(iter(lengths))) != 1:
            raise InputError(f"a table needs one value a galaxy in every column, got columns of shapes {sorted(map(str, lengths))}")
        if not len(self):
            raise InputError(f"{self.path or 'the table'} has no rows")
        if "category" in self.columns:
            self.columns["category"] = as_text(self.columns["category"])
        if "redshift" in self.columns:
            self.columns["redshift"] = as_numbers(self.columns["redshift"], "redshift")

    def __len__(self) -> int:
        return len(next(iter((*self.columns.values(), *self.measured.values()))))

    @property
    def redshift(self) -> Float[np.ndarray, " n"]:
        """(n,) redshifts; NaN where unknown."""
        return np.asarray(self.columns.get("redshift", np.full(len(self), np.nan)), float)

    @property
    def category(self) -> Shaped[np.ndarray, " n"]:
        """(n,) category names; "" where unknown."""
        return np.asarray(self.columns.get("category", np.full(len(self), "")), str)

    def content_hash(self) -> str:
        """SHA-256 over the survey and all columns."""
        both = {**{f"measured {name}": values for name, values in self.measured.items()}, **self.columns}
        return content_hash(self.survey.to_json(), *(content_hash(name, "\n".join(map(str, both[name].tolist()))) for name in sorted(both)))

    @property
    def recipe(self) -> dict[str, str]:
        """What `measured` was measured by, as text; empty where the table does not say."""
        return {name: canonical(value) for name, value in self.measured_attrs.items()}
