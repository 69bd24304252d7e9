"""A set of galaxies: the noun that every verb of this package reads or writes.

Images are linear flux, always; what the archive says about a galaxy stands in `columns`, what we measured ourselves in `measured`, and what
turns pixels into physics in `survey`. Images stay on disk until they are indexed, so a set of 200,000 galaxies costs the memory of its
table.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.files import content_hash
from hubbleflow.galaxy_file import (
    GalaxyWriter,
    as_numbers,
    as_text,
    measured_group,
    open_hdf5,
    read_columns,
    read_json_attribute,
    read_survey,
)
from hubbleflow.measured_file import canonical, write_measured
from hubbleflow.pixels import ChainedStack, DiskStack, IndexedStack, Stack, in_memory, join_psfs, open_psf, row_numbers, select
from hubbleflow.survey import Survey

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["GalaxySet", "GalaxyWriter", "write_measured"]

BLOCK = 256  # galaxies held in memory at a time while streaming: 21 MB of 5 x 64 x 64 float32
UNITS = {
    "ra": "deg",
    "dec": "deg",
    "true_half_light_radius": "arcsec",
    "true_position_angle": "deg",
    "true_luminosity_distance": "Mpc",
    "true_lookback_time": "Gyr",
}


class GalaxySet:
    """Galaxies of one survey: images, their table, and what was measured.

    Args:
        images: (n, band, y, x) linear flux in `survey.unit`, an array or a stack on disk.
        survey: bands, pixel scale, zero point, PSF, noise.
        columns: name -> (n,) values; `object_id` is made where absent, `category` is turned into text.
        measured: name -> (n,) values that we measured; `measured_units` and `measured_descriptions` say what they are.
        psf: (band, y, x) for the set, or a stack (n, band, y, x): where galaxies share PSFs, an IndexedStack.
        ivar: inverse variance like `images`; 0 = no data.
        mask: non-zero = do not use.
        provenance: JSON-able: where the galaxies come from.

    Raises:
        InputError: shapes, bands or lengths do not agree, or the redshifts are no numbers.

    Example:
        >>> galaxies = GalaxySet(np.zeros((3, 5, 8, 8), np.float32), Survey.get("hsc-wide"), {"redshift": np.array([0.1, 0.5, 2.0])})
        >>> len(galaxies), len(galaxies[galaxies.redshift < 1]), galaxies.bands
        (3, 2, ('g', 'r', 'i', 'z', 'y'))
    """

    def __init__(
        self,
        images: Stack,
        survey: Survey,
        columns: Mapping[str, np.ndarray] | None = None,
        *,
        measured: Mapping[str, np.ndarray] | None = None,
        measured_units: Mapping[str, str] | None = None,
        measured_descriptions: Mapping[str, str] | None = None,
        measured_attrs: Mapping[str, Any] | None = None,
        psf: Any = None,
        ivar: Stack | None = None,
        mask: Stack | None = None,
        provenance: Mapping[str, Any] | None = None,
        path: Path | None = None,
    ) -> None:
        if len(images.shape) != 4 or images.shape[1] != len(survey.bands):
            raise InputError(
                f"images have shape {tuple(images.shape)}, expected (n, {len(survey.bands)}, y, x) for the bands of survey {survey.name!r}"
            )
        n = len(images)
        self.images, self.survey, self.path = images, survey, path
        self.columns = {name: np.asarray(values) for name, values in (columns or {}).items()}
        self.columns.setdefault("object_id", np.arange(n, dtype=np.int64))
        if "category" in self.columns:
            self.columns["category"] = as_text(self.columns["category"])
        if "redshift" in self.columns:
            self.columns["redshift"] = as_numbers(self.columns["redshift"], "redshift")
        self.measured = {name: np.asarray(values) for name, values in (measured or {}).items()}
        self.measured_units, self.measured_descriptions = dict(measured_units or {}), dict(measured_descriptions or {})
        self.measured_attrs, self.provenance = dict(measured_attrs or {}), dict(provenance or {})
        self.psf, self.ivar, self.mask = psf, ivar, mask
        for name, values in {**self.columns, **self.measured}.items():
            if values.shape != (n,):
                raise InputError(f"column {name!r} has shape {values.shape}, expected ({n},): one value a galaxy")
        for name, plane in (("ivar", ivar), ("mask", mask)):
            if plane is not None and tuple(plane.shape) != tuple(images.shape):
                raise InputError(f"{name} has shape {tuple(plane.shape)}, expected that of the images, {tuple(images.shape)}")
        if psf is not None and not (
            len(psf.shape) in (3, 4) and psf.shape[-3] == images.shape[1] and (len(psf.shape) == 3 or len(psf) == n)
        ):
            raise InputError(f"psf has shape {tuple(psf.shape)}, expected ({images.shape[1]}, y, x) or ({n}, {images.shape[1]}, y, x)")

    # -- opening and writing ----------------------------------------------------------------------------------------------------
    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> GalaxySet:
        """Open an HDF5 file of galaxies (ours, or GalaxiesML's as it is); images are read when they are indexed.

        Raises:
            InputError: the file is missing, truncated, not HDF5, has no `image`, no rows, or columns that disagree with the images.
        """
        path = Path(path)
        with open_hdf5(path) as file:
            survey = read_survey(file, path)
            n = file["image"].shape[0]
            group: Any = measured_group(file)
            measured = read_columns(group, n, path) if group is not None else {}
            return cls(
                DiskStack(path, "image"),
                survey,
                read_columns(file, n, path),
                measured=measured,
                measured_units={name: group[name].attrs.get("unit", "") for name in measured if name in group},
                measured_descriptions={name: group[name].attrs.get("description", "") for name in measured if name in group},
                measured_attrs=dict(group.attrs) if group is not None else {},
                psf=open_psf(file, path, n),
                ivar=DiskStack(path, "ivar") if "ivar" in file else None,
                mask=DiskStack(path, "mask", dtype=np.uint8) if "mask" in file else None,
                provenance=read_json_attribute(file, "provenance"),
                path=path,
            )

    def write(self, path: str | os.PathLike[str]) -> GalaxySet:
        """Stream the set to an HDF5 file and return the set opened from there. The file appears only when it is whole."""
        with GalaxyWriter(path, self.survey, self.provenance, self.psf if self._one_psf else None) as writer:
            for block in self.blocks():
                psf: Any = None if self._one_psf else block.psf
                shared = isinstance(psf, IndexedStack)
                ivar, mask, psfs = (in_memory(plane) for plane in (block.ivar, block.mask, psf.whole if shared else psf))
                writer.append(block.images[:], block.columns, ivar, mask, psfs, psf.rows if shared else None)
        if self.measured:
            write_measured(path, self.measured, self.measured_units, self.measured_descriptions, self.measured_attrs)
        return GalaxySet.open(path)

    def write_fits(self, folder: str | os.PathLike[str]) -> list[Path]:
        """One FITS file a galaxy in `folder`, one HDU a band with WCS, MAGZERO and BUNIT (see :mod:`hubbleflow.fits_cutouts`)."""
        from hubbleflow.fits_cutouts import write_cutouts

        return write_cutouts(self, Path(folder))

    # -- what is in it ----------------------------------------------------------------------------------------------------------
    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        where = f" from {self.path}" if self.path else ""
        return f"<GalaxySet: {len(self)} galaxies, {'x'.join(map(str, self.images.shape[1:]))}, {self.survey.name}{where}>"

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands, in the images' order."""
        return self.survey.bands

    @property
    def image_size(self) -> int:
        """Pixels on a side of one stamp."""
        return self.images.shape[-1]

    @property
    def redshift(self) -> np.ndarray:
        """(n,) redshifts; NaN where unknown."""
        return np.asarray(self.columns.get("redshift", np.full(len(self), np.nan)), float)

    @property
    def category(self) -> np.ndarray:
        """(n,) category names; "" where unknown."""
        return np.asarray(self.columns.get("category", np.full(len(self), "")), str)

    @property
    def recipe(self) -> dict[str, str]:
        """What `measured` was measured by, as text that is the same whether the set has been through a file or not.

        A file keeps a dictionary as JSON and gives numbers back as numpy's: sets can be compared by this, not by `measured_attrs`.
        """
        return {name: canonical(value) for name, value in self.measured_attrs.items()}

    def column(self, name: str) -> np.ndarray:
        """A column of the table, or failing that a measured one.

        Raises:
            InputError: there is no such column; the sentence names those that exist.
        """
        for source in (self.columns, self.measured):
            if name in source:
                return source[name]
        names = ", ".join([*self.columns, *self.measured][:12])
        hint = "" if self.measured else "; run 'hubbleflow measure' first for measured ones"
        raise InputError(f"no column {name!r} in this set: it has {names}{hint}")

    @property
    def table(self) -> QTable:
        """An astropy QTable of the columns and, after them, the measured columns, with units and descriptions.

        Where both have a column of one name, the archive's keeps it and ours is called `measured_<name>`.
        """
        from astropy import units as u
        from astropy.table import Column, QTable

        table = QTable(meta={"survey": self.survey.name, **{key: str(value) for key, value in self.provenance.items()}})
        for name, values in self.columns.items():
            table[name] = u.Quantity(values, UNITS[name]) if name in UNITS else values
        for name, values in self.measured.items():
            unit, title = self.measured_units.get(name, ""), name if name not in self.columns else f"measured_{name}"
            table[title] = u.Quantity(values, u.Unit(unit, parse_strict="silent")) if unit and values.dtype.kind == "f" else Column(values)
            table[title].info.description = self.measured_descriptions.get(name, "")
        if self.measured_attrs:  # what decodes the flags, too; comments, because FITS keywords are short
            table.meta["comments"] = [f"{key} = {value}" for key, value in self.measured_attrs.items()]
        return table

    def content_hash(self, blocks: Sequence[str] | None = None) -> str:
        """SHA-256 over the survey, the images and the columns, read in one streaming pass; `blocks` are those of each block's images,
        where they are known.
        """
        parts = [self.survey.to_json(), *(blocks or ())]
        for block in self.blocks() if blocks is None else ():
            parts.append(content_hash(np.ascontiguousarray(block.images).tobytes()))
        for name in sorted(self.columns):
            parts.append(content_hash(name, "\n".join(map(str, self.columns[name].tolist()))))
        return content_hash(*parts)

    # -- fewer, or more ---------------------------------------------------------------------------------------------------------
    @property
    def _one_psf(self) -> bool:
        return self.psf is not None and len(self.psf.shape) == 3

    def __getitem__(self, rows: Any) -> GalaxySet:
        """The galaxies of a slice, a mask or a list of row numbers, as a set; images on disk are not read."""
        if isinstance(rows, int | np.integer):
            rows = [rows]
        chosen = row_numbers(rows, len(self))
        return GalaxySet(
            select(self.images, chosen),
            self.survey,
            {name: values[chosen] for name, values in self.columns.items()},
            measured={name: values[chosen] for name, values in self.measured.items()},
            measured_units=self.measured_units,
            measured_descriptions=self.measured_descriptions,
            measured_attrs=self.measured_attrs,
            psf=self.psf if self.psf is None or self._one_psf else select(self.psf, chosen),
            ivar=select(self.ivar, chosen),
            mask=select(self.mask, chosen),
            provenance=self.provenance,
            path=self.path,
        )

    def with_columns(self, columns: Mapping[str, np.ndarray]) -> GalaxySet:
        """The same galaxies, of the same images, with more columns."""
        wider = copy(self)
        wider.columns = {**self.columns, **columns}
        return wider

    def in_memory(self) -> GalaxySet:
        """The same set with every plane read into memory."""
        part = self[:]
        part.images, part.ivar, part.mask, part.psf = (in_memory(plane) for plane in (part.images, part.ivar, part.mask, part.psf))
        return part

    def blocks(self, size: int = BLOCK) -> Iterator[GalaxySet]:
        """The set in pieces of at most `size` galaxies, each in memory."""
        for first in range(0, len(self), size):
            yield self[first : first + size].in_memory()

    def split(self, fractions: Sequence[float], seed: int = 0) -> tuple[GalaxySet, ...]:
        """Disjoint random parts, the same for the same seed; rows keep their order within each part.

        Raises:
            InputError: the fractions are not positive, add up to more than one, or leave a part empty.

        Example:
            >>> galaxies = GalaxySet(np.zeros((10, 1, 4, 4), np.float32), Survey.get("hsc-i"))
            >>> [len(part) for part in galaxies.split([0.8, 0.2], seed=1)]
            [8, 2]
        """
        if not fractions or min(fractions) <= 0 or sum(fractions) > 1 + 1e-9:
            raise InputError(f"split fractions must be positive and add up to at most 1, got {list(fractions)}")
        edges = np.round(np.cumsum([0.0, *fractions]) * len(self)).astype(int)
        if np.any(np.diff(edges) == 0):
            raise InputError(f"{len(self)} galaxies are too few to split as {list(fractions)}")
        order = np.random.default_rng(seed).permutation(len(self))
        return tuple(self[np.sort(order[a:b])] for a, b in pairwise(edges))

    @staticmethod
    def concatenate(sets: Sequence[GalaxySet]) -> GalaxySet:
        """The galaxies of several sets, one after the other; columns that not all of them have are dropped, images are not copied.

        Raises:
            InputError: no set, or sets of different surveys or stamp sizes.
        """
        if not sets:
            raise InputError("nothing to concatenate: no sets were given")
        first = sets[0]
        for other in sets[1:]:
            if other.survey != first.survey or other.images.shape[1:] != first.images.shape[1:]:
                raise InputError(f"cannot join {other!r} to {first!r}: surveys and stamp sizes must be the same")
        join = lambda name: None if any(getattr(s, name) is None for s in sets) else ChainedStack([getattr(s, name) for s in sets])  # noqa: E731
        shared = [name for name in first.columns if all(name in s.columns for s in sets)]
        same_recipe = all(s.recipe == first.recipe for s in sets)
        measured = [name for name in first.measured if same_recipe and all(name in s.measured for s in sets)]
        return GalaxySet(
            ChainedStack([s.images for s in sets]),
            first.survey,
            {name: np.concatenate([s.columns[name] for s in sets]) for name in shared},
            measured={name: np.concatenate([s.measured[name] for s in sets]) for name in measured},
            measured_units=first.measured_units,
            measured_descriptions=first.measured_descriptions,
            measured_attrs=first.measured_attrs if measured else {},
            psf=join_psfs([s.psf for s in sets], [len(s) for s in sets]),
            ivar=join("ivar"),
            mask=join("mask"),
            provenance={"joined": [s.provenance for s in sets]},
        )
