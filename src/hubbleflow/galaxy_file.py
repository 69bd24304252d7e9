"""The HDF5 layout of a set of galaxies, which is GalaxiesML's (Do et al. 2024, Zenodo 11117528) and a little more.

    image            (n, band, y, x) float32   linear flux in the survey's unit (or display values, where the survey says so)
    specz_redshift   (n,)                      the column `redshift` in memory
    object_id        (n,) int64
    <any name>       (n,)                      a column; strings are stored as UTF-8
    ivar, mask       like image                inverse variance (0 = no data); mask (non-zero = do not use)
    psf              (band, y, x) for all, (n, band, y, x) for each, or (m, band, y, x) with
    psf_index        (n,) int                  galaxy g has psf[psf_index[g]]: a survey is made of pointings
    measured/<name>  (n,)                      what *we* measured, each with attributes `unit` and `description`
    attributes       `survey`, `provenance`    JSON

Datasets of more than one dimension that are none of these (GalaxiesML's (n, 2) pixel coordinates) are left alone. A chunk is one image.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.files import atomic_path, content_hash, without_nan
from hubbleflow.survey import Survey

if TYPE_CHECKING:
    from jaxtyping import Float32, Int, UInt8

PIXELS = ("image", "ivar", "mask", "psf", "psf_index")
STORED_NAMES = {"redshift": "specz_redshift"}
COLUMN_NAMES = {stored: name for name, stored in STORED_NAMES.items()}
MEASURED = "measured"
OLD = f"{MEASURED}.old"  # while measurements are replaced, see measured_file.py
ATTEMPTS, PAUSE_S = 5, 0.2  # measurements are written within a second: a reader that comes in between waits for it


def open_hdf5(path: str | os.PathLike[str]) -> h5py.File:
    """Open an HDF5 file for reading, or say in one sentence why that cannot be done.

    A file that somebody writes to is locked: it is tried again a few times within a second.

    Raises:
        InputError: the file is missing, a folder, truncated, damaged, locked, or may not be read.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist: expected an HDF5 file of galaxies")
    if path.is_dir():
        raise InputError(f"{path} is a folder: expected an HDF5 file of galaxies")
    try:
        return open_mode(path, "r")
    except OSError as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from error


def open_mode(path: Path, mode: str) -> h5py.File:
    """Open an HDF5 file as h5py does, waiting a little for whoever has it locked."""
    for _ in range(ATTEMPTS - 1):
        try:
            return h5py.File(path, mode)
        except BlockingIOError:
            time.sleep(PAUSE_S)
    return h5py.File(path, mode)


def reason(error: OSError) -> str:
    """Why a file cannot be opened, and what to do."""
    text = str(error)
    if isinstance(error, BlockingIOError):
        return "another program has it open and has locked it; try again when that is done"
    if isinstance(error, PermissionError):
        return "its permissions do not allow it; change them (chmod) or work on a copy"
    if "already open" in text:
        return "this program itself has it open already; close it first"
    if "unable to lock" in text:
        return "its file system knows no locks; set HDF5_USE_FILE_LOCKING=FALSE or work on a copy elsewhere"
    if error.errno is not None:  # the disk or the network says no: nothing is wrong with what is in the file
        return os.strerror(error.errno)
    return f"{'it is truncated' if 'truncated' in text else 'it is damaged, or not an HDF5 file'}; make or download it again"


def read_survey(file: h5py.File, path: Path) -> Survey:
    """The survey that a file names; a file that names none but holds five bands is GalaxiesML, i.e. HSC Wide."""
    if "image" not in file or not isinstance(file["image"], h5py.Dataset):
        names = ", ".join(sorted(file)[:8]) or "nothing"
        raise InputError(f"{path} has no dataset 'image': expected (n, band, y, x) pixels, found {names}; see 'hubbleflow import'")
    image = file["image"]
    if image.ndim != 4 or image.shape[2] != image.shape[3]:
        raise InputError(
            f"{path}: 'image' has shape {image.shape}, expected (n, band, y, x) with square stamps; see 'hubbleflow import images'"
        )
    if image.dtype.kind not in "fiu":
        raise InputError(f"{path}: 'image' holds {image.dtype}, expected numbers")
    if image.shape[0] == 0:
        raise InputError(f"{path} holds no galaxies: 'image' has zero rows")
    if "survey" in file.attrs:
        try:
            survey = Survey.from_json(_text(file.attrs["survey"]))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    elif image.shape[1] == 5:
        survey = Survey.get("hsc-wide")
    else:
        raise InputError(
            f"{path} names no survey and has {image.shape[1]} band(s): bring it in with 'hubbleflow import images --survey NAME'"
        )
    if len(survey.bands) != image.shape[1]:
        raise InputError(
            f"{path}: 'image' has {image.shape[1]} band(s) but survey {survey.name!r} has {len(survey.bands)}: {', '.join(survey.bands)}"
        )
    return survey


