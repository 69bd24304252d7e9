"""Measure a whole set: block by block, on all cores or a cluster, in order, the same numbers whatever the number of workers.

Blocks are always the same rows of a set (`measure.block`), so who measures which cannot change a bit. Images that lie on disk are read by
the workers themselves; only their path and row numbers travel. Workers (`hubbleflow.farm`) import torch only where profiles are fitted.
Measuring a file goes on where a killed run of it ended (`measure.unfinished`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hubbleflow.counting import counting
from hubbleflow.errors import InputError
from hubbleflow.farm import Farm, cores
from hubbleflow.galaxies import GalaxySet, write_measured
from hubbleflow.measure import flags, sersic_flags, shape_flags
from hubbleflow.measure.block import BlockResult, block_size, blocks, measure_block
from hubbleflow.measure.columns import column_table
from hubbleflow.measure.recipe import Recipe
from hubbleflow.measure.unfinished import Unfinished
from hubbleflow.measured_file import canonical

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


def distrusted(columns: Mapping[str, np.ndarray]) -> dict[str, int]:
    """How many galaxies, Sersic fits and shapes have a flag that matters, by measured columns; what was not measured is not named."""
    counts = {"galaxies": int((~flags.trusted(columns["flag"])).sum())} if "flag" in columns else {}
    for what, module, ending in (("Sersic fits", sersic_flags, "_sersic_flag"), ("shapes", shape_flags, "_shape_flag")):
        for name in columns:
            if name.endswith(ending):
                counts[what] = int((~module.trusted(columns[name])).sum())
    return counts


def measure(
    galaxies: GalaxySet, workers: int | None = None, progress: bool = True, recipe: Recipe | None = None, dask: str | None = None
) -> Measured:
    """Measure every galaxy of a set, in every band.

    Args:
        galaxies: the set; its images may lie on disk and are never all in memory.
        workers: processes; None takes all cores for large sets and none beside this one for small ones.
        progress: whether to show a progress bar (on stderr).
        recipe: thresholds and tolerances, and which columns; the default is SExtractor's, with Sersic fits and shapes.
        dask: address of a Dask scheduler whose workers do it instead; they must see the set's file under the same path.

    Raises:
        InputError: the set has no galaxies, `workers` is less than 1, a worker was killed, or no Dask scheduler answers.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> y, x = np.mgrid[:32, :32] - 15.5
        >>> noise = np.random.default_rng(0).normal(0, 0.1, (2, 1, 32, 32))
        >>> images = (noise + 10 * np.exp(-(x**2 + y**2) / 18)).astype(np.float32)
        >>> measured = measure(GalaxySet(images, Survey.get("hsc-i")), progress=False)
        >>> measured.columns["i_major_axis"].round(0).tolist(), measured.units["i_major_axis"]
        ([3.0, 3.0], 'pix')
    """
    return _measure(galaxies, workers, progress, recipe or Recipe(), dask, None)


def measure_file(
    path: str | os.PathLike[str],
    workers: int | None = None,
    progress: bool = True,
    recipe: Recipe | None = None,
    dask: str | None = None,
    force: bool = False,
) -> Measured:
    """Measure every galaxy of an HDF5 file and write the columns into its group `measured/`, replacing what was there.

    What a killed run has measured is not measured again. A file that has all columns of this recipe is left as it is: its
    pixels are not compared with those that were measured, so ask for `force` where they have been changed in place.

    Args:
        path: the file.
        workers, progress, recipe, dask: as for :func:`measure`.
        force: measure everything afresh.

    Raises:
        InputError: the file cannot be read or written, and what `measure` raises.
    """
    galaxies, recipe = GalaxySet.open(path), recipe or Recipe()
    kept = Unfinished(path)
    if force:
        kept.forget()
    elif is_measured(galaxies, recipe) and not kept.keys:  # else a run with `force` was killed: it goes on
        return named(galaxies.measured, galaxies, recipe)
    measured = _measure(galaxies, workers, progress, recipe, dask, kept)
    write_measured(path, measured.columns, measured.units, measured.descriptions, measured.attrs)
    kept.forget()
    return measured


def is_measured(galaxies: GalaxySet, recipe: Recipe | None = None) -> bool:
    """Whether a set has all columns of a recipe, by that recipe."""
    recipe = recipe or Recipe()
    wanted = {name: canonical(value) for name, value in _attrs(recipe).items()}
    return galaxies.recipe == wanted and set(column_table(galaxies.survey, recipe)) <= set(galaxies.measured)


def _measure(
    galaxies: GalaxySet, workers: int | None, progress: bool, recipe: Recipe, dask: str | None, kept: Unfinished | None
) -> Measured:
    n, stamps = len(galaxies), len(galaxies) * len(galaxies.survey.bands)
    if not n:
        raise InputError("the set has no galaxies: there is nothing to measure")
    if workers is None:
        workers = 1 if stamps < ALONE or dask else cores()
    known = kept.keys if kept else {}
    size, columns = block_size(galaxies), dict[str, np.ndarray]()
    with Farm.open(workers, dask) as farm, counting("measuring", n, shown=progress and stamps >= ALONE // 2) as advance:
        for number, result in enumerate(farm.map(measure_block, blocks(galaxies, recipe, kept is not None, known))):
            found = _found(number, result, kept)
            for name, values in found.items():
                columns.setdefault(name, np.empty(n, values.dtype))[number * size : number * size + result.n] = values
            advance(result.n)
    return named(columns, galaxies, recipe)


def named(columns: Mapping[str, np.ndarray], galaxies: GalaxySet, recipe: Recipe) -> Measured:
    """Columns that were measured of a set, in the recipe's order, with units and descriptions."""
    table = column_table(galaxies.survey, recipe)
    units, descriptions = ({name: words[i] for name, words in table.items()} for i in (0, 1))
    return Measured({name: columns[name] for name in table}, units, descriptions, _attrs(recipe))


def _found(number: int, result: BlockResult, kept: Unfinished | None) -> Mapping[str, np.ndarray]:
    if result.columns is None:  # as known
        assert kept is not None
        return kept.columns.pop(number)
    if kept is not None:
        kept.add(number, result.key, result.columns)
    return result.columns


def _attrs(recipe: Recipe) -> dict[str, Any]:
    attrs = dict[str, Any](recipe.attrs())
    for kind, module in (("flag", flags), ("sersic_flag", sersic_flags), ("shape_flag", shape_flags)):
        attrs |= {f"{kind}_bits": module.BITS.by_name, f"{kind}_untrusted": int(module.UNTRUSTED)}
    return attrs
