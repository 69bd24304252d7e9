"""The table that goes with a folder of files: which one it is, what it says, and which row belongs to which file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from astropy.table import Table
from astropy.table.meta import get_header_from_yaml

from hubbleflow.datasets._archive import ImportOptions
from hubbleflow.datasets._columns import plain_column
from hubbleflow.errors import InputError

FORMATS = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".fit": "fits", ".parquet": "parquet"}
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
    """The columns of a CSV, ECSV, FITS or Parquet table; masked numbers are NaN.

    Raises:
        InputError: see `open_table`.
    """
    return plain_columns(open_table(path))


def plain_columns(table: Table) -> dict[str, np.ndarray]:
    """The columns of a table as plain arrays; masked numbers are NaN."""
    return {name: plain_column(np.ma.asarray(table[name])) for name in table.colnames}


def suffix_of(path: Path) -> str:
    """The suffix that says what kind of table a file is, in small letters: ".csv" for x.csv and x.csv.gz."""
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


def open_table(path: Path) -> Table:
    """A CSV, ECSV, FITS or Parquet table (gzipped, too) with its units.

    Raises:
        InputError: the table is missing, of another kind, unreadable, or has no rows.
    """
    if not path.is_file():
        raise InputError(f"the table {path} does not exist")
    if suffix_of(path) not in FORMATS:
        raise InputError(f"cannot tell what kind of table {path} is: expected one that ends in {', '.join(FORMATS)}")
    if suffix_of(path) == ".parquet" and find_spec("pyarrow") is None:
        raise InputError(f"reading {path} needs pyarrow, which is not installed: pip install 'hubbleflow[parquet]'")
    try:
        table = _read_parquet(path) if suffix_of(path) == ".parquet" else Table.read(path, format=FORMATS[suffix_of(path)])
    except Exception as error:  # astropy's readers raise errors of many kinds for a damaged table
        raise InputError(f"cannot read the table {path}: {str(error).splitlines()[0]}") from error
    if len(table) == 0:
        raise InputError(f"the table {path} has no rows")
    return table


def _read_parquet(path: Path) -> Table:
    """Columns with one value a row, and the units that astropy writes beside them; astropy's own reader wants pandas as well."""
    from pyarrow import parquet

    stored = parquet.read_table(path)
    table = Table({name: np.asarray(stored[name]) for name in stored.column_names if not stored[name].type.num_fields})
    header = (stored.schema.metadata or {}).get(b"table_meta_yaml")
    if header:
        words = get_header_from_yaml(header.decode().split("\n"))
        table.meta = words.get("meta", {})
        for column in words["datatype"]:
            if column["name"] in table.colnames and column.get("unit"):
                table[column["name"]].unit = column["unit"]
    return table


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
