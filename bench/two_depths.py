"""The same real galaxy twice: 600 HSC galaxies at Wide and at Deep depth. Do the fits agree within their stated errors?

    OMP_NUM_THREADS=1 python bench/two_depths.py [../shared/data/hsc_two_depths/hsc_wide_deep_64.npz] [--figure docs/figures/two_depths.png]

Pulls: (Wide - Deep) / sqrt(err_Wide^2 + err_Deep^2) of ln flux, ln R_e, ln n and e, of fits that neither side flags, per S/N in Wide. The
two depths ship no PSF. Three comparisons, each leaving one cause of disagreement fewer:

1. as they come: both fitted with one Moffat PSF;
2. each its own seeing: Deep's PSF is Wide's convolved with a Gaussian, whose width is measured from the pairs themselves (the Gaussian
   that takes the Wide image to the Deep one by least squares, median over bright pairs);
3. twins: the Deep image, and the same with noise added up to Wide's. PSF, calibration, sky and the galaxy are the same; what remains is the
   noise, of which only the added part differs, and whether its stated errors hold for galaxies that are no Sersic profiles.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from in_words import in_words
from scipy.optimize import least_squares

from hubbleflow.measure.detect import central, detect
from hubbleflow.measure.recipe import Recipe
from hubbleflow.measure.sersic_fit import fit_sersic
from hubbleflow.measure.sersic_flags import trusted
from hubbleflow.measure.sersic_result import SersicFit

ROOT = Path(__file__).resolve().parents[1]
FWHM, BETA, SCALE = 0.50, 3.0, 0.168  # arcsec: Wide's best single Moffat, by chi^2 (0.45-0.55 give the same pulls); HSC's pixel
SNR = (30, 100, 1000, np.inf)
QUANTITIES = ("ln flux", "ln R_e", "ln n", "e")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=ROOT.parent / "shared/data/hsc_two_depths/hsc_wide_deep_64.npz")
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    with np.load(arguments.data) as archive:
        wide, deep = archive["wide"], archive["deep"]
    (noise_wide, mask_wide), (noise_deep, mask_deep) = detections(wide), detections(deep)
    mask = mask_wide | mask_deep
    print(f"{len(wide)} galaxies; noise a pixel: Wide {noise_wide:.4f}, Deep {noise_deep:.4f}")

    psf = moffat(FWHM, 41)
    fit_wide = fit_sersic(wide, noise_wide**-2, psf, mask)
    bright = np.flatnonzero((fit_wide.snr > 300) & (fit_wide.snr < 3000) & trusted(fit_wide.flag))
    found = np.array([seeing(wide[i], deep[i], ~mask[i], noise_wide) for i in bright])
    low, extra, high = np.quantile(found[:, 0], (0.16, 0.5, 0.84))
    print(
        f"Deep = Wide convolved with a Gaussian of sigma^2 {extra:.2f} px^2 (16-84 %: {low:.2f}-{high:.2f}, {len(bright)} pairs); "
        f"squared residual over noise within 20 px, median: {np.median(found[:, 1]):.1f} before, {np.median(found[:, 2]):.2f} after\n"
    )
    psf_deep = convolved(psf, extra)
    fit_deep = fit_sersic(deep, noise_deep**-2, psf_deep, mask)
    added = np.sqrt(noise_wide**2 - noise_deep**2)
    twin = deep + np.random.default_rng(1).normal(0, added, deep.shape).astype(np.float32)
    fit_twin = fit_sersic(twin, noise_wide**-2, psf_deep, mask)

    joint = lambda a, b: np.hypot(a, b)  # noqa: E731
    compare("as they come, one PSF", fit_wide, fit_sersic(deep, noise_deep**-2, psf, mask), joint)
    compare("each its own seeing", fit_wide, fit_deep, joint)
    pulls = compare("twins: Deep, and Deep with Wide's noise", fit_twin, fit_deep, lambda a, b: a * added / noise_wide)
    if arguments.figure:
        draw(wide, deep, mask, bright, extra, noise_wide, pulls, arguments.figure)


def detections(images: np.ndarray) -> tuple[float, np.ndarray]:
    """Noise a pixel (the set's median; bright galaxies leave no sky in their own stamp) and neighbours' pixels."""
    recipe, noise, mask = Recipe(), [], np.zeros(images.shape, bool)
    middle = (images.shape[-1] - 1) / 2
    for image, hidden in zip(images, mask, strict=True):
        found = detect(image, recipe)
        index, _ = central(found, middle, middle, recipe)
        noise.append(found.sky.noise)
        hidden[:] = (found.segments != 0) & (found.segments != (0 if index is None else index + 1))
    return float(np.nanmedian(noise)), mask


def moffat(fwhm: float, size: int) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    alpha = fwhm / SCALE / 2 / np.sqrt(2 ** (1 / BETA) - 1)
    image = (1 + (x**2 + y**2) / alpha**2) ** -BETA
    return image / image.sum()


def convolved(image: np.ndarray, variance: float, dx: float = 0.0, dy: float = 0.0) -> np.ndarray:
    """With a Gaussian of that variance (px^2), shifted by (dx, dy)."""
    ky = 2 * np.pi * np.fft.fftfreq(image.shape[0])[:, None]
    kx = 2 * np.pi * np.fft.rfftfreq(image.shape[1])
    return np.fft.irfft2(np.fft.rfft2(image) * np.exp(-0.5 * variance * (kx**2 + ky**2) - 1j * (kx * dx + ky * dy)), s=image.shape)


def seeing(wide: np.ndarray, deep: np.ndarray, usable: np.ndarray, noise: float) -> tuple[float, float, float]:
    """Variance (px^2) of the Gaussian that takes Wide to Deep; mean squared residual over Wide's noise before and after."""
    y, x = np.mgrid[: wide.shape[0], : wide.shape[1]] - (wide.shape[0] - 1) / 2
    r = np.hypot(x, y)
    window, near = np.clip((30 - r) / 4, 0, 1), (r < 20) & usable
    rim = np.median(wide[(r > 28) & usable])

    def residual(p: np.ndarray) -> np.ndarray:
        model = convolved((wide - rim) * window, *p)[near]
        both = np.stack([model, np.ones_like(model)], axis=1)
        return (both @ np.linalg.lstsq(both, deep[near], rcond=None)[0] - deep[near]) / noise

    best = least_squares(residual, (0.1, 0.0, 0.0), method="lm")
    return best.x[0], float((residual(np.zeros(3)) ** 2).mean()), 2 * best.cost / near.sum()


def compare(title: str, a: SersicFit, b: SersicFit, joint: object) -> dict[tuple[float, str], np.ndarray]:
    """Print median and robust width of the pulls, and the plain differences; give the pulls."""
    print(f"{title}\n  {'S/N':>9s} {'pairs':>6s} " + "".join(f"{name + ': median, width':>27s}  (difference)  " for name in QUANTITIES))
    kept = {}
    for low, high in itertools.pairwise(SNR):
        good = (a.snr >= low) & (a.snr < high) & trusted(a.flag) & trusted(b.flag)
        cells = []
        for name, (x, dx), (y, dy) in zip(QUANTITIES, values(a), values(b), strict=True):
            difference = (x - y)[good]
            pull = difference / joint(dx, dy)[good]
            kept[low, name] = pull
            middle, half, error = robust(pull)
            cells.append(f"{middle:+8.2f} +-{error * 1.25:5.2f} {half:7.2f} +-{error * 0.7:5.2f}  ({np.median(difference):+.4f})   ")
        print(f"  {low:>4.0f}-{high:<4.0f} {good.sum():6d} " + "".join(cells))
    print()
    return kept


def robust(pull: np.ndarray) -> tuple[float, float, float]:
    low, middle, high = np.quantile(pull, (0.16, 0.5, 0.84))
    return middle, (high - low) / 2, (high - low) / 2 / np.sqrt(len(pull))


def values(fit: SersicFit) -> list[tuple[np.ndarray, np.ndarray]]:
    """The four quantities and their errors."""
    logs = [(np.log(v), e / v) for v, e in ((getattr(fit, n), getattr(fit, f"{n}_err")) for n in ("flux", "radius", "sersic_index"))]
    return [*logs, (1 - fit.axis_ratio, fit.axis_ratio_err)]


def draw(
    wide: np.ndarray, deep: np.ndarray, mask: np.ndarray, bright: np.ndarray, extra: float, noise: float, pulls: dict, path: Path
) -> None:
    """Above: mean Wide - Deep, as they come and with Wide blurred to Deep's seeing, in Wide's noise; below: the twins' pulls."""
    figure, axes = plt.subplots(2, 4, figsize=(11, 5.6), constrained_layout=True)
    scaled = lambda image: image / np.maximum(image[:, 31:33, 31:33].mean(axis=(1, 2)), noise)[:, None, None]  # noqa: E731
    one, two = wide[bright], deep[bright]
    blurred = np.stack([convolved(image, extra) for image in one])
    stacks = [np.where(mask[bright], np.nan, scaled(v)) for v in (one, two, blurred)]
    a, b, c = (np.nanmedian(v, axis=0) for v in stacks)
    for axis, (image, title, limit) in zip(
        axes[0], ((a, "Wide", 1), (b, "Deep", 1), (a - b, "Wide - Deep", 0.15), (c - b, "Wide blurred - Deep", 0.15)), strict=True
    ):
        shown = axis.imshow(image, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(f"{title}, median of {len(bright)}", fontsize=9)
        axis.set_axis_off()
        figure.colorbar(shown, ax=axis, shrink=0.7)
    grid = np.linspace(-5, 5, 41)
    for axis, name in zip(axes[1], QUANTITIES, strict=True):
        for low, colour in ((30, "C0"), (100, "C1")):
            axis.hist(pulls[low, name], grid, density=True, histtype="step", color=colour, label=f"S/N > {low}")
        axis.plot(grid, np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), "k:", lw=1)
        axis.set_xlabel(f"twins' pull of {name}")
    axes[1, 0].legend(fontsize=7)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    in_words(main)
