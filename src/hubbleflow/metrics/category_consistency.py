"""Does each kind of galaxy have its own colours and sizes? The two verdicts of Fan et al. (2025), category by category.

Their abstract names "the consistency of sample color and size distributions"; their formulas are not known here, so these are ours. For
each quantity x of a galaxy and each category k, between real values P and generated values Q of that category,

    W1 = int |F_P(x) - F_Q(x)| dx / s_k      in units of the real category's scatter s_k: half the range of the middle 68.3 %    (1)
    KS = max_x |F_P(x) - F_Q(x)|                                                                                                 (2)

and the mean over quantities and categories, with equal weights.

    colour    the mean colour indices of a galaxy: magnitudes of neighbouring bands, of the same pixels, subtracted (`g_r`, ...)
    size      the half-light radius, and the isophotal radius sqrt(area / pi), of the reference band, px

(1) sees by how much, (2) how clearly; a shift of 0.3 s_k of a Gaussian gives W1 = 0.3 and KS = 0.12. Sizes of the samples are matched
within each category, m_k = min(n_real,k // 2, n_generated,k), so that the floor (:mod:`hubbleflow.metrics.splits`) is right for sets whose
categories have other shares; categories with m_k < 10 are left out and named. Redshift plays no part, even where it is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import wasserstein_distance

from hubbleflow.metrics.bins import UNKNOWN, Bins
from hubbleflow.metrics.cells import FEWEST, distance_per_cell, kolmogorov_smirnov
from hubbleflow.metrics.metric import Metric, NotComputable, Prepared
from hubbleflow.metrics.sample import Sample, colours, reference, shared

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class _Quantities:
    """What is compared: the columns it is made of, the names of the rows it gives, and how."""

    columns: Callable[[Sample], list[str]]
    needs: str

    def of(self, sample: Sample, names: list[str]) -> Float[np.ndarray, "n q"]:
        values = sample.matrix(names)
        areas = [number for number, name in enumerate(names) if name.endswith("isophotal_area")]
        values[:, areas] = np.sqrt(np.where(values[:, areas] > 0, values[:, areas], np.nan) / np.pi)
        return values


COLOUR = _Quantities(colours, "measured colours in both sets: colours need two bands")
SIZE = _Quantities(lambda sample: reference(sample, "half_light_radius", "isophotal_area"), "measured sizes in both sets")


def scatter(values: Float[np.ndarray, "n q"]) -> Float[np.ndarray, " q"]:
    """Half the range of the middle 68.3 %: a Gaussian's standard deviation, which outliers do not move; NaN where it is none.

    Example:
        >>> scatter(np.random.default_rng(0).normal(5, 2, (100_000, 1))).round(1).tolist()
        [2.0]
    """
    spread = []
    for column in values.T:
        known = column[np.isfinite(column)]
        low, high = np.percentile(known, [15.87, 84.13]) if len(known) else (0.0, 0.0)
        spread.append((high - low) / 2 if high > low else np.nan)
    return np.array(spread)


def categories_of(real: Sample, generated: Sample, usable: tuple[np.ndarray, np.ndarray]) -> tuple[Bins, str | None]:
    """Categories that both sets have enough galaxies of to be compared, and a sentence about the others.

    Args:
        usable: rows of either set with at least one number.

    Raises:
        NotComputable: a set has no categories, or none of them is large enough.
    """
    names = [np.where(rows, sample.category, "") for sample, rows in zip((real, generated), usable, strict=True)]
    known = [sorted({str(name) for name in sample.category} - UNKNOWN) for sample in (real, generated)]
    for which, found in zip(("real", "generated"), known, strict=True):
        if not found:
            raise NotComputable(f"does not apply: the {which} set has no categories")
    matched = {name: min(int((names[0] == name).sum()) // 2, int((names[1] == name).sum())) for name in sorted({*known[0], *known[1]})}
    large = tuple(name for name, number in matched.items() if number >= FEWEST)
    small = [f"{name} ({number})" for name, number in matched.items() if name not in large]
    note = f"fewer than {FEWEST} galaxies a side: {', '.join(small)}" if small else None
    if not large:
        raise NotComputable(f"no category has {2 * FEWEST} usable real and {FEWEST} usable generated galaxies")
    index = [np.array([large.index(name) if name in large else -1 for name in column], int) for column in names]
    return Bins("category", large, tuple(map(float, range(len(large)))), None, index[0], index[1]), note


def _prepare(quantities: _Quantities, distance: Callable[[np.ndarray, np.ndarray], float], scaled: bool) -> Callable[..., Prepared]:
    def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
        names = shared(real, generated, quantities.columns(real))
        if not names:
            raise NotComputable(f"does not apply: needs {quantities.needs}")
        rows = [quantities.of(sample, names) for sample in (real, generated)]
        kinds, note = categories_of(real, generated, (np.isfinite(rows[0]).any(axis=1), np.isfinite(rows[1]).any(axis=1)))
        if scaled:
            units = np.array([scatter(rows[0][kinds.real == number]) for number in range(len(kinds))])
            rows = [values / units[index] for values, index in zip(rows, (kinds.real, kinds.generated), strict=True)]
        keep = [index >= 0 for index in (kinds.real, kinds.generated)]
        return Prepared(
            lambda a, i, b, j: distance_per_cell(distance, a, i, b, j, len(kinds)),
            tuple(name.replace("isophotal_area", "isophotal_radius") for name in names),
            rows[0][keep[0]],
            kinds.real[keep[0]],
            rows[1][keep[1]],
            kinds.generated[keep[1]],
            minimum=FEWEST,
            note=note,
            strata=kinds,
        )

    return prepare


def _metrics(name: str, words: str, quantities: _Quantities) -> tuple[Metric, Metric]:
    question = f"Has each category the {words} of its real galaxies?"
    source = "question of Fan et al. 2025, formula ours"
    return (
        Metric(f"category_{name}", question, "comparison", "low", "real scatter", source, _prepare(quantities, wasserstein_distance, True)),
        Metric(f"category_{name}_ks", question, "comparison", "low", "", source, _prepare(quantities, kolmogorov_smirnov, False)),
    )


METRICS = (*_metrics("colour", "colours", COLOUR), *_metrics("size", "sizes", SIZE))
