"""Galaxy KL loss: do measured shapes have the real distributions, redshift by redshift?  (Li et al. 2024, eq. 2)

    KL loss = 1/N_params sum_i 1/N_bins sum_j KL(P_real,ij || P_gen,ij),    KL(P || Q) = sum_k P_k ln(P_k / Q_k)

over parameters i (isophotal area, ellipticity, Sersic index; we add the semi-major axis, which Lizarraga et al. 2024
compare too) and redshift bins j. The paper leaves open, and we choose:

- "10 bins between the minimum and the maximum value" are the 10 histogram bins k of each parameter, of equal width; the
  redshift bins j are those of :mod:`hubbleflow.metrics.bins`.
- minimum and maximum are those of the *real* galaxies of that redshift bin. With the union, one absurd generated galaxy
  would squeeze all others into one histogram bin and *lower* the loss. Generated values beyond the range count in the
  outermost bins.
- an empty bin would make the divergence infinite: half a galaxy (Jeffreys' prior) is added to each histogram bin of
  both sets.
- logarithms are natural: nats.
- bins j with fewer than 10 galaxies on a side are left out of the mean.
- only galaxies whose measurement is not flagged enter; Sersic indices where they have been measured.

A finite sample of the same population has a KL loss near (k - 1)/m, not 0: read it beside its floor.

The paper's figure 5 holds two models against each other by ln(KL of one / KL of the other), per parameter and bin: `log_ratio`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared, mean_of_finite, prepare_rows
from hubbleflow.metrics.sample import Sample, reference, shared

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins

HISTOGRAM_BINS = 10
PSEUDO_COUNT = 0.5
FEWEST_IN_A_CELL = 10
PARAMETERS = ("isophotal_area", "ellipticity", "major_axis", "sersic_index")


def kl_divergence(
    p_counts: Float[np.ndarray, "... k"], q_counts: Float[np.ndarray, "... k"], pseudo_count: float = PSEUDO_COUNT
) -> Float[np.ndarray, ...]:
    """KL(P || Q) in nats between two histograms (counts along the last axis), each bin raised by `pseudo_count`.

    Example:
        >>> round(float(kl_divergence(np.array([3.0, 1.0]), np.array([1.0, 1.0]), pseudo_count=0)), 4)
        0.1308
        >>> float(kl_divergence(np.array([5.0, 0.0]), np.array([5.0, 0.0])))
        0.0
    """
    p, q = np.asarray(p_counts, float) + pseudo_count, np.asarray(q_counts, float) + pseudo_count
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log(p / q), 0.0)
    return terms.sum(axis=-1)


def log_ratio(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """ln(KL of one model / KL of another) of each parameter in each redshift bin (Li et al. 2024, figure 5): above 0 the other is better.

    Args:
        one, other: the entries `galaxy_kl` of two reports' metrics.json, both against the same real set.

    Returns:
        "bins", "edges", "quantities" (those that both have) and, as [quantity][bin], "value" and its "error", that of the two KL
        divergences taken as independent; NaN where either has none.

    Raises:
        InputError: an entry has no table, the bins are not the same, or no parameter is in both.

    Example:
        >>> table = {"bins": ["z 0-1"], "edges": [0, 1], "quantities": ["i_ellipticity"]}
        >>> cvae, ddpm = ({"per_bin": table | {"value": [[kl]], "error": [[0.0]]}} for kl in (0.6, 0.2))
        >>> [[round(value, 3) for value in row] for row in log_ratio(cvae, ddpm)["value"]]
        [[1.099]]
    """
    tables = [entry["per_bin"] for entry in (one, other) if entry.get("per_bin") is not None]
    if len(tables) < 2:
        raise InputError("a report has no galaxy_kl per redshift bin, so that there is no ratio: its note says why")
    if any(list(tables[0][key] or ()) != list(tables[1][key] or ()) for key in ("bins", "edges")):
        raise InputError("two reports have other redshift bins: evaluate both generators against the same real set, at the same sizes")
    names = [name for name in tables[0]["quantities"] if name in tables[1]["quantities"]]
    if not names:
        raise InputError("two reports have no parameter of galaxy_kl in common: measure both generated sets with the same columns")
    logarithms, errors = [], []
    for table in tables:
        rows = [table["quantities"].index(name) for name in names]
        kl, error = (np.array(table[key], float)[rows] for key in ("value", "error"))
        kl = np.where(kl > 0, kl, np.nan)
        logarithms.append(np.log(kl))
        errors.append(error / kl)
    return {
        "bins": tables[0]["bins"],
        "edges": tables[0]["edges"],
        "quantities": names,
        "value": (logarithms[0] - logarithms[1]).tolist(),
        "error": np.hypot(*errors).tolist(),
    }


def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """Each galaxy's histogram bin in each parameter."""
    names = shared(real, generated, reference(real, *PARAMETERS))
    if not names:
        raise NotComputable("needs a measured isophotal area, ellipticity, major axis or Sersic index in both sets: run measure on both")
    values = [real.matrix(names), generated.matrix(names)]
    low, high = _ranges(values[0], bins.real, len(bins))
    codes = [_histogram_bin(v, index, low, high) for v, index in zip(values, (bins.real, bins.generated), strict=True)]
    return prepare_rows(codes[0], codes[1], bins, lambda a, a_bins, b, b_bins: _statistic(a, a_bins, b, b_bins, len(bins)), names)


