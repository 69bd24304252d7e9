"""Measure galaxies like an astronomer: detection, isophotes, photometry, profiles, shapes, with a flag for whatever is wrong.

measure(galaxies)       -> Measured: columns with units and descriptions
measure_file("set.h5")  writes them into the file's group `measured/`
measure_stamp(images, survey)  one galaxy, all bands
"""

from hubbleflow.measure.flags import DESCRIPTIONS, UNTRUSTED, Flag, trusted
from hubbleflow.measure.pipeline import Measured, distrusted, is_measured, measure, measure_file, named
from hubbleflow.measure.recipe import Recipe
from hubbleflow.measure.sersic_flags import SersicFlag
from hubbleflow.measure.shape_flags import ShapeFlag
from hubbleflow.measure.stamp import StampResult, measure_stamp

__all__ = [
    "DESCRIPTIONS",
    "UNTRUSTED",
    "Flag",
    "Measured",
    "Recipe",
    "SersicFlag",
    "ShapeFlag",
    "StampResult",
    "distrusted",
    "is_measured",
    "measure",
    "measure_file",
    "measure_stamp",
    "named",
    "trusted",
]
