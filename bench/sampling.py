"""The trade: every metric against the number of network evaluations, for every sampler. It writes a section of docs/performance.md.

    OMP_NUM_THREADS=1 python bench/sampling.py MODEL TEST.h5 [--judge JUDGE] [--n 1000] [--extra STUDENT:1,2 ...] [--out runs/sampling]

TEST, measured and with redshifts (`hubbleflow measure`), is what MODEL has not seen. Each sampler draws --n galaxies at TEST's conditions
(what it lacks comes from the model's prior) from the same noise with at most so many --evaluations of the network, and they are measured
and judged like those of any other. The greatest number is for the samplers of --longest alone; the first of them that adds no noise is the
reference, and is drawn before all others. --extra names other models, with the evaluations (steps of their own sampler) that they are made
for. At one evaluation all samplers are one.

Beside the metrics: the rms distance of images from the reference's of the same noise, in stretched flux, over the sky's scatter there. It
falls with the order of the sampler, long after statistics of --n galaxies have ceased to tell. For that the network computes in float32
(--precision auto is what `hubbleflow generate` does).

It may be stopped and started again: galaxies are drawn by the batch into --out, and what is judged is not drawn again. Judged sets are
removed, 80 MB each, except with --keep, with which a metric or a judge can be added without drawing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from in_words import in_words
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator
from papers import around_section, write_section

from hubbleflow.cache import Cache
from hubbleflow.files import write_json
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import BATCH, Generator
from hubbleflow.judge import RedshiftJudge
from hubbleflow.measure import Recipe, is_measured
from hubbleflow.metrics import Metric, Result, Sample, all_metrics
from hubbleflow.metrics.bins import choose_bins
from hubbleflow.metrics.judging import judge_all
from hubbleflow.metrics.splits import SPLITS
from hubbleflow.metrics.streaming import Streaming
from hubbleflow.models import GenerativeModel
from hubbleflow.precision import PRECISIONS, best_device
from hubbleflow.pretrained import find_model
from hubbleflow.report.colour import sky_sigma
from hubbleflow.report.drawing import Drawing, figure, log_axis
from hubbleflow.sampling import SAMPLERS, STOCHASTIC, evaluations, steps_for

DOCS = Path(__file__).resolve().parents[1] / "docs"
EVALUATIONS = (1, 2, 4, 6, 8, 10, 20, 35, 50, 1000)
LONGEST = ("dpm++2m", "edm-stochastic")
HEADLINE = {  # metrics of the table; classifiers (c2st) and what looks at whole images or at twins take longer than the drawing
    "galaxy_kl": "galaxy KL loss (nat)",
    "w1_half_light_radius": "half-light radius, W1 (real std)",
    "w1_magnitude": "magnitude, W1 (real std)",
    "w1_colours": "colours, W1 (real std)",
    "noise_rms": "noise of the sky (ln ratio)",
    "power_spectrum_galaxy": "power spectrum of galaxies",
    "frechet_redshift_cnn": "Frechet, redshift CNN",
    "redshift_loss": "redshift loss",
}
JUDGES = frozenset({"frechet_redshift_cnn", "redshift_loss"})  # need one
MEASURES = Recipe(shapes=False)
SETTLED = 100  # evaluations up to which the order of convergence is taken: beyond, it is that of float32
INDEPENDENT = 2.0  # errors of the difference, between galaxies that are not of one noise
# Paul Tol's muted colours, told apart by every kind of colour vision; and the markers differ, too.
COLOURS = ("#332288", "#cc6677", "#117733", "#e69f00", "#882255", "#56b4e9", "#777777", "#44aa99", "#999933", "#aa4499", "#000000")
MARKERS = "osD^vPX<>*h"
BAND = "#e4e4e4"


@dataclass(frozen=True)
class Draw:
    """One row: who draws, and how."""

    name: str
    generator: Generator = field(repr=False)
    sampler: str | None
    steps: int
    evaluations: int

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.evaluations}"

    @property
    def same_galaxies(self) -> bool:
        """Whether more and more steps lead to the reference's own galaxies."""
        return self.sampler is not None and self.sampler not in STOCHASTIC


