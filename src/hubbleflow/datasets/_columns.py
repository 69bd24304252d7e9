"""Columns: which of a source's are kept, under which names, and as which plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from hubbleflow.datasets._archive import ImportOptions
from hubbleflow.errors import InputError
from hubbleflow.galaxy_file import MEASURED, PIXELS, STORED_NAMES


def pick_columns(available: dict[str, np.ndarray], options: ImportOptions, n: int, where: str, notes: list[str]) -> dict[str, np.ndarray]:
    """The columns that the options ask for (all with one value a galaxy, where `--columns` names none), under the names
    used here: what `--category` and `--redshift` name is called that.

    Raises:
        InputError: a key is not there, or a column asked for has another length than the images.
    """
    named = {key: name for name, key in (("category", options.category), ("redshift", options.redshift)) if key is not None}
    if "redshift" not in named.values() and "redshift" not in available and STORED_NAMES["redshift"] in available:
        named[STORED_NAMES["redshift"]] = "redshift"  # GalaxiesML's own name for it
    for key in (*options.columns, *named):
        if key not in available:
            raise InputError(f"{where} has no column {key!r}: it has {', '.join(map(repr, available)) or 'none'}")
    wanted = options.columns or tuple(available)
    columns: dict[str, np.ndarray] = {}
    skipped = []
    for key in dict.fromkeys((*wanted, *named)):
        values = plain_column(available[key])
        asked = key in options.columns or key in named
        if values.shape != (n,):
            if asked:
                raise InputError(f"column {key!r} of {where} has shape {values.shape}, expected one value for each of the {n:,} images")
            skipped.append(f"{key} {values.shape}")
            continue
        name = named.get(key) or free_name(key, values.dtype, set(named.values()), notes)
        columns[name] = values
        if name == "category":
            columns[name] = values.astype(str)
        elif name == "redshift":
            columns[name] = _numbers(values, key, where)
    if skipped:
        notes.append(f"skipped, not one value a galaxy: {', '.join(skipped)}")
    return columns


def free_name(key: str, dtype: np.dtype, taken: set[str], notes: list[str]) -> str:
    """`key`, or another name where the file format means something else by it or another column has it."""
    name = key.replace("/", "_")
    reserved = {*PIXELS, MEASURED, *STORED_NAMES.values(), *taken}
    if key in reserved or (key == "object_id" and dtype.kind not in "iu"):
        name = f"archive_{key}"
    if name != key:
        notes.append(f"column {key!r} is called {name!r} here")
    return name


def _numbers(values: np.ndarray, key: str, where: str) -> np.ndarray:
    try:
        return values.astype(float)
    except (TypeError, ValueError) as error:
        raise InputError(f"column {key!r} of {where} cannot be a redshift: its values are {values.dtype}, expected numbers") from error


def plain_column(values: Any) -> np.ndarray:
    """`values` as a plain array: bytes become text, text kept as objects becomes fixed-width text, masked values NaN
    or ''.
    """
    if isinstance(values, np.ma.MaskedArray):
        if values.dtype.kind in "iub" and np.ma.is_masked(values):
            values = values.astype(float)
        values = values.filled(np.nan if values.dtype.kind in "fc" else "") if np.ma.is_masked(values) else values.data
    values = np.asarray(values)
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind in "mM":
        return values.astype(str)
    if values.dtype.kind == "O":
        text = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in values.ravel()]
        return np.array(text, str).reshape(values.shape)
    return values
