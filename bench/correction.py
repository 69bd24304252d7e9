"""What does an edm's correction correct (networks/correction.py)? It writes a table of docs/hsc.md.

    OMP_NUM_THREADS=2 python bench/correction.py hsc runs/hsc/test.h5 [--n 600]

Galaxies are drawn with the numbers of TEST's (a mock sky's), from the same noise with the correction and without, and held against TEST's:

*  the sky in their corners: its noise, its power spectrum, and how far its pixels, stretched, are from Gaussian;
*  bright galaxies' antisymmetric part, I(r) - I(-r) over sqrt(2), about the point about which there is least, in standard deviations of the
   sky: real ones' is noise and arms.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from in_words import in_words
from papers import around_section, write_section

from hubbleflow.counting import counting
from hubbleflow.diffusion import galaxy_seeds
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.models.edm import Edm
from hubbleflow.precision import autocast, resolve_precision
from hubbleflow.pretrained import find_model
from hubbleflow.report.colour import sky_sigma
from hubbleflow.simulate.numbers import with_numbers

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "hsc.md"
CPU = torch.device("cpu")
CORNER = 20  # px
FREQUENCIES = (0.04, 0.1, 0.2, 0.3, 0.4, 0.5, 0.71)  # cycles a pixel
FAINTEST, MOST_BRIGHT = 22.0, 120
RINGS = (0.0, 2.0, 4.0, 6.0, 9.0)  # px
CENTRES = np.arange(-0.8, 0.81, 0.1)  # px from the stamp's middle, either way
AT_ONCE = 50


def corners(images: np.ndarray) -> np.ndarray:
    """(corner, band, y, x), about their medians."""
    ends = (slice(None, CORNER), slice(-CORNER, None))
    found = np.concatenate([images[:, :, y, x] for y in ends for x in ends])
    return found - np.median(found, axis=(2, 3), keepdims=True)


def spreads(sky: np.ndarray) -> np.ndarray:
    """Median absolute deviation (corner, band), as a standard deviation."""
    return 1.4826 * np.median(np.abs(sky), axis=(2, 3))


def powers(sky: np.ndarray) -> np.ndarray:
    """ln of the median corner's power (frequency, band)."""
    window = np.hanning(CORNER + 2)[1:-1]
    power = np.log(np.median(np.abs(np.fft.fft2(sky * window[:, None] * window)) ** 2, axis=0))
    k = np.hypot(np.fft.fftfreq(CORNER)[:, None], np.fft.fftfreq(CORNER))
    return np.stack([power[:, (k >= low) & (k < high)].mean(axis=1) for low, high in pairwise(FREQUENCIES)])


def kurtosis(sky: np.ndarray) -> float:
    """Excess kurtosis within four standard deviations, mean of bands, of corners without anything bright."""
    spread = spreads(sky)
    quiet = (spread < 1.08 * np.median(spread, axis=0)).all(axis=1)
    values = [band[np.abs(band) < 4 * np.median(one)] for band, one in zip(sky[quiet].swapaxes(0, 1), spread[quiet].T, strict=True)]
    return float(np.mean([(v**4).mean() / (v**2).mean() ** 2 - 3 for v in values]))


def antisymmetry(images: np.ndarray, noise: float) -> np.ndarray:
    """Of each ring, the median galaxy's rms over `noise`; images of one band."""
    size = images.shape[-1]
    axis = np.arange(size) - (size - 1) / 2
    r = np.hypot(axis[:, None], axis)
    weight, frequency = np.exp(-(r**2) / (2 * 4.0**2)), 2j * np.pi * np.fft.fftfreq(size)
    transform, best, kept = np.fft.fft2(images.astype(float)), np.full(len(images), np.inf), np.zeros(images.shape)
    for dy in CENTRES:
        for dx in CENTRES:
            moved = np.fft.ifft2(transform * np.exp(frequency * dy)[:, None] * np.exp(frequency * dx)).real
            odd = (moved - moved[:, ::-1, ::-1]) / 2**0.5 / noise
            power = ((odd * weight) ** 2).sum(axis=(1, 2))
            better = power < best
            best[better], kept[better] = power[better], odd[better]
    return np.array([np.median(np.sqrt((kept[:, (r >= low) & (r < high)] ** 2).mean(axis=1))) for low, high in pairwise(RINGS)])


