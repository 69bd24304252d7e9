"""FITS cutouts: one file a galaxy, one image HDU a band, as ``GalaxySet.write_fits`` writes them and as many surveys'
cutout services do.

    HDU 0            every scalar card is a column (its name in lower case); SURVEY names the survey
    HDU "G" ...      the band's image; MAGZERO (AB magnitude of one unit), BUNIT, a WCS for the pixel scale
    HDU "G_IVAR", "G_MASK", "G_PSF"   inverse variance, mask and PSF of that band, where there are any

A file whose only image is in HDU 0 has one band, named by `--bands` or its FILTER card. A source is a folder or one
file; a table (`--table`, or the only CSV or ECSV in the folder) adds columns by its column `file`. Where SURVEY names
none that is known, the survey is put together from the headers. Every band is brought to one zero point, the
survey's: flux is multiplied by 10^(0.4 (zero_point - MAGZERO)).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from hubbleflow.datasets._archive import BLOCK, Archive, Block, ImportOptions, Reading, resolve_survey
from hubbleflow.datasets._columns import pick_columns
from hubbleflow.datasets._tables import files_of, read_table, table_of
from hubbleflow.errors import InputError
from hubbleflow.survey import Survey

if TYPE_CHECKING:
    from jaxtyping import Float

SUFFIXES = (".fits", ".fit", ".fits.gz", ".fits.fz")
PLANES = ("IVAR", "MASK", "PSF")
# Cards that describe the file, not the galaxy.
# fmt: off
STRUCTURE = {
    "SIMPLE", "BITPIX", "EXTEND", "COMMENT", "HISTORY", "CHECKSUM", "DATASUM", "EXTNAME", "SURVEY", "BUNIT",
    "MAGZERO", "LONGSTRN",
}
WCS_CARDS = (
    "NAXIS", "WCSAXES", "CRPIX", "CRVAL", "CTYPE", "CUNIT", "CDELT", "CD1_", "CD2_", "PC1_", "PC2_", "LONPOLE",
    "LATPOLE", "RADESYS", "MJDREF",
)
# fmt: on


@dataclass
class Cutout:
    """One galaxy's file, in memory."""

    survey_name: str | None
    images: dict[str, np.ndarray]
    zero_points: dict[str, float]
    planes: dict[tuple[str, str], np.ndarray]
    unit: str | None
    pixel_scale_arcsec: float | None


def read(source: Path, options: ImportOptions) -> Reading:
    """A folder of cutouts, or one of them. Headers are read once before the pixels: the columns are all cards that
    any file has.

    Raises:
        InputError: no FITS files are there, one is damaged or has no image, or files disagree about their bands or
            sizes.
    """
    folder, files = (source, _fits_files(source)) if source.is_dir() else (source.parent, [source])
    notes: list[str] = []
    table = table_of(folder, options, suffixes=(".csv", ".ecsv")) if source.is_dir() else options.table
    from_table: dict[str, np.ndarray] = {}
    if table is not None:
        from_table = read_table(table)
        files = files_of(from_table, table, folder, files, notes)
    if not files:
        raise InputError(f"{source} holds no FITS files ({', '.join(SUFFIXES)})")
    columns = pick_columns({**_header_columns(files), **from_table}, options, len(files), str(source), notes)
    first = read_cutout(files[0], options)
    survey = _survey(first, files[0], options)
    return Reading(survey, _blocks(files, first, survey, columns, options, notes), len(files), notes)


def _fits_files(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.name.lower().endswith(SUFFIXES))
    return sorted(found, key=lambda path: [part.zfill(20) if part.isdigit() else part for part in re.split(r"(\d+)", str(path))])


