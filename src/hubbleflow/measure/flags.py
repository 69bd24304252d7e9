"""What can be wrong with a measurement, as named bits.

A measurement never drops a row: whatever is wrong with it is said by a bit, in the column `b_flag` of the band it
concerns and, for the reference band, in `flag`. Two kinds of bits exist. UNTRUSTED bits say that a number of that row
is missing, wrong, or not about the central galaxy; the others are notes: the numbers stand, with the remark that the
bit makes. A flag of 0 means nothing to remark.

EDGE is a note on purpose. Half of the bright galaxies in 64-pixel HSC stamps reach the edge at 1.5 sigma: their areas
are lower limits, but the same limits in every set of that stamp size, so sets can be compared; whoever wants the
galaxy's own area asks for flag == 0.
"""

from __future__ import annotations

from enum import IntFlag

from hubbleflow.measure.bits import Bits


class Flag(IntFlag):
    """Bits of `b_flag` and `flag`. Their values are a file format: add new ones at the end, never renumber."""

    NOT_DETECTED = 1 << 0
    EMPTY = 1 << 1
    CONSTANT = 1 << 2
    NO_NOISE_ESTIMATE = 1 << 3
    OFF_CENTRE = 1 << 4
    AMBIGUOUS = 1 << 5
    BLENDED = 1 << 6
    CROWDED = 1 << 7
    EDGE = 1 << 8
    APERTURE_TRUNCATED = 1 << 9
    BAD_PIXELS = 1 << 10
    SATURATED = 1 << 11
    HOT_PIXEL = 1 << 12
    NEGATIVE_FLUX = 1 << 13
    LOW_SNR = 1 << 14
    FILLED = 1 << 15
    CLIPPED_SKY = 1 << 16
    DEBLEND_FAILED = 1 << 17
    SINGULAR = 1 << 18
    MISSING_BAND = 1 << 19
    SPARSE = 1 << 20


DESCRIPTIONS: dict[Flag, str] = {
    Flag.NOT_DETECTED: "no object at the centre: isophotal columns are NaN (in the reference band, fluxes too)",
    Flag.EMPTY: "no usable pixel: all are non-finite, masked or of zero weight",
    Flag.CONSTANT: "all usable pixels have one value",
    Flag.NO_NOISE_ESTIMATE: "no noise could be derived: nothing could be detected",
    Flag.OFF_CENTRE: "the object does not cover the stamp's centre, or its barycentre is beyond the tolerance",
    Flag.AMBIGUOUS: "two objects are equally near the stamp's centre (within 1 px): which is meant is a toss-up",
    Flag.BLENDED: "separated by deblending from a neighbour that it touches",
    Flag.CROWDED: "neighbours cover more than 10 % of the Kron aperture; mirrored pixels stand in for theirs",
    Flag.EDGE: "the isophote touches the edge of the stamp: area, axes and flux are lower limits",
    Flag.APERTURE_TRUNCATED: "the Kron aperture reaches beyond the stamp: what lies outside is missing from the flux",
    Flag.BAD_PIXELS: "non-finite, masked or zero-weight pixels lie within the object's ellipse (3 a, 3 b)",
    Flag.SATURATED: "the peak is flat: four or more pixels share the largest value (in an 8-bit picture: are white)",
    Flag.HOT_PIXEL: "sharper than any PSF: fewer than 5 pixels above the threshold, or one with most of the flux",
    Flag.NEGATIVE_FLUX: "the flux in the aperture is negative: its magnitude and colours are NaN",
    Flag.LOW_SNR: "signal-to-noise ratio of the flux below 5",
    Flag.FILLED: "sources fill the stamp: the sky is taken from within 4 (a, b) of one, so it holds light of theirs",
    Flag.CLIPPED_SKY: "half of the sky has one value (clipped black): noise from its bright side or from rounding",
    Flag.DEBLEND_FAILED: "too many sub-objects for deblending: detected without it",
    Flag.SINGULAR: "second moments are degenerate (a line of pixels): 1/12 px^2 was added to them",
    Flag.MISSING_BAND: "another band has no usable pixel: its columns and colours are NaN",
    Flag.SPARSE: "fewer than half of the stamp's pixels are usable: the sky is that of what is left",
}

# EDGE and FILLED are notes because they mark the brightest and largest galaxies, which generators get wrong first: the limits they stand
# for are the same in every set of one stamp size, so the numbers can be compared, and leaving them out would hide the failure.
NOTES = Flag.BLENDED | Flag.CROWDED | Flag.EDGE | Flag.FILLED | Flag.APERTURE_TRUNCATED | Flag.CLIPPED_SKY | Flag.MISSING_BAND | Flag.SPARSE
BITS = Bits(DESCRIPTIONS, NOTES)
UNTRUSTED = BITS.untrusted
trusted, names, count = BITS.trusted, BITS.names, BITS.count


# What was measured may not be the galaxy, or not all of it: nothing that is fitted to it is to be trusted
DOUBTFUL = Flag.OFF_CENTRE | Flag.AMBIGUOUS | Flag.SATURATED | Flag.HOT_PIXEL | Flag.DEBLEND_FAILED | Flag.SINGULAR
