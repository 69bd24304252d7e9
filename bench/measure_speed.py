"""How long `measure` takes: CPU milliseconds per galaxy and per band stamp on one core.

    OMP_NUM_THREADS=1 python bench/measure_speed.py [--n 400]

Two sets: five-band exponential discs of the sizes and depths of GalaxiesML's typical galaxy (isophotal area of a few
hundred pixels), made here with numpy, and, where `../shared/data` is at hand, real HSC galaxies that fill their
stamps. Deblending costs more the more pixels an object has, so the two bracket what a survey gives. Times are the
least of three runs, interleaved.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from in_words import in_words

from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import measure
from hubbleflow.survey import Survey


def discs(n: int, seed: int = 0) -> GalaxySet:
    """Exponential discs convolved with nothing, in five bands of HSC Wide's noise, a tenth of them with a neighbour."""
    rng = np.random.default_rng(seed)
    survey = Survey.get("hsc-wide")
    y, x = np.mgrid[:64, :64] - 31.5
    images = np.empty((n, 5, 64, 64), np.float32)
    for i in range(n):
        sky = np.zeros((64, 64))
        for dx, dy in [(0.0, 0.0)] + [tuple(rng.uniform(-25, 25, 2))] * (rng.random() < 0.1):
            scale, q, angle = rng.lognormal(np.log(2.5), 0.4), rng.uniform(0.3, 1.0), rng.uniform(0, np.pi)
            u = (x - dx) * np.cos(angle) + (y - dy) * np.sin(angle)
            v = ((y - dy) * np.cos(angle) - (x - dx) * np.sin(angle)) / q
            flux = survey.flux(rng.uniform(19.0, 23.0))
            sky += flux / (2 * np.pi * scale**2 * q) * np.exp(-np.sqrt(u**2 + v**2 + 1.0) / scale)
        images[i] = (
            sky * np.array([0.3, 0.6, 1.0, 1.2, 1.3])[:, None, None] + rng.normal(size=(5, 64, 64)) * np.array(survey.noise)[:, None, None]
        )
    return GalaxySet(images, survey)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=400, help="galaxies of each set")
    n = parser.parse_args().n
    sets = {"exponential discs, i 19-23, 5 bands": discs(n)}
    real = Path(__file__).resolve().parents[2] / "shared/data/hsc_two_depths/hsc_wide_deep_64.npz"
    if real.exists():
        sets["real HSC Wide, stamp-filling, 1 band"] = GalaxySet(np.load(real)["wide"][:n, None], Survey.get("hsc-i"))
    seconds: dict[str, float] = dict.fromkeys(sets, np.inf)
    area: dict[str, float] = {}
    for _ in range(3):
        for name, galaxies in sets.items():
            start = time.process_time()
            measured = measure(galaxies, workers=1, progress=False)
            seconds[name] = min(seconds[name], time.process_time() - start)
            area[name] = float(np.nanmedian(measured.columns[f"{galaxies.survey.reference_band}_isophotal_area"]))
    print(f"{'set':40s} {'galaxies':>8s} {'ms/galaxy':>10s} {'ms/band stamp':>14s} {'median area px':>15s}")
    for name, galaxies in sets.items():
        each = 1e3 * seconds[name] / len(galaxies)
        print(f"{name:40s} {len(galaxies):8d} {each:10.2f} {each / len(galaxies.bands):14.2f} {area[name]:15.0f}")


if __name__ == "__main__":
    in_words(main)
