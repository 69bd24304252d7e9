"""Is the mock sky like the real one? Its truth against catalogues, and its images, measured, against GalaxiesML's measurements.

    python bench/likeness.py [--data ../shared/data/catalogs] [--n 100000] [--images 3000]

1. redshift: two-sample Kolmogorov-Smirnov distance to GalaxiesML's spectroscopic redshifts (asked: <= 0.03);
2. colours: median and 16-84 % width of g-r, r-i, i-z in bins of dz = 0.1 against zCOSMOS, the mocks weighted to zCOSMOS's i magnitudes
   in the bin (asked: medians within 0.10 mag, widths within 30 %);
3. sizes and Sersic indices per bin of redshift and mass of at least 50 galaxies on both sides against 3D-HST (asked: median log R_e within
   0.08 dex, median n within 0.4);
4. shares: quiescent galaxies of log M 10.5-11 beside 3D-HST's, and how many edge-on galaxies are rounder than an edge-on disc should be;
5. isophotal area, semi-major axis, ellipticity and Sersic index measured on 127-px stamps against GalaxiesML's (asked: KS <= 0.10 each),
   for several bands, thresholds and PSFs of the fit, because GalaxiesML's are not stated.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table
from in_words import in_words
from scipy.stats import ks_2samp

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "calibration"))

import population as calibration  # noqa: E402  (the readers and the cuts of the catalogues: both sides make the same ones)

from hubbleflow.measure.detect import central, detect  # noqa: E402
from hubbleflow.measure.recipe import Recipe  # noqa: E402
from hubbleflow.measure.sersic_fit import fit_sersic  # noqa: E402
from hubbleflow.simulate import Moffat, Renderer  # noqa: E402
from hubbleflow.simulate.blocks import Look, draw_block, effective_psf, pointing_psf, tasks  # noqa: E402
from hubbleflow.simulate.cosmology import kpc_per_arcsec  # noqa: E402
from hubbleflow.simulate.kinds import EDGE_ON, contradicted  # noqa: E402
from hubbleflow.simulate.population import Galaxies, draw_galaxies, quiescent_below  # noqa: E402
from hubbleflow.simulate.seeing import moffat_beta  # noqa: E402
from hubbleflow.survey import Survey  # noqa: E402

COLOURS = ("g-r", "r-i", "i-z")
MASS_EDGES = np.arange(8.0, 12.1, 0.5)
REDSHIFT_EDGES = np.array([0.2, 0.5, 0.8, 1.2, 1.6, 2.0, 2.5, 3.0])
QUIESCENT_EDGES = (0.0, 0.2, 0.5, 0.8, 1.2, 1.5, 2.0, 2.5, 4.0)
RECIPES = (("g", 1.5), ("g", 2.0), ("r", 1.5), ("r", 2.0), ("i", 1.5), ("i", 2.0), ("i", 2.5), ("i", 3.0))
FITS = (("g", 1.0), ("i", 1.0), ("i", 0.85), ("i", 0.7), ("i", 0.6), ("i", 0.0))  # share of the true PSF's width that the fit assumes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/catalogs")
    parser.add_argument("--n", type=int, default=100_000, help="mocks whose truth is compared")
    parser.add_argument("--images", type=int, default=3000, help="mocks that are drawn and measured; 0 for none")
    arguments = parser.parse_args()
    mocks = draw_galaxies(np.random.default_rng(7), arguments.n)
    redshifts(mocks, arguments.data)
    colours(mocks, arguments.data)
    structure(mocks, arguments.data)
    shares(mocks, arguments.data)
    if arguments.images:
        morphology(arguments.images, arguments.data)


def redshifts(mocks: Galaxies, data: Path) -> None:
    real = calibration._csv(data / "galaxiesml_specz_photoz_test.csv.gz")["spect_z_test"]
    distance = ks_2samp(mocks.redshift, real).statistic
    print(f"redshift: KS distance {distance:.4f} ({verdict(distance <= 0.03)}: <= 0.03)\n")


def colours(mocks: Galaxies, data: Path) -> None:
    mag, z = calibration.zcosmos(data)
    mock_mag = mocks.mag[:, 1:5]
    real_colour, mock_colour = -np.diff(mag, axis=1), -np.diff(mock_mag, axis=1)
    print("colours against zCOSMOS at the same i: median (mock - real), width (mock / real; its error from zCOSMOS's number, 0.01)")
    rng = np.random.default_rng(3)
    worst, worst_width = 0.0, 0.0
    for low in np.arange(0.1, 1.15, 0.1):
        real, mock = ((v >= low) & (v < low + 0.1) for v in (z, mocks.redshift))
        weight = same_magnitudes(mock_mag[mock, 2], mag[real, 2])
        cells = []
        for k, name in enumerate(COLOURS):
            x = real_colour[real, k]
            want = np.quantile(x, (0.16, 0.5, 0.84))
            got = weighted_quantile(mock_colour[mock, k], weight, (0.16, 0.5, 0.84))
            shift, width = got[1] - want[1], (got[2] - got[0]) / (want[2] - want[0])
            worst, worst_width = max(worst, abs(shift)), max(worst_width, abs(width - 1))
            error = np.std([np.ptp(np.quantile(rng.choice(x, len(x)), (0.16, 0.84))) for _ in range(100)]) / (want[2] - want[0])
            cells.append(f"{name} {shift:+.3f} x{width:.2f}({100 * width * error:.0f})")
        print(f"  z {low:.1f}-{low + 0.1:.1f}  {real.sum():5d} real {mock.sum():6d} mock   " + "   ".join(cells))
    print(
        f"  largest: {worst:.3f} mag ({verdict(worst <= 0.10)}: <= 0.10), width off by {worst_width:.0%} "
        f"({verdict(worst_width <= 0.3)}: <= 30 %)\n"
    )


def same_magnitudes(mock: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Weights that give the mocks the real sample's distribution of magnitudes, in steps of 0.25 mag."""
    edges = np.arange(14, 26.1, 0.25)
    at = np.clip(np.digitize(mock, edges), 0, len(edges))
    have, want = (np.bincount(np.clip(np.digitize(v, edges), 0, len(edges)), minlength=len(edges) + 1) for v in (mock, real))
    return np.where(have[at] > 0, want[at] / np.maximum(have[at], 1), 0)


