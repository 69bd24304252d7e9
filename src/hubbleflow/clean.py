"""Clean a set: leave out stamps that would teach a generator something other than a galaxy, and say of each why.

Fan et al. (2025, figure 3) leave out 311 images "due to factors such as low quality, contamination, or the lack of a dominant central
galaxy": strong colours that are not the galaxy's, excessive noise, a central galaxy whose brightness is distorted, flares of light, several
galaxies of which the central one does not stand out, another galaxy that dominates. How they were found is not given. Here each of these is
a number and a limit, from the detections that `measure` works with, made afresh by its recipe:

    reason            number                                                                                       leaves out
    flagged           bits of the measurement's flag: nothing at the centre, off-centre, ambiguous, saturated, ... any of `FLAGS`
    faint             signal-to-noise ratio of the central galaxy                                                  below 10
    noisy             pixel noise (1) over the set's median, in the worst band                                     above 3
    sky_colour        what the sky has in one band and not in another, beside the galaxy's own colour (2)          4
    one_band_light    share of the stamp's pixels that shine in one band alone (3): flares, ghosts                 0.12
    neighbour_flux    flux of the brightest other object (4) over the central galaxy's                             0.6
    other_light       share of the detected light that is other objects'                                           0.5

(1) The mean of the smaller four fifths of |I(x-1) - 2 I(x) + I(x+1)| over all pixels, along rows and columns: a galaxy's light is smooth.
(2) s_b = (sky_b - median of the set) / (median noise of the set); of the vector s over bands the multiple of the galaxy's flux vector that
    fits best, if positive, is taken away, because a galaxy larger than its stamp is the sky there; what is left has a range max_b - min_b.
(3) Pixels outside the central galaxy above 3 sigma of the stamp's noise in one band, and in each other band below 0.4 times that.
(4) Where the light between two peaks does not fall below 0.55 of the fainter one, deblending has cut a galaxy: both pieces are its own.

Neighbours and their light are those of the reference band. In a category of companions (its name holds "merg" or "disturb") a companion is
no fault: only one that outshines the galaxy 4 times, which in practice is a star, and neither off-centre nor ambiguous counts. In a set of
one band `sky_colour` and `one_band_light` do not apply. All limits are our choice, set by looking at 700 SDSS pictures and at mock skies.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.farm import Farm, cores
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import UNTRUSTED, Flag, Recipe
from hubbleflow.measure import flags as bits
from hubbleflow.measure.block import blocks
from hubbleflow.measure.surroundings import look_at_block
from hubbleflow.tables import check_table_path, write_rows

if TYPE_CHECKING:
    from astropy.table import Table
    from jaxtyping import Bool, Float

RECIPE = Recipe(sersic=False, shapes=False)
# Faint galaxies have a limit of their own; singular moments and failed deblending are the measurement's trouble, not the galaxy's.
FLAGS = UNTRUSTED & ~(Flag.LOW_SNR | Flag.SINGULAR | Flag.DEBLEND_FAILED)
SPARED = Flag.OFF_CENTRE | Flag.AMBIGUOUS
PARALLEL = 4000  # band stamps below which starting workers costs more than it saves
REASONS = ("flagged", "faint", "noisy", "sky_colour", "one_band_light", "neighbour_flux", "other_light")


@dataclass(frozen=True)
class Limits:
    """What a stamp may not cross; the module's docstring says what each number is.

    Attributes:
        min_snr: of `faint`.
        max_noise, max_sky_colour, max_one_band_light, max_neighbour_flux, max_other_light: of the reasons of those names.
        max_companion_flux: of `neighbour_flux` in categories of companions.
        companions: words of which one is in the name of such a category, in any case of letters.
    """

    min_snr: float = 10.0
    max_noise: float = 3.0
    max_sky_colour: float = 4.0
    max_one_band_light: float = 0.12
    max_neighbour_flux: float = 0.6
    max_other_light: float = 0.5
    max_companion_flux: float = 4.0
    companions: tuple[str, ...] = ("merg", "disturb")

    def of_companions(self, category: Iterable[str]) -> Bool[np.ndarray, " n"]:
        """True where a category is one of companions.

        Example:
            >>> Limits().of_companions(["Merging", "Round Smooth", ""]).tolist()
            [True, False, False]
        """
        return np.array([any(word.lower() in name.lower() for word in self.companions) for name in category], bool)


@dataclass(frozen=True)
class Cleaning:
    """What was found in each stamp of a set, and which it may keep.

    Attributes:
        numbers: name -> (n,) values: "flag", "n_neighbours", and those of the reasons ("snr" of `faint`, "noise" of `noisy`); NaN where
            there is none.
        limits: (reason, n) what each number was held against; NaN where it does not count.
        crossed: (reason, n) whether it was crossed, in the order of `REASONS`.
    """

    numbers: dict[str, np.ndarray]
    limits: Float[np.ndarray, "reason n"]
    crossed: Bool[np.ndarray, "reason n"]

    @property
    def kept(self) -> Bool[np.ndarray, " n"]:
        """True where no limit was crossed."""
        return np.logical_not(self.crossed.any(axis=0))

    @property
    def counts(self) -> dict[str, int]:
        """Galaxies left out for each reason that any has, in the order of `REASONS`; one may have several."""
        return {reason: int(rows.sum()) for reason, rows in zip(REASONS, self.crossed, strict=True) if rows.any()}

    def why(self, row: int) -> list[str]:
        """What a stamp has crossed, number and limit: ["neighbour_flux 1.37 > 0.6"]."""
        found = []
        for reason, limit, crossed in zip(REASONS, self.limits[:, row], self.crossed[:, row], strict=True):
            if crossed and reason == "flagged":
                found.append("flagged " + " ".join(bits.names(int(self.numbers["flag"][row]) & int(limit))))
            elif crossed:
                found.append(f"{reason} {self.numbers[_NUMBER[reason]][row]:.3g} {'<' if reason == 'faint' else '>'} {limit:.3g}")
        return found

    def table(self, galaxies: GalaxySet) -> Table:
        """One row a galaxy that is left out: object_id, its row in the set, category, reasons, what crossed what, and all numbers."""
        from astropy.table import Table

        rows = np.flatnonzero(~self.kept).tolist()
        reasons = [" ".join(reason for reason, crossed in zip(REASONS, self.crossed[:, row], strict=True) if crossed) for row in rows]
        why = ["; ".join(self.why(row)) for row in rows]
        columns: dict[str, Any] = {"object_id": galaxies.columns["object_id"][rows]}
        columns |= {"row": np.array(rows, int), "category": galaxies.category[rows]}
        columns |= {"reasons": np.asarray(reasons, np.str_), "why": np.asarray(why, np.str_)}
        return Table(columns | {name: values[rows] for name, values in self.numbers.items()}, meta={"of": str(galaxies.path or "")})


_NUMBER = {"flagged": "flag", "faint": "snr", "noisy": "noise"} | {reason: reason for reason in REASONS[3:]}


def inspect(
    galaxies: GalaxySet, limits: Limits | None = None, workers: int | None = None, on_progress: Callable[[int], None] | None = None
) -> Cleaning:
    """Look at every stamp of a set and hold it against the limits.

    Args:
        galaxies: the set; its images may lie on disk and are never all in memory.
        limits: the default is ours.
        workers: processes; None takes all cores for large sets and none beside this one for small ones.
        on_progress: is told how many stamps were looked at.

    Raises:
        InputError: `workers` is less than 1.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> y, x = np.mgrid[:48, :48] - 23.5
        >>> images = np.random.default_rng(0).normal(0, 0.1, (2, 1, 48, 48)) + 10 * np.exp(-(x**2 + y**2) / 18)
        >>> images[1] += 30 * np.exp(-((x - 15) ** 2 + y**2) / 18)
        >>> inspect(GalaxySet(images.astype(np.float32), Survey.get("hsc-i"))).why(1)
        ['neighbour_flux 2.99 > 0.6', 'other_light 0.749 > 0.5']
    """
    limits = limits or Limits()
    if workers is None:
        workers = 1 if len(galaxies) * len(galaxies.bands) < PARALLEL else cores()
    pieces: dict[str, list[np.ndarray]] = {}
    with Farm.open(workers) as farm:
        for found in farm.map(look_at_block, blocks(galaxies, RECIPE)):
            for name, values in found.items():
                pieces.setdefault(name, []).append(values)
            if on_progress:
                on_progress(len(found["flag"]))
    seen = {name: np.concatenate(parts) for name, parts in pieces.items()}
    numbers: dict[str, np.ndarray] = {name: seen[name] for name in ("flag", "n_neighbours", "snr")}
    numbers |= against_the_set(seen)
    numbers |= {name: seen[name] for name in ("neighbour_flux", "other_light")}
    return _held_against(numbers, limits, limits.of_companions(galaxies.category))


def against_the_set(seen: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`noise`, `sky_colour` (definition 2) and `one_band_light` of each stamp: what must know the whole set's noise and sky."""
    flux, sky, noise = seen["flux"], seen["sky"], seen["noise"]
    typical = _median(noise)
    with np.errstate(divide="ignore", invalid="ignore"):  # NaN where a stamp has no number
        excess, colour = (sky - _median(sky)) / typical, flux / typical
        own = np.maximum((excess * colour).sum(axis=1) / (colour**2).sum(axis=1), 0)
        left = excess - own[:, None] * colour
        noisy = seen["pixel_noise"] / _median(seen["pixel_noise"])
    return {
        "noise": noisy.max(axis=1),
        "sky_colour": left.max(axis=1) - left.min(axis=1) if sky.shape[1] > 1 else np.full(len(sky), np.nan),
        "one_band_light": seen["one_band_light"],
    }


