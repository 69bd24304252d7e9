"""Which way to one evaluation of the network: students of a teacher, taught for equal CPU time. It writes a part of docs/hsc-student.md.

    OMP_NUM_THREADS=2 python bench/student.py TEACHER SKY.h5 TEST.h5 [--judge JUDGE] [--minutes 10] [--n 500] [--out runs/students]

Every way is timed first, in turns, in seconds of CPU a step, and starts from TEACHER's weights, on SKY, for as many steps as the minutes
hold. Then it draws --n galaxies at TEST's conditions (what TEST lacks comes from the prior of the teacher), from the noise of the teacher's
own, in one evaluation and in two. Beside the metrics: the rms distance of images from the teacher's of the same noise, in stretched flux,
over the sky's scatter. TEST, measured and with redshifts (`hubbleflow measure`), is what TEACHER has not seen.

It may be stopped and started again.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from in_words import in_words
from mean_flow import MeanFlow
from pace import paces
from papers import around_section, write_section
from sampling import HEADLINE, Bench, Draw, Found

from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.models import GenerativeModel
from hubbleflow.precision import PRECISIONS, best_device
from hubbleflow.pretrained import find_model
from hubbleflow.report.colour import sheet
from hubbleflow.simulate.numbers import with_numbers
from hubbleflow.training import Recipe
from hubbleflow.watch import train

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "hsc-student.md"
WAYS = ("consistency", MeanFlow.name)
TIMED, TIMED_ON = 20.0, 2048  # seconds of CPU, twice; galaxies
EVALUATIONS = (1, 2)


def table(found: list[tuple[Found, int]], given: argparse.Namespace) -> str:
    """A row a student and number of evaluations, the teacher first."""
    metrics = list(found[0][0].metrics)
    floors = {name: numbers["floor"] or 1.0 for name, numbers in found[0][0].metrics.items()}
    text = [
        f"{given.minutes:g} minutes of CPU each; {given.n:,} galaxies drawn. Distance from the real galaxies over that of real from real "
        "(± its bootstrap error); last the rms distance of images from the teacher's of the same noise, over the sky's scatter:",
        "",
        "| | steps | evaluations | " + " | ".join(f"`{metric}`" for metric in metrics) + " | rms of images |",
        "|---" * (4 + len(metrics)) + "|",
    ]
    for one, steps in found:
        cells = [f"{m['distance'] / floors[name]:.2f} ± {m['error'] / floors[name]:.2f}" for name, m in one.metrics.items()]
        said = f"{steps:,} | {one.draw.evaluations}" if steps else f"- | {one.draw.evaluations}"
        text.append(f"| {one.draw.name} | {said} | {' | '.join(cells)} | {one.rms:.3f} |")
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("teacher", help="a generator of `edm`")
    parser.add_argument("sky", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--judge", help="a redshift reader that has not seen TEST")
    parser.add_argument("--minutes", type=float, default=10.0, help="of CPU for each way")
    parser.add_argument("--n", type=int, default=500, help="galaxies that each draws")
    parser.add_argument("--only", default=",".join(WAYS), help="these, comma-separated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--metrics", default=",".join(HEADLINE), help="comma-separated")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--device", default=best_device())
    parser.add_argument("--workers", type=int, help="processes that measure; all cores where not given")
    parser.add_argument("--out", type=Path, default=Path("runs/students"))
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    given = parser.parse_args()
    given.keep = True
    around_section(given.document, "students")
    given.out.mkdir(parents=True, exist_ok=True)
    folder = find_model(given.teacher)
    teacher = Generator.load(folder, given.device)
    sky, names = with_numbers(GalaxySet.open(given.sky)), given.only.split(",")
    recipe = Recipe(conditions=teacher.conditions.names, seed=given.seed, start=str(folder), dropout=0.02, snapshots=0)
    recipe = replace(recipe, arguments=dict(teacher.training["arguments"]))
    recipes = {name: replace(recipe, model=name) for name in names}
    seconds = paces(lambda: sky[:TIMED_ON], recipes, given.out / "pace.json", TIMED, time.process_time)
    assert isinstance(teacher.model, GenerativeModel)
    evaluations = teacher.model.default_steps()
    draws, steps = [Draw("teacher", teacher, None, evaluations, evaluations)], [0]
    for name in names:
        made = round(60 * given.minutes / seconds[name])
        train(sky, given.out / "models" / name, replace(recipes[name], steps=made), resume=True, sheets=False)
        student = replace(Generator.load(given.out / "models" / name, given.device), prior=teacher.prior)
        draws += [Draw(name, student, None, each, each) for each in EVALUATIONS]
        steps += [made] * len(EVALUATIONS)
    bench = Bench(teacher, given)
    found = [bench.row(draw, draws[0]) for draw in draws]
    for one in found:
        sheet(GalaxySet.open(bench.set_of(one.draw))[:48], given.out / f"{one.draw.folder}.png")
    write_section(given.document, "students", table(list(zip(found, steps, strict=True)), given))
    print(given.document)


if __name__ == "__main__":
    in_words(main)