def weighted_quantile(values: np.ndarray, weight: np.ndarray, p: tuple[float, ...]) -> np.ndarray:
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return np.interp(p, (total - 0.5 * weight[order]) / total[-1], values[order])


def bootstrap_of_median(values: np.ndarray, rng: np.random.Generator, draws: int = 200) -> float:
    return float(np.std([np.median(rng.choice(values, len(values))) for _ in range(draws)]))


def structure(mocks: Galaxies, data: Path) -> None:
    z, mass, radius, n, q, _ = calibration.candels(data)
    size = mocks.radius * kpc_per_arcsec(mocks.redshift)
    rng = np.random.default_rng(4)
    print("structure against 3D-HST, bins of >= 50 galaxies on both sides: medians, mock - real, of log R_e +- its error, n, q")
    print("(in parentheses log R_e with 3D-HST weighted to the mocks' z and mass within the bin, by ninths of it)")
    worst, missed, bins = np.zeros(2), 0, 0
    for (z0, z1), (m0, m1) in itertools.product(itertools.pairwise(REDSHIFT_EDGES), itertools.pairwise(MASS_EDGES)):
        real = (z >= z0) & (z < z1) & (mass >= m0) & (mass < m1)
        mock = (mocks.redshift >= z0) & (mocks.redshift < z1) & (mocks.log_mass >= m0) & (mocks.log_mass < m1)
        if min(real.sum(), mock.sum()) < 50:
            continue
        pairs = ((np.log10(size[mock]), np.log10(radius[real])), (mocks.sersic_index[mock], n[real]), (mocks.axis_ratio[mock], q[real]))
        shift = np.array([np.median(a) - np.median(b) for a, b in pairs])
        ninth = lambda v, w: ((v - z0) / (z1 - z0) * 3).astype(int) * 3 + ((w - m0) / (m1 - m0) * 3).astype(int)  # noqa: B023, E731
        of_mock, of_real = ninth(mocks.redshift[mock], mocks.log_mass[mock]), ninth(z[real], mass[real])
        weight = (np.bincount(of_mock, minlength=9) / np.maximum(np.bincount(of_real, minlength=9), 1))[of_real]
        matched = np.median(pairs[0][0]) - weighted_quantile(pairs[0][1], weight, (0.5,))[0]
        error = np.hypot(*(bootstrap_of_median(v, rng) for v in pairs[0]))
        good = abs(shift[0]) <= 0.08 and abs(shift[1]) <= 0.4
        worst, bins, missed = np.maximum(worst, np.abs(shift[:2])), bins + 1, missed + (not good)
        cell = f"  z {z0:.1f}-{z1:.1f} M {m0:.1f}-{m1:.1f} {real.sum():5d} real {mock.sum():6d} mock"
        print(f"{cell}  {shift[0]:+.3f} +- {error:.3f} ({matched:+.2f})  {shift[1]:+.2f}  {shift[2]:+.2f}{'' if good else '  <-- missed'}")
    print(f"  largest: {worst[0]:.3f} dex (asked: <= 0.08), n {worst[1]:.2f} (asked: <= 0.4); {missed} of {bins} bins missed\n")


