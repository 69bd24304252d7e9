"""Is the mock's noise that of the real sky? Sky rms and pixel autocorrelation of both, by one function, and how long noise takes.

    OMP_NUM_THREADS=1 python bench/noise.py [../shared/data] [--n 400] [--blank] [--figure docs/figures/noise.png]

Real: the empty pixels of 99 HSC UltraDeep COSMOS scenes (one of the 100 has no good r). Mock: those of `n` simulated stamps of survey
hsc-udeep (`--blank`: of stamps without galaxies). Both are masked and measured by
`hubbleflow.simulate.sky.measure_sky`, galaxies below the detection limit included. Asked for: rms within 10 %, the autocorrelation at
lags 1-3 within 0.05.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from in_words import in_words

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "calibration"))

import sky as calibration  # noqa: E402  (which scenes are whole: both sides take the same ones)

from hubbleflow.simulate import simulate  # noqa: E402
from hubbleflow.simulate.hsc_sky import sky_table  # noqa: E402
from hubbleflow.simulate.noise import add_noise  # noqa: E402
from hubbleflow.simulate.sky import REACH, EmptySky, measure_sky  # noqa: E402
from hubbleflow.survey import Survey  # noqa: E402

LAGS = {"1,0": (1, 0), "2,0": (2, 0), "3,0": (3, 0), "0,1": (0, 1), "0,2": (0, 2), "0,3": (0, 3), "1,1": (1, 1), "-1,1": (-1, 1)}


def mock_images(survey: Survey, n: int, blank: bool) -> np.ndarray:
    """Stamps of 64 pixels at the scenes' depth."""
    if blank:
        return add_noise(np.zeros((n, len(survey.bands), 64, 64), np.float32), survey, 1, np.arange(n))
    return simulate(tempfile.mkdtemp() + "/mock.h5", n=n, survey=survey, progress=False).images[:]


def compare(real: EmptySky, mock: EmptySky, survey: Survey) -> bool:
    """Print the table; True if all is within what was asked for."""
    failures = 0
    print(f"{'band':4s} {'quantity':>12s} {'real':>8s} {'mock':>8s} {'difference':>10s} {'allowed':>8s}")
    correlations = real.correlation(), mock.correlation()
    for b, band in enumerate(survey.bands):
        rows = [("rms", np.nanmedian(real.rms[:, b]), np.nanmedian(mock.rms[:, b]), 0.10)]
        rows += [(f"rho({lag})", *(c[b, REACH + dy, REACH + dx] for c in correlations), 0.05) for lag, (dx, dy) in LAGS.items()]
        for name, a, m, allowed in rows:
            difference = m / a - 1 if name == "rms" else m - a
            good = abs(difference) <= allowed
            failures += not good
            print(f"{band:4s} {name:>12s} {a:8.4f} {m:8.4f} {difference:10.4f} {allowed:8.2f} {'pass' if good else 'FAIL'}")
    print(f"empty pixels: real {int(np.median(real.pixels.sum(axis=0)))}, mock {int(np.median(mock.pixels.sum(axis=0)))} a band")
    print("all pass" if not failures else f"{failures} FAIL")
    return not failures


def speed(survey: Survey) -> None:
    """CPU milliseconds a galaxy of 5 x 64 x 64: the least of 15 runs of 64 galaxies, interleaved."""
    images, least = np.zeros((64, 5, 64, 64), np.float32), {}
    for _ in range(15):
        for name, correlated, residual in (("white", False, False), ("correlated", True, False), ("correlated + sky residual", True, True)):
            images[:] = 0
            start = time.process_time()
            add_noise(images, survey, 1, np.arange(64), correlated, residual)
            least[name] = min(least.get(name, np.inf), time.process_time() - start)
    print("ms a galaxy: " + ", ".join(f"{name} {1e3 * value / 64:.3f}" for name, value in least.items()))


