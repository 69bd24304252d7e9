"""The redshifts of a movie's frames, and the time at which their light left.

The lookback time of redshift z is that between then and now (Hogg 1999, astro-ph/9905116, eq. 30),

    t(z) = 1 / H_0  integral_0^z dz' / ((1 + z') E(z'))                                             (1)

with H_0 and E(z) of Planck 2018 (Planck Collaboration 2020, A&A 641, A6). Frames that are evenly spaced in t show a galaxy as time
goes; evenly spaced in z they dwell on the distant past, where a Gyr is much redshift.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from astropy.cosmology import Planck18

from hubbleflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.conditions import Condition

Spacing = Literal["lookback", "redshift"]
TAILS = 0.01  # of the trained redshifts at either end: too few galaxies to have learnt much from
FINE = 4096  # points at which (1) is computed before it is inverted: an error of 1e-7 in z


def lookback_time_gyr(z: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Eq. (1), Gyr.

    Example:
        >>> lookback_time_gyr(np.array([0.0, 1.0])).round(2).tolist()
        [0.0, 7.94]
    """
    z = np.asarray(z, float)
    return np.asarray(Planck18.lookback_time(z).value) if z.size else z  # astropy refuses none


def kpc_per_arcsec(z: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Proper kpc that one arcsec spans (Planck 2018).

    Example:
        >>> kpc_per_arcsec(np.array([1.0])).round(2).tolist()
        [8.23]
    """
    z = np.asarray(z, float)
    return np.asarray(Planck18.kpc_proper_per_arcmin(z).value) / 60 if z.size else z


def frame_redshifts(first: float, last: float, frames: int, spacing: Spacing = "lookback") -> Float[np.ndarray, " frame"]:
    """Redshifts from `first` to `last`, evenly spaced in lookback time or in redshift; from far to near is as time goes.

    Raises:
        InputError: fewer than two frames, ends that are no two different redshifts, or no such spacing.

    Example:
        >>> frame_redshifts(1.0, 0.0, 3).round(3).tolist(), frame_redshifts(1.0, 0.0, 3, "redshift").tolist()
        ([1.0, 0.348, 0.0], [1.0, 0.5, 0.0])
    """
    if frames < 2:
        raise InputError(f"a movie needs at least two frames, got {frames}")
    if not (np.isfinite([first, last]).all() and min(first, last) >= 0 and first != last):
        raise InputError(f"a movie needs two different redshifts to go between, not negative, got {first:g} and {last:g}")
    if spacing == "redshift":
        return np.linspace(first, last, frames)
    if spacing != "lookback":
        raise InputError(f"unknown spacing {spacing!r} of the frames: choose lookback or redshift")
    fine = np.expm1(np.linspace(np.log1p(min(first, last)), np.log1p(max(first, last)), FINE))
    time = lookback_time_gyr(fine)
    z = np.interp(np.linspace(time[0], time[-1], frames), time, fine)
    z[[0, -1]] = fine[0], fine[-1] = min(first, last), max(first, last)
    return z if first < last else z[::-1].copy()


def parse_range(text: str) -> tuple[float, float]:
    """ "3:0.1" -> (3.0, 0.1).

    Raises:
        InputError: not two numbers.

    Example:
        >>> parse_range("3:0.1")
        (3.0, 0.1)
    """
    try:
        first, last = (float(word) for word in text.split(":"))
    except ValueError as error:
        raise InputError(f"redshift {text!r} is not a range for a movie to go through: give its ends, like 3:0.1") from error
    return first, last


def trained_range(redshift: Condition) -> tuple[float, float]:
    """From the 99th to the 1st percentile of the redshifts that a generator has learnt from: as time goes.

    Example:
        >>> from hubbleflow.conditions import Condition
        >>> trained_range(Condition.fit("redshift", np.linspace(0, 2, 201)))
        (1.98, 0.02)
    """
    far, near = np.interp([1 - TAILS, TAILS], np.linspace(0, 1, len(redshift.distribution)), redshift.distribution)
    return float(far), float(near)
