"""What a metric is, and how metrics are found: one file a question, and no list to edit.

A metric turns each galaxy into a row of numbers (`prepare`, once) and sets of rows into a number (`statistic`, for
every split):

    compare two sets    statistic(rows_a, bins_a, rows_b, bins_b) -> Measurement      e.g. a KL divergence
    describe one set    statistic(rows, bins) -> Measurement                          e.g. a redshift loss

The splits, floors, errors and notes are made for all metrics alike in :mod:`hubbleflow.metrics.splits`. To add a
metric, put a module in this package with a tuple `METRICS` of :class:`Metric`; if it needs pixels, let `PIXEL_COLUMNS`
name a function `(images, survey) -> {column: (n, ...) values}`, which is then run over both sets in blocks and fills
`Sample.pixels`. What a network makes of the images comes from outside, as `Sample.features`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hubbleflow.metrics.result import Better

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Shaped

    from hubbleflow.metrics.bins import Bins
    from hubbleflow.metrics.sample import Sample
    from hubbleflow.survey import Survey

    PixelColumns = Callable[[Float[np.ndarray, "n band y x"], Survey], dict[str, Float[np.ndarray, "n ..."]]]


class NotComputable(Exception):
    """Why a metric has no value for these sets, as one sentence; becomes the result's note."""


@dataclass(frozen=True)
class Measurement:
    """A number, and the same number per quantity and bin (NaN where a cell has too few galaxies)."""

    overall: float
    table: Float[np.ndarray, "quantity bin"]


@dataclass(frozen=True)
class Prepared:
    """Rows of both sets, ready to be split.

    Attributes:
        statistic: see the module's docstring.
        quantities: names of the table's rows.
        real, generated: one row of numbers a galaxy, of any further shape; only galaxies that the metric can use.
        real_bins, generated_bins: bin of each of those rows, -1 for none.
        minimum: fewest rows a side on which the statistic means anything.
        note: what a reader must know.
        resolution: smallest step that the statistic can make at these sizes (one galaxy of m, for a fraction): the
            floor's scatter is taken to be at least that, because splits of a set in which nothing happens scatter by
            nothing at all.
        signed: the statistic of a description keeps its sign in distances, and is told as its size: a bias. Halves of one set have
            biases of opposite signs and equal sizes, whose difference says nothing of how far they stray.
        strata: bins of the metric's own in place of the report's, in each of which the sizes are matched; None where the
            report's are used and the sizes are matched over all of them.
    """

    statistic: Callable[..., Measurement]
    quantities: tuple[str, ...]
    real: Shaped[np.ndarray, "n_real ..."]
    real_bins: Int[np.ndarray, " n_real"]
    generated: Shaped[np.ndarray, "n_generated ..."]
    generated_bins: Int[np.ndarray, " n_generated"]
    minimum: int = 20
    note: str | None = None
    resolution: float = 0.0
    signed: bool = False
    strata: Bins | None = None


@dataclass(frozen=True)
class Metric:
    """One question about two sets of galaxies.

    Attributes:
        name: key in metrics.json.
        question: one sentence.
        kind: "comparison" of two sets, or a number that describes a "single" set.
        better: which way is better.
        unit: of the value.
        source: paper and equation.
        prepare: (real, generated, bins) -> Prepared; raises NotComputable with a sentence.
        floor: whether real against real means anything for this question.
        splits: most random splits, for a statistic that costs much; None is as many as are asked for.
        largest: most galaxies a side in a split; None is all there are.
    """

    name: str
    question: str
    kind: Literal["comparison", "single"]
    better: Better
    unit: str
    source: str
    prepare: Callable[[Sample, Sample, Bins], Prepared] = field(repr=False)
    floor: bool = True
    splits: int | None = None
    largest: int | None = None


def metric_modules() -> list[Any]:
    """Every module of this package, imported, in alphabetical order."""
    names = sorted(info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return [importlib.import_module(f"hubbleflow.metrics.{name}") for name in names]


def all_metrics() -> list[Metric]:
    """Every metric of every module of this package.

    Example:
        >>> "galaxy_kl" in [metric.name for metric in all_metrics()]
        True
    """
    found = [metric for module in metric_modules() for metric in getattr(module, "METRICS", ())]
    names = [metric.name for metric in found]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise RuntimeError(f"two metrics share a name: {', '.join(sorted(repeated))}")
    return found


def pixel_functions() -> list[PixelColumns]:
    """Every function that a metric wants to be run over the images."""
    return [module.PIXEL_COLUMNS for module in metric_modules() if hasattr(module, "PIXEL_COLUMNS")]


def prepare_rows(
    real: Shaped[np.ndarray, "n_real quantity"],
    generated: Shaped[np.ndarray, "n_generated quantity"],
    bins: Bins,
    statistic: Callable[..., Measurement],
    quantities: Sequence[str],
    minimum: int = 20,
    note: str | None = None,
    binned_only: bool = True,
) -> Prepared:
    """Keep rows with at least one finite number (and, with `binned_only`, in a bin) and say what statistic they are for."""
    keep = [
        np.isfinite(rows).any(axis=1) & ((index >= 0) | (not binned_only))
        for rows, index in ((real, bins.real), (generated, bins.generated))
    ]
    return Prepared(
        statistic,
        tuple(quantities),
        real[keep[0]],
        bins.real[keep[0]],
        generated[keep[1]],
        bins.generated[keep[1]],
        minimum,
        note,
    )


def mean_of_finite(values: Float[np.ndarray, ...], axis: int | None = None) -> Any:
    """Mean over finite values, NaN (without a warning) where there are none.

    Example:
        >>> mean_of_finite(np.array([1.0, np.nan, 3.0])), mean_of_finite(np.array([np.nan]))
        (2.0, nan)
    """
    known = np.isfinite(values)
    total, number = np.where(known, values, 0.0).sum(axis=axis), known.sum(axis=axis)
    mean = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return float(mean) if mean.ndim == 0 else mean


def scatter_of_finite(values: Float[np.ndarray, ...], axis: int | None = None) -> Any:
    """Standard deviation (n - 1) over finite values, NaN where there are fewer than two."""
    known = np.isfinite(values)
    mean = mean_of_finite(values, axis)
    centred = np.where(known, values - (mean if axis is None else np.expand_dims(mean, axis)), 0.0)
    number = known.sum(axis=axis)
    scatter = np.where(number > 1, np.sqrt((centred**2).sum(axis=axis) / np.maximum(number - 1, 1)), np.nan)
    return float(scatter) if scatter.ndim == 0 else scatter
