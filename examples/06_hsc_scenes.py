"""The real HSC sky in five bands: 100 scenes, cut into stamps at their peaks, measured, and shown.

New here: an archive of scenes (stars, saturated cores, blends and missing pixels included), inverse variances, a PSF for each galaxy, and a
table of flags: nothing is dropped, whatever is wrong is named.

    python examples/06_hsc_scenes.py [hsc_cosmos_scenes] [--out FOLDER]

The same by hand:

    hubbleflow import scenes hsc_cosmos_scenes scenes.h5
    hubbleflow measure scenes.h5 --table scenes.ecsv
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from hubbleflow.datasets import import_archive
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import measure_file, trusted
from hubbleflow.report import sheet
from hubbleflow.tables import write_table

FAINTEST_SHOWN = 24.0  # i magnitude


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", nargs="?", type=Path, default=Path("../shared/data/hsc_cosmos_scenes"))
    parser.add_argument("--out", type=Path, default=Path("runs/06_hsc_scenes"))
    arguments = parser.parse_args()
    out = arguments.out

    print(import_archive("scenes", arguments.source, out / "scenes.h5"))
    measured = measure_file(out / "scenes.h5")
    scenes = GalaxySet.open(out / "scenes.h5")
    write_table(scenes, out / "scenes.ecsv")

    good = trusted(measured.columns["flag"])
    print(f"{len(scenes)} objects, {int(good.sum())} with numbers to be trusted; flags, most frequent first:")
    for name, count in sorted(measured.flag_counts.items(), key=lambda item: -item[1]):
        if count and name != "untrusted":
            print(f"  {name:20} {count}")
    magnitude = measured.columns["i_mag"]
    shown = np.flatnonzero(good & (magnitude < FAINTEST_SHOWN) & np.isfinite(measured.columns["g_mag"]))
    ranked = shown[np.argsort(magnitude[shown])]
    chosen = ranked[np.linspace(0, len(ranked) - 1, 32).astype(int)]
    labels = [f"i = {magnitude[row]:.1f}, g-i = {measured.columns['g_mag'][row] - magnitude[row]:.1f}" for row in chosen]
    sheet(scenes[chosen], out / "sheets" / "scenes.png", columns=8, labels=labels)
    colours = {
        name: np.median(measured.columns[name][good][np.isfinite(measured.columns[name][good])]) for name in ("g_r", "r_i", "i_z", "z_y")
    }
    print("median colours: " + ", ".join(f"{name.replace('_', '-')} {value:.2f}" for name, value in colours.items()))


if __name__ == "__main__":
    main()