@dataclass(frozen=True)
class Found:
    """What came of it: by metric value, distance, error and floor; of the images the rms distance; seconds a galaxy."""

    draw: Draw
    metrics: dict[str, dict[str, float]]
    rms: float
    seconds: dict[str, float]

    def off(self, reference: Found, signed: bool = False) -> dict[str, float]:
        """How far each metric is from the reference's, 1 being what may be by chance; `signed`: how much worse."""
        found = {}
        for name, theirs in reference.metrics.items():
            ours = self.metrics.get(name)
            if ours is None:
                found[name] = math.inf
                continue
            error = theirs["error"] if self.draw.same_galaxies else INDEPENDENT * math.hypot(ours["error"], theirs["error"])
            change = ours["distance"] - theirs["distance"] if signed else abs(ours["value"] - theirs["value"])
            found[name] = change / error if error > 0 else math.copysign(math.inf, change) if change else 0.0
        return found


class Bench:
    """TEST, and all that stays the same from row to row."""

    def __init__(self, generator: Generator, given: argparse.Namespace) -> None:
        self.out: Path = given.out
        self.keep: bool = given.keep
        self.streaming = Streaming(Cache(self.out / "cache"), workers=given.workers, progress=False)
        test = GalaxySet.open(given.test)
        self.test = test if is_measured(test, MEASURES) else self.streaming.measured(test, "real", MEASURES)
        self.judge = RedshiftJudge.of(
            self.test, self.test, self.out, model=str(given.judge) if given.judge else "none", cache=self.streaming.cache
        )
        self.metrics = chosen(given.metrics, bool(given.judge))
        self.conditions_of(generator, given.n)  # says at once if TEST has too few
        self.stretch = generator.stretch
        self.sky = sky_sigma(self.stretched(self.test[:BATCH].in_memory()).numpy())
        self.real = self.sample(self.test, "real")
        self.judge_hash = self.judge.predictor.weights_hash() if self.judge.predictor else ""
        self.made_of = {
            "test": self.streaming.content_hash(self.test),
            "n": given.n,
            "seed": given.seed,
            "precision": given.precision,
            "device": str(generator.device),
        }

    def conditions_of(self, generator: Generator, n: int) -> dict[str, np.ndarray]:
        """n of TEST's usable conditions, evenly over its rows."""
        values = generator.conditions_like(self.test, skip_bad_rows=True)
        known = len(next(iter(values.values())))
        if n > known:
            raise SystemExit(f"TEST has {known} galaxies with usable conditions, --n asks for {n}: take fewer")
        rows = np.linspace(0, known - 1, n).astype(int)
        return {name: value[rows] for name, value in values.items()}

    def stretched(self, galaxies: GalaxySet) -> torch.Tensor:
        return self.stretch(torch.from_numpy(np.asarray(galaxies.images[:], np.float32)))

    def sample(self, galaxies: GalaxySet, which: str) -> Sample:
        """A measured set as metrics see it."""
        galaxies = self.judge.read(galaxies)
        features = {name: self.streaming.features(galaxies, which, name, made) for name, made in self.judge.features.items()}
        predicted = galaxies.columns.get("predicted_redshift")
        return replace(Sample.of(galaxies, predicted), pixels=self.streaming.pixel_columns(galaxies, which), features=features)

    def drawn(self, draw: Draw) -> tuple[GalaxySet, float]:
        """The galaxies, in a file, and the seconds that each took; NaN where they had been drawn before."""
        path, parts = self.set_of(draw), self.out / draw.folder / "parts"
        if path.exists():
            return GalaxySet.open(path), math.nan
        n, begun, made = self.made_of["n"], time.perf_counter(), 0
        conditions = self.conditions_of(draw.generator, n)
        for first in range(0, n, BATCH):  # a batch a file: an hour of a thousand evaluations is not to be lost
            part = parts / f"{first:06d}.h5"
            if not part.exists():
                values = {name: value[first : first + BATCH] for name, value in conditions.items()}
                options: dict[str, Any] = {"steps": draw.steps, "sampler": draw.sampler, "precision": self.made_of["precision"]}
                draw.generator.generate(part, values, self.made_of["seed"], extrapolate=True, offset=first, **options)
                made += min(BATCH, n - first)
        seconds = (time.perf_counter() - begun) / made if made else math.nan
        GalaxySet.concatenate([GalaxySet.open(part) for part in sorted(parts.glob("[0-9]*.h5"))]).write(path)
        shutil.rmtree(parts)
        return GalaxySet.open(path), seconds

    def set_of(self, draw: Draw) -> Path:
        return self.out / draw.folder / "galaxies.h5"

    def rms(self, galaxies: GalaxySet, reference: GalaxySet) -> float:
        """Of the difference from the reference's images, over the sky's scatter."""
        total, sigma = 0.0, torch.from_numpy(self.sky).float()[:, None, None]
        for ours, theirs in zip(galaxies.blocks(), reference.blocks(), strict=True):
            total += float((((self.stretched(ours) - self.stretched(theirs)) / sigma).double() ** 2).sum())
        return math.sqrt(total / float(np.prod(galaxies.images.shape)))

    def row(self, draw: Draw, reference: Draw) -> Found:
        """Draw, measure and judge; what is done stays in a folder, under what it was made of."""
        folder = self.out / draw.folder
        made_of = self.made_of | {"model": draw.generator.weights_hash(), "sampler": draw.sampler, "steps": draw.steps}
        judged_by = {"judge": self.judge_hash, "reference": f"{reference.folder} of {reference.generator.weights_hash()}"}
        label, result = folder / "made_of.json", folder / "result.json"
        if read(label) != made_of:
            shutil.rmtree(folder, ignore_errors=True)
            write_json(label, made_of)
        known = read(result)
        names = [metric.name for metric in self.metrics]
        complete = known.get("judged_by") == judged_by and set(names) <= set(known["asked"])
        if complete and (draw is not reference or self.set_of(draw).exists()):
            metrics = {name: known["metrics"][name] for name in names if name in known["metrics"]}
            return Found(draw, metrics, number(known["rms"]), {what: number(took) for what, took in known["seconds"].items()})
        galaxies, drawing = self.drawn(draw)
        clock = [time.perf_counter()]
        galaxies = self.streaming.measured(galaxies, "generated", MEASURES)
        clock.append(time.perf_counter())
        sample = self.sample(galaxies, "generated")
        judged = judge_all(self.metrics, self.real, sample, choose_bins(self.real, sample), 0, SPLITS, self.streaming.workers, False)
        clock.append(time.perf_counter())
        results = {name: result for name, (result, _) in judged.items()}
        metrics = {name: numbers(one) for name, one in results.items() if one.computed and np.isfinite([one.distance, one.error]).all()}
        if lacking := [name for name in names if name not in metrics]:
            print(f"{draw.folder}: nothing to say of {', '.join(lacking)}: {results[lacking[0]].note}", flush=True)
        rms = 0.0 if draw is reference else self.rms(galaxies, GalaxySet.open(self.set_of(reference)))
        seconds = {"draw": drawing} | {
            what: (b - a) / len(galaxies) for what, (a, b) in zip(("measure", "judge"), pairwise(clock), strict=True)
        }
        if math.isnan(drawing):
            seconds["draw"] = number(known.get("seconds", {}).get("draw"))
        write_json(result, {"judged_by": judged_by, "asked": names, "metrics": metrics, "rms": rms, "seconds": seconds})
        if not self.keep and draw is not reference:
            self.set_of(draw).unlink()
        return Found(draw, metrics, rms, seconds)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def number(value: float | None) -> float:
    """A number that JSON may have lost."""
    return math.nan if value is None else value


