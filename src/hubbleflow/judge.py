"""The judges: networks that read a redshift, or a category, off an image, trained on real galaxies that they are not then asked about.

`evaluate` wants what a network reads from each image. Where the user names a trained model, that reads it. Where not, a judge (Li 2024's
network for redshifts, a small classifier for categories) is trained on one half of the real galaxies that have what is to be read, and
reads the others: no galaxy is judged by a network that has seen it. What it reads goes into columns (`predicted_redshift`, of a density
also its quantiles and `redshift_pit`; `predicted_category`), empty for galaxies that it has seen, so that every other metric still has the
whole set. What its last hidden layers make of each image, in the same pass, is `features`, empty for those galaxies likewise.

With a cache the judge stands there, under the real galaxies' hash: however many generators are judged by one real set, one network does it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from hubbleflow.cache import Cache
from hubbleflow.counting import counting
from hubbleflow.errors import InputError
from hubbleflow.files import content_hash
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measured_table import MeasuredTable
from hubbleflow.metrics.bins import UNKNOWN
from hubbleflow.metrics.redshift_density import PIT
from hubbleflow.model_folder import CONFIG, WEIGHTS
from hubbleflow.predictor import Predictor, density_of
from hubbleflow.training import Recipe
from hubbleflow.watch import train

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.metrics.streaming import Features

FEWEST = 400  # real galaxies with redshifts (categories) below which no judge is trained
STEPS, CATEGORY_STEPS = 1200, 800

Galaxies = GalaxySet | MeasuredTable


@dataclass
class Judge:
    """A predictor of one condition (None: it is not judged), why, and which galaxies of the real set it has seen.

    Attributes:
        predictor: the network.
        note: one sentence for the report; "" where there is nothing to say.
        real: the real set that was given.
        seen: rows of it that trained the judge.
        cache: where trained judges, and what they read, are kept.
        workers: processes that look at a set for the cache.
        made: of images that were read, their features.
    """

    predictor: Predictor | None
    note: str
    real: Galaxies
    seen: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    cache: Cache = field(default_factory=Cache)
    workers: int | None = None
    made: list[tuple[Any, Float[np.ndarray, "n d"]]] = field(default_factory=list, repr=False)

    condition: ClassVar[str]
    things: ClassVar[str]  # what it reads, in a sentence
    option: ClassVar[str]  # of the command line, which names a model
    kind: ClassVar[str]  # the cache's name for it
    advice: ClassVar[str]  # models that read it

    @classmethod
    def of(
        cls,
        real: Galaxies,
        generated: Galaxies,
        folder: str | os.PathLike[str],
        model: str | None = None,
        steps: int | None = None,
        seed: int = 0,
        cache: Cache | None = None,
        workers: int | None = None,
    ) -> Self:
        """Open `model`, or train one on half of `real` into a folder of its own within the cache, or without one `folder`; "none" does
        neither.

        A judge of the same galaxies, steps and seed that stands there from an earlier evaluation is used again.

        Raises:
            InputError: the model does not read that, or not of this survey.
        """
        cache = cache or Cache()
        if model == "none":
            return cls(None, f"{cls.things} were not judged: {cls.option} none", real)
        if isinstance(real, MeasuredTable) or isinstance(generated, MeasuredTable):
            which = "real" if isinstance(real, MeasuredTable) else "generated"
            return cls(None, f"{cls.things} were not read from images: the {which} set is a table and has none", real)
        if model is not None:
            predictor = Predictor.from_pretrained(model)
            if predictor.conditions.names != (cls.condition,):
                raise InputError(f"{model} reads {', '.join(predictor.conditions.names)}, not {cls.things}: give {cls.advice}")
            for galaxies in (real, generated):
                predictor.check_survey(galaxies, f"with {cls.option} {model}")
            return cls(predictor, f"{cls.things} read by {model}", real, cache=cache, workers=workers)
        known = np.flatnonzero(cls.known(real))
        reason = cls.why_not(real, generated, known)
        if reason is not None:
            return cls(None, reason and f"{cls.things} were not judged: {reason}", real)
        order = np.random.default_rng(seed).permutation(known)
        seen = np.sort(order[: len(order) // 2])
        predictor = _trained(cls, real, seen, cls.recipe(seed, steps), Path(folder), cache, workers)
        which = f"{len(seen)} of the real galaxies, which it does not judge"
        note = f"{cls.things} read by a {predictor.model.name} after {predictor.progress['steps']} steps on {which}"
        return cls(predictor, note, real, seen, cache, workers)

    @classmethod
    def known(cls, galaxies: GalaxySet) -> np.ndarray:
        """(n,) whether what is to be read is known."""
        raise NotImplementedError

    @classmethod
    def why_not(cls, real: GalaxySet, generated: GalaxySet, known: np.ndarray) -> str | None:
        """Why no judge can be trained ("" where there is nothing to say); None where one can."""
        if len(known) < FEWEST:
            return f"{len(known)} real galaxies have a {cls.condition}, at least {FEWEST} are needed to train a judge"
        if real.image_size < 32:
            return f"stamps of {real.image_size} px are too small for the judge, which needs 32"
        if real.survey != generated.survey or real.image_size != generated.image_size:
            return "the two sets differ in survey or stamp size"
        return None

    @classmethod
    def recipe(cls, seed: int, steps: int | None) -> Recipe:
        """How one is trained."""
        raise NotImplementedError

    def read(self, galaxies: Galaxies) -> Galaxies:
        """The set with columns of what is read; unchanged where there is no predictor."""
        if self.predictor is None or isinstance(galaxies, MeasuredTable):
            return galaxies
        has_seen = isinstance(self.real, GalaxySet) and galaxies.images is self.real.images  # whatever columns it was given since
        which = "real" if has_seen else "generated"
        made_of = [self.cache.hash_of(galaxies, self.workers), self.predictor.weights_hash()] if self.cache else []
        found = self.cache.arrays(f"{self.condition} readings", f"{which} set", [*made_of, "features"], lambda: self._looked(galaxies))
        features = found.pop("features", None)
        columns = self.columns(galaxies, found)
        for values in (*columns.values(), *([] if features is None else [features])) if has_seen else ():
            values[self.seen] = np.nan if values.dtype.kind == "f" else ""
        if features is not None:
            self.made.append((galaxies.images, features))
        return galaxies.with_columns(columns)

    @property
    def features(self) -> dict[str, Features]:
        """What the network makes of every image of a set, by the network's name, as `evaluate` takes it; of sets that were read nothing
        is computed again. Empty where there is no network, or one that names no hidden layer.
        """
        return {self.kind: self._features_of} if self.predictor is not None and self.predictor.gives_features else {}

    def _features_of(self, galaxies: GalaxySet) -> Float[np.ndarray, "n d"]:
        if all(images is not galaxies.images for images, _ in self.made):
            self.read(galaxies)
        return next(features for images, features in self.made if images is galaxies.images)

    def _looked(self, galaxies: GalaxySet) -> Mapping[str, np.ndarray]:
        assert self.predictor is not None
        with counting(f"reading {self.things}", len(galaxies)) as on_progress:
            return self.predictor.read(galaxies, on_progress)

    def columns(self, galaxies: GalaxySet, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What was read, as columns."""
        raise NotImplementedError