def _ranges(values: Float[np.ndarray, "n q"], index: Int[np.ndarray, " n"], bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest real value of each parameter in each redshift bin; rows of no bin go to a last, unused one."""
    low, high = np.full((bins + 1, values.shape[1]), np.inf), np.full((bins + 1, values.shape[1]), -np.inf)
    np.minimum.at(low, index, np.where(np.isnan(values), np.inf, values))
    np.maximum.at(high, index, np.where(np.isnan(values), -np.inf, values))
    return low, high


def _histogram_bin(
    values: Float[np.ndarray, "n q"], index: Int[np.ndarray, " n"], low: np.ndarray, high: np.ndarray
) -> Float[np.ndarray, "n q"]:
    """0..9, or NaN where the value is untrusted or the redshift bin has no real galaxy."""
    start, width = low[index], high[index] - low[index]
    with np.errstate(divide="ignore", invalid="ignore"):
        code = np.floor(HISTOGRAM_BINS * (values - start) / np.where(width > 0, width, 1.0))
    return np.where(np.isfinite(values) & np.isfinite(start), np.clip(code, 0, HISTOGRAM_BINS - 1), np.nan)


def _statistic(
    a: Float[np.ndarray, "n q"],
    a_bins: Int[np.ndarray, " n"],
    b: Float[np.ndarray, "m q"],
    b_bins: Int[np.ndarray, " m"],
    bins: int,
) -> Measurement:
    p, q = _counts(a, a_bins, bins), _counts(b, b_bins, bins)
    enough = (p.sum(axis=-1) >= FEWEST_IN_A_CELL) & (q.sum(axis=-1) >= FEWEST_IN_A_CELL)
    table = np.where(enough, kl_divergence(p, q), np.nan)
    return Measurement(mean_of_finite(mean_of_finite(table, axis=1)), table)


def _counts(codes: Float[np.ndarray, "n q"], index: Int[np.ndarray, " n"], bins: int) -> Float[np.ndarray, "q bin k"]:
    quantities = codes.shape[1]
    known = np.isfinite(codes)
    cell = (np.arange(quantities) * bins + index[:, None]) * HISTOGRAM_BINS + np.where(known, codes, 0).astype(int)
    return np.bincount(cell[known], minlength=quantities * bins * HISTOGRAM_BINS).reshape(quantities, bins, HISTOGRAM_BINS)


METRICS = (
    Metric(
        "galaxy_kl",
        "Do area, ellipticity, semi-major axis (and Sersic index) have the real distributions in every redshift bin?",
        "comparison",
        "low",
        "nat",
        "Li et al. 2024, eq. 2",
        prepare,
    ),
)