def numbers(result: Result) -> dict[str, float]:
    """What is kept of a metric; its floor is 0 where there is none."""
    return {"value": result.value, "distance": result.distance, "error": result.error, "floor": result.floor or 0.0}


def chosen(names: str, judged: bool) -> list[Metric]:
    """The metrics of those names; those that need a judge, if there is one."""
    known = {metric.name: metric for metric in all_metrics()}
    wanted = [name for name in names.split(",") if judged or name not in JUDGES]
    if unknown := [name for name in wanted if name not in known]:
        raise SystemExit(f"no metric {unknown[0]!r}: there are {', '.join(known)}")
    return [known[name] for name in wanted]


def rows_of(generator: Generator, given: argparse.Namespace) -> list[Draw]:
    """Every sampler at every number of evaluations that can be had; the reference first."""
    asked_for = sorted({int(asked) for asked in given.evaluations.split(",")})
    longest = given.longest.split(",")
    # ddim is another name of euler, except in models that have one of their own
    first_of = {function: name for name, function in reversed(SAMPLERS.items())}
    names = given.samplers.split(",") if given.samplers else list(first_of[function] for function in dict.fromkeys(SAMPLERS.values()))
    for name in (*names, *longest):
        steps_for(name, 1)  # says which there are, if it is none of them
    reference = next((name for name in longest if name not in STOCHASTIC), None)
    if reference is None:
        raise SystemExit(f"--longest {given.longest}: the reference must be a sampler that adds no noise")
    found: dict[tuple[str, int], Draw] = {}
    for name in dict.fromkeys([reference, *names]):
        for asked in asked_for:
            steps = steps_for(name, asked)
            made = evaluations(name, steps)
            takers = [reference] if made == 1 else longest if asked == asked_for[-1] else names
            if name in takers:
                found[name, made] = Draw(name, generator, name, steps, made)
    first = found.pop(max(key for key in found if key[0] == reference))
    return [first, *found.values()]


