"""Every choice that a Sersic fit rests on. No torch here: `measure.recipe` writes them down beside the columns."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class FitRecipe:
    """Every choice the fit rests on.

    Attributes:
        sky_sigma: standard deviation of what is known of the sky beforehand, about 0, in the image's unit: 0 holds it there, inf leaves it
            free.
        least_radius: lower limit of the circularised radius sqrt(q) R_e, px; the upper is the stamp's side. n keeps to N_MIN..N_MAX.
        least_axis_ratio: lower limit of q.
        centre_reach_px: how far the centre may go from where it starts.
        centre_tolerance_px: beyond which it is flagged.
        low_snr: matched signal-to-noise ratio below which a fit is flagged.
        tolerance: how much lower chi^2 may still be at the end.
        max_iterations: evaluations of the model; a fit that needs more is flagged.
        batch: galaxies under way at a time; None: 32 on a CPU, whose cache they fill, and 2,048 on a GPU.
    """

    sky_sigma: float = math.inf
    least_radius: float = 0.1
    least_axis_ratio: float = 0.05
    centre_reach_px: float = 8.0
    centre_tolerance_px: float = 3.0
    low_snr: float = 10.0
    tolerance: float = 0.01
    max_iterations: int = 60
    batch: int | None = None
