r"""Real galaxies, seen by HST, as a ground-based survey would see them: a small test set of true shapes with redshift and magnitudes.

The input is a folder with a GalSim RealGalaxyCatalog (Mandelbaum et al. 2012, MNRAS 420, 1518: HST/ACS F814W stamps of COSMOS with their
PSFs) and beside it a table with, for the same IDENT, ZPHOT and the magnitudes HSC_g, HSC_r, ... LSST DESC's BlendingToolKit
distributes such a folder of 100 galaxies. A stamp I_HST = T_HST f becomes, in each band b,

    I_b = F_b T_b (I_HST / T_HST) / sum(I_HST),

T_HST being HST's PSF, T_b the survey's median Moffat PSF and its pixel, F_b the flux of the catalogue's magnitude. What this is not:

- There is one morphology, F814W's, in all bands: no colour gradients, no knots that are blue.
- HST's own noise comes along, within HST's stamp, correlated as widely as the PSF (column `hst_noise`: its part of the survey's own).
  Whitening it would need more noise than HSC Wide has. The survey's noise is added on top; in deeper surveys, where the two are alike,
  look at `hst_noise` first.
- HST's stamps end where light has not quite: of some galaxies the square can be seen (`hst_edge` above 1).
- HST's neighbours were masked by the makers of the catalogue: one galaxy stands on each stamp.
- An HSC magnitude was matched by position. Where it is far from `hst_f814w_mag` it is another galaxy's, or a blend's.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table

from hubbleflow.counting import counting
from hubbleflow.errors import InputError
from hubbleflow.farm import Farm
from hubbleflow.galaxies import GalaxySet, GalaxyWriter
from hubbleflow.simulate.blocks import effective_psf
from hubbleflow.simulate.checks import IMAGE_SIZES, MAGNITUDES, SEEDS, check_survey, check_whole
from hubbleflow.simulate.noise import add_noise
from hubbleflow.simulate.render import Renderer
from hubbleflow.simulate.seeing import median_psf
from hubbleflow.survey import Survey

if TYPE_CHECKING:
    from jaxtyping import Float

SOURCE = "HST/ACS F814W"
_BLOCK = 20  # galaxies a task: a few seconds
_STAMPS = ("IDENT", "MAG", "GAL_FILENAME", "PSF_FILENAME", "NOISE_FILENAME", "PIXEL_SCALE")  # columns of a RealGalaxyCatalog
_FOLDING = 1e-3  # of the light: GalSim's default, 5e-3, lets more of the PSF's wings come back


@dataclass(frozen=True)
class Galaxies:
    """A folder's galaxies: its catalogue's file and, one array (n,) a quantity, what its tables say; `mag` is (n, band)."""

    catalogue: Path
    ident: np.ndarray
    redshift: np.ndarray
    hst_mag: np.ndarray
    mag: Float[np.ndarray, "n band"]


@dataclass(frozen=True)
class Task:
    """Some rows of the catalogue, and how they are looked at."""

    catalogue: Path
    rows: np.ndarray
    flux: Float[np.ndarray, "row band"]
    survey: Survey
    image_size: int
    seed: int
    noise: bool


def simulate_hst(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    n: int | None = None,
    seed: int = 1,
    survey: str | Survey = "hsc-wide",
    image_size: int = 64,
    noise: bool = True,
    workers: int = 1,
    progress: bool = True,
) -> GalaxySet:
    """The HST galaxies of `folder` as `survey` would see them, streamed to the HDF5 file `out`.

    Columns: `object_id` (IDENT), `redshift` (photometric, ZPHOT), `true_*_mag` (AB, of the light on HST's stamp, in the survey's bands),
    `hst_f814w_mag`, `hst_noise` (rms of HST's noise) and `hst_edge` (mean brightness where HST's stamp ends), both a pixel and over the
    survey's sky rms in the reference band, and `source`. The galaxy's centre is HST's stamp's.

    Args:
        folder: holds a GalSim RealGalaxyCatalog and a table of IDENT, ZPHOT and HSC_<band>.
        out: HDF5 file to write; it appears when it is whole.
        n: how many, from the first on; all where not given.
        seed: of the survey's noise: a galaxy's depends on the seed and its row.
        survey: a name or a `Survey`, of HSC's bands.
        image_size: pixels on a side.
        noise: whether to add the survey's.
        workers: processes on this machine.
        progress: show a bar on stderr.

    Returns: the set, opened lazily from `out`.

    Raises:
        InputError: GalSim is not installed; the folder lacks a table or column, a file is damaged, a magnitude or redshift is impossible.

    Example:
        >>> simulate_hst("hst_cosmos", "hst_as_hsc.h5")         # doctest: +SKIP
    """
    survey = Survey.get(survey) if isinstance(survey, str) else survey
    check_survey(survey)
    _galsim()
    check_whole("seed", seed, *SEEDS)
    check_whole("image_size", image_size, *IMAGE_SIZES)
    assert survey.pixel_scale_arcsec is not None
    galaxies = read_folder(Path(folder), survey)
    n = len(galaxies.ident) if n is None else n
    check_whole("n", n, 1, len(galaxies.ident))
    psf = effective_psf(Renderer(image_size, survey.pixel_scale_arcsec, median_psf(survey)))
    provenance = {"command": "simulate", "source": f"{SOURCE}: {galaxies.catalogue.name}", "seed": int(seed), "survey": survey.name}
    provenance |= {"image_size": int(image_size), "noise": noise, "psf": "Moffat, the survey's median seeing"}
    parts = np.array_split(np.arange(n), -(-n // _BLOCK))
    flux = survey.flux(galaxies.mag)
    tasks = [Task(galaxies.catalogue, rows, flux[rows], survey, int(image_size), int(seed), noise) for rows in parts]
    with (
        Farm.open(workers) as farm,
        counting("simulate", int(n), shown=progress) as advance,
        GalaxyWriter(out, survey, provenance, psf) as writer,
    ):
        for rows, (images, hst_noise, hst_edge) in zip(parts, farm.map(draw, tasks), strict=True):
            columns = {"object_id": galaxies.ident[rows], "redshift": galaxies.redshift[rows].astype(np.float32)}
            columns |= {f"true_{band}_mag": galaxies.mag[rows, j].astype(np.float32) for j, band in enumerate(survey.bands)}
            columns |= {"hst_f814w_mag": galaxies.hst_mag[rows].astype(np.float32), "hst_noise": hst_noise, "hst_edge": hst_edge}
            writer.append(images, columns | {"source": np.full(len(rows), SOURCE)})
            advance(len(rows))
    return GalaxySet.open(out)


def read_folder(folder: Path, survey: Survey) -> Galaxies:
    """What the tables of a folder say.

    Raises:
        InputError: a table or column is missing, tables disagree, or a value is impossible.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: expected one that holds a GalSim RealGalaxyCatalog (FITS)")
    tables = {path: table for path in sorted(folder.glob("*.fits")) if (table := _table(path)) is not None}
    of_stamps = [path for path, table in tables.items() if set(_STAMPS) <= set(table.colnames)]
    of_light = [path for path, table in tables.items() if {"IDENT", "ZPHOT"} <= set(table.colnames)]
    if not of_stamps:
        raise InputError(f"{folder} holds no RealGalaxyCatalog: expected a FITS table with columns {', '.join(_STAMPS)}")
    if not of_light:
        raise InputError(
            f"{folder} holds no table of redshifts and magnitudes: expected a FITS table with columns IDENT, ZPHOT, HSC_g, ..."
        )
    path = of_light[0]
    stamps, light = tables[of_stamps[0]], tables[path]
    missing = [f"HSC_{band}" for band in survey.bands if f"HSC_{band}" not in light.colnames]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]}, which survey {survey.name!r} needs; choose one of HSC's bands, such as hsc-wide"
        )
    row = {ident: number for number, ident in enumerate(light["IDENT"].tolist())}
    for ident in stamps["IDENT"].tolist():
        if ident not in row:
            raise InputError(f"galaxy {ident} of {of_stamps[0]} is not in {path}: both must describe the same galaxies")
    light = light[[row[ident] for ident in stamps["IDENT"].tolist()]]
    redshift = np.ma.filled(np.ma.asarray(light["ZPHOT"]).astype(float), np.nan)
    mag = np.stack([np.ma.filled(np.ma.asarray(light[f"HSC_{band}"]).astype(float), np.nan) for band in survey.bands], axis=1)
    names = ("ZPHOT", *(f"HSC_{band}" for band in survey.bands))
    for name, values, least, most in zip(
        names, (redshift, *mag.T), (0.0, *[MAGNITUDES[0]] * 9), (20.0, *[MAGNITUDES[1]] * 9), strict=False
    ):
        bad = ~((values >= least) & (values <= most))
        if bad.any():
            ident = stamps["IDENT"][int(np.argmax(bad))]
            raise InputError(f"{name} of galaxy {ident} in {path} is {values[np.argmax(bad)]:g}, but must be from {least:g} to {most:g}")
    return Galaxies(of_stamps[0], np.asarray(stamps["IDENT"], np.int64), redshift, np.asarray(stamps["MAG"], float), mag)


