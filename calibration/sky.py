"""Measure the sky of real HSC coadds: writes src/hubbleflow/simulate/sky.json (a few kB, committed).

    python calibration/sky.py [../shared/data]

From the 100 HSC UltraDeep COSMOS scenes of `hsc_cosmos_scenes` (LSST's testdata_deblender; the data stay outside the repository, the
numbers below are all that the package holds):

- noise: rms per band and autocorrelation of the empty pixels (`hubbleflow.simulate.sky`) of 99 scenes (one has no good r). `weights`
  are 0 outside the footprint of each blend, where the images go on: those pixels are the emptiest sky there is, and are used. Inside,
  1 / sqrt(weight) is compared with the rms.
- faint sources: two bands share galaxies but no noise, so the covariance C_ab of two bands in the empty pixels, masked by the other three,
  is the undetected galaxies'. One factor, C_ab = f_a f_b, is fitted to the ten pairs of bands: f_b^2 is the share of the variance,
  and the pairs' mean C(l) / C(0) its correlation. It is taken out of the correlation: the mock sky has galaxies of its own.
- kernel: the symmetric taps that give white noise this correlation along one axis (see `hubbleflow.simulate.noise`).
- residual: scatter between scenes of the level of the empty pixels and of the slope of a plane through them (scenes with enough of them).
- seeing: elliptical Moffat profiles, averaged over the pixels, fitted to `psfs`. All 100 scenes carry the same PSF: there is no scatter
  to measure, and what `seeing_scatter` holds is a choice, see `hubbleflow.simulate.seeing`.
- saturation: pixel values at the edge of saturation (weights of 0 in the core of a star).
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from hubbleflow.simulate.sky import LAGS, REACH, SILL, EmptySky, empty_pixels, half_products, measure_sky, without_outliers
from hubbleflow.survey import Survey

ROOT = Path(__file__).resolve().parents[1]
HSC = Survey.get("hsc-wide")
TAPS = 3  # either side of the middle: beyond lag 3 the correlation is 0.00 +- 0.01
_GROUPS = 10  # of scenes, for the scatter of the correlation
_LEAST_PIXELS = 1500  # of a scene whose sky level says something
# Relative scatter of the coadds' seeing about its median, g to y: not in these data, but chosen, 0.05" (i) to 0.1" (r) about the medians of
# HSC Wide (Aihara et al. 2019, PASJ 71, 114, is where to check it: its table was not at hand); bands are taken in different nights.
SEEING_SCATTER = (0.10, 0.13, 0.08, 0.10, 0.12)
SEEING_BETWEEN_BANDS = 0.2


def main(data: Path) -> None:
    scenes = [dict(np.load(path)) for path in sorted((data / "hsc_cosmos_scenes").glob("*.npz"))]
    scenes = [scene for scene in scenes if is_whole(scene["weights"])]
    images = [scene["images"] for scene in scenes]
    sky = measure_sky(images)
    correlation = sky.correlation()
    groups = np.array([sky.correlation(np.s_[first::_GROUPS]) for first in range(_GROUPS)])
    share, shape = faint_sources(images, sky)
    noise_only = (correlation - share[:, None, None] * shape) / (1 - share)[:, None, None]
    noise_only[:, REACH, REACH] = 1
    along_x, along_y = noise_only[:, REACH, REACH + 1 :], noise_only[:, REACH + 1 :, REACH]
    weights = np.array([[np.quantile(w[w > 0], 0.75) for w in scene["weights"]] for scene in scenes])
    enough = (sky.pixels >= _LEAST_PIXELS).all(axis=1)
    level, gradient = sky.level[enough], sky.gradient[enough]
    fwhm, beta, ellipticity = fit_psf(scenes[0]["psfs"])
    assert all(np.array_equal(scene["psfs"], scenes[0]["psfs"]) for scene in scenes)
    between = np.corrcoef(level.T)[np.triu_indices(5, 1)]
    result = {
        "source": "python calibration/sky.py: 99 of 100 HSC UltraDeep COSMOS scenes (LSST testdata_deblender), counts at zero point 27",
        "bands": HSC.bands,
        "pixel_scale_arcsec": HSC.pixel_scale_arcsec,
        "rms": np.nanmedian(sky.rms, axis=0),
        "rms_16_84": np.nanpercentile(sky.rms, [16, 84], axis=0),
        "rms_over_weights": np.nanmedian(sky.rms * np.sqrt(weights), axis=0),
        "empty_pixels": sky.pixels.sum(axis=0),
        "correlation": correlation[:, REACH:, :].round(4),  # dy 0 to 4, dx -4 to 4; the other half is the same
        "correlation_error": (groups.std(axis=0, ddof=1)[:, REACH:, :] / np.sqrt(_GROUPS)).round(4),
        "faint_sources_share": share,
        "faint_sources_along_x": shape[REACH, REACH:],
        "noise_along_x": along_x,
        "noise_along_y": along_y,
        "kernel_x": np.array([kernel(rho[:TAPS]) for rho in along_x]),
        "kernel_y": np.array([kernel(rho[:TAPS]) for rho in along_y]),
        "residual_rms": level.std(axis=0, ddof=1),
        "residual_between_bands": float(between.mean()),
        "residual_gradient": 1.4826 * np.median(np.abs(gradient), axis=(0, 2)),  # counts a pixel per pixel
        "psf_fwhm_arcsec": fwhm,
        "psf_beta": beta,
        "psf_ellipticity": ellipticity,
        "seeing_scatter": SEEING_SCATTER,
        "seeing_between_bands": SEEING_BETWEEN_BANDS,
        "saturation": saturation(scenes),
    }
    report(result, sky, enough)
    out = ROOT / "src/hubbleflow/simulate/sky.json"
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(_rounded(value))}" for key, value in result.items())
    out.write_text(f"{{\n{lines}\n}}\n")
    print(out.relative_to(ROOT), out.stat().st_size, "bytes")


def is_whole(weights: np.ndarray) -> bool:
    """Whether no band of a scene is mostly masked: one scene's r is, and alone it adds 0.012 to r's correlation at every lag."""
    good = (weights > 0).mean(axis=(1, 2))
    return bool(good.min() > 0.5 * good.max())


def faint_sources(images: list[np.ndarray], sky: EmptySky) -> tuple[np.ndarray, np.ndarray]:
    """Share of each band's variance that undetected sources have, and their correlation (dy, dx)."""
    lags = LAGS + SILL
    covariance = np.zeros((5, 5, len(LAGS) + 1))
    for a, b in itertools.combinations(range(5), 2):
        total, pairs = np.zeros(len(lags)), np.zeros(len(lags))
        for image, rms in zip(images, sky.rms, strict=True):
            if np.isnan(rms).any():
                continue
            use = empty_pixels(image, (a, b))
            use = without_outliers(image[b], without_outliers(image[a], use))
            found = half_products(image[a] / rms[a], image[b] / rms[b], use, lags)
            total, pairs = total + found[0], pairs + found[1]
        sill = total[len(LAGS) :].sum() / pairs[len(LAGS) :].sum()
        covariance[a, b] = np.r_[sill, sill - total[: len(LAGS)] / pairs[: len(LAGS)]]
    upper = np.triu_indices(5, 1)
    fit = least_squares(lambda f: np.outer(f, f)[upper] - covariance[..., 0][upper], np.full(5, 0.08))
    mean = covariance[upper].mean(axis=0)
    shape = np.ones((2 * REACH + 1, 2 * REACH + 1))
    for (dx, dy), value in zip(LAGS, mean[1:] / mean[0], strict=True):
        shape[REACH + dy, REACH + dx] = shape[REACH - dy, REACH - dx] = value
    print("covariance of two bands in empty pixels, in units of their rms:")
    print(covariance[..., 0].round(4))
    return fit.x**2, shape


