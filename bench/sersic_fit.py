"""How well, and how fast, the batched Sersic fit finds the truth: galaxies drawn by GalSim, on one core.

    OMP_NUM_THREADS=1 python bench/sersic_fit.py [--n 2000] [--neighbours] [--figure docs/figures/recovery.png]

Single Sersic galaxies of HSC-Wide's pixels, seeing and sky noise in 64-pixel stamps: n 0.5-6 and R_e 0.2"-2" (semi-major) uniform in
their logarithms, q 0.2-1 and i 18-25 uniform, centres within a pixel of the stamp's; a Moffat PSF (FWHM 0.6", beta 2.5), of which the fit
gets a 65-pixel image. S/N is the true model's matched one, sqrt(sum m^2) / sigma. `--neighbours` adds another such galaxy 12 to 40 px away
and gives the fit a mask: where the neighbour's light, as it is, is brighter than half a sigma. The images are kept in runs/bench.

Per S/N bin: median and robust scatter (half of the central 68 %) of fitted less true ln R_e, ln n and e = 1 - q, with the bootstrap error
of the latter; the share of |d ln n| > 0.5; the share of truths within one stated standard deviation; the share of untrusted fits. No fit is
left out.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import galsim
import matplotlib.pyplot as plt
import numpy as np
import torch

from hubbleflow.measure.sersic_fit import FitRecipe, fit_sersic
from hubbleflow.measure.sersic_flags import SersicFlag, trusted

PIXEL, SIZE, NOISE, ZERO_POINT, FWHM, BETA, PSF_SIZE = 0.168, 64, 0.064, 27.0, 0.6, 2.5, 65
BINS = ((10, 30), (30, 100), (100, 300), (300, np.inf))
CACHE = Path("runs/bench")


def draw(truth: np.ndarray, psf: galsim.GSObject) -> np.ndarray:
    """One galaxy of the table, noiseless."""
    params = galsim.GSParams(maximum_fft_size=16384, folding_threshold=1e-3)
    # GalSim's shear keeps the area: it wants the circularised radius
    radius = float(truth["radius"] * np.sqrt(truth["q"]) * PIXEL)
    galaxy = galsim.Sersic(float(truth["n"]), half_light_radius=radius, flux=float(truth["flux"]), gsparams=params)
    galaxy = galaxy.shear(q=float(truth["q"]), beta=float(truth["angle"]) * galsim.degrees)
    offset = galsim.PositionD(float(truth["x"]) - (SIZE - 1) / 2, float(truth["y"]) - (SIZE - 1) / 2)
    return galsim.Convolve(galaxy, psf).drawImage(nx=SIZE, ny=SIZE, scale=PIXEL, offset=offset, dtype=float).array


def truths(n: int, rng: np.random.Generator) -> np.ndarray:
    """Parameters of n galaxies."""
    table = np.zeros(n, [(name, float) for name in ("n", "radius", "q", "angle", "mag", "flux", "x", "y")])
    table["n"], table["radius"] = np.exp(rng.uniform(np.log(0.5), np.log(6.0), n)), np.exp(rng.uniform(np.log(0.2), np.log(2.0), n)) / PIXEL
    table["q"], table["angle"], table["mag"] = rng.uniform(0.2, 1.0, n), rng.uniform(-90, 90, n), rng.uniform(18, 25, n)
    table["flux"] = 10 ** (0.4 * (ZERO_POINT - table["mag"]))
    table["x"], table["y"] = (SIZE - 1) / 2 + rng.uniform(-1, 1, (2, n))
    return table


def mock(n: int) -> dict[str, np.ndarray]:
    """Truth, noiseless galaxies, noiseless neighbours, unit noise and PSF image; drawn once."""
    path = CACHE / f"sersic_{n}.npz"
    if not path.exists():
        rng = np.random.default_rng(4)
        psf = galsim.Moffat(beta=BETA, fwhm=FWHM, gsparams=galsim.GSParams(folding_threshold=1e-4))
        truth, others = truths(n, rng), truths(n, rng)
        distance, angle = rng.uniform(12, 40, n), rng.uniform(0, 2 * np.pi, n)
        others["x"] += distance * np.cos(angle)
        others["y"] += distance * np.sin(angle)
        galaxies, neighbours = (np.stack([draw(row, psf) for row in table]).astype(np.float32) for table in (truth, others))
        image = psf.drawImage(nx=PSF_SIZE, ny=PSF_SIZE, scale=PIXEL, dtype=float).array
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.normal(size=galaxies.shape).astype(np.float32)
        np.savez(path, truth=truth, galaxies=galaxies, neighbours=neighbours, noise=noise, psf=image)
    return dict(np.load(path))


def half_width(values: np.ndarray) -> float:
    """Half of the interval that holds the central 68 %."""
    low, high = np.nanpercentile(values, [15.87, 84.13])
    return float(high - low) / 2


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
    truth, images = set_["truth"], set_["galaxies"] + NOISE * set_["noise"]
    mask = None
    if asked.neighbours:
        images, mask = images + set_["neighbours"], set_["neighbours"] > 0.5 * NOISE
    recipe = FitRecipe(sky_sigma=0.0 if asked.fixed_sky else np.inf, batch=asked.batch)
    dtype = torch.float64 if asked.float64 else torch.float32
    fit_sersic(images[:64], NOISE**-2, set_["psf"], device=asked.device, dtype=dtype)  # tables and buffers
    wall, cpu = time.perf_counter(), time.process_time()
    fit = fit_sersic(images, NOISE**-2, set_["psf"], mask, recipe=recipe, device=asked.device, dtype=dtype)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu

    snr = np.sqrt((set_["galaxies"].astype(float) ** 2).sum(axis=(1, 2))) / NOISE
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
            label = (f"{low}-{high}" if np.isfinite(high) else f">{low}") if name == "ln R_e" else ""
            print(
                f"{label:>8s} {rows.sum() if label else '':>5} {name:8s} {np.nanmedian(some):+8.4f} {half_width(some):8.4f}"
                f" {bootstrap(some, rng):7.4f} {inside:8.1%} {last}"
            )
    if asked.figure:
        plot(snr, errors, asked.figure)
    print("flags:", {bit.name: int(((fit.flag & int(bit)) != 0).sum()) for bit in SersicFlag})


if __name__ == "__main__":
    main()
