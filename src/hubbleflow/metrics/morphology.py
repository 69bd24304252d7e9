"""Sizes, shapes, brightness and colours: distributions compared redshift by redshift, and the papers' histograms and
means.

For each measured quantity x (in the reference band; colours in its aperture) and each bin of redshift or category, the
Wasserstein-1 distance (earth mover's distance) between real and generated values,

    W1(P, Q) = int |F_P(x) - F_Q(x)| dx

in units of the real set's standard deviation of x over all its redshifts, averaged over bins (equal weights) and, for
colours, over colours. 0.1 means that galaxies must be moved by a tenth of the real spread. W1 sees shifts, widths and
tails; it does not see whether quantities go together (a large galaxy may be too blue and pass). A finite sample of the
same population has W1 of order 1/sqrt(m): read it beside its floor.

Also here: what Lizarraga et al. 2024 draw: histograms of both sets (their fig. 3) and means with 95 % intervals per bin
(fig. 4), by Student's t: mean +- t_{0.975, n-1} s / sqrt(n).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student
from scipy.stats import wasserstein_distance

from hubbleflow.metrics.cells import distance_per_cell
from hubbleflow.metrics.metric import Metric, NotComputable, Prepared, prepare_rows
from hubbleflow.metrics.sample import Sample, colours, reference, rows_in_bins, shared

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins

FEWEST_IN_A_CELL = 10
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


def _prepare(names_of: Callable[[Sample], list[str]], words: str) -> Callable[[Sample, Sample, Bins], Prepared]:
    def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
        names = shared(real, generated, names_of(real))
        if not names:
            raise NotComputable(f"needs a measured {words} in both sets")
        scale = np.nanstd(real.matrix(names), axis=0)
        if not (scale > 0).all():
            raise NotComputable(f"the real set's {words} does not vary, so a distance has no scale")
        rows = [sample.matrix(names) / scale for sample in (real, generated)]
        return prepare_rows(
            rows[0], rows[1], bins, lambda a, i, b, j: distance_per_cell(wasserstein_distance, a, i, b, j, len(bins)), names
        )

    return prepare


def _metric(name: str, names_of: Callable[[Sample], list[str]], words: str) -> Metric:
    return Metric(
        f"w1_{name}",
        f"How far is the distribution of {words} from the real one, at each redshift?",
        "comparison",
        "low",
        "real std",
        "Wasserstein-1 distance; quantities of Lizarraga et al. 2024",
        _prepare(names_of, words),
    )


def _reference_band(column: str) -> Callable[[Sample], list[str]]:
    return lambda sample: reference(sample, column)


METRICS = (
    *(_metric(name, _reference_band(column), words) for name, (column, words) in QUANTITIES.items()),
    _metric("colours", colours, "colours"),
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
