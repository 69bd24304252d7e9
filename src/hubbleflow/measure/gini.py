"""How unevenly the light is shared, and how far out the brightest of it lies: Gini, M20 and the second moments of some pixels.

G    = sum_i (2 i - n - 1) |I_i| / ((n - 1) sum |I|), |I_i| in ascending order (Gini 1912; Lotz, Primack & Madau 2004, eq. 6)
M20  = log10(sum of the M_i of the brightest pixels that hold 20 % of the light / sum of all M_i),
       M_i = I_i ((x_i - x_c)^2 + (y_i - y_c)^2), (x_c, y_c) the barycentre (Lotz, Primack & Madau 2004, AJ 128, 163, eqs. 7-8)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

THINNEST = 1.0 / 12.0  # second moment of one row of pixels (px^2), as in SExtractor


@dataclass(frozen=True)
class Pixels:
    """Some pixels of an image: their values, their places, and the sum of the values."""

    values: Float[np.ndarray, " n"]
    x: Int[np.ndarray, " n"]
    y: Int[np.ndarray, " n"]
    light: float

    @staticmethod
    def of(image: Float[np.ndarray, "y x"], where: Bool[np.ndarray, "y x"]) -> Pixels:
        """Those `where`."""
        at = np.flatnonzero(where)
        y, x = np.divmod(at, image.shape[1])
        values = image.ravel()[at].astype(float)
        return Pixels(values, x, y, float(values.sum()))

    def barycentre(self) -> tuple[float, float]:
        """(x, y) of the light."""
        return float(self.values @ self.x) / self.light, float(self.values @ self.y) / self.light

    def brightest(self) -> tuple[float, float]:
        """(x, y) of the brightest pixel."""
        at = int(np.argmax(self.values))
        return float(self.x[at]), float(self.y[at])

    def ellipse(self, x: float, y: float) -> tuple[float, float]:
        """Axis ratio and angle (radians from +x towards +y) of the second moments about (x, y)."""
        dx, dy = self.x - x, self.y - y
        weighted = self.values * dx
        xx, xy, yy = (float(moment) / self.light for moment in (weighted @ dx, weighted @ dy, (self.values * dy) @ dy))
        mean, half = 0.5 * (xx + yy), float(np.hypot(0.5 * (xx - yy), xy))
        major, minor = max(mean + half, THINNEST), max(mean - half, THINNEST)
        return float(np.sqrt(minor / major)), float(0.5 * np.arctan2(2.0 * xy, xx - yy))


def gini(values: Float[np.ndarray, " n"]) -> float:
    """Gini coefficient of |values|: 0 where all are equal, 1 where one has everything; NaN of fewer than two, or of zeros.

    Example:
        >>> gini(np.array([1.0, 1.0, 1.0])), gini(np.array([0.0, 0.0, 5.0]))
        (0.0, 1.0)
    """
    ordered = np.sort(np.abs(values))
    n, total = len(ordered), float(ordered.sum(dtype=float))
    if n < 2 or not total > 0:
        return np.nan
    return float((2.0 * np.arange(1, n + 1) - n - 1) @ ordered) / ((n - 1) * total)


def m20(pixels: Pixels) -> float:
    """M20 of these pixels; NaN where light or moments are not positive.

    Example:
        >>> image = np.array([[8.0, 0, 0, 0, 0, 2]])  # barycentre x = 1: moments 8 and 32, and the 8 has 20 % of the light
        >>> bool(m20(Pixels.of(image, image > 0)) == np.log10(8 / 40))
        True
    """
    if not pixels.light > 0:
        return np.nan
    ordered = np.sort(pixels.values)
    threshold = ordered[np.argmax(np.cumsum(ordered) >= 0.8 * pixels.light)]
    x, y = pixels.barycentre()
    moments = pixels.values * ((pixels.x - x) ** 2 + (pixels.y - y) ** 2)
    bright, all_ = float(moments[pixels.values >= threshold].sum()), float(moments.sum())
    return float(np.log10(bright / all_)) if bright > 0 and all_ > 0 else np.nan
