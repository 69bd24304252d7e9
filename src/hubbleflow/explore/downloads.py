"""Downloads: galaxies as FITS and PNG, in memory.

    HDU 0              SURVEY, MODEL, MODELSHA, SAMPLER, STEPS, CREATOR, NGALAXY; of a galaxy alone also SEED, REDSHIFT, ...
    HDU "G", 1 ...     linear flux in that band, as :mod:`hubbleflow.fits_cutouts` writes it: BUNIT, MAGZERO, WCS; SEED, REDSHIFT, ...
    HDU "G", 2 ...     the second galaxy's (EXTVER 2)

`fits.getdata(path, ("I", 2))` is the second galaxy in the i band; a file of one galaxy is a cutout that `hubbleflow import fits` reads.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow import __version__
from hubbleflow.fits_cutouts import cutout
from hubbleflow.report.colour import default_labels, mosaic

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from hubbleflow.explore.frames import Frames
    from hubbleflow.galaxies import GalaxySet

SIDE = 384  # pixels of one galaxy's picture, of several together 768


def fits_bytes(galaxies: GalaxySet, frames: Frames) -> bytes:
    """All galaxies of a set that `frames` has drawn, in one FITS file; the same set gives the same bytes."""
    from astropy.io import fits

    first = cutout(galaxies, 0)[0]
    if len(galaxies) > 1:
        first = fits.PrimaryHDU()
        first.header["SURVEY"] = galaxies.survey.name
    first.header["NGALAXY"] = (len(galaxies), "of this file: EXTVER counts them")
    first.header["MODEL"] = (frames.generator.title, "that drew them")
    first.header["MODELSHA"] = frames.generator.weights_hash()  # a comment would not fit: SHA-256 of weights, stretch, conditions
    first.header["SAMPLER"] = (frames.sampler, "from held noise to galaxy")
    first.header["STEPS"] = (galaxies.provenance["steps"], "of the sampler")
    first.header["CREATOR"] = f"hubbleflow {__version__}"
    hdus = fits.HDUList([first])
    for row in range(len(galaxies)):
        about, *images = cutout(galaxies, row)
        for hdu in images:
            hdu.header.extend(about.header)
            hdu.ver = row + 1
            hdus.append(hdu)
    buffer = io.BytesIO()
    hdus.writeto(buffer)
    return buffer.getvalue()


def png_bytes(galaxies: GalaxySet, pictures: UInt8[np.ndarray, "n y x 4"]) -> bytes:
    """The pictures side by side, enlarged without smoothing, each over its redshift, kind and seed."""
    from PIL import Image

    columns = math.ceil(math.sqrt(len(galaxies)))
    labels = [
        ", ".join(filter(None, (label, f"seed {seed}")))
        for label, seed in zip(default_labels(galaxies), galaxies.columns["seed"], strict=True)
    ]
    scale = max(1, SIDE * min(columns, 2) // (columns * galaxies.image_size))
    array = mosaic(pictures[..., :3], labels, columns, scale, y_up=False)  # they are upright
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()
