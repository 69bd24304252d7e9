"""One paper again: its models trained, asked, measured and judged like ours, stage by stage, in a folder.

    FOLDER/sky.h5                    the mock sky, where no data is given
    FOLDER/test.h5                   galaxies to judge by, measured
    FOLDER/judge/                    the paper's network that reads galaxies
    FOLDER/MODEL/model/              each generator
    FOLDER/MODEL/generated.h5        its galaxies, measured
    FOLDER/MODEL/report/             what `evaluate` says of them
    FOLDER/reproduce.{json,md,html}  all of it side by side

Each model keeps its paper's schedule, sampler, losses and stretch (but for those that are asked for on another one); at small scale also
those batches and learning rates that its file gives for it.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hubbleflow import __version__
from hubbleflow.conditions import Condition
from hubbleflow.counting import counting
from hubbleflow.errors import InputError
from hubbleflow.files import atomic_path, write_json
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.judge import CategoryJudge, RedshiftJudge, judge_recipe
from hubbleflow.measure import Recipe as MeasureRecipe
from hubbleflow.measure import measure_file
from hubbleflow.metrics import evaluate
from hubbleflow.models import Model, get_model
from hubbleflow.models.from_file import code_hash
from hubbleflow.precision import best_device
from hubbleflow.predictor import Predictor
from hubbleflow.report import write_report
from hubbleflow.reproduce.comparison import Comparison, Entry
from hubbleflow.reproduce.contestant import Contestant
from hubbleflow.reproduce.cost import estimate, in_words
from hubbleflow.reproduce.page import page
from hubbleflow.reproduce.paper import Paper
from hubbleflow.reproduce.settings import Settings
from hubbleflow.reproduce.stages import Stages
from hubbleflow.simulate import simulate
from hubbleflow.training import Recipe
from hubbleflow.watch import train

JUDGE_MINUTES = {"category-cnn": 8.0, "li2024-redshift-cnn": 15.0}  # at most: both are small networks
SHARES = (0.8, 0.2)  # to train on and to judge by
PART = 128  # galaxies drawn between two points that a killed run can go on from
# What is in question are shapes: Sersic profiles yes; concentration, asymmetry, Gini and M20 are in neither paper.
MEASURES = MeasureRecipe(shapes=False)


class Reproduction:
    """A paper's models under one roof; `run` does what has not been done.

    Args:
        paper: which.
        folder: where; a run that was interrupted there goes on.
        settings: how.

    Raises:
        InputError: a model that does not exist or cannot draw; an unknown stretch.
    """

    def __init__(self, paper: Paper, folder: Path, settings: Settings) -> None:
        self.paper, self.folder, self.settings = paper, folder, settings
        self.contestants = tuple(dict.fromkeys(Contestant.parse(text) for text in (*paper.models, *settings.others)))
        # Opened before the folder is made: a set that cannot be read leaves nothing behind.
        self.data = None if settings.data is None else GalaxySet.open(settings.data)
        galaxies = settings.galaxies if settings.data is None else str(settings.data.resolve())
        begun = {"seed": settings.seed, "scale": settings.scale, "galaxies": galaxies}  # which a training cannot go on without
        self.stages = Stages(folder, 3 + 3 * len(self.contestants) + (settings.data is None), begun)

    def run(self) -> Comparison:
        """All stages; the comparison is also written into the folder."""
        settings, paper = self.settings, self.paper
        source, origin = self._source()
        learn, held_out = self._parts(source)
        if settings.scale == "paper" and best_device() == "cpu":
            self._warn(learn)
        test = self.folder / "test.h5"
        tested = self.stages.run(
            "test",
            f"measure real galaxies to judge by, of {len(held_out):,}",
            [origin, settings.seed, settings.n, paper.condition, MEASURES.attrs(), str(settings.test)],
            lambda fingerprint: self._test(held_out, test),
            test,
        )
        judge = self._judge_recipe()
        judging = self._train("judge", judge.model, judge, learn, origin, self.folder / "judge")
        for contestant in self.contestants:
            key, folder, title = contestant.key, self.folder / contestant.key, contestant.titled(settings.scale)
            trained = self._train(key, title, self._recipe(contestant), learn, origin, folder / "model")
            drawn = self.stages.run(
                f"{key}: draw",
                f"draw {settings.n:,} galaxies with {title}",
                [trained, tested, settings.n, settings.seed, self._sampler_steps(contestant), paper.asked, list(paper.between)],
                partial(self._draw, folder, contestant),
                folder / "generated.h5",
            )
            self.stages.run(
                f"{key}: judge",
                f"measure and judge the galaxies of {title}",
                [drawn, tested, judging, __version__],
                partial(self._evaluate, folder),
                folder / "report" / "metrics.json",
            )
        comparison = Comparison(paper, tuple(self._entry(contestant) for contestant in self.contestants), tuple(self._made_of(learn)))
        self.stages.run(
            "tables",
            "tables and figures side by side",
            [comparison.to_dict()],
            lambda _: self._write(comparison),
            self.folder / "reproduce.html",
        )
        return comparison

    # -- galaxies ---------------------------------------------------------------------------------------------------------------
    def _source(self) -> tuple[GalaxySet, Any]:
        """The galaxies to learn from, with something that changes when they do."""
        settings = self.settings
        if settings.data is not None:
            status = [(path.stat().st_size, path.stat().st_mtime_ns) for path in (settings.data, settings.test) if path and path.exists()]
            return GalaxySet.open(settings.data) if self.data is None else self.data, [str(settings.data.resolve()), status]
        path = self.folder / "sky.h5"
        fingerprint = self.stages.run(
            "sky",
            f"a mock sky of {settings.galaxies:,} galaxies",
            [settings.galaxies, settings.seed, __version__],
            lambda fingerprint: simulate(path, settings.galaxies, settings.seed + 1),
            path,
        )
        return GalaxySet.open(path), fingerprint

    def _parts(self, source: GalaxySet) -> tuple[GalaxySet, GalaxySet]:
        if self.settings.test is not None:
            return _usable(source, self.paper.condition), _usable(GalaxySet.open(self.settings.test), self.paper.condition)
        learn, held_out = _usable(source, self.paper.condition).split(SHARES, self.settings.seed)
        return learn, held_out

    def _test(self, held_out: GalaxySet, path: Path) -> None:
        """At most twice as many as are drawn (two real halves are as large, then), without what generated galaxies lack; measured."""
        rng = np.random.default_rng([self.settings.seed, 5])
        rows = np.sort(rng.permutation(len(held_out))[: 2 * self.settings.n])
        some = held_out[rows]
        GalaxySet(some.images, some.survey, some.columns, provenance=some.provenance).write(path)
        measure_file(path, recipe=MEASURES)

    def _asked(self, generator: Generator) -> dict[str, np.ndarray]:
        """What the galaxies are asked for."""
        rng, n, paper = np.random.default_rng([self.settings.seed, 6]), self.settings.n, self.paper
        if paper.asked == "uniform":
            return {paper.condition: rng.uniform(*paper.between, n)}
        if paper.asked == "equal":
            return {paper.condition: np.resize(np.array(generator.conditions.columns[0].classes), n)}
        values = GalaxySet.open(self.folder / "test.h5").column(paper.condition)
        return {paper.condition: np.resize(rng.permutation(values), n)}

    # -- models -----------------------------------------------------------------------------------------------------------------
    def recipes(self) -> dict[str, Recipe]:
        """How each network will be trained; the judge is "judge"."""
        return {"judge": self._judge_recipe()} | {contestant.key: self._recipe(contestant) for contestant in self.contestants}

    def _recipe(self, contestant: Contestant) -> Recipe:
        settings = self.settings
        recipe = Recipe(
            model=contestant.model,
            scale=settings.scale,
            conditions=(self.paper.condition,),
            minutes=settings.budget,
            seed=settings.seed,
            stretch=contestant.stretch,
        )
        return self._paced(contestant.model, recipe)

    def _paced(self, name: str, recipe: Recipe) -> Recipe:
        """Minutes turned into steps, where it is known how long one takes."""
        seconds = self.settings.pace.get(name)
        return (
            recipe
            if seconds is None or not recipe.minutes
            else replace(recipe, minutes=None, steps=max(1, round(60 * recipe.minutes / seconds)))
        )

    def _judge_recipe(self) -> Recipe:
        settings, name = self.settings, self.paper.judge
        minutes = min(settings.budget, JUDGE_MINUTES[name]) if settings.budget else None
        if name == "li2024-redshift-cnn":
            if settings.scale == "small":
                return self._paced("judge", judge_recipe(settings.seed, minutes=minutes))
            return Recipe(model=name, minutes=minutes, seed=settings.seed, stretch="none", ema=0.0)  # as far as its paper says
        return self._paced("judge", Recipe(model=name, conditions=(self.paper.condition,), minutes=minutes, seed=settings.seed))

    def _train(self, name: str, title: str, recipe: Recipe, learn: GalaxySet, origin: Any, folder: Path) -> str:
        budget = f"for {recipe.minutes:g} minutes" if recipe.minutes else f"for {recipe.with_defaults().steps:,} steps"
        paced, which = ("judge", f"train the judge, {title},") if name == "judge" else (recipe.model, f"train {title}")

        def work(fingerprint: str) -> None:
            # Galaxies drawn on the way would cost the slow samplers more of the budget than the fast ones.
            training = train(learn, folder, recipe, resume=True, sheets=False)
            trained = training.averaged()
            write_json(
                folder / "trained.json",
                {
                    "title": title,
                    "parameters": trained.n_parameters,
                    "steps": training.step,
                    "batch_size": training.recipe.batch_size,
                    "minutes": training.step * self.settings.pace.get(paced, training.seconds / max(training.step, 1)) / 60,
                },
            )

        made_of = [origin, repr(recipe.with_defaults()), self.paper.condition, code_hash(get_model(recipe.model))]
        return self.stages.run(f"{name}: train", f"{which} {budget}", made_of, work, folder / "trained.json")

    def _sampler_steps(self, contestant: Contestant) -> int:
        """The model's own, or fewer where fewer are allowed."""
        own = contestant.kind.default_steps()
        return min(own, self.settings.steps or own)

    def _in_fewer_steps(self, contestant: Contestant) -> bool:
        return self._sampler_steps(contestant) < contestant.kind.default_steps()

    def _draw(self, folder: Path, contestant: Contestant, fingerprint: str) -> None:
        """In parts, which a killed run leaves behind for the next."""
        generator, settings = Generator.load(folder / "model", best_device()), self.settings
        values, parts = self._asked(generator), folder / f"parts-{fingerprint[:12]}"
        for old in folder.glob("parts-*"):
            if old != parts:
                shutil.rmtree(old)
        paths = []
        with counting("drawing galaxies", settings.n) as on_progress:
            for first in range(0, settings.n, PART):
                some = {column: value[first : first + PART] for column, value in values.items()}
                path = parts / f"{first:06d}.h5"
                if path.exists():
                    on_progress(len(some[self.paper.condition]))
                else:
                    steps = self.settings.steps if self._in_fewer_steps(contestant) else None
                    generator.generate(path, some, settings.seed, steps=steps, extrapolate=True, offset=first, on_progress=on_progress)
                paths.append(path)
        drawn = [GalaxySet.open(path) for path in paths]
        whole = GalaxySet.concatenate(drawn)
        whole.provenance = drawn[0].provenance
        whole.write(folder / "generated.h5")
        shutil.rmtree(parts)

    def _evaluate(self, folder: Path, fingerprint: str) -> None:
        measure_file(folder / "generated.h5", recipe=MEASURES)
        real, made = GalaxySet.open(self.folder / "test.h5"), GalaxySet.open(folder / "generated.h5")
        reader = Predictor.load(self.folder / "judge", best_device())
        seen = f"{reader.training['n']:,} real galaxies, none of which it judges"
        note = f"the judge is a {reader.title} after {reader.progress['steps']} steps on {seen}"
        judge = (RedshiftJudge if self.paper.condition == "redshift" else CategoryJudge)(reader, note, real)
        report = evaluate(judge.read(real), judge.read(made), seed=self.settings.seed, features=judge.features)
        write_report(replace(report, notes=(note, *report.notes)), folder / "report")

    # -- what is written --------------------------------------------------------------------------------------------------------
    def _entry(self, contestant: Contestant) -> Entry:
        folder = self.folder / contestant.key
        trained = json.loads((folder / "model" / "trained.json").read_text())
        report = json.loads((folder / "report" / "metrics.json").read_text())
        return Entry(contestant.key, **trained, drawn_in=self._sampler_steps(contestant), report=report)

    def _made_of(self, learn: GalaxySet) -> list[str]:
        settings, asked = self.settings, GalaxySet.open(self.folder / "test.h5")
        where = "a mock sky of this package" if settings.data is None else f"{settings.data.name} ({learn.survey.name})"
        judge, budget = self._judge_recipe(), "for its authors' own number of steps"
        if settings.budget:
            longest = min(settings.budget, JUDGE_MINUTES[judge.model])
            counted = " (counted in steps, each network's timed before on a machine with nothing else to do)" if settings.pace else ""
            budget = f"for {settings.budget:g} minutes, the judge ({judge.model}) for {longest:g}{counted}"
        how = {
            "test": f"at the {self.paper.condition} of the real galaxies judged by",
            "uniform": f"at redshifts drawn uniformly from {self.paper.between[0]:g} to {self.paper.between[1]:g}",
            "equal": "as many of each category",
        }[self.paper.asked]
        lines = [
            f"Galaxies: {where}; {len(learn):,} to train on, {len(asked):,} others to judge by; every model drew {settings.n:,}, {how}",
            f"Every network was trained on them {budget}; seed {settings.seed}; hubbleflow {__version__}",
        ]
        kinds = list(dict.fromkeys(contestant.kind for contestant in self.contestants))
        small = [kind for kind in kinds if kind.titled(settings.scale) != kind.name]
        if small:
            each = ", ".join(f"{kind.titled('small')} {_training_words(kind)}" for kind in small)
            lines.append(
                f"Not the published size: of its paper's design with narrower layers, and trained in other batches and at other learning "
                f"rates, so that it learns something in this time: {each}"
            )
        fewer = [contestant.titled(settings.scale) for contestant in self.contestants if self._in_fewer_steps(contestant)]
        if fewer:
            lines.append(f"Not the published sampler: {', '.join(fewer)} drew in {settings.steps} steps")
        stretched = [contestant for contestant in self.contestants if contestant.stretch]
        if stretched:
            names = ", ".join(contestant.titled(settings.scale) for contestant in stretched)
            lines.append(f"Not the published stretch of the flux, which is in the row of the same name without it: {names}")
        return lines

    def _write(self, comparison: Comparison) -> None:
        write_json(self.folder / "reproduce.json", comparison.to_dict() | {"scale": self.settings.scale, "n": self.settings.n})
        texts = {
            "reproduce.md": f"# {self.paper.citation}: reproduced\n\n{comparison.markdown()}",
            "reproduce.html": page(comparison, self.folder),
        }
        for name, text in texts.items():
            with atomic_path(self.folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8")

    def _warn(self, learn: GalaxySet) -> None:
        """Say how long the published sizes take without a GPU."""
        for contestant in self.contestants:
            training, drawing = estimate(learn, self._recipe(contestant), self.settings.n)
            print(
                f"warning: {contestant.titled('paper')} at its published size on this CPU: about {in_words(training)} of training and "
                f"{in_words(drawing)} of drawing; a GPU, --scale small or --minutes shortens it",
                file=sys.stderr,
            )


def _training_words(kind: type[Model]) -> str:
    small, own = kind.training_at("small"), kind.defaults
    return f"(batches of {small.batch_size} at {small.learning_rate:g}, published {own.batch_size} at {own.learning_rate:g})"


def _usable(galaxies: GalaxySet, condition: str) -> GalaxySet:
    """Those whose condition is known."""
    usable = Condition(condition, "").usable(galaxies.column(condition))
    if not usable.any():
        raise InputError(f"no galaxy of {galaxies.path} has a usable {condition}: nothing can be reproduced on it")
    return galaxies if usable.all() else galaxies[usable]


def reproduce(paper: Paper, folder: Path, settings: Settings) -> Comparison:
    """Reproduce a paper in a folder; see :class:`Reproduction`."""
    return Reproduction(paper, folder, settings).run()
