"""How far do galaxies of the same numbers lie from their mean: real ones, and drawn ones? It writes a table of docs/hsc.md.

    OMP_NUM_THREADS=2 python bench/around_mean.py hsc runs/hsc/test.h5 [--reader hsc-redshift] [--n 1000]

A galaxy is drawn for each of TEST's (a mock sky's), with the same numbers, and both are held against the mean galaxy of these numbers, in
the middle of the stamp, band by band. The median offset of real ones is what the mean galaxy has wrong; drawn ones should lie around it as
widely as real ones, and as much in all bands together. How widely is said of typical galaxies (1.4826 times the median absolute deviation)
and of all (the standard deviation, which the few with a neighbour set).

A reader of redshifts is asked, too, about both and about the mean galaxies with white noise as strong as the sky's: what it has wrong
there, the mean has wrong, or real galaxies tell beside it.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from in_words import in_words
from papers import around_section, write_section

from hubbleflow.counting import counting
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.metrics.redshift_loss import per_galaxy_loss
from hubbleflow.models.edm import Edm
from hubbleflow.predictor import Predictor
from hubbleflow.pretrained import find_model
from hubbleflow.report.colour import sky_sigma
from hubbleflow.simulate.numbers import with_numbers

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "hsc.md"
MAGNITUDES = (15.0, 20.0, 21.0, 22.0, 23.5)
WIDTH = 3.0  # px, of a Gaussian


def typical(values: np.ndarray) -> float:
    """Scatter of columns, mean of them, as a standard deviation that few far ones do not change."""
    return float((1.4826 * np.median(np.abs(values - np.median(values, axis=0)), axis=0)).mean())


def table(generator: Generator, reader: Predictor, test: GalaxySet) -> str:
    model = generator.model
    if not isinstance(model, Edm) or model.denoiser.mean is None:
        raise SystemExit(f"{generator.title} has no mean galaxy: name an edm")
    asked = {name: np.asarray(test.column(name)) for name in generator.conditions.names}
    c = generator.conditions.encode(asked, extrapolate=True)
    with torch.inference_mode():
        mean = model.denoiser.middle(c)
    with tempfile.TemporaryDirectory() as folder, counting("drawing galaxies", len(test)) as on_progress:
        path = Path(folder) / "drawn.h5"
        generator.generate(path, asked, seed=0, extrapolate=True, on_progress=on_progress)
        drawn = GalaxySet.open(path).images[:]
    axis = torch.arange(test.image_size) - (test.image_size - 1) / 2
    weight = (-(axis[:, None] ** 2 + axis**2) / (2 * WIDTH**2)).exp()
    weight = weight / weight.square().sum().sqrt()
    real = generator.stretch(torch.from_numpy(test.images[:]))
    sky = torch.from_numpy(sky_sigma(real.numpy())).float()
    made = generator.stretch(torch.from_numpy(drawn))
    off = {name: ((x - mean) * weight).sum(dim=(2, 3)) / sky for name, x in (("real", real), ("drawn", made))}
    lines = [
        f"Stretched flux minus the mean galaxy's in a Gaussian of {WIDTH:g} px, in standard deviations of a sky of independent pixels:",
        "",
        "| i magnitude | galaxies | median of real, worst band | typical scatter, real | drawn | drawn over real "
        "| all, drawn over real | of the bands' mean, over a band's, real | drawn |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for low, high in pairwise(MAGNITUDES):
        rows = torch.from_numpy((asked["i_mag"] >= low) & (asked["i_mag"] < high))
        parts = {name: value[rows].numpy() for name, value in off.items()}
        scatter = {name: typical(part) for name, part in parts.items()}
        common = {name: typical(part.mean(axis=1, keepdims=True)) / scatter[name] for name, part in parts.items()}
        spread = parts["drawn"].std(axis=0).mean() / parts["real"].std(axis=0).mean()
        worst = float(np.abs(np.median(parts["real"], axis=0)).max())
        of_typical = f"{scatter['real']:.2f} | {scatter['drawn']:.2f} | {scatter['drawn'] / scatter['real']:.2f}"
        of_all = f"{spread:.2f} | {common['real']:.2f} | {common['drawn']:.2f}"
        lines.append(f"| {low:g} to {high:g} | {int(rows.sum())} | {worst:.2f} | {of_typical} | {of_all} |")
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0)) * sky[:, None, None]
    blurred = generator.stretch.inverse(mean + noise, clip=True).numpy()
    lines += [
        "",
        "Redshift loss by the reader (dz over 1 + z), mean and its standard error:",
        "",
        "| real | drawn | mean galaxy and white noise |",
        "|---|---|---|",
    ]
    losses = []
    for images in (test.images[:], drawn, blurred):
        read = reader.predict(GalaxySet(images, test.survey, {"redshift": test.redshift}))
        loss = per_galaxy_loss(read, test.redshift, scaled=True)
        losses.append(f"{loss.mean():.3f} ± {loss.std() / len(loss) ** 0.5:.3f}")
    return "\n".join([*lines, f"| {' | '.join(losses)} |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("test", type=Path)
    parser.add_argument("--reader", default="hsc-redshift")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    given = parser.parse_args()
    around_section(given.document, "around")
    if not given.test.exists():
        raise SystemExit(f"{given.test} is not there: training/hsc.py leaves one")
    test = with_numbers(GalaxySet.open(given.test))
    every = max(1, len(test) // given.n)
    found = table(Generator.load(find_model(given.model)), Predictor.load(find_model(given.reader)), test[: every * given.n : every])
    write_section(given.document, "around", found)
    print(found)


if __name__ == "__main__":
    in_words(main)
