"""Single Sersic galaxies drawn by GalSim, with their truth, and how fits to them are judged: what the benchmarks of shapes share.

Galaxies of HSC-Wide's pixels, seeing and sky noise in 64-pixel stamps: n 0.5-6 and R_e 0.2"-2" (semi-major) uniform in their logarithms,
q 0.2-1 and i 18-25 uniform, centres within a pixel of the stamp's; a Moffat PSF (FWHM 0.6", beta 2.5), of which there is a 65-pixel image.
Each has a neighbour, another such galaxy 12 to 40 px away, and a mask of it: where its light, as it is, is brighter than half a sigma.
GalSim is needed once: the images are kept in runs/bench.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import galsim

PIXEL, SIZE, NOISE, ZERO_POINT, FWHM, BETA, PSF_SIZE = 0.168, 64, 0.064, 27.0, 0.6, 2.5, 65
BINS = ((10, 30), (30, 100), (100, 300), (300, np.inf))  # of matched S/N
CACHE = Path("runs/bench")


def draw(truth: np.ndarray, psf: galsim.GSObject) -> np.ndarray:
    """One galaxy of the table, noiseless."""
    import galsim

    params = galsim.GSParams(maximum_fft_size=16384, folding_threshold=1e-3)
    # GalSim's shear keeps the area: it wants the circularised radius
    radius = float(truth["radius"] * np.sqrt(truth["q"]) * PIXEL)
    galaxy = galsim.Sersic(float(truth["n"]), half_light_radius=radius, flux=float(truth["flux"]), gsparams=params)
    galaxy = galaxy.shear(q=float(truth["q"]), beta=float(truth["angle"]) * galsim.degrees)
    offset = galsim.PositionD(float(truth["x"]) - (SIZE - 1) / 2, float(truth["y"]) - (SIZE - 1) / 2)
    return galsim.Convolve(galaxy, psf).drawImage(nx=SIZE, ny=SIZE, scale=PIXEL, offset=offset, dtype=float).array


def moffat() -> galsim.GSObject:
    """The PSF, without the pixel."""
    import galsim

    return galsim.Moffat(beta=BETA, fwhm=FWHM, gsparams=galsim.GSParams(folding_threshold=1e-4))


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
        rng, psf = np.random.default_rng(4), moffat()
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


def stamps(drawn: dict[str, np.ndarray], neighbours: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Images with noise, and masks: of the neighbours, which are there or not."""
    images = drawn["galaxies"] + NOISE * drawn["noise"]
    if not neighbours:
        return images, np.zeros(images.shape, bool)
    return images + drawn["neighbours"], drawn["neighbours"] > 0.5 * NOISE


def matched_snr(galaxies: np.ndarray) -> np.ndarray:
    """sqrt(sum m^2) / sigma of the true models m."""
    return np.sqrt((galaxies.astype(float) ** 2).sum(axis=(1, 2))) / NOISE


def label_of(low: float, high: float) -> str:
    """A bin of S/N in words."""
    return f"{low}-{high}" if np.isfinite(high) else f">{low}"


def half_width(values: np.ndarray) -> float:
    """Half of the interval that holds the central 68 %."""
    low, high = np.nanpercentile(values, [15.87, 84.13])
    return float(high - low) / 2
