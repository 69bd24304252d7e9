"""Controls: what a page can ask a generator for: a slider for each number, a choice for each category.

A slider goes over the trained range in round steps (of log10, where the generator takes the logarithm), its marks standing at every 32nd
part of the training galaxies. Beside a redshift z stand the lookback
time and the length that an arcsec spans (Planck 2018), which the page reads off a table.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.movies.redshifts import kpc_per_arcsec, lookback_time_gyr

if TYPE_CHECKING:
    from hubbleflow.conditions import Condition
    from hubbleflow.generator import Generator

MOST_SLIDERS = 3  # above the galaxy, besides the redshift's
POSITIONS = 300  # of a slider, at least
TIMES = 513  # rows of the table of lookback times: linear between them it is right to 1e-3 Gyr


def controls(generator: Generator) -> list[dict[str, Any]]:
    """One a condition, in their order, JSON-able.

    `optional` ones may be left out: they are drawn then, from a prior where there is one; what another generator does it has learned only
    where conditions were dropped in training. Redshift is always asked for, so that something is. Optional numbers are `more`, left out at
    first and folded away, where they would push the galaxy off the screen.

    Example (with a folder that `hubbleflow train` wrote)::

        controls(Generator.load("model"))[0]
        # {"name": "redshift", "optional": False, "more": False, "low": 0.02, "high": 3.98, "step": 0.01, "start": 0.71, ...}
    """
    columns = generator.conditions.columns
    droppable = (generator.prior is not None or bool(generator.training.get("dropout"))) and len(columns) > 1
    optional = [droppable and column.name != "redshift" for column in columns]
    fold = sum(left and not column.is_category for left, column in zip(optional, columns, strict=True)) > MOST_SLIDERS
    return [
        {"name": column.name, "optional": left, "more": fold and left and not column.is_category, **_control(column)}
        for left, column in zip(optional, columns, strict=True)
    ]


def _control(condition: Condition) -> dict[str, Any]:
    if condition.is_category:
        return {"classes": list(condition.classes), "start": condition.classes[int(np.argmax(condition.distribution))]}
    logarithmic = condition.transform == "log"
    marks = np.log10(condition.distribution) if logarithmic else np.array(condition.distribution)
    low, high = np.log10([condition.low, condition.high]) if logarithmic else (condition.low, condition.high)
    step = rounded_step((high - low) / POSITIONS)
    places = np.array([math.ceil(low / step), math.floor(high / step), round(float(np.median(marks)) / step)])
    first, last, middle = (float(f"{place * step:.12g}") for place in places)  # 0.07 and not 0.07000000000000001
    return {"low": first, "high": last, "step": step, "start": middle, "log": logarithmic, "marks": marks.tolist()}


def rounded_step(largest: float) -> float:
    """The largest of 1, 2, 5, 10, 20, ... and their tenths that is no larger.

    Example:
        >>> rounded_step(0.0124), rounded_step(7.0)
        (0.01, 5.0)
    """
    power = 10.0 ** math.floor(math.log10(largest))
    return float(f"{max(factor for factor in (1, 2, 5) if factor * power <= largest * (1 + 1e-9)) * power:g}")


def redshift_table(generator: Generator) -> dict[str, list[float]] | None:
    """Redshift, lookback time (Gyr) and kpc an arcsec, over the trained range; None where redshift is no condition."""
    found = [column for column in generator.conditions.columns if column.name == "redshift"]
    if not found:
        return None
    z = np.linspace(found[0].low, found[0].high, TIMES)
    return {"z": z.tolist(), "gyr": lookback_time_gyr(z).tolist(), "kpc": kpc_per_arcsec(z).tolist()}
