"""Stamps from anywhere: an .npz of arrays, or a folder of pictures with a table.

An .npz holds one array of stamps, (n, y, x), (n, band, y, x) or (n, y, x, band) with square stamps (which of them is
told by which two axes are equal, and said), and columns, arrays with one value a galaxy. Without `--images` the only
array of stamps is taken, without `--columns` all columns. Nothing pickled is ever read: an array of Python objects is
refused. Rows are decompressed as they are needed.

A folder holds PNG or JPEG pictures of one size. A table (CSV, ECSV or FITS; `--table`, or the only one in the folder)
names them in its column `file` and brings the other columns; without one every picture is taken, and where pictures
lie in subfolders, the subfolder is the category.

Eight-bit pixels (and every picture) are display values, not flux: the tone curve that made them is not undone, and
the survey says so in its unit.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.lib import format as npy
from PIL import Image, UnidentifiedImageError

from hubbleflow.datasets._archive import (
    BLOCK,
    Archive,
    Block,
    ImportOptions,
    Reading,
    check_pixel_dtype,
    resolve_survey,
)
from hubbleflow.datasets._columns import pick_columns
from hubbleflow.datasets._tables import FILE, files_of, read_table, table_of
from hubbleflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Shaped

PICTURES = (".png", ".jpg", ".jpeg")


def read(source: Path, options: ImportOptions) -> Reading:
    """An .npz of stamps or a folder of pictures.

    Raises:
        InputError: what is there cannot be read as stamps; the sentence says what was found.
    """
    if source.is_dir():
        return _read_pictures(source, options)
    if source.suffix.lower() != ".npz":
        raise InputError(f"{source} is neither an .npz of stamps nor a folder of PNG or JPEG pictures")
    return _read_npz(source, options)


# -- .npz --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class NpzArray:
    """One array of an .npz, known by its header; its rows are read from the (compressed) stream when they are asked
    for.
    """

    path: Path
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool

    def rows(self, size: int) -> Iterator[Shaped[np.ndarray, "n ..."]]:
        """The array, `size` rows at a time."""
        # In Fortran order the first axis is not the outermost on disk: there is no reading it in rows.
        if self.fortran_order:
            with np.load(self.path, allow_pickle=False) as file:
                whole = file[self.key]
            for first in range(0, len(whole), size):
                yield whole[first : first + size]
            return
        row_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.key}.npy") as stream:
            _read_header(stream)
            for first in range(0, self.shape[0], size):
                n = min(size, self.shape[0] - first)
                data = stream.read(n * row_bytes)
                if len(data) < n * row_bytes:
                    raise EOFError(f"array {self.key!r} ends after {first + len(data) // max(row_bytes, 1)} of its {self.shape[0]} rows")
                yield np.frombuffer(data, self.dtype).reshape(n, *self.shape[1:])

    def read(self) -> np.ndarray:
        """The whole array (for columns).

        Raises:
            InputError: it holds Python objects, which could run code when read.
        """
        if self.dtype.hasobject:
            raise InputError(
                f"array {self.key!r} of {self.path} holds pickled Python objects, which are never opened: save it as numbers or text"
            )
        with np.load(self.path, allow_pickle=False) as file:
            return file[self.key]


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(stream)
    return npy.read_array_header_1_0(stream) if version == (1, 0) else npy.read_array_header_2_0(stream)


def npz_arrays(path: Path) -> dict[str, NpzArray]:
    """The arrays of an .npz by key; only their headers are read.

    Raises:
        InputError: the file is no .npz.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".npy"):
                    with archive.open(name) as stream:
                        shape, fortran_order, dtype = _read_header(stream)
                    key = name.removesuffix(".npy")
                    arrays[key] = NpzArray(path, key, shape, dtype, fortran_order and len(shape) > 1)
    except (zipfile.BadZipFile, ValueError) as error:
        raise InputError(f"cannot read {path}: it is truncated or not an .npz file; make or download it again") from error
    return arrays


def _read_npz(source: Path, options: ImportOptions) -> Reading:
    arrays = npz_arrays(source)
    stamps = _stamps(arrays, source, options)
    layout = band_axis(stamps.shape, f"array {stamps.key!r} of {source}")
    n, size = stamps.shape[0], stamps.shape[2]
    n_bands = 1 if layout is None else stamps.shape[layout]
    axes = {None: "(n, y, x)", 1: "(n, band, y, x)", 3: "(n, y, x, band)"}[layout]
    notes = [f"images: array {stamps.key!r} {stamps.shape} {stamps.dtype} read as {axes}: {n_bands} band(s) of {size} px"]
    eight_bit = check_pixel_dtype(stamps.dtype, f"array {stamps.key!r} of {source}")
    survey = resolve_survey(options, n_bands, eight_bit)
    if not survey.linear:
        notes.append("pixels are display values, not linear flux: no magnitude can be measured from them")
    columns = pick_columns(_npz_columns(arrays, stamps, source, options, notes), options, n, str(source), notes)
    return Reading(survey, _npz_blocks(stamps, layout, columns), n, notes)


def _npz_columns(
    arrays: dict[str, NpzArray], stamps: NpzArray, source: Path, options: ImportOptions, notes: list[str]
) -> dict[str, np.ndarray]:
    """The arrays that may be columns. Only those asked for, or with one value a galaxy, are read: a second array of
    stamps stays on disk.
    """
    others = {key: array for key, array in arrays.items() if key != stamps.key}
    asked = {key for key in (*options.columns, options.category, options.redshift) if key is not None}
    for key in sorted(asked - set(others)):
        raise InputError(f"{source} has no column {key!r}: it has {', '.join(map(repr, others)) or 'none'}")
    available = {}
    for key, array in others.items():
        if key in asked or (not options.columns and array.shape == (stamps.shape[0],) and not array.dtype.hasobject):
            available[key] = array.read()
        elif not options.columns:
            notes.append(f"skipped {key!r} {array.shape} {array.dtype}: not one number or text a galaxy")
    return available


