"""Errors and floors: every number is held against the same number for real galaxies against real galaxies.

With m = min(n_real // 2, n_generated) and S random splits s of the rows that a metric can use, A_s and B_s disjoint
sets of m real galaxies, G_s m generated ones and G*_s a bootstrap sample (with replacement) of G_s:

    comparison of two sets T(a, b)                        description of one set T(a)
    value       = mean_s T(A_s, G_s)                      T(all generated)
    error       = std_s  T(A_s, G*_s)                     std_s T(bootstrap sample of all generated)
    floor       = mean_s T(A_s, B_s)                      mean_s |T(A_s) - T(B_s)|
    floor_error = std_s  T(A_s, B_s)                      std_s  |T(A_s) - T(B_s)|
    distance    = value                                   mean_s |T(A_s) - T(G_s)|          real = T(all real)

Value and floor so have the same sizes, hence the same bias of a finite sample (a KL divergence, a Wasserstein distance,
a Frechet distance of two samples of one population is never zero). `floor_error` is the scatter of ONE comparison, not
of a mean: under the hypothesis that generated galaxies are drawn from the real population, the distance strays from the
floor by no more than that, so z = (distance - floor) / floor_error is a conservative score (it is a permutation test
whose scatter is estimated from S splits). How likely such a z is by chance: :mod:`hubbleflow.metrics.corrections`.

A metric with strata (categories, say) has m for each of them, and its splits and bootstrap samples are drawn in each.

A costly metric may ask for fewer splits, and for no more than its `largest` galaxies a side.

Sizes: fewer than `minimum` usable rows a side (20 unless a metric says otherwise) give no value but a sentence that
says so.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.metrics.corrections import tail_probability
from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared, mean_of_finite, scatter_of_finite
from hubbleflow.metrics.result import Result

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins
    from hubbleflow.metrics.sample import Sample

SPLITS = 40


def judge(metric: Metric, real: Sample, generated: Sample, bins: Bins, seed: int = 0, splits: int = SPLITS) -> Result:
    """The result of one metric on two sets; a metric that cannot be computed gives a Result whose note says why.

    Deterministic: the random splits depend on `seed` and the metric's name only, so adding a metric changes no other
    number.
    """
    rng = np.random.default_rng([seed, zlib.crc32(metric.name.encode())])
    minimum = None
    try:
        prepared = metric.prepare(real, generated, bins)
        minimum = prepared.minimum
        bins = prepared.strata or bins
        matched = _matched_sizes(prepared, metric.largest)
    except NotComputable as reason:
        nan = float("nan")
        floor = nan if metric.floor else None
        return Result(
            metric.name,
            nan,
            nan,
            floor,
            floor,
            metric.better,
            None,
            metric.unit,
            metric.question,
            None,
            str(reason),
            source=metric.source,
            minimum=minimum,
        )
    splits = min(splits, metric.splits or splits)
    if metric.kind == "comparison":
        return _comparison(metric, prepared, bins, matched, splits, rng)
    return _description(metric, prepared, bins, matched, splits, rng)


def _matched_sizes(prepared: Prepared, largest: int | None) -> list[int]:
    """m, one a stratum."""
    if prepared.strata is not None:
        counts = [np.bincount(index, minlength=len(prepared.strata)).tolist() for index in (prepared.real_bins, prepared.generated_bins)]
        sizes = [min(n_real // 2, n_generated) for n_real, n_generated in zip(*counts, strict=True)]
        share = min(1.0, largest / max(sum(sizes), 1)) if largest else 1.0
        return [int(share * size) for size in sizes]
    n_real, n_generated, minimum = len(prepared.real), len(prepared.generated), prepared.minimum
    if n_real // 2 < minimum or n_generated < minimum:
        raise NotComputable(
            f"needs {2 * minimum} usable real and {minimum} usable generated galaxies, has {n_real} and {n_generated}: give larger sets"
        )
    return [min(n_real // 2, n_generated, largest or n_generated)]


def _draw(prepared: Prepared, matched: list[int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows A, B and G, stratum after stratum."""
    if prepared.strata is None:
        (m,) = matched
        order = rng.permutation(len(prepared.real))
        return order[:m], order[m : 2 * m], rng.permutation(len(prepared.generated))[:m]
    a, b, g = [], [], []
    for number, m in enumerate(matched):
        order, made = (rng.permutation(np.flatnonzero(index == number)) for index in (prepared.real_bins, prepared.generated_bins))
        a.append(order[:m])
        b.append(order[m : 2 * m])
        g.append(made[:m])
    return np.concatenate(a), np.concatenate(b), np.concatenate(g)


def _again(matched: list[int], rng: np.random.Generator) -> Int[np.ndarray, " m"]:
    """A bootstrap sample of what `_draw` gave as G, in each stratum."""
    ends = np.cumsum(matched)
    return np.concatenate([end - m + rng.integers(m, size=m) for end, m in zip(ends, matched, strict=True)])


