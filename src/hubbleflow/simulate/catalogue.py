"""A user's own galaxies: a table in, exactly those out: one Sersic profile a row and, where a kind is given, what it has beside it.

    redshift            or z, specz_redshift                  0 to 20
    g_mag, r_mag, ...   or true_g_mag, ...                    AB magnitude of the total light in every band of the survey, 5 to 40
    half_light_radius   or r_e, re                            semi-major axis of the half-light ellipse, arcsec, up to 300
    sersic_index        or n                                  0.3 to 6.2, as far as the profile is tabulated (`hubbleflow.sersic`)
    axis_ratio          or q                                  minor over major, 0 < q <= 1
    position_angle                                            degrees from +x towards +y; drawn at random where there is none
    category            or kind                               one of Galaxy10 DECaLS' classes (`kinds.KINDS`); may be absent
    object_id                                                 whole number; the row's running number where there is none
    x, y                                                      arcsec from the stamp's centre; 0 where there are none

Every name may begin with `true_`, and then goes first; capitals do not matter. Units in the table (ECSV, FITS) are converted to those
above, but magnitudes must be in mag or mag(AB), and what has no unit above must have none. Any format that astropy reads will do: FITS,
ECSV, CSV, VOTable, Parquet where pyarrow and pandas are installed; and a set of galaxies (HDF5) that `simulate` wrote, or its table.
Its galaxies are drawn again as one Sersic profile each, with `true_sersic_index` and `true_axis_ratio`, and with structure of their kind
from the new seed: their bulges' and discs' own colours and axis ratios are not in the table of truth.

Bad rows are refused, not repaired. A kind that the axis ratio speaks against (edge-on with q > 0.6; round with q <= 0.75, cigar-shaped with
q > 0.45, in-between outside of these) is no bad row, since people's votes and measured axis ratios often disagree: it is drawn with its
axis ratio and keeps its kind, and a note, on stderr and in the set, says how many there are and which is the first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from astropy import units as u
from astropy.table import Column, Table
from h5py import is_hdf5

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.galaxy_file import open_hdf5
from hubbleflow.sersic import N_MAX, N_MIN
from hubbleflow.simulate.checks import MAGNITUDES
from hubbleflow.simulate.kinds import KINDS, contradicted
from hubbleflow.simulate.population import Galaxies
from hubbleflow.simulate.render import Components
from hubbleflow.simulate.scene import Scene, float32
from hubbleflow.simulate.spectra import BANDS
from hubbleflow.simulate.streams import Stream
from hubbleflow.simulate.structure import decorate

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.survey import Survey

MOST_REDSHIFT = 20.0
MOST_RADIUS = 300.0  # arcsec: larger galaxies are a mistake of units
_AS_IT_IS = {"mag": ("", "mag", "mag(ab)", "abmag", "ab mag"), "": ("redshift",)}  # how tables write our units, in small letters
_FITTING = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".txt": "ascii", ".dat": "ascii"}  # the others tell their format themselves


@dataclass(frozen=True)
class Catalogue:
    """Galaxies to be drawn, one array (n, ...) a quantity, all checked.

    Attributes:
        object_id: whole numbers.
        redshift: as given.
        mag: AB magnitudes of the total light in `bands`.
        radius: semi-major half-light radius, arcsec.
        sersic_index, axis_ratio: of the one profile.
        position_angle: degrees from +x towards +y.
        x, y: offset from the stamp's centre, arcsec.
        kind: one of `KINDS`, or None where the table does not say.
        bands: the survey's.
        drawn_angles: whether the position angles are ours, drawn at random.
    """

    object_id: Int[np.ndarray, " n"]
    redshift: Float[np.ndarray, " n"]
    mag: Float[np.ndarray, "n band"]
    radius: Float[np.ndarray, " n"]
    sersic_index: Float[np.ndarray, " n"]
    axis_ratio: Float[np.ndarray, " n"]
    position_angle: Float[np.ndarray, " n"]
    x: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]
    kind: np.ndarray | None
    bands: tuple[str, ...]
    drawn_angles: bool

    def __len__(self) -> int:
        return len(self.redshift)

    def __getitem__(self, rows: slice | np.ndarray) -> Catalogue:
        """Some of the rows (slice, mask or row numbers)."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays: dict[str, Any] = {name: value[rows] for name, value in values.items() if isinstance(value, np.ndarray)}
        return replace(self, **arrays)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should be told: sentences."""
        notes = ["the catalogue has no position_angle: angles were drawn at random from the seed"] if self.drawn_angles else []
        odd = contradicted(self.kind, self.axis_ratio) if self.kind is not None else np.zeros(len(self), bool)
        if self.kind is not None and odd.any():
            row = int(odd.argmax())
            notes.append(
                f"the kind of {odd.sum():,} of {len(self):,} galaxies is not what their axis ratio says, first in row {row + 1}"
                f" ({self.kind[row]}, {self.axis_ratio[row]:.2f}): they are drawn with their axis ratio and keep their kind"
            )
        return tuple(notes)

    def scene(self, survey: Survey, rng: np.random.Generator | None = None) -> Scene:
        """The stamps of these rows: one Sersic profile each, and the table of truth, which holds the catalogue's own values.

        Args:
            survey: of the bands that the catalogue was read for.
            rng: draws what a galaxy of its kind has beside its profile, out of the same light (`structure.decorate`); None for nothing.

        Raises:
            InputError: the survey has other bands.
        """
        if survey.bands != self.bands:
            raise InputError(
                f"the catalogue was read for bands {', '.join(self.bands)} but survey {survey.name!r} has {', '.join(survey.bands)}: "
                "read it for this survey"
            )
        light = survey.flux(self.mag)
        columns: dict[str, np.ndarray] = {"object_id": self.object_id, "redshift": self.redshift}
        if self.kind is not None:
            columns["category"] = self.kind
        columns |= {f"true_{band}_mag": self.mag[:, j] for j, band in enumerate(self.bands)}
        columns |= {
            "true_half_light_radius": self.radius,
            "true_sersic_index": self.sersic_index,
            "true_axis_ratio": self.axis_ratio,
            "true_position_angle": self.position_angle,
            "true_x": self.x,
            "true_y": self.y,
        }
        if self.kind is None or rng is None:
            shape = (self.sersic_index, self.radius, self.axis_ratio, self.position_angle, self.x, self.y)
            parts = (torch.as_tensor(value[:, None], dtype=torch.float32) for value in shape)
            flux = torch.as_tensor(light[:, None], dtype=torch.float32)
            return Scene(float32(columns), Components(*parts, flux=flux), [])  # type: ignore[misc]
        drawn = decorate(rng, self._galaxies(self.kind), self.x, self.y, light, np.zeros_like(light), survey.bands)
        tensors = {name: torch.as_tensor(value, dtype=torch.float32) for name, value in drawn.parts.items()}
        return Scene(float32(columns | drawn.columns), Components(**tensors), drawn.blobs)

    def _galaxies(self, kind: np.ndarray) -> Galaxies:
        """The rows as the mock population would have them: all their light in a disc, whose inclination follows from its axis ratio."""
        none, ones = np.zeros(len(self)), np.ones(len(self))
        thickness = np.minimum(0.2, self.axis_ratio)
        faint = np.full((len(self), len(BANDS)), 99.0)  # decorate is given fluxes
        return Galaxies(
            redshift=self.redshift,
            spectral_type=none,
            quiescent=np.zeros(len(self), bool),
            kind=kind,
            mag=faint,
            log_mass=none,
            log_sfr=none,
            radius=self.radius,
            sersic_index=self.sersic_index,
            bulge_to_total=none,
            bulge_n=ones,
            bulge_radius=self.radius,
            bulge_q=ones,
            disc_n=self.sersic_index,
            disc_radius=self.radius,
            disc_q=self.axis_ratio,
            disc_thickness=thickness,
            position_angle=self.position_angle,
            cos_i=np.sqrt(np.clip((self.axis_ratio**2 - thickness**2) / (1 - thickness**2), 0, 1)),
            bulge_mag=faint,
        )


def read_catalogue(path: str | os.PathLike[str], survey: Survey, seed: int = 1, image_size: int | None = None) -> Catalogue:
    """The galaxies of a table, for a survey's bands.

    Args:
        path: a table that astropy reads.
        survey: whose magnitudes are needed.
        seed: for the position angles where the table has none.
        image_size: side of the stamps that will be drawn, pixels: offsets beyond them are refused. None accepts any offset.

    Raises:
        InputError: the file cannot be read, has no rows or lacks a column, or a row is impossible: the sentence names it (the first is 1).

    Example:
        >>> import tempfile
        >>> from hubbleflow.survey import Survey
        >>> path = Path(tempfile.mkdtemp(), "two.csv")
        >>> _ = path.write_text("z,i_mag,re,n,q\\n0.3,20,0.8,1,0.5\\n0.7,22.5,0.3,4,0.9\\n")
        >>> galaxies = read_catalogue(path, Survey.get("hsc-i"))
        >>> len(galaxies), galaxies.scene(Survey.get("hsc-i")).components.flux[0, 0].tolist(), galaxies.drawn_angles
        (2, [630.95...], True)
    """
    table = _Columns(Path(path))
    angle = table.numbers(("position_angle",), "deg")
    bands = [table.needed((f"{band}_mag",), "mag", *MAGNITUDES, "an AB magnitude") for band in survey.bands]
    half_side = np.inf
    if image_size is not None and survey.pixel_scale_arcsec is not None:
        half_side = 0.5 * image_size * survey.pixel_scale_arcsec
    return Catalogue(
        object_id=table.identifiers(),
        redshift=table.needed(("redshift", "z", "specz_redshift"), "", 0, MOST_REDSHIFT, "a redshift"),
        mag=np.stack(bands, axis=1),
        radius=table.needed(("half_light_radius", "r_e", "re"), "arcsec", 0, MOST_RADIUS, "a radius in arcsec", open_below=True),
        sersic_index=table.needed(("sersic_index", "n"), "", N_MIN, N_MAX, "a Sersic index"),
        axis_ratio=table.needed(("axis_ratio", "q"), "", 0, 1, "minor over major axis", open_below=True),
        position_angle=angle if angle is not None else Stream.ANGLES.generator(seed).uniform(0, 180, len(table)),
        x=table.offsets("x", half_side),
        y=table.offsets("y", half_side),
        kind=table.kinds(),
        bands=survey.bands,
        drawn_angles=angle is None,
    )


class _Columns:
    """The columns of a table by any of their names, checked and in our units."""

    def __init__(self, path: Path) -> None:
        self.path, self.table = path, _read(path)
        self.named = {name.lower(): name for name in reversed(self.table.colnames)}

    def __len__(self) -> int:
        return len(self.table)

    def find(self, names: tuple[str, ...]) -> str | None:
        """What the table calls a quantity: `true_` first, then in the order of the names."""
        wanted = (*(f"true_{name}" for name in names), *names)
        return next((self.named[name] for name in wanted if name in self.named), None)

    def numbers(self, names: tuple[str, ...], unit: str) -> Float[np.ndarray, " n"] | None:
        """A column of finite numbers in a unit ("": none), or None where the table has none of the names."""
        found = self.find(names)
        if found is None:
            return None
        column: Any = self.table[found]
        masked: np.ma.MaskedArray = np.ma.asarray(column)
        if masked.dtype.kind not in "fiu" or masked.ndim != 1:
            example = repr(masked.ravel().tolist()[0])
            raise InputError(f"column {found!r} of {self.path} must hold one number a row, but row 1 has {example}")
        values = np.ma.filled(masked.astype(float), np.nan)
        if column.unit is not None:
            try:
                values = values * _factor(column.unit, unit)
            except (u.UnitsError, ValueError, TypeError) as error:
                to = {"": "a number without a unit", "mag": "AB magnitudes"}.get(unit, unit)
                raise InputError(f"column {found!r} of {self.path} is in {column.unit}: convert it to {to}") from error
        self.check(found, values, np.isfinite(values), "a finite number")
        return values

    def needed(
        self, names: tuple[str, ...], unit: str, least: float, most: float, what: str, open_below: bool = False
    ) -> Float[np.ndarray, " n"]:
        """A column that must be there, with values from `least` (itself not, if `open_below`) to `most`."""
        values = self.numbers(names, unit)
        if values is None:
            known = ", ".join(self.table.colnames[:12]) + (", ..." if len(self.table.colnames) > 12 else "")
            raise InputError(f"{self.path} has no column {' or '.join(names)} ({what}), only {known}: add or rename it")
        good = ((values > least) if open_below else (values >= least)) & (values <= most)
        span = f"above {least:g} and at most {most:g}" if open_below else f"from {least:g} to {most:g}"
        self.check(str(self.find(names)), values, good, f"{what} {span}")
        return values

    def offsets(self, name: str, half_side: float) -> Float[np.ndarray, " n"]:
        """Arcsec from the stamp's centre."""
        values = self.numbers((name,), "arcsec")
        if values is None:
            return np.zeros(len(self))
        self.check(str(self.find((name,))), values, np.abs(values) <= half_side, f"at most {half_side:g} arcsec from the stamp's centre")
        return values

    def kinds(self) -> np.ndarray | None:
        """Names of kinds."""
        found = self.find(("category", "kind"))
        if found is None:
            return None
        masked = np.ma.asarray(self.table[found])
        text = [value.decode(errors="replace") if isinstance(value, bytes) else str(value or "") for value in masked.tolist()]
        values = np.array(text)
        self.check(found, values, np.isin(values, KINDS), f"one of {', '.join(KINDS)}")
        return values

    def identifiers(self) -> Int[np.ndarray, " n"]:
        """Whole numbers that name the galaxies."""
        found = self.find(("object_id",))
        if found is None:
            return np.arange(len(self), dtype=np.int64)
        masked = np.ma.asarray(self.table[found])
        whole = masked.dtype.kind in "iu" and not np.ma.is_masked(masked)
        self.check(found, np.array(masked.tolist(), object), np.full(len(masked), whole), "a whole number")
        return masked.filled(0).astype(np.int64)

    def check(self, name: str, values: np.ndarray, good: np.ndarray, expected: str) -> None:
        """Raise InputError with the first row that is not good."""
        if good.all():
            return
        row = int(np.flatnonzero(~good)[0])
        others = f" (and {int((~good).sum()) - 1:,} more rows)" if (~good).sum() > 1 else ""
        value = values[row].item() if isinstance(values[row], np.generic) else values[row]
        raise InputError(
            f"row {row + 1} of {self.path}: {name} is {value!r}, but must be {expected}{others}; correct the row or leave it out"
        )


