"""Structure on every scale: do images have the real power at every wave number?

Radially averaged power of each image x and band, with the Fourier transform F x over the stamp's N pixels,

    P(k) = mean over |(k_x, k_y)| in a ring around k of |F x|^2 / N,        k in cycles a pixel, two rings an octave

(white noise of rms sigma has P = sigma^2 at every k). A generator that blurs lacks power at large k; one that leaves
the pattern of its patches has too much at their wave number; wrong sizes and brightnesses move the power at small k.
Where the median real P(k) is under twice the sky's sigma^2, the wave number is the *sky's*, else the *galaxies'*:

    power_spectrum_sky     = mean over the sky's bands and wave numbers of |median ln P_generated - median ln P_real|
    power_spectrum_galaxy  = mean over the galaxies' bands and wave numbers, and over bins of redshift, of W1(q_generated, q_real)
                             q(k) = ln P(k) - mean over the galaxies' wave numbers of ln P

W1 is the Wasserstein-1 distance; q is the shape of an image's spectrum, since how bright a galaxy is would drown it
(`w1_magnitude` asks that). Both are in ln power: 0.1 means ten per cent more or less power (five in amplitude).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import rfft2

from hubbleflow.metrics.cells import wasserstein_per_cell
from hubbleflow.metrics.metric import Metric, NotComputable, Prepared, prepare_rows
from hubbleflow.metrics.noise import difference_of_medians, sky_sigma
from hubbleflow.metrics.sample import Sample, shared_pixels

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins
    from hubbleflow.survey import Survey

EDGES = 2.0 ** np.arange(-7, -0.75, 0.5)  # cycles a pixel, to Nyquist's 1/2; stamps of 127 px begin at the first, of 64 px at the third
SKY_POWER = 2.0  # of sigma^2: less is the sky's


def power_columns(images: Float[np.ndarray, "n band y x"], survey: Survey) -> dict[str, Float[np.ndarray, "n wave_number"]]:
    """`b_power` of each image: P(k) in each ring; NaN where the stamp has no such wave number or a pixel is not finite.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> noise = np.random.default_rng(0).normal(0, 2, (50, 1, 64, 64)).astype(np.float32)
        >>> power_columns(noise, Survey.get("hsc-i"))["i_power"].mean(axis=0)[-3:].round(1)
        array([4., 4., 4.], dtype=float32)
    """
    height, width = images.shape[2:]
    ring, weight = _rings(height, width)
    rings = (ring.ravel()[:, None] == np.arange(len(EDGES) - 1)) * weight.ravel()[:, None]
    modes = rings.sum(axis=0)
    mean = np.where(modes > 0, rings / np.maximum(modes, 1), np.nan).astype(np.float32) / np.float32(height * width)
    columns = {}
    for number, band in enumerate(survey.bands):
        wave = rfft2(np.nan_to_num(np.asarray(images[:, number], np.float32), posinf=0, neginf=0))
        power = (wave.real**2 + wave.imag**2).reshape(len(images), -1) @ mean
        power[~np.isfinite(images[:, number]).all(axis=(1, 2))] = np.nan
        columns[f"{band}_power"] = power
    return columns


def _rings(height: int, width: int) -> tuple[Int[np.ndarray, "y half_x"], Float[np.ndarray, "y half_x"]]:
    """Ring of each number of a real transform (-1 for none), and how often it stands in the full transform."""
    k_y, k_x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    k = np.hypot(k_y, k_x)
    ring = np.where((k > 0) & (k <= 0.5), np.searchsorted(EDGES * (1 - 1e-9), k, side="right") - 1, -1)
    twice = (k_x > 0) & ((k_x < 0.5) | (width % 2 == 1))
    return np.minimum(ring, len(EDGES) - 2), np.where(twice, 2.0, 1.0) * np.ones_like(k)


PIXEL_COLUMNS = power_columns


def prepare(sky: bool, real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """ln P of the bands and wave numbers that are the sky's, or the galaxies'."""
    sigma = sky_sigma(real)
    found = shared_pixels(real, generated, "power")
    if not found:
        raise NotComputable("needs images of the same bands in both sets")
    tables: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    quantities: list[str] = []
    for band, powers in found.items():
        logs = [_log(power) for power in powers]
        known = [column for column in range(len(EDGES) - 1) if all(np.isfinite(values[:, column]).any() for values in logs)]
        of_the_sky = np.log(SKY_POWER * sigma[band] ** 2)
        of_this_kind = [column for column in known if (np.nanmedian(logs[0][:, column]) < of_the_sky) == sky]
        quantities += [f"{band} {EDGES[column]:.3g}-{EDGES[column + 1]:.3g}" for column in of_this_kind]
        for side, values in zip(tables, logs, strict=True):
            rows = values[:, of_this_kind]
            side.append(rows if sky or not of_this_kind else rows - rows.mean(axis=1, keepdims=True))
    if not quantities:
        what = "no wave number that the sky rules" if sky else "no wave number that galaxies rule"
        raise NotComputable(f"the real images have {what}")
    statistic = difference_of_medians if sky else wasserstein_per_cell
    a, b = (np.concatenate(side, axis=1) for side in tables)
    return prepare_rows(a, b, bins, lambda a, i, b, j: statistic(a, i, b, j, len(bins)), quantities, binned_only=not sky)


def _log(power: Float[np.ndarray, "n wave_number"]) -> Float[np.ndarray, "n wave_number"]:
    return np.log(np.where(power > 0, power, np.nan), dtype=float)


def _metric(name: str, sky: bool, words: str) -> Metric:
    return Metric(
        f"power_spectrum_{name}",
        f"Have images the real power at {words}?",
        "comparison",
        "low",
        "ln power",
        "radially averaged power spectrum",
        partial(prepare, sky),
        splits=None if sky else 20,
    )


METRICS = (
    _metric("sky", True, "the wave numbers that the sky rules"),
    _metric("galaxy", False, "the wave numbers that galaxies rule, relative to one another"),
)
