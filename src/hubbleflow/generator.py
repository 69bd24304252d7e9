"""A generator: galaxies of any condition, drawn from a trained model.

Galaxy i of a set depends on (seed, i) and its own conditions alone: asking for more galaxies, or in other batches, gives the same ones
again (to the rounding that a different batch shape makes in the matrix library).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch

from hubbleflow.diffusion import galaxy_seeds
from hubbleflow.errors import InputError
from hubbleflow.files import content_hash
from hubbleflow.galaxies import GalaxySet, GalaxyWriter
from hubbleflow.models import GenerativeModel
from hubbleflow.precision import autocast, resolve_precision
from hubbleflow.ranks import ALONE, Ranks
from hubbleflow.trained import TrainedModel

if TYPE_CHECKING:
    from jaxtyping import Float32

BATCH = 64
NATURAL = ("redshift", "category")  # conditions whose column keeps its name; others are called asked_<name>


@dataclass
class Generator(TrainedModel):
    """A trained generative model.

    Example (with a folder that `hubbleflow train` wrote)::

        generator = Generator.load("model")
        galaxies = generator.sample(redshift=[0.1, 0.5, 1.0, 2.0], seed=1)
        galaxies.images      # (4, band, y, x) float32, linear flux

    Attributes:
        guide: a weaker generator, away from whose errors a `guidance` above 1 leads; see :meth:`guided_by`.
    """

    guide: Generator | None = None

    use: ClassVar[str] = """    hubbleflow generate FOLDER OUT.h5 --n 64
    hubbleflow info FOLDER

