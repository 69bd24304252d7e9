"""What a large set costs in memory: peak resident memory of training and of evaluating with 20,000 galaxies, over that with 500.

    python bench/memory.py [--n 20000] [--out FOLDER]

A set of n five-band 64-px galaxies (500 mock galaxies, repeated) is written, and each command runs once with it and once with the 500, in
processes of its own; what is printed is the difference of their peaks. Both commands stream, so it should be far below the set's own size.
"""

from __future__ import annotations

import argparse
import resource
from pathlib import Path

from in_words import in_words
from peak import peaks_mib

from hubbleflow.galaxies import GalaxySet, GalaxyWriter
from hubbleflow.simulate import simulate

SMALL = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path("runs/memory"))
    arguments = parser.parse_args()
    out = arguments.out
    small = simulate(out / "small.h5", SMALL, seed=1)
    with GalaxyWriter(out / "large.h5", small.survey, psf=small.psf) as writer:
        while writer.n < arguments.n:
            for block in GalaxySet.open(out / "small.h5").blocks():
                writer.append(block.images[:], {"redshift": block.redshift})
    size = (out / "large.h5").stat().st_size / 2**20
    here = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{arguments.n} galaxies, {size:.0f} MiB on disk; making them took {here:.0f} MiB")
    for verb in ("train", "evaluate"):
        peaks = {}
        for name in ("small", "large"):
            words = {
                "train": ("train", out / f"{name}.h5", out / f"model_{name}", "--steps", 10, "--no-sheets"),
                "evaluate": ("evaluate", out / f"{name}.h5", out / "small.h5", out / f"report_{name}", "--redshift-model", "none"),
            }[verb]
            peaks[name] = sum(peaks_mib(*words))
        added = peaks["large"] - peaks["small"]
        print(f"{verb:9} {peaks['small']:6.0f} MiB with {SMALL}, {peaks['large']:6.0f} MiB with {arguments.n}: {added:+.0f} MiB")


if __name__ == "__main__":
    in_words(main)
