"""Which galaxies are shown: chosen by redshift or category and by the seed, never by how they look.

Lizarraga 2024, fig. 5: real galaxies over generated ones of the same redshifts. Li 2024, fig. 1: a low- and a
high-redshift galaxy of each set in every band. For sets with categories: a few galaxies of each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.measured_table import MeasuredTable
from hubbleflow.metrics.bins import UNKNOWN

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.galaxies import GalaxySet

PAIRS = 10
A_CATEGORY = 8
MOST_CATEGORIES = 12
LOW, HIGH = 0.1, 0.9  # quantiles of the real redshifts at which "low" and "high" are shown


@dataclass(frozen=True)
class Pictures:
    """A few galaxies and their labels."""

    images: Float[np.ndarray, "n band y x"]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Examples:
    """Galaxies for the figures.

    Attributes:
        real, generated: side by side, in order of redshift where both sets have one.
        bands: a low- and a high-redshift galaxy, of the real and of the generated set.
        categories: name -> (real, generated).
    """

    real: Pictures
    generated: Pictures
    bands: tuple[Pictures, Pictures]
    categories: dict[str, tuple[Pictures, Pictures]] = field(default_factory=dict)


def choose_examples(real: GalaxySet | MeasuredTable, generated: GalaxySet | MeasuredTable, seed: int = 0) -> Examples:
    """Pick galaxies by redshift and seed; only the chosen images are read from disk. None where a side has no images.

    Example:
        >>> from hubbleflow.galaxies import GalaxySet
        >>> from hubbleflow.survey import Survey
        >>> columns = {"redshift": np.linspace(0.1, 1.0, 30)}
        >>> sky = GalaxySet(np.zeros((30, 1, 8, 8), np.float32), Survey.get("hsc-i"), columns)
        >>> choose_examples(sky, sky).real.labels[0]
        'z = 0.13'
    """
    if isinstance(real, MeasuredTable) or isinstance(generated, MeasuredTable):
        none = Pictures(np.zeros((0, 1, 1, 1), np.float32), ())
        return Examples(none, none, (none, none))
    rng = np.random.default_rng([seed, 5])
    redshifts = real.redshift, generated.redshift
    if all(np.isfinite(z).sum() > 1 for z in redshifts):
        known = redshifts[0][np.isfinite(redshifts[0])]
        targets = np.quantile(known, np.linspace(0.02, 0.98, PAIRS))
        rows = [_nearest(z, targets) for z in redshifts]
        ends = np.quantile(known, [LOW, HIGH])
        band_rows = [_nearest(z, ends) for z in redshifts]
    else:
        rows = [np.sort(rng.permutation(len(s))[:PAIRS]) for s in (real, generated)]
        band_rows = [rng.permutation(len(s))[:2] for s in (real, generated)]
    bands = [pictures_of(s, r, prefix) for s, r, prefix in zip((real, generated), band_rows, ("real", "generated"), strict=True)]
    return Examples(pictures_of(real, rows[0]), pictures_of(generated, rows[1]), (bands[0], bands[1]), _categories(real, generated, rng))


def _nearest(redshift: Float[np.ndarray, " n"], targets: Float[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
    """For each target the nearest galaxy that is not taken yet."""
    distance = np.abs(np.where(np.isfinite(redshift), redshift, np.inf)[None, :] - targets[:, None])
    rows = []
    for line in distance[:, : len(redshift)]:
        row = int(np.argmin(line))
        if np.isfinite(line[row]):
            rows.append(row)
            distance[:, row] = np.inf
    return np.array(rows, int)


def pictures_of(galaxies: GalaxySet, rows: Int[np.ndarray, " k"], prefix: str = "") -> Pictures:
    """Some galaxies of a set, with their labels; only these are read from disk."""
    images = np.stack([galaxies.images[int(row)] for row in rows]) if len(rows) else np.zeros((0, *galaxies.images.shape[1:]), np.float32)
    labels = tuple(", ".join(filter(None, [prefix, label_of(galaxies, int(row))])) for row in rows)
    return Pictures(np.nan_to_num(images, nan=0.0, posinf=0.0, neginf=0.0), labels)


def label_of(galaxies: GalaxySet, row: int) -> str:
    """ "z = 0.42", the category, both, or nothing."""
    z, category = galaxies.redshift[row], str(galaxies.category[row])
    return ", ".join(filter(None, [f"z = {z:.2f}" if np.isfinite(z) else "", category if category not in UNKNOWN else ""]))


def _categories(real: GalaxySet, generated: GalaxySet, rng: np.random.Generator) -> dict[str, tuple[Pictures, Pictures]]:
    names = sorted((set(real.category) & set(generated.category)) - UNKNOWN)[:MOST_CATEGORIES]
    sheets = {}
    for name in names:
        rows = [rng.permutation(np.flatnonzero(s.category == name))[:A_CATEGORY] for s in (real, generated)]
        sheets[str(name)] = (pictures_of(real, rows[0]), pictures_of(generated, rows[1]))
    return sheets
