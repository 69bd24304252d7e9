"""Evaluate: two sets of galaxies in, a report out. Any two sets: a generator's against the sky, or two halves of a
survey.

Both sets go through one measurement: a set without measured columns is measured here, and two sets that were measured
by different recipes are both measured again. Images are streamed in blocks; what stays in memory is a table of numbers
and a few dozen pictures. Either side may be a table without images: then metrics of pixels say that they need some.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.cache import Cache
from hubbleflow.errors import InputError
from hubbleflow.files import content_hash, without_nan
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import Flag
from hubbleflow.measured_table import MeasuredTable
from hubbleflow.metrics.alike import measured_alike, survey_notes, tables_among, without_images
from hubbleflow.metrics.bins import Bins, choose_bins
from hubbleflow.metrics.corrections import corrected
from hubbleflow.metrics.examples import Examples, choose_examples, pictures_of
from hubbleflow.metrics.judging import judge_all
from hubbleflow.metrics.metric import all_metrics
from hubbleflow.metrics.morphology import describe
from hubbleflow.metrics.novelty import ClosestPairs, closest_pairs
from hubbleflow.metrics.result import Result
from hubbleflow.metrics.sample import Sample
from hubbleflow.metrics.splits import SPLITS
from hubbleflow.metrics.streaming import Streaming
from hubbleflow.metrics.verdict import verdict
from hubbleflow.metrics.worst import Worst, find_worst

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.metrics.alike import Galaxies
    from hubbleflow.metrics.metric import PixelColumns
    from hubbleflow.metrics.streaming import Features

    PredictRedshift = Callable[[GalaxySet], Float[np.ndarray, " n"]]

PREDICTED = "predicted_redshift"  # a set may bring its own predictions as a column of this name
# Columns that were read from a set's images since: it is the same set with and without them
READ = frozenset({PREDICTED, "redshift_pit", "z_q16", "z_q50", "z_q84", "predicted_category"})
IMAGES_KEPT = 2000  # of each set, for metrics that look at images whole


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
        worst: the generated galaxies that are least like real ones.
        origin: what each set is: "content_hash", "recipe" (of its measurement, a hash), and "model" where it says which drew it.
        seconds: that each metric took; not in metrics.json, which is the same for the same sets.
        closest: the generated galaxies nearest to the training set; None where none was given.
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
    worst: Worst = field(default_factory=Worst)
    origin: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    closest: ClosestPairs | None = None

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
                "real": {**self.counts(self.real), **self.origin.get("real", {})},
                "generated": {**self.counts(self.generated), **self.origin.get("generated", {})},
                "metrics": {name: result.to_dict() for name, result in self.results.items()},
                "bins": {"kind": self.bins.kind, "labels": list(self.bins.labels), "centres": self.bins.centres, "edges": self.bins.edges},
                "quantities": self.described,
                "worst": self.worst.to_dict(),
                **({"closest_pairs": self.closest.to_list()} if self.closest else {}),
                "notes": list(self.notes),
                "seed": self.seed,
                "splits": self.splits,
            }
        )

    def to_json(self) -> str:
        """The text of metrics.json."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


