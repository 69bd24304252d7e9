"""Evaluate: two sets of galaxies in, a report out. Any two sets: a generator's against the sky, or two halves of a
survey.

Both sets go through one measurement: a set without measured columns is measured here, and two sets that were measured
by different recipes are both measured again. Images are streamed in blocks; what stays in memory is a table of numbers
and a few dozen pictures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hubbleflow.errors import InputError
from hubbleflow.files import without_nan
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import Flag, Recipe, measure
from hubbleflow.metrics.bins import Bins, choose_bins
from hubbleflow.metrics.examples import Examples, choose_examples
from hubbleflow.metrics.metric import all_metrics, pixel_functions
from hubbleflow.metrics.morphology import describe
from hubbleflow.metrics.result import Result
from hubbleflow.metrics.sample import Sample
from hubbleflow.metrics.splits import SPLITS, judge
from hubbleflow.metrics.verdict import verdict

if TYPE_CHECKING:
    from jaxtyping import Float

    PredictRedshift = Callable[[GalaxySet], Float[np.ndarray, " n"]]

# What sets that bring no measurements are measured by. No Sersic fit: the sky's sets ship their PSF and a generator's do not, so that one
# would be fitted with the PSF and the other with a guess of it. Where both bring the columns, they are compared.
RECIPE = Recipe(sersic=False, shapes=False)
PREDICTED = "predicted_redshift"  # a set may bring its own predictions as a column of this name


@dataclass(frozen=True)
class Report:
    """Everything that was found; :func:`hubbleflow.report.write_report` draws it.

    Attributes:
        results: by metric name.
        real, generated: the two tables.
        bins: of redshift or category.
        described: histograms and means of each measured quantity.
        examples: the galaxies shown.
        notes: sentences about the comparison as a whole.
        seed, splits: what the numbers depend on besides the sets.
    """

    results: dict[str, Result]
    real: Sample
    generated: Sample
    bins: Bins
    described: dict[str, dict[str, Any]]
    examples: Examples
    notes: tuple[str, ...]
    seed: int
    splits: int

    def counts(self, sample: Sample) -> dict[str, Any]:
        """Number of galaxies, how many are flagged, the share, and how many carry each untrusted bit."""
        flagged = int(sample.flagged.sum())
        bits = {}
        if sample.has_flags:
            values = np.asarray(sample.measured["flag"]).astype(np.int64)
            bits = {str(bit.name): int(((values & int(bit)) != 0).sum()) for bit in Flag}
        return {
            "n": len(sample),
            "flagged": flagged,
            "flagged_fraction": flagged / max(len(sample), 1),
            "flags": {name: number for name, number in bits.items() if number},
        }

    def verdict(self) -> tuple[str, str, str]:
        """Three plain sentences computed from the numbers."""
        return verdict(self.results, self.counts(self.real), self.counts(self.generated))

    def summary(self) -> str:
        """The verdict as three lines of text."""
        return "\n".join(self.verdict())

    def to_dict(self) -> dict[str, Any]:
        """What metrics.json holds: {"real": {"n", "flagged", ..}, "generated": {..}, "metrics": {name: {..}}, ..}; no NaN."""
        return without_nan(
            {
                "format": 1,
                "verdict": list(self.verdict()),
                "real": self.counts(self.real),
                "generated": self.counts(self.generated),
                "metrics": {name: result.to_dict() for name, result in self.results.items()},
                "bins": {"kind": self.bins.kind, "labels": list(self.bins.labels), "centres": self.bins.centres, "edges": self.bins.edges},
                "quantities": self.described,
                "notes": list(self.notes),
                "seed": self.seed,
                "splits": self.splits,
            }
        )

    def to_json(self) -> str:
        """The text of metrics.json."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


def evaluate(
    real: GalaxySet,
    generated: GalaxySet,
    predict_redshift: PredictRedshift | None = None,
    seed: int = 0,
    progress: bool = True,
    splits: int = SPLITS,
) -> Report:
    """Compare two sets of galaxies by every metric that they allow.

    Args:
        real, generated: the sets; measured here where they are not.
        predict_redshift: reads a redshift from each image of a set (a network trained on real galaxies); without it a column
            `predicted_redshift` is used where a set has one, and otherwise the redshift metrics say that they need it.
        seed: of the random splits.
        progress: whether to show progress bars on stderr.
        splits: random splits for errors and floors.

    Raises:
        InputError: a set is empty, or the two share no band.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> rng = np.random.default_rng(0)
        >>> table = lambda: {"i_mag": rng.normal(22, 1, 100), "flag": np.zeros(100, int)}
        >>> sky, made = (GalaxySet(rng.normal(0, 1, (100, 1, 16, 16)), Survey.get("hsc-i"), measured=table()) for _ in range(2))
        >>> report = evaluate(sky, made, progress=False, splits=10)
        >>> report.results["w1_magnitude"].within_floor
        True
    """
    for galaxies, which in ((real, "real"), (generated, "generated")):
        if not len(galaxies):
            raise InputError(f"the {which} set holds no galaxies: there is nothing to evaluate")
    notes = (*_origin(generated), *_survey_notes(real, generated))
    real, generated, measure_notes = _measured_alike(real, generated, progress)
    samples = []
    for galaxies, which in ((real, "real"), (generated, "generated")):
        predicted = _predictions(galaxies, which, predict_redshift)
        samples.append(replace(Sample.of(galaxies, predicted), pixels=_pixel_columns(galaxies, which, progress)))
    bins = choose_bins(*samples)
    results = {}
    metrics = all_metrics()
    with progress_bar("judging", "metrics", len(metrics), progress) as advance:
        for metric in metrics:
            results[metric.name] = judge(metric, samples[0], samples[1], bins, seed, splits)
            advance(1)
    described = describe(samples[0], samples[1], bins)
    examples = choose_examples(real, generated, seed)
    return Report(results, samples[0], samples[1], bins, described, examples, (*notes, *measure_notes, *bins.notes), seed, splits)


