"""The table of a set written to a file: ECSV or parquet (units and descriptions kept), FITS or CSV."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.files import atomic_path
from hubbleflow.galaxies import GalaxySet

if TYPE_CHECKING:
    from astropy.table import Table

FORMATS = {".ecsv": "ascii.ecsv", ".fits": "fits", ".csv": "ascii.csv", ".parquet": "parquet"}


def write_table(galaxies: GalaxySet, path: str | os.PathLike[str]) -> Path:
    """Write columns and measurements; the suffix chooses the format. In FITS, letters beyond ASCII are written as `\\xe9`.

    Raises:
        InputError: what `check_table_path` raises, or the file cannot be written.
    """
    return write_rows(galaxies.table, path)


def write_rows(table: Table, path: str | os.PathLike[str]) -> Path:
    """Write an astropy table; the suffix chooses the format. It may be changed on the way: give a copy where that matters.

    Raises:
        InputError: as for `write_table`.
    """
    path = check_table_path(path)
    with atomic_path(path) as temporary:
        if path.suffix == ".fits":
            table.meta = {}  # the header's eight characters cannot hold our provenance
            for name in [name for name in table.colnames if table[name].dtype.kind == "U"]:  # nor a table anything but ASCII
                table[name] = np.char.encode(np.asarray(table[name]), "ascii", "backslashreplace")
        table.write(temporary, format=FORMATS[path.suffix], overwrite=True)
    return path


def check_table_path(path: str | os.PathLike[str]) -> Path:
    """The path, if a table can be written there: to be asked before the work that the table is of.

    Raises:
        InputError: the suffix is none of .ecsv, .fits, .csv, .parquet, or parquet is wanted and pyarrow is not installed.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise InputError(f"cannot tell the format of table {path}: its name must end in {', '.join(FORMATS)}")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise InputError(f"writing {path} needs pyarrow, which is not installed: pip install 'hubbleflow[parquet]'")
    return path