def _factor(given: Any, wanted: str) -> float:
    """What numbers in the given unit are multiplied by. Nothing is converted to AB magnitudes: Vega's or ST's need the filter."""
    if str(given).lower() in _AS_IT_IS.get(wanted, ()):
        return 1.0
    if wanted == "mag":
        raise u.UnitsError(str(given))
    return float(u.Unit(given).to(wanted))


def _is_set(path: Path) -> bool:
    """Whether an HDF5 file holds galaxies' images; else it may be a table of astropy's."""
    with open_hdf5(path) as file:
        return "image" in file


def _read(path: Path) -> Table:
    if not path.is_file():
        raise InputError(f"the catalogue {path} {'is a folder' if path.is_dir() else 'does not exist'}: expected a table of galaxies")
    if is_hdf5(path) and _is_set(path):
        return Table(GalaxySet.open(path).columns)
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in (".gz", ".bz2", ".xz")]
    try:
        table = Table.read(path, format=_FITTING.get(suffixes[-1] if suffixes else ""))
    except Exception as error:  # astropy's readers raise errors of many kinds for what is no table
        reason = "no reader of astropy's knows it" if "Format could not be identified" in str(error) else str(error).splitlines()[0]
        raise InputError(f"cannot read the catalogue {path}: {reason}; give it as FITS, ECSV or CSV") from error
    if len(table) == 0:
        raise InputError(f"the catalogue {path} has no rows: expected one galaxy a row")
    mixed = [name for name in table.colnames if not isinstance(table[name], Column | u.Quantity)]
    table.remove_columns(mixed)  # coordinates, times: nothing that is asked for here
    return table
