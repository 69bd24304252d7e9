"""What a movie plots of its galaxies: brightness, colours and size, as `hubbleflow measure` finds them.

    m          magnitude in the reference band
    m_a - m_b  each pair of neighbouring bands
    r          half-light radius in the reference band: in pixels, r s arcsec (s the pixel scale), r s D_A(z) kpc     (Planck 2018)

r is not corrected for the PSF, and m and the colours not for the redshift (no k correction): they are what is seen. A number that the
measurement itself does not trust (:mod:`hubbleflow.measure.flags`) is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.measure import Recipe, trusted
from hubbleflow.measure.columns import colour_pairs
from hubbleflow.movies.redshifts import kpc_per_arcsec

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.survey import Survey

RECIPE = Recipe(sersic=False, shapes=False)  # what is plotted needs neither; their absence changes no number


@dataclass(frozen=True)
class Quantity:
    """A quantity of a galaxy.

    Attributes:
        name: of the column.
        label: for an axis, without the unit.
        unit: astropy's name of it; "" for none.
    """

    name: str
    label: str
    unit: str

    @property
    def axis(self) -> str:
        """The label with the unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


def quantities(survey: Survey) -> tuple[Quantity, ...]:
    """Those that a survey's images allow.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> [quantity.name for quantity in quantities(Survey.get("decals"))][:3]
        ['r_mag', 'g_r', 'r_z']
    """
    band, known = survey.reference_band, survey.pixel_scale_arcsec is not None
    magnitude = "magnitude" if survey.zero_point is not None else "instrumental magnitude"
    radius, label = f"{band}_half_light_radius", "half-light radius"
    return (
        Quantity(f"{band}_mag", f"{band} {magnitude}", "mag"),
        *(Quantity(name, f"{survey.bands[a]} - {survey.bands[b]}", "mag") for name, a, b in colour_pairs(survey)),
        Quantity(radius, label, "pix"),
        *((Quantity(f"{radius}_arcsec", label, "arcsec"), Quantity(f"{radius}_kpc", label, "kpc")) if known else ()),
    )


def quantity_values(
    measured: Mapping[str, np.ndarray], redshift: Float[np.ndarray, " n"], survey: Survey
) -> dict[str, Float[np.ndarray, " n"]]:
    """Each quantity of galaxies that have been measured; NaN where it is not to be trusted.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> table = {"i_mag": np.array([20.0, 21.0]), "i_half_light_radius": np.array([5.0, 5.0]), "flag": np.array([0, 1])}
        >>> found = quantity_values(table, np.array([1.0, 1.0]), Survey.get("hsc-i"))
        >>> found["i_mag"].tolist(), found["i_half_light_radius_kpc"].round(1).tolist()
        ([20.0, nan], [6.9, nan])
    """
    values = {quantity.name: np.asarray(measured[quantity.name], float) for quantity in quantities(survey) if quantity.name in measured}
    radius = f"{survey.reference_band}_half_light_radius"
    if survey.pixel_scale_arcsec is not None:
        values[f"{radius}_arcsec"] = values[radius] * survey.pixel_scale_arcsec
        values[f"{radius}_kpc"] = values[f"{radius}_arcsec"] * kpc_per_arcsec(redshift)
    good = trusted(measured["flag"])
    return {name: np.where(good & np.isfinite(value), value, np.nan) for name, value in values.items()}
