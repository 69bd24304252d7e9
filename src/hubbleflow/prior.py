"""Which galaxies there are: the joint distribution of a few columns of a table, of which some are asked for and the rest drawn.

Each continuous column is made Gaussian by its own distribution F in the table, u = Phi^-1(F(v)); then, with the classes g of those that
are categories,

    p(u, g) = sum_k w_k N(u; mu_k, S_k) prod_j p_kj(g_j)                                                      (1)

a Gaussian-mixture copula, fitted by expectation-maximisation (Dempster, Laird & Rubin 1977). Whatever is asked for, each further column is
again a mixture, with the Cholesky factor L of S_k and e = L^-1 (u - mu),

    p(u_j | u_1 .. u_j-1) = sum_k w_k' N(u_j; mu_kj + sum_i<j L_ji e_i, L_jj^2),   w_k' ~ w_k p(u_1 .. u_j-1 | k)             (2)

and is drawn at a quantile of it (Rosenblatt 1952). A galaxy is its quantiles: held while redshift moves, it stays as bright and as large
for its time as it was, and changes smoothly.

Columns that stand apart, how a galaxy lies or was seen and not what it is, take no part in that: each group of them, a position angle, or
the seeing of all bands, is a row of a table of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hubbleflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float64
    from torch import Tensor

LEVELS = 513  # of each column's distribution
MOST_ROWS = 60_000  # that the mixture is fitted on
MOST_APART = 2048  # rows of a group that stands apart
MOST_ALIKE = 16  # of them, those that are drawn from where some of its columns are asked for
ROWS_A_COMPONENT = 100  # with fewer, galaxies that it was not fitted to are less likely (bench/prior.py)
FEWEST_COMPONENTS, MOST_COMPONENTS = 2, 256  # of one alone, the kind would not depend on redshift
ITERATIONS = 60
LEAST_WIDTH = 0.01  # of a component, in standard deviations of a column: galaxies of one kind and redshift are of nearly one colour
BISECTIONS = 40
AT_ONCE = 256  # galaxies: each has a number for every component and column
EDGE = 7.0  # standard deviations beyond which there are no galaxies
ATOM = 1e-9  # a difference of levels that is none


@dataclass(frozen=True)
class Prior:
    """The joint distribution of a table's columns.

    Attributes:
        names: the columns that depend on one another, continuous ones first.
        classes: names of the classes of each category, the last columns.
        levels: quantiles of each continuous column, evenly spaced in rank.
        weight, mean, covariance: w_k, mu_k and S_k of eq. (1).
        shares: p_kj of eq. (1), one a category.
        apart: groups of columns that depend on no others.
        rows: what galaxies have of them, a table a group.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> z = rng.uniform(0, 2, 4000)
        >>> prior = Prior.fit({"redshift": z, "i_mag": 20 + 2 * z + rng.normal(0, 0.1, 4000)})
        >>> drawn = prior.draw({"redshift": np.array([0.5, 1.5])}, seeds=[7, 7])
        >>> [round(float(magnitude)) for magnitude in drawn["i_mag"]]
        [21, 23]
    """

    names: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...]
    levels: Float64[Tensor, "d level"]
    weight: Float64[Tensor, " k"]
    mean: Float64[Tensor, "k d"]
    covariance: Float64[Tensor, "k d d"]
    shares: tuple[Float64[Tensor, "k class"], ...]
    apart: tuple[tuple[str, ...], ...] = ()
    rows: tuple[Float64[Tensor, "row column"], ...] = ()

    @property
    def continuous(self) -> tuple[str, ...]:
        """Names of the columns that are numbers."""
        return self.names[: len(self.levels)]

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the columns that are classes."""
        return self.names[len(self.levels) :]

    @classmethod
    def fit(
        cls, columns: Mapping[str, np.ndarray], seed: int = 0, components: int | None = None, apart: Sequence[Sequence[str]] = ()
    ) -> Prior:
        """Fit eq. (1) to a table: finite numbers, or text for categories; with up to 256 components where it is not said how many. Numbers
        of each group `apart` depend on one another alone.
        """
        n = len(next(iter(columns.values())))
        chosen = np.sort(np.random.default_rng([seed, 7]).permutation(n)[:MOST_APART])
        tables = [np.stack([np.asarray(columns[name], float)[chosen] for name in group], axis=1) for group in apart]
        columns = {name: values for name, values in columns.items() if not any(name in group for group in apart)}
        text = {name for name, values in columns.items() if np.asarray(values).dtype.kind in "UO"}
        names = [*(name for name in columns if name not in text), *(name for name in columns if name in text)]
        rng = np.random.default_rng([seed, 6])
        rows = np.sort(rng.permutation(n)[:MOST_ROWS])
        levels, u, classes, members = [], [], [], []
        for name in names:
            values = np.asarray(columns[name])
            if name in text:
                found, member = np.unique(values.astype(str), return_inverse=True)
                classes.append(tuple(found.tolist()))
                members.append(torch.from_numpy(member[rows]))
            else:
                levels.append(torch.from_numpy(np.quantile(values.astype(float), np.linspace(0, 1, LEVELS))))
                u.append(_gaussian(levels[-1], torch.from_numpy(values.astype(float)[rows]), torch.from_numpy(rng.random(len(rows)))))
        components = components or int(np.clip(len(rows) // ROWS_A_COMPONENT, FEWEST_COMPONENTS, MOST_COMPONENTS))
        start = torch.from_numpy(rng.permutation(len(rows))[:components])
        table = torch.stack(u, dim=1) if u else torch.zeros(len(rows), 0, dtype=torch.float64)
        mixture = _expectation_maximisation(table, members, [len(found) for found in classes], start)
        stacked = torch.stack(levels) if levels else torch.zeros(0, LEVELS, dtype=torch.float64)
        # In order of the first column: of one alone, galaxies of neighbouring quantiles are alike.
        sorted_rows = tuple(torch.from_numpy(table[np.argsort(table[:, 0], kind="stable")]) for table in tables)
        return cls(tuple(names), tuple(classes), stacked, *mixture, tuple(tuple(group) for group in apart), sorted_rows)

    def draw(self, asked: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, np.ndarray]:
        """All columns of as many galaxies as there are seeds: those asked for as they are, the others given those.

        Args:
            asked: column -> values, one a galaxy; {} for whatever there is.
            seeds: one a galaxy, which fixes its quantiles.

        Raises:
            InputError: a class that there is none of.
        """
        given, found = {name: np.asarray(values) for name, values in asked.items()}, dict[str, np.ndarray]()
        for first in range(0, max(1, len(seeds)), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            for name, values in self._drawn({name: values[part] for name, values in given.items()}, seeds[part]).items():
                found.setdefault(name, np.empty(len(seeds), values.dtype))[part] = values
        return found

    def _drawn(self, asked: Mapping[str, np.ndarray], seeds: Sequence[int]) -> dict[str, np.ndarray]:
        n, d = len(seeds), len(self.levels)
        columns, many = [*self.names, *(name for group in self.apart for name in group)], len(self.names) + len(self.apart)
        quantile = torch.stack([torch.rand(many, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in seeds])
        log_weight = self.weight.log().expand(n, -1)
        drawn = {name: values for name, values in asked.items() if name in columns}
        for group, table, q in zip(self.apart, self.rows, quantile[:, len(self.names) :].T, strict=True):
            found = _rows(table, q, {place: drawn[name] for place, name in enumerate(group) if name in drawn})
            drawn |= {name: values.numpy() for name, values in zip(group, found.T, strict=True) if name not in drawn}
        categories = list(zip(self.categories, self.classes, self.shares, quantile[:, d : len(self.names)].T, strict=True))
        for name, classes, share, q in sorted(categories, key=lambda category: category[0] not in drawn):
            if name in drawn:
                unknown = sorted(set(drawn[name].astype(str).tolist()) - set(classes))
                if unknown:
                    raise InputError(f"unknown {name} {unknown[0]!r}: this generator knows {', '.join(classes)}")
                member = torch.tensor([classes.index(value) for value in drawn[name].astype(str)])
            else:
                cumulative = (log_weight.softmax(dim=1) @ share).cumsum(dim=1)
                member = (cumulative < q[:, None]).sum(dim=1).clamp(max=len(classes) - 1)
                drawn[name] = np.asarray(classes)[member.numpy()]
            log_weight = log_weight + share.T[member].log()
        order = sorted(range(d), key=lambda column: (self.names[column] not in drawn, column))
        factor = torch.linalg.cholesky(self.covariance[:, order][:, :, order])
        mean, whitened = self.mean[:, order], torch.zeros(n, len(self.weight), d, dtype=torch.float64)
        for place, column in enumerate(order):
            name, width = self.names[column], factor[:, place, place]
            centre = mean[:, place] + (factor[:, place, :place] * whitened[:, :, :place]).sum(dim=2)
            if name in drawn:
                u = _gaussian(self.levels[column], torch.from_numpy(drawn[name].astype(float)), quantile[:, column])
            else:
                u = _at_quantile(log_weight.softmax(dim=1), centre, width, quantile[:, column])
                drawn[name] = _value(self.levels[column], u).numpy()
            whitened[:, :, place] = (u[:, None] - centre) / width
            log_weight = log_weight - whitened[:, :, place] ** 2 / 2 - width.log()
        return {name: drawn[name] for name in columns}

    def log_density(self, columns: Mapping[str, np.ndarray]) -> Float64[Tensor, " n"]:
        """ln p(u, g) of eq. (1) for the galaxies of a table with all its columns (but for those that stand apart): what two priors of one
        table can be compared by.

        A class that the prior has never met has none: -inf.
        """
        n = len(next(iter(columns.values())))
        middle = torch.full((n,), 0.5, dtype=torch.float64)
        numbers = [torch.from_numpy(np.asarray(columns[name], float)) for name in self.continuous]
        pairs = zip(self.levels, numbers, strict=True)
        u = torch.stack([_gaussian(levels, v, middle) for levels, v in pairs], dim=1) if numbers else torch.zeros(n, 0, dtype=torch.float64)
        texts = [np.asarray(columns[name]).astype(str) for name in self.categories]
        places = [{one: place for place, one in enumerate(classes)} for classes in self.classes]
        members = [torch.tensor([known.get(one, -1) for one in text.tolist()]) for known, text in zip(places, texts, strict=True)]
        met = torch.stack([member >= 0 for member in members], dim=1).all(dim=1) if members else torch.ones(n, dtype=torch.bool)
        members = [member.clamp(min=0) for member in members]
        log = _log_components(u, members, self.weight, self.mean, self.covariance, self.shares).logsumexp(dim=1)
        return torch.where(met, log - u.shape[1] / 2 * math.log(2 * math.pi), -torch.inf)

    def tensors(self) -> dict[str, Tensor]:
        """Its numbers, for a file of weights."""
        named = {"levels": self.levels, "weight": self.weight, "mean": self.mean, "covariance": self.covariance}
        shares = {f"shares.{number}": share for number, share in enumerate(self.shares)}
        return named | shares | {f"rows.{number}": rows for number, rows in enumerate(self.rows)}

    def to_dict(self) -> dict[str, Any]:
        """Its names, JSON-able; :meth:`from_dict` puts both together."""
        names = {"names": list(self.names), "classes": [list(found) for found in self.classes]}
        return names | ({"apart": [list(group) for group in self.apart]} if self.apart else {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Prior:
        """Inverse of :meth:`to_dict` and :meth:`tensors`."""
        classes = tuple(tuple(found) for found in values["classes"])
        shares = tuple(tensors[f"shares.{number}"] for number in range(len(classes)))
        levels, weight, mean, covariance = (tensors[name] for name in ("levels", "weight", "mean", "covariance"))
        apart = tuple(tuple(group) for group in values.get("apart", ()))
        rows = tuple(tensors[f"rows.{number}"] for number in range(len(apart)))
        return cls(tuple(values["names"]), classes, levels, weight, mean, covariance, shares, apart, rows)


def _rows(table: Float64[Tensor, "row column"], q: Float64[Tensor, " n"], asked: Mapping[int, np.ndarray]) -> Float64[Tensor, "n column"]:
    """Rows at quantile q of all, or of those different ones that are most like what is asked of some columns."""
    if not asked or len(asked) == table.shape[1]:
        return table[(q * len(table)).long()]
    table = table.unique(dim=0)  # many galaxies share a pointing
    columns = table[:, list(asked)]
    wanted = torch.stack([torch.from_numpy(np.asarray(values, float)) for values in asked.values()], dim=1)
    spread = columns.std(dim=0).clamp(min=ATOM)
    nearest = torch.cdist(wanted / spread, columns / spread).argsort(dim=1, stable=True)[:, : min(MOST_ALIKE, len(table))]
    return table[nearest.gather(1, (q[:, None] * nearest.shape[1]).long())[:, 0]]


def _gaussian(levels: Float64[Tensor, " level"], v: Float64[Tensor, " n"], q: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    """u of a column's values; where many galaxies have the very same value, at quantile q of those ranks that it takes."""
    below = torch.searchsorted(levels, v, right=False)
    above = torch.searchsorted(levels, v, right=True)
    left = (below - 1).clamp(0, len(levels) - 2)
    step = levels[left + 1] - levels[left]
    between = left + ((v - levels[left]) / torch.where(step > 0, step, 1.0)).clamp(0, 1)
    rank = torch.where(above - below > 1, below + q * (above - 1 - below), between)
    half = 0.5 / len(levels)  # the least and the greatest value are not infinitely far out
    return torch.special.ndtri(half + (1 - 2 * half) * rank / (len(levels) - 1))


def _value(levels: Float64[Tensor, " level"], u: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    """Inverse of :func:`_gaussian`."""
    half = 0.5 / len(levels)
    rank = ((torch.special.ndtr(u) - half) / (1 - 2 * half)).clamp(0, 1) * (len(levels) - 1)
    left = rank.long().clamp(max=len(levels) - 2)
    return levels[left] + (rank - left) * (levels[left + 1] - levels[left])


def _at_quantile(
    weight: Float64[Tensor, "n k"], centre: Float64[Tensor, "n k"], width: Float64[Tensor, " k"], q: Float64[Tensor, " n"]
) -> Float64[Tensor, " n"]:
    """Where the distribution function of a mixture of Gaussians is q, by bisection."""
    low, high = torch.full_like(q, -EDGE), torch.full_like(q, EDGE)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        short = (weight * torch.special.ndtr((middle[:, None] - centre) / width)).sum(dim=1) < q
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return (low + high) / 2


def _log_components(
    u: Float64[Tensor, "n d"],
    members: Sequence[Tensor],
    weight: Float64[Tensor, " k"],
    mean: Float64[Tensor, "k d"],
    covariance: Float64[Tensor, "k d d"],
    shares: Sequence[Tensor],
) -> Float64[Tensor, "n k"]:
    """ln of each term of eq. (1), but for (2 pi)^-d/2; u' S^-1 u as a product of matrices."""
    factor = torch.linalg.cholesky(covariance)
    inverse = torch.cholesky_inverse(factor)
    linear = (inverse @ mean[:, :, None])[:, :, 0]
    constant = weight.log() - factor.diagonal(dim1=1, dim2=2).log().sum(dim=1) - (linear * mean).sum(dim=1) / 2
    log = constant + u @ linear.T - (u[:, :, None] * u[:, None]).flatten(1) @ inverse.flatten(1).T / 2
    for member, share in zip(members, shares, strict=True):
        log = log + share.log().T[member]
    return log


def _expectation_maximisation(
    u: Float64[Tensor, "n d"], members: Sequence[Tensor], counts: Sequence[int], start: Tensor
) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
    """w, mu, S and p of eq. (1), from components around the rows `start`."""
    (n, d), k = u.shape, len(start)
    identity = torch.eye(d, dtype=torch.float64)
    products = (u[:, :, None] * u[:, None]).flatten(1)
    weight, mean = torch.full((k,), 1 / k, dtype=torch.float64), u[start].clone()
    covariance = (identity / max(1, k) ** (2 / max(1, d))).expand(k, -1, -1)
    overall = [torch.bincount(member, minlength=count).double() / n for member, count in zip(members, counts, strict=True)]
    shares = [share.expand(k, -1) for share in overall]
    for _ in range(ITERATIONS):
        responsibility = _log_components(u, members, weight, mean, covariance, shares).softmax(dim=1).T
        total = responsibility.sum(dim=1) + ATOM
        weight = total / total.sum()
        mean = responsibility @ u / total[:, None]
        second = (responsibility @ products / total[:, None]).unflatten(1, (d, d))
        covariance = second - mean[:, :, None] * mean[:, None] + LEAST_WIDTH**2 * identity
        # A component that has never met a class is not sure that there is none: it thinks of one more galaxy, like all the others.
        shares = [
            (responsibility @ torch.nn.functional.one_hot(member, count).double() + share) / (total + 1)[:, None]
            for member, count, share in zip(members, counts, overall, strict=True)
        ]
    return weight, mean, covariance, tuple(shares)
