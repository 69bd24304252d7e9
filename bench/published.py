"""The field's published measuring code (`hubbleflow.measure.published`) beside ours: what it measures, and what its "Sersic index" is.

    OMP_NUM_THREADS=1 python bench/published.py [--n 1000] [--seed 1] [../shared/data/hsc_two_depths/hsc_wide_deep_64.npz]

Galaxies of the mock sky (HSC Wide, with neighbours), whose Sersic indices are known, and, where they are at hand, 600 real ones (HSC Wide
without the g band: i). It takes the first object of sep's list. Printed are how many objects it finds in a stamp, and how far from the
middle the one it takes lies; its ellipticity, semi-major axis and area over ours in the same band, where it takes the galaxy (within 8 px)
and our flag is trusted; and, of those, per bin of its ellipticity its index, the true one and ours (Sersic fits that are trusted).
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
from in_words import in_words
from scipy.stats import spearmanr

from hubbleflow.measure import Recipe, measure
from hubbleflow.measure.flags import trusted
from hubbleflow.measure.published import published
from hubbleflow.measure.sersic_flags import trusted as trusted_fit
from hubbleflow.simulate import simulate

ROOT = Path(__file__).resolve().parents[1]
REACH_PX = Recipe().tolerance_px  # from the middle: beyond, it is another object
EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=ROOT.parent / "shared/data/hsc_two_depths/hsc_wide_deep_64.npz")
    parser.add_argument("--n", type=int, default=1000, help="galaxies of the mock sky")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        galaxies = simulate(Path(folder) / "sky.h5", asked.n, seed=asked.seed, progress=False)
        theirs = published(galaxies.images[:][:, galaxies.survey.band_index("g")])
        ours = measure(galaxies, workers=1, progress=False, recipe=Recipe(shapes=False)).columns
    print("| galaxies | stamps | no object | several | takes another than the galaxy | of several, another |\n|" + "---|" * 6)
    on = found("mock sky, g", theirs)
    if asked.data.exists():
        with np.load(asked.data) as archive:
            found("real, HSC Wide, i", published(archive["wide"]))

    good = on & trusted(ours["g_flag"])
    print(f"\n{good.sum()} mock galaxies that it takes and we trust: theirs over ours, 16, 50, 84 %")
    for name, mine in (("semi_major_axis", "major_axis"), ("ellipticity", "ellipticity"), ("isophotal_area", "isophotal_area")):
        ratio = theirs[f"published_{name}"][good] / ours[f"g_{mine}"][good]
        print(f"  {name:16s} " + " ".join(f"{v:5.2f}" for v in np.quantile(ratio, (0.16, 0.5, 0.84))))

    good &= trusted_fit(ours["i_sersic_flag"])
    ellipticity = theirs["published_ellipticity"]
    columns = {
        'published "index"': theirs["published_sersic_index"],
        "true n": galaxies.columns["true_sersic_index"],
        "n of our fit": ours["i_sersic_index"],
    }
    print(f"\n{good.sum()} with a trusted fit: median (16-84 %) per ellipticity as it measures it\n")
    print("| ellipticity | galaxies | " + " | ".join(columns) + " |\n|" + "---|" * (2 + len(columns)))
    for low, high in itertools.pairwise(EDGES):
        rows = good & (ellipticity >= low) & (ellipticity < high)
        cells = [
            "{1:.2f} ({0:.2f}-{2:.2f})".format(*np.quantile(v[rows], (0.16, 0.5, 0.84))) if rows.any() else "" for v in columns.values()
        ]
        print(f"| {low:g}-{high:g} | {rows.sum()} | " + " | ".join(cells) + " |")
    for name, against in (("the true n", columns.pop("true n")), ("ellipticity", ellipticity)):
        ranks = (f"{what} {spearmanr(values[good], against[good]).statistic:+.2f}" for what, values in columns.items())
        print(f"\nrank correlation with {name}: {', '.join(ranks)}")


def found(name: str, theirs: dict[str, np.ndarray]) -> np.ndarray:
    """A row of the first table; where the object it takes is the galaxy in the middle of a 64-px stamp."""
    number, middle = theirs["published_n_objects"], (64 - 1) / 2
    on = np.hypot(theirs["published_x"] - middle, theirs["published_y"] - middle) <= REACH_PX  # False where there is none
    some, several = number > 0, number > 1
    shares = ((~some).mean(), several.mean(), (some & ~on).mean(), (~on)[several].mean())
    print(f"| {name} | {len(number)} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    return on


if __name__ == "__main__":
    in_words(main)
