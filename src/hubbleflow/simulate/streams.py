"""The random streams of the mock sky: which of a seed's generators draws what.

A generator is known by (seed, stream, number), the number a galaxy's or that of its block of `scene.BLOCK`: galaxy 1,000 of a seed is the
same in a set of 2,000 and in one of a million, in any batch and in any process.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Streams by what they draw. The values are part of what a seed means: another one is another sky."""

    POPULATION = 0  # of a block: its galaxies, their places on the stamps, their neighbours
    NOISE = 1  # of a galaxy: photons, and what is left of the sky
    STRUCTURE = 2  # of a block: bars, arms, knots, companions
    SEEING = 3  # of a block, which is a pointing
    ANGLES = 4  # of the seed alone: the position angles of a catalogue that has none
    STARS = 101  # of a galaxy: a bright star on its stamp

    def generator(self, seed: int, *number: int) -> np.random.Generator:
        """The generator of a seed's galaxy or block.

        >>> bool(Stream.NOISE.generator(1, 7).random() == np.random.default_rng([1, 1, 7]).random())
        True
        """
        return np.random.default_rng([seed, self, *number])
