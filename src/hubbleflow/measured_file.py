"""Measurements are added to a file of galaxies where it stands: the one write of this package that happens in place.

A file may be far larger than the disk has room to copy. What is written beside the old group replaces it only when it is whole; HDF5 gives
no space back, so what has the same layout is written over the old columns instead.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.files import without_nan
from hubbleflow.galaxy_file import MEASURED, OLD, open_mode, reason, storable

PARTIAL = f"{MEASURED}.partial"  # while measurements are replaced


def write_measured(
    path: str | os.PathLike[str],
    columns: Mapping[str, np.ndarray],
    units: Mapping[str, str],
    descriptions: Mapping[str, str],
    attrs: Mapping[str, Any],
) -> None:
    """Replace the group `measured/` of an existing file.

    The file may be far larger than the disk has room to copy, so this is the one write that happens in place. Columns of the same names,
    lengths and types as those that are there are written over them: HDF5 gives no space back, and a file that is measured again and again
    would grow each time. Anything else is written beside the old group, which goes only when the new one is whole and on disk.

    A writer that is killed leaves the old measurements or, where it was writing over them, none; never a mixture.

    Raises:
        InputError: the file cannot be written, is not one of ours, or the disk has too little room.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"cannot add measurements to {path}: there is no such file")
    stored = {name: storable(values) for name, values in columns.items()}
    try:
        file = open_mode(path, "r+")
    except OSError as error:
        raise InputError(f"cannot add measurements to {path}: {reason(error)}") from error
    try:
        with file:
            if MEASURED in file and not isinstance(file[MEASURED], h5py.Group):
                raise InputError(f"cannot add measurements to {path}: it has a column {MEASURED!r}; make a copy with 'hubbleflow import'")
            file.pop(PARTIAL, None)
            if _same_layout(file.get(MEASURED), stored):
                file.move(MEASURED, PARTIAL)  # half-written columns never stand under the name
            else:
                _need_room(path, stored)
                file.create_group(PARTIAL)
            _fill(file[PARTIAL], stored, units, descriptions, attrs)
            file.flush()
            if MEASURED in file:
                file.pop(OLD, None)
                file.move(MEASURED, OLD)
            file.move(PARTIAL, MEASURED)
            file.flush()
            file.pop(OLD, None)
    except OSError as error:
        raise InputError(f"cannot add measurements to {path}: {error.strerror or str(error).splitlines()[0]}") from error


def _same_layout(group: h5py.Group | None, columns: Mapping[str, np.ndarray]) -> bool:
    return group is not None and {name: (item.shape, item.dtype) for name, item in group.items() if isinstance(item, h5py.Dataset)} == {
        name: (values.shape, values.dtype) for name, values in columns.items()
    }


def _need_room(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    needed = 4 * sum(values.nbytes for values in columns.values()) + 2**20
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise InputError(f"cannot add measurements to {path}: {needed >> 20} MiB are needed and the disk has {free >> 20} MiB free")


def _fill(
    group: h5py.Group,
    columns: Mapping[str, np.ndarray],
    units: Mapping[str, str],
    descriptions: Mapping[str, str],
    attrs: Mapping[str, Any],
) -> None:
    for name in set(group.attrs) - set(attrs):
        del group.attrs[name]
    for name, value in attrs.items():
        _set(group, name, value if isinstance(value, str | int | float) else json.dumps(without_nan(value)))
    for name, values in columns.items():
        if name in group:
            group[name][...] = values
        else:
            group.create_dataset(name, data=values)
        _set(group[name], "unit", units.get(name, ""))
        _set(group[name], "description", descriptions.get(name, ""))


def _set(item: h5py.Group | h5py.Dataset, name: str, value: str | int | float) -> None:
    if name not in item.attrs or item.attrs[name] != value:  # writing it again would leave a hole in the file
        item.attrs[name] = value


def canonical(value: Any) -> str:
    """An attribute of the measurements as text that is the same before a file and after it, where dictionaries are JSON."""
    value = without_nan(value.decode(errors="replace") if isinstance(value, bytes) else value)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    return json.dumps(without_nan(value), sort_keys=True)
