"""Training: a loop that yields, and resumes exactly.

Everything random in step k (which galaxies, flips, jitter, dropped conditions, noise levels, noise) is drawn from (seed, k) alone, so
that a training needs no more state than weights, optimiser and averages: killed at any moment and resumed from its last checkpoint, it
goes through the same steps to the same bits. The averaged weights (exponential moving average, ema-pytorch) are what is saved and used.

    for step in training.run():     # bars, logs and pictures stay outside, see watch.py
        print(step.number, step.loss)

Several processes (see ranks.py) each learn from their share of a batch, and follow the mean of their gradients: the same weights in all of
them. The first one keeps the clock and writes the folder.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from hubbleflow.conditions import Condition, Conditions
from hubbleflow.errors import InputError
from hubbleflow.files import atomic_path, content_hash
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.model_folder import CONFIG, LOG, STATE, WEIGHTS, config_hash, read_config
from hubbleflow.models import GenerativeModel, Model, TrainingSet, get_model
from hubbleflow.models.from_file import code_hash, file_of
from hubbleflow.pixel_statistics import PixelStatistics
from hubbleflow.precision import autocast, resolve_precision
from hubbleflow.predictor import Predictor
from hubbleflow.pretrained import find_model
from hubbleflow.prior import Prior
from hubbleflow.ranks import Ranks
from hubbleflow.stretch import fit_stretch, stretch_from_dict
from hubbleflow.trained import TrainedModel

if TYPE_CHECKING:
    from jaxtyping import Float32

WARMUP = 100  # steps over which the learning rate rises from zero
SAVE_EVERY = 60.0  # seconds between checkpoints, where no number of steps is given
LOG_EVERY = 20  # steps between rows of log.jsonl
# A training is finished by one galaxy for each so many images it has learned from; by none where there would be too few.
A_GALAXY_TO_FINISH, FEWEST_TO_FINISH, MOST_TO_FINISH = 200, 16, 1200
ORIENTED = ("centroid_x", "centroid_y", "true_x", "true_y")  # endings of columns that turn with the image


@dataclass(frozen=True)
class Recipe:
    """How to train. None means the model's own default (its authors' value).

    Attributes:
        model: a registered model's name.
        scale: "paper", the published size, or "small", one that trains in minutes on a CPU, where the model has one.
        conditions: columns to condition on.
        stretch: a stretch's name; None chooses by the survey.
        steps, minutes: the budget; the learning rate follows whichever is given (steps where neither is).
        batch_size, learning_rate, dropout, ema: training hyper-parameters; `dropout` is that of conditions.
        jitter: of redshift.
        augment: flips and quarter turns.
        precision: "auto", "float32" or "bfloat16".
        seed: of everything random.
        save_every: steps between checkpoints; None saves every minute.
        arguments: constructor arguments of the model that differ from its defaults, e.g. {"width": 48}.
        skip_bad_rows: leave out galaxies whose conditions are NaN, empty or negative redshifts, instead of refusing the set.
        start: a trained model, by its folder or name (see :func:`hubbleflow.pretrained.find_model`), whose weights this one starts from:
            to go on with one's own galaxies or with further conditions, named after its own, or to teach a network to draw in one step.
        snapshots: how often, evenly over the training, averages of the weights are kept, of which others can be made afterwards (see
            :mod:`hubbleflow.averages`).
    """

    model: str = "edm"
    scale: str = "paper"
    conditions: tuple[str, ...] | None = None
    stretch: str | None = None
    steps: int | None = None
    minutes: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    dropout: float | None = None
    ema: float | None = None
    jitter: float | None = None
    augment: bool = True
    precision: str = "auto"
    seed: int = 0
    save_every: int | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    skip_bad_rows: bool = False
    # A recipe without these reads as it did before there were any.
    start: str | None = field(default=None, repr=False)
    snapshots: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        for name in ("steps", "minutes", "batch_size", "learning_rate", "save_every"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name.replace('_', ' ')} must be positive, got {value}")
        if self.snapshots < 0:
            raise InputError(f"the number of snapshots must not be negative, got {self.snapshots}")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"the seed must lie between 0 and {2**32 - 1}, got {self.seed}")
        if self.steps is not None and self.minutes is not None:
            raise InputError("give either steps or minutes as the budget, not both")
        for name in ("dropout", "ema"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise InputError(f"{name} must be at least 0 and below 1, got {value}")

    def with_defaults(self) -> Recipe:
        """The recipe with the model's own values where nothing was said."""
        own = get_model(self.model).training_at(self.scale)
        return replace(
            self,
            conditions=self.conditions or own.conditions,
            stretch=self.stretch or own.stretch,
            jitter=own.jitter if self.jitter is None else self.jitter,
            steps=self.steps or (None if self.minutes else own.steps),
            batch_size=self.batch_size or own.batch_size,
            learning_rate=self.learning_rate or own.learning_rate,
            dropout=own.condition_dropout if self.dropout is None else self.dropout,
            ema=own.ema if self.ema is None else self.ema,
        )


