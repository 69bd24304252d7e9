"""Measure a whole set: block by block, on all cores, in order, the same numbers whatever the number of workers.

A stamp's numbers depend on nothing but its own pixels, so how the set is cut and who measures which block cannot
change them. Images that lie on disk are read by the workers themselves; only their path and row numbers travel. The
workers (`hubbleflow.farm`) import neither torch nor anything that does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hubbleflow.farm import Farm, cores
from hubbleflow.galaxies import GalaxySet, write_measured
from hubbleflow.measure import flags
from hubbleflow.measure.columns import BAND_COLUMNS, assemble, row_values
from hubbleflow.measure.recipe import Recipe
from hubbleflow.measure.stamp import measure_stamp
from hubbleflow.pixels import select
from hubbleflow.survey import Survey

if TYPE_CHECKING:
    from jaxtyping import Float, Int

BLOCK = 128  # galaxies a task
ALONE = 4000  # band stamps below which starting workers costs more than it saves


@dataclass(frozen=True)
class Measured:
    """What was measured of a set: one row a galaxy, in the set's order.

    Attributes:
        columns: name -> (n,) values.
        units, descriptions: name -> words; units are astropy's.
        attrs: recipe name, number and parameters, version of sep, names of the flags' bits.
    """

    columns: Mapping[str, np.ndarray]
    units: Mapping[str, str]
    descriptions: Mapping[str, str]
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns["flag"])

    @property
    def flag_counts(self) -> dict[str, int]:
        """How many galaxies have each bit of `flag`, and under "untrusted" how many have any that matters."""
        flag = self.columns["flag"]
        return {"untrusted": int((~flags.trusted(flag)).sum()), **flags.count(flag)}

    def added_to(self, galaxies: GalaxySet) -> GalaxySet:
        """The same set with these columns as its `measured`."""
        return GalaxySet(
            galaxies.images,
            galaxies.survey,
            galaxies.columns,
            measured=self.columns,
            measured_units=self.units,
            measured_descriptions=self.descriptions,
            measured_attrs=self.attrs,
            psf=galaxies.psf,
            ivar=galaxies.ivar,
            mask=galaxies.mask,
            provenance=galaxies.provenance,
            path=galaxies.path,
        )


@dataclass(frozen=True)
class Block:
    """Galaxies for one task: stacks in memory, or on disk and read by whoever measures them."""

    images: Any
    ivar: Any
    mask: Any
    survey: Survey
    recipe: Recipe


@dataclass(frozen=True)
class BlockResult:
    """Numbers of one block; the columns of `values` are BAND_COLUMNS."""

    values: Float[np.ndarray, "n band column"]
    band_flags: Int[np.ndarray, "n band"]
    flag: Int[np.ndarray, " n"]
    n_neighbours: Int[np.ndarray, " n"]


def measure(galaxies: GalaxySet, workers: int | None = None, progress: bool = True, recipe: Recipe | None = None) -> Measured:
    """Measure every galaxy of a set, in every band.

    Args:
        galaxies: the set; its images may lie on disk and are never all in memory.
        workers: processes; None takes all cores for large sets and none beside this one for small ones.
        progress: whether to show a progress bar (on stderr).
        recipe: thresholds and tolerances; the default is SExtractor's.

    Raises:
        InputError: `workers` is less than 1, or a worker was killed.

    Example:
        >>> y, x = np.mgrid[:32, :32] - 15.5
        >>> noise = np.random.default_rng(0).normal(0, 0.1, (2, 1, 32, 32))
        >>> images = (noise + 10 * np.exp(-(x**2 + y**2) / 18)).astype(np.float32)
        >>> measured = measure(GalaxySet(images, Survey.get("hsc-i")), progress=False)
        >>> measured.columns["i_major_axis"].round(0).tolist(), measured.units["i_major_axis"]
        ([3.0, 3.0], 'pix')
    """
    recipe = recipe or Recipe()
    n, bands = len(galaxies), len(galaxies.survey.bands)
    if workers is None:
        workers = 1 if n * bands < ALONE else cores()
    values = np.full((n, bands, len(BAND_COLUMNS)), np.nan)
    band_flags, flag, n_neighbours = np.zeros((n, bands), np.int32), np.zeros(n, np.int32), np.zeros(n, np.int32)
    first = 0
    with Farm.open(workers) as farm, _bar(n, progress and n * bands >= ALONE // 2) as advance:
        for result in farm.map(measure_block, _blocks(galaxies, recipe)):
            rows = slice(first, first + len(result.flag))
            values[rows], band_flags[rows], flag[rows], n_neighbours[rows] = (
                result.values,
                result.band_flags,
                result.flag,
                result.n_neighbours,
            )
            first = rows.stop
            advance(len(result.flag))
    columns, units, descriptions = assemble(galaxies.survey, values, band_flags, flag, n_neighbours)
    attrs = {
        **recipe.attrs(),
        "flag_bits": {bit.name: int(bit) for bit in flags.DESCRIPTIONS},
        "flag_untrusted": int(flags.UNTRUSTED),
    }
    return Measured(columns, units, descriptions, attrs)


def measure_file(path: str | os.PathLike[str], workers: int | None = None, progress: bool = True, recipe: Recipe | None = None) -> Measured:
    """Measure every galaxy of an HDF5 file and write the columns into its group `measured/`, replacing what was there.

    Raises:
        InputError: the file cannot be read or written.
    """
    measured = measure(GalaxySet.open(path), workers, progress, recipe)
    write_measured(path, measured.columns, measured.units, measured.descriptions, measured.attrs)
    return measured


def measure_block(block: Block) -> BlockResult:
    """Measure the galaxies of one block, in this process."""
    images, ivar, mask = (None if stack is None else np.asarray(stack[:]) for stack in (block.images, block.ivar, block.mask))
    assert images is not None
    results = [
        measure_stamp(images[i], block.survey, block.recipe, None if ivar is None else ivar[i], None if mask is None else mask[i])
        for i in range(len(images))
    ]
    return BlockResult(
        np.array([[row_values(row) for row in result.rows] for result in results]),
        np.array([[int(flag) for flag in result.band_flags] for result in results], np.int32),
        np.array([int(result.flag) for result in results], np.int32),
        np.array([result.n_neighbours for result in results], np.int32),
    )


def _blocks(galaxies: GalaxySet, recipe: Recipe) -> Iterator[Block]:
    for first in range(0, len(galaxies), BLOCK):
        rows = slice(first, first + BLOCK)
        images, ivar, mask = (select(stack, rows) for stack in (galaxies.images, galaxies.ivar, galaxies.mask))
        yield Block(images, ivar, mask, galaxies.survey, recipe)


@contextmanager
def _bar(total: int, shown: bool) -> Iterator[Any]:
    if not shown:
        yield lambda n: None
        return
    columns = (
        TextColumn("measuring"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("galaxies"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("measuring", total=total)
        yield lambda n: bar.advance(task, n)
