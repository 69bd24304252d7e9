"""What conditions say of each band by itself: its magnitude, from one magnitude and colours, and its seeing.

A table that is asked for `i_mag`, `g_r` and `r_i` says how bright a galaxy is in g, too: g = i + (r - i) + (g - r). Less the bands' mean
and over one scale, such a number is a weighted sum of the row c of conditions,

    own_b = sum_k matrix_bk c_k + offset_b                                                                        (1)

and not a number where one of its terms is not asked for. So one network can tell what a galaxy of that magnitude looks like in any band.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hubbleflow.conditions import SEEING

if TYPE_CHECKING:
    from hubbleflow.conditions import Condition, Conditions

MAGNITUDE = "_mag"


@dataclass(frozen=True)
class BandConditions:
    """Eq. (1), one row of numbers a quantity and band.

    Attributes:
        matrix: [quantity][band][condition].
        offset: [quantity][band].

    Example:
        >>> from hubbleflow.conditions import Condition, Conditions
        >>> bright, red = Condition("r_mag", "identity", mean=20.0, scale=2.0), Condition("g_r", "identity", mean=0.5, scale=0.4)
        >>> BandConditions.of(Conditions((bright, red)), ("g", "r"))
        BandConditions(matrix=(((1.0, 0.2), (1.0, 0.0)),), offset=((0.125, -0.125),))
    """

    matrix: tuple[tuple[tuple[float, ...], ...], ...] = ()
    offset: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of(cls, conditions: Conditions, bands: Sequence[str]) -> BandConditions:
        """Magnitudes, where those of two or more bands follow from the conditions, and seeing, where two or more bands' is one."""
        columns = {column.name: column for column in conditions.columns if column.transform == "identity"}
        quantities = (_magnitudes(columns, bands), {band: {f"{band}{SEEING}": 1.0} for band in bands if f"{band}{SEEING}" in columns})
        matrix, offset = [], []
        for terms in quantities:
            if len(terms) < 2:
                continue
            scale = columns[next(iter(next(iter(terms.values()))))].scale
            means = {band: sum(factor * columns[name].mean for name, factor in of.items()) for band, of in terms.items()}
            centre = sum(means.values()) / len(means)
            factors = {band: {name: factor * columns[name].scale / scale for name, factor in of.items()} for band, of in terms.items()}
            matrix.append(tuple(tuple(factors.get(band, {}).get(name, 0.0) for name in conditions.names) for band in bands))
            offset.append(tuple((means.get(band, centre) - centre) / scale for band in bands))
        return cls(tuple(matrix), tuple(offset))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        matrix = [[list(row) for row in rows] for rows in self.matrix]
        return {"matrix": matrix, "offset": [list(row) for row in self.offset]}


def _magnitudes(columns: dict[str, Condition], bands: Sequence[str]) -> dict[str, dict[str, float]]:
    """Band -> condition -> its factor: those bands whose magnitude is a condition, and all that colours lead to from there."""
    found = {band: {f"{band}{MAGNITUDE}": 1.0} for band in bands if f"{band}{MAGNITUDE}" in columns}
    colours = [(blue, red) for blue in bands for red in bands if f"{blue}_{red}" in columns and blue != red]
    for _ in colours:
        for blue, red in colours:
            if red in found and blue not in found:
                found[blue] = found[red] | {f"{blue}_{red}": 1.0}
            elif blue in found and red not in found:
                found[red] = found[blue] | {f"{blue}_{red}": -1.0}
    return found
