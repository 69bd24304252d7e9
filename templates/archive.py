"""My archive (<Author et al. year>; <where it is>): <what it holds, in a line>.

Copy this file to src/hubbleflow/datasets/<name>.py, with <name> for "my_archive" below, and replace what it reads: an
npz of HSC i-band stamps, `stamps` (n, y, x) in counts at zero point 27, and their redshifts, `z` (n,). Galaxies come in
blocks, so that large archives need little memory. Bad pixels and unusable redshifts are flagged for all archives alike,
and not here.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hubbleflow.datasets import BLOCK, Archive, Block, ImportOptions, Reading
from hubbleflow.errors import InputError
from hubbleflow.survey import Survey


def read(source: Path, options: ImportOptions) -> Reading:
    """Open the archive; say what is wrong with it in one sentence, or give its galaxies a block at a time.

    Raises:
        InputError: the file is not what this archive's layout says.
    """
    if not zipfile.is_zipfile(source):
        raise InputError(f"{source} is not an npz file: give the archive's own file")
    with np.load(source) as file:
        missing = sorted({"stamps", "z"} - set(file.files))
        if missing:
            raise InputError(f"{source} has no array {missing[0]!r}, expected 'stamps' and 'z': give the archive's own file")
        stamps, redshift = file["stamps"], file["z"]

    def blocks() -> Iterator[Block]:
        for start in range(0, len(stamps), BLOCK):
            rows = slice(start, start + BLOCK)
            images = stamps[rows, None]  # linear flux, (n, band, y, x)
            yield Block(images, {"object_id": np.arange(len(stamps))[rows], "redshift": redshift[rows]})

    return Reading(Survey.get("hsc-i"), blocks(), total=len(stamps), notes=["<what a user must know of this archive>"])


ARCHIVE = Archive("my_archive", "an npz of my archive's stamps", options=(), read=read)