def _header_columns(files: list[Path]) -> dict[str, np.ndarray]:
    """The scalar cards of all primary headers as columns; a card that a file lacks is NaN, or "" for text."""
    cards: dict[str, list[Any]] = {}
    for row, path in enumerate(files):
        with _damaged(path):
            header = fits.getheader(path, 0)
        for card in header.cards:
            about_file = not card.keyword or card.keyword in STRUCTURE or card.keyword.startswith(WCS_CARDS)
            if not about_file and isinstance(card.value, bool | int | float | str):
                cards.setdefault(card.keyword.lower(), [None] * len(files))[row] = card.value
    return {name: _column(values) for name, values in cards.items()}


def _column(values: list[Any]) -> np.ndarray:
    kinds = {type(value) for value in values if value is not None}
    if str in kinds:
        return np.array(["" if value is None else str(value) for value in values])
    if None in values or len(kinds) > 1:
        return np.array([np.nan if value is None else float(value) for value in values])
    return np.array(values)


class _damaged:
    """Turn what astropy raises, or merely warns of, for a broken file into one sentence."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings = warnings.catch_warnings()

    def __enter__(self) -> None:
        self.warnings.__enter__()
        for message in ("Error validating header", "File may have been truncated"):
            warnings.filterwarnings("error", message=message)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self.warnings.__exit__(None, None, None)
        if isinstance(error, OSError | TypeError | Warning | fits.VerifyError) or (
            isinstance(error, ValueError) and not isinstance(error, InputError)
        ):
            raise InputError(f"cannot read {self.path}: it is truncated or not a FITS file; make or download it again") from error


def read_cutout(path: Path, options: ImportOptions) -> Cutout:
    """The images of one file by band (EXTNAME in lower case), with what its headers say.

    Raises:
        InputError: the file is damaged or holds no two-dimensional image.
    """
    images: dict[str, np.ndarray] = {}
    planes: dict[tuple[str, str], np.ndarray] = {}
    zero_points: dict[str, float] = {}
    unit, scale = None, None
    with _damaged(path), fits.open(path, memmap=False) as hdus:
        survey_name = hdus[0].header.get("SURVEY")
        for number, hdu in enumerate(hdus):
            if not getattr(hdu, "is_image", False) or hdu.data is None or hdu.data.ndim != 2:
                continue
            name = (hdu.header.get("EXTNAME") or hdu.header.get("FILTER") or f"band{number}").strip().lower()
            band, _, plane = name.rpartition("_")
            if plane.upper() in PLANES:
                planes[band, plane] = np.asarray(hdu.data)
                continue
            images[name] = np.asarray(hdu.data, np.float32)
            if "MAGZERO" in hdu.header:
                zero_points[name] = float(hdu.header["MAGZERO"])
            unit = unit or hdu.header.get("BUNIT")
            scale = scale or _pixel_scale(hdu.header)
    if not images:
        raise InputError(f"{path} holds no two-dimensional image: expected one image HDU a band")
    # The one image is the one band that was named, whatever its header calls it.
    if len(images) == 1 and len(options.bands) == 1:
        old = next(iter(images))
        images = {options.bands[0].lower(): images[old]}
        zero_points = {options.bands[0].lower(): value for value in zero_points.values()}
        planes = {(options.bands[0].lower(), plane): values for (_, plane), values in planes.items()}
    return Cutout(survey_name, images, zero_points, planes, unit, scale)


def _pixel_scale(header: fits.Header) -> float | None:
    wcs = WCS(header, naxis=2)
    if not wcs.has_celestial:
        return None
    return round(float(np.mean(wcs.proj_plane_pixel_scales()[0].to_value("arcsec"))), 6)


def _survey(first: Cutout, path: Path, options: ImportOptions) -> Survey:
    """The survey the options name, else the one the file names, else one put together from the first file's headers."""
    name = options.survey or first.survey_name
    if name in Survey.names():
        named = Survey.get(name)
        bands = options.bands or tuple(band for band in named.bands if band.lower() in first.images)
        if bands and (options.survey or len(bands) == len(first.images)):
            return resolve_survey(replace(options, survey=name, bands=bands), len(bands), eight_bit=False)
    bands = options.bands or tuple(first.images)
    absent = [band for band in bands if band.lower() not in first.images]
    if absent:
        raise InputError(f"{path} has no band {absent[0]!r}: it has {', '.join(first.images)}")
    zero_point = first.zero_points.get(bands[0].lower())
    survey = Survey.custom(name or "fits", bands, first.pixel_scale_arcsec, zero_point, first.unit or "count")
    return resolve_survey(replace(options, survey=None, bands=()), len(bands), eight_bit=False, default=survey)


