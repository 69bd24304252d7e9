"""Do the examples' generators copy? Distances to the training set of drawn and of held-out real galaxies.

python bench/novelty.py          after examples 03 and 04 have run
"""

from __future__ import annotations

from pathlib import Path

from in_words import in_words

from hubbleflow.galaxies import GalaxySet
from hubbleflow.metrics.novelty import copied_share

RUNS = {"03_sdss_categories": "sdss.h5", "04_hsc_flux": "hsc.h5"}


def main() -> None:
    for name, data in RUNS.items():
        folder = Path("runs") / name
        training, held_out = GalaxySet.open(folder / data).split([0.8, 0.2], seed=1)
        share, real, drawn = copied_share(training, held_out, GalaxySet.open(folder / "generated.h5"))
        print(
            f"{name:20} median distance: held-out {real:.3f}, generated {drawn:.3f}; nearer than the nearest 5 % of held-out: {share:.3f}"
        )


if __name__ == "__main__":
    in_words(main)
