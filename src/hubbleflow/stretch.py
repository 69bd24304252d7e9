"""The stretch between linear flux and what a network sees.

Galaxy fluxes span six decades and the sky is within one noise sigma of zero. The default,

    y = asinh(x / (3 sigma_sky)) / 2        (per band; Lupton, Gunn & Szalay 1999),

is linear through the noise, logarithmic above it, and exactly invertible; sigma_sky is fitted on the training set. Pictures of display
values get a linear map to -1..1. The papers' own (`none`; one global min-max) are here so that a run can be the paper's.

Every stretch remembers the range it saw in training (`limits`, in network units per band) and `inverse` stays within 10 % beyond it: sinh
turns a network's small overshoot into a monster.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from hubbleflow.errors import InputError
from hubbleflow.survey import Survey

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from hubbleflow.pixel_statistics import PixelStatistics

MARGIN = 0.1  # of the trained range, beyond which generated pixels are clipped


@dataclass(frozen=True)
class Stretch:
    """What all stretches share: per-band parameters and the range seen in training.

    Attributes:
        limits: (low, high) per band in network units; None before a range is known.
    """

    limits: tuple[tuple[float, float], ...] | None = None
    name: ClassVar[str] = ""

    def _forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _inverse(self, y: Tensor) -> Tensor:
        raise NotImplementedError

    def __call__(self, x: Float[Tensor, "n band y x"]) -> Float[Tensor, "n band y x"]:
        """Flux to network units."""
        return self._forward(x)

    def inverse(self, y: Float[Tensor, "n band y x"], clip: bool = False) -> Float[Tensor, "n band y x"]:
        """Network units to flux; with `clip`, network units are first held to the trained range plus a tenth of it."""
        if clip and self.limits is not None:
            low, high = (per_band([pair[side] for pair in self.limits], y) for side in (0, 1))
            y = torch.minimum(torch.maximum(y, low - MARGIN * (high - low)), high + MARGIN * (high - low))
        return self._inverse(y)

    def to_dict(self) -> dict[str, Any]:
        """Name and fitted values, JSON-able; :func:`stretch_from_dict` is the inverse."""
        return {"name": self.name, **asdict(self)}


def per_band(values: Any, like: Tensor) -> Tensor:
    """(band,) numbers as a (1, band, 1, 1) tensor beside `like`."""
    return torch.as_tensor(np.asarray(values, np.float32), device=like.device, dtype=like.dtype)[None, :, None, None]


@dataclass(frozen=True)
class Asinh(Stretch):
    """y = asinh(x / softening) / 2 per band; `softening` is 3 sigma of the sky, in flux units.

    Example:
        >>> stretch = Asinh(softening=(0.2,))
        >>> x = torch.tensor([[[[-0.1, 0.0, 50.0]]]])
        >>> torch.allclose(stretch.inverse(stretch(x)), x, atol=1e-4)
        True
    """

    softening: tuple[float, ...] = ()
    name: ClassVar[str] = "asinh"

    def _forward(self, x: Tensor) -> Tensor:
        return torch.asinh(x / per_band(self.softening, x)) / 2

    def _inverse(self, y: Tensor) -> Tensor:
        return torch.sinh(2 * y) * per_band(self.softening, y)

    @classmethod
    def fit(cls, statistics: PixelStatistics) -> Asinh:
        """Softening of 3 sigma of the sky in each band."""
        return cls(softening=tuple(3 * float(sigma) for sigma in statistics.sky_sigma))


@dataclass(frozen=True)
class Linear(Stretch):
    """y = (x - offset) / scale per band; for display values, 0..255 to -1..1."""

    offset: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    name: ClassVar[str] = "linear"

    def _forward(self, x: Tensor) -> Tensor:
        return (x - per_band(self.offset, x)) / per_band(self.scale, x)

    def _inverse(self, y: Tensor) -> Tensor:
        return y * per_band(self.scale, y) + per_band(self.offset, y)

    def inverse(self, y: Tensor, clip: bool = False) -> Tensor:
        """Network units to display values; with `clip`, within the trained range: a picture has no value beyond its whitest."""
        if clip and self.limits is not None:
            low, high = (per_band([pair[side] for pair in self.limits], y) for side in (0, 1))
            y = torch.minimum(torch.maximum(y, low), high)
        return self._inverse(y)

    @classmethod
    def fit(cls, statistics: PixelStatistics) -> Linear:
        """Half the range as scale, its middle as offset."""
        low, high = np.asarray(statistics.low, float), np.asarray(statistics.high, float)
        scale = np.where(high > low, (high - low) / 2, 1.0)
        return cls(offset=tuple(((high + low) / 2).tolist()), scale=tuple(scale.tolist()))


@dataclass(frozen=True)
class MinMax(Linear):
    """Lizarraga 2024's: one global minimum and maximum for all bands, to 0..1."""

    name: ClassVar[str] = "minmax"

    @classmethod
    def fit(cls, statistics: PixelStatistics) -> MinMax:
        """The range of the whole training set, the same for every band."""
        low, high = float(np.min(statistics.low)), float(np.max(statistics.high))
        bands = len(statistics.low)
        return cls(offset=(low,) * bands, scale=((high - low) or 1.0,) * bands)


@dataclass(frozen=True)
class NoStretch(Stretch):
    """Li 2024's: the flux itself."""

    name: ClassVar[str] = "none"

    def _forward(self, x: Tensor) -> Tensor:
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        return y

    @classmethod
    def fit(cls, statistics: PixelStatistics) -> NoStretch:
        """Nothing to fit."""
        return cls()


STRETCHES: dict[str, Any] = {kind.name: kind for kind in (Asinh, Linear, MinMax, NoStretch)}


def fit_stretch(name: str | None, statistics: PixelStatistics, survey: Survey) -> Stretch:
    """The stretch of that name fitted to a training set; by default asinh for flux and linear for display values.

    Raises:
        InputError: no stretch has that name.
    """
    name = name or ("asinh" if survey.linear else "linear")
    if name not in STRETCHES:
        raise InputError(f"unknown stretch {name!r}: choose one of {', '.join(STRETCHES)}")
    stretch = STRETCHES[name].fit(statistics)
    ends = torch.tensor(np.array([statistics.low, statistics.high]), dtype=torch.float32).T[None, :, :, None]
    limits = stretch(ends)[0, :, :, 0].tolist()
    return type(stretch)(**{**asdict(stretch), "limits": tuple((low, high) for low, high in limits)})


def stretch_from_dict(values: dict[str, Any]) -> Stretch:
    """Inverse of :meth:`Stretch.to_dict`.

    Raises:
        InputError: the name is unknown or a fitted value is missing.
    """
    values = dict(values)
    name = values.pop("name", None)
    if name not in STRETCHES:
        raise InputError(f"unknown stretch {name!r}: choose one of {', '.join(STRETCHES)}")
    try:
        return STRETCHES[name](**{key: _tuples(value) for key, value in values.items()})
    except TypeError as error:
        raise InputError(f"stretch {name!r} cannot be read: {error}") from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