def _median(values: Float[np.ndarray, "n band"]) -> Float[np.ndarray, " band"]:
    return np.array([np.median(column[np.isfinite(column)]) if np.isfinite(column).any() else np.nan for column in values.T])


def _held_against(numbers: dict[str, np.ndarray], limits: Limits, paired: Bool[np.ndarray, " n"]) -> Cleaning:
    most = {
        "flagged": np.where(paired, int(FLAGS & ~SPARED), int(FLAGS)),
        "faint": limits.min_snr,
        "noisy": limits.max_noise,
        "sky_colour": limits.max_sky_colour,
        "one_band_light": limits.max_one_band_light,
        "neighbour_flux": np.where(paired, limits.max_companion_flux, limits.max_neighbour_flux),
        "other_light": np.where(paired, np.nan, limits.max_other_light),
    }
    table = np.array([np.broadcast_to(np.asarray(most[reason], float), paired.shape) for reason in REASONS])
    crossed = np.array([numbers[_NUMBER[reason]] > limit for reason, limit in zip(REASONS, table, strict=True)])
    crossed[REASONS.index("flagged")] = (numbers["flag"] & table[REASONS.index("flagged")].astype(int)) != 0
    crossed[REASONS.index("faint")] = numbers["snr"] < limits.min_snr
    return Cleaning(numbers, table, crossed)