def _comparison(metric: Metric, prepared: Prepared, bins: Bins, matched: list[int], splits: int, rng: np.random.Generator) -> Result:
    real, real_bins, made, made_bins = prepared.real, prepared.real_bins, prepared.generated, prepared.generated_bins
    values, floors, resampled = [], [], []
    for _ in range(splits):
        a, b, g = _draw(prepared, matched, rng)
        again = g[_again(matched, rng)]
        values.append(prepared.statistic(real[a], real_bins[a], made[g], made_bins[g]))
        floors.append(prepared.statistic(real[a], real_bins[a], real[b], real_bins[b]))
        resampled.append(prepared.statistic(real[a], real_bins[a], made[again], made_bins[again]))
    value, _ = _mean_and_scatter(values)
    _, error = _mean_and_scatter(resampled)
    table = {"value": value.table, "error": error.table, "distance": value.table}
    return _result(metric, prepared, bins, value.overall, error.overall, None, value.overall, floors, table)


def _description(metric: Metric, prepared: Prepared, bins: Bins, matched: list[int], splits: int, rng: np.random.Generator) -> Result:
    real, real_bins, made, made_bins = prepared.real, prepared.real_bins, prepared.generated, prepared.generated_bins
    value, truth = prepared.statistic(made, made_bins), prepared.statistic(real, real_bins)
    distances, floors, resampled = [], [], []
    for _ in range(splits):
        a, b, g = _draw(prepared, matched, rng)
        again = rng.integers(len(made), size=len(made))
        at_a = prepared.statistic(real[a], real_bins[a])
        distances.append(_difference(at_a, prepared.statistic(made[g], made_bins[g])))
        floors.append(_difference(at_a, prepared.statistic(real[b], real_bins[b])))
        resampled.append(prepared.statistic(made[again], made_bins[again]))
    distance, _ = _mean_and_scatter(distances)
    _, error = _mean_and_scatter(resampled)
    if prepared.signed:
        value, truth = (Measurement(abs(m.overall), np.abs(m.table)) for m in (value, truth))
    table = {"value": value.table, "error": error.table, "distance": distance.table, "real": truth.table}
    return _result(metric, prepared, bins, value.overall, error.overall, truth.overall, distance.overall, floors, table)


def _difference(one: Measurement, other: Measurement) -> Measurement:
    return Measurement(abs(one.overall - other.overall), np.abs(one.table - other.table))


def _mean_and_scatter(measurements: list[Measurement]) -> tuple[Measurement, Measurement]:
    overall = np.array([m.overall for m in measurements], float)
    tables = np.stack([m.table for m in measurements])
    return (
        Measurement(mean_of_finite(overall), mean_of_finite(tables, axis=0)),
        Measurement(scatter_of_finite(overall), scatter_of_finite(tables, axis=0)),
    )


def _result(
    metric: Metric,
    prepared: Prepared,
    bins: Bins,
    value: float,
    error: float,
    real: float | None,
    distance: float,
    floors: list[Measurement],
    table: dict[str, Float[np.ndarray, "quantity bin"]],
) -> Result:
    counts = [np.bincount(index[index >= 0], minlength=len(bins)) for index in (prepared.real_bins, prepared.generated_bins)]
    per_bin: dict[str, Any] = {"bins": list(bins.labels), "edges": bins.edges, "quantities": list(prepared.quantities)}
    per_bin |= {name: cells.tolist() for name, cells in table.items()}
    floor = floor_error = z = p = p_rank = None
    if metric.floor:
        mean, scatter = _mean_and_scatter(floors)
        floor, floor_error = mean.overall, max(scatter.overall, prepared.resolution)
        a_galaxy = prepared.resolution * counts[0].sum() / np.maximum(counts[0], 1)  # a cell has fewer galaxies than the whole
        per_bin |= {"floor": mean.table.tolist(), "floor_error": np.maximum(scatter.table, a_galaxy).tolist()}
        known = [m.overall for m in floors if np.isfinite(m.overall)]
        if np.isfinite(distance) and len(known) > 1:
            sense = -1 if metric.kind == "comparison" and metric.better == "high" else 1  # of being worse
            beyond = sense * (distance - floor)
            z = beyond / floor_error if floor_error > 0 else 0.0 if beyond <= 0 else float("inf")
            p_rank = (1 + sum(sense * draw >= sense * distance for draw in known)) / (len(known) + 1)
            p = tail_probability(z, len(known)) if floor_error > 0 else p_rank  # without scatter there is no t
    per_bin |= {"n_real": counts[0].tolist(), "n_generated": counts[1].tolist()}
    note = prepared.note
    if not np.isfinite(value):
        note = "; ".join(filter(None, [note, "every bin has too few galaxies for this statistic"]))
    return Result(
        metric.name,
        float(value),
        float(error),
        floor,
        floor_error,
        metric.better,
        None if real is None else float(real),
        metric.unit,
        metric.question,
        per_bin,
        note,
        float(distance),
        z,
        p,
        metric.source,
        p_rank,
        minimum=prepared.minimum,
    )
