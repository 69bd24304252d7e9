"""What neighbours do to a Sersic fit through the whole pipeline, and what taking them away undoes; on one core.

    OMP_NUM_THREADS=1 python bench/neighbours.py [--n 2000]

The galaxies are those of `sersic_mocks.py`, drawn by GalSim, and go through `measure()` with their PSF: alone; with another such galaxy 12
to 40 px away, which `measure` has to find, masked only (`Recipe(subtract_neighbours=False)`); and with it taken away
(`measure.neighbours`). S/N is the true model's matched one.

Per S/N bin: median and robust scatter (half of the central 68 %) of fitted less true ln R_e and ln n; the share of truths within one stated
standard deviation; the share of |d ln n| > 0.5; the share of untrusted fits. No fit is left out. "Found" are the stamps in which `measure`
saw the neighbour as an object of its own: what it does not see it cannot take away, nor could it mask it. Times are CPU milliseconds a
galaxy of all of `measure` but the shapes; what the subtraction costs is per galaxy that it touched.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from in_words import in_words
from sersic_mocks import BINS, half_width, label_of, matched_snr, mock, stamps

from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import Recipe, SersicFlag, measure
from hubbleflow.measure.sersic_flags import trusted
from hubbleflow.survey import Survey

HEAD = f"{'':28s} {'S/N':>8s} {'N':>5s} {'':7s} {'bias':>8s} {'scatter':>8s} {'in 68 %':>8s} {'|dln n|>.5':>10s} {'untrusted':>9s}"


def measured(images: np.ndarray, psf: np.ndarray, subtract: bool) -> tuple[dict[str, np.ndarray], float]:
    """Columns, and CPU seconds."""
    galaxies = GalaxySet(images[:, None].astype(np.float32), Survey.get("hsc-i"), psf=psf[None].astype(np.float32))
    seconds = time.process_time()
    columns = measure(galaxies, workers=1, progress=False, recipe=Recipe(shapes=False, subtract_neighbours=subtract)).columns
    return dict(columns), time.process_time() - seconds


def show(label: str, columns: dict[str, np.ndarray], truth: np.ndarray, snr: np.ndarray, of: np.ndarray) -> None:
    """The table's lines of one run."""
    for low, high in BINS:
        rows = (snr >= low) & (snr < high) & of
        for name, column, true in (("ln R_e", "radius", truth["radius"]), ("ln n", "index", truth["n"])):
            value, error = columns[f"i_sersic_{column}"], columns[f"i_sersic_{column}_err"]
            off, stated = np.log(value / true)[rows], (error / value)[rows]
            numbers = f"{np.nanmedian(off):+8.4f} {half_width(off):8.4f} {np.mean(np.abs(off) <= stated):8.1%}"
            last = (
                f"{np.mean(~(np.abs(off) <= 0.5)):10.1%} {np.mean(~trusted(columns['i_sersic_flag'][rows])):9.1%}" if name == "ln n" else ""
            )
            first = f"{label:28s} {label_of(low, high):>8s} {rows.sum():5d}" if name == "ln R_e" else " " * 43
            print(f"{first} {name:7s} {numbers} {last}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=2000, help="galaxies, of 2,000 drawn")
    n = parser.parse_args().n
    set_ = mock(2000)
    truth, psf = set_["truth"][:n], set_["psf"]
    alone, crowded = (stamps(set_, neighbours)[0][:n] for neighbours in (False, True))
    snr = matched_snr(set_["galaxies"][:n])
    measured(crowded[:64], psf, True)  # tables, buffers and imports
    runs = {
        "alone": measured(alone, psf, True),
        "neighbour, masked": measured(crowded, psf, False),
        "neighbour, taken away": measured(crowded, psf, True),
    }
    (_, before), (after, whole) = runs["neighbour, masked"], runs["neighbour, taken away"]
    touched = (after["i_sersic_flag"] & int(SersicFlag.NEIGHBOUR_SUBTRACTED)) != 0
    print(HEAD)
    for label, (columns, seconds) in runs.items():
        show(f"{label} ({1e3 * seconds / n:.2f} ms)", columns, truth, snr, np.ones(n, bool))
    for label, (columns, _) in runs.items():
        show(f"{label}, found", columns, truth, snr, after["n_neighbours"] > 0)
    lonely = (runs["alone"][0]["i_sersic_flag"] & int(SersicFlag.NEIGHBOUR_SUBTRACTED)) != 0
    cost = 1e3 * (whole - before) / max(touched.sum(), 1)
    print(f"fitted again: {touched.sum()} of {n} ({lonely.sum()} of those alone), {cost:.2f} ms more for each")


if __name__ == "__main__":
    in_words(main)
