"""Galaxy10 DECaLS (Leung & Bovy; Zenodo 10845026): 17,736 DESI Legacy Survey pictures of 256 x 256 px in ten Galaxy
Zoo classes.

The pictures are 8-bit: red, green and blue are z, r and g through the Legacy viewer's tone curve, so they are display
values, not flux, and the survey's unit says so. Classes get their names, `pxscale` stays a column
(`pixel_scale_arcsec`), and `--size 64` averages blocks of 4 x 4 px (the pixel scale grows by 4).

Pictures that are identical pixel by pixel are found by their hash (BLAKE2b of the original pixels). The second and
later ones carry the `object_id` (row in the file) of the first in `duplicate_of` (-1 for all others), and where such
pictures bear different classes, all of them have `flag_conflicting_label`. None is dropped: leave them out with
``galaxies[(galaxies.columns["duplicate_of"] < 0) & ~galaxies.columns["flag_conflicting_label"]]``. Finding them reads
the pictures once before they are written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from hubbleflow.datasets._archive import BLOCK, Archive, Block, ImportOptions, Reading
from hubbleflow.datasets._columns import plain_column
from hubbleflow.errors import InputError
from hubbleflow.galaxy_file import open_hdf5
from hubbleflow.survey import Survey

if TYPE_CHECKING:
    from jaxtyping import Bool, Int, Num

CLASSES = (
    "Disturbed",
    "Merging",
    "Round Smooth",
    "In-between Round Smooth",
    "Cigar Shaped Smooth",
    "Barred Spiral",
    "Unbarred Tight Spiral",
    "Unbarred Loose Spiral",
    "Edge-on without Bulge",
    "Edge-on with Bulge",
)
RENAMED = {"pxscale": "pixel_scale_arcsec"}


def read(source: Path, options: ImportOptions) -> Reading:
    """A Galaxy10 DECaLS HDF5 file.

    Raises:
        InputError: the file is missing or damaged, `images` or `ans` are not there or not of the right shape and
            type, a class is not one of the ten, or `--size` does not divide the pictures.
    """
    with open_hdf5(source) as file:
        images = _images(file, source)
        n, side = images.shape[0], images.shape[1]
        factor = _factor(side, options.size)
        columns = _columns(file, n, source, options)
    n_read = n if options.limit is None else min(n, options.limit)
    answer = columns.pop("ans")
    columns["category"] = np.array(CLASSES)[answer]
    notes = []
    survey = Survey.get("decals-rgb")
    if "pixel_scale_arcsec" in columns:
        columns["pixel_scale_arcsec"] = columns["pixel_scale_arcsec"] * factor
        survey, note = _with_scale(survey, columns["pixel_scale_arcsec"][:n_read], factor)
        notes += [note] if note else []
    elif survey.pixel_scale_arcsec is not None:
        survey = replace(survey, pixel_scale_arcsec=survey.pixel_scale_arcsec * factor)
    if factor > 1:
        notes.append(f"pictures of {side} px were averaged over blocks of {factor} x {factor} px to {side // factor} px")
    notes.append("pixels are display values of the z, r, g bands as red, green, blue: not linear flux")
    return Reading(survey, _blocks(source, columns, answer, n_read, factor, notes), n_read, notes)


def _images(file: h5py.File, source: Path) -> h5py.Dataset:
    images = file.get("images")
    if not isinstance(images, h5py.Dataset):
        raise InputError(f"{source} has no dataset 'images', so it is no Galaxy10 file: it has {', '.join(sorted(file)) or 'nothing'}")
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise InputError(f"{source}: 'images' has shape {images.shape}, expected (n, 256, 256, 3)")
    if images.dtype != np.uint8:
        raise InputError(f"{source}: 'images' holds {images.dtype}, expected 8-bit pixels (uint8)")
    if images.shape[0] == 0:
        raise InputError(f"{source} holds no galaxies: 'images' has zero rows")
    return images


def _factor(side: int, size: int | None) -> int:
    if size is None:
        return 1
    if size > side or side % size:
        raise InputError(f"--size {size} does not divide the pictures' {side} px: choose 128, 64 or another divisor")
    return side // size


def _columns(file: h5py.File, n: int, source: Path, options: ImportOptions) -> dict[str, np.ndarray]:
    available = {name: item for name, item in file.items() if name != "images" and isinstance(item, h5py.Dataset) and item.ndim == 1}
    for name in ("ans", *options.columns):
        if name not in available:
            raise InputError(f"{source} has no column {name!r}: it has {', '.join(available) or 'none'}")
    wanted = {"ans", "redshift", "pxscale", *options.columns} if options.columns else set(available)
    columns = {}
    for name, item in available.items():
        if item.shape != (n,):
            raise InputError(f"{source}: column {name!r} has {item.shape[0]:,} rows but 'images' has {n:,}")
        if name in wanted:
            columns[RENAMED.get(name, name)] = plain_column(item[:])
    answer = columns["ans"]
    if answer.dtype.kind not in "iu" or answer.min() < 0 or answer.max() >= len(CLASSES):
        raise InputError(
            f"{source}: 'ans' must hold whole numbers from 0 to {len(CLASSES) - 1}, one for each class, got "
            f"{answer.dtype} from {answer.min()} to {answer.max()}"
        )
    return columns


def _with_scale(survey: Survey, scale: np.ndarray, factor: int) -> tuple[Survey, str | None]:
    """The survey with the pixel scale that all galaxies share; None where they differ by more than 1 %."""
    usable = scale[np.isfinite(scale) & (scale > 0)]
    if len(usable) == len(scale) and np.ptp(usable) <= 0.01 * usable.min():
        return replace(survey, pixel_scale_arcsec=float(np.median(usable))), None
    spread = f"from {usable.min():.3f} to {usable.max():.3f}" if len(usable) else "never given"
    note = f"pixel scales differ ({spread} arcsec a pixel): the survey states none, column pixel_scale_arcsec has each galaxy's"
    return replace(survey, pixel_scale_arcsec=None), note


def block_mean(images: Num[np.ndarray, "n y x band"], factor: int) -> Num[np.ndarray, "n v u band"]:
    """Average blocks of `factor` x `factor` px, in float32.

    Example:
        >>> block_mean(np.arange(16).reshape(1, 4, 4, 1), 2)[0, :, :, 0]
        array([[ 2.5,  4.5],
               [10.5, 12.5]], dtype=float32)
    """
    n, y, x, bands = images.shape
    return images.reshape(n, y // factor, factor, x // factor, factor, bands).mean(axis=(2, 4), dtype=np.float32)


def find_duplicates(source: Path, answer: Int[np.ndarray, " n"], n: int) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """For each of the first `n` pictures the row of the first identical one (-1: it is itself the first), and whether
    identical pictures bear different classes.

    Two different pictures share a 128-bit hash with a probability of about n^2 / 2^129: never.
    """
    first_row: dict[bytes, int] = {}
    labels: dict[int, set[int]] = {}
    first = np.empty(n, np.int64)
    with h5py.File(source, "r") as file:
        for start in range(0, n, BLOCK):
            for row, picture in enumerate(file["images"][start : min(start + BLOCK, n)], start):
                key = hashlib.blake2b(picture.tobytes(), digest_size=16).digest()
                first[row] = first_row.setdefault(key, row)
                labels.setdefault(int(first[row]), set()).add(int(answer[row]))
    conflicting = np.array([len(labels[int(row)]) > 1 for row in first])
    return np.where(first == np.arange(n), -1, first), conflicting


def _blocks(source: Path, columns: dict[str, np.ndarray], answer: np.ndarray, n: int, factor: int, notes: list[str]) -> Iterator[Block]:
    duplicate_of, conflicting = find_duplicates(source, answer, n)
    notes.append(
        f"{(duplicate_of >= 0).sum():,} pictures repeat an earlier one pixel by pixel (column duplicate_of); "
        f"{conflicting.sum():,} pictures belong to "
        "repeats whose classes disagree (flag_conflicting_label): all are kept"
    )
    made = {
        "object_id": np.arange(n, dtype=np.int64),
        "duplicate_of": duplicate_of,
        "flag_conflicting_label": conflicting,
    }
    with h5py.File(source, "r") as file:
        for start in range(0, n, BLOCK):
            stop = min(start + BLOCK, n)
            images = np.moveaxis(block_mean(file["images"][start:stop], factor), 3, 1)
            yield Block(images, {name: values[start:stop] for name, values in {**columns, **made}.items()})


ARCHIVE = Archive(
    name="galaxy10",
    description="the Galaxy10 DECaLS HDF5 file (Galaxy10_DECals.h5)",
    options=("columns", "size"),
    read=read,
)
