"""Our Sersic fit against statmorph, pyimfit and SExtractor: who finds the truth, and at what cost.

    pip install statmorph pyimfit; apt-get install -y source-extractor      # for this benchmark only
    OMP_NUM_THREADS=1 python bench/rivals.py [--n 160] [--seed 0]

The galaxies are those of `sersic_mocks.py`, drawn by GalSim, as many of each S/N bin: alone, then with a masked neighbour in every stamp.
All tools get the same pixels, noise, masks and PSF, and the sky is held at its true value, zero, in all of them (statmorph cannot fit
it). Those that take a starting point (pyimfit, statmorph) get ours, and its cost is in our time, not in theirs; they have our limits of
n, too.

- SExtractor reads the PSF from a file in PSFEx's format, written here: once sampled by the image's pixels, as for the others, and once
  ("fine PSF") by half pixels, by which it draws its models more finely. Its limits of n are its own. Its time is that of a run with the
  fit less that of one without.
- pyimfit's PSF image is cut to 41 px: it works on a frame as wide as the PSF around each stamp, and all 65 px make it twice as slow and
  no better.
- statmorph is given the segment of the central object (our detection, not in its time); with no detection there is no fit. Its "Sersic
  part" is the time of that fit within the whole; "in full" it is compared with `measure`: sky, detection, photometry, Sersic fit and
  shapes.

Rounds of 40 galaxies are interleaved: we fit all galaxies (a batched fit has no sense of 40), then each rival those of the round. Times
are CPU seconds of one core. The scores are those of `truth.py`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import galsim
import numpy as np
import torch
from in_words import in_words
from sersic_mocks import BINS, FWHM, NOISE, PIXEL, SIZE, matched_snr, mock, moffat, stamps
from sextractor import UNUSABLE, binary, settings_of, sextract, write_psf
from truth import HEAD, scores, verdict

from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import Recipe, measure
from hubbleflow.measure.detect import central, detect
from hubbleflow.measure.sersic_fit import FitRecipe, fit_sersic
from hubbleflow.measure.sersic_start import Start, start_values
from hubbleflow.sersic import N_MAX, N_MIN, total_flux
from hubbleflow.survey import Survey

DRAWN, ROUND, PYIMFIT_PSF = 2000, 40, 41
SEX_COLUMNS = ("SPHEROID_REFF_IMAGE", "SPHEROID_SERSICN", "SPHEROID_ASPECT_IMAGE")
SEX_MODEL = (*SEX_COLUMNS, "SPHEROID_THETA_IMAGE", "FLUX_SPHEROID", "XMODEL_IMAGE", "YMODEL_IMAGE")


@dataclass(frozen=True)
class Sample:
    """What every tool is given, and the truth."""

    images: np.ndarray
    mask: np.ndarray
    psf: np.ndarray
    truth: np.ndarray
    snr: np.ndarray
    start: Start

    @property
    def ivar(self) -> np.ndarray:
        """(n, y, x), zero where masked."""
        return np.where(self.mask, 0.0, NOISE**-2).astype(np.float32)


def sample(n: int, neighbours: bool, seed: int = 0) -> Sample:
    """As many galaxies of each S/N bin; the order mixes the bins, so that each round holds all of them."""
    drawn = mock(DRAWN)
    snr = matched_snr(drawn["galaxies"])
    parts = [np.flatnonzero((snr >= low) & (snr < high)) for low, high in BINS]
    if not 0 < n // len(BINS) <= min(map(len, parts)):
        raise SystemExit(f"--n must be {len(BINS)} to {len(BINS) * min(map(len, parts))}: there are no more galaxies in the smallest bin.")
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.permutation(part)[: n // len(BINS)] for part in parts], axis=1).ravel()
    images, mask = (stack[rows] for stack in stamps(drawn, neighbours))
    psf = drawn["psf"].astype(float)
    return Sample(images, mask, psf, drawn["truth"][rows], snr[rows], start_values(images, psf, ~mask, sky=False))


def ours(data: Sample) -> tuple[np.ndarray, float]:
    """All galaxies: (galaxy, R_e n q), and CPU seconds a galaxy."""
    seconds = time.process_time()
    fit = fit_sersic(data.images, NOISE**-2, data.psf, data.mask, recipe=FitRecipe(sky_sigma=0.0))
    seconds = time.process_time() - seconds
    return np.stack([fit.radius, fit.sersic_index, fit.axis_ratio], axis=1), seconds / len(fit)


def ours_in_full(data: Sample) -> float:
    """CPU seconds a galaxy of everything that `measure` does."""
    galaxies = GalaxySet(data.images[:, None], Survey.get("hsc-i"), psf=data.psf[None].astype(np.float32), ivar=data.ivar[:, None])
    seconds = time.process_time()
    measure(galaxies, workers=1, progress=False)
    return (time.process_time() - seconds) / len(data.snr)


def _start(data: Sample, i: int) -> tuple[float, ...]:
    return tuple(float(values[i]) for values in vars(data.start).values())  # x, y, radius, q, angle, n


def pyimfit_one(data: Sample, i: int) -> list[float]:
    """R_e, n, q and seconds: Levenberg-Marquardt from our start, with its own sub-pixel integration."""
    import pyimfit

    image, cut = data.images[i].astype(float), (len(data.psf) - PYIMFIT_PSF) // 2
    x, y, radius, q, angle, n = _start(data, i)
    light = float(max(image[~data.mask[i]].sum(), 1e-3) / total_flux(1.0, radius, n, q))
    sersic = {
        "PA": [angle - 90, -360, 360],
        "ell": [1 - q, 0, 0.95],
        "n": [n, N_MIN, N_MAX],
        "I_e": [light, 0, 1e9],
        "r_e": [radius, 0.1, SIZE],
    }
    functions = [{"name": "Sersic", "label": "galaxy", "parameters": sersic}]
    place = {"X0": [x + 1, x - 7, x + 9], "Y0": [y + 1, y - 7, y + 9]}
    seconds = time.process_time()
    model = pyimfit.ModelDescription.dict_to_ModelDescription({"function_sets": [{**place, "function_list": functions}]})
    fitter = pyimfit.Imfit(model, psf=data.psf[cut : len(data.psf) - cut, cut : len(data.psf) - cut], maxThreads=1)
    fitter.loadData(image, error=np.full(image.shape, NOISE), mask=data.mask[i])
    found = fitter.doFit().params
    return [found[6], found[4], 1 - found[3], time.process_time() - seconds]


def statmorph_one(data: Sample, i: int) -> list[float]:
    """R_e, n, q, seconds of all of it, and those of its Sersic part."""
    import statmorph
    from statmorph.statmorph import lazyproperty

    class Timed(statmorph.SourceMorphology):
        sersic_seconds = np.nan

        @lazyproperty
        def _sersic_model(self):  # what it starts from has been computed by then
            begin = time.process_time()
            model = statmorph.SourceMorphology._sersic_model.fget(self)
            self.sersic_seconds = time.process_time() - begin
            return model

    image = data.images[i].astype(float)
    found = detect(image, Recipe(), data.ivar[i])
    row, _ = central(found, (SIZE - 1) / 2, (SIZE - 1) / 2, Recipe())
    if row is None:
        return [np.nan] * 5
    x, y, radius, q, angle, n = _start(data, i)
    begin = {"x_0": x, "y_0": y, "r_eff": radius, "n": n, "ellip": 1 - q, "theta": np.radians(angle), "bounds": {"n": (N_MIN, N_MAX)}}
    segment, weights = (found.segments == row + 1).astype(int), np.full(image.shape, NOISE)
    seconds = time.process_time()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            full = Timed(image, segment, 1, mask=data.mask[i], weightmap=weights, psf=data.psf, sersic_model_args=begin)
    except Exception:  # it raises on some stamps
        return [np.nan] * 3 + [time.process_time() - seconds, np.nan]
    seconds = time.process_time() - seconds
    values = [full.sersic_rhalf, full.sersic_n, 1 - full.sersic_ellip] if full.sersic_rhalf > 0 else [np.nan] * 3  # -99: given up
    return [*values, seconds, full.sersic_seconds]


def sextractor_some(data: Sample, rows: np.ndarray, psf: Path) -> np.ndarray:
    """(galaxy, R_e n q seconds) of one mosaic of these galaxies."""
    rms = np.where(data.mask[rows], UNUSABLE, NOISE)
    catalogue, seconds = sextract(data.images[rows], rms, SEX_MODEL, settings_of(Recipe()), SIZE, UNUSABLE, psf)
    _, without = sextract(data.images[rows], rms, (), settings_of(Recipe()), SIZE, UNUSABLE)
    values = np.full((len(rows), 4), np.nan)
    distance = np.hypot(catalogue["x"] - (SIZE - 1) / 2, catalogue["y"] - (SIZE - 1) / 2)
    for k in range(len(rows)):
        here = np.flatnonzero((catalogue["stamp"] == k) & (distance <= Recipe().tolerance_px))
        if len(here):
            one = catalogue[here[np.argmin(distance[here])]]
            if one["SPHEROID_REFF_IMAGE"] > 0:
                values[k, :3] = [one[name] for name in SEX_COLUMNS]
    values[:, 3] = (seconds - without) / len(rows)
    return values


def psf_files(folder: Path) -> dict[str, Path]:
    """The PSF for SExtractor: the image that all tools get, and the same PSF, pixel included, by half pixels."""
    psf = galsim.Convolve(moffat(), galsim.Pixel(PIXEL))
    files = {}
    for name, step in (("SExtractor", 1.0), ("SExtractor, fine PSF", 0.5)):
        side = int(SIZE / step) + 1
        files[name] = folder / f"moffat_{step}.psf"
        image = psf.drawImage(nx=side, ny=side, scale=PIXEL * step, method="no_pixel", dtype=float).array
        write_psf(files[name], image, step, FWHM / PIXEL)
    return files


def compete(data: Sample, name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Fitted values (galaxy, R_e n q) by tool, and CPU seconds (galaxy,) by tool and part; says how far it is on stderr."""
    n, one_by_one = len(data.snr), dict[str, Callable[[Sample, int], list[float]]](statmorph=statmorph_one, pyimfit=pyimfit_one)
    ours(data), ours_in_full(data)  # tables, buffers and imports
    parts: dict[str, list[np.ndarray]] = {}
    alone, full = [], []
    with tempfile.TemporaryDirectory() as folder:
        files = psf_files(Path(folder))
        for first in range(0, n, ROUND):
            rows = np.arange(first, min(n, first + ROUND))
            mine, seconds = ours(data)
            alone.append(seconds)
            full.append(ours_in_full(data))
            for tool, file in files.items():
                parts.setdefault(tool, []).append(sextractor_some(data, rows, file))
            for tool, fit in one_by_one.items():
                parts.setdefault(tool, []).append(np.array([fit(data, int(i)) for i in rows]))
            print(f"galaxies {name}: {rows[-1] + 1} of {n}", file=sys.stderr, flush=True)
    found = {tool: np.concatenate(values) for tool, values in parts.items()}
    times = {"ours": np.array(alone), "ours in full": np.array(full)} | {tool: values[:, 3] for tool, values in found.items()}
    times["statmorph's Sersic part"] = found["statmorph"][:, 4]
    return {"ours": mine} | {tool: values[:, :3] for tool, values in found.items()}, times


