"""GalaxiesML (Do et al. 2024, arXiv 2410.00271; Zenodo 11117528): 286,401 HSC PDR2 Wide galaxies in g, r, i, z, y
with spectroscopic redshifts.

Its HDF5 files are this package's own layout and need no import: ``GalaxySet.open`` opens them as they are. Importing
makes a checked copy, which is what one wants for a subset (`--secure`, `--limit`), for a file of one's own with a
survey written into it, and to have bad pixels and redshifts flagged (see :mod:`hubbleflow.datasets._flags`).

The columns keep their names: `g_ellipticity` is the archive's ellipticity in g; the prefixes `y_` and `z_` are bands
too. `--secure` keeps the rows whose `specz_flag_homogeneous` is true. Coordinates of shape (n, 2) (`x_coord`,
`y_coord` in some files) are not columns and are skipped with a note.

Outliers are real in these coadds (-25,241 to 3,648 counts in the training set), and they stay. A pixel is counted as
one (column `n_outlier_pixels`) below -10 counts, 40 to 300 times the sky's sigma in the five bands, which only bleeds
and failed sky subtraction reach, or above 1,000 counts: with HSC's 0.58 arcsec seeing a point source puts 7 % of its
light into its central pixel, so that would be a star of magnitude 16.6, where HSC is saturated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from hubbleflow.datasets._archive import BLOCK, Archive, Block, ImportOptions, Reading
from hubbleflow.datasets._columns import free_name, plain_column
from hubbleflow.errors import InputError
from hubbleflow.galaxy_file import COLUMN_NAMES, PIXELS, open_hdf5, read_survey
from hubbleflow.survey import Survey

SECURE = "specz_flag_homogeneous"
OUTLIER_BELOW, OUTLIER_ABOVE = -10.0, 1000.0


@dataclass
class PixelRange:
    """The extremes of the finite pixels seen so far, and how many lie outside the plausible range."""

    lowest: float = np.inf
    highest: float = -np.inf
    outliers: int = 0
    galaxies: int = 0

    def add(self, images: np.ndarray) -> np.ndarray:
        """Take a block in; the number of outlying pixels of each of its galaxies."""
        finite = np.isfinite(images)
        count = (finite & ((images < OUTLIER_BELOW) | (images > OUTLIER_ABOVE))).sum(axis=(1, 2, 3))
        self.lowest = min(self.lowest, float(np.min(images, where=finite, initial=np.inf)))
        self.highest = max(self.highest, float(np.max(images, where=finite, initial=-np.inf)))
        self.outliers += int(count.sum())
        self.galaxies += int((count > 0).sum())
        return count.astype(np.int32)

    def note(self) -> str:
        """One sentence about what was seen."""
        reach = f"pixels reach from {self.lowest:,.6g} to {self.highest:,.6g} counts"
        if not self.outliers:
            return f"{reach}; none lies below {OUTLIER_BELOW:g} or above {OUTLIER_ABOVE:g}"
        return (
            f"{reach}; {self.outliers:,} in {self.galaxies:,} galaxies lie below {OUTLIER_BELOW:g} or above "
            f"{OUTLIER_ABOVE:g}: kept, and counted in column n_outlier_pixels"
        )


def read(source: Path, options: ImportOptions) -> Reading:
    """A GalaxiesML file, 64 or 127 px, with or without the morphology columns.

    Raises:
        InputError: the file is missing, damaged, has no `image` of the right shape and type, columns of another
            length, or no secure redshift.
    """
    with open_hdf5(source) as file:
        survey = read_survey(file, source) if options.survey is None else Survey.get(options.survey)
        image = file.get("image")
        if not isinstance(image, h5py.Dataset) or image.ndim != 4 or image.shape[1] != len(survey.bands):
            read_survey(file, source)  # says what is wrong with the file itself, if anything is
            raise InputError(f"{source} has images of {image.shape[1]} bands but survey {survey.name!r} has {len(survey.bands)}")
        n = image.shape[0]
        stored, skipped = _column_names(file, n, source, options)
        rows = np.ones(n, bool)
        notes: list[str] = []
        taken = {COLUMN_NAMES[key] for key in stored if key in COLUMN_NAMES}
        names = {key: COLUMN_NAMES.get(key) or free_name(key, file[key].dtype, taken, notes) for key in stored}
        if skipped:
            notes.append(f"skipped, not one value a galaxy: {', '.join(skipped)}")
        if options.secure:
            if SECURE not in file:
                raise InputError(f"{source} has no column {SECURE!r}: leave out --secure")
            rows = file[SECURE][:].astype(bool)
            if not rows.any():
                raise InputError(f"{source} has no secure redshift: {SECURE!r} is true for none of its {n:,} galaxies")
            notes.append(f"{rows.sum():,} of {n:,} galaxies have a secure redshift ({SECURE}) and are kept")
        psf = file["psf"][:] if "psf" in file and file["psf"].ndim == 3 else None
    return Reading(survey, _blocks(source, names, rows, notes), int(rows.sum()), notes, psf)


def _column_names(file: h5py.File, n: int, source: Path, options: ImportOptions) -> tuple[list[str], list[str]]:
    """Stored names of the columns to copy, and a description of each dataset that is not a column."""
    names, skipped = [], []
    for name, dataset in file.items():
        if name in PIXELS or not isinstance(dataset, h5py.Dataset):
            continue
        if dataset.ndim != 1:
            skipped.append(f"{name} {dataset.shape}")
        elif dataset.shape[0] != n:
            raise InputError(f"{source}: column {name!r} has {dataset.shape[0]:,} rows but 'image' has {n:,}")
        else:
            names.append(name)
    if options.columns:
        for key in options.columns:
            if key not in names:
                raise InputError(f"{source} has no column {key!r}: it has {', '.join(names) or 'none'}")
        needed = {*options.columns, "object_id", *COLUMN_NAMES}
        names = [name for name in names if name in needed]
    return names, skipped


def _blocks(source: Path, names: dict[str, str], rows: np.ndarray, notes: list[str]) -> Iterator[Block]:
    pixels = PixelRange()
    with h5py.File(source, "r") as file:
        for start in range(0, len(rows), BLOCK):
            stop = min(start + BLOCK, len(rows))
            keep = rows[start:stop]
            if not keep.any():
                continue
            # A contiguous read and a selection in memory: HDF5's own selection by mask is far slower.
            images = file["image"][start:stop][keep]
            columns = {name: plain_column(file[key][start:stop])[keep] for key, name in names.items()}
            columns["n_outlier_pixels"] = pixels.add(images)
            ivar, mask, psf = (_plane(file, name, slice(start, stop), keep) for name in ("ivar", "mask", "psf"))
            yield Block(images, columns, ivar, mask, psf)
    notes.append(pixels.note())


def _plane(file: h5py.File, name: str, rows: slice, keep: np.ndarray) -> np.ndarray | None:
    """Rows of a plane that files of our own may have beside GalaxiesML's pixels; None where there is none for each
    galaxy.
    """
    if name == "psf" and name in file and "psf_index" in file:
        return file[name][:][file["psf_index"][rows][keep]]
    return file[name][rows][keep] if name in file and file[name].ndim == 4 else None


ARCHIVE = Archive(
    name="galaxiesml",
    description="a GalaxiesML HDF5 file (5x64x64_training_with_morphology.hdf5 and its like)",
    options=("survey", "columns", "secure"),
    read=read,
)
