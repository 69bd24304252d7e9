"""Everything that is said about `measure`, seen: each part is a script of its own, run one after the other in a process of its own.

    OMP_NUM_THREADS=1 python bench/measure.py [PART ...]

truth      the Sersic fit against the truth of 2,000 GalSim galaxies (sersic_fit.py), alone and with masked neighbours
neighbours the same through the whole of `measure`, which finds the neighbours itself (neighbours.py)
rivals     the same galaxies fitted by statmorph, pyimfit and SExtractor, and CPU times (rivals.py, 13 min; it needs all three)
parity     isophotes against SExtractor's (sextractor.py)
sky_level  how much of a galaxy is taken for sky, and how much the Kron ellipse holds (sky_level.py)
shapes     Gini, M20, C, A, S against statmorph's (nonparametric.py)
depths     600 real galaxies at two depths: do they agree within the errors (two_depths.py)
published  the field's published recipe on a mock sky: what it measures, and what its "Sersic index" is (published.py)
sky        everything real at hand, and its flags (real_sky.py)
speed      CPU milliseconds per galaxy (measure_speed.py)
scale      40,914 galaxies on all cores: time and memory (scale.py)
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "truth": (("sersic_fit.py",), ("sersic_fit.py", "--neighbours")),
    "neighbours": (("neighbours.py",),),
    "rivals": (("rivals.py",),),
    "parity": (("sextractor.py",),),
    "sky_level": (("sky_level.py",),),
    "shapes": (("nonparametric.py",), ("nonparametric.py", "--neighbours")),
    "depths": (("two_depths.py",),),
    "published": (("published.py",),),
    "sky": (("real_sky.py",),),
    "speed": (("measure_speed.py",),),
    "scale": (("scale.py",),),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"which: {', '.join(PARTS)}; all where none is given")
    parts = parser.parse_args().parts or list(PARTS)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}: {', '.join(PARTS)}")
    failed = []
    for part in parts:
        for script, *words in PARTS[part]:
            print(f"\n# {part}: python bench/{' '.join((script, *words))}\n", flush=True)
            if subprocess.run([sys.executable, HERE / script, *words]).returncode:
                failed.append(part)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
