"""What can be wrong with a non-parametric shape, as named bits: `measure.flags` for concentration, asymmetry, smoothness, Gini and M20.

Bits of NO_VALUES say that there are no numbers (NaN); NOTES that the numbers stand, with a remark; the others are not to be trusted.
"""

from __future__ import annotations

from enum import IntFlag

from hubbleflow.measure.bits import Bits


class ShapeFlag(IntFlag):
    """Bits of `shape_flag`. Their values are a file format: add new ones at the end, never renumber."""

    NO_OBJECT = 1 << 0
    NO_FLUX = 1 << 1
    NO_PETROSIAN = 1 << 2
    TOO_SMALL = 1 << 3
    LOW_SNR = 1 << 4
    CENTRE_MOVED = 1 << 5
    MASKED = 1 << 6
    BEYOND_STAMP = 1 << 7
    NO_GINI = 1 << 8
    EDGE = 1 << 9
    APERTURE_TRUNCATED = 1 << 10
    NO_SMOOTHNESS = 1 << 11
    FRAGMENTED = 1 << 12
    UNTRUSTED_OBJECT = 1 << 13


DESCRIPTIONS: dict[ShapeFlag, str] = {
    ShapeFlag.NO_OBJECT: "no object at the centre, no usable pixel or no noise to compare with: no numbers",
    ShapeFlag.NO_FLUX: "the light of the object, or in its aperture, is not positive: no numbers",
    ShapeFlag.NO_PETROSIAN: "the profile does not fall to a fifth of the mean within it from one pixel to the stamp's corner: no numbers",
    ShapeFlag.TOO_SMALL: "unresolved: a fifth of the light lies within one pixel, or within half of the PSF's width where that is known",
    ShapeFlag.LOW_SNR: "mean signal-to-noise ratio of a pixel below the recipe's limit",
    ShapeFlag.CENTRE_MOVED: "no centre of symmetry near the barycentre or the brightest pixel: the barycentre was used",
    ShapeFlag.MASKED: "a fifth of the aperture is masked, beyond the stamp or opposite to such pixels; or the centre is masked",
    ShapeFlag.BEYOND_STAMP: "less than half of the Petrosian ring is on the stamp and usable",
    ShapeFlag.NO_GINI: "the Petrosian isophote holds no light to speak of: Gini or M20 is NaN",
    ShapeFlag.EDGE: "the Petrosian isophote is cut by the stamp's edge",
    ShapeFlag.APERTURE_TRUNCATED: "the aperture of 1.5 Petrosian radii reaches beyond the stamp: numbers are of what lies inside",
    ShapeFlag.NO_SMOOTHNESS: "a quarter of the Petrosian radius is less than two pixels: there is nothing to smooth, S is NaN",
    ShapeFlag.FRAGMENTED: "the Petrosian isophote is in pieces: the one with the brightest peak was kept",
    ShapeFlag.UNTRUSTED_OBJECT: "what was measured may not be the galaxy, or not all of it: saturated, off-centre, ambiguous, a hot pixel",
}
NO_VALUES = ShapeFlag.NO_OBJECT | ShapeFlag.NO_FLUX | ShapeFlag.NO_PETROSIAN
# EDGE and APERTURE_TRUNCATED are notes for the reason that they are in `measure.flags`: they mark the largest galaxies.
NOTES = ShapeFlag.EDGE | ShapeFlag.APERTURE_TRUNCATED | ShapeFlag.NO_SMOOTHNESS | ShapeFlag.FRAGMENTED
BITS = Bits(DESCRIPTIONS, NOTES)
UNTRUSTED = BITS.untrusted
trusted, names = BITS.trusted, BITS.names