def kernel(rho: np.ndarray) -> np.ndarray:
    """Symmetric taps whose autocorrelation is 1, rho_1 .. rho_k: the zero-phase root of the spectrum, cut off and polished."""
    count, angles = len(rho), 2 * np.pi * np.arange(256) / 256
    spectrum = 1 + 2 * np.cos(np.outer(angles, np.arange(1, count + 1))) @ rho
    root = np.fft.ifft(np.sqrt(np.maximum(spectrum, 0))).real[: count + 1]

    def error(half: np.ndarray) -> np.ndarray:
        taps = np.r_[half[:0:-1], half]
        return np.correlate(taps, taps, "full")[len(taps) - 1 :][: count + 1] - np.r_[1, rho]

    half = least_squares(error, root).x
    return np.r_[half[:0:-1], half]


def fit_psf(psfs: np.ndarray, oversampling: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """FWHM (arcsec, geometric mean of the axes), beta and ellipticity per band of a Moffat averaged over pixels."""
    size = psfs.shape[-1]
    fine = (np.arange(size * oversampling) + 0.5) / oversampling - size / 2
    y, x = np.meshgrid(fine, fine, indexing="ij")

    def model(p: np.ndarray) -> np.ndarray:
        x0, y0, ln_radius, e1, e2, ln_beta1, ln_flux = p
        dx, dy = x - x0, y - y0
        beta, square = 1 + np.exp(ln_beta1), np.exp(2 * ln_radius)
        r2 = ((1 - e1) * dx**2 + (1 + e1) * dy**2 - 2 * e2 * dx * dy) / (square * np.sqrt(1 - e1**2 - e2**2))
        profile = np.exp(ln_flux) * (beta - 1) / (np.pi * square) * (1 + r2) ** -beta
        return profile.reshape(size, oversampling, size, oversampling).mean(axis=(1, 3))

    found = []
    for psf in psfs:
        fit = least_squares(lambda p, psf=psf: (model(p) - psf).ravel() / psf.max(), [0, 0, 0.6, 0, 0, 0.3, 0])
        beta, e = 1 + np.exp(fit.x[5]), np.hypot(fit.x[3], fit.x[4])
        fwhm = 2 * np.exp(fit.x[2]) * np.sqrt(2 ** (1 / beta) - 1) * HSC.pixel_scale_arcsec
        found.append((fwhm, beta, 1 - np.sqrt((1 - e) / (1 + e))))
        print(f"PSF: FWHM {fwhm:.3f} beta {beta:.2f} centre {fit.x[:2].round(2)} largest residual {np.abs(fit.fun).max():.4f} of the peak")
    return tuple(np.array(column) for column in zip(*found, strict=True))


def saturation(scenes: list[dict[str, np.ndarray]]) -> np.ndarray:
    """Counts to which a coadd's pixels reach before they saturate, per band: the mean of the three brightest peaks with good weights."""
    good, masked = [[] for _ in range(5)], [[] for _ in range(5)]
    for scene in scenes:
        for x, y in np.round(scene["peaks"]).astype(int):
            for band in range(5):
                cut = np.s_[band, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
                (good if scene["weights"][cut].min() > 0 else masked)[band].append(float(scene["images"][cut].max()))
    for band in range(5):
        print(HSC.bands[band], "brightest good", np.sort(good[band])[-5:].round(), "masked", np.sort(masked[band])[-8:].round())
    return np.array([np.sort(g)[-3:].mean() for g in good])


def report(result: dict, sky: EmptySky, enough: np.ndarray) -> None:
    for b, band in enumerate(HSC.bands):
        print(
            f"{band}: rms {result['rms'][b]:.4f} ({result['rms_over_weights'][b]:.3f} of 1/sqrt(weight)),"
            f" rho x {result['noise_along_x'][b].round(3)} y {result['noise_along_y'][b].round(3)},"
            f" faint sources {100 * result['faint_sources_share'][b]:.1f} %, level {result['residual_rms'][b]:.4f},"
            f" gradient {result['residual_gradient'][b]:.1e}, saturation {result['saturation'][b]:.0f}"
        )
    print(f"{enough.sum()} scenes have >= {_LEAST_PIXELS} empty pixels; {int(np.isfinite(sky.rms).all(axis=1).sum())} have >= 100")


def _rounded(value):
    """Four significant digits where small numbers matter, as lists."""
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return array.tolist()
    return np.vectorize(lambda v: round(float(f"{v:.4g}"), 6))(array).tolist()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared/data")
