"""The table that goes with a folder of files: which one it is, what it says, and which row belongs to which file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.table import Table

from hubbleflow.datasets._archive import ImportOptions
from hubbleflow.datasets._columns import plain_column
from hubbleflow.errors import InputError

FORMATS = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".fit": "fits"}
FILE = "file"


def table_of(folder: Path, options: ImportOptions, suffixes: tuple[str, ...] = (".csv", ".ecsv", ".fits", ".fit")) -> Path | None:
    """The table that `--table` names, else the only one in the folder, else None.

    Raises:
        InputError: several files in the folder could be the table.
    """
    if options.table is not None:
        return options.table
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    if len(found) > 1:
        raise InputError(f"{folder} holds several tables ({', '.join(path.name for path in found)}): name one with --table")
    return found[0] if found else None


def read_table(path: Path) -> dict[str, np.ndarray]:
    """The columns of a CSV, ECSV or FITS table; masked numbers are NaN.

    Raises:
        InputError: the table is missing, of another kind, unreadable, or has no rows.
    """
    if not path.is_file():
        raise InputError(f"the table {path} does not exist")
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"cannot tell what kind of table {path} is: expected one that ends in {', '.join(FORMATS)}")
    try:
        table = Table.read(path, format=FORMATS[path.suffix.lower()])
    except Exception as error:  # astropy's readers raise errors of many kinds for a damaged table
        raise InputError(f"cannot read the table {path}: {str(error).splitlines()[0]}") from error
    if len(table) == 0:
        raise InputError(f"the table {path} has no rows")
    return {name: plain_column(np.ma.asarray(table[name])) for name in table.colnames}


def files_of(columns: dict[str, np.ndarray], table: Path, folder: Path, files: list[Path], notes: list[str]) -> list[Path]:
    """For each row of the table the file that its column `file` names, by path within the folder, name, or name
    without suffix.

    Files that no row names are left out, with a note.

    Raises:
        InputError: the table has no column `file`, or names a file that is not there.
    """
    if FILE not in columns:
        raise InputError(f"the table {table} has no column {FILE!r}, which names each row's file: it has {', '.join(columns)}")
    known: dict[str, Path] = {}
    for path in files:
        for name in (path.stem, path.name, path.relative_to(folder).as_posix()):
            known[name] = path
    chosen = []
    for row, name in enumerate(columns[FILE].astype(str).tolist()):
        if name not in known:
            raise InputError(f"row {row + 1} of {table} names the file {name!r}, which is not in {folder}")
        chosen.append(known[name])
    unused = len(set(files) - set(chosen))
    if unused:
        notes.append(f"{unused:,} files of {folder} are not in the table {table.name} and were left out")
    return chosen
