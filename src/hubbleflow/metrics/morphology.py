"""Sizes, shapes, brightness and colours: distributions compared redshift by redshift, and the papers' histograms and
means.

For each measured quantity x (in the reference band; colours in its aperture) and each bin of redshift or category, two
distances between real and generated values, averaged over bins (equal weights) and, for colours and shapes, over those:

    W1(P, Q) = int |F_P(x) - F_Q(x)| dx     Wasserstein-1, the earth mover's distance, in real standard deviations of x (1)
    KS(P, Q) = max_x |F_P(x) - F_Q(x)|      Kolmogorov and Smirnov's                                                     (2)

W1 of 0.1 means that galaxies must be moved by a tenth of the real spread over all redshifts: it says by how much, and
sees shifts, widths and tails. KS of 0.1 means that at some x a tenth of the galaxies is on the wrong side: it says how
clearly, and no outlier can rule it. Neither sees whether quantities go together (a large galaxy may be too blue and
pass: `relations` and `joint` do). Finite samples of one population have W1 and KS of order 1/sqrt(m): read them beside
their floors.

Also here: what Lizarraga et al. 2024 draw: histograms of both sets (their fig. 3) and means with 95 % intervals per bin
(fig. 4), by Student's t: mean +- t_{0.975, n-1} s / sqrt(n).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student
from scipy.stats import wasserstein_distance

from hubbleflow.metrics.cells import distance_per_cell, kolmogorov_smirnov
from hubbleflow.metrics.metric import Metric, NotComputable, Prepared, prepare_rows
from hubbleflow.metrics.sample import Sample, colours, reference, rows_in_bins, shared

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins

    Distance = Callable[[np.ndarray, np.ndarray], float]

HISTOGRAM_BINS = 30
# metric name -> (reference-band columns, in words)
QUANTITIES = {
    "isophotal_area": ("isophotal_area", "isophotal area"),
    "major_axis": ("major_axis", "semi-major axis"),
    "ellipticity": ("ellipticity", "ellipticity"),
    "sersic_index": ("sersic_index", "Sersic index"),
    "half_light_radius": ("half_light_radius", "half-light radius"),
    "magnitude": ("mag", "magnitude"),
}
UNITS = {"isophotal_area": "px²", "major_axis": "px", "half_light_radius": "px"}
# without a model of the galaxy, and what a Kron or Petrosian aperture goes by
SHAPES = ("kron_radius", "petro_rad", "concentration", "asymmetry", "smoothness", "gini", "m20")


def _prepare(names_of: Callable[[Sample], list[str]], words: str, distance: Distance, scaled: bool) -> Callable[..., Prepared]:
    def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
        names = shared(real, generated, names_of(real))
        if not names:
            raise NotComputable(f"needs {words} measured in both sets")
        scale = np.nanstd(real.matrix(names), axis=0)
        names, scale = [name for name, varies in zip(names, scale > 0, strict=True) if varies], scale[scale > 0]
        if not names:
            raise NotComputable(f"{words}: one value only in the real set, so that there is no distribution to compare")
        rows = [sample.matrix(names) / (scale if scaled else 1.0) for sample in (real, generated)]
        return prepare_rows(rows[0], rows[1], bins, lambda a, i, b, j: distance_per_cell(distance, a, i, b, j, len(bins)), names)

    return prepare


def _metrics(name: str, names_of: Callable[[Sample], list[str]], words: str) -> tuple[Metric, Metric]:
    source = "quantities of Lizarraga et al. 2024"
    far, clearly = (f"How {how} is the distribution of {words} from the real one, at each redshift?" for how in ("far", "clearly distinct"))
    w1, ks = _prepare(names_of, words, wasserstein_distance, True), _prepare(names_of, words, kolmogorov_smirnov, False)
    return (
        Metric(f"w1_{name}", far, "comparison", "low", "real std", f"Wasserstein-1 distance; {source}", w1),
        Metric(f"ks_{name}", clearly, "comparison", "low", "", f"Kolmogorov-Smirnov distance; {source}", ks),
    )


def _reference_band(*columns: str) -> Callable[[Sample], list[str]]:
    return lambda sample: reference(sample, *columns)


METRICS = tuple(
    metric
    for name, names_of, words in (
        *((name, _reference_band(column), words) for name, (column, words) in QUANTITIES.items()),
        ("colours", colours, "colours"),
        ("shapes", _reference_band(*SHAPES), "shapes"),
    )
    for metric in _metrics(name, names_of, words)
)


# -- what the figures show
# ----------------------------------------------------------------------------------------------------------------
def described_quantities(real: Sample, generated: Sample) -> dict[str, str]:
    """Column -> axis label ("i-band isophotal area (px)") of every quantity that both sets have.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> sky = Sample(Survey.get("hsc-i"), {}, {"i_mag": np.array([20.0])})
        >>> described_quantities(sky, sky)
        {'i_mag': 'i magnitude (mag)'}
    """
    band = real.survey.reference_band
    magnitudes = "mag" if real.survey.zero_point is not None else "instrumental mag"
    labels = {}
    for column, words in QUANTITIES.values():
        unit = magnitudes if column == "mag" else UNITS.get(column)
        labels[f"{band}_{column}"] = f"{band} {words}" + (f" ({unit})" if unit else "")
    labels |= {name: f"{name.replace('_', ' - ')} ({magnitudes})" for name in colours(real)}
    return {name: labels[name] for name in shared(real, generated, list(labels))}


def means_per_bin(values: Float[np.ndarray, " n"], index: Int[np.ndarray, " n"], bins: int) -> dict[str, Float[np.ndarray, " bin"]]:
    """Mean, 95 % interval (Student's t) and number of finite values in each bin; an interval needs two galaxies.

    Example:
        >>> row = means_per_bin(np.array([1.0, 2.0, 3.0]), np.zeros(3, int), 1)
        >>> float(row["mean"][0]), row["low"].round(3).tolist(), row["high"].round(3).tolist()
        (2.0, [-0.484], [4.484])
    """
    out = {name: np.full(bins, np.nan) for name in ("mean", "low", "high")} | {"n": np.zeros(bins, int)}
    for number, rows in enumerate(rows_in_bins(index, bins)):
        cell = values[rows][np.isfinite(values[rows])]
        out["n"][number] = len(cell)
        if len(cell):
            out["mean"][number] = cell.mean()
        if len(cell) > 1:
            half = student.ppf(0.975, len(cell) - 1) * cell.std(ddof=1) / np.sqrt(len(cell))
            out["low"][number], out["high"][number] = cell.mean() - half, cell.mean() + half
    return out


def histograms(real: Float[np.ndarray, " n"], generated: Float[np.ndarray, " m"], bins: int = HISTOGRAM_BINS) -> dict[str, np.ndarray]:
    """Counts of both sets over equal bins between the 0.5th and 99.5th percentile of both together; what lies beyond is in the end bins."""
    real, generated = real[np.isfinite(real)], generated[np.isfinite(generated)]
    low, high = np.percentile(np.concatenate([real, generated]), [0.5, 99.5])
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    counts = [np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] for values in (real, generated)]
    return {"edges": edges, "real": counts[0], "generated": counts[1]}


def describe(real: Sample, generated: Sample, bins: Bins) -> dict[str, dict[str, Any]]:
    """For each shared quantity: its label, histograms, and means per bin of both sets (figures 3 and 4 of Lizarraga et al. 2024)."""
    described = {}
    for name, label in described_quantities(real, generated).items():
        values = real.trusted(name), generated.trusted(name)
        described[name] = {
            "label": label,
            "histogram": histograms(*values),
            "means": {
                "bins": list(bins.labels),
                "real": means_per_bin(values[0], bins.real, len(bins)),
                "generated": means_per_bin(values[1], bins.generated, len(bins)),
            },
        }
    return described