def extras_of(given: argparse.Namespace) -> list[Draw]:
    """Other models at their own evaluations: "FOLDER", or "FOLDER:1,2"."""
    found = []
    for text in given.extra:
        path, _, tail = text.rpartition(":")
        if not path or not tail.replace(",", "").isdigit():
            path, tail = text, ""
        generator = Generator.load(find_model(path), given.device)
        assert isinstance(generator.model, GenerativeModel)
        made = [int(asked) for asked in tail.split(",")] if tail else [generator.model.default_steps()]
        found += [Draw(Path(path).name, generator, None, steps, steps) for steps in made]
    return found


def by_name(found: Sequence[Found]) -> dict[str, list[Found]]:
    """Rows of each sampler, by rising evaluations."""
    names = dict.fromkeys(one.draw.name for one in found)
    return {name: sorted((one for one in found if one.draw.name == name), key=lambda one: one.draw.evaluations) for name in names}


def order_of(rows: Sequence[Found]) -> str:
    """How steeply the rms distance falls: of the two rows of most evaluations."""
    last = [one for one in rows if one.draw.evaluations <= SETTLED and one.rms > 0 and math.isfinite(one.rms)][-2:]
    if len(last) < 2 or not last[0].draw.same_galaxies:
        return "-"
    few, many = last
    slope = math.log(few.rms / many.rms) / math.log(many.draw.evaluations / few.draw.evaluations)
    return f"{slope:.1f} ({few.draw.evaluations} to {many.draw.evaluations})"


def answers(found: Sequence[Found]) -> list[str]:
    """The fewest evaluations with which each sampler is as good as the reference, and which metric asks for them."""
    head = ("", "every metric within the error", "none worse by more", "the last to come within", "order of the images")
    text = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, rows in by_name(found).items():
        off = {one.draw.evaluations: one.off(found[0]) for one in rows}
        worse = {one.draw.evaluations: one.off(found[0], signed=True) for one in rows}
        fewest = [next((made for made, metrics in each.items() if max(metrics.values()) <= 1), None) for each in (off, worse)]
        before = [metrics for made, metrics in off.items() if fewest[0] is None or made < fewest[0]]
        last = f"`{max(before[-1], key=lambda metric: before[-1][metric])}`" if before else "-"
        cells = [f"{made:,}" if made else "none of these" for made in fewest]
        text.append(f"| {name} | {' | '.join(cells)} | {last} | {order_of(rows)} |")
    return text


