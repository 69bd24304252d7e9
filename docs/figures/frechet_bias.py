"""The Frechet distance of one population from itself, at 100 to 10,000 galaxies a side: docs/figures/frechet_bias.png.

    OMP_NUM_THREADS=1 python docs/figures/frechet_bias.py JUDGE SKY.h5

JUDGE is the folder of a trained li2024-redshift-cnn, SKY.h5 a set of which it has seen nothing (`hubbleflow simulate SKY.h5 -n 20000`); of
that the first 20,000 galaxies. Drawn are mean and scatter over random pairs of disjoint sets of m; the bias to first order in 1/m
(:func:`hubbleflow.metrics.frechet.small_sample_bias`); and for scale what a real difference comes to, r brighter by 0.05 mag.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from hubbleflow.galaxies import GalaxySet
from hubbleflow.metrics.frechet import A_FEATURE, frechet_distance, small_sample_bias
from hubbleflow.metrics.kid import kernel_distance
from hubbleflow.predictor import Predictor

HERE = Path(__file__).resolve().parent
SPLITS, MOST, PAIRED, KID_LARGEST = 20, 20_000, 5_000, 2_000


def main(judge: str, path: str) -> None:
    """Draw the figure and print its numbers."""
    reader, sky = Predictor.load(judge), GalaxySet.open(path)[:MOST]
    rows = reader.features(sky).astype(float)
    redder = np.concatenate([reader.features(_redder(block)) for block in sky[:PAIRED].blocks()]).astype(float)
    n, d, rng = len(rows), rows.shape[1], np.random.default_rng(0)
    difference = frechet_distance(rows[:PAIRED], redder)
    sizes = [m for m in (64, 100, 200, 500, 1000, 2000, 5000, 10_000) if 2 * m <= n and m >= A_FEATURE * d]
    expected = [small_sample_bias(np.cov(rows.T), m) for m in sizes]
    means, scatters, kids = [], [], []
    print(f"{d} features; r brighter by 0.05 mag, {len(redder)} galaxies against the same: {difference:.4f}")
    for m, bias in zip(sizes, expected, strict=True):
        found, kid = [], []
        for _ in range(SPLITS):
            order = rng.permutation(n)
            found.append(frechet_distance(rows[order[:m]], rows[order[m : 2 * m]]))
            if m <= KID_LARGEST:
                kid.append(kernel_distance(rows[order[:m]], rows[order[m : 2 * m]]))
        means.append(np.mean(found))
        scatters.append(np.std(found, ddof=1))
        kids.append(np.mean(kid) if kid else np.nan)
        print(f"m = {m:6d}: FD {means[-1]:.5f} +- {scatters[-1]:.5f}, first order {bias:.5f}, KID {kids[-1]:+.5f}", flush=True)
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    axes.errorbar(sizes, means, scatters, fmt="o", color="#1f4e79", label="FD of one population from itself")
    axes.plot(sizes, expected, color="#1f4e79", lw=1, label="its bias, to first order in 1/m")
    axes.axhline(difference, color="#b5651d", ls="--", label="FD of a real difference (r brighter by 0.05 mag)")
    axes.set(xscale="log", yscale="log", xlabel="galaxies a side, m", ylabel=f"Frechet distance, {d} features")
    axes.legend(frameon=False)
    figure.savefig(HERE / "frechet_bias.png", dpi=150)


def _redder(block: GalaxySet) -> GalaxySet:
    images = np.array(block.images)
    images[:, block.survey.band_index("r")] *= 10 ** (0.4 * 0.05)
    return GalaxySet(images, block.survey)


if __name__ == "__main__":
    main(*sys.argv[1:3])