def draw(task: Task) -> tuple[Float[np.ndarray, "row band y x"], Float[np.ndarray, " row"], Float[np.ndarray, " row"]]:
    """Images of some rows, and what of HST is left in them: see `hst_noise` and `hst_edge` in `simulate_hst`.

    Raises:
        InputError: a stamp cannot be read.
    """
    galsim, survey = _galsim(), task.survey
    assert survey.noise is not None and survey.pixel_scale_arcsec is not None
    reference = survey.band_index(survey.reference_band)
    scale, psf = survey.pixel_scale_arcsec, median_psf(survey)
    moffats = [galsim.Moffat(beta=beta, fwhm=fwhm) for fwhm, beta in zip(psf.fwhm_arcsec, psf.betas, strict=True)]
    params = galsim.GSParams(folding_threshold=_FOLDING)
    images = np.empty((len(task.rows), len(survey.bands), task.image_size, task.image_size), np.float32)
    hst_noise, hst_edge = np.empty((2, len(task.rows)), np.float32)
    with _damaged(task.catalogue.parent):
        catalogue = galsim.RealGalaxyCatalog(task.catalogue.name, dir=str(task.catalogue.parent))
        catalogue.noise_file_name = [_noise_file(name) for name in catalogue.noise_file_name]
        try:
            for i, row in enumerate(task.rows.tolist()):
                galaxy = galsim.RealGalaxy(catalogue, index=row, rng=galsim.BaseDeviate(1), gsparams=params)
                for band, moffat in enumerate(moffats):
                    seen = galsim.Convolve(galaxy.withFlux(task.flux[i, band]), moffat, gsparams=params)
                    images[i, band] = seen.drawImage(nx=task.image_size, ny=task.image_size, scale=scale).array
                bright = galaxy.withFlux(task.flux[i, reference])
                noise = galsim.Convolve(bright, moffats[reference], galsim.Pixel(scale), gsparams=params).noise
                # of HST's pixels: one of the survey's holds more light
                larger = (scale / galaxy.pixel_scale) ** 2 / survey.noise[reference]
                hst_noise[i] = np.sqrt(noise.getVariance()) * larger
                hst_edge[i] = _border(galaxy.gal_image.array) * task.flux[i, reference] / galaxy.flux * larger
        finally:
            catalogue.close()
    if task.noise:
        add_noise(images, survey, task.seed, task.rows)
    return images, hst_noise, hst_edge


def _border(image: Float[np.ndarray, "y x"]) -> float:
    """Mean of the outermost pixels."""
    return float(np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]]).mean())


def _galsim() -> Any:
    try:
        import galsim
    except ImportError as error:
        raise InputError("HST's galaxies need GalSim, which is not installed: pip install 'hubbleflow[galsim]'") from error
    return galsim


def _noise_file(name: str) -> str:
    """Where the correlation of HST's noise is: beside the catalogue, or with GalSim, which brings COSMOS'."""
    if Path(name).is_file():
        return name
    return str(Path(_galsim().meta_data.share_dir) / Path(name).name)


def _table(path: Path) -> Table | None:
    """The table in a FITS file's first extension, or None where there are images."""
    from astropy.io import fits

    with _damaged(path), fits.open(path, memmap=False) as hdus:
        return Table(hdus[1].data) if len(hdus) > 1 and isinstance(hdus[1], fits.BinTableHDU) else None


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    """Turn what astropy and GalSim raise for damaged or missing files into one sentence; astropy's warnings of them say no more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except InputError:
            raise
        except (OSError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:  # GalSim's are among these
            raise InputError(f"cannot read {path}: {str(error).splitlines()[0]}; a file is damaged or missing, fetch it again") from error
