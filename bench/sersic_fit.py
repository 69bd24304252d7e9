"""How well, and how fast, the batched Sersic fit finds the truth: galaxies drawn by GalSim, on one core.

    OMP_NUM_THREADS=1 python bench/sersic_fit.py [--n 2000] [--neighbours] [--figure docs/figures/recovery.png]

The galaxies are those of `sersic_mocks.py`, alone or, with `--neighbours`, with another 12 to 40 px away, of which the fit gets a mask.
S/N is the true model's matched one, sqrt(sum m^2) / sigma.

Per S/N bin: median and robust scatter (half of the central 68 %) of fitted less true ln R_e, ln n and e = 1 - q, with the bootstrap error
of the latter; the share of |d ln n| > 0.5; the share of truths within one stated standard deviation; the share of untrusted fits. No fit is
left out.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from in_words import in_words
from sersic_mocks import BINS, NOISE, half_width, label_of, matched_snr, mock, stamps

from hubbleflow.measure.sersic_fit import FitRecipe, fit_sersic
from hubbleflow.measure.sersic_flags import SersicFlag, trusted


def bootstrap(values: np.ndarray, rng: np.random.Generator) -> float:
    """Standard error of the robust scatter."""
    return float(np.std([half_width(rng.choice(values, len(values))) for _ in range(200)]))


def plot(snr: np.ndarray, errors: dict[str, tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    """Error of each quantity against S/N: every galaxy, and the running 16, 50 and 84 %; below, error over stated error."""
    figure, axes = plt.subplots(2, 3, figsize=(10, 5.4), sharex=True, constrained_layout=True)
    edges = np.geomspace(10, 3000, 13)
    middles = np.sqrt(edges[1:] * edges[:-1])
    for column, (name, (error, stated)) in zip(axes.T, errors.items(), strict=True):
        for axis, values, limit in ((column[0], error, {"ln R_e": 0.6, "ln n": 1.0, "e": 0.3}[name]), (column[1], error / stated, 4)):
            axis.plot(snr, values, ".", ms=2, color="0.7")
            cells = [values[(snr >= a) & (snr < b) & np.isfinite(values)] for a, b in itertools.pairwise(edges)]
            for p, style in ((0.16, "C0--"), (0.5, "C0"), (0.84, "C0--")):
                axis.plot(middles, [np.quantile(c, p) if len(c) > 5 else np.nan for c in cells], style)
            axis.axhline(0, color="k", lw=0.6)
            axis.set(xscale="log", xlim=(10, 3000), ylim=(-limit, limit))
        column[0].set_ylabel(f"{name}: fitted - true")
        column[1].set(ylabel=f"{name}: (fitted - true) / error", xlabel="S/N")
        for level in (-1, 1):
            column[1].axhline(level, color="k", ls=":", lw=0.6)
    figure.savefig(path, dpi=80)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=2000, help="galaxies")
    parser.add_argument("--neighbours", action="store_true", help="with a masked neighbour in every stamp")
    parser.add_argument("--fixed-sky", action="store_true", help="hold the sky at its true value, zero")
    parser.add_argument("--float64", action="store_true", help="compute in double precision")
    parser.add_argument("--batch", type=int, help="galaxies under way at a time")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--figure", type=Path, help="draw errors against S/N")
    asked = parser.parse_args()
    set_ = mock(asked.n)
    truth, (images, mask) = set_["truth"], stamps(set_, asked.neighbours)
    recipe = FitRecipe(sky_sigma=0.0 if asked.fixed_sky else np.inf, batch=asked.batch)
    dtype = torch.float64 if asked.float64 else torch.float32
    fit_sersic(images[:64], NOISE**-2, set_["psf"], device=asked.device, dtype=dtype)  # tables and buffers
    wall, cpu = time.perf_counter(), time.process_time()
    fit = fit_sersic(images, NOISE**-2, set_["psf"], mask, recipe=recipe, device=asked.device, dtype=dtype)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu

    snr = matched_snr(set_["galaxies"])
    errors = {
        "ln R_e": (np.log(fit.radius / truth["radius"]), fit.radius_err / fit.radius),
        "ln n": (np.log(fit.sersic_index / truth["n"]), fit.sersic_index_err / fit.sersic_index),
        "e": (truth["q"] - fit.axis_ratio, fit.axis_ratio_err),
    }
    rng = np.random.default_rng(0)
    each = f"{1e3 * wall / asked.n:.2f} ms each ({1e3 * cpu / asked.n:.2f} ms of CPU)"
    print(f"{asked.n} galaxies, {each}, {fit.iterations.mean():.1f} evaluations of the model")
    heads = (
        ("S/N", 8),
        ("N", 5),
        ("", 8),
        ("bias", 8),
        ("scatter", 8),
        ("+-", 7),
        ("in 68 %", 8),
        ("|dln n|>.5", 10),
        ("untrusted", 9),
        ("evals", 6),
    )
    print(" ".join(f"{head:>{width}s}" for head, width in heads))
    for low, high in BINS:
        rows = (snr >= low) & (snr < high)
        outliers = np.mean(~(np.abs(errors["ln n"][0][rows]) <= 0.5))
        for name, (error, stated) in errors.items():
            some, sigma = error[rows], stated[rows]
            inside = np.mean(np.abs(some) <= sigma)
            last = f"{outliers:10.1%} {np.mean(~trusted(fit.flag[rows])):9.1%} {fit.iterations[rows].mean():6.1f}" if name == "ln n" else ""
            label = label_of(low, high) if name == "ln R_e" else ""
            print(
                f"{label:>8s} {rows.sum() if label else '':>5} {name:8s} {np.nanmedian(some):+8.4f} {half_width(some):8.4f}"
                f" {bootstrap(some, rng):7.4f} {inside:8.1%} {last}"
            )
    if asked.figure:
        plot(snr, errors, asked.figure)
    print("flags:", {bit.name: int(((fit.flag & int(bit)) != 0).sum()) for bit in SersicFlag})


if __name__ == "__main__":
    in_words(main)