@dataclass(frozen=True)
class Step:
    """One step: its number (from 1), loss, learning rate, and how far the budget is used (0 to 1)."""

    number: int
    loss: float
    learning_rate: float
    progress: float
    seconds: float


class Training:
    """A training in a folder. Of several processes all must make it, run it and save it together.

    Args:
        galaxies: the training set; streamed, never loaded whole.
        folder: where the model goes; must not hold one yet, unless `resume`.
        recipe: how to train.
        resume: go on from the folder's last checkpoint (or start, if it has none).
        on_scan: told how many galaxies each block of the first pass over the set had.

    Attributes:
        step, seconds: how long it has been trained.
        stopped: whether :meth:`stop` has ended it.
        finished: whether it has come to its end, and what is found there (:meth:`~hubbleflow.models.Model.finish`) has been.

    Raises:
        InputError: a set that cannot be trained on, a folder that is taken, a checkpoint of another set or recipe.
    """

    def __init__(
        self,
        galaxies: GalaxySet,
        folder: str | os.PathLike[str],
        recipe: Recipe,
        resume: bool = False,
        on_scan: Callable[[int], None] | None = None,
    ) -> None:
        self.folder, self.recipe, self.ranks = Path(folder), recipe.with_defaults(), Ranks.here()
        self.step, self.seconds, self.stopped, self._asked_to_stop, self.finished = 0, 0.0, False, False, False
        with self.ranks.same_fate():
            taken = self._read(galaxies, resume, on_scan)
        # Versions may differ from machine to machine.
        self.ranks.check_same("data or options", lambda: config_hash(self.trained.config() | {"versions": {}}))
        self._prepare()
        with self.ranks.same_fate():
            if resume and (self.folder / STATE).exists():
                self._restore()
        self.ranks.check_same("checkpoints", lambda: (taken, self.step))
        if not taken:
            self.save()

    # -- building ---------------------------------------------------------------------------------------------------------------
    def _read(self, galaxies: GalaxySet, resume: bool, on_scan: Callable[[int], None] | None) -> bool:
        """Everything up to the model itself, and whether the folder holds one already."""
        taken = (self.folder / CONFIG).exists()
        if taken and not resume:
            raise InputError(f"{self.folder} already holds a model: pass --resume to go on with it, or choose another folder")
        if taken:
            read_config(self.folder)
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise InputError(f"{self.folder} is not empty and holds no model: choose a new folder, so that nothing is overwritten")
        if (self.recipe.batch_size or 1) < self.ranks.number:
            raise InputError(
                f"a batch of {self.recipe.batch_size} galaxies is too small for {self.ranks.number} processes to share: "
                f"give --batch-size {self.ranks.number} or more"
            )
        names = self.recipe.conditions or ()
        turning = [name for name in names if name.endswith(ORIENTED)]
        if turning and self.recipe.augment:
            raise InputError(f"{turning[0]} changes when an image is flipped or turned, which training does: pass --no-augment with it")
        if self.recipe.skip_bad_rows:
            usable = np.ones(len(galaxies), bool)
            for name in names:
                usable &= Condition(name, "").usable(galaxies.column(name))
            galaxies = galaxies[usable] if usable.any() else galaxies
        self.conditions = Conditions.fit(names, galaxies, self.recipe.jitter)
        self.galaxies = galaxies
        self.columns = {name: galaxies.column(name) for name in names}
        self.statistics = PixelStatistics.of(galaxies, on_scan)

        # Processes and devices are accelerate's affair; precision is ours, because accelerate allows one for the life of a process.
        self.accelerator = Accelerator(mixed_precision="no")
        self.device = self.ranks.device or self.accelerator.device
        self.precision = resolve_precision(self.recipe.precision, self.device)
        self.trained = self._built()
        return taken

    def _built(self) -> TrainedModel:
        recipe, statistics = self.recipe, self.statistics
        if statistics.low == statistics.high:
            raise InputError("every pixel of the training set has the same value: there is nothing to learn")
        stretch = fit_stretch(recipe.stretch, statistics, self.galaxies.survey)
        sigma_data = float(stretch(torch.from_numpy(statistics.sample)).std())
        kind = get_model(recipe.model)
        bands = tuple(self.galaxies.bands)
        known = TrainingSet(len(bands), self.galaxies.image_size, self.conditions, round(sigma_data, 6), bands)
        first = TrainedModel.load(find_model(recipe.start)) if recipe.start is not None else None
        kept = kind.options().keys() - set(kind.passing)
        as_first = {name: value for name, value in first.arguments.items() if name in kept} if first else {}
        # All of them: a folder must still open when a default has changed since.
        arguments = json_able(kind.options()) | kind.arguments_at(known, recipe.scale) | as_first | kind.checked(recipe.arguments)
        fixed = {key: value for key, value in asdict(recipe).items() if key not in ("steps", "minutes", "save_every", "start", "snapshots")}
        training = {
            **fixed,
            **({"snapshots": recipe.snapshots} if recipe.snapshots else {}),
            "precision": self.precision,
            **({"code": code_hash(kind)} if file_of(kind) else {}),
            "n": statistics.n,
            "bad_pixels": statistics.bad_pixels,
            "bad_images": statistics.bad_images,
            "data_hash": statistics.data_hash,
            "data": self.galaxies.provenance,
        }
        from hubbleflow import __version__

        versions = {"hubbleflow": __version__, "torch": torch.__version__, "python": platform.python_version()}
        subclass = Generator if issubclass(kind, GenerativeModel) else Predictor
        # What is stored is what JSON gives back: tuples as lists, so that a config read again has the same hash.
        arguments, training = json.loads(json.dumps(arguments)), json.loads(json.dumps(training))
        model = self._dry_run(kind, arguments)
        if first is not None:
            training["start"] = first.weights_hash()
            renewed = model.renewed(arguments, first.arguments)
            training |= {"renewed": list(renewed)} if renewed else {}
            self._start(model, first, renewed)
        stretch = stretch_from_dict(json.loads(json.dumps(stretch.to_dict())))
        table = {column.name: self.columns[column.name] for column in self.conditions.columns}
        table |= {column.name: table[column.name].astype(str) for column in self.conditions.columns if column.is_category}
        prior = Prior.fit(table, recipe.seed, apart=self.conditions.apart) if table and subclass is Generator else None
        return subclass(
            model,
            arguments,
            stretch,
            self.conditions,
            self.galaxies.survey,
            self.galaxies.image_size,
            training,
            versions,
            prior=prior,
        )

    def _dry_run(self, kind: type[Model], arguments: dict[str, Any]) -> Model:
        """The model, after one loss of two galaxies: arguments that do not fit are found before the folder is taken."""
        try:
            set_seed(self.recipe.seed)
            model = kind(**arguments)
            x = torch.zeros(2, len(self.galaxies.bands), self.galaxies.image_size, self.galaxies.image_size)
            first = {name: values[:2] if len(values) > 1 else np.repeat(values, 2) for name, values in self.columns.items()}
            model.loss(x, self.conditions.encode(first, extrapolate=True), torch.Generator().manual_seed(0))
        except InputError:
            raise
        except (ValueError, TypeError, RuntimeError, IndexError, ZeroDivisionError) as error:
            what = str(error).splitlines()[0]
            raise InputError(
                f"model {self.recipe.model!r} cannot be built with {self.recipe.arguments or 'these stamps'}: {what}"
            ) from error
        return model

    def _start(self, model: Model, first: TrainedModel, renewed: tuple[str, ...]) -> None:
        """Give a model the averaged weights of another, maybe of another kind around the same network, but for those that begin anew."""
        mine, theirs = model.state_dict(), first.model.state_dict()
        known = [(column.name, column.classes) for column in first.conditions.columns]
        asked_for = [(column.name, column.classes) for column in self.conditions.columns]
        more, alike = len(asked_for) > len(known), asked_for[: len(known)] == known
        anew = (*renewed, *model.fitted)
        mine, theirs = ({name: v for name, v in weights.items() if not name.startswith(anew)} for weights in (mine, theirs))
        # Further conditions have weights of their own, and a row each in a table of what stands for "not asked".
        rows = {name: mine[name][: len(value)] if more and value.ndim else mine[name] for name, value in theirs.items() if name in mine}
        fits = alike and all(name in rows and rows[name].shape == value.shape for name, value in theirs.items())
        if not fits or not (more or len(mine) == len(theirs)):
            asked = ", ".join(first.conditions.names) or "nothing"
            raise InputError(
                f"{model.name} cannot start from {self.recipe.start}, whose conditions or weights have other names or shapes: that is "
                f"{first.title}, "
                f"{len(first.survey.bands)} bands, conditioned on {asked}, and the new one must be like it, or conditioned on more"
            )
        with torch.no_grad():
            for name, value in theirs.items():
                rows[name].copy_(value)

    def _prepare(self) -> None:
        try:
            from ema_pytorch import EMA

            from hubbleflow.averages import Averages
        except ImportError as error:
            raise InputError("training averages its weights with ema-pytorch, which is not installed: pip install ema-pytorch") from error
        recipe, own = self.recipe, self.trained.model.training_at(self.recipe.scale)
        assert recipe.learning_rate is not None and recipe.ema is not None
        model = self.trained.model.to(self.device).train()
        # inv_gamma 10, power 1: the average looks back over the last tenth of a young training, so that short ones are not held back.
        self.average = EMA(
            model,
            beta=recipe.ema,
            update_after_step=0,
            update_every=1,
            inv_gamma=10.0,
            power=1.0,
            include_online_model=False,
            use_foreach=True,
            param_or_buffer_names_no_ema={name for name in model.state_dict() if name.startswith(model.fitted)},
        )
        self.averages = Averages(model) if recipe.snapshots else None
        optimizer = torch.optim.AdamW(model.parameters(), recipe.learning_rate, own.betas, weight_decay=own.weight_decay, fused=True)
        if self.ranks.number > 1:
            # A convolution of 1 x 1 pixel gives the same numbers with other strides, of which torch's DistributedDataParallel would warn.
            for weight in model.parameters():
                if weight.requires_grad and weight.ndim == 4 and weight.shape[2:] == (1, 1):
                    weight.register_hook(lambda gradient: gradient.flatten().view(gradient.shape))
        self.online = model
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)

    # -- the loop ---------------------------------------------------------------------------------------------------------------
    @property
    def progress(self) -> float:
        """How much of the budget is used, 0 to 1."""
        if self.recipe.minutes:
            return min(1.0, self.seconds / (60 * self.recipe.minutes))
        return min(1.0, self.step / (self.recipe.steps or 1))

    def run(self, on_finishing: Callable[[int, int], None] = lambda done, of: None) -> Iterator[Step]:
        """Train to the end of the budget, yielding every step; checkpoints on the way and at the end.

        `on_finishing` is told how much has been done, and of how much, of what comes after the last step.
        """
        own, recipe, ranks = self.trained.model.training_at(self.recipe.scale), self.recipe, self.ranks
        saved, started, before = time.monotonic(), time.monotonic(), self.seconds
        while self.progress < 1 and not self.stopped:
            progress = self.progress
            decay = own.decay_to + (1 - own.decay_to) * (1 + np.cos(np.pi * progress)) / 2
            learning_rate = float(recipe.learning_rate * decay * min(1.0, (self.step + 1) / WARMUP))
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            self.online.anneal(progress)
            loss = self._step()
            self.step += 1
            now = time.monotonic()
            clock = (before + now - started, now - saved > SAVE_EVERY) if ranks.is_first else (0.0, False)
            loss, self.seconds, overdue, stop = ranks.sums(loss, *clock, self._asked_to_stop)
            self.stopped = stop > 0
            step = Step(self.step, loss, learning_rate, self.progress, self.seconds)
            if not np.isfinite(loss):
                raise InputError(
                    f"the loss became {loss} at step {self.step}: lower --learning-rate, or check the images for extreme pixels"
                )
            if self.step % LOG_EVERY == 0 or step.progress >= 1:
                with ranks.same_fate():
                    if ranks.is_first:
                        self._log(step)
            if self.averages and int(step.progress * recipe.snapshots) > int(progress * recipe.snapshots):
                with ranks.same_fate():
                    if ranks.is_first:
                        self.averages.keep(self.folder, self.step)
            yield step
            due = self.step % recipe.save_every == 0 if recipe.save_every else overdue
            if due and step.progress < 1 and not self.stopped:
                self.save()
                saved = time.monotonic()
        if self.progress >= 1 and not self.finished:
            if n := self._to_finish_by():
                self.save()  # what may take minutes does not put at risk what took hours
                with self.ranks.same_fate():
                    if self.ranks.is_first:
                        self._finish(n, on_finishing)
            self.finished = True
        self.save()

    def stop(self) -> None:
        """End :meth:`run` after the step that is being made, with a checkpoint: in all processes, whichever is told."""
        self._asked_to_stop = True

    def _to_finish_by(self) -> int:
        """How many galaxies the averaged weights are finished by: more after a longer training."""
        n = min(MOST_TO_FINISH, self.step * (self.recipe.batch_size or 1) // A_GALAXY_TO_FINISH, len(self.galaxies))
        return n if n >= FEWEST_TO_FINISH and self.average.ema_model.finishing(n) else 0

    def _finish(self, n: int, on_finishing: Callable[[int, int], None]) -> None:
        """Have the averaged weights finished; of several processes in one, by the galaxies that one alone would take."""
        rows = np.sort(np.random.default_rng([self.recipe.seed, 3]).choice(len(self.galaxies), n, replace=False))
        images = np.nan_to_num(self.galaxies.images[rows], nan=0.0, posinf=0.0, neginf=0.0)
        c = self.conditions.encode({name: values[rows] for name, values in self.columns.items()}, extrapolate=True)
        model, done = self.average.ema_model.eval(), 0

        def on_galaxies(more: int) -> None:
            nonlocal done
            done += more
            on_finishing(done, model.finishing(n))

        with autocast(self.precision, self.device):
            model.finish(self.trained.stretch(torch.from_numpy(images).to(self.device)), c.to(self.device), on_galaxies)

    def _step(self) -> float:
        """Learn from one batch, and return this process's part of its mean loss."""
        x, c, generator = self.batch(self.step)
        part = len(x) / (self.recipe.batch_size or 1)
        with autocast(self.precision, self.device):
            loss = self.model(x, c, generator)
        self.optimizer.zero_grad()
        # The mean of the processes' gradients is followed: weighed like this it is that of the whole batch, where shares differ by one too.
        self.accelerator.backward(loss if self.ranks.number == 1 else loss * (part * self.ranks.number))
        clip = self.trained.model.training_at(self.recipe.scale).clip
        if clip is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), clip)
        self.optimizer.step()
        self.average.update()
        if self.averages is not None:
            self.averages.update()
        return part * float(loss.detach())

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Generator]:
        """Images, conditions and the noise generator of one step: a function of (seed, step, process) and nothing else."""
        rank, world = self.ranks.rank, self.ranks.number
        batch, n = self.recipe.batch_size or 1, len(self.galaxies)
        positions = np.arange(step * batch, (step + 1) * batch)[rank::world]
        rows = np.empty(len(positions), np.int64)
        for epoch in np.unique(positions // n):
            here = positions // n == epoch
            rows[here] = self._order(int(epoch))[positions[here] % n]
        rng = np.random.default_rng([self.recipe.seed, 2, step, rank])
        images = np.nan_to_num(self.galaxies.images[rows], nan=0.0, posinf=0.0, neginf=0.0)
        symmetry = rng.integers(8, size=len(images)) if self.recipe.augment else np.zeros(len(images), int)
        if self.recipe.augment:
            images = flipped_and_turned(images, symmetry)
        x = self.trained.stretch(torch.from_numpy(images).to(self.device))
        values = {name: values[rows] for name, values in self.columns.items()}
        c = self.conditions.turned(self.conditions.encode_training(values, rng, self.recipe.dropout or 0.0), symmetry).to(self.device)
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        return x, c, generator

    def _order(self, epoch: int) -> np.ndarray:
        if getattr(self, "_epoch", None) != epoch:
            self._epoch, self._permutation = epoch, np.random.default_rng([self.recipe.seed, 1, epoch]).permutation(len(self.galaxies))
        return self._permutation

    # -- saving and resuming ----------------------------------------------------------------------------------------------------
    def averaged(self) -> Any:
        """The model with the averaged weights, as a Generator or Predictor, in evaluation mode."""
        progress = {"steps": str(self.step), "images": str(self.step * (self.recipe.batch_size or 1)), "seconds": f"{self.seconds:.1f}"}
        return replace(self.trained, model=self.average.ema_model.eval(), progress=progress)

    def save(self) -> None:
        """Write the averaged model and the state to resume from; the old ones stay until the new are whole."""
        with self.ranks.same_fate():
            if self.ranks.is_first:
                self._write()

    def _write(self) -> None:
        averaged = self.averaged()
        averaged.save(self.folder)
        state = {
            "identity": config_hash(averaged.config()),
            "step": self.step,
            "seconds": self.seconds,
            "finished": self.finished,
            "model": self.online.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict(),
            **({"averages": self.averages.state_dict()} if self.averages is not None else {}),
        }
        with atomic_path(self.folder / STATE) as temporary:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:  # how torch reports a full disk
                raise OSError(str(error).splitlines()[0]) from error

    def _restore(self) -> None:
        path = self.folder / STATE
        damaged = f"{path} cannot be resumed from: it is damaged, or not a checkpoint of this package"
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            identity, step, seconds = state["identity"], int(state["step"]), float(state["seconds"])
        except Exception as error:  # torch.load raises whatever its pickle reader meets
            raise InputError(damaged) from error
        if identity != config_hash(self.trained.config()):
            theirs, mine = read_config(self.folder)["training"], self.trained.training
            changed = [key for key in mine if key != "data" and mine[key] != theirs.get(key)]
            what = ", ".join(changed) or "another version"
            raise InputError(f"{self.folder} was trained differently ({what} changed): resume with the same data and options")
        try:
            self.online.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.load_state_dict(state["average"])
            if self.averages is not None:
                self.averages.load_state_dict(state["averages"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise InputError(damaged) from error
        self.step, self.seconds = step, seconds
        self.finished = self.progress >= 1 and bool(state.get("finished", True))
        if self.ranks.is_first:
            self._forget_log_after(self.step)
            if self.averages is not None:
                self.averages.forget_after(self.folder, self.step)

    def _log(self, step: Step) -> None:
        row = {"step": step.number, "loss": round(step.loss, 6), "learning_rate": step.learning_rate, "seconds": round(step.seconds, 2)}
        try:
            with open(self.folder / LOG, "a") as log:
                log.write(json.dumps(row) + "\n")
        except OSError as error:
            raise InputError(f"cannot write {self.folder / LOG}: {error.strerror}; the last checkpoint is whole") from error

    def _forget_log_after(self, step: int) -> None:
        path = self.folder / LOG
        if path.exists():
            kept = [line for line in path.read_text().splitlines() if 0 < _step_of(line) <= step]
            with atomic_path(path) as temporary:
                temporary.write_text("".join(line + "\n" for line in kept))


def _step_of(line: str) -> int:
    """The step of a row of log.jsonl; 0 for a row that a kill has cut short."""
    try:
        return int(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return 0


def json_able(values: dict[str, Any]) -> dict[str, Any]:
    """Those that JSON can hold: a user's own model may have an activation for a default."""
    return {name: value for name, value in values.items() if isinstance(value, bool | int | float | str | list | tuple | dict | NoneType)}


def flipped_and_turned(images: Float32[np.ndarray, "n band y x"], symmetry: np.ndarray) -> Float32[np.ndarray, "n band y x"]:
    """Each image under one of the eight symmetries of the square, 0 to 7: the sky has no up. The angle of a major axis, from +x towards +y,
    becomes that minus `symmetry` quarter turns, and from 4 on the negative of it.
    """
    out = np.empty_like(images)
    for number in np.unique(symmetry):
        turned = np.rot90(images[symmetry == number], number % 4, axes=(-2, -1))
        out[symmetry == number] = turned[..., ::-1] if number >= 4 else turned
    return out


def weights_hash(folder: str | os.PathLike[str]) -> str:
    """SHA-256 of a folder's averaged weights: two trainings that agree to the bit have the same."""
    from safetensors import safe_open

    with safe_open(Path(folder) / WEIGHTS, framework="np") as file:
        names: Sequence[str] = sorted(file.keys())
        return content_hash(*(part for name in names for part in (name, file.get_tensor(name).tobytes())))