def evaluate(
    real: Galaxies,
    generated: Galaxies,
    predict_redshift: PredictRedshift | None = None,
    seed: int = 0,
    progress: bool = True,
    splits: int = SPLITS,
    features: Mapping[str, Features] | None = None,
    cache: Cache | None = None,
    workers: int | None = None,
    image_features: PixelColumns | None = None,
    training: GalaxySet | None = None,
) -> Report:
    """Compare two sets of galaxies by every metric that they allow.

    Args:
        real, generated: the sets, measured here where they are not; or tables of what was measured.
        predict_redshift: reads a redshift from each image of a set (a network trained on real galaxies); without it a column
            `predicted_redshift` is used where a set has one, and otherwise the redshift metrics say that they need it.
        seed: of the random splits.
        progress: whether to show progress bars on stderr.
        splits: random splits for errors and floors.
        features: name of a network -> what it makes of every image of a set, for distances between sets as that network sees them. Such
            a function's attribute `made_of`, where it has one, is a hash of its weights, by which the cache knows it.
        cache: where measurements, pixel statistics and features are kept; nothing is where not given.
        workers: processes for large sets; None takes all cores. They change no number.
        image_features: what networks that are too slow for all galaxies make of up to 2,000 of each set
            (:class:`hubbleflow.perception.Perception`); `made_of` as above.
        training: the galaxies that the generator has learnt from, in which copies are looked for; `real` should be others.

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
    about_surveys = survey_notes(real, generated)
    streaming = Streaming(cache or Cache(), workers, progress)
    real, generated, measure_notes = measured_alike(real, generated, streaming)
    origin = {"real": _origin(real, streaming), "generated": _origin(generated, streaming)}
    drawn_by = [f"the generated galaxies were drawn by {model}" for model in [origin["generated"].get("model")] if model]
    samples = [
        Sample.of(galaxies, _predictions(galaxies, which, predict_redshift))
        for galaxies, which in ((real, "real"), (generated, "generated"))
    ]
    if isinstance(real, GalaxySet) and isinstance(generated, GalaxySet):  # what is seen on one side only is of no use
        samples = [
            _with_pixels(samples[0], real, "real", streaming, features or {}, image_features, seed),
            _with_pixels(samples[1], generated, "generated", streaming, features or {}, image_features, seed),
        ]
        samples = _with_twins(samples, (real, generated), streaming, seed)
    samples, closest, training_notes = _beside_training(samples, (real, generated), training, streaming, seed)
    bins = choose_bins(*samples)
    judged = judge_all(all_metrics(), samples[0], samples[1], bins, seed, splits, workers, progress)
    tables = tables_among(real, generated)
    results = {name: without_images(result, tables) if tables else result for name, (result, _) in judged.items()}
    described = describe(samples[0], samples[1], bins)
    examples = choose_examples(real, generated, seed)
    worst = find_worst(samples[0], samples[1], bins, {name: entry["label"] for name, entry in described.items()})
    if isinstance(generated, GalaxySet) and not tables:
        worst = replace(worst, pictures=pictures_of(generated, np.array([fault.row for fault in worst.faults], int)))
    notes = (*drawn_by, *about_surveys, *measure_notes, *training_notes, *bins.notes)
    seconds = {name: took for name, (_, took) in judged.items()}
    return Report(
        corrected(results), samples[0], samples[1], bins, described, examples, notes, seed, splits, worst, origin, seconds, closest
    )


def _origin(galaxies: Galaxies, streaming: Streaming) -> dict[str, str]:
    """Which galaxies they are, whatever has been read from them since, and who drew them, where they say so."""
    bare = copy(galaxies)  # with the same images, whose hash is known
    bare.columns = {name: values for name, values in galaxies.columns.items() if name not in READ}
    model = galaxies.provenance.get("model")  # a model trained at small scale calls itself small
    hashes = {"content_hash": streaming.content_hash(bare), "recipe": content_hash(json.dumps(galaxies.recipe, sort_keys=True))}
    return hashes | ({"model": model} if isinstance(model, str) else {})


def _predictions(galaxies: Galaxies, which: str, predict: PredictRedshift | None) -> Float[np.ndarray, " n"] | None:
    if predict is None or isinstance(galaxies, MeasuredTable):
        return np.asarray(galaxies.columns[PREDICTED], float) if PREDICTED in galaxies.columns else None
    predicted = np.asarray(predict(galaxies), float)
    if predicted.shape != (len(galaxies),):
        raise InputError(
            f"the redshift predictor gave shape {predicted.shape} for the {which} set, expected ({len(galaxies)},): one a galaxy"
        )
    return predicted


def _with_pixels(
    sample: Sample,
    galaxies: GalaxySet,
    which: str,
    streaming: Streaming,
    features: Mapping[str, Features],
    image_features: PixelColumns | None,
    seed: int,
) -> Sample:
    rows = np.sort(np.random.default_rng([seed, 7]).permutation(len(galaxies))[:IMAGES_KEPT])
    return replace(
        sample,
        pixels=streaming.pixel_columns(galaxies, which),
        features={name: streaming.features(galaxies, which, name, function) for name, function in features.items()},
        images=np.asarray(galaxies.images[rows], np.float32),
        image_rows=rows,
        image_features=streaming.image_features(galaxies, rows, which, image_features) if image_features else {},
    )


def _with_twins(samples: list[Sample], sets: tuple[GalaxySet, GalaxySet], streaming: Streaming, seed: int) -> list[Sample]:
    size = min(map(len, sets))
    return [
        replace(sample, pixels=sample.pixels | streaming.twins(galaxies, which, size, seed))
        for sample, galaxies, which in zip(samples, sets, ("real", "generated"), strict=True)
    ]


def _beside_training(
    samples: list[Sample], sets: tuple[Galaxies, Galaxies], training: GalaxySet | None, streaming: Streaming, seed: int
) -> tuple[list[Sample], ClosestPairs | None, tuple[str, ...]]:
    """The samples with their distances to the training set, the closest pairs, and why there are none, if there are none."""
    if training is None:
        return samples, None, ()
    real, generated = sets
    if isinstance(real, MeasuredTable) or isinstance(generated, MeasuredTable):
        return samples, None, ("copies of training galaxies were not looked for: a table has no images",)
    kinds = [(galaxies.bands, galaxies.survey.unit, galaxies.images.shape[2:]) for galaxies in (training, real, generated)]
    if len(set(kinds)) > 1 or not len(training):
        return samples, None, ("copies of training galaxies were not looked for: its bands, unit or stamp size are not those of both sets",)
    columns = [streaming.beside_training(s, which, training, seed) for s, which in ((real, "real"), (generated, "generated"))]
    samples = [replace(sample, pixels=sample.pixels | found) for sample, found in zip(samples, columns, strict=True)]
    return samples, closest_pairs(generated, training, columns[1]), ()
