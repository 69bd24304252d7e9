"""How numbers enter a network: Fourier features of scalars, and the embedding of whatever the galaxies are conditioned on.

A scalar u becomes (cos u f_k, sin u f_k) over geometrically spaced frequencies f_k (Tancik et al. 2020). A condition is a row of numbers,
one a column of the table: standardised values, class numbers, and NaN where nothing is asked ("no condition"), for which each column has
a learned vector. So dropping a condition for classifier-free guidance (Ho & Salimans 2022) is writing NaN, and nothing else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
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


class ConditionEmbedding(nn.Module):
    """(n, k) conditions -> (n, size): the sum of one embedding a column.

    Args:
        layout: one number a column: 0 for a continuous value, K >= 2 for one of K classes.
        size: length of the embedding.

    Example:
        >>> embed = ConditionEmbedding((0, 4), 16)
        >>> embed(torch.tensor([[0.3, 2.0], [float("nan"), float("nan")]])).shape
        torch.Size([2, 16])
    """

    def __init__(self, layout: tuple[int, ...], size: int) -> None:
        super().__init__()
        self.layout, self.size = tuple(layout), size
        self.columns = nn.ModuleList()
        for classes in self.layout:
            if classes:
                self.columns.append(nn.Embedding(classes, size))
            else:
                # Standardised values lie within about +-3: 32 rad a unit resolves a hundredth of that range.
                self.columns.append(nn.Sequential(FourierFeatures(size, 0.25, 32.0), nn.Linear(size, size)))
        self.nothing = nn.Parameter(torch.zeros(len(self.layout), size))

    def forward(self, c: Float[Tensor, "n k"]) -> Float[Tensor, "n size"]:
        total = c.new_zeros(len(c), self.size)
        for number, (classes, embed) in enumerate(zip(self.layout, self.columns, strict=True)):
            value = c[:, number]
            asked = torch.isfinite(value)
            value = torch.where(asked, value, torch.zeros_like(value))
            total = total + torch.where(asked[:, None], embed(value.long() if classes else value), self.nothing[number])
        return total