def table(found: Sequence[Found], n: int, picture: str) -> str:
    """Two tables, of answers and of all numbers, and the figure between them."""
    reference, metrics = found[0], list(found[0].metrics)
    floors = {name: numbers["floor"] for name, numbers in reference.metrics.items()}
    made = reference.draw.evaluations
    text = [
        f"{n:,} galaxies each. The reference is {reference.draw.name} at {made:,} evaluations; the error is the bootstrap's, of its "
        "metrics. Galaxies of one noise share their luck, so that only the samplers' own errors are between them. Those of samplers that "
        f"add noise, and of other models, are other galaxies: they are allowed {INDEPENDENT:g} errors of the difference.",
        "",
        *answers(found),
        "",
        f"![Metrics against network evaluations, by sampler]({picture})",
        "",
        "Distance from the real galaxies over that of real from real (± its bootstrap error); last the rms distance of images from the "
        "reference's, in stretched flux, over the sky's scatter:",
        "",
        "| | evaluations | " + " | ".join(f"`{metric}`" for metric in metrics) + " | rms of images | seconds a galaxy |",
        "|---" * (4 + len(metrics)) + "|",
    ]
    for rows in by_name(found).values():
        for one in rows:
            cells = []
            for metric in metrics:
                m, floor = one.metrics.get(metric), floors[metric] or 1.0
                cells.append(f"{m['distance'] / floor:.2f} ± {m['error'] / floor:.2f}" if m else "-")
            name = "any" if one.draw.evaluations == 1 and one.draw.same_galaxies else one.draw.name
            rms = "reference" if one is reference else f"{one.rms:.2g}"
            text.append(f"| {name} | {one.draw.evaluations:,} | {' | '.join(cells)} | {rms} | {one.seconds['draw']:.3g} |")
    return "\n".join(text)


def drawing(found: Sequence[Found], name: str) -> Drawing:
    """A panel a metric, and one for the images themselves."""
    reference, groups = found[0], by_name(found)
    common = [one for one in groups[reference.draw.name] if one.draw.evaluations == 1]
    panels, columns = [*reference.metrics, ""], 3
    rows = -(-len(panels) // columns)
    with figure(9.6, 0.7 + 2.5 * rows) as page:
        grid = list(page.subplots(rows, columns, squeeze=False).flat)
        for axes, metric in zip(grid, panels, strict=False):
            for place, group in enumerate(groups.values()):
                draw_line(axes, metric, group, common, place, len(groups))
            dress(axes, metric, reference, found)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        handles: list[Artist] = [
            Line2D([], [], **looks(place, group[0].draw), label=name) for place, (name, group) in enumerate(groups.items())
        ]
        handles.append(Line2D([], [], color="#444444", ls=(0, (5, 3)), lw=1, label="real from real"))
        handles.append(Patch(color=BAND, lw=0, label="reference ± error"))
        page.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=9)
    return Drawing(name, page, "The trade", "Each metric against network evaluations, by sampler", "")


def looks(place: int, draw: Draw) -> dict[str, Any]:
    """Of a sampler's line: dotted where its galaxies are not the reference's."""
    style = "-" if draw.same_galaxies else ":"
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
    return {"color": colour, "marker": marker, "ls": style, "ms": 4, "lw": 1.2}