def clean(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    table: str | os.PathLike[str] | None = None,
    limits: Limits | None = None,
    workers: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Cleaning:
    """Write those galaxies of a file that cross no limit to another file, and a table of the others.

    Args:
        path: the set, which is not touched.
        out: the file to write; columns and measurements are kept, and its provenance says what was left out.
        table: where to list what was left out: .ecsv, .fits, .csv or .parquet.
        limits, workers, on_progress: as for :func:`inspect`.

    Raises:
        InputError: `out` is the set itself or cannot be written, the table's name has none of these endings, or no galaxy is left.
    """
    path, out = Path(path), Path(out)
    galaxies = GalaxySet.open(path)
    if out.exists() and out.samefile(path):
        raise InputError(f"{out} is the set that is to be cleaned: give the clean one another name, the original is kept")
    if table is not None and check_table_path(table) in (path, out):
        raise InputError(f"{table} is a set of galaxies: give the table of what is left out another name")
    limits = limits or Limits()
    found = inspect(galaxies, limits, workers, on_progress)
    if not found.kept.any():
        raise InputError(f"none of the {len(galaxies)} galaxies of {path} would be left ({words(found.counts)}): loosen the limits")
    kept = galaxies[found.kept]
    kept.provenance = {**galaxies.provenance, "cleaned": {"of": len(galaxies), "left_out": found.counts, "limits": asdict(limits)}}
    kept.write(out)
    if table is not None:
        write_rows(found.table(galaxies), table)
    return found


def words(counts: dict[str, int]) -> str:
    """Counts as text.

    Example:
        >>> words({"faint": 3, "sky_colour": 1})
        '3 faint, 1 sky_colour'
    """
    return ", ".join(f"{number} {reason}" for reason, number in counts.items())
