"""Draws docs/figures/universe.png (the mock sky beside real HSC), kinds.png (beside real SDSS) and population.png (its calibration).

python docs/figures/universe.py [../shared/data]
"""

from __future__ import annotations

import io
import itertools
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from astropy.visualization import make_lupton_rgb
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "calibration"))

import population as catalogues  # noqa: E402  (the readers and cuts of the calibration)

from hubbleflow.galaxies import GalaxySet  # noqa: E402
from hubbleflow.simulate import simulate  # noqa: E402
from hubbleflow.simulate.cosmology import kpc_per_arcsec  # noqa: E402
from hubbleflow.simulate.population import Galaxies, draw_galaxies  # noqa: E402
from hubbleflow.survey import Survey  # noqa: E402

REDSHIFTS = (0.1, 0.2, 0.35, 0.5, 0.8, 1.2, 2.0, 3.0, 3.5)
HSC, SDSS = Survey.get("hsc-wide"), Survey.get("sdss")
SDSS_KINDS = {
    "elliptical": ("Round Smooth", "In-between Round Smooth"),
    "spiral": ("Barred Spiral", "Unbarred Tight Spiral", "Unbarred Loose Spiral"),
    "edge-on": ("Edge-on with Bulge", "Edge-on without Bulge"),
    "merger": ("Merging", "Disturbed"),
}


def colour(image: np.ndarray, survey: Survey = HSC, stretch: float = 1.0) -> np.ndarray:
    """(band, y, x) counts -> RGB as HSC's viewers have it, stretched further so that the sky's noise shows."""
    return make_lupton_rgb(*(image[survey.band_index(band)] for band in survey.rgb), minimum=-0.1 * stretch, stretch=stretch, Q=8)


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


def universe(galaxies: GalaxySet, data: Path) -> None:
    """Mock galaxies by redshift, real HSC sources below."""
    rows = 4
    real = real_stamps(data / "hsc_cosmos_scenes", 2 * len(REDSHIFTS)) if data.exists() else []
    figure, axes = plt.subplots(rows + 2, len(REDSHIFTS), figsize=(9.4, 6.6), facecolor="black")
    rng = np.random.default_rng(3)
    for column, z in enumerate(REDSHIFTS):
        near = np.flatnonzero(np.abs(galaxies.redshift - z) < 0.08 * z + 0.01)
        for row, index in enumerate(np.sort(rng.choice(near, rows, replace=False))):
            axes[row, column].imshow(colour(galaxies.images[[index]][0]), origin="lower")
            axes[row, column].text(2, 2, galaxies.category[index], color="white", fontsize=4.5)
        axes[0, column].set_title(f"z = {z:g}", color="white", fontsize=9)
    for axis, image in zip(axes[rows:].flat, real, strict=False):
        axis.imshow(colour(image), origin="lower")
    for axis in axes.flat:
        axis.axis("off")
    figure.text(0.01, 0.62, "mock, HSC-Wide", color="white", rotation=90, va="center", fontsize=9)
    figure.text(0.01, 0.15, "real HSC (noise to Wide)", color="white", rotation=90, va="center", fontsize=9)
    figure.subplots_adjust(left=0.03, right=0.995, bottom=0.005, top=0.96, wspace=0.03, hspace=0.03)
    save(figure, "universe.png")


def kinds(galaxies: GalaxySet, data: Path) -> None:
    """Kinds of galaxies as SDSS would see the mock sky, above those that it saw (Galaxy Zoo 2)."""
    file = data / "gz2_rgb64/gz2_four_classes.npz"
    real = np.load(file) if file.exists() else None
    figure, axes = plt.subplots(2 * len(SDSS_KINDS), 10, figsize=(9.4, 7.7), facecolor="black")
    rng = np.random.default_rng(5)
    size = galaxies.columns["true_half_light_radius"]
    fit = (galaxies.columns["true_r_mag"] < 17.7) & (size > 1.5) & (size < 8)  # Galaxy Zoo's are bright and fill their stamps
    for line, (name, members) in enumerate(SDSS_KINDS.items()):
        chosen = np.flatnonzero(fit & np.isin(galaxies.category, members))
        for axis, index in zip(axes[2 * line], np.sort(rng.choice(chosen, min(10, len(chosen)), replace=False)), strict=False):
            reach = int(np.clip(3.0 * size[index] / 0.396, 20, 64))
            middle = galaxies.images.shape[-1] // 2
            cut = galaxies.images[[index]][0][:, middle - reach : middle + reach, middle - reach : middle + reach]
            axis.imshow(colour(cut, SDSS, stretch=0.5), origin="lower")
        if real is not None:
            which = np.flatnonzero(real["label"] == name)
            for axis, index in zip(axes[2 * line + 1], rng.choice(which, 10, replace=False), strict=False):
                axis.imshow(real["images"][index])
        figure.text(0.012, 1 - (line + 0.5) / len(SDSS_KINDS), f"{name}: mock, real", color="white", rotation=90, va="center", fontsize=8)
    for axis in axes.flat:
        axis.axis("off")
    figure.subplots_adjust(left=0.03, right=0.995, bottom=0.005, top=0.995, wspace=0.03, hspace=0.03)
    save(figure, "kinds.png")


