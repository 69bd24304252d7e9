"""A track as a FITS cube, for those who measure it themselves.

    HDU 0          (seed, frame, band, y, x) float32 linear flux: NAXIS5 ... NAXIS1; BUNIT, MAGZERO, SURVEY, BAND1 ..., SEED1 ..., KIND1 ...
    HDU "FRAMES"   table: redshift and lookback time of each frame
    HDU "TRACK"    table: a row an image, seed by seed: seed, redshift, lookback time, what was measured (NaN where not trusted)

Axes 1 and 2 are angles from the middle of the stamp (arcsec; pixels where the scale is not known), axes 3 and 5 count. Axis 4 is linear in
lookback time (CTYPE4 LOOKBACK, Gyr) or in redshift (CTYPE4 REDSHIFT), whichever the frames are evenly spaced in; where they are in neither
it counts frames, and the table says which is which. Reading: `astropy.io.fits` or any other FITS library.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.files import atomic_path
from hubbleflow.movies.quantities import quantities

if TYPE_CHECKING:
    from hubbleflow.movies.track import Track

EVEN = 1e-4  # of a step: how far a frame may be from its place on a linear axis


def write_cube(track: Track, path: str | os.PathLike[str]) -> None:
    """Write a track; the file appears when it is whole.

    Raises:
        InputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from astropy.io import fits
        >>> from hubbleflow.movies.track import Track
        >>> from hubbleflow.survey import Survey
        >>> images = np.zeros((1, 2, 1, 8, 8), np.float32)
        >>> track = Track(images, np.array([1.0, 0.5]), np.array([7.9, 5.2]), (1,), ("",), Survey.get("hsc-i"), {}, np.ones(1))
        >>> path = tempfile.mkdtemp() + "/cube.fits"
        >>> write_cube(track, path)
        >>> fits.getheader(path)["CTYPE4"], round(fits.getheader(path)["CDELT4"], 3), fits.getdata(path).shape
        ('LOOKBACK', -2.7, (1, 2, 1, 8, 8))
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU(np.ascontiguousarray(track.images, dtype=np.float32))
    for key, value, comment in _cards(track):
        primary.header[key] = (value, comment)
    with atomic_path(path) as temporary:
        fits.HDUList([primary, _frames(track), _rows(track)]).writeto(temporary)


def _cards(track: Track) -> list[tuple[str, Any, str]]:
    survey, scale = track.survey, track.survey.pixel_scale_arcsec
    cards: list[tuple[str, Any, str]] = [("BUNIT", survey.unit, "linear flux of a pixel"), ("SURVEY", survey.name, "")]
    if survey.zero_point is not None:
        cards.append(("MAGZERO", survey.zero_point, "AB magnitude of one BUNIT"))
    for axis, name in ((1, "X"), (2, "Y")):
        middle = (track.images.shape[-axis] + 1) / 2
        cards += _axis(axis, name, "arcsec" if scale else "pix", middle, 0.0, scale or 1.0)
    cards += _axis(3, "BAND", "", 1.0, 1.0, 1.0)
    for name, unit, values in (("LOOKBACK", "Gyr", track.lookback_time_gyr), ("REDSHIFT", "", track.redshift)):
        step = (values[-1] - values[0]) / (len(values) - 1)
        if np.abs(values - values[0] - step * np.arange(len(values))).max() <= EVEN * abs(step):
            cards += _axis(4, name, unit, 1.0, float(values[0]), float(step))
            break
    else:
        cards += _axis(4, "FRAME", "", 1.0, 1.0, 1.0)
    cards += _axis(5, "SEED", "", 1.0, 1.0, 1.0)
    cards += [(f"BAND{number}", band, "along axis 3") for number, band in enumerate(survey.bands, 1)]
    cards += [(f"SEED{number}", seed, "along axis 5") for number, seed in enumerate(track.seeds, 1)]
    cards += [
        (f"KIND{number}", kind.encode("ascii", "backslashreplace").decode(), "of this seed")
        for number, kind in enumerate(track.kinds, 1)
        if kind
    ]
    for key, name in (("MODEL", "model"), ("SAMPLER", "sampler"), ("STEPS", "steps")):
        if name in track.provenance:
            cards.append((key, track.provenance[name], ""))
    return cards


def _axis(number: int, name: str, unit: str, crpix: float, crval: float, cdelt: float) -> list[tuple[str, Any, str]]:
    values = (("CTYPE", name), ("CUNIT", unit), ("CRPIX", crpix), ("CRVAL", crval), ("CDELT", cdelt))
    return [(f"{key}{number}", value, "") for key, value in values if value != ""]


def _frames(track: Track) -> Any:
    from astropy.io import fits
    from astropy.table import Table

    columns = {"redshift": track.redshift, "lookback_time": track.lookback_time_gyr}
    return fits.BinTableHDU(Table(columns, units={"lookback_time": "Gyr"}), name="FRAMES")


def _rows(track: Track) -> Any:
    from astropy.io import fits
    from astropy.table import Table

    seeds = len(track.seeds)
    columns = {
        "seed": np.repeat(np.asarray(track.seeds, np.int64), track.frames),
        "redshift": np.tile(track.redshift, seeds),
        "lookback_time": np.tile(track.lookback_time_gyr, seeds),
    }
    units = {"lookback_time": "Gyr"}
    for quantity in quantities(track.survey):
        if quantity.name in track.measured:
            columns[quantity.name] = track.measured[quantity.name].reshape(-1)
            units |= {quantity.name: quantity.unit} if quantity.unit else {}
    return fits.BinTableHDU(Table(columns, units=units), name="TRACK")
