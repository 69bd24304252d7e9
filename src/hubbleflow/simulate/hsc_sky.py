"""HSC's sky in numbers: what calibration/sky.py measured on 100 real HSC UltraDeep COSMOS scenes, and which surveys it speaks for."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float

    from hubbleflow.survey import Survey

ZERO_POINT = 27.0  # of the table's counts


@functools.cache
def sky_table() -> dict[str, Any]:
    """The table (sky.json): lists in its own `bands`, g to y, in counts and pixels of `pixel_scale_arcsec`."""
    return json.loads(resources.files("hubbleflow.simulate").joinpath("sky.json").read_text())


def is_hsc(survey: Survey) -> bool:
    """Whether the table speaks for this survey: HSC's own pixels and bands.

    >>> from hubbleflow.survey import Survey
    >>> is_hsc(Survey.get("hsc-i")), is_hsc(Survey.get("decals"))
    (True, False)
    """
    return survey.name.startswith("hsc") and set(survey.bands) <= set(sky_table()["bands"])


def of_bands(name: str, bands: Sequence[str]) -> Float[np.ndarray, "band ..."]:
    """An entry of the table in these bands, whoever's they are; u, which HSC does not have, is given g's.

    >>> of_bands("seeing_scatter", ("u", "g", "r", "i", "z")).tolist()
    [0.1, 0.1, 0.13, 0.08, 0.1]
    """
    table = sky_table()
    return np.array(table[name])[[table["bands"].index(band) if band in table["bands"] else 0 for band in bands]]
