"""Every choice that the measurements rest on, in one place, with a name and a number.

The recipe travels with the columns (attributes of the group `measured/`): two sets can be compared only when both
were measured by the same one. Whatever changes a number in any column must change `number`. The limits of the Sersic fit
(`measure.sersic_recipe.FitRecipe`) and of the shapes (`measure.shape.ShapeRecipe`) are their defaults, and travel, too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import sep

from hubbleflow.measure.sersic_recipe import FitRecipe
from hubbleflow.measure.shape import ShapeRecipe

COLUMNS_ASKED_FOR = ("sersic", "shapes")


@dataclass(frozen=True)
class Recipe:
    """SExtractor's recipe (Bertin & Arnouts 1996) as `sep` does it, for the central object of a stamp.

    Attributes:
        threshold: detection threshold on the convolved image, in sky sigmas (DETECT_THRESH).
        minarea: least number of connected pixels above it (DETECT_MINAREA).
        deblend_nthresh, deblend_cont: levels and least contrast of deblending (DEBLEND_NTHRESH, DEBLEND_MINCONT).
        tolerance_px: how far from the stamp's centre the central object may lie when it does not cover it.
        kron_factor, kron_minimum: Kron aperture in Kron radii, and least one in units of a, b (PHOT_AUTOPARAMS).
        kron_reach: ellipse, in units of a, b, over which the Kron radius is computed.
        low_snr: below this the flux's signal-to-noise ratio is flagged.
        crowded_fraction: a Kron aperture of which neighbours cover more is flagged.
        hot_fraction: an object of which one pixel holds more of the isophotal flux is sharper than any PSF.
        sky_reach: ellipse, in units of a, b, around every object that the sky is not taken from.
        sky_fraction: least share of the pixels to take the sky from: where fewer are free, the ellipses shrink.
        sparse_fraction: a stamp of which fewer pixels are usable is flagged.
        filled_reach: when they must shrink below this, the sky holds light of the sources, and is flagged.
        subtract_neighbours: whether neighbours whose light reaches the galaxy are fitted, too, and taken away (`measure.neighbours`).
        sersic: whether to fit Sersic profiles; False leaves their columns out.
        shapes: whether to measure concentration, asymmetry, smoothness, Gini, M20; False leaves their columns out.
    """

    threshold: float = 1.5
    minarea: int = 5
    deblend_nthresh: int = 32
    deblend_cont: float = 0.005
    tolerance_px: float = 8.0
    kron_factor: float = 2.5
    kron_minimum: float = 3.5
    kron_reach: float = 6.0
    low_snr: float = 5.0
    crowded_fraction: float = 0.1
    hot_fraction: float = 0.6
    sky_reach: float = 6.0
    sky_fraction: float = 0.1
    sparse_fraction: float = 0.5
    filled_reach: float = 4.0
    subtract_neighbours: bool = True
    name: str = "sep-central"
    number: int = 4
    sersic: bool = True
    shapes: bool = True

    def attrs(self) -> dict[str, Any]:
        """What is stored with the columns: name, number, every parameter, the version of sep.

        Not which columns were asked for: they are there or they are not, and their numbers are the same.
        """
        parameters = {name: value for name, value in asdict(self).items() if name not in COLUMNS_ASKED_FOR}
        return {
            "recipe": self.name,
            "recipe_number": self.number,
            "recipe_parameters": json.dumps(parameters),
            "sersic_parameters": json.dumps({name: str(value) for name, value in asdict(FitRecipe()).items() if name != "batch"}),
            "shape_parameters": json.dumps(asdict(ShapeRecipe())),
            "sep": sep.__version__,
        }