def save(figure: plt.Figure, name: str) -> None:
    with io.BytesIO() as buffer:
        figure.savefig(buffer, dpi=76)
        picture = Image.open(buffer).convert("RGB")  # noise does not compress: a palette keeps the file small
        picture = picture.quantize(palette=picture.quantize(200, kmeans=2), dither=Image.Dither.FLOYDSTEINBERG)
        picture.save(HERE / name, optimize=True)


def calibration(mock: Galaxies, folder: Path) -> None:
    """Distributions of the drawn population (blue) over those of the catalogues (black)."""
    figure, axes = plt.subplots(3, 3, figsize=(9.6, 8.2))
    z = catalogues._csv(folder / "galaxiesml_specz_photoz_test.csv.gz")["spect_z_test"]
    for values, style in ((z, "k"), (mock.redshift, "C0")):
        axes[0, 0].hist(values, 80, range=(0, 4), density=True, histtype="step", color=style)
    axes[0, 0].set(xlabel="redshift", ylabel="density", yscale="log", title="GalaxiesML")
    mag, zc = catalogues.zcosmos(folder)
    mocks = mock.mag[:, 1:5]
    like = (mocks[:, 2] < 22.6) & (mocks[:, 2] > 17 + 3.7 * np.log10(mock.redshift / 0.1) + 1.2)  # zCOSMOS has few of the bright targets
    edges = np.arange(0.1, 1.21, 0.1)
    axes[0, 1].set(title="zCOSMOS (mocks: without the bright targets)")
    for axis, k, name in ((axes[0, 1], None, "i"), (axes[0, 2], 0, "g-r"), (axes[1, 0], 1, "r-i"), (axes[1, 1], 2, "i-z")):
        for redshift, table, style in ((zc, mag, "k"), (mock.redshift[like], mocks[like], "C0")):
            running(axis, redshift, table[:, 2] if k is None else table[:, k] - table[:, k + 1], edges, style)
        axis.set(xlabel="redshift", ylabel=name)
    zh, mass, radius, n, _, ssfr = catalogues.candels(folder)
    size = mock.radius * kpc_per_arcsec(mock.redshift)
    heavy, real_heavy = (mock.log_mass > 10) & (mock.log_mass < 11), (mass > 10) & (mass < 11)
    steps = np.array([0.2, 0.5, 0.8, 1.2, 1.6, 2.0, 2.5, 3.0])
    panels = (
        (axes[1, 2], np.log10(radius), np.log10(size), "log R_e / kpc, log M 10-11"),
        (axes[2, 0], n, mock.sersic_index, "Sersic n, log M 10-11"),
        (axes[2, 2], ssfr, mock.log_sfr - mock.log_mass, "log sSFR / yr, log M 10-11"),
    )
    for axis, real, drawn, name in panels:
        running(axis, zh[real_heavy], real[real_heavy], steps, "k")
        running(axis, mock.redshift[heavy], drawn[heavy], steps, "C0")
        axis.set(xlabel="redshift", ylabel=name)
    axes[1, 2].set(title="3D-HST")
    axes[2, 2].set(ylim=(-13, -8), title="3D-HST (limited in H)")
    near, real_near = (mock.redshift > 0.5) & (mock.redshift < 1.2), (zh > 0.5) & (zh < 1.2)
    masses = np.arange(9.0, 11.6, 0.25)
    running(axes[2, 1], mass[real_near], np.log10(radius[real_near]), masses, "k")
    running(axes[2, 1], mock.log_mass[near], np.log10(size[near]), masses, "C0")
    axes[2, 1].set(xlabel="log M", ylabel="log R_e / kpc, z 0.5-1.2")
    figure.suptitle("black: catalogues; blue: mock (median, 16 and 84 %)", fontsize=9)
    figure.tight_layout()
    figure.savefig(HERE / "population.png", dpi=72)


def running(axis: plt.Axes, x: np.ndarray, y: np.ndarray, edges: np.ndarray, style: str) -> None:
    """Median and 16-84 % in bins of at least 20."""
    bins = [y[(x >= a) & (x < b)] for a, b in itertools.pairwise(edges)]
    for quantile, line in ((0.16, ":"), (0.5, "-"), (0.84, ":")):
        axis.plot((edges[1:] + edges[:-1]) / 2, [np.quantile(b, quantile) if len(b) >= 20 else np.nan for b in bins], style + line)


if __name__ == "__main__":
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[2] / "shared/data"
    with tempfile.TemporaryDirectory() as folder:
        universe(simulate(Path(folder) / "universe.h5", n=6000, seed=3), data)
        kinds(simulate(Path(folder) / "sdss.h5", n=6000, seed=4, survey="sdss", image_size=128), data)
    if data.exists():
        calibration(draw_galaxies(np.random.default_rng(3), 60_000), data / "catalogs")