def report_times(times: dict[str, np.ndarray]) -> None:
    """CPU time and the ratios asked for; the rivals' mean, but pyimfit's median, over our mean."""
    print("\n| CPU, ms a galaxy | mean | median |\n|---|---|---|")
    for name, seconds in times.items():
        print(f"| {name} | {1e3 * np.nanmean(seconds):.2f} | {1e3 * np.nanmedian(seconds):.2f} |")
    asked = (
        ("statmorph in full, against `measure`", "statmorph", "ours in full", np.nanmean, 30.0),
        ("statmorph's Sersic part", "statmorph's Sersic part", "ours", np.nanmean, 5.0),
        ("pyimfit's median", "pyimfit", "ours", np.nanmedian, 50.0),
        ("SExtractor's Sersic fit", "SExtractor", "ours", np.nanmean, 2.5),
        ("SExtractor's Sersic fit, fine PSF", "SExtractor, fine PSF", "ours", np.nanmean, 2.5),
    )
    print("\n| times as fast as | ratio | asked for | |\n|---|---|---|---|")
    for words, theirs, mine, kind, least in asked:
        ratio = kind(times[theirs]) / times[mine].mean()
        print(f"| {words} | {ratio:.1f} | {least:g} | {'met' if ratio >= least else 'NOT MET'} |")


def main() -> None:
    """Fit, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=160, help="galaxies of each of the two runs")
    parser.add_argument("--seed", type=int, default=0, help="which of the galaxies")
    asked = parser.parse_args()
    binary()
    torch.set_num_threads(1)
    for name, neighbours in (("alone", False), ("with neighbours", True)):
        data = sample(asked.n, neighbours, asked.seed)
        fitted, times = compete(data, name)
        found = scores(fitted, data.truth, data.snr)
        print(f"\n## Galaxies {name}\n\n{HEAD}")
        print("\n".join(one.row() for one in found))
        line, sentences = verdict(found)
        print("\n" + "\n".join(f"- {sentence}" for sentence in sentences))
        print(f"\nVerdict, galaxies {name}: {line}.")
        report_times(times)


if __name__ == "__main__":
    in_words(main)