def _origin(generated: GalaxySet) -> tuple[str, ...]:
    """Who drew the galaxies, where they say so: a model trained at small scale calls itself small."""
    model = generated.provenance.get("model")
    return (f"the generated galaxies were drawn by {model}",) if isinstance(model, str) else ()


def _survey_notes(real: GalaxySet, generated: GalaxySet) -> tuple[str, ...]:
    ours, theirs = real.survey, generated.survey
    if not set(ours.bands) & set(theirs.bands):
        raise InputError(
            f"the real set has bands {', '.join(ours.bands)} and the generated one {', '.join(theirs.bands)}: none in common to compare"
        )
    notes = []
    if ours.bands != theirs.bands:
        notes.append(
            f"the real set has bands {', '.join(ours.bands)}, the generated one {', '.join(theirs.bands)}: "
            "only those in common are compared"
        )
    if ours.pixel_scale_arcsec != theirs.pixel_scale_arcsec:
        scales = [f"{s.pixel_scale_arcsec} arcsec" if s.pixel_scale_arcsec else "an unknown scale" for s in (ours, theirs)]
        notes.append(f"pixels are {scales[0]} in the real set and {scales[1]} in the generated one: sizes in pixels do not mean the same")
    if (ours.unit, ours.zero_point) != (theirs.unit, theirs.zero_point):
        notes.append(
            f"flux is in {ours.unit} (zero point {ours.zero_point}) in the real set, "
            f"{theirs.unit} ({theirs.zero_point}) in the generated one"
        )
    if real.images.shape[2:] != generated.images.shape[2:]:
        shapes = ["x".join(map(str, s.images.shape[2:])) for s in (real, generated)]
        notes.append(
            f"stamps are {shapes[0]} px in the real set and {shapes[1]} px in the generated one: areas are cut off at different limits"
        )
    return tuple(notes)


def _measured_alike(real: GalaxySet, generated: GalaxySet, progress: bool) -> tuple[GalaxySet, GalaxySet, tuple[str, ...]]:
    """Both sets with columns of one recipe."""
    notes: tuple[str, ...] = ()
    if real.measured and generated.measured and real.recipe != generated.recipe:
        notes = ("the two sets had been measured by different recipes, so both were measured again",)
        real, generated = (_measured(galaxies, progress) for galaxies in (real, generated))
    real, generated = (s if s.measured else _measured(s, progress) for s in (real, generated))
    if real.recipe != generated.recipe:  # one brought columns of another recipe than ours of today
        notes = ("one set had been measured by another recipe than this version's, so both were measured again",)
        real, generated = (_measured(galaxies, progress) for galaxies in (real, generated))
    return real, generated, notes


def _measured(galaxies: GalaxySet, progress: bool) -> GalaxySet:
    return measure(galaxies, progress=progress, recipe=RECIPE).added_to(galaxies)


def _predictions(galaxies: GalaxySet, which: str, predict: PredictRedshift | None) -> Float[np.ndarray, " n"] | None:
    if predict is None:
        return np.asarray(galaxies.columns[PREDICTED], float) if PREDICTED in galaxies.columns else None
    predicted = np.asarray(predict(galaxies), float)
    if predicted.shape != (len(galaxies),):
        raise InputError(
            f"the redshift predictor gave shape {predicted.shape} for the {which} set, expected ({len(galaxies)},): one a galaxy"
        )
    return predicted


def _pixel_columns(galaxies: GalaxySet, which: str, progress: bool) -> dict[str, np.ndarray]:
    functions = pixel_functions()
    pieces: dict[str, list[np.ndarray]] = {}
    with progress_bar(f"{which} pixels", "galaxies", len(galaxies), progress) as advance:
        for block in galaxies.blocks():
            for function in functions:
                for name, values in function(np.asarray(block.images), galaxies.survey).items():
                    pieces.setdefault(name, []).append(values)
            advance(len(block))
    return {name: np.concatenate(parts) for name, parts in pieces.items()}


@contextmanager
def progress_bar(verb: str, noun: str, total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar on stderr; gives a function to advance it by, which does nothing where it is not shown."""
    if not shown:
        yield lambda number: None
        return
    columns = (TextColumn(verb), BarColumn(), MofNCompleteColumn(), TextColumn(noun), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(verb, total=total)
        yield lambda number: bar.advance(task, number)