def table(generator: Generator, test: GalaxySet, n: int) -> str:
    model = generator.model
    if not isinstance(model, Edm) or model.denoiser.correction is None:
        raise SystemExit(f"{generator.title} has no correction: name an edm with a mean galaxy")
    bright = np.flatnonzero(np.asarray(test.column("i_mag")) < FAINTEST)[:MOST_BRIGHT]
    even = np.arange(0, len(test), max(1, len(test) // n))[:n]
    test = test[np.union1d(even, bright)]
    bright = np.flatnonzero(np.asarray(test.column("i_mag")) < FAINTEST)[:MOST_BRIGHT]
    asked = {name: np.asarray(test.column(name)) for name in generator.conditions.names}
    c, seeds = generator.conditions.encode(asked, extrapolate=True), galaxy_seeds(0, 0, len(test))
    sets, found = {"real": generator.stretch(torch.from_numpy(test.images[:]))}, model.denoiser.correction
    with counting("drawing galaxies", 2 * len(test)) as advance:
        for name, correction in (("without", None), ("with it", found)):
            model.denoiser.correction, drawn = correction, []
            for first in range(0, len(test), AT_ONCE):
                part = slice(first, first + AT_ONCE)
                with torch.inference_mode(), autocast(resolve_precision("auto", CPU), CPU):
                    drawn.append(model.sample(c[part], seeds[part]).float())
                advance(len(drawn[-1]))
            sets[name] = torch.cat(drawn)
    flux = {name: generator.stretch.inverse(x, clip=True).numpy() for name, x in sets.items()}
    sky = {name: corners(images) for name, images in flux.items()}
    spread = {name: np.log(np.median(spreads(one), axis=0)) for name, one in sky.items()}
    power = {name: powers(one) for name, one in sky.items()}
    band = len(test.bands) // 2
    noise = sky_sigma(flux["real"])[band]
    rings = {name: antisymmetry(images[bright][:, band], noise) for name, images in flux.items()}
    lines = [
        f"{len(test)} galaxies with the numbers of held-out ones:",
        "",
        "| | real | without correction | with it |",
        "|---|---|---|---|",
    ]

    def beside(what: str, values: dict[str, float], form: str) -> str:
        return f"| {what} | {' | '.join('-' if name not in values else format(values[name], form) for name in sets)} |"

    pairs = ("without", "with it")
    lines.append(
        beside("noise of the sky over real, mean of bands (%)", {p: 100 * (spread[p] - spread["real"]).mean() for p in pairs}, "+.1f")
    )
    for row, (low, high) in enumerate(pairwise(FREQUENCIES)):
        ratio = {p: 100 * (power[p][row] - power["real"][row]).mean() for p in pairs}
        lines.append(beside(f"its power at {low:g} to {high:g} cycles a pixel over real, mean of bands (%)", ratio, "+.1f"))
    stretched = {name: kurtosis(corners(x.numpy())) for name, x in sets.items()}
    lines.append(beside("excess kurtosis of its stretched pixels", stretched, ".2f"))
    for row, (low, high) in enumerate(pairwise(RINGS)):
        what = f"antisymmetric rms of {len(bright)} galaxies of i < {FAINTEST:g} at {low:g} to {high:g} px over the sky's"
        lines.append(beside(what, {name: ring[row] for name, ring in rings.items()}, ".2f"))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("test", type=Path)
    parser.add_argument("--n", type=int, default=600)
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    given = parser.parse_args()
    around_section(given.document, "correction")
    if not given.test.exists():
        raise SystemExit(f"{given.test} is not there: training/hsc.py leaves one")
    found = table(Generator.load(find_model(given.model)), with_numbers(GalaxySet.open(given.test)), given.n)
    write_section(given.document, "correction", found)
    print(found)


if __name__ == "__main__":
    in_words(main)
