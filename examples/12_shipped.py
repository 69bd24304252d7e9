"""Galaxies in a moment: the generator that ships with the package, asked in several ways, and the redshifts its companion reads off them.

New here: `Generator.from_pretrained("hsc")`. There is nothing to train and nothing to fetch. Any of its conditions may be asked for; the
others are drawn as galaxies like that have them, and stand beside the images as `asked_...`, so that what is asked for by redshift alone
comes with the brightness, colours and size that go with it.

    python examples/12_shipped.py [--out FOLDER] [--steps 20]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from hubbleflow import Generator
from hubbleflow.galaxies import GalaxySet
from hubbleflow.predictor import Predictor
from hubbleflow.report import sheet

ROW = 8
ASKED = {
    "at z = 0.15": {"redshift": 0.15},
    "at z = 0.5": {"redshift": 0.5},
    "at z = 1.5": {"redshift": 1.5},
    "spirals of 18th magnitude": {"category": "Unbarred Tight Spiral", "i_mag": 18.0},
    "edge-on, at 45 degrees": {"category": "Edge-on with Bulge", "redshift": 0.2, "axis_ratio": 0.2, "position_angle": 45.0},
    "red, round and bright": {"category": "Round Smooth", "g_r": 1.6, "i_mag": 19.5},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/12_shipped"))
    parser.add_argument("--steps", type=int, default=20, help="of the sampler")
    given = parser.parse_args()

    generator, reader = Generator.from_pretrained("hsc"), Predictor.from_pretrained("hsc-redshift")
    rows = []
    for number, (what, asked) in enumerate(ASKED.items()):
        made = generator.sample(asked, n=ROW, seed=number, steps=given.steps)
        read = reader.predict(made)
        print(
            f"{what:28s} z {np.median(made.redshift):.2f}, read {np.median(read):.2f};"
            f"  i {np.median(made.column('asked_i_mag')):.1f}, g - r {np.median(made.column('asked_g_r')):.2f},"
            f" half-light radius {np.median(made.column('asked_half_light_radius')):.2f} arcsec"
        )
        rows.append(GalaxySet(made.images, made.survey, {"redshift": made.redshift}))
    labels = [f"{what}" if place == 0 else "" for what in ASKED for place in range(ROW)]
    sheet(GalaxySet.concatenate(rows), given.out / "shipped.png", columns=ROW, labels=labels)
    print(f"{given.out / 'shipped.png'}")


if __name__ == "__main__":
    main()
