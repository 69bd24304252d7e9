"""The models that can be trained, as rows: what each does, what it wants, and how large it is at the published and at the small scale.

Parameters are counted for stamps of 5 x 64 x 64 on torch's `meta` device, which has shapes and no memory: 1.24e8 of them cost nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from hubbleflow.conditions import Condition, Conditions
from hubbleflow.errors import InputError
from hubbleflow.models import GenerativeModel, Model, TrainingSet, get_model, model_names
from hubbleflow.models.from_file import file_of

BANDS, IMAGE_SIZE = 5, 64  # GalaxiesML's stamps
CLASSES = 6  # of a category, where there is one: Fan 2025's
WIDTH = 150  # characters of the table where no terminal says how wide it is


@dataclass(frozen=True)
class ModelRow:
    """A model in the list.

    Attributes:
        name, paper: as the class says.
        draws: whether it draws galaxies; it reads them otherwise.
        conditions: columns that it is conditioned on, or reads, where the user names none.
        stretch: its own; None where the survey decides (asinh for flux, linear for pictures).
        batch_size, learning_rate: its authors' training.
        parameters: at the published size; None where it cannot be built for such stamps.
        small_parameters: at small scale; None where there is none.
        file: of a user's own model.
    """

    name: str
    paper: str
    draws: bool
    conditions: tuple[str, ...]
    stretch: str | None
    batch_size: int
    learning_rate: float
    parameters: int | None
    small_parameters: int | None
    file: str | None = None

    @classmethod
    def of(cls, kind: type[Model]) -> ModelRow:
        """The row of a model's class."""
        own, file = kind.defaults, file_of(kind)
        small = count_parameters(kind, "small") if kind.small else None
        draws = issubclass(kind, GenerativeModel)
        size = count_parameters(kind, "paper")
        where = str(file) if file else None
        return cls(kind.name, kind.paper, draws, own.conditions, own.stretch, own.batch_size, own.learning_rate, size, small, where)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def model_rows() -> list[ModelRow]:
    """Every registered model, by name.

    Example:
        >>> [row.parameters for row in model_rows() if row.name == "li2024-redshift-cnn"]
        [4851521]
    """
    return [ModelRow.of(get_model(name)) for name in model_names()]


def count_parameters(kind: type[Model], scale: str) -> int | None:
    """Trained numbers of a model for 5 x 64 x 64 stamps; None where it refuses them."""
    conditions = Conditions(tuple(_condition(name) for name in kind.defaults.conditions))
    try:
        arguments = kind.arguments_at(TrainingSet(BANDS, IMAGE_SIZE, conditions, 0.5), scale)
    except InputError:
        return None
    try:
        with torch.device("meta"):
            model = kind(**arguments)
    except (RuntimeError, NotImplementedError, ValueError):  # a constructor that looks at its tensors' values needs them
        model = kind(**arguments)
    return sum(parameter.numel() for parameter in model.parameters())


def _condition(name: str) -> Condition:
    values = np.array([f"class {number}" for number in range(CLASSES)]) if name == "category" else np.linspace(0.1, 4, 50)
    return Condition.fit(name, values)


def print_models(rows: list[ModelRow]) -> None:
    """A table on the terminal."""
    console = Console()
    console = console if console.is_terminal else Console(width=max(WIDTH, console.width))
    table = Table(title="Models that can be trained", caption=f"parameters: for stamps of {BANDS} x {IMAGE_SIZE} x {IMAGE_SIZE}")
    table.add_column("name", no_wrap=True)
    for title in ("paper", "galaxies", "conditions", "stretch"):
        table.add_column(title)
    for title in ("batch", "learning rate", "parameters", "at small scale"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        verb, conditions = "draws" if row.draws else "reads", ", ".join(row.conditions)
        numbers = (str(row.batch_size), f"{row.learning_rate:g}", _count(row.parameters), _count(row.small_parameters))
        table.add_row(row.name, row.paper + (f" [{row.file}]" if row.file else ""), verb, conditions, row.stretch or "by survey", *numbers)
    console.print(table)


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"
