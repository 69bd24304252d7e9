"""One block of galaxies, measured by one process: what is sent to it, what comes back.

The numbers of a Sersic fit depend in their last bits on which galaxies were fitted together, so that blocks are always the same rows of a
set, whoever measures them. Stacks on disk are read by whoever measures; only their path and row numbers travel.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from hubbleflow.files import content_hash
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure.columns import band_columns, row_values
from hubbleflow.measure.psf_guess import fwhm_px, guessed_psf
from hubbleflow.measure.recipe import Recipe
from hubbleflow.measure.shapes import shape_columns
from hubbleflow.measure.stamp import StampResult, measure_stamp
from hubbleflow.pixels import IndexedStack, in_memory, select
from hubbleflow.survey import Survey

LARGEST = 256  # galaxies a block
LARGEST_PIXELS = LARGEST * 5 * 64 * 64  # a block of larger stamps has fewer galaxies: 21 MB of images, ten times that at work


@dataclass(frozen=True)
class Block:
    """Galaxies for one task: stacks in memory, or on disk and read by whoever measures them.

    Attributes:
        images, ivar, mask, psf: as in a `GalaxySet`; all but the images may be None.
        survey, recipe: by which to measure.
        keyed: whether to say what the numbers were made of (`BlockResult.key`).
        known: the key of numbers that are there already: they are not made again if it still holds.
    """

    images: Any
    ivar: Any
    mask: Any
    psf: Any
    survey: Survey
    recipe: Recipe
    keyed: bool = False
    known: str = ""

    def loaded(self) -> Block:
        """The same with images, inverse variances and masks in memory."""
        images, ivar, mask = (None if stack is None else np.asarray(stack[:]) for stack in (self.images, self.ivar, self.mask))
        return replace(self, images=images, ivar=ivar, mask=mask)

    def measured(self) -> Iterator[StampResult]:
        """What is found in each stamp of a loaded block, one by one."""
        for i, images in enumerate(self.images):
            ivar, mask = (None if stack is None else stack[i] for stack in (self.ivar, self.mask))
            yield measure_stamp(images, self.survey, self.recipe, ivar, mask)


@dataclass(frozen=True)
class BlockResult:
    """Numbers of one block.

    Attributes:
        n: galaxies.
        columns: name -> (n,) values; None where the known ones hold.
        key: hash of everything that they were made of; "" where that was not asked for.
    """

    n: int
    columns: dict[str, np.ndarray] | None
    key: str = ""


def block_size(galaxies: GalaxySet) -> int:
    """How many galaxies a block has: it depends on the stamps' shape alone.

    Example:
        >>> block_size(GalaxySet(np.zeros((3, 5, 64, 64), np.float32), Survey.get("hsc-wide")))
        256
    """
    return int(np.clip(LARGEST_PIXELS // np.prod(galaxies.images.shape[1:]), 1, LARGEST))


def blocks(galaxies: GalaxySet, recipe: Recipe, keyed: bool = False, known: dict[int, str] | None = None) -> Iterator[Block]:
    """The blocks of a set, in order; `known` are the keys of those that are there already, by number."""
    size = block_size(galaxies)
    for number, first in enumerate(range(0, len(galaxies), size)):
        rows = slice(first, first + size)
        images, ivar, mask = (select(stack, rows) for stack in (galaxies.images, galaxies.ivar, galaxies.mask))
        psf = galaxies.psf if galaxies.psf is None or len(galaxies.psf.shape) == 3 else select(galaxies.psf, rows)
        yield Block(images, ivar, mask, psf, galaxies.survey, recipe, keyed, (known or {}).get(number, ""))


def measure_block(block: Block) -> BlockResult:
    """Measure the galaxies of one block, in this process."""
    block = replace(block.loaded(), psf=_psf(block.psf))
    n, key = len(block.images), _key(block) if block.keyed else ""
    if key and key == block.known:
        return BlockResult(n, None, key)
    scenes = block.recipe.sersic or block.recipe.shapes  # else their memory is wanted again
    results = [result if scenes else replace(result, scene=None) for result in block.measured()]
    return BlockResult(n, _columns(results, block), key)


def _columns(results: list[StampResult], block: Block) -> dict[str, np.ndarray]:
    survey, guessed = block.survey, block.psf is None
    columns = band_columns(
        survey,
        np.array([[row_values(row) for row in result.rows] for result in results]),
        np.array([[int(flag) for flag in result.band_flags] for result in results], np.int32),
    )
    columns["n_neighbours"] = np.array([result.n_neighbours for result in results], np.int32)
    columns["flag"] = np.array([int(result.flag) for result in results], np.int32)
    psf = guessed_psf(survey) if guessed else block.psf
    if block.recipe.sersic:
        from hubbleflow.measure.structure import sersic_columns  # torch

        columns |= sersic_columns(results, survey, psf, block.ivar, guessed, block.recipe.subtract_neighbours)
    if block.recipe.shapes:
        columns |= shape_columns(results, survey, None if psf is None else fwhm_px(psf))
    return columns


def _psf(psf: Any) -> np.ndarray | None:
    """PSF images in memory: (band, y, x) where all galaxies of the block share them."""
    if psf is None:
        return None
    psf = in_memory(psf)
    if isinstance(psf, IndexedStack):
        whole = np.asarray(psf.whole[:])
        return whole[0] if len(whole) == 1 else whole[psf.rows]
    return np.asarray(psf)


def _key(block: Block) -> str:
    planes = (block.images, block.ivar, block.mask, block.psf)
    asked = json.dumps(asdict(block.recipe) | block.recipe.attrs(), sort_keys=True)
    parts = [str((plane.shape, plane.dtype.str)) if plane is not None else "none" for plane in planes]
    stored = [np.ascontiguousarray(plane).tobytes() for plane in planes if plane is not None]
    return content_hash(asked, block.survey.to_json(), *parts, *stored)
