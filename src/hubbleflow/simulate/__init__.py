"""A mock sky with known truth: galaxies whose brightness, colour, size and kind evolve with redshift, drawn as a survey would see them.

population   who lives there: redshift, type, magnitudes, mass, size, shape (spectra, quantiles, shapes, kinds, cosmology: its parts)
structure    what makes a galaxy more than bulge and disc (arms, mergers)
scene        what stands on each stamp: a target and its neighbours; or a user's own catalogue (catalogue), or HST's galaxies (hst)
psf, render  how the telescope sees it, in Fourier space (blobs, wrapped); seeing: how sharply
noise        how many photons it gets; stars: what saturates (hsc_sky: what real HSC images say of both and of the seeing)
blocks       one block of galaxies from description to pixels, in any process (streams: its random numbers; checks: what can be asked)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hubbleflow.counting import counting
from hubbleflow.errors import InputError
from hubbleflow.farm import Farm, cores
from hubbleflow.galaxies import GalaxySet, GalaxyWriter
from hubbleflow.simulate.blobs import Blobs
from hubbleflow.simulate.blocks import Look, draw_block, effective_psf, tasks
from hubbleflow.simulate.catalogue import read_catalogue
from hubbleflow.simulate.checks import IMAGE_SIZES, SEEDS, check_device, check_survey, check_whole
from hubbleflow.simulate.kinds import KINDS
from hubbleflow.simulate.noise import add_noise
from hubbleflow.simulate.psf import Moffat, PSFImage
from hubbleflow.simulate.render import Components, Renderer
from hubbleflow.survey import Survey

__all__ = [
    "KINDS",
    "Blobs",
    "Components",
    "Moffat",
    "PSFImage",
    "Renderer",
    "add_noise",
    "effective_psf",
    "simulate",
]

SEEING = ("varied", "median")
_ALONE = 10_000  # galaxies below which starting processes costs more than it saves


def simulate(
    out: str | os.PathLike[str],
    n: int | None = None,
    seed: int = 1,
    survey: str | Survey = "hsc-wide",
    image_size: int = 64,
    *,
    catalogue: str | os.PathLike[str] | None = None,
    structure: bool = True,
    noise: bool = True,
    neighbours: bool = True,
    seeing: str = "varied",
    bright_stars: bool = False,
    workers: int | None = None,
    dask: str | None = None,
    batch_size: int = 64,
    device: str = "cpu",
    progress: bool = True,
) -> GalaxySet:
    """Simulate `n` galaxies of redshift 0.01-4 and stream them to the HDF5 file `out`.

    The images are linear flux in the survey's unit, with its pixels, its seeing (Moffat profiles, drawn anew for every pointing of 256
    galaxies; stored as `psf` with the pixel included), its sky noise with the correlation of its pixels, and the source's own photon
    noise. Truth is in `true_*` columns: magnitudes (AB; of the population's HSC-like bands, whichever survey looks: no colour terms
    between filter systems), semi-major half-light radius of the total light (arcsec), Sersic index, axis ratio, bulge-to-total (i band),
    position angle (degrees from +x towards +y), offset of the centre (arcsec), stellar mass and star-formation rate (log solar, log solar
    a year), rest-frame colours, inclination, distance (Mpc), lookback time (Gyr), what arms, bars, dust and companions there are;
    `category` is the kind (`KINDS`).

    Args:
        out: HDF5 file to write; it appears when it is whole.
        n: number of galaxies; 2,000, or all rows of the catalogue, where not given.
        seed: a galaxy depends on (seed, its number) only: not on n, batch size, number of workers or the machines they run on.
        survey: a name (see `Survey.names`) or a `Survey` with linear flux.
        image_size: pixels on a side.
        catalogue: a table of galaxies to draw instead of the mock population (see `simulate.catalogue`): exactly those, one a stamp,
            without neighbours, and without structure where their kind is not given.
        structure: False for bulge and disc alone.
        noise: False for noiseless images.
        neighbours: False for one galaxy a stamp.
        seeing: "varied" from pointing to pointing or "median" for all.
        bright_stars: put a bright, saturated star on 3 % of the stamps, with a `mask`.
        workers: processes on this machine; the number of cores for more than 10,000 galaxies, else one, where not given.
        dask: address of a Dask scheduler whose workers do the work instead.
        batch_size: galaxies rendered at a time.
        device: where to render ("cpu", "cuda", "cuda:1").
        progress: show a bar on stderr, and before it what a catalogue's reader should know.

    Returns: the set, opened lazily from `out`.

    Raises:
        InputError: a number out of range; no such device; a survey without flux, zero point, PSF or noise; an impossible row of the
            catalogue.

    Example:
        >>> import tempfile
        >>> galaxies = simulate(tempfile.mkdtemp() + "/mock.h5", n=4, progress=False)
        >>> galaxies.images.shape, float(galaxies.redshift.min()) > 0
        ((4, 5, 64, 64), True)
    """
    survey = Survey.get(survey) if isinstance(survey, str) else survey
    check_survey(survey)
    check_device(device, elsewhere=dask is not None)
    rows = None if catalogue is None else read_catalogue(catalogue, survey, seed, image_size)
    n = n if n is not None else 2000 if rows is None else len(rows)
    check_whole("n", n, 1, len(rows) if rows is not None else 10**9)
    check_whole("seed", seed, *SEEDS)
    check_whole("image_size", image_size, *IMAGE_SIZES)
    check_whole("batch_size", batch_size, 1, 10**6)
    if seeing not in SEEING:
        raise InputError(f"seeing must be {' or '.join(SEEING)}, but {seeing!r} was given.")
    if rows is not None:  # what is done, and so what is written down
        rows = rows[: int(n)]
        neighbours, structure = False, structure and rows.kind is not None
        for note in rows.notes if progress else ():
            print(f"note: {note}", file=sys.stderr)
    look = Look(survey, int(image_size), noise, neighbours, structure, seeing, bright_stars)
    provenance = {"command": "simulate", "seed": int(seed), "n": int(n), "survey": survey.name, "image_size": int(image_size)}
    provenance |= {"source": "hubbleflow mock sky" if catalogue is None else f"catalogue {Path(catalogue).name}"}
    if rows is not None and rows.notes:
        provenance["notes"] = list(rows.notes)
    provenance |= {"noise": noise, "neighbours": neighbours, "structure": structure, "seeing": seeing, "bright_stars": bright_stars}
    if workers is None:
        workers = cores() if n > _ALONE and dask is None and device == "cpu" else 1
    with (
        Farm.open(workers, dask) as farm,
        counting("simulate", int(n), shown=progress) as advance,
        GalaxyWriter(Path(out), survey, provenance) as writer,
    ):
        for drawn in farm.map(draw_block, tasks(int(seed), int(n), look, rows, batch_size, device)):
            writer.append(drawn.images, drawn.columns, mask=drawn.mask, psf=drawn.psf)
            advance(len(drawn.images))
    return GalaxySet.open(out)
