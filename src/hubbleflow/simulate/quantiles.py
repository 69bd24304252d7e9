r"""A distribution that changes with two quantities, as a table of its quantiles: what the fits to catalogues are kept in.

Q(p | x, y) stands on a grid of x, y and probabilities p; between nodes it is linear in all three, and outside the grid of x and y it is
that of the nearest edge. Drawing is Q at a uniform deviate; the rank of a value is its inverse. Linear mixing of quantile functions (not
of densities) moves a distribution from one place to the next instead of making it double-peaked in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class QuantileGrid:
    """Quantiles `values` (x, y, p) at the nodes `x`, `y` and the probabilities `p`, all ascending.

    Example:
        >>> grid = QuantileGrid(np.array([0.0, 1.0]), np.array([0.0]), np.array([0.0, 1.0]), np.array([[[0.0, 1.0]], [[2.0, 3.0]]]))
        >>> grid.value(np.array([0.5]), np.array([0.0]), np.array([0.5])).tolist()
        [1.5]
        >>> grid.rank(np.array([0.5]), np.array([0.0]), np.array([1.5])).tolist()
        [0.5]
    """

    x: Float[np.ndarray, " x"]
    y: Float[np.ndarray, " y"]
    p: Float[np.ndarray, " p"]
    values: Float[np.ndarray, "x y p"]

    @staticmethod
    def read(table: dict[str, Any]) -> QuantileGrid:
        """From the four lists of a JSON file."""
        return QuantileGrid(*(np.array(table[name]) for name in ("x", "y", "p", "values")))

    def at(self, x: np.ndarray, y: np.ndarray) -> Float[np.ndarray, "n p"]:
        """The quantile function at n places."""
        return bilinear(self.x, self.y, self.values, x, y)

    def value(self, x: np.ndarray, y: np.ndarray, probability: np.ndarray) -> Float[np.ndarray, " n"]:
        """Q(probability | x, y); below the first and above the last p the end pieces go on."""
        quantiles, rows = self.at(x, y), np.arange(len(x))
        k = np.clip(np.searchsorted(self.p, probability, side="right") - 1, 0, len(self.p) - 2)
        fraction = (probability - self.p[k]) / (self.p[k + 1] - self.p[k])
        return quantiles[rows, k] * (1 - fraction) + quantiles[rows, k + 1] * fraction

    def rank(self, x: np.ndarray, y: np.ndarray, value: np.ndarray) -> Float[np.ndarray, " n"]:
        """The probability at which Q is `value`, within p's range; the middle of it where Q is flat there."""
        quantiles, rows = self.at(x, y), np.arange(len(x))
        below = np.clip((quantiles < value[:, None]).sum(axis=1) - 1, 0, len(self.p) - 2)
        low, high = quantiles[rows, below], quantiles[rows, below + 1]
        fraction = np.where(high > low, (value - low) / np.where(high > low, high - low, 1), 0.5)
        return self.p[below] + np.clip(fraction, 0, 1) * (self.p[below + 1] - self.p[below])


def bilinear(
    x_nodes: Float[np.ndarray, " x"], y_nodes: Float[np.ndarray, " y"], values: Float[np.ndarray, "x y c"], x: np.ndarray, y: np.ndarray
) -> Float[np.ndarray, "n c"]:
    """`values` at n places (x, y), linear between ascending nodes and constant beyond them.

    >>> nodes = np.array([0.0, 1.0])
    >>> bilinear(nodes, nodes, np.array([[[0.0], [1.0]], [[2.0], [3.0]]]), np.array([0.5, 9.0]), np.array([0.5, 0.0])).tolist()
    [[1.5], [2.0]]
    """
    i, a = _node(x_nodes, x)
    j, b = _node(y_nodes, y)
    top, right = np.minimum(i + 1, len(x_nodes) - 1), np.minimum(j + 1, len(y_nodes) - 1)
    a, b = a[:, None], b[:, None]
    return (1 - a) * ((1 - b) * values[i, j] + b * values[i, right]) + a * ((1 - b) * values[top, j] + b * values[top, right])


def _node(nodes: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the node below each x and the fraction of the way to the next."""
    if len(nodes) == 1:
        return np.zeros(len(x), int), np.zeros(len(x))
    i = np.clip(np.searchsorted(nodes, x, side="right") - 1, 0, len(nodes) - 2)
    return i, np.clip((x - nodes[i]) / (nodes[i + 1] - nodes[i]), 0, 1)