def draw(path: Path, real: EmptySky, mock: EmptySky, scene: np.ndarray, stamps: np.ndarray, survey: Survey) -> None:
    """Correlation against lag per band, its map in i, and a piece of real and mock sky."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 5, figsize=(11, 4.6), layout="constrained")
    correlations = real.correlation(), mock.correlation()
    error = np.array(sky_table()["correlation_error"])
    lag = np.arange(1, REACH + 1)
    for b, (axis, band) in enumerate(zip(axes[0], survey.bands, strict=True)):
        for (dy, dx), marker, colour in (((0, 1), "o", "C0"), ((1, 0), "s", "C1"), ((1, 1), "^", "C2")):
            values, drawn = (c[b, REACH + dy * lag, REACH + dx * lag] for c in correlations)
            name = {(0, 1): "x", (1, 0): "y", (1, 1): "diagonal"}[dy, dx]
            axis.errorbar(
                lag + 0.08 * (dx - dy), values, error[b, dy * lag, REACH + dx * lag], fmt=marker, color=colour, ms=4, label=f"real, {name}"
            )
            axis.plot(lag, drawn, color=colour, lw=1.2, label=f"mock, {name}")
        axis.axhline(0, color="0.7", lw=0.7, zorder=0)
        axis.set(
            title=f"{band}: rms {np.nanmedian(real.rms[:, b]):.3f} | {np.nanmedian(mock.rms[:, b]):.3f}",
            ylim=(-0.06, 0.12),
            xlabel="lag, pixels",
        )
        if b:
            axis.set_yticklabels([])
    axes[0, 0].set_ylabel("autocorrelation")
    axes[0, 0].legend(fontsize=5.5, ncols=2, loc="upper right")
    i = survey.band_index("i")
    for axis, square, title in zip(
        axes[1, :3], (*correlations, correlations[1] - correlations[0]), ("real, i", "mock, i", "mock - real"), strict=True
    ):
        shown = square[i].copy()
        shown[REACH, REACH] = np.nan
        picture = axis.imshow(shown, origin="lower", vmin=-0.07, vmax=0.07, cmap="RdBu_r", extent=[-4.5, 4.5, -4.5, 4.5])
        axis.set(title=title, xlabel="lag, pixels")
    figure.colorbar(picture, ax=axes[1, 2], shrink=0.8)
    rms = np.nanmedian(real.rms[:, i])
    for axis, image, title in ((axes[1, 3], scene[i], "real sky, i, +-3 rms"), (axes[1, 4], stamps[i], "mock sky")):
        axis.imshow(image - np.median(image), origin="lower", vmin=-3 * rms, vmax=3 * rms, cmap="gray")
        axis.set(title=title, xticks=[], yticks=[])
    figure.savefig(path, dpi=100)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, default=ROOT.parent / "shared/data", help="folder of hsc_cosmos_scenes")
    parser.add_argument("--n", type=int, default=400, help="mock stamps")
    parser.add_argument("--blank", action="store_true", help="mock stamps without galaxies")
    parser.add_argument("--figure", type=Path, help="draw the comparison to this file")
    arguments = parser.parse_args()
    survey = Survey.get("hsc-udeep")
    scenes = []
    for path in sorted((arguments.data / "hsc_cosmos_scenes").glob("*.npz")):
        scene = np.load(path)
        if calibration.is_whole(scene["weights"]):
            scenes.append(scene["images"])
    images = mock_images(survey, arguments.n, arguments.blank)
    real, mock = measure_sky(scenes), measure_sky(images)
    compare(real, mock, survey)
    speed(survey)
    if arguments.figure:
        emptiest = int(np.nanargmax(np.where(real.pixels[:, 2] > 20000, real.pixels[:, 2], 0)))
        draw(arguments.figure, real, mock, scenes[emptiest][:, :40, -40:], mock_images(survey, 1, True)[0][:, :40, :40], survey)


if __name__ == "__main__":
    in_words(main)
