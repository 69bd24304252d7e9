"""What can be wrong with a Sersic fit, as named bits: `measure.flags` for the profile. No torch here, so that anyone may read the bits.

Bits of NO_VALUES say that there is no number (NaN); NOTES that the numbers stand, with a remark; the others are not to be trusted.
"""

from __future__ import annotations

from enum import IntFlag

from hubbleflow.measure.bits import Bits


class SersicFlag(IntFlag):
    """Bits of `sersic_flag`. Their values are a file format: add new ones at the end, never renumber."""

    EMPTY = 1 << 0
    NO_PSF = 1 << 1
    NOT_CONVERGED = 1 << 2
    AT_BOUND = 1 << 3
    CENTRE_MOVED = 1 << 4
    MASKED_CORE = 1 << 5
    LOW_SNR = 1 << 6
    NEGATIVE_FLUX = 1 << 7
    POINT_LIKE = 1 << 8
    PSF_GUESSED = 1 << 9
    NO_OBJECT = 1 << 10
    UNTRUSTED_OBJECT = 1 << 11
    BEYOND_STAMP = 1 << 12
    NEIGHBOUR_SUBTRACTED = 1 << 13
    POOR_FIT = 1 << 14


DESCRIPTIONS: dict[SersicFlag, str] = {
    SersicFlag.EMPTY: "too few usable pixels for the parameters: no fit",
    SersicFlag.NO_PSF: "no usable PSF image, and none can be guessed (no stated seeing, or pixels not linear in flux): no fit",
    SersicFlag.NOT_CONVERGED: "the iteration ended before the model was at its best",
    SersicFlag.AT_BOUND: "Sersic index, radius, axis ratio or centre is at the limit of what was allowed; its error means little",
    SersicFlag.CENTRE_MOVED: "the centre went farther from where it started than the tolerance: perhaps another object was fitted",
    SersicFlag.MASKED_CORE: "the central pixel, or a fifth of those within the half-light ellipse, is unusable",
    SersicFlag.LOW_SNR: "matched signal-to-noise ratio below the recipe's limit: the structure says little",
    SersicFlag.NEGATIVE_FLUX: "the best flux is not positive: the structure is NaN",
    SersicFlag.POINT_LIKE: "the radius is less than twice its error: it cannot be told from a point source",
    SersicFlag.PSF_GUESSED: "the set has no PSF: a Moffat profile of the survey's stated seeing was used, and errors know nothing of that",
    SersicFlag.NO_OBJECT: "no object was detected at the centre: no fit",
    SersicFlag.UNTRUSTED_OBJECT: "what was fitted may not be the galaxy, or not all of it: saturated, off-centre, ambiguous, a hot pixel",
    SersicFlag.BEYOND_STAMP: "the half-light radius is more than half of the stamp's side: it cannot be told from the sky",
    SersicFlag.NEIGHBOUR_SUBTRACTED: "neighbours' light reached the galaxy: models of theirs were taken away, and it was fitted again",
    SersicFlag.POOR_FIT: "what the model leaves, beyond noise, has a fifth of its rms: arms, a blend, another PSF; errors are too small",
}
NO_VALUES = SersicFlag.EMPTY | SersicFlag.NO_PSF | SersicFlag.NO_OBJECT
NOTES = SersicFlag.POINT_LIKE | SersicFlag.PSF_GUESSED | SersicFlag.NEIGHBOUR_SUBTRACTED | SersicFlag.POOR_FIT
BITS = Bits(DESCRIPTIONS, NOTES)
UNTRUSTED = BITS.untrusted
trusted, names = BITS.trusted, BITS.names
