"""What can be judged: a set of galaxies with images, or a table of what somebody measured of some.

A table is FITS, ECSV, CSV (gzipped or not), Parquet, or HDF5 without images: one row a galaxy, columns under our names, which are
GalaxiesML's where it has one (`i_isophotal_area`, `i_major_axis`, `i_ellipticity`, `i_mag`, `g_r`, ...: `hubbleflow measure --table` writes
all of them), and as it likes `redshift` (or `specz_redshift`), `category`, `predicted_redshift`. Columns of other names are renamed on the
way. Units that the file gives are converted to ours, angles on the sky to pixels by the survey's scale; what has no unit is taken to be in
ours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy import units as u
from astropy.table import Table

from hubbleflow.datasets._tables import FORMATS, open_table, plain_columns, suffix_of
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.galaxy_file import COLUMN_NAMES, measured_group, open_hdf5, read_column
from hubbleflow.measure import Recipe
from hubbleflow.measure.columns import column_table
from hubbleflow.measured_table import MeasuredTable
from hubbleflow.survey import Survey

PREFIX = "measured_"  # of our columns in a table that has a column of the archive's of the same name
ALSO = ("predicted_redshift", "redshift_pit", "predicted_category")  # read off images by somebody: enough for a comparison
MAGNITUDES = ("mag", "mag(ab)", "abmag", "ab mag")  # how tables write them, in small letters
SHOWN = 12


def open_both(
    real: str | os.PathLike[str],
    generated: str | os.PathLike[str],
    survey: str | None = None,
    names: Mapping[str, str] | None = None,
) -> tuple[GalaxySet | MeasuredTable, GalaxySet | MeasuredTable, tuple[str, ...]]:
    """The two sides of a comparison, each a file of galaxies or a table; and sentences about what was assumed.

    Args:
        real, generated: the files.
        survey: of tables that name none; where it is not given either, they are taken to be of the other side's.
        names: column of a table -> our name for it.

    Raises:
        InputError: a file cannot be read, a table's survey is not known, none of its columns is one that is measured here, a unit cannot be
            converted, or no table has a column that is to be renamed.
    """
    paths, names, asked = [Path(real), Path(generated)], dict(names or {}), Survey.get(survey) if survey else None
    tables = {path: _read(path) for path in paths if not _has_images(path)}
    if names and not tables:
        raise InputError(
            f"--columns renames columns of tables, but {paths[0]} and {paths[1]} are sets of images, measured here: leave it out"
        )
    for theirs in names:
        if not any(theirs in table.colnames for table in tables.values()):
            raise InputError(f"no column {theirs!r} to rename: " + "; ".join(f"{path} has {_some(t)}" for path, t in tables.items()))
    sets: dict[Path, GalaxySet | MeasuredTable] = {path: GalaxySet.open(path) for path in paths if path not in tables}
    known = asked or next((galaxies.survey for galaxies in sets.values()), None)
    surveys = {path: _survey_of(table) for path, table in tables.items()}
    known = known or next(filter(None, surveys.values()), None)
    notes: tuple[str, ...] = ()
    for path, table in tables.items():
        own = surveys[path] or known
        if own is None:
            raise InputError(f"the table {path} does not say of which survey it is: name it with --survey ({', '.join(Survey.names())})")
        sets[path] = measured_table(table, own, names, path)
        if surveys[path] is None and asked is None:
            notes += (f"the table {path.name} names no survey: it is taken to be of the other side's, {own.name}",)
    return sets[paths[0]], sets[paths[1]], notes


def measured_table(table: Table, survey: Survey, names: Mapping[str, str] | None = None, path: Path | None = None) -> MeasuredTable:
    """A table in memory as one side of a comparison; see the module's docstring.

    Example:
        >>> table = Table({"area": [5.0, 6.0] * u.arcsec**2, "redshift": [0.1, 0.2]})
        >>> made = measured_table(table, Survey.get("hsc-i"), {"area": "i_isophotal_area"})
        >>> made.measured["i_isophotal_area"].round().tolist(), made.redshift.tolist()
        ([177.0, 213.0], [0.1, 0.2])
    """
    where, ours = path or "the table", column_table(survey, Recipe())
    columns: dict[str, np.ndarray] = {}
    measured: dict[str, np.ndarray] = {}
    plain = plain_columns(table)
    renamed = {name: (names or {}).get(name, COLUMN_NAMES.get(name, name)) for name in plain}
    for name, values in plain.items():
        title = renamed[name]
        own = title.removeprefix(PREFIX)
        if own in ours and (title != own or f"{PREFIX}{own}" not in renamed.values()):
            if own in measured:
                raise InputError(f"{where} has two columns for {own}: rename one of them with --columns")
            measured[own] = _converted(values, table[name].unit, ours[own][0], own, name, survey, where)
        elif values.ndim == 1:
            columns[title] = values
    if not measured and not set(ALSO) & set(columns):
        like = ", ".join(f"{survey.reference_band}_{name}" for name in ("isophotal_area", "ellipticity", "mag"))
        raise InputError(
            f"{where} has no column that is measured here, such as {like}: it has {_some(table)}; name them with --columns THEIRS=OURS"
        )
    return MeasuredTable(survey, columns, measured, _attrs(table), {"source": str(path)} if path else {}, path)


def _has_images(path: Path) -> bool:
    if suffix_of(path) in FORMATS:
        return False
    with open_hdf5(path) as file:
        return "image" in file or not (_columns_of(file) or any(_is_table(item) for item in file.values()))


def _read(path: Path) -> Table:
    return open_table(path) if suffix_of(path) in FORMATS else _read_hdf5(path)


def _read_hdf5(path: Path) -> Table:
    """Columns of a file like ours without its images, or a table that astropy or others wrote as one dataset of records."""
    with open_hdf5(path) as file:
        records = next((item for item in file.values() if _is_table(item)), None)
        if records is not None:
            return Table(records[:])
        found = {name: read_column(dataset) for name, dataset in _columns_of(file).items()}
        group = measured_group(file)
        taken = {} if group is None else _columns_of(group)
        units = {}
        for name, dataset in taken.items():
            title = name if name not in found else f"{PREFIX}{name}"
            found[title], units[title] = read_column(dataset), dataset.attrs.get("unit", "")
        lengths = {len(values) for values in found.values()}
        if len(lengths) != 1:
            raise InputError(f"{path} has no images, and columns of {len(lengths)} different lengths: expected one value a galaxy in each")
        table = Table(found, units={name: unit for name, unit in units.items() if unit})
        table.meta["comments"] = [f"{name} = {value}" for name, value in (group.attrs.items() if group is not None else ())]
        if "survey" in file.attrs:
            table.meta["survey"] = Survey.from_json(str(file.attrs["survey"]))
        return table


def _columns_of(group: h5py.Group) -> dict[str, h5py.Dataset]:
    return {n: item for n, item in group.items() if isinstance(item, h5py.Dataset) and item.ndim == 1 and item.dtype.names is None}


def _is_table(item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and item.ndim == 1 and item.dtype.names is not None


def _survey_of(table: Table) -> Survey | None:
    """The survey that a table names, where it is one that is known here."""
    name = table.meta.get("survey", table.meta.get("SURVEY"))
    if isinstance(name, Survey):
        return name
    return Survey.get(name) if name in Survey.names() else None


def _attrs(table: Table) -> dict[str, str]:
    """How it was measured, as `hubbleflow measure --table` writes it."""
    lines = [str(line).partition(" = ") for line in table.meta.get("comments", [])]
    return {name: value for name, equals, value in lines if equals and name.isidentifier()}


def _converted(values: np.ndarray, unit: Any, wanted: str, ours: str, name: str, survey: Survey, where: Any) -> np.ndarray:
    """A column in our unit; flags as whole numbers."""
    if values.dtype.kind not in "fiub":
        raise InputError(f"column {name!r} of {where} must hold numbers for {ours}, got {values.dtype}")
    if ours == "flag" or ours.endswith("_flag"):
        return np.nan_to_num(values.astype(float)).astype(np.int64)
    if unit is None or str(unit).lower() in MAGNITUDES or str(unit) == wanted:
        return values
    to, quantity = u.Unit(wanted, parse_strict="silent"), np.asarray(values, float) * u.Unit(str(unit), parse_strict="silent")
    scale = survey.pixel_scale_arcsec
    for factor in (1.0, *((1 / (scale * u.arcsec / u.pix) ** power for power in (1, 2)) if scale else ())):
        try:
            return (quantity * factor).to_value(to)
        except u.UnitConversionError:
            continue
    raise InputError(f"column {name!r} of {where} is in {unit}, expected {wanted or 'a number without unit'} for {ours}: convert it first")


def _some(table: Table) -> str:
    more = len(table.colnames) - SHOWN
    return ", ".join(table.colnames[:SHOWN]) + (f" and {more} more" if more > 0 else "")
