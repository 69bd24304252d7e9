"""Beside: what is measured of a galaxy, and of a population where the galaxy stands.

The population near redshift z are the k galaxies (of the kind that is asked for, where the population knows kinds) that are nearest in
ln(1 + z): a tenth of them all, but 20 to 200. Their values, their 16th, 50th and 84th percentiles, and the share of them below the galaxy's
value are what a page draws it against. What a measurement does not trust (:mod:`hubbleflow.measure.flags`) is no number, on either side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import DESCRIPTIONS, Recipe, measure, sersic_flags, trusted
from hubbleflow.measure.columns import colour_pairs
from hubbleflow.movies import Quantity, quantities
from hubbleflow.movies.population import FEWEST, check_measured
from hubbleflow.movies.quantities import quantity_values

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.generator import Generator
    from hubbleflow.survey import Survey

RECIPE = Recipe(shapes=False)
MOST = 200  # galaxies that a galaxy is drawn against
LIKE_TRAINING = 2000  # galaxies drawn from a prior
ENDS = (0.01, 0.99)  # of the whole population: an axis that stays while redshift moves
MAGNITUDES = 2.5 / np.log(10)  # of a relative error


def shown(survey: Survey, redshift: bool = True) -> tuple[Quantity, ...]:
    """The quantities that a page shows: a movie's (sizes in pixels where arcsec are not known), ellipticity and Sersic index.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> [quantity.label for quantity in shown(Survey.get("hsc-i"))]
        ['i magnitude', 'half-light radius', 'half-light radius', 'ellipticity', 'Sersic index']
    """
    band, known = survey.reference_band, survey.pixel_scale_arcsec is not None
    left_out = ({"pix"} if known else set()) | (set() if redshift else {"kpc"})
    shape = (Quantity(f"{band}_ellipticity", "ellipticity", ""), Quantity(f"{band}_sersic_index", "Sersic index", ""))
    return (*(quantity for quantity in quantities(survey) if quantity.unit not in left_out), *shape)


def shown_values(measured: Mapping[str, np.ndarray], redshift: Float[np.ndarray, " n"], survey: Survey) -> dict[str, np.ndarray]:
    """Those of them that have been measured, one a galaxy; NaN where not to be trusted."""
    values = quantity_values(measured, redshift, survey)
    band, good = survey.reference_band, trusted(measured["flag"])
    if f"{band}_ellipticity" in measured:
        values[f"{band}_ellipticity"] = np.where(good, measured[f"{band}_ellipticity"], np.nan)
    if f"{band}_sersic_index" in measured:
        fitted = good & sersic_flags.trusted(measured[f"{band}_sersic_flag"])
        values[f"{band}_sersic_index"] = np.where(fitted, measured[f"{band}_sersic_index"], np.nan)
    return values


def shown_errors(measured: Mapping[str, np.ndarray], survey: Survey) -> dict[str, np.ndarray]:
    """Their errors, of those that have one: magnitude, colours, Sersic index."""
    error = {band: np.abs(MAGNITUDES * measured[f"{band}_flux_err"] / measured[f"{band}_flux"]) for band in survey.bands}
    band = survey.reference_band
    colours = {name: np.hypot(error[survey.bands[a]], error[survey.bands[b]]) for name, a, b in colour_pairs(survey)}
    return {f"{band}_mag": error[band], **colours, f"{band}_sersic_index": measured[f"{band}_sersic_index_err"]}


@dataclass(frozen=True)
class Near:
    """Some galaxies of a population.

    Attributes:
        words: which, or why there are none.
        values: quantity -> those that are trusted; empty where there are none.
    """

    words: str
    values: Mapping[str, Float[np.ndarray, " k"]]


@dataclass(frozen=True)
class Population:
    """Galaxies that a galaxy is seen beside.

    Attributes:
        name: of the set.
        redshift: (n,) NaN where unknown.
        kind: (n,) "" where unknown.
        values: quantity -> (n,), NaN where not trusted.
    """

    name: str
    redshift: Float[np.ndarray, " n"]
    kind: np.ndarray
    values: Mapping[str, Float[np.ndarray, " n"]]

    @classmethod
    def measured(cls, galaxies: GalaxySet) -> Population:
        """A set that `hubbleflow measure` has measured.

        Raises:
            InputError: it has not been, or has fewer than 20 galaxies.
        """
        check_measured(galaxies)
        name = (galaxies.path or Path("the set")).name
        if len(galaxies) < FEWEST:
            raise InputError(f"{name} has {len(galaxies)} galaxies, and a population needs {FEWEST}: take a larger set")
        values = shown_values(galaxies.measured, galaxies.redshift, galaxies.survey)
        return cls(name, galaxies.redshift, galaxies.category, values)

    @classmethod
    def learnt(cls, generator: Generator) -> Population | None:
        """Galaxies like those of the training set, drawn from the prior of the columns that the model is conditioned on; None where these
        are no quantities that are measured here.

        Example (a generator conditioned on redshift, i_mag and g_r)::

            Population.learnt(generator).values    # {"i_mag": ..., "g_r": ...}, of 2,000 galaxies
        """
        if generator.prior is None:
            return None
        columns = generator.draw_conditions(LIKE_TRAINING)
        values = {quantity.name: columns[quantity.name].astype(float) for quantity in shown(generator.survey) if quantity.name in columns}
        if not values:
            return None
        nowhere, nothing = np.full(LIKE_TRAINING, np.nan), np.full(LIKE_TRAINING, "")
        return cls("the training set's prior", columns.get("redshift", nowhere), columns.get("category", nothing), values)

    def near(self, redshift: float | None, kind: str | None) -> Near:
        """Galaxies near a redshift (anywhere, where None) and of a kind (of all, where None).

        Example:
            >>> z = np.linspace(0, 2, 400)
            >>> sky = Population("sky.h5", z, np.full(400, ""), {"i_mag": 20 + z})
            >>> sky.near(1.0, "spiral").words
            '40 galaxies of sky.h5 at z = 0.91 to 1.10'
            >>> sky.near(3.0, None).words
            'sky.h5 has no galaxies at z = 3.00: its redshifts end at 2.00'
        """
        chosen, of = np.ones(len(self.redshift), bool), f"of {self.name}"
        if kind is not None and (self.kind != "").any():
            chosen, of = self.kind == kind, f"of {self.name}, {kind},"
        known = np.isfinite(self.redshift)
        if redshift is None or not known.any():
            rows = np.flatnonzero(chosen)
            at = ""
        else:
            low, high = self.redshift[known].min(), self.redshift[known].max()
            if not low <= redshift <= high:
                ends = f"begin at {low:.2f}" if redshift < low else f"end at {high:.2f}"
                return Near(f"{self.name} has no galaxies at z = {redshift:.2f}: its redshifts {ends}", {})
            rows = np.flatnonzero(chosen & known)
            k = int(np.clip(len(rows) / 10, FEWEST, MOST))
            rows = rows[np.argsort(np.abs(np.log1p(self.redshift[rows]) - np.log1p(redshift)), kind="stable")[:k]]
            at = f" at z = {self.redshift[rows].min():.2f} to {self.redshift[rows].max():.2f}" if len(rows) else ""
        if len(rows) < FEWEST:
            return Near(f"{len(rows)} galaxies {of} are too few for a distribution", {})
        values = {name: value[rows] for name, value in self.values.items()}
        return Near(f"{len(rows)} galaxies {of}{at}", {name: value[np.isfinite(value)] for name, value in values.items()})

    def ends(self, name: str) -> tuple[float, float] | None:
        """Of an axis of a quantity: the first and last percent of the whole population; None where it has too few numbers."""
        known = self.values[name][np.isfinite(self.values[name])] if name in self.values else np.empty(0)
        if len(known) < FEWEST:
            return None
        low, high = np.quantile(known, ENDS)
        return (float(low), float(high)) if low < high else None


def beside(galaxy: GalaxySet, population: Population | None) -> dict[str, Any]:
    """One galaxy, measured, beside the population; JSON-able, None where there is no number."""
    redshift = float(galaxy.redshift[0]) if np.isfinite(galaxy.redshift[0]) else None
    kind = str(galaxy.category[0]) or None
    measured, survey = measure(galaxy, progress=False, recipe=RECIPE).columns, galaxy.survey
    values = shown_values(measured, np.array([redshift or 0.0]), survey)
    errors = shown_errors(measured, survey)
    near = population.near(redshift, kind) if population is not None else Near("no population to compare with", {})
    rows = []
    for quantity in shown(survey, redshift is not None):
        value, others = float(values[quantity.name][0]), near.values.get(quantity.name, np.empty(0))
        row = {"name": quantity.name, "label": quantity.label, "unit": quantity.unit, "value": value}
        row["error"] = float(errors[quantity.name][0]) if quantity.name in errors else None
        ends = population.ends(quantity.name) if population is not None else None
        if ends is not None and len(others) >= FEWEST / 2:
            row["ends"] = ends
            row["others"] = [float(f"{other:.4g}") for other in others]
            row["quantiles"] = np.quantile(others, (0.16, 0.5, 0.84)).tolist()
            row["share_below"] = float(np.mean(others < value)) if np.isfinite(value) else None
        rows.append(row)
    return {"rows": rows, "population": near.words, "remarks": remarks(int(measured["flag"][0]))}


def remarks(flag: int) -> list[str]:
    """What the bits of a measurement's flag say, in words."""
    return [words for bit, words in DESCRIPTIONS.items() if flag & bit]
