"""category-cnn: a small classifier, to ask whether generated galaxies are recognised as the kind that was asked for.

Four stages of (3x3 convolution, GroupNorm, SiLU, 2x2 mean-pooling), global mean, dropout, one linear layer; cross-entropy. It is kept small
because the sets it is trained on are (hundreds of galaxies a class).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from hubbleflow.errors import InputError
from hubbleflow.models.model import PredictiveModel, TrainingDefaults, TrainingSet

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class CategoryCnn(PredictiveModel):
    """Images -> probabilities of the classes."""

    name: ClassVar[str] = "category-cnn"
    paper: ClassVar[str] = "this package"
    defaults: ClassVar[TrainingDefaults] = TrainingDefaults(
        batch_size=32,
        learning_rate=2e-3,
        weight_decay=5e-2,
        ema=0.99,
        decay_to=0.05,
        condition_dropout=0.0,
        steps=800,
        conditions=("category",),
    )

    def __init__(self, bands: int, classes: int, widths: Sequence[int] = (24, 48, 96, 128), dropout: float = 0.3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = bands
        for width in widths:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(8, width), nn.SiLU(), nn.AvgPool2d(2)]
            channels = width
        self.features, self.dropout, self.head = nn.Sequential(*layers), dropout, nn.Linear(channels, classes)

    @classmethod
    def arguments(cls, training_set: TrainingSet) -> dict[str, Any]:
        """Needs one categorical condition."""
        columns = training_set.conditions.columns
        if len(columns) != 1 or not columns[0].is_category:
            raise InputError(f"model {cls.name!r} learns one category: pass --condition category")
        return {"bands": training_set.bands, "classes": len(columns[0].classes)}

    @property
    def hidden(self) -> nn.Module:
        """The last stage, whose mean over pixels the classes are read from."""
        return self.features

    def _logits(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        h = self.features(x).mean(dim=(2, 3)).float()
        if generator is not None:
            keep = torch.rand(h.shape, generator=generator, device=h.device) >= self.dropout
            h = h * keep / (1 - self.dropout)
        return self.head(h).float()

    def loss(self, x: Float[Tensor, "n band y x"], c: Float[Tensor, "n 1"], generator: torch.Generator) -> Float[Tensor, ""]:
        """Cross-entropy with the class numbers in c, label smoothing 0.05."""
        return F.cross_entropy(self._logits(x, generator), c[:, 0].long(), label_smoothing=0.05)

    def predict(self, x: Float[Tensor, "n band y x"]) -> Float[Tensor, "n classes"]:
        """Probabilities of the classes, in class-number order."""
        return self._logits(x).softmax(dim=1)
