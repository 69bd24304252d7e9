"""A galaxy as one row of physical numbers: what metrics that look at everything at once look at.

    log10(1 + z), the reference band's magnitude, colours of neighbouring bands, log10 of the half-light radius and of the
    Sersic index, ellipticity, concentration, asymmetry and smoothness

in the reference band, where both sets have them. One magnitude and the colours, all of one aperture, are all magnitudes; but in
colours a galaxy's brightness does not stand over again for every band.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.metric import NotComputable
from hubbleflow.metrics.sample import Sample, colours, finite, reference, shared

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.metrics.bins import Bins

REDSHIFT = "redshift"
LOGARITHMS = ("half_light_radius", "sersic_index")
SHAPES = ("ellipticity", "concentration", "asymmetry", "smoothness")


def columns_of_rows(real: Sample, generated: Sample, bins: Bins) -> list[str]:
    """Names of the numbers that both sets have; redshift where both know it.

    Raises:
        NotComputable: fewer than two numbers have been measured in both sets.
    """
    names = [*reference(real, "mag"), *colours(real), *reference(real, *LOGARITHMS, *SHAPES)]
    measured = shared(real, generated, names)
    if len(measured) < 2:
        raise NotComputable("needs at least two of magnitude, colours, size, Sersic index and shapes measured in both sets")
    return [REDSHIFT, *measured] if bins.kind == "redshift" else measured


def rows_of(sample: Sample, names: list[str]) -> Float[np.ndarray, "n column"]:
    """One row a galaxy, NaN where a number is not trusted.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> one = Sample(Survey.get("hsc-i"), {"redshift": np.array([9.0])}, {"i_half_light_radius": np.array([100.0])})
        >>> rows_of(one, ["redshift", "i_half_light_radius"]).tolist()
        [[1.0, 2.0]]
    """
    values = []
    for name in names:
        value = 1 + finite(sample.redshift) if name == REDSHIFT else sample.trusted(name)
        if name == REDSHIFT or name.endswith(LOGARITHMS):
            value = np.log10(np.where(value > 0, value, np.nan))
        values.append(value)
    return np.stack(values, axis=1)