class RedshiftJudge(Judge):
    """The judge of redshifts: Li 2024's network, or any that was trained to read them."""

    condition, things, option, kind = "redshift", "redshifts", "--redshift-model", "redshift-cnn"
    advice = "a li2024-redshift-cnn or a redshift-density"

    @classmethod
    def known(cls, galaxies: GalaxySet) -> np.ndarray:
        return np.isfinite(galaxies.redshift) & (galaxies.redshift >= 0)

    @classmethod
    def why_not(cls, real: GalaxySet, generated: GalaxySet, known: np.ndarray) -> str | None:
        if not np.isfinite(generated.redshift).any():
            return "the generated galaxies were not asked for at a redshift"
        if len(known) >= FEWEST and len(np.unique(real.redshift[known])) < 2:
            return f"all {len(known)} real galaxies have one redshift"
        return super().why_not(real, generated, known)

    @classmethod
    def recipe(cls, seed: int, steps: int | None) -> Recipe:
        return judge_recipe(seed, steps=steps or STEPS)

    def columns(self, galaxies: GalaxySet, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert self.predictor is not None
        columns = {name: np.array(values, float) for name, values in self.predictor.columns_of(found).items()}
        if "weights" in found:
            columns[PIT] = density_of(found).pit(galaxies.redshift)
        return columns


class CategoryJudge(Judge):
    """The judge of categories: a small classifier, or any that was trained to tell them."""

    condition, things, option, kind = "category", "categories", "--category-model", "category-cnn"
    advice = "a category-cnn"

    @classmethod
    def known(cls, galaxies: GalaxySet) -> np.ndarray:
        return ~np.isin(galaxies.category, list(UNKNOWN))

    @classmethod
    def why_not(cls, real: GalaxySet, generated: GalaxySet, known: np.ndarray) -> str | None:
        if not len(known) or not cls.known(generated).any():
            return ""  # most sets have none
        if len(set(real.category[known]) & set(generated.category)) < 2:
            return "fewer than two categories are common to both sets"
        return super().why_not(real, generated, known)

    @classmethod
    def recipe(cls, seed: int, steps: int | None) -> Recipe:
        return Recipe(model="category-cnn", conditions=("category",), steps=min(CATEGORY_STEPS, steps or CATEGORY_STEPS), seed=seed)

    def columns(self, galaxies: GalaxySet, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert self.predictor is not None
        name = "predicted_category"
        read = self.predictor.columns_of(found)[name]
        return {name: np.where(np.isin(galaxies.category, self.predictor.classes), read, "")}  # others can't be right


def _trained(
    judge: type[Judge], real: GalaxySet, seen: np.ndarray, recipe: Recipe, folder: Path, cache: Cache, workers: int | None
) -> Predictor:
    """A judge of these galaxies, from where an earlier evaluation left it, or trained."""
    teach = real[seen]
    if not cache:
        place = folder / f"{judge.kind}-{content_hash(teach.content_hash(), repr(recipe))[:8]}"
        return _follow(teach, place, recipe)
    labels = "\n".join(map(str, teach.column(judge.condition).tolist()))
    kept = cache.place(judge.kind, [cache.hash_of(real, workers), labels, str(seen.tolist()), repr(recipe)])
    assert kept is not None
    try:
        predictor = _finished(kept, recipe)
        if predictor is not None:
            cache.taken.append(("trained", f"judge of {judge.things}"))
            return predictor
        return _follow(teach, kept, recipe)
    except InputError:  # damaged, or another's: it is the cache's own, and is made again
        cache.forget(kept)
        return _follow(teach, kept, recipe)


def _finished(place: Path, recipe: Recipe) -> Predictor | None:
    """The judge that stands there, if it has been trained to the end."""
    if not ((place / CONFIG).exists() and (place / WEIGHTS).exists()):
        return None
    predictor = Predictor.load(place)
    return predictor if int(predictor.progress.get("steps", 0)) >= (recipe.with_defaults().steps or 0) else None


def _follow(teach: GalaxySet, place: Path, recipe: Recipe) -> Predictor:
    return train(teach, place, recipe, resume=True, sheets=False, tensorboard=False).averaged()


def judge_recipe(seed: int, steps: int | None = None, minutes: float | None = None) -> Recipe:
    """Li 2024's network in minutes instead of hours: smaller batches and a higher learning rate than the paper's 256 and 1e-4."""
    return Recipe(
        model="li2024-redshift-cnn",
        conditions=("redshift",),
        steps=steps,
        minutes=minutes,
        batch_size=32,
        learning_rate=5e-4,
        seed=seed,
    )