def shares(mocks: Galaxies, data: Path) -> None:
    z, mass, *_, ssfr = calibration.candels(data)
    old = ssfr < quiescent_below(z)
    print("share of quiescent galaxies at log M 10.5-11: mock, 3D-HST (limited in H, one small field)")
    for low, high in itertools.pairwise(QUIESCENT_EDGES):
        mock, real = ((v >= low) & (v < high) & (m >= 10.5) & (m < 11) for v, m in ((mocks.redshift, mocks.log_mass), (z, mass)))
        beside = f"{old[real].mean():.2f} of {real.sum()}" if real.any() else "none"
        print(f"  z {low:.1f}-{high:.1f}  {mocks.quiescent[mock].mean():.2f} of {mock.sum():5d}   {beside}")
    edge_on = np.isin(mocks.kind, EDGE_ON)
    odd = contradicted(mocks.kind, mocks.axis_ratio) & edge_on
    print(f"edge-on galaxies that their axis ratio speaks against: {odd.sum() / edge_on.sum():.1%} of {edge_on.sum()}\n")


def morphology(n: int, data: Path) -> None:
    real = Table.read(data / "galaxiesml_morphology_test.csv.gz", format="ascii.csv")
    real = real[np.array(real["isophotal_area_px"]) > 0]  # 22 rows are all zero: nothing was found
    survey = Survey.get("hsc-wide")
    look = Look(survey, image_size=127)
    isophotes: dict[tuple[str, float], list] = {recipe: [] for recipe in RECIPES}
    indices: dict[tuple[str, float], list] = {fit: [] for fit in FITS}
    for task in tasks(11, n, look):
        drawn = draw_block(task)
        for band, threshold in RECIPES:
            recipe = Recipe(threshold=threshold)
            isophotes[band, threshold] += [isophote(image, recipe) for image in drawn.images[:, survey.band_index(band)]]
        fwhm = pointing_psf(task.seed, task.block, look).fwhm_arcsec
        for band, share in FITS:
            indices[band, share].append(sersic_indices(drawn.images, survey, survey.band_index(band), fwhm, share))
    print(f"morphology of {n} mocks on 127-px stamps against {len(real)} GalaxiesML galaxies: KS distances and quantiles")
    print(f"  real:          {quantiles(real['isophotal_area_px'])} (area, px at 5, 16, 50, 84, 95 %)")
    for (band, threshold), rows in isophotes.items():
        table = np.array([row for row in rows if row is not None])
        names = ("isophotal_area_px", "semi_major_px", "ellipticity")
        distance = [ks_2samp(table[:, k], np.array(real[name], float)).statistic for k, name in enumerate(names)]
        cells = f"area {distance[0]:.3f}  semi-major {distance[1]:.3f}  ellipticity {distance[2]:.3f}"
        print(f"  {band}, {threshold:.1f} sigma:  {quantiles(table[:, 0])}   {cells}   {verdict(max(distance) <= 0.1)}: <= 0.10")
    print(f"  real:                   {quantiles(real['sersic_index'], 2)} (Sersic index)")
    for (band, share), parts in indices.items():
        values = np.concatenate(parts)
        distance = ks_2samp(values[np.isfinite(values)], np.array(real["sersic_index"], float)).statistic
        psf = "no PSF     " if share == 0 else f"PSF x {share:.2f} "
        print(f"  {band}, fit with {psf} {quantiles(values, 2)}   n {distance:.3f}   {verdict(distance <= 0.1)}: <= 0.10")


def isophote(image: np.ndarray, recipe: Recipe) -> tuple[float, float, float] | None:
    """Area above the threshold (px), semi-major axis (rms, px) and ellipticity of the central object; None where none is found."""
    found = detect(image, recipe)
    middle = (image.shape[0] - 1) / 2
    at, _ = central(found, middle, middle, recipe)
    if at is None:
        return None
    object_ = found.objects[at]
    return float(object_["tnpix"]), float(object_["a"]), 1 - float(object_["b"]) / float(object_["a"])


def sersic_indices(images: np.ndarray, survey: Survey, band: int, fwhm: tuple[float, ...], share: float) -> np.ndarray:
    """Sersic indices fitted in the middle 80 px, neighbours masked, with a Moffat PSF of `share` times the true width; 0: no PSF."""
    stamps = images[:, band, 24:104, 24:104]
    middle, mask = (stamps.shape[-1] - 1) / 2, np.zeros(stamps.shape, np.uint8)
    for plane, stamp in zip(mask, stamps, strict=True):
        found = detect(stamp, Recipe())
        at, _ = central(found, middle, middle, Recipe())
        plane[:] = (found.segments > 0) & (found.segments != (-1 if at is None else at + 1))
    if share:
        psf = Moffat(tuple(max(share * width, 0.31) for width in fwhm), moffat_beta(survey))
        image = effective_psf(Renderer(41, survey.pixel_scale_arcsec, psf))[band]
    else:
        image = np.zeros((5, 5), np.float32)
        image[2, 2] = 1
    return fit_sersic(stamps, 1 / survey.noise[band] ** 2, image, mask).sersic_index


def quantiles(values: np.ndarray, digits: int = 0) -> str:
    return " ".join(f"{v:6.{digits}f}" for v in np.nanquantile(np.array(values, float), (0.05, 0.16, 0.5, 0.84, 0.95)))


def verdict(good: bool) -> str:
    return "met" if good else "MISSED"


if __name__ == "__main__":
    in_words(main)
