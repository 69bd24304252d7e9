"""The nouns of an import: what the user says, what an archive is, and what it yields.

An archive reads its own files and yields blocks: a few hundred galaxies with their columns. It states what it noticed
in sentences (`notes`) and never drops a galaxy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.survey import DISPLAY_VALUE, Survey

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped, UInt8

BLOCK = 256


@dataclass(frozen=True)
class ImportOptions:
    """What a user may say about a source; each archive names those it understands, and the others are refused.

    Attributes:
        images: key of the array of stamps.
        columns: keys of the columns to keep; empty keeps all that have one value a galaxy.
        survey: name of a known survey, or a new name together with `bands`.
        bands: names of the bands in the order of the images' band axis.
        category: key of the column that holds the kind of galaxy.
        redshift: key of the column that holds the redshift.
        pixel_scale: arcsec a pixel, where the survey does not say or says wrongly.
        zero_point: AB magnitude of one unit of flux, where the survey does not say.
        table: path of the table (CSV, ECSV, FITS) that goes with a folder of files.
        size: side of the stamps to make, px.
        secure: keep only secure redshifts.
        limit: keep only the first so many galaxies.
    """

    images: str | None = None
    columns: tuple[str, ...] = ()
    survey: str | None = None
    bands: tuple[str, ...] = ()
    category: str | None = None
    redshift: str | None = None
    pixel_scale: float | None = None
    zero_point: float | None = None
    table: Path | None = None
    size: int | None = None
    secure: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("limit", "size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name} must be at least 1, got {value}")

    def given(self) -> tuple[str, ...]:
        """Names of the options that differ from their defaults."""
        return tuple(item.name for item in fields(self) if getattr(self, item.name) != item.default)


@dataclass(frozen=True)
class Block:
    """Some galaxies in memory: linear flux (or display values), their columns and, where the source has them,
    weights, masks and PSFs.
    """

    images: Float[np.ndarray, "n band y x"]
    columns: dict[str, Shaped[np.ndarray, " n"]]
    ivar: Float[np.ndarray, "n band y x"] | None = None
    mask: UInt8[np.ndarray, "n band y x"] | None = None
    psf: Float[np.ndarray, "n band v u"] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def first(self, n: int) -> Block:
        """The first `n` galaxies of the block."""
        cut = lambda values: None if values is None else values[:n]  # noqa: E731
        columns = {name: values[:n] for name, values in self.columns.items()}
        return Block(self.images[:n], columns, cut(self.ivar), cut(self.mask), cut(self.psf))


@dataclass
class Reading:
    """A source being read.

    Attributes:
        survey: what the pixels mean.
        blocks: the galaxies, a block at a time; nothing is read before the first block is asked for.
        total: how many galaxies there are, where known beforehand (for a progress bar).
        notes: sentences for the user; a reader may add to them until its last block.
        psf: one PSF for the whole set, where the source has one.
    """

    survey: Survey
    blocks: Iterable[Block]
    total: int | None = None
    notes: list[str] = field(default_factory=list)
    psf: Float[np.ndarray, "band v u"] | None = None


@dataclass(frozen=True)
class Archive:
    """One kind of source and how it is read.

    Attributes:
        name: the word after `hubbleflow import`.
        description: one line for the help page.
        options: names of the fields of :class:`ImportOptions` that `read` looks at; `limit` is always understood.
        read: opens a source; raises InputError with one sentence where that cannot be done.
    """

    name: str
    description: str
    options: tuple[str, ...]
    read: Callable[[Path, ImportOptions], Reading]

    def open(self, source: Path, options: ImportOptions) -> Reading:
        """Check that source and options suit the archive, then read.

        Raises:
            InputError: nothing is at `source`, or an option was given that this archive does not understand.
        """
        if not source.exists():
            raise InputError(f"{source} does not exist: give the path of {self.description}")
        known = (*self.options, "limit")
        for name in options.given():
            if name not in known:
                listed = ", ".join(option_flag(item) for item in known)
                raise InputError(f"{option_flag(name)} means nothing to the archive {self.name!r}, which understands {listed}")
        return self.read(source, options)


def option_flag(name: str) -> str:
    """An option's name as it is typed: `pixel_scale` -> `--pixel-scale`."""
    return "--" + name.replace("_", "-")


def resolve_survey(options: ImportOptions, n_bands: int, eight_bit: bool, default: Survey | None = None) -> Survey:
    """The survey that the options describe, checked against the images' number of bands and their pixel type.

    Eight-bit pixels are display values: they are refused under a survey of linear flux.

    Raises:
        InputError: the survey is unknown, its bands are not those of the images, or 8-bit pixels are claimed to be
            flux.

    Example:
        >>> options = ImportOptions(survey="mine", bands=("a", "b"), pixel_scale=0.2)
        >>> resolve_survey(options, n_bands=2, eight_bit=False).pixel_scale_arcsec
        0.2
    """
    survey = _named_survey(options, n_bands, eight_bit, default)
    if options.pixel_scale is not None:
        survey = replace(survey, pixel_scale_arcsec=options.pixel_scale)
    if options.zero_point is not None:
        if not survey.linear:
            raise InputError(f"survey {survey.name!r} holds display values, which have no zero point: leave out --zero-point")
        survey = replace(survey, zero_point=options.zero_point)
    if len(survey.bands) != n_bands:
        raise InputError(
            f"survey {survey.name!r} has {len(survey.bands)} bands ({', '.join(survey.bands)}) but the images have "
            f"{n_bands}: name the images' bands with --bands"
        )
    if eight_bit and survey.linear:
        raise InputError(
            f"the pixels are 8-bit display values, not the linear flux that survey {survey.name!r} means: "
            "leave out --survey, or use one whose name ends in -rgb"
        )
    return survey


def _named_survey(options: ImportOptions, n_bands: int, eight_bit: bool, default: Survey | None) -> Survey:
    known = Survey.get(options.survey) if options.survey in Survey.names() else None
    if options.survey is None and not options.bands and default is not None:
        return default
    if options.survey is None and options.bands and default is not None and set(options.bands) <= set(default.bands):
        return default.with_bands(options.bands)
    if known is not None:
        return known.with_bands(options.bands) if options.bands else known
    if options.survey is not None and not options.bands and not eight_bit:
        raise InputError(
            f"unknown survey {options.survey!r}: choose one of {', '.join(Survey.names())}, or name its bands too with --bands"
        )
    bands = options.bands
    if not bands and eight_bit:
        bands = {1: ("grey",), 3: ("R", "G", "B")}.get(n_bands, ())
    if not bands:
        raise InputError(
            f"the images have {n_bands} band{'s' if n_bands > 1 else ''}: name a survey with --survey or the bands with --bands"
        )
    unit = DISPLAY_VALUE if eight_bit else "count"
    return Survey.custom(options.survey or ("display" if eight_bit else "unnamed"), bands, None, None, unit)


def check_pixel_dtype(dtype: np.dtype, where: str) -> bool:
    """Whether pixels of `dtype` are 8-bit display values.

    Raises:
        InputError: the pixels are not real numbers.
    """
    if dtype.kind not in "fiu":
        raise InputError(f"{where} has pixels of type {dtype}, expected real numbers (float32 flux or 8-bit display values)")
    return dtype == np.uint8
