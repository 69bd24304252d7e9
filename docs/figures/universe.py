"""Draws docs/figures/universe.png (the mock sky beside real HSC) and docs/figures/population.png (its calibration).

python docs/figures/universe.py [../shared/data]
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table
from astropy.visualization import make_lupton_rgb
from PIL import Image

from hubbleflow.simulate import simulate
from hubbleflow.survey import Survey

HERE = Path(__file__).resolve().parent
REDSHIFTS = (0.1, 0.2, 0.35, 0.5, 0.8, 1.2, 2.0, 3.0)
HSC = Survey.get("hsc-wide")


def colour(image: np.ndarray) -> np.ndarray:
    """(band, y, x) counts -> RGB as HSC's viewers have it, stretched further so that the sky's noise shows."""
    return make_lupton_rgb(*(image[HSC.band_index(band)] for band in HSC.rgb), minimum=-0.1, stretch=1.0, Q=8)


def real_stamps(folder: Path, count: int, size: int = 64) -> list[np.ndarray]:
    """Stamps about the brightest unsaturated peak of real HSC scenes, with white noise to Wide depth in place of masked pixels."""
    rng = np.random.default_rng(0)
    found = []
    for path in sorted(folder.glob("*.npz")):
        scene = np.load(path)
        images, weights, peaks = scene["images"], scene["weights"], scene["peaks"]
        if min(images.shape[1:]) < 40:
            continue
        brightness = [images[2, int(y), int(x)] for x, y in peaks]
        x, y = peaks[int(np.argmax(brightness))].astype(int)
        if max(brightness) > 60:  # mostly stars
            continue
        canvas, known = np.zeros((5, size, size), np.float32), np.zeros((5, size, size), bool)
        y0, x0 = max(y - size // 2, 0), max(x - size // 2, 0)
        to_y, to_x = max(size // 2 - y, 0), max(size // 2 - x, 0)
        cut = images[:, y0 : y0 + size - to_y, x0 : x0 + size - to_x]
        place = np.s_[:, to_y : to_y + cut.shape[1], to_x : to_x + cut.shape[2]]
        canvas[place], known[place] = cut, weights[:, y0 : y0 + size - to_y, x0 : x0 + size - to_x] > 0
        noise = np.array(HSC.noise)[:, None, None] * rng.standard_normal(canvas.shape).astype(np.float32)
        found.append(np.where(known, canvas + 0.7 * noise, noise))  # the scenes have some half of Wide's noise already
    return found[:count]


def sheet(galaxies, data: Path) -> None:
    rows = 4
    real = real_stamps(data / "hsc_cosmos_scenes", 2 * len(REDSHIFTS)) if data.exists() else []
    figure, axes = plt.subplots(rows + 2, len(REDSHIFTS), figsize=(8.4, 6.6), facecolor="black")
    rng = np.random.default_rng(3)
    for column, z in enumerate(REDSHIFTS):
        near = np.flatnonzero(np.abs(galaxies.redshift - z) < 0.08 * z + 0.01)
        for row, index in enumerate(np.sort(rng.choice(near, rows, replace=False))):
            axes[row, column].imshow(colour(galaxies.images[[index]][0]), origin="lower")
            axes[row, column].text(2, 2, galaxies.category[index], color="white", fontsize=5)
        axes[0, column].set_title(f"z = {z:g}", color="white", fontsize=9)
    for axis, image in zip(axes[rows:].flat, real, strict=False):
        axis.imshow(colour(image), origin="lower")
    for axis in axes.flat:
        axis.axis("off")
    figure.text(0.01, 0.62, "mock, HSC-Wide", color="white", rotation=90, va="center", fontsize=9)
    figure.text(0.01, 0.15, "real HSC (noise to Wide)", color="white", rotation=90, va="center", fontsize=9)
    figure.subplots_adjust(left=0.03, right=0.995, bottom=0.005, top=0.96, wspace=0.03, hspace=0.03)
    with io.BytesIO() as buffer:
        figure.savefig(buffer, dpi=76)
        picture = Image.open(buffer).convert("RGB")  # noise does not compress: a palette keeps the file small
        picture = picture.quantize(palette=picture.quantize(200, kmeans=2), dither=Image.Dither.FLOYDSTEINBERG)
        picture.save(HERE / "universe.png", optimize=True)


def calibration(galaxies, catalogues: Path) -> None:
    def csv(name):
        return Table.read(catalogues / name, format="ascii.csv")

    z = galaxies.redshift
    figure, axes = plt.subplots(2, 3, figsize=(9.6, 5.6))
    spectroscopic = np.array(csv("galaxiesml_specz_photoz_test.csv.gz")["spect_z_test"])
    axes[0, 0].hist(spectroscopic, 80, (0, 4), density=True, histtype="step", color="k", label="GalaxiesML")
    axes[0, 0].hist(z, 80, (0, 4), density=True, histtype="step", color="C0", label="mock")
    axes[0, 0].set(xlabel="redshift", yscale="log")
    table = csv("zcosmos_bright20k.csv.gz")
    mag = {band: np.array(table[f"{band}_photzi25"], float) for band in "griz"}
    zc = np.array(table["zpec"], float)
    good = np.all([(m > 10) & (m < 30) for m in mag.values()], axis=0) & (zc > 0.02) & (zc < 1.3)
    faint = galaxies.columns["true_i_mag"] > 17 + 3.7 * np.log10(z / 0.1) + 1.2  # drop the SDSS- and BOSS-like share
    faint &= galaxies.columns["true_i_mag"] < 23
    edges = np.arange(0.1, 1.3, 0.1)
    quantities = {"i": None, "g-r": ("g", "r"), "r-i": ("r", "i"), "i-z": ("i", "z")}
    for axis, (name, pair) in zip(axes.flat[1:5], quantities.items(), strict=True):
        for redshift, keep, values, style in (
            (zc, good, lambda band: mag[band], "k"),
            (z, faint, lambda band: galaxies.columns[f"true_{band}_mag"], "C0"),
        ):
            value = values("i") if pair is None else values(pair[0]) - values(pair[1])
            bins = [value[keep & (redshift >= a) & (redshift < a + 0.1)] for a in edges]
            for quantile, line in ((16, ":"), (50, "-"), (84, ":")):
                axis.plot(edges + 0.05, [np.percentile(b, quantile) for b in bins], style + line)
        axis.set(xlabel="redshift", ylabel=name)
    t = csv("cosmos_3dhst_galfit_fast.csv.gz")
    keep = (np.array(t["lmass"]) > 10) & (np.array(t["lmass"]) < 11) & (np.array(t["re_f160w"]) > 0)
    hst_z, hst_r = np.array(t["z"])[keep], np.array(t["re_f160w"])[keep]
    mass = galaxies.columns["true_log_mass"]
    for redshift, radius, style in (
        (hst_z, hst_r, "k"),
        (z[(mass > 10) & (mass < 11)], galaxies.columns["true_half_light_radius"][(mass > 10) & (mass < 11)], "C0"),
    ):
        steps = np.arange(0.3, 2.4, 0.3)
        bins = [radius[(redshift >= a) & (redshift < a + 0.3)] for a in steps]
        for quantile, line in ((16, ":"), (50, "-"), (84, ":")):
            axes[1, 2].plot(steps + 0.15, [np.percentile(b, quantile) if len(b) > 9 else np.nan for b in bins], style + line)
    axes[1, 2].set(xlabel="redshift", ylabel="R_e (arcsec), log M 10-11", yscale="log")
    axes[0, 0].legend(frameon=False)
    axes[0, 1].set_title("black: GalaxiesML, zCOSMOS, 3D-HST; blue: mock (16, 50, 84 %)", fontsize=9)
    figure.tight_layout()
    figure.savefig(HERE / "population.png", dpi=80)


if __name__ == "__main__":
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[2] / "shared/data"
    with tempfile.TemporaryDirectory() as folder:
        mock = simulate(Path(folder) / "universe.h5", n=6000, seed=3)
        sheet(mock, data)
        if data.exists():
            calibration(mock, data / "catalogs")
