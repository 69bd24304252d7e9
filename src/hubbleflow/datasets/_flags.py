"""The two policies that every import obeys: what becomes of pixels and of redshifts that cannot be used.

Pixels.  A pixel that is NaN or infinite carries no flux: it becomes 0, its bit ``BAD_PIXEL`` is set in `mask`, its
inverse variance (where the set has one) becomes 0, and the galaxy's column `n_bad_pixels` counts it. Finite values
are kept as they are, outliers included.

Redshifts.  NaN means "unknown" and stays NaN. A negative or infinite value cannot be a cosmological redshift
(archives write -1, -99 or -9999 for "none"; the handful of truly blueshifted neighbours have no Hubble flow to speak
of): it becomes NaN too. The column `flag_redshift` says which: 0 usable, 1 missing, 2 refused, and
`redshift_as_given` keeps the archive's own numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from hubbleflow.datasets._archive import Block

# Bits of the mask.
BAD_PIXEL = 1
NO_DATA = 2
# Values of the column flag_redshift.
REDSHIFT_MISSING = 1
REDSHIFT_REFUSED = 2


@dataclass
class Tally:
    """Counts what the two policies changed while blocks stream by."""

    galaxies: int = 0
    bad_pixels: int = 0
    galaxies_with_bad_pixels: int = 0
    redshifts_missing: int = 0
    redshifts_refused: int = 0
    has_redshift: bool = False

    def clean(self, block: Block) -> Block:
        """`block` under the pixel and redshift policies of this module, counted.

        The mask is made only where a block has bad pixels: a writer fills the others with zeros.
        """
        self.galaxies += len(block)
        return self._clean_redshifts(self._clean_pixels(block))

    def _clean_pixels(self, block: Block) -> Block:
        # A float64 beyond float32 becomes infinite, and is then a bad pixel like any other.
        with np.errstate(over="ignore"):
            images = np.asarray(block.images, np.float32)
        bad = ~np.isfinite(images)
        count = bad.sum(axis=(1, 2, 3)).astype(np.int32)
        # A set that was imported before keeps what was counted then.
        columns = {**block.columns, "n_bad_pixels": count + block.columns.get("n_bad_pixels", 0)}
        ivar = None if block.ivar is None else np.asarray(block.ivar, np.float32)
        mask = None if block.mask is None else np.asarray(block.mask, np.uint8)
        if ivar is not None:
            ivar = np.where(bad | ~np.isfinite(ivar) | (ivar < 0), np.float32(0), ivar)
        if bad.any():
            self.bad_pixels += int(count.sum())
            self.galaxies_with_bad_pixels += int((count > 0).sum())
            images = np.where(bad, np.float32(0), images)
            bits = np.where(bad, np.uint8(BAD_PIXEL), np.uint8(0))
            mask = bits if mask is None else mask | bits
        return Block(images, columns, ivar, mask, block.psf)

    def _clean_redshifts(self, block: Block) -> Block:
        if "redshift" not in block.columns:
            return block
        self.has_redshift = True
        given = np.asarray(block.columns["redshift"], float)
        if "redshift_as_given" in block.columns:  # imported before: what was refused then is known only from here
            given = np.where(np.isnan(given), block.columns["redshift_as_given"], given)
        missing = np.isnan(given)
        refused = ~missing & ((given < 0) | np.isinf(given))
        self.redshifts_missing += int(missing.sum())
        self.redshifts_refused += int(refused.sum())
        flag = missing * np.uint8(REDSHIFT_MISSING) + refused * np.uint8(REDSHIFT_REFUSED)
        columns = {
            **block.columns,
            "redshift": np.where(refused, np.nan, given),
            "redshift_as_given": given,
            "flag_redshift": flag.astype(np.uint8),
        }
        return replace(block, columns=columns)

    def notes(self) -> Iterator[str]:
        """What was changed, in sentences; nothing where nothing was."""
        if self.bad_pixels:
            yield (
                f"{self.bad_pixels:,} pixels of {self.galaxies_with_bad_pixels:,} galaxies were NaN or infinite: "
                "set to 0, masked (bit 1) and counted in column n_bad_pixels"
            )
        if self.redshifts_missing:
            yield f"{self.redshifts_missing:,} of {self.galaxies:,} galaxies have no redshift (NaN; flag_redshift = 1)"
        if self.redshifts_refused:
            yield (
                f"{self.redshifts_refused:,} of {self.galaxies:,} redshifts are negative or infinite: "
                "set to NaN (flag_redshift = 2), the archive's value is kept in redshift_as_given"
            )
