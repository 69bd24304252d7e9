"""What can be asked of a simulation: surveys, devices, whole numbers, magnitudes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from hubbleflow.errors import InputError
from hubbleflow.simulate.noise import SKY_BRIGHTNESS

if TYPE_CHECKING:
    from hubbleflow.survey import Survey

SEEDS, IMAGE_SIZES = (0, 2**63), (8, 512)
MAGNITUDES = (5.0, 40.0)  # AB, of a galaxy in a table: anything else is a mistake or stands for a missing value


def check_whole(name: str, value: object, least: int, most: int) -> None:
    """Raise InputError unless a number is whole and within its range.

    >>> check_whole("seed", np.int64(3), 0, 2**63)
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        raise InputError(f"{name} must be a whole number of at least {least} and at most {most:g}, but {value!r} was given.")


def check_device(name: str, elsewhere: bool = False) -> None:
    """Raise InputError unless there is such a device here, or could be `elsewhere`, on a cluster's machines."""
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"device must be cpu or cuda (cuda:1 for the second GPU), but {name!r} was given.")
    if device.type == "cuda" and not elsewhere and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {name!r} was asked for, but torch finds {torch.cuda.device_count()} CUDA GPUs here: choose cpu.")


def check_survey(survey: Survey) -> None:
    """Raise InputError unless the survey has all that a simulation needs: linear flux, zero point, pixels, PSF, noise, bands u-y."""
    missing = [
        name
        for name, value in (
            ("linear flux", survey.linear or None),
            ("a zero point", survey.zero_point),
            ("a pixel scale", survey.pixel_scale_arcsec),
            ("a PSF", survey.psf_fwhm_arcsec),
            ("a noise level", survey.noise),
        )
        if value is None
    ]
    if missing:
        raise InputError(
            f"survey {survey.name!r} cannot be simulated because it has no {' and no '.join(m.removeprefix('a ') for m in missing)};"
            " choose one with linear flux, such as hsc-wide, decals, sdss or lsst."
        )
    strange = [band for band in survey.bands if band not in SKY_BRIGHTNESS]
    if strange:
        raise InputError(
            f"survey {survey.name!r} has bands {', '.join(strange)}, but the mock sky knows {', '.join(SKY_BRIGHTNESS)} only;"
            " simulate a survey of those."
        )
