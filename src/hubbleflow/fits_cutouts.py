"""FITS cutouts: one file a galaxy, one image HDU a band.

    HDU 0        OBJECT, REDSHIFT, SURVEY and every scalar column that fits a FITS card
    HDU "G" ...  the band's image; BUNIT, MAGZERO (AB magnitude of one unit) and a tangent-plane WCS about (ra, dec)
    HDU "G_IVAR", "G_MASK", "G_PSF"   inverse variance, mask and PSF of that band, where the set has them

Sets without `ra` and `dec` get a WCS centred on (0, 0): distances within the stamp are right, the place on the sky is not.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.files import atomic_path

if TYPE_CHECKING:
    from hubbleflow.galaxies import GalaxySet


def write_cutouts(galaxies: GalaxySet, folder: Path) -> list[Path]:
    """Write every galaxy of a set to `folder/<object_id>.fits` and return the paths in the set's order.

    Where galaxies share an `object_id` (joined sets may), the second is `<object_id>-2.fits`, and so on. Characters of an `object_id` that
    do not belong in a file name (of a path, say) become underscores.

    Raises:
        InputError: the folder cannot be written.
    """
    paths = []
    used: set[str] = set()
    for block in galaxies.blocks():
        for row in range(len(block)):
            path = folder / f"{_free_name(block.columns['object_id'][row], used)}.fits"
            with atomic_path(path) as temporary:
                cutout(block, row).writeto(temporary)
            paths.append(path)
    return paths


def _free_name(object_id: Any, used: set[str]) -> str:
    plain = re.sub(r"[^\w.+-]", "_", str(object_id)).lstrip(".")[:100] or "galaxy"
    name, number = plain, 1
    while name in used:
        number += 1
        name = f"{plain}-{number}"
    used.add(name)
    return name


def cutout(block: GalaxySet, row: int) -> Any:
    """One galaxy of a set (in memory) as an astropy HDUList.

    Example:
        >>> from hubbleflow.galaxies import GalaxySet
        >>> from hubbleflow.survey import Survey
        >>> hdus = cutout(GalaxySet(np.zeros((1, 1, 8, 8), np.float32), Survey.get("hsc-i"), {"redshift": np.array([0.5])}), 0)
        >>> hdus[0].header["REDSHIFT"], hdus["I"].header["MAGZERO"]
        (0.5, 27.0)
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    primary.header["SURVEY"] = block.survey.name
    for name, values in block.columns.items():
        value = values[row].item()
        if isinstance(value, float) and not np.isfinite(value):
            continue  # a FITS card has no NaN
        if isinstance(value, str):
            value = value.encode("ascii", "backslashreplace").decode()  # nor anything but ASCII
        # Names longer than eight characters become HIERARCH cards, which is what we want and what astropy would warn about.
        primary.header[name if len(name) <= 8 else f"HIERARCH {name}"] = value
    hdus = fits.HDUList([primary])
    for number, band in enumerate(block.bands):
        hdu = fits.ImageHDU(np.asarray(block.images[row][number], np.float32), header=_wcs_header(block, row), name=band.upper())
        hdu.header["BUNIT"] = block.survey.unit
        if block.survey.zero_point is not None:
            hdu.header["MAGZERO"] = (block.survey.zero_point, "AB magnitude of one BUNIT")
        hdus.append(hdu)
        for plane, stack in (("IVAR", block.ivar), ("MASK", block.mask), ("PSF", block.psf)):
            if stack is not None:
                of_galaxy = stack if len(stack.shape) == 3 else stack[row]  # one PSF may serve the whole set
                hdus.append(fits.ImageHDU(np.asarray(of_galaxy[number]), name=f"{band.upper()}_{plane}"))
    return hdus


def _wcs_header(block: GalaxySet, row: int) -> Any:
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    size = block.image_size
    scale_deg = (block.survey.pixel_scale_arcsec or 1.0) / 3600
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crpix = [(size + 1) / 2, (size + 1) / 2]
    wcs.wcs.cdelt = [-scale_deg, scale_deg]
    wcs.wcs.crval = [float(block.columns[name][row]) if name in block.columns else 0.0 for name in ("ra", "dec")]
    return wcs.to_header()
