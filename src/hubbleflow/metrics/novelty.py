"""Has the generator learnt, or learnt by heart? Does it draw new galaxies, or the same ones again?

With d(x) the distance of a galaxy to the most similar image of the training set (:mod:`hubbleflow.metrics.nearest`:
whichever way it is turned, relative to its own norm), and d_real that of real galaxies which the generator has not seen:

    memorisation     = share of generated galaxies with d < the 5 % quantile of d_real:  0.05 for a perfect generator
    training_copies  = share of galaxies that are copies of an image of the training set
    duplicates       = share of galaxies that are copies of another galaxy of their own set (of as many of each set)

A copy is much nearer to one image than to those that merely look alike: its d is under a third of the largest d among
the eight candidates (after Yoon et al. 2023, who take the second nearest; an image may have been copied more than once).
And it shares that image's noise: they differ by less than half of what two exposures of one galaxy differ by, sqrt(2)
times the noise (two large, smooth galaxies may be alike, but not their skies). Where the sky does not vary, as in some
8-bit pictures, the first must do.
The first asks whether generated galaxies stand suspiciously close to the training set as a whole, and a generator of
bright, smooth galaxies alone stands close without having copied any; the others ask for copies one by one.

Up to 4,000 galaxies of each set are asked about (chosen by the seed); they are looked for in the whole training set.
Real galaxies that are in the training set themselves are left out where they should say what has not been seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.galaxies import GalaxySet
from hubbleflow.metrics.examples import Pictures, pictures_of
from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared, prepare_rows
from hubbleflow.metrics.nearest import Nearest, Space, nearest, turned
from hubbleflow.metrics.sample import Sample, rows_in_bins

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from hubbleflow.metrics.bins import Bins

NEAREST = 0.05
SAME_NOISE = 0.5  # of what two exposures of one galaxy differ by
COPY = 1 / 3  # of the distance of images that merely look alike
ASKED = 4000  # galaxies of each set
SHOWN = 10
FEWEST = 40  # galaxies a side, for a quantile of 5 %
FEWEST_IN_A_CELL = 20
TWIN = "twin"  # columns
DISTANCE, COPIED, ROW, SYMMETRY = "training_distance", "training_copy", "training_row", "training_symmetry"


@dataclass(frozen=True)
class ClosestPairs:
    """The generated galaxies nearest to the training set, nearest first.

    Attributes:
        rows: of the generated and of the training set.
        distance: of each pair.
        generated, training: the two images, the second turned as it looks most like the first.
    """

    rows: tuple[tuple[int, int], ...]
    distance: tuple[float, ...]
    generated: Pictures
    training: Pictures

    def to_list(self) -> list[dict[str, float]]:
        """For metrics.json."""
        return [{"generated": g, "training": t, "distance": d} for (g, t), d in zip(self.rows, self.distance, strict=True)]


def twins(galaxies: GalaxySet, size: int, seed: int = 0, on_progress: Callable[[int], None] | None = None) -> dict[str, np.ndarray]:
    """`twin` of each galaxy: 1 where it has a copy among `size` of its set, 0 where not, NaN where it was not asked.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> some = GalaxySet(np.random.default_rng(0).normal(size=(30, 1, 16, 16)).astype("f4"), Survey.get("hsc-i"))
        >>> twins(GalaxySet.concatenate([some, some[:3]]), size=33)["twin"].sum().tolist()
        6.0
    """
    twin = np.full(len(galaxies), np.nan)
    if size > 2:
        rows = _chosen(len(galaxies), size, seed)
        own = _chosen(size, ASKED, seed)
        some = galaxies[rows]
        twin[rows[own]] = is_copy(nearest(some[own], some, own, on_progress=on_progress))
    return {TWIN: twin}


def beside_training(
    galaxies: GalaxySet, training: GalaxySet, seed: int = 0, on_progress: Callable[[int], None] | None = None
) -> dict[str, np.ndarray]:
    """What the training set has that is most like each galaxy: its row, by which symmetry it is to be turned, how far it is
    (`training_distance`), and whether the galaxy is a copy of it (`training_copy`, 1 or 0); NaN where a galaxy was not asked."""
    rows = _chosen(len(galaxies), ASKED, seed)
    near = nearest(galaxies[rows], training, on_progress=on_progress)
    found = {DISTANCE: near.distance, COPIED: is_copy(near), ROW: near.row, SYMMETRY: near.symmetry}
    columns = {name: np.full(len(galaxies), np.nan) for name in found}
    for name, values in found.items():
        columns[name][rows] = values
    return columns


def _chosen(n: int, most: int, seed: int) -> Int[np.ndarray, " k"]:
    return np.sort(np.random.default_rng([seed, 11]).permutation(n)[:most])


def is_copy(near: Nearest) -> Bool[np.ndarray, " n"]:
    """Whether what was found is the same image again."""
    same_noise = np.where(np.isfinite(near.noise), near.noise < SAME_NOISE, True)
    return (near.distance < COPY * near.others) & same_noise


def closest_pairs(generated: GalaxySet, training: GalaxySet, columns: Mapping[str, np.ndarray]) -> ClosestPairs:
    """The ten closest pairs, by what `beside_training` said."""
    asked = np.flatnonzero(np.isfinite(columns[DISTANCE]))
    first = asked[np.argsort(columns[DISTANCE][asked], kind="stable")[:SHOWN]]
    rows, symmetries = (columns[name][first].astype(int) for name in (ROW, SYMMETRY))
    theirs = pictures_of(training, rows)
    alike = [turned(image, symmetry) for image, symmetry in zip(theirs.images, symmetries, strict=True)]
    return ClosestPairs(
        tuple(zip(first.tolist(), rows.tolist(), strict=True)),
        tuple(columns[DISTANCE][first].tolist()),
        pictures_of(generated, first),
        Pictures(np.stack(alike), theirs.labels),
    )


def copied_share(training: GalaxySet, held_out: GalaxySet, generated: GalaxySet) -> tuple[float, float, float]:
    """(share of generated nearer than the nearest 5 % of held-out, median distance of held-out, of generated).

    Example:
        >>> from hubbleflow.survey import Survey
        >>> rng = np.random.default_rng(0)
        >>> seen, unseen = (GalaxySet(rng.normal(size=(60, 1, 8, 8)).astype("f4"), Survey.get("hsc-i")) for _ in range(2))
        >>> copied_share(seen, unseen, seen)[0]
        1.0
    """
    space = Space.of(training)
    real, drawn = (nearest(galaxies, training, space=space).distance for galaxies in (held_out, generated))
    return memorised_share(real, drawn), float(np.median(real)), float(np.median(drawn))


def memorised_share(real: Float[np.ndarray, " n"], generated: Float[np.ndarray, " m"]) -> float:
    """Share of the second under the 5 % quantile of the first."""
    return float(np.mean(generated < np.quantile(real, NEAREST)))


def _prepare_memorisation(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    a, b = (_column(sample, DISTANCE) for sample in (real, generated))
    seen = _column(real, COPIED) == 1
    note = f"{seen.sum()} real galaxies are in the training set: they were left out" if seen.any() else None
    statistic = partial(_memorisation, bins=len(bins))
    return prepare_rows(np.where(seen, np.nan, a), b, bins, statistic, ("share",), FEWEST, note, binned_only=False)


def _memorisation(
    a: Float[np.ndarray, "n 1"], i: Int[np.ndarray, " n"], b: Float[np.ndarray, "m 1"], j: Int[np.ndarray, " m"], bins: int
) -> Measurement:
    table = np.full((1, bins), np.nan)
    for column, (rows_a, rows_b) in enumerate(zip(rows_in_bins(i, bins), rows_in_bins(j, bins), strict=True)):
        if min(len(rows_a), len(rows_b)) >= FEWEST_IN_A_CELL:
            table[0, column] = memorised_share(a[rows_a, 0], b[rows_b, 0])
    return Measurement(memorised_share(a[:, 0], b[:, 0]), table)


def _prepare_share(column: str, real: Sample, generated: Sample, bins: Bins) -> Prepared:
    a, b = (_column(sample, column) for sample in (real, generated))
    prepared = prepare_rows(a, b, bins, partial(_share, bins=len(bins)), ("share",), binned_only=False)
    return replace(prepared, resolution=1 / max(1, min(len(prepared.real) // 2, len(prepared.generated))))


def _share(values: Float[np.ndarray, "n 1"], index: Int[np.ndarray, " n"], bins: int) -> Measurement:
    cells = [values[rows, 0].mean() if len(rows) >= FEWEST_IN_A_CELL else np.nan for rows in rows_in_bins(index, bins)]
    return Measurement(float(values.mean()) if len(values) else np.nan, np.array([cells]))


def _column(sample: Sample, name: str) -> Float[np.ndarray, "n 1"]:
    if name not in sample.pixels:
        if name == TWIN:
            raise NotComputable("needs images of both sets")
        raise NotComputable("needs the images that the generator was trained on, of the same survey and size: evaluate --training SET.h5")
    return np.asarray(sample.pixels[name], float)[:, None]


def _metric(name: str, question: str, prepare: Callable[[Sample, Sample, Bins], Prepared], kind: str, source: str) -> Metric:
    return Metric(name, question, "comparison" if kind == "comparison" else "single", "low", "share", source, prepare)


METRICS = (
    _metric(
        "memorisation",
        "How many generated galaxies are nearer to the training set than the nearest 5 % of unseen real ones (0.05 is right)?",
        _prepare_memorisation,
        "comparison",
        "distance to the nearest training image",
    ),
    _metric(
        "training_copies",
        "How many galaxies are copies of an image of the training set?",
        partial(_prepare_share, COPIED),
        "single",
        "nearest training image",
    ),
    _metric(
        "duplicates",
        "How many galaxies are copies of another one of their own set?",
        partial(_prepare_share, TWIN),
        "single",
        "nearest image of the same set",
    ),
)