def read_columns(group: h5py.Group, n: int, path: Path) -> dict[str, np.ndarray]:
    """Every one-dimensional dataset of a file or group as a column, strings decoded, under the names used in memory."""
    columns: dict[str, np.ndarray] = {}
    for stored, dataset in group.items():
        if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1 or stored in PIXELS:
            continue
        if dataset.shape[0] != n:
            raise InputError(f"{path}: column {stored!r} has {dataset.shape[0]} rows but 'image' has {n}")
        # A foreign file may call a column `measured`, which is a group of ours: it is read under another name.
        name = f"archive_{stored}" if stored == MEASURED else COLUMN_NAMES.get(stored, stored)
        columns[name] = read_column(dataset)
    return columns


def read_column(dataset: h5py.Dataset) -> np.ndarray:
    """One column in memory: numbers as they are, strings (fixed or variable length) as numpy str."""
    if h5py.check_string_dtype(dataset.dtype) or dataset.dtype.kind == "S":
        return np.array([_text(value) for value in dataset[:]], dtype=str)
    return dataset[:]


def read_json_attribute(group: h5py.Group, name: str) -> dict[str, Any]:
    """A JSON attribute as a dictionary; {} where there is none, and {"text": ...} where it is something else."""
    if name not in group.attrs:
        return {}
    text = _text(group.attrs[name])
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"text": text}


def measured_group(file: h5py.File) -> h5py.Group | None:
    """The group of our measurements, or the older one where a writer was killed while it replaced them; None if there is none."""
    for name in (MEASURED, OLD):
        if isinstance(file.get(name), h5py.Group):
            return file[name]
    return None


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def as_text(values: np.ndarray) -> np.ndarray:
    """A column of anything as one of numpy str."""
    if values.dtype.kind == "U":
        return values
    plain = [_text(value) for value in values.ravel().tolist()]
    return np.array(plain, str).reshape(values.shape)


def as_numbers(values: np.ndarray, name: str) -> np.ndarray:
    """A column of numbers, None among them as NaN. Raises: InputError if it holds anything else."""
    if values.dtype.kind in "fiu":
        return values
    if values.dtype.kind == "O":
        try:
            return values.astype(float)
        except (TypeError, ValueError):
            pass
    example = repr(values.ravel().tolist()[0]) if values.size else str(values.dtype)
    raise InputError(f"column {name!r} must hold numbers, got {example}: convert it, with NaN where it is not known")


def storable(values: np.ndarray) -> np.ndarray:
    """A column as HDF5 holds it: text as bytes."""
    values = np.asarray(values)
    return np.array([str(value).encode() for value in values]) if values.dtype.kind in "UO" else values


