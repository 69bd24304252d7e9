"""What makes `edm` learn: one thing changed at a time, at equal CPU time, judged by physics. It writes the table of docs/training.md.

    OMP_NUM_THREADS=1 taskset -c 0 python bench/training.py SKY.h5 TEST.h5 [--judge JUDGE] [--minutes 10] [--out runs/training]

SKY, a mock sky, is learned from, TEST, measured and with redshifts (`hubbleflow measure`), is judged by: `bench/papers.py` leaves both, and
a judge, in its folder. Every variant is timed first, in turns, in seconds of CPU a step, and trains for as many steps as the minutes
hold: wall clocks of a shared machine say nothing. It may be stopped and started again; --only names variants.

Columns: the denoiser's error in units of sigma, rms, of galaxies held out of SKY, at small noise, in bright pixels (above ten times the
sky's sigma, where asinh has compressed the noise to a quarter and the best denoiser's is far below that of the sky) and in the sky; and of
--n galaxies drawn at TEST's redshifts, each metric's distance from the real ones over the floor, real against real.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from in_words import in_words
from pace import paces
from papers import around_section, write_section

from hubbleflow.files import write_json
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.judge import RedshiftJudge
from hubbleflow.measure import Recipe as MeasureRecipe
from hubbleflow.measure import measure_file
from hubbleflow.metrics import evaluate
from hubbleflow.precision import autocast, resolve_precision
from hubbleflow.report.colour import sheet
from hubbleflow.simulate.numbers import NUMBERS, with_numbers
from hubbleflow.training import Recipe
from hubbleflow.watch import train

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "training.md"
SIGMAS = (0.03, 0.1, 0.3, 1.0, 10.0)
BRIGHT, SKY = 1.0, 0.6  # of the stretched pixel: above, and below in size
DENOISED = 256  # galaxies
MEASURES = MeasureRecipe(shapes=False)
TIMED = 6.0  # seconds of CPU, twice


@dataclass(frozen=True)
class Variant:
    """What differs from the default."""

    what: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def of(self, recipe: Recipe) -> Recipe:
        return replace(recipe, arguments=dict(self.arguments), **self.recipe)


VARIANTS = {
    "default": Variant("as `hubbleflow train` does it"),
    "no-starlet": Variant("no shrinkage of starlet planes", arguments={"scales": 0}),
    "quick-code": Variant("redshift's code up to 32 rad a unit instead of 8", arguments={"condition_frequency": 32.0}),
    "no-mean": Variant("no mean galaxy taken away first", arguments={"mean_widths": 0}),
    "pixels-alike": Variant("a galaxy's pixel counts as one of the sky", arguments={"galaxy_weight": 0.0}),
    "numbers": Variant("through brightness, colours, size, Sersic index and how it lies", {"conditions": ("redshift", *NUMBERS)}),
    "numbers-no-mean": Variant("both", {"conditions": ("redshift", *NUMBERS)}, {"mean_widths": 0}),
    "edm-noise": Variant(
        "noise levels and range of Karras et al. (ln sigma ~ N(-1.2, 1.2^2) at s = 0.5; 80)",
        arguments={"p_mean": -1.2, "p_std": 1.2, "sigma_max": 80.0},
    ),
    "lower-noise": Variant("noise levels half as high", arguments={"p_mean": 0.3}),
    "narrow": Variant("width 32", arguments={"width": 32}),
    "wide": Variant("width 64", arguments={"width": 64}),
    "deep": Variant("two blocks a level", arguments={"blocks": 2}),
    "patch-2": Variant("patches of 2 x 2, width 32, three levels", arguments={"patch": 2, "width": 32, "multipliers": [1, 2, 3]}),
    "patch-1": Variant("no patches, width 16, four levels", arguments={"patch": 1, "width": 16, "multipliers": [1, 2, 4, 6]}),
    "batch-32": Variant("batches of 32", {"batch_size": 32}),
    "fast": Variant("learning rate 0.002", {"learning_rate": 2e-3}),
    "slow": Variant("learning rate 0.0005", {"learning_rate": 5e-4}),
    "no-turns": Variant("no flips and turns", {"augment": False}),
    "min-max": Variant("global min-max instead of asinh", {"stretch": "minmax"}),
}
JUDGED = (
    "galaxy_kl",
    "w1_half_light_radius",
    "w1_magnitude",
    "w1_colours",
    "noise_rms",
    "power_spectrum_galaxy",
    "profile_radial",
    "redshift_loss",
    "frechet_redshift_cnn",
    "c2st_table",
    "c2st_images",
)


def denoising(generator: Generator, galaxies: GalaxySet) -> dict[str, list[float]]:
    """sigma -> rms error over sigma in bright pixels and in the sky."""
    y = generator.stretch(torch.from_numpy(galaxies.images[:])).float()
    c = generator.conditions.encode({name: galaxies.column(name) for name in generator.conditions.names}, True)
    bright, sky = y > BRIGHT, y.abs() < SKY
    found, precision = {}, resolve_precision("auto", torch.device("cpu"))
    with torch.inference_mode(), autocast(precision, torch.device("cpu")):
        for sigma in SIGMAS:
            noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
            parts = [slice(first, first + 64) for first in range(0, len(y), 64)]
            made = [generator.model.denoiser(y[p] + sigma * noise[p], torch.full((len(y[p]),), sigma), c[p]) for p in parts]
            error = (torch.cat(made).float() - y) / sigma
            found[str(sigma)] = [float(error[where].square().mean().sqrt()) for where in (bright, sky)]
    return found


def tried(name: str, recipe: Recipe, sky: GalaxySet, test: GalaxySet, given: argparse.Namespace) -> dict[str, Any]:
    """Train, draw, measure and judge one variant; what is done stays in its folder."""
    folder = given.out / name
    result = folder / "result.json"
    if result.exists():
        found: dict[str, Any] = json.loads(result.read_text())
        return found
    training = train(sky[:-DENOISED], folder / "model", recipe, resume=True, sheets=False)
    generator = Generator.load(folder / "model")
    drawn = folder / "generated.h5"
    rows = np.linspace(0, len(test) - 1, given.n).astype(int)
    generator.generate(drawn, {"redshift": test.redshift[rows]}, seed=0, extrapolate=True)
    measure_file(drawn, recipe=MEASURES)
    made = GalaxySet.open(drawn)
    sheet(made[:: given.n // 48][:48], folder / "sheet.png")
    judge = RedshiftJudge.of(test, made, folder, model=str(given.judge) if given.judge else "none")
    report = evaluate(judge.read(test), judge.read(made), features=judge.features, seed=0)
    known = {metric: report.results[metric] for metric in JUDGED if metric in report.results}
    write_json(
        result,
        {
            "steps": training.step,
            "parameters": generator.n_parameters,
            "denoising": denoising(generator, sky[-DENOISED:]),
            "metrics": {
                metric: {"distance": r.distance, "floor": r.floor, "error": r.error, "z": r.z}
                for metric, r in known.items()
                if r.distance is not None and r.error is not None and r.floor is not None and np.isfinite(r.distance) and r.floor > 0
            },
        },
    )
    return json.loads(result.read_text())  # type: ignore[no-any-return]


def table(found: dict[str, dict[str, Any]], given: argparse.Namespace) -> str:
    """Two tables: denoising, and galaxies."""
    text = [
        f"{given.minutes:g} minutes of one core each; {given.n:,} galaxies drawn.",
        "",
        "Error of the denoiser over sigma, in bright pixels / in the sky:",
        "",
        "| | parameters | steps | " + " | ".join(f"sigma {sigma:g}" for sigma in SIGMAS) + " |",
        "|---" * (3 + len(SIGMAS)) + "|",
    ]
    for name, one in found.items():
        errors = [" / ".join(f"{value:.3f}" for value in one["denoising"][str(sigma)]) for sigma in SIGMAS]
        text.append(f"| {VARIANTS[name].what} | {one['parameters']:,} | {one['steps']:,} | " + " | ".join(errors) + " |")
    metrics = [metric for metric in JUDGED if any(metric in one["metrics"] for one in found.values())]
    text += ["", "Distance from the real galaxies over that of real from real (± its error):", ""]
    text += ["| | " + " | ".join(f"`{metric}`" for metric in metrics) + " |", "|---" * (1 + len(metrics)) + "|"]
    for name, one in found.items():
        cells = []
        for metric in metrics:
            m = one["metrics"].get(metric)
            cells.append(f"{m['distance'] / m['floor']:.1f} ± {(m['error'] or 0) / m['floor']:.1f}" if m else "-")
        text.append(f"| {VARIANTS[name].what} | " + " | ".join(cells) + " |")
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sky", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--judge", type=Path, help="the folder of a li2024-redshift-cnn that has not seen TEST")
    parser.add_argument("--minutes", type=float, default=10.0, help="of CPU for each variant")
    parser.add_argument("--n", type=int, default=1000, help="galaxies that each draws")
    parser.add_argument("--out", type=Path, default=Path("runs/training"))
    parser.add_argument("--only", help="these variants, comma-separated")
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    given = parser.parse_args()
    around_section(given.document, "variants")
    sky, test = with_numbers(GalaxySet.open(given.sky)), GalaxySet.open(given.test)
    given.out.mkdir(parents=True, exist_ok=True)
    names = given.only.split(",") if given.only else list(VARIANTS)
    recipe = Recipe(conditions=("redshift",), steps=1)
    recipes = {name: VARIANTS[name].of(recipe) for name in names}
    seconds = paces(lambda: sky, recipes, given.out / "pace.json", TIMED, time.process_time)
    found = {}
    for name in names:
        steps = round(60 * given.minutes / seconds[name])
        found[name] = tried(name, VARIANTS[name].of(replace(recipe, steps=steps)), sky, test, given)
        print(name, json.dumps(found[name]["denoising"]), flush=True)
    write_section(given.document, "variants", table(found, given))
    print(given.document)


if __name__ == "__main__":
    in_words(main)