Galaxies outside the conditions' range are refused unless `--extrapolate` is given. Judge them with `hubbleflow evaluate` before you use
them."""

    def guided_by(self, weaker: Generator) -> Self:
        """The same generator under autoguidance (Karras et al. 2024, arXiv 2406.02507): with `guidance` w it denoises by
        D_weaker + w (D - D_weaker), which exaggerates what it does better than a smaller network, or one trained for less long.

        Raises:
            InputError: the weaker one draws in other units or of other conditions, or this kind of model cannot be guided.
        """
        assert isinstance(self.model, GenerativeModel)
        if "weaker" not in inspect.signature(self.model.sample).parameters:
            raise InputError(f"model {self.model.name!r} cannot be guided by another")
        mine, theirs = self.config(), weaker.config()
        for what in ("model", "survey", "image_size", "conditions", "stretch"):
            if mine[what] != theirs[what]:
                raise InputError(f"the guide differs in its {what.replace('_', ' ')}: train it on the same galaxies, with the same options")
        return replace(self, guide=weaker.to(self.device))

    @classmethod
    def load(cls, folder: str | os.PathLike[str], device: str | torch.device = "cpu") -> Self:
        """Open the folder of a generative model; see :meth:`TrainedModel.load`."""
        trained = super().load(folder, device)
        if not isinstance(trained.model, GenerativeModel):
            raise InputError(f"{folder} holds {trained.model.name!r}, which reads galaxies and cannot draw them")
        return trained

    def conditions_like(self, galaxies: GalaxySet, skip_bad_rows: bool = False) -> dict[str, np.ndarray]:
        """The conditions of another set's galaxies: its columns, or failing that what was measured on it. Those that it lacks are left out
        where there is a prior to draw them from.

        Args:
            galaxies: the set.
            skip_bad_rows: leave out galaxies whose conditions are NaN, empty or negative redshifts.

        Raises:
            InputError: the set is of another survey, lacks a column that is not drawn (or all), or has no usable row.
        """
        self.check_survey(galaxies, "for --like")
        there = [name for name in self.conditions.names if name in galaxies.columns or name in galaxies.measured]
        values = {name: galaxies.column(name) for name in (there if self.prior and there else self.conditions.names)}
        if skip_bad_rows:
            usable = np.logical_and.reduce(
                [column.usable(values[column.name]) for column in self.conditions.columns if column.name in values]
            )
            if not usable.any():
                raise InputError(f"no galaxy of {galaxies.path or 'the set'} has usable values of {', '.join(values)}")
            values = {name: value[usable] for name, value in values.items()}
        return values

    def draw_conditions(self, n: int, seed: int = 0, offset: int = 0) -> dict[str, np.ndarray]:
        """n rows of conditions from the training set's own joint distribution; `offset` is the number of the first galaxy in its set."""
        if self.prior is not None:
            return self.prior.draw({}, galaxy_seeds(seed, offset, n))
        rng = np.random.default_rng([seed, 4, offset])
        return {column.name: column.draw(n, rng) for column in self.conditions.columns}

    def sample(
        self,
        conditions: Mapping[str, Any] | None = None,
        n: int | None = None,
        seed: int = 0,
        *,
        redshift: Any = None,
        category: Any = None,
        steps: int | None = None,
        guidance: float = 1.0,
        sampler: str | None = None,
        extrapolate: bool = False,
        precision: str = "auto",
    ) -> GalaxySet:
        """Draw galaxies into memory.

        Args:
            conditions: column name -> values, one a galaxy (or one for all, with `n`); a column left out is not asked for. None: n galaxies
                with conditions from the training set's distribution.
            n: how many, where the conditions do not say.
            redshift, category: the same as in `conditions`.
            seed: of the whole set.
            steps: of the sampler; the model's default where None.
            guidance: 1 = as trained, > 1 exaggerates the conditions, or what it does better than its guide (see :meth:`guided_by`).
            extrapolate: allow conditions outside the trained range.
            precision: "auto", "float32" or "bfloat16".

        Raises:
            InputError: conditions that the generator does not have, lengths that disagree, values outside the trained range.
        """
        named = {name: value for name, value in (("redshift", redshift), ("category", category)) if value is not None}
        values = self.asked({**(conditions or {}), **named}, n, seed)
        blocks = list(
            self.draw(values, seed, steps=steps, guidance=guidance, sampler=sampler, extrapolate=extrapolate, precision=precision)
        )
        columns = {name: np.concatenate([block[1][name] for block in blocks]) for name in blocks[0][1]}
        return GalaxySet(
            np.concatenate([block[0] for block in blocks]), self.survey, columns, provenance=self.provenance(seed, steps, guidance, sampler)
        )

    def asked(self, conditions: Mapping[str, Any] | None, n: int | None, seed: int) -> dict[str, np.ndarray]:
        """The table of what is asked: every value repeated to one a galaxy.

        Raises:
            InputError: unknown conditions, lengths that disagree, or no galaxies.
        """
        if n is not None and n < 1:
            raise InputError(f"the number of galaxies must be at least 1, got {n}")
        if not conditions:
            return self.draw_conditions(n or 1, seed)
        unknown = sorted(set(conditions) - set(self.conditions.names))
        if unknown:
            raise InputError(
                f"this generator is not conditioned on {unknown[0]!r}: it knows {', '.join(self.conditions.names) or 'no condition'}"
            )
        values = {name: np.atleast_1d(np.asarray(value)) for name, value in conditions.items()}
        total = n or max(len(value) for value in values.values())
        for name, value in values.items():
            if len(value) not in (1, total):
                raise InputError(f"condition {name!r} has {len(value)} values for {total} galaxies: give one, or one a galaxy")
        return {name: np.repeat(value, total) if len(value) == 1 else value for name, value in values.items()}

    def provenance(self, seed: int, steps: int | None, guidance: float, sampler: str | None) -> dict[str, Any]:
        """What a generated set says of itself."""
        assert isinstance(self.model, GenerativeModel)
        return {
            "made_by": "hubbleflow generate",
            "model": self.title,
            "training_data": self.training.get("data_hash", ""),
            "seed": seed,
            "steps": steps or self.model.default_steps(sampler),
            "guidance": guidance,
            "sampler": sampler or "default",
            **({"guide": self.guide.weights_hash()} if self.guide else {}),
        }

    def draw(
        self,
        values: Mapping[str, np.ndarray],
        seed: int = 0,
        *,
        steps: int | None = None,
        guidance: float = 1.0,
        sampler: str | None = None,
        extrapolate: bool = False,
        precision: str = "auto",
        batch_size: int = BATCH,
        offset: int = 0,
        seeds: Sequence[int] | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> Iterator[tuple[Float32[np.ndarray, "n band y x"], dict[str, np.ndarray]]]:
        """Yield (images, columns) batch by batch; `values` has one value a galaxy and column (see :meth:`asked`).

        `offset` is the number of the first galaxy in its set: a set may be drawn in parts. `seeds`, one a galaxy, stand in the place of
        those that `seed` and the galaxies' numbers make: one noise may be drawn under several conditions. A generator of no condition draws
        as many galaxies as there are seeds. `share` (r, k) draws only batches r, r + k, r + 2 k, ...
        """
        if steps is not None and steps < 1:
            raise InputError(f"the number of steps must be at least 1, got {steps}")
        if not np.isfinite(guidance):
            raise InputError(f"guidance must be a finite number, got {guidance}: 1 is the model as trained")
        model = self.model
        assert isinstance(model, GenerativeModel)
        c = self.conditions.encode(values, extrapolate)
        if seeds is not None and not self.conditions.columns:
            c = c.new_zeros(len(seeds), 0)
        drawn = [] if self.prior is None else [name for name in self.conditions.names if name not in values]
        # Where no training step has ever left a condition out, what stands for "not asked" was never learned.
        if ((guidance != 1 and self.guide is None) or bool(c.isnan().any() and not drawn)) and not self.training.get("dropout"):
            raise InputError(
                "this generator was trained without dropping conditions, so it can neither leave one out nor exaggerate one: "
                "ask for all of them with guidance 1, or train it with --dropout 0.1"
            )
        names = {name: name if name in NATURAL else f"asked_{name}" for name in (*values, *drawn)}
        weaker = {} if self.guide is None else {"weaker": self.guide.model}
        resolved = resolve_precision(precision, self.device)
        for first in range(share[0] * batch_size, len(c), share[1] * batch_size):
            part = slice(first, first + batch_size)
            own = galaxy_seeds(seed, offset + first, len(c[part])) if seeds is None else seeds[part]
            asked = {name: np.asarray(value)[part] for name, value in values.items()}
            if drawn and self.prior is not None:
                asked = self.prior.draw(asked, own)
            with torch.inference_mode(), autocast(resolved, self.device):
                given = self.conditions.encode(asked, True) if drawn else c[part]
                y = model.sample(given.to(self.device), own, steps, guidance, sampler, **weaker)
                images = self.stretch.inverse(y.float(), clip=True).cpu().numpy()
            columns = {names[name]: value for name, value in asked.items()}
            columns["object_id"] = np.arange(offset + first, offset + first + len(images), dtype=np.int64)
            yield images, columns

    def generate(
        self,
        path: str | os.PathLike[str],
        values: Mapping[str, np.ndarray],
        seed: int = 0,
        *,
        steps: int | None = None,
        guidance: float = 1.0,
        sampler: str | None = None,
        extrapolate: bool = False,
        precision: str = "auto",
        batch_size: int = BATCH,
        offset: int = 0,
        on_progress: Any = None,
        ranks: Ranks = ALONE,
    ) -> GalaxySet:
        """Stream galaxies to a file, a batch in memory at a time; `on_progress(n)` is told of each batch; see :meth:`draw`.

        With `ranks` (:mod:`hubbleflow.ranks`) every process draws its share of the batches and the first writes them all: the same file
        whatever their number. It returns the file's galaxies there, and none in the other processes.
        """
        ranks.check_same("generators or conditions", lambda: self._what_is_drawn(values, precision))
        batches = self.draw(
            values,
            seed,
            steps=steps,
            guidance=guidance,
            sampler=sampler,
            extrapolate=extrapolate,
            precision=precision,
            batch_size=batch_size,
            offset=offset,
            share=(ranks.rank, ranks.number),
        )
        writer = GalaxyWriter(Path(path), self.survey, self.provenance(seed, steps, guidance, sampler))

        def write(batch: tuple[np.ndarray, dict[str, np.ndarray]]) -> None:
            writer.append(*batch)
            if on_progress:
                on_progress(len(batch[0]))

        with ExitStack() as stack:
            with ranks.same_fate():
                if ranks.is_first:
                    stack.enter_context(writer)
            ranks.in_turn(batches, write)
        if not ranks.is_first:
            return GalaxySet(np.zeros((0, len(self.survey.bands), self.image_size, self.image_size), np.float32), self.survey)
        return GalaxySet.open(path)

    def _what_is_drawn(self, values: Mapping[str, np.ndarray], precision: str) -> list[str]:
        """What decides which galaxies are drawn, and differs where processes have not been given the same files."""
        table = (part for name in sorted(values) for part in (name, "\n".join(map(str, values[name].tolist()))))
        weights = [generator.weights_hash() for generator in (self, self.guide) if generator]
        return [*weights, content_hash(*table), resolve_precision(precision, self.device)]