def _stamps(arrays: dict[str, NpzArray], source: Path, options: ImportOptions) -> NpzArray:
    described = ", ".join(f"{key} {array.shape}" for key, array in arrays.items()) or "nothing"
    if options.images is not None:
        if options.images not in arrays:
            raise InputError(f"{source} has no array {options.images!r}: it has {described}")
        stamps = arrays[options.images]
    else:
        candidates = [array for array in arrays.values() if len(array.shape) in (3, 4)]
        if len(candidates) != 1:
            raise InputError(f"{source} has {len(candidates)} arrays that could be images: name one with --images; it has {described}")
        stamps = candidates[0]
    if stamps.dtype.hasobject:
        stamps.read()  # refuses
    if stamps.shape and stamps.shape[0] == 0:
        raise InputError(f"{source} holds no galaxies: array {stamps.key!r} has zero rows")
    return stamps


def band_axis(shape: tuple[int, ...], where: str) -> int | None:
    """Which axis of an array of square stamps is the band: 1, 3, or None for (n, y, x).

    Raises:
        InputError: the stamps are not square, the array has another number of axes, or both readings are possible.

    Example:
        >>> band_axis((700, 64, 64, 3), "mine"), band_axis((700, 5, 64, 64), "mine"), band_axis((700, 64, 64), "mine")
        (3, 1, None)
    """
    if len(shape) == 3 and shape[1] == shape[2] > 0:
        return None
    if len(shape) == 4:
        last, first = shape[1] == shape[2] > 0 < shape[3], shape[2] == shape[3] > 0 < shape[1]
        if last and first:
            raise InputError(f"{where} has shape {shape}, whose band axis cannot be told: expected fewer bands than pixels on a side")
        if last or first:
            return 3 if last else 1
    raise InputError(f"{where} has shape {shape}, expected square stamps (n, y, x), (n, band, y, x) or (n, y, x, band)")


def _npz_blocks(stamps: NpzArray, layout: int | None, columns: dict[str, np.ndarray]) -> Iterator[Block]:
    first = 0
    for rows in stamps.rows(BLOCK):
        images = rows[:, None] if layout is None else rows if layout == 1 else np.moveaxis(rows, 3, 1)
        yield Block(images, {name: values[first : first + len(rows)] for name, values in columns.items()})
        first += len(rows)


# -- pictures ----------------------------------------------------------------------------------------
def _read_pictures(folder: Path, options: ImportOptions) -> Reading:
    if options.images is not None:
        raise InputError(f"--images names an array of an .npz, but {folder} is a folder: leave it out")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    if not files:
        raise InputError(f"{folder} holds no PNG or JPEG pictures")
    notes: list[str] = []
    table = table_of(folder, options)
    if table is not None:
        available = read_table(table)
        files = files_of(available, table, folder, files, notes)
    else:
        available = {FILE: np.array([path.relative_to(folder).as_posix() for path in files])}
        if all(path.parent != folder for path in files):
            available["category"] = np.array([path.parent.name for path in files])
            notes.append("no table: the category of each picture is the name of its subfolder")
    columns = pick_columns(available, options, len(files), str(table or folder), notes)
    first = read_picture(files[0])
    if first.shape[1] != first.shape[2]:
        raise InputError(f"{files[0]} is {first.shape[2]} x {first.shape[1]} px, expected square pictures")
    survey = resolve_survey(options, first.shape[0], eight_bit=True)
    notes.append(f"{len(files):,} pictures of {first.shape[1]} px and {first.shape[0]} channel(s): display values, not linear flux")
    return Reading(survey, _picture_blocks(files, first.shape, columns), len(files), notes)


def read_picture(path: Path) -> Shaped[np.ndarray, "band y x"]:
    """The pixels of a picture: one channel if it is grey, else red, green, blue; transparency is dropped.

    Raises:
        InputError: the file is damaged or no picture.
    """
    try:
        with Image.open(path) as picture:
            grey = picture.mode in ("1", "L", "LA", "F") or picture.mode.startswith("I")
            mode = picture.mode if grey and picture.mode not in ("1", "LA") else "L" if grey else "RGB"
            pixels = np.asarray(picture.convert(mode))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read the picture {path}: {str(error).splitlines()[0]}; make or download it again") from error
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)


def _picture_blocks(files: list[Path], shape: tuple[int, ...], columns: dict[str, np.ndarray]) -> Iterator[Block]:
    for first in range(0, len(files), BLOCK):
        pictures = []
        for path in files[first : first + BLOCK]:
            pixels = read_picture(path)
            if pixels.shape != shape:
                raise InputError(
                    f"{path} is {pixels.shape[2]} x {pixels.shape[1]} px with {pixels.shape[0]} channel(s), the "
                    f"first picture {shape[2]} x {shape[1]} with {shape[0]}"
                )
            pictures.append(pixels)
        yield Block(np.stack(pictures), {name: values[first : first + len(pictures)] for name, values in columns.items()})


ARCHIVE = Archive(
    name="images",
    description="an .npz of image stamps, or a folder of PNG or JPEG pictures with a table",
    options=("images", "columns", "survey", "bands", "category", "redshift", "pixel_scale", "zero_point", "table"),
    read=read,
)