class GalaxyWriter:
    """Write galaxies to an HDF5 file block by block; the file appears under its name only when it is whole.

    Args:
        path: where the file will be.
        survey: what the pixels mean.
        provenance: JSON-able: the command, its seed, what the galaxies come from.
        psf: (band, y, x), one for all galaxies; PSFs of pointings or of single galaxies go through :meth:`append`.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/two.h5"
        >>> with GalaxyWriter(path, Survey.get("hsc-wide")) as writer:
        ...     writer.append(np.zeros((2, 5, 8, 8), np.float32), {"redshift": np.array([0.1, 0.2])})
        >>> writer.n
        2
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        survey: Survey,
        provenance: Mapping[str, Any] | None = None,
        psf: Float32[np.ndarray, "band h w"] | None = None,
    ) -> None:
        self.path, self.survey, self.provenance, self.psf, self.n = Path(path), survey, dict(provenance or {}), psf, 0
        self._stack = ExitStack()
        self._strings: dict[str, list[bytes]] = {}
        self._pointings: dict[str, int] = {}  # hash of a PSF that galaxies share -> its row

    def __enter__(self) -> GalaxyWriter:
        temporary = self._stack.enter_context(atomic_path(self.path))
        try:
            self._file = self._stack.enter_context(h5py.File(temporary, "w"))
            self._file.attrs["survey"] = self.survey.to_json()
            if self.psf is not None:
                self._file["psf"] = np.asarray(self.psf, np.float32)
        except BaseException as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def append(
        self,
        images: Float32[np.ndarray, "n band y x"],
        columns: Mapping[str, np.ndarray] | None = None,
        ivar: Float32[np.ndarray, "n band y x"] | None = None,
        mask: UInt8[np.ndarray, "n band y x"] | None = None,
        psf: Float32[np.ndarray, "band h w"] | Float32[np.ndarray, "n band h w"] | None = None,
        psf_index: Int[np.ndarray, " n"] | None = None,
    ) -> None:
        """Add a block of galaxies. Every block must bring the same columns and planes, but a mask may be left out (0).

        `psf` is one PSF that the block's galaxies share (band, y, x); or one for each of them (n, band, y, x); or some (k, band, y, x) of
        which galaxy g has number psf_index[g]. What is shared is stored once in the file, whichever blocks bring it.

        Raises:
            InputError: the block's shape, columns or planes differ from what came before.
        """
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1] != len(self.survey.bands):
            raise InputError(
                f"images have shape {images.shape}, expected (n, {len(self.survey.bands)}, y, x) for survey {self.survey.name!r}"
            )
        if taken := {*PIXELS, MEASURED} & set(columns or {}):
            raise InputError(f"a column cannot be called {', '.join(sorted(taken))}: the file format keeps that name for itself")
        psf = psf if self.psf is None else None
        shared = psf is not None and (np.ndim(psf) == 3 or psf_index is not None)
        arrays = {"image": images.astype(np.float32, copy=False), "ivar": ivar, "mask": mask, "psf": None if shared else psf}
        arrays |= {STORED_NAMES.get(name, name): storable(values) for name, values in (columns or {}).items()}
        arrays.setdefault("object_id", np.arange(self.n, self.n + len(images), dtype=np.int64))
        if shared:
            arrays["psf_index"] = np.zeros(len(images), np.int32) if psf_index is None else psf_index
        given = {name: np.asarray(values) for name, values in arrays.items() if values is not None}
        stored = set(self._file) - ({"psf"} if self.psf is not None or self._pointings else set()) | set(self._strings)
        if self.n and (set(given) ^ stored) - {"mask"}:
            raise InputError(f"this block brings {sorted(set(given) ^ stored)} differently from the blocks before it")
        if shared:
            given["psf_index"] = self._rows_of_psfs(np.asarray(psf, np.float32), given["psf_index"])
        for name, values in given.items():
            if len(values) != len(images):
                raise InputError(f"{name!r} has {len(values)} rows for {len(images)} images")
            self._append(name, values, self.n)
        self.n += len(images)
        if "mask" in self._file:  # HDF5 fills with zeros what no block wrote, and stores no chunk for it
            self._file["mask"].resize(self.n, axis=0)

    def _rows_of_psfs(self, psf: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Where in the dataset `psf` the block's galaxies have theirs; PSFs that are not there yet are added."""
        psf = psf[None] if psf.ndim == 3 else psf
        if psf.ndim != 4 or psf.shape[1] != len(self.survey.bands):
            raise InputError(f"a shared psf has shape {psf.shape[1:]}, expected ({len(self.survey.bands)}, y, x)")
        if index.dtype.kind not in "iu" or (index.size and not (index.min() >= 0 and index.max() < len(psf))):
            raise InputError(f"psf_index must hold whole numbers from 0 to {len(psf) - 1}, one for each of the {len(psf)} PSFs")
        rows = []
        for one in psf:
            key, count = content_hash(one.tobytes()), len(self._pointings)
            if key not in self._pointings:
                self._append("psf", one[None], count)
                self._pointings[key] = count
            rows.append(self._pointings[key])
        return np.array(rows, np.int32)[index]

    def _append(self, name: str, values: np.ndarray, first: int) -> None:
        if values.dtype.kind == "S":  # their length is known only at the end
            self._strings.setdefault(name, []).extend(values.tolist())
            return
        if name not in self._file:
            chunks = (1, *values.shape[1:]) if values.ndim > 1 else (4096,)
            self._file.create_dataset(name, (0, *values.shape[1:]), values.dtype, maxshape=(None, *values.shape[1:]), chunks=chunks)
        dataset = self._file[name]
        if dataset.shape[1:] != values.shape[1:]:
            raise InputError(f"{name!r} has shape {values.shape[1:]} a galaxy where the blocks before it had {dataset.shape[1:]}")
        dataset.resize(first + len(values), axis=0)
        dataset[first:] = values

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        if kind is None:
            try:
                self._finish()
            except BaseException as problem:  # a full disk shows itself here too: remove the partial file
                self._stack.__exit__(type(problem), problem, problem.__traceback__)
                raise
        return self._stack.__exit__(kind, error, trace)

    def _finish(self) -> None:
        if self.n == 0:
            raise InputError(f"{self.path} would hold no galaxies: nothing was written")
        for name, values in self._strings.items():
            self._file[name] = np.array(values)
        # Last, so that what a caller learns while streaming (counts, notes) can still go into `provenance`.
        self._file.attrs["provenance"] = json.dumps(without_nan(self.provenance))
