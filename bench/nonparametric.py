"""Our non-parametric shapes against statmorph's: the same numbers, and at what cost.

    pip install statmorph                                                   # for this benchmark only
    OMP_NUM_THREADS=1 python bench/nonparametric.py [--n 400] [--snr 30] [--neighbours]

The galaxies are those of `sersic_mocks.py`, drawn by GalSim, with a matched S/N above `--snr`, in the order drawn. Both get the same
pixels, noise and masks; statmorph also gets the segment that we find, and its cost is in our time, not in theirs. Of statmorph only these
statistics are computed, and timed: no Sersic fit, no MID, no shape asymmetry. Rounds of 25 galaxies are interleaved, in CPU time.

Differences are ours less statmorph's, of the galaxies that both have a number for and neither calls bad (statmorph's flag 2, an untrusted
bit of ours); "all" leaves none of them out, and "asked" is the most that the median may be. statmorph takes the sky's asymmetry and
smoothness from the first empty square of 32 pixels or less, whose scatter is most of the difference in A and S.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from in_words import in_words
from sersic_mocks import NOISE, SIZE, matched_snr, mock, stamps

from hubbleflow.measure.nonparametric import nonparametric
from hubbleflow.measure.shape import ShapeRecipe, Stamp
from hubbleflow.measure.shape_flags import ShapeFlag, trusted

ROUND = 25
# Ours, statmorph's, the largest median difference allowed
STATISTICS = (
    ("gini", "gini", 0.01),
    ("m20", "m20", 0.02),
    ("concentration", "concentration", 0.05),
    ("asymmetry", "asymmetry", 0.02),
    ("smoothness", "smoothness", 0.02),
    ("petro_rad_circular", "rpetro_circ", None),
    ("petro_rad", "rpetro_ellip", None),
    ("r20", "r20", None),
    ("r80", "r80", None),
)


def statmorph_one(image: np.ndarray, mask: np.ndarray) -> list[float]:
    """STATISTICS and the flag; NaN where it gives up, or where there is no segment to give it."""
    import statmorph

    class These(statmorph.SourceMorphology):
        def _calculate_morphology(self) -> None:  # everything at once, otherwise
            pass

        def _check_segmaps(self) -> None:
            pass

    segment = Stamp(np.where(mask, 0, image).astype(np.float32), ~mask, NOISE, ShapeRecipe()).segment((SIZE - 1) / 2, (SIZE - 1) / 2)
    if segment is None:
        return [np.nan] * (len(STATISTICS) + 2)
    seconds = time.process_time()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = These(image.astype(float), segment.astype(int), 1, mask=mask, weightmap=np.full(image.shape, NOISE))
            values = [float(getattr(found, name)) for _, name, _ in STATISTICS]
            flag = float(found.flag)
    except Exception:  # it raises on some stamps
        values, flag = [np.nan] * len(STATISTICS), 4.0
    return [np.nan if value == -99 else value for value in values] + [flag, time.process_time() - seconds]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=400, help="galaxies")
    parser.add_argument("--snr", type=float, default=30.0, help="least matched S/N")
    parser.add_argument("--neighbours", action="store_true", help="with a masked neighbour in every stamp")
    asked = parser.parse_args()
    drawn = mock(2000)
    snr = matched_snr(drawn["galaxies"])
    rows = np.flatnonzero(snr > asked.snr)[: asked.n]
    images, mask = (stack[rows] for stack in stamps(drawn, asked.neighbours))
    nonparametric(images[:8], NOISE)
    statmorph_one(images[0], mask[0])

    ours, theirs, seconds = [], [], []
    for first in range(0, len(rows), ROUND):
        some = slice(first, first + ROUND)
        begin = time.process_time()
        ours.append(nonparametric(images[some], NOISE, mask[some]))
        seconds.append(time.process_time() - begin)
        theirs += [statmorph_one(image, hidden) for image, hidden in zip(images[some], mask[some], strict=True)]
    flags, other = np.concatenate([one.flag for one in ours]), np.array(theirs)
    good = trusted(flags) & (other[:, -2] < 2)
    print(f"{len(rows)} galaxies of S/N > {asked.snr:g}{', with masked neighbours' if asked.neighbours else ''}; {good.sum()} good in both")
    heads = (("", 20), ("N", 5), ("median", 8), ("median|d|", 10), ("90 %|d|", 9), ("all: median|d|", 15), ("90 %|d|", 9), ("asked", 7))
    print(" ".join(f"{head:>{width}s}" for head, width in (*heads, ("no number", 10))))
    for k, (name, _, limit) in enumerate(STATISTICS):
        mine = np.concatenate([getattr(one, name) for one in ours])
        difference = mine - other[:, k]
        some, every = difference[good & np.isfinite(difference)], difference[np.isfinite(difference)]
        (half, most), (half_all, most_all) = (np.percentile(np.abs(values), [50, 90]) for values in (some, every))
        print(
            f"{name:20s} {len(some):5d} {np.median(some):+8.4f} {half:10.4f} {most:9.4f} {half_all:15.4f} {most_all:9.4f}"
            f" {limit or '':>7} {np.mean(~np.isfinite(mine)):10.1%}"
        )
    mine, cost = 1e3 * sum(seconds) / len(rows), 1e3 * np.nanmean(other[:, -1])
    least, middle = (1e3 * how(seconds) / ROUND for how in (np.min, np.median))
    print(f"CPU, ms a galaxy: ours {mine:.2f} (rounds: least {least:.2f}, median {middle:.2f}), statmorph {cost:.1f}: {cost / mine:.0f} x")
    print(f"untrusted: ours {np.mean(~trusted(flags)):.1%}, statmorph {np.mean(~(other[:, -2] < 2)):.1%}")
    print("flags:", {bit.name: f"{np.mean((flags & int(bit)) != 0):.1%}" for bit in ShapeFlag})


if __name__ == "__main__":
    in_words(main)
