"""How numbers enter a network: codes of scalars, and whatever the galaxies are conditioned on, embedded or as it is.

A scalar u becomes (cos u f_k, sin u f_k) over geometrically spaced frequencies f_k (Tancik et al. 2020; for steps Vaswani et al. 2017). A
condition is a row of numbers, one a column of the table: standardised values, class numbers, and NaN where nothing is asked ("no
condition"), for which a network that learns without conditions, too, has learned numbers. So dropping a condition for classifier-free
guidance (Ho & Salimans 2022) is writing NaN, and nothing else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from hubbleflow.conditions import ANGLE
from hubbleflow.networks.zeroed import zeroed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor


class FourierFeatures(nn.Module):
    """(n,) scalars -> (n, size) cosines and sines at `size / 2` frequencies from `lowest` to `highest` radians a unit."""

    def __init__(self, size: int, lowest: float = 0.5, highest: float = 64.0) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.exp(torch.linspace(math.log(lowest), math.log(highest), size // 2)), persistent=False)

    def forward(self, u: Float[Tensor, " n"]) -> Float[Tensor, "n size"]:
        angles = u[:, None] * self.get_buffer("frequencies")
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class AngleCode(nn.Module):
    """(n,) angles in radians -> (n, 4): cosine and sine of them and of twice them."""

    def forward(self, u: Float[Tensor, " n"]) -> Float[Tensor, "n 4"]:
        angles = torch.stack([u, 2 * u], dim=1)
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class SinusoidalCode(nn.Module):
    """(n,) steps -> (n, size) sines and cosines at periods of 2 pi to 2 pi 10000 steps (Vaswani et al. 2017, section 3.5)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        half = size // 2
        self.register_buffer("frequencies", torch.exp(-math.log(1e4) * torch.arange(half) / half), persistent=False)

    def forward(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n size"]:
        angles = t.float()[:, None] * self.get_buffer("frequencies")
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class ConditionEmbedding(nn.Module):
    """(n, k) conditions -> (n, size): the sum of one embedding a column.

    Args:
        layout: one number a column: 0 for a continuous value, K >= 2 for one of K classes, ANGLE for an angle in radians.
        size: length of the embedding.
        highest: frequency of a value's code, in radians a unit. Standardised values lie within about +-3: 32 resolves a hundredth of
            that range, and lets what is drawn change as quickly.

    Example:
        >>> embed = ConditionEmbedding((0, 4), 16)
        >>> embed(torch.tensor([[0.3, 2.0], [float("nan"), float("nan")]])).shape
        torch.Size([2, 16])
    """

    def __init__(self, layout: tuple[int, ...], size: int, highest: float = 32.0) -> None:
        super().__init__()
        self.layout, self.size = tuple(layout), size
        self.columns = nn.ModuleList()
        for classes in self.layout:
            if classes == ANGLE:
                self.columns.append(nn.Sequential(AngleCode(), zeroed(nn.Linear(4, size))))
            elif classes:
                self.columns.append(nn.Embedding(classes, size))
            else:
                self.columns.append(nn.Sequential(FourierFeatures(size, 0.25, highest), nn.Linear(size, size)))
        self.nothing = nn.Parameter(torch.zeros(len(self.layout), size))

    def forward(self, c: Float[Tensor, "n k"]) -> Float[Tensor, "n size"]:
        total = c.new_zeros(len(c), self.size)
        for number, (classes, embed) in enumerate(zip(self.layout, self.columns, strict=True)):
            value = c[:, number]
            asked = torch.isfinite(value)
            value = torch.where(asked, value, torch.zeros_like(value))
            total = total + torch.where(asked[:, None], embed(value.long() if classes > 0 else value), self.nothing[number])
        return total


class ConditionNumbers(nn.Module):
    """(n, k) conditions -> (n, size) plain numbers: a continuous value as it is, one of K classes as K zeros and ones, an angle as its
    cosine and sine.

    "Not asked" is all zeros, for a standardised value its mean; or, `learned`, numbers that start at -1 for a value, where no redshift is,
    and at 0 for each class.

    Example:
        >>> c = torch.tensor([[0.5, 1.0], [float("nan"), float("nan")]])
        >>> ConditionNumbers((0, 3))(c).tolist(), ConditionNumbers((0, 3), learned=True)(c)[1].tolist()
        ([[0.5, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]], [-1.0, 0.0, 0.0, 0.0])
    """

    def __init__(self, layout: Sequence[int], *, learned: bool = False) -> None:
        super().__init__()
        self.layout, self.learned = tuple(layout), learned
        self.sizes = [2 if classes == ANGLE else classes or 1 for classes in self.layout]
        self.size = sum(self.sizes)
        # What "not asked" starts at is not part of the parameter, so that one that is zero has never been trained.
        self.nothing = nn.Parameter(torch.zeros(self.size)) if learned and self.layout else None

    def forward(self, c: Float[Tensor, "n k"]) -> Float[Tensor, "n size"]:
        nothing = c.new_zeros(self.size) if self.nothing is None else self.nothing
        numbers = [c.new_zeros(len(c), 0)]
        for column, (classes, unasked) in enumerate(zip(self.layout, nothing.split(self.sizes), strict=True)):
            value = c[:, column, None]
            asked = torch.isfinite(value)
            value = torch.where(asked, value, torch.zeros_like(value))
            if classes == ANGLE:
                numbers.append(torch.where(asked, torch.cat([value.cos(), value.sin()], dim=1), unasked))
            elif classes:
                numbers.append(torch.where(asked, F.one_hot(value[:, 0].long(), classes).to(c), unasked))
            else:
                numbers.append(torch.where(asked, value, unasked - 1 if self.learned else unasked))
        return torch.cat(numbers, dim=1)
