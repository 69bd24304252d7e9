"""A set of galaxies as a metric sees it: columns of numbers, and which of them can be trusted; no file, no network.

A metric asks for quantities by name. :meth:`Sample.trusted` answers with the measured numbers and NaN where an
UNTRUSTED bit of the measurement's flag is set (:mod:`hubbleflow.measure.flags`: no central detection, saturated,
negative flux, ...; notes such as EDGE or BLENDED do not count: they are limits that both sets share). Such rows are
counted in the report and never dropped silently, and their share is itself compared (`flagged_fraction`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.measure import sersic_flags, shape_flags
from hubbleflow.measure.flags import trusted
from hubbleflow.measure.nonparametric import SHAPE_COLUMNS

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped

    from hubbleflow.galaxies import GalaxySet
    from hubbleflow.measured_table import MeasuredTable
    from hubbleflow.survey import Survey


@dataclass(frozen=True)
class Sample:
    """Columns of n galaxies.

    Attributes:
        survey: bands, reference band, units.
        columns: what the archive, the simulator or the request says ('redshift', 'category', 'asked_*', ...).
        measured: what our measurement says, with its flags ('flag', 'b_flag').
        pixels: per-galaxy pixel statistics that metrics asked for (sky rms, ...).
        predicted_redshift: redshifts that a predictor reads from the images; None where there is no predictor.
        features: name of a network -> what it makes of every image, (n, d).
        images: pixels of some of the galaxies, for metrics that look at images whole; None where there are none.
        image_rows: which galaxies those are.
        image_features: name -> what a slow network makes of each band of those galaxies' images, (k, band, ...).

    Example:
        >>> from hubbleflow.survey import Survey
        >>> table = {"i_mag": np.array([20.0, 21.0]), "flag": np.array([0, 1])}
        >>> sample = Sample(Survey.get("hsc-i"), {"redshift": np.array([0.2, 0.4])}, table)
        >>> len(sample), sample.flagged.tolist(), sample.trusted("i_mag").tolist()
        (2, [False, True], [20.0, nan])
    """

    survey: Survey
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    measured: dict[str, np.ndarray] = field(default_factory=dict)
    pixels: dict[str, np.ndarray] = field(default_factory=dict)
    predicted_redshift: Float[np.ndarray, " n"] | None = None
    features: dict[str, Float[np.ndarray, "n d"]] = field(default_factory=dict)
    images: Float[np.ndarray, "k band y x"] | None = None
    image_rows: Int[np.ndarray, " k"] | None = None
    image_features: dict[str, Float[np.ndarray, "k band ..."]] = field(default_factory=dict)

    @classmethod
    def of(cls, galaxies: GalaxySet | MeasuredTable, predicted_redshift: Float[np.ndarray, " n"] | None = None) -> Sample:
        """The columns of a set that has been measured; images are not touched."""
        return cls(galaxies.survey, dict(galaxies.columns), dict(galaxies.measured), {}, predicted_redshift)

    def __len__(self) -> int:
        for table in (self.columns, self.measured, self.pixels):
            for column in table.values():
                return len(column)
        return 0

    def __contains__(self, name: str) -> bool:
        return name in self.measured or name in self.pixels

    @property
    def redshift(self) -> Float[np.ndarray, " n"]:
        """Redshift of each galaxy (the one asked for, in a generated set); NaN where unknown."""
        return np.asarray(self.columns.get("redshift", np.full(len(self), np.nan)), float)

    @property
    def category(self) -> Shaped[np.ndarray, " n"]:
        """Category of each galaxy as text; '' where unknown."""
        names = np.asarray(self.columns.get("category", np.full(len(self), "")))
        return np.char.decode(names, "utf-8") if names.dtype.kind == "S" else names.astype(str)

    @property
    def has_flags(self) -> bool:
        """Whether the measurement says at all which rows can be trusted (a catalogue from elsewhere may not)."""
        return "flag" in self.measured

    @property
    def flagged(self) -> Bool[np.ndarray, " n"]:
        """True where the reference band's flag has an UNTRUSTED bit; all False for a table without flags."""
        return ~trusted(self.measured["flag"]) if self.has_flags else np.zeros(len(self), bool)

    def trusted(self, name: str) -> Float[np.ndarray, " n"]:
        """Measured (or pixel) column `name` as float, NaN where it is flagged or not finite.

        A colour is taken in the reference band's aperture, so the reference band's flag decides; any other column
        belongs to the band that its name begins with, and that band's flag decides. Numbers of a Sersic fit, or of a shape
        without a model, must be trusted by its flag as well. Pixel statistics carry no flags.
        """
        if name not in self.measured:
            return finite(self.pixels[name])
        values = finite(self.measured[name])
        band, _, quantity = name.partition("_")
        kinds = (("sersic", sersic_flags, quantity.startswith("sersic_")), ("shape", shape_flags, quantity in SHAPE_COLUMNS))
        for kind, bits, of_this_kind in kinds:
            flag = self.measured.get(f"{self.survey.reference_band}_{kind}_flag")
            if of_this_kind and flag is not None:
                values[~bits.trusted(flag)] = np.nan
        own_flag = f"{band}_flag"
        if band == self.survey.reference_band or name in colours(self) or own_flag not in self.measured:
            return np.where(self.flagged, np.nan, values)
        return np.where(trusted(self.measured[own_flag]), values, np.nan)

    def matrix(self, names: list[str]) -> Float[np.ndarray, "n quantity"]:
        """Trusted values of several quantities side by side."""
        return np.stack([self.trusted(name) for name in names], axis=1) if names else np.empty((len(self), 0))


def finite(values: Shaped[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """`values` as float with infinities as NaN."""
    values = np.array(values, float)
    values[~np.isfinite(values)] = np.nan
    return values


def colours(sample: Sample) -> list[str]:
    """Names of the measured colours of neighbouring bands (`g_r`, `r_i`, ...), in the order of the bands.

    Neighbouring only: `g_y` in a measured table is the g band's y coordinate, not a colour.
    """
    names = [f"{blue}_{red}" for blue, red in pairwise(sample.survey.bands)]
    return [name for name in names if name in sample.measured]


def shared(real: Sample, generated: Sample, names: list[str]) -> list[str]:
    """Those of `names` that both sets have with at least one number."""
    return [name for name in names if all(name in s and np.isfinite(s.trusted(name)).any() for s in (real, generated))]


def shared_pixels(real: Sample, generated: Sample, column: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Band -> `b_column` of both sets' pixel statistics, for the bands of which both have at least one number."""
    found = {}
    for band in real.survey.bands:
        values = [sample.pixels[f"{band}_{column}"] for sample in (real, generated) if f"{band}_{column}" in sample.pixels]
        if len(values) == 2 and all(np.isfinite(v).any() for v in values):
            found[band] = (values[0], values[1])
    return found


def reference(sample: Sample, *names: str) -> list[str]:
    """Column names of reference-band quantities: `reference(s, "mag")` is ["i_mag"] for HSC."""
    return [f"{sample.survey.reference_band}_{name}" for name in names]


def rows_in_bins(index: Int[np.ndarray, " n"], bins: int) -> list[Int[np.ndarray, " m"]]:
    """Row numbers of each bin 0..bins-1 (one sort, so that per-bin loops cost nothing)."""
    order = np.argsort(index, kind="stable")
    edges = np.searchsorted(index[order], np.arange(bins + 1))
    return [order[a:b] for a, b in pairwise(edges)]
