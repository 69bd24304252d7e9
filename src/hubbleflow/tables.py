"""The table of a set written to a file: ECSV (units and descriptions kept), FITS or CSV."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.files import atomic_path
from hubbleflow.galaxies import GalaxySet

FORMATS = {".ecsv": "ascii.ecsv", ".fits": "fits", ".csv": "ascii.csv"}


def write_table(galaxies: GalaxySet, path: str | os.PathLike[str]) -> Path:
    """Write columns and measurements; the suffix chooses the format. In FITS, letters beyond ASCII are written as `\\xe9`.

    Raises:
        InputError: the suffix is none of .ecsv, .fits, .csv, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise InputError(f"cannot tell the format of table {path}: its name must end in {', '.join(FORMATS)}")
    table = galaxies.table
    with atomic_path(path) as temporary:
        if path.suffix == ".fits":
            table.meta = {}  # the header's eight characters cannot hold our provenance
            for name in [name for name in table.colnames if table[name].dtype.kind == "U"]:  # nor a table anything but ASCII
                table[name] = np.char.encode(np.asarray(table[name]), "ascii", "backslashreplace")
        table.write(temporary, format=FORMATS[path.suffix], overwrite=True)
    return path
