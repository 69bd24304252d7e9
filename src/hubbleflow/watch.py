"""Watching a training: a bar with loss, speed and time left; TensorBoard; and a sheet of galaxies drawn every so often.

The training itself (training.py) only yields steps. Ctrl-C here saves a checkpoint and says so.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hubbleflow.counting import counting
from hubbleflow.errors import Interrupted
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.report.colour import sheet
from hubbleflow.training import Recipe, Training

if TYPE_CHECKING:
    import os

SHEETS_AT = (0.1, 0.3, 0.6, 1.0)  # of the budget: when a sample sheet is drawn
SHEET_GALAXIES = 24
SHEET_STEPS = 50  # of the sampler at most: a glance is not worth the papers' thousand
SMOOTHING = 0.98  # of the loss that is shown


def train(
    galaxies: GalaxySet,
    folder: str | os.PathLike[str],
    recipe: Recipe,
    resume: bool = False,
    sheets: bool = True,
    tensorboard: bool = True,
) -> Training:
    """Train in `folder` with everything shown, and return the finished training.

    Raises:
        InputError: see :class:`~hubbleflow.training.Training`.
        Interrupted: Ctrl-C; the checkpoint to resume from has been written.
    """
    with counting("reading the training set", len(galaxies)) as on_scan:
        training = Training(galaxies, folder, recipe, resume, on_scan)
    statistics = training.statistics
    if statistics.bad_pixels:
        print(
            f"{statistics.bad_pixels} pixels in {statistics.bad_images} images are not finite: they are taken as 0 (the sky)",
            file=sys.stderr,
        )
    if training.step:
        print(f"resuming {folder} at step {training.step}", file=sys.stderr)
    if training.finished:
        print(f"{folder} has been trained to its end", file=sys.stderr)
        return training
    with _interrupt_between_steps(training):
        _follow(training, sheets, tensorboard)
    if training.stopped and training.progress < 1:
        raise Interrupted(f"stopped at step {training.step}; a checkpoint is in {folder}: go on with --resume")
    return training


@contextmanager
def _interrupt_between_steps(training: Training) -> Iterator[None]:
    """Ctrl-C asks the training to stop, so that a checkpoint is never taken in the middle of a step; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():  # where signals cannot be handled
        yield
        return

    def first(number: int, frame: Any) -> None:
        training.stop()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _follow(training: Training, sheets: bool, tensorboard: bool) -> None:
    trained, folder, batch = training.averaged(), training.folder, training.recipe.batch_size or 1
    ranks = training.ranks
    writer = _tensorboard(folder) if tensorboard and ranks.is_first else None
    due = [at for at in SHEETS_AT if at > training.progress]
    loss, first, started = np.nan, training.step, time.monotonic()
    shown = TextColumn("step {task.fields[step]}  loss {task.fields[loss]:.4f}  {task.fields[speed]:.0f} images/s")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), shown, TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        bar.disable = not ranks.is_first
        task = bar.add_task(f"training {trained.title}", total=1.0, step=training.step, loss=np.nan, speed=0)
        bar.update(task, completed=training.progress)

        def show_sheet() -> None:
            with ranks.same_fate():
                if sheets and ranks.is_first and isinstance(trained, Generator):
                    _draw_sheet(training, folder / "samples" / f"step_{training.step:07d}.png")

        def on_finishing(done: int, of: int) -> None:
            bar.update(task, description=f"finishing {trained.title}", completed=done / of)

        for step in training.run(on_finishing):
            loss = step.loss if np.isnan(loss) else SMOOTHING * loss + (1 - SMOOTHING) * step.loss
            speed = (step.number - first) * batch / max(time.monotonic() - started, 1e-9)
            bar.update(task, completed=step.progress, step=step.number, loss=loss, speed=speed)
            if writer and step.number % 20 == 0:
                writer.add_scalar("loss", loss, step.number)
                writer.add_scalar("learning_rate", step.learning_rate, step.number)
                writer.add_scalar("images_per_second", speed, step.number)
            if due and due[0] <= step.progress < 1 and not training.stopped:
                due = [at for at in due if at > step.progress]
                show_sheet()
        if training.finished:
            show_sheet()
    if writer:
        writer.close()


def _draw_sheet(training: Training, path: Path) -> None:
    generator = training.averaged()
    conditions = generator.draw_conditions(SHEET_GALAXIES, seed=0)
    for name in generator.conditions.names:  # sorted, so that a sheet reads as an evolution
        if conditions[name].dtype.kind == "f":
            conditions[name] = np.sort(conditions[name])
    galaxies = generator.sample(conditions, seed=0, steps=min(generator.model.default_steps(), SHEET_STEPS))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet(galaxies, path)


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # it is a convenience: a machine without it trains all the same
        return None
    return SummaryWriter(str(folder / "tensorboard"))