def _blocks(
    files: list[Path],
    first: Cutout,
    survey: Survey,
    columns: dict[str, np.ndarray],
    options: ImportOptions,
    notes: list[str],
) -> Iterator[Block]:
    shape = next(iter(first.images.values())).shape
    rescaled = 0
    for start in range(0, len(files), BLOCK):
        part = files[start : start + BLOCK]
        cutouts = [first if path == files[0] else read_cutout(path, options) for path in part]
        factors = np.stack([_flux_factors(cutout, survey) for cutout in cutouts])
        rescaled += int((factors != 1).any(axis=1).sum())
        images = np.stack([_stack(cutout, path, survey, shape) for cutout, path in zip(cutouts, part, strict=True)])
        factors = factors[:, :, None, None].astype(np.float32)
        ivar, mask, psf = (_planes(cutouts, part, survey, plane, first) for plane in ("ivar", "mask", "psf"))
        yield Block(
            images * factors,
            {name: values[start : start + len(part)] for name, values in columns.items()},
            ivar=None if ivar is None else ivar / factors**2,
            mask=None if mask is None else mask.astype(np.uint8),
            psf=None if psf is None else psf.astype(np.float32),
        )
    if rescaled:
        notes.append(
            f"{rescaled:,} galaxies had bands whose MAGZERO is not {survey.zero_point:g}: their flux was brought to that zero point"
        )


def _flux_factors(cutout: Cutout, survey: Survey) -> np.ndarray:
    if survey.zero_point is None:
        return np.ones(len(survey.bands))
    offsets = [survey.zero_point - cutout.zero_points.get(band.lower(), survey.zero_point) for band in survey.bands]
    return 10 ** (0.4 * np.array(offsets))


def _stack(cutout: Cutout, path: Path, survey: Survey, shape: tuple[int, ...]) -> Float[np.ndarray, "band y x"]:
    images = []
    for band in survey.bands:
        if band.lower() not in cutout.images:
            raise InputError(f"{path} has no band {band!r}: it has {', '.join(cutout.images)}")
        image = cutout.images[band.lower()]
        if image.shape != shape or shape[0] != shape[1]:
            raise InputError(f"band {band!r} of {path} has shape {image.shape}, expected square cutouts of one size as the first, {shape}")
        images.append(image)
    return np.stack(images)


def _planes(cutouts: list[Cutout], part: list[Path], survey: Survey, plane: str, first: Cutout) -> np.ndarray | None:
    """A plane of all bands of all galaxies; None where the first file has none."""
    if not any(kind == plane for _, kind in first.planes):
        return None
    stacked = []
    for cutout, path in zip(cutouts, part, strict=True):
        missing = [band for band in survey.bands if (band.lower(), plane) not in cutout.planes]
        if missing:
            raise InputError(f"{path} has no HDU {missing[0].upper()}_{plane.upper()}, which the first file has")
        stacked.append(np.stack([cutout.planes[band.lower(), plane] for band in survey.bands]))
    if len({values.shape for values in stacked}) > 1 or (
        plane != "psf" and stacked[0].shape[1:] != next(iter(first.images.values())).shape
    ):
        raise InputError(f"the {plane.upper()} HDUs near {part[0]} differ in shape from each other or from the images")
    return np.stack(stacked)


ARCHIVE = Archive(
    name="fits",
    description="a folder of FITS cutouts, one image HDU a band (or one such file)",
    options=("columns", "survey", "bands", "category", "redshift", "pixel_scale", "zero_point", "table"),
    read=read,
)
