"""A model that takes part in a comparison: as published, or on another stretch of the flux than its paper's."""

from __future__ import annotations

from dataclasses import dataclass

from hubbleflow.errors import InputError
from hubbleflow.models import GenerativeModel, get_model, model_of
from hubbleflow.stretch import STRETCHES

BETWEEN = ":"  # a model's name and its stretch


@dataclass(frozen=True)
class Contestant:
    """One row of the table.

    Attributes:
        model: the registered name of a generator.
        stretch: whose network units it learns in; None is the model's own.
    """

    model: str
    stretch: str | None = None

    @classmethod
    def parse(cls, text: str) -> Contestant:
        """From "MODEL" or "MODEL:STRETCH"; a model may be a .py file, which is registered.

        Raises:
            InputError: no such model or stretch, or a model that cannot draw.

        Example:
            >>> Contestant.parse("lizarraga2024:asinh").key
            'lizarraga2024-asinh'
        """
        model, between, stretch = text.rpartition(BETWEEN)
        if not between or stretch.endswith(".py"):
            model, stretch = text, ""
        if between and stretch and stretch not in STRETCHES:
            raise InputError(f"unknown stretch {stretch!r} in {text!r}: choose one of {', '.join(STRETCHES)}")
        kind = model_of(model)
        if not issubclass(kind, GenerativeModel):
            raise InputError(f"model {kind.name!r} reads galaxies and cannot draw them: choose one that does")
        return cls(kind.name, stretch or None)

    @property
    def kind(self) -> type[GenerativeModel]:
        """The model's class."""
        found = get_model(self.model)
        assert issubclass(found, GenerativeModel)
        return found

    @property
    def key(self) -> str:
        """Of its folder, its stages and its row."""
        return f"{self.model}-{self.stretch}" if self.stretch else self.model

    def titled(self, scale: str) -> str:
        """What it is called where it is shown: "lizarraga2024 (small), asinh"."""
        return self.kind.titled(scale) + (f", {self.stretch}" if self.stretch else "")
