"""What galaxies are conditioned on: columns of the table -> a tensor of numbers, and back to sentences when the numbers are wrong.

A row of the condition tensor holds, for each column in turn,

    continuous   (t(v) - mean) / scale     t is log(1 + z) for redshift, log v for positive columns with a long tail, v otherwise
    angle        2 v in radians: a galaxy turned by 180 degrees has the same major axis
    category     the class's number
    not asked    NaN

Redshift gets the papers' jitter in training, z + N(0, 0.01) (Lizarraga 2024, section 5.1). Dropping all columns of a row with some
probability trains the unconditional model that classifier-free guidance needs; it is done here once, for every model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hubbleflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from hubbleflow.galaxies import GalaxySet

REDSHIFT_JITTER = 0.01
ANGLE = -1  # in a layout: a column that is an angle, 2 pi and 0 being the same
ANGLES = ("position_angle", "pos_angle")  # endings of columns that are a major axis' degrees from +x (columns) towards +y (rows)
SEEING = "_seeing"  # ending of columns that are a PSF's full width at half maximum in a band
LONG_TAIL = 20.0  # ratio of the 99th to the 1st percentile above which a positive column is taken in the logarithm


@dataclass(frozen=True)
class Condition:
    """One column as a condition.

    Attributes:
        name: the column.
        transform: "log1p", "log", "identity", "angle" or "category".
        low, high: range seen in training (continuous).
        mean, scale: of the transformed training values (continuous).
        classes: names in class-number order (category).
        jitter: standard deviation added to the raw value in training.
        distribution: 33 evenly spaced quantiles of the training values, or each class's share: what to draw where nothing is asked.
    """

    name: str
    transform: str
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    scale: float = 1.0
    classes: tuple[str, ...] = ()
    jitter: float = 0.0
    distribution: tuple[float, ...] = ()

    @property
    def is_category(self) -> bool:
        """Whether the column holds class names."""
        return self.transform == "category"

    @classmethod
    def fit(cls, name: str, values: np.ndarray, jitter: float | None = None) -> Condition:
        """Learn range and scaling (or the classes) from the training set's column.

        Raises:
            InputError: values that no model can be conditioned on: NaN, negative redshifts, one class only.
        """
        values = np.asarray(values)
        if name == "redshift" and values.dtype.kind not in "fiu":
            raise InputError(f"column 'redshift' must hold numbers, got text such as {str(values[0])!r}")
        if values.dtype.kind in "UO" or name == "category":
            classes, counts = np.unique(values.astype(str), return_counts=True)
            if "" in classes:
                raise InputError(
                    f"column {name!r} is empty for {counts[0]} of {len(values)} galaxies: select those that have a class first"
                )
            if len(classes) < 2:
                raise InputError(f"column {name!r} has one class only, {classes[0]!r}: there is nothing to condition on")
            return cls(name, "category", classes=tuple(classes.tolist()), distribution=tuple((counts / len(values)).tolist()))
        values = values.astype(float)
        bad = ~np.isfinite(values) | ((values < 0) if name == "redshift" else False)
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            wanted = "finite and not negative" if name == "redshift" else "finite"
            raise InputError(
                f"column {name!r} must be {wanted} to condition on, but {int(bad.sum())} of {len(values)} values are not "
                f"(first: row {first}, {values[first]:g}): pass --skip-bad-rows, or select the others first"
            )
        low, high = float(values.min()), float(values.max())
        if name.endswith(ANGLES):
            quantiles = tuple(np.quantile(values, np.linspace(0, 1, 33)).tolist())
            return cls(name, "angle", -90.0, 90.0, distribution=quantiles)
        if low == high:
            raise InputError(f"column {name!r} is {low:g} for every galaxy: there is nothing to condition on")
        if name == "redshift":
            transform = "log1p"
        else:
            near, far = np.percentile(values, [1, 99])
            transform = "log" if near > 0 and low > 0 and far > LONG_TAIL * near else "identity"
        transformed = _TRANSFORMS[transform](values)
        if jitter is None:
            jitter = REDSHIFT_JITTER if name == "redshift" else 0.0
        quantiles = tuple(np.quantile(values, np.linspace(0, 1, 33)).tolist())
        return cls(name, transform, low, high, float(transformed.mean()), float(transformed.std()), (), float(jitter), quantiles)

    def usable(self, values: np.ndarray) -> np.ndarray:
        """(n,) which rows a model can be trained on."""
        values = np.asarray(values)
        if values.dtype.kind in "UO":
            return values.astype(str) != ""
        return np.isfinite(values) & ((values >= 0) if self.name == "redshift" else True)

    def encode(self, values: np.ndarray, extrapolate: bool = False) -> np.ndarray:
        """(n,) numbers for the network.

        Raises:
            InputError: an unknown class; a value that is NaN or outside the trained range while not `extrapolate`.
        """
        if self.is_category:
            values = np.asarray(values).astype(str)
            unknown = sorted(set(values.tolist()) - set(self.classes))
            if unknown:
                raise InputError(f"unknown {self.name} {unknown[0]!r}: this generator knows {', '.join(self.classes)}")
            return np.array([self.classes.index(value) for value in values], np.float32)
        values = np.asarray(values, float)
        if not np.isfinite(values).all():
            raise InputError(f"{self.name} must be a finite number, got {values[~np.isfinite(values)][0]:g}")
        if self.name == "redshift" and (values < 0).any():
            raise InputError(f"a redshift cannot be negative, got {values.min():g}")
        if self.transform == "angle":
            return np.remainder(np.deg2rad(2 * values), 2 * np.pi).astype(np.float32)
        slack = 1e-6 * (self.high - self.low)
        outside = (values < self.low - slack) | (values > self.high + slack)
        if outside.any() and not extrapolate:
            raise InputError(
                f"{self.name} {values[outside][0]:g} is outside the trained range {self.low:.4g} to {self.high:.4g}: "
                f"ask within it, or pass --extrapolate to have it anyway"
            )
        if self.transform == "log" and (values <= 0).any():
            raise InputError(f"{self.name} must be positive, got {values.min():g}")
        return ((_TRANSFORMS[self.transform](values) - self.mean) / self.scale).astype(np.float32)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n,) values from the training set's distribution."""
        if self.is_category:
            return np.asarray(self.classes)[rng.choice(len(self.classes), n, p=np.asarray(self.distribution) / sum(self.distribution))]
        return np.interp(rng.random(n), np.linspace(0, 1, len(self.distribution)), self.distribution)

    def jittered(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Training values with the jitter added; redshifts and logarithms stay in their domain."""
        if not self.jitter:
            return values
        noisy = values + self.jitter * rng.standard_normal(len(values))
        return np.maximum(noisy, 0.0) if self.transform == "log1p" else noisy


_TRANSFORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"log1p": np.log1p, "log": np.log, "identity": np.array}


@dataclass(frozen=True)
class Conditions:
    """The conditions of a generator, in the order of the tensor's columns.

    Attributes:
        columns: one condition a column.

    Example:
        >>> redshift = Condition.fit("redshift", np.array([0.1, 1.0, 3.0]))
        >>> Conditions((redshift,)).encode({"redshift": np.array([0.5, 2.0])}).shape
        torch.Size([2, 1])
    """

    columns: tuple[Condition, ...]

    @classmethod
    def fit(cls, names: Sequence[str], galaxies: GalaxySet, jitter: float | None = None) -> Conditions:
        """Fit each named column (`redshift`, `category`, any archive or measured column) on a training set."""
        if len(set(names)) != len(names):
            raise InputError(f"each condition may be named once, got {', '.join(names)}")
        values = [galaxies.column(name) for name in names]
        pairs = zip(names, values, strict=True)
        columns = tuple(Condition.fit(name, value, jitter if name == "redshift" else None) for name, value in pairs)
        return cls(columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.columns)

    @property
    def layout(self) -> tuple[int, ...]:
        """What an embedding needs to know: 0 for a continuous column, the number of classes for a category, ANGLE for an angle."""
        return tuple(ANGLE if column.transform == "angle" else len(column.classes) for column in self.columns)

    @property
    def apart(self) -> tuple[tuple[str, ...], ...]:
        """Groups of columns that say how a galaxy lies or was seen, and not what it is: each angle, and the seeing of all bands."""
        seeing = tuple(name for name in self.names if name.endswith(SEEING))
        return (*((column.name,) for column in self.columns if column.transform == "angle"), *((seeing,) if seeing else ()))

    def encode(self, values: Mapping[str, Any], extrapolate: bool = False) -> Float[Tensor, "n k"]:
        """Table columns -> (n, k) tensor; a column that is not given is NaN (not asked).

        Raises:
            InputError: no condition is given, or see :meth:`Condition.encode`.
        """
        given = [column for column in self.columns if column.name in values]
        if not given and self.columns:
            raise InputError(f"this generator is conditioned on {', '.join(self.names)}: give at least one of them")
        n = len(np.atleast_1d(values[given[0].name])) if given else 0
        rows = np.full((n, len(self.columns)), np.nan, np.float32)
        for number, column in enumerate(self.columns):
            if column.name in values:
                rows[:, number] = column.encode(np.atleast_1d(values[column.name]), extrapolate)
        return torch.from_numpy(rows)

    def encode_training(self, values: Mapping[str, np.ndarray], rng: np.random.Generator, dropout: float) -> Float[Tensor, "n k"]:
        """As :meth:`encode`, with jitter, and with all columns of a row dropped with probability `dropout`. Not some of them: what is not
        asked for comes from the prior.
        """
        jittered = {
            column.name: column.jittered(values[column.name], rng) if column.jitter else values[column.name] for column in self.columns
        }
        c = self.encode(jittered, extrapolate=True)
        if dropout:
            c[torch.from_numpy(rng.random(len(c)) < dropout)] = torch.nan
        return c

    def turned(self, c: Float[Tensor, "n k"], symmetry: np.ndarray) -> Float[Tensor, "n k"]:
        """The conditions of images under one of the square's eight symmetries each (see :func:`hubbleflow.training.flipped_and_turned`)."""
        angles = [number for number, column in enumerate(self.columns) if column.transform == "angle"]
        if not angles:
            return c
        quarters = torch.from_numpy(symmetry % 4)[:, None]
        mirrored = torch.from_numpy(symmetry >= 4)[:, None]
        c = c.clone()
        turned = c[:, angles] + math.pi * quarters  # a quarter turn is half a turn of twice the angle
        c[:, angles] = torch.where(mirrored, -turned, turned)
        return c

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; :meth:`from_dict` is the inverse."""
        return {"columns": [asdict(column) for column in self.columns]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Conditions:
        """Inverse of :meth:`to_dict`."""
        try:
            return cls(tuple(_condition_from(value) for value in values["columns"]))
        except (TypeError, KeyError) as error:
            raise InputError(f"conditions cannot be read: {error}") from error


def _condition_from(value: Mapping[str, Any]) -> Condition:
    arguments: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
    return Condition(**arguments)