def draw_line(axes: Axes, metric: str, group: Sequence[Found], common: Sequence[Found], place: int, among: int) -> None:
    """One sampler's, a little beside the others', so that error bars can be told apart."""
    rows = [*common, *group] if group[0].draw.sampler and group[0] not in common else list(group)
    beside = 1.006 ** (2 * place - among + 1)
    x = [one.draw.evaluations * (1.0 if one in common else beside) for one in rows]
    if not metric:
        axes.plot(x, [one.rms or math.nan for one in rows], **looks(place, group[0].draw))
        return
    none = {"distance": math.nan, "error": math.nan}
    y, error = ([one.metrics.get(metric, none)[key] for one in rows] for key in ("distance", "error"))
    axes.errorbar(x, y, error, elinewidth=0.7, **looks(place, group[0].draw))


def dress(axes: Axes, metric: str, reference: Found, found: Sequence[Found]) -> None:
    """Scales, words, the floor, and how far the reference's value is known."""
    made = sorted({one.draw.evaluations for one in found})
    axes.set_xscale("log")
    log_axis(axes)
    axes.set_xticks([tick for tick in (1, 2, 5, 10, 20, 50, 100, 1000) if made[0] <= tick <= 1.1 * made[-1]])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("network evaluations")
    if not metric:
        axes.set_title("images, rms from reference (sky sigma)")
        return
    m = reference.metrics[metric]
    heights = [one.metrics[metric]["distance"] for one in found if metric in one.metrics] + [m["floor"]]
    axes.set_ylim(0.6 * min(height for height in heights if height > 0), 1.5 * max(heights))  # error bars may reach below zero
    axes.set_title(HEADLINE.get(metric, metric))
    axes.axhspan(max(m["distance"] - m["error"], 0.0), m["distance"] + m["error"], color=BAND, lw=0, zorder=0)
    if m["floor"] > 0:
        axes.axhline(m["floor"], color="#444444", ls=(0, (5, 3)), lw=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="a generator")
    parser.add_argument("test", type=Path)
    parser.add_argument("--judge", type=Path, help="the folder of a li2024-redshift-cnn that has not seen TEST")
    parser.add_argument("--n", type=int, default=1000, help="galaxies that each draws")
    parser.add_argument("--evaluations", default=",".join(map(str, EVALUATIONS)), help="of the network, comma-separated")
    parser.add_argument("--samplers", help="these, comma-separated; all where not given")
    parser.add_argument("--longest", default=",".join(LONGEST), help="samplers that take the greatest number of evaluations, too")
    parser.add_argument("--extra", nargs="*", default=[], metavar="STUDENT[:1,2]", help="other models, with rows of their own")
    parser.add_argument("--metrics", default=",".join(HEADLINE), help="comma-separated")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--device", default=best_device())
    parser.add_argument("--workers", type=int, help="processes that measure; all cores where not given")
    parser.add_argument("--keep", action="store_true", help="keep the galaxies, 80 MB a row of a thousand")
    parser.add_argument("--out", type=Path, default=Path("runs/sampling"))
    parser.add_argument("--document", type=Path, default=DOCS / "performance.md")
    parser.add_argument("--figure", type=Path, default=DOCS / "figures" / "sampling.png")
    given = parser.parse_args()
    around_section(given.document, "sampling")
    generator = Generator.load(find_model(given.model), given.device)
    draws = [*rows_of(generator, given), *extras_of(given)]
    if len({draw.folder for draw in draws}) < len(draws):
        raise SystemExit("two of the models and samplers have one name: give the folders of --extra others")
    bench, found = Bench(generator, given), []
    for draw in draws:
        found.append(bench.row(draw, draws[0]))
        said = {metric: f"{m['distance']:.3g}" for metric, m in found[-1].metrics.items()}
        took = ", ".join(f"{what} {1000 * seconds:.0f}" for what, seconds in found[-1].seconds.items())
        print(f"{draw.folder:20s} rms {found[-1].rms:.3g} {json.dumps(said)}; ms a galaxy: {took}", flush=True)
    made = drawing(found, given.figure.stem).write_png(given.figure.parent)
    write_section(given.document, "sampling", table(found, given.n, os.path.relpath(made, given.document.parent)))
    print(given.document, made)


if __name__ == "__main__":
    in_words(main)
