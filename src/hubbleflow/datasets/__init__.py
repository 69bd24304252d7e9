"""Archives: other people's files, brought in as galaxies.

One module here is one archive. A module whose name does not begin with an underscore and which defines ``ARCHIVE``
(an :class:`Archive` of the module's own name) is found by itself: adding one is one new file and no edit elsewhere.
It reads its source in blocks and says what it saw:

    from hubbleflow.datasets import Archive, Block, ImportOptions, Reading

    def read(source: Path, options: ImportOptions) -> Reading:
        return Reading(survey, blocks(source), total=n, notes=["..."])

    ARCHIVE = Archive("mine", "my survey's stamps", options=("columns",), read=read)

Modules are imported only when they are asked for by name, so that listing them costs nothing.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubbleflow.counting import counting
from hubbleflow.datasets._archive import (
    BLOCK,
    Archive,
    Block,
    ImportOptions,
    Reading,
    check_pixel_dtype,
    resolve_survey,
)
from hubbleflow.datasets._columns import pick_columns, plain_column
from hubbleflow.datasets._flags import BAD_PIXEL, NO_DATA, REDSHIFT_MISSING, REDSHIFT_REFUSED, Tally
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxyWriter
from hubbleflow.survey import Survey

__all__ = [
    "BAD_PIXEL",
    "BLOCK",
    "NO_DATA",
    "REDSHIFT_MISSING",
    "REDSHIFT_REFUSED",
    "Archive",
    "Block",
    "ImportOptions",
    "ImportReport",
    "Reading",
    "archive",
    "archive_names",
    "check_pixel_dtype",
    "import_archive",
    "pick_columns",
    "plain_column",
    "resolve_survey",
]


def archive_names() -> tuple[str, ...]:
    """Names of the archives that can be imported, in alphabetical order; no archive's module is imported.

    Example:
        >>> {"fits", "galaxiesml", "galaxy10", "images", "scenes"} <= set(archive_names())
        True
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


def archive(name: str) -> Archive:
    """The archive of that name.

    Raises:
        InputError: no archive has that name; the sentence lists those that exist.

    Example:
        >>> archive("galaxy10").options
        ('columns', 'size')
    """
    if name not in archive_names():
        raise InputError(f"unknown archive {name!r}: choose one of {', '.join(archive_names())}")
    return importlib.import_module(f"{__name__}.{name}").ARCHIVE


@dataclass(frozen=True)
class ImportReport:
    """What an import did: how many galaxies, of which survey, and what was noticed, in sentences. ``print(report)``
    shows all of it.
    """

    archive: str
    source: Path
    out: Path
    n: int
    survey: Survey
    notes: tuple[str, ...]

    def __str__(self) -> str:
        scale = f", {self.survey.pixel_scale_arcsec:g} arcsec a pixel" if self.survey.pixel_scale_arcsec else ""
        head = f"{self.out}: {self.n:,} galaxies, survey {self.survey.name} ({', '.join(self.survey.bands)}; {self.survey.unit}{scale})"
        return "\n".join([head, *(f"- {note}" for note in self.notes)])


def import_archive(
    name: str,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    images: str | None = None,
    columns: Sequence[str] = (),
    survey: str | None = None,
    bands: Sequence[str] = (),
    category: str | None = None,
    redshift: str | None = None,
    pixel_scale: float | None = None,
    zero_point: float | None = None,
    table: str | os.PathLike[str] | None = None,
    size: int | None = None,
    secure: bool = False,
    limit: int | None = None,
    progress: bool = False,
) -> ImportReport:
    """Bring an archive's own files in as a set of galaxies, a block at a time; `out` appears only when it is whole.

    The options are those of :class:`ImportOptions`; one that the archive does not understand is refused. Bad pixels
    and unusable redshifts are flagged as :mod:`hubbleflow.datasets._flags` describes, no galaxy is dropped for
    them, and the report counts them; it also goes into the file's provenance.

    Args:
        name: one of :func:`archive_names`.
        source: the archive's file or folder.
        out: the HDF5 file to write.
        progress: show a bar on stderr.

    Raises:
        InputError: the source is missing, damaged or not what the archive expects, or an option does not fit it.

    Example:
        >>> import tempfile, numpy as np
        >>> folder = tempfile.mkdtemp()
        >>> np.savez(f"{folder}/stamps.npz", stamps=np.ones((3, 16, 16), np.float32), z=[0.1, 0.2, np.nan])
        >>> report = import_archive("images", f"{folder}/stamps.npz", f"{folder}/set.h5", survey="hsc-i", redshift="z")
        >>> report.n, report.notes[-1]
        (3, '1 of 3 galaxies have no redshift (NaN; flag_redshift = 1)')
    """
    source, out = Path(source), Path(out)
    options = ImportOptions(
        images=images,
        columns=tuple(columns),
        survey=survey,
        bands=tuple(bands),
        category=category,
        redshift=redshift,
        pixel_scale=pixel_scale,
        zero_point=zero_point,
        table=None if table is None else Path(table),
        size=size,
        secure=secure,
        limit=limit,
    )
    if out.exists() and source.exists() and out.samefile(source):
        raise InputError(f"{out} is the source itself: give the new file another name")
    with _reading_errors(source):
        reading = archive(name).open(source, options)
    provenance: dict[str, Any] = {"command": f"import {name}", "source": str(source), "options": _as_json(options)}
    tally = Tally()
    total = _at_most(reading.total, limit)
    with (
        GalaxyWriter(out, reading.survey, provenance, psf=reading.psf) as writer,
        counting(f"importing {source.name}", total, shown=progress) as advance,
    ):
        for block in _guarded(reading, source, limit):
            block = tally.clean(block)
            writer.append(block.images, block.columns, ivar=block.ivar, mask=block.mask, psf=block.psf)
            advance(len(block))
        if tally.galaxies == 0:
            raise InputError(f"{source} holds no galaxies that could be imported: nothing was written")
        if redshift is not None and tally.redshifts_missing + tally.redshifts_refused == tally.galaxies:
            raise InputError(
                f"column {redshift!r} of {source} holds no usable redshift: all {tally.galaxies:,} are NaN, negative or infinite"
            )
        notes = (*reading.notes, *tally.notes())
        writer.provenance["notes"] = list(notes)
    return ImportReport(name, source, out, tally.galaxies, reading.survey, notes)


def _guarded(reading: Reading, source: Path, limit: int | None) -> Iterator[Block]:
    """The blocks up to `limit` galaxies. Errors of reading are told apart from errors of writing here, while it is
    known which it was.
    """
    blocks, left = iter(reading.blocks), limit
    while left is None or left > 0:
        with _reading_errors(source):
            block = next(blocks, None)
        if block is None:
            return
        if left is not None:
            block = block.first(left)
            left -= len(block)
        if len(block):
            yield block


class _reading_errors:
    """Turn whatever a damaged source makes its library raise into one sentence."""

    def __init__(self, source: Path) -> None:
        self.source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError | EOFError | zlib.error | zipfile.BadZipFile):
            reason = getattr(error, "strerror", None) or (str(error).splitlines() or ["it ends too early"])[0]
            raise InputError(
                f"cannot read {self.source}: {reason}; the file is damaged or incomplete: make or download it again"
            ) from error


def _at_most(total: int | None, limit: int | None) -> int | None:
    return limit if total is None else total if limit is None else min(total, limit)


def _as_json(options: ImportOptions) -> dict[str, Any]:
    return {name: str(value) if isinstance(value := getattr(options, name), Path) else value for name in options.given()}
