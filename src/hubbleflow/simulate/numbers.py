"""A mock galaxy in nine numbers under plain names, and how it was seen: what a generator can be conditioned on beside redshift and kind."""

from __future__ import annotations

from hubbleflow.conditions import SEEING
from hubbleflow.galaxies import GalaxySet

COLOURS = ("g_r", "r_i", "i_z", "z_y")
NUMBERS = ("i_mag", *COLOURS, "half_light_radius", "sersic_index", "axis_ratio", "position_angle")


def with_numbers(galaxies: GalaxySet) -> GalaxySet:
    """A mock sky's galaxies with their true numbers (magnitudes AB, arcsec) and the seeing of each band (arcsec) as columns of those names.

    Example:
        >>> import tempfile
        >>> from hubbleflow.simulate import simulate
        >>> sky = with_numbers(simulate(tempfile.mkdtemp() + "/mock.h5", n=4, progress=False))
        >>> bool((sky.column("g_r") == sky.column("true_g_mag") - sky.column("true_r_mag")).all())
        True
    """
    truth = {name: galaxies.column(f"true_{name}") for name in NUMBERS if name not in COLOURS}
    pairs = [name.split("_") for name in COLOURS]
    colours = {f"{blue}_{red}": galaxies.column(f"true_{blue}_mag") - galaxies.column(f"true_{red}_mag") for blue, red in pairs}
    seeing = {name: galaxies.column(f"true_{name}") for name in seeing_of(galaxies)}
    return galaxies.with_columns(truth | colours | seeing)


def seeing_of(galaxies: GalaxySet) -> tuple[str, ...]:
    """Names of the columns that :func:`with_numbers` gives the seeing of the bands."""
    return tuple(f"{band}{SEEING}" for band in galaxies.bands)
