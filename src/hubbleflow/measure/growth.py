"""How the light of a galaxy grows with the radius of the circle or ellipse it is summed in.

Petrosian (1976, ApJ 209, L1): the radius at which the mean brightness of a ring falls to eta = 0.2 of the mean brightness within it,

    eta(r) = <I>(r - 1/2, r + 1/2) / <I>(< r),

compares light with light, so that neither distance, nor dimming, nor depth moves it. Means are over usable pixels only; sums count every
pixel by the part of it that lies inside, exact for circles and in 25ths for ellipses. The first radius at which eta falls below 0.2 counts.

Rings of whole pixels, either in or out, cost a twentieth of such sums and say where to look: they are taken there only.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import sep

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Int

PIXEL_CORNER = 0.7072  # from the middle of a pixel to its corner
HALF = 0.5
SMALLEST = 1e-3  # px: sep wants radii above zero
TINY = 1e-30
ROUNDS = 16  # of looking for a radius farther away
REFINED = 2  # times, of a radius


class Growth:
    """Sums over concentric ellipses of one stamp; radii are semi-major axes, in pixels.

    Args:
        data: sky-subtracted image, 0 where not usable.
        usable: where there is data; None = everywhere.
        x, y: centre, 0 in the middle of the first pixel.
        axis_ratio, theta: minor over major axis, angle of the latter in radians from +x towards +y.

    Example:
        >>> y, x = np.mgrid[:64, :64] - 31.5
        >>> image = np.exp(-(x**2 + y**2) / 32).astype(np.float32)
        >>> growth = Growth(image, None, 31.5, 31.5)
        >>> half = 0.5 * growth.light(np.array([30.0]))
        >>> radius = growth.radii_of(half, growth.rough_radii_of(half), 30.0)  # half of a Gaussian's light
        >>> bool(abs(radius[0] - 4 * np.sqrt(2 * np.log(2))) < 0.02)
        True
    """

    def __init__(
        self,
        data: Float32[np.ndarray, "y x"],
        usable: Bool[np.ndarray, "y x"] | None,
        x: float,
        y: float,
        axis_ratio: float = 1.0,
        theta: float = 0.0,
    ) -> None:
        self.data, self.usable, self.axis_ratio = data, usable, axis_ratio
        self._x, self._y, self._theta = np.array([x]), np.array([y]), np.array([min(max(theta, -np.pi / 2), np.pi / 2)])
        self._cos, self._sin = math.cos(theta), math.sin(theta)
        height, width = data.shape
        self._reach = max(x, width - 1 - x), max(y, height - 1 - y)
        # Out to here an ellipse holds neither an unusable pixel nor anything beyond the stamp: its area is known.
        room_x, room_y = min(x, width - 1 - x) + HALF, min(y, height - 1 - y) + HALF
        across_x, across_y = math.hypot(self._cos, axis_ratio * self._sin), math.hypot(self._sin, axis_ratio * self._cos)
        self.inside_stamp = max(min(room_x / across_x, room_y / across_y), 0.0)
        self.clear = self.inside_stamp
        if usable is not None:
            self.clear = min(self.clear, float(self._squares[~usable].min()) ** 0.5 - PIXEL_CORNER / axis_ratio)

    def sum(self, image: Float32[np.ndarray, "y x"], radii: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Sum of any image within ellipses of these radii."""
        radii = np.maximum(radii, SMALLEST)
        if self.axis_ratio == 1.0:
            return sep.sum_circle(image, self._x, self._y, radii, subpix=0)[0]
        return sep.sum_ellipse(image, self._x, self._y, radii, self.axis_ratio * radii, self._theta, 1.0, subpix=5)[0]

    def light(self, radii: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Light within ellipses of these radii; what is unusable counts as none."""
        return self.sum(self.data, radii)

    def area(self, radii: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Usable area of the stamp (pixels) within ellipses of these radii."""
        whole = self.full_area(radii)
        return whole if radii.max() <= self.clear else np.where(radii <= self.clear, whole, self.sum(self._weight, radii))

    def full_area(self, radii: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Area of the ellipses (pixels)."""
        return np.pi * self.axis_ratio * radii**2

    def covered(self, radius: float) -> float:
        """Share of the ring around this radius that is on the stamp and usable."""
        if radius + HALF <= self.clear:
            return 1.0
        ring = np.array([max(radius - HALF, 0.0), radius + HALF])
        inner, outer = (self.area(ring) / self.full_area(ring)[1]).tolist()
        return (outer - inner) / (1.0 - (ring[0] / ring[1]) ** 2)

    def petrosian(self, eta: float = 0.2, near: float | None = None, refined: bool = True) -> float:
        """The Petrosian radius; NaN where the ring's brightness never falls to eta of the mean, 0 where it has before the first pixel.

        `near` says where to look first; unless refined, it is good to some hundredths of a pixel.
        """
        low = max((self._guess(eta) if near is None else near) - HALF, 1.0)
        last = math.hypot(*self._reach) / self.axis_ratio
        upwards = False
        while low < last:
            ratios = self._ratios(low + HALF * np.arange(-1, 4))
            below = ratios < eta
            if below[0] and not upwards:
                if low == 1.0:
                    return 0.0
                low = max(low - 2 * HALF, 1.0)
            elif below.any():
                at = max(int(np.argmax(below)), 1)
                above, under = ratios[at - 1 : at + 1].tolist()
                inner = low + HALF * (at - 1)
                return self._between(eta, inner, above, under) if refined else inner + HALF * _step(eta, above, under)
            else:
                low, upwards = low + 2 * HALF, True
        return np.nan

    def rough_radii_of(self, light: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Radii within which there is so much light, by rings of whole pixels: within half a pixel or so."""
        grown = np.maximum.accumulate(np.cumsum(self._ring_light))
        return np.interp(light, grown, np.arange(len(grown)) + HALF)

    def radii_of(self, light: Float[np.ndarray, " n"], near: Float[np.ndarray, " n"], last: float) -> Float[np.ndarray, " n"]:
        """Radii within which there is so much light, looked for around `near` and from 0 to `last`."""
        n, low, high = len(light), np.clip(near - HALF, 0.0, last), np.clip(near + HALF, 0.0, last)
        for _ in range(ROUNDS):
            inner, outer = self.light(np.concatenate([low, high])).reshape(2, n)
            down, up = (inner > light) & (low > 0), (outer < light) & (high < last)
            if not (down | up).any():
                break
            further = np.maximum(2.0 * (high - low), HALF)
            below, above = np.maximum(low - further, 0.0), np.minimum(high + further, last)
            low, high = np.where(down, below, np.where(up, high, low)), np.where(down, low, np.where(up, above, high))
        halvings = math.ceil(math.log2(max(float((high - low).max()), 1.0)))  # none where `near` was near
        for k in range(halvings + REFINED):
            middle = 0.5 * (low + high) if k < halvings else _radius_between(light, low, inner, high, outer)
            at = self.light(middle)
            more = at >= light
            low, inner = np.where(more, low, middle), np.where(more, inner, at)
            high, outer = np.where(more, middle, high), np.where(more, at, outer)
        return _radius_between(light, low, inner, high, outer)

    @cached_property
    def _squares(self) -> Float32[np.ndarray, "y x"]:
        # Square of the radius of the ellipse through each pixel
        height, width = self.data.shape
        dx = np.arange(width, dtype=np.float32) - np.float32(self._x[0])
        dy = np.arange(height, dtype=np.float32)[:, None] - np.float32(self._y[0])
        if self.axis_ratio == 1.0:
            return dx * dx + dy * dy
        cos, sin = self._cos, self._sin
        along = dx * np.float32(cos) + dy * np.float32(sin)
        across = dx * np.float32(sin / self.axis_ratio) - dy * np.float32(cos / self.axis_ratio)
        return along * along + across * across

    @cached_property
    def _weight(self) -> Float32[np.ndarray, "y x"]:
        return np.ones(self.data.shape, np.float32) if self.usable is None else self.usable.astype(np.float32)

    @cached_property
    def _rings(self) -> Int[np.ndarray, " p"]:
        return (np.sqrt(self._squares) + np.float32(HALF)).astype(np.intp).ravel()

    @cached_property
    def _ring_light(self) -> Float[np.ndarray, " r"]:
        return np.bincount(self._rings, self.data.ravel())

    def _guess(self, eta: float) -> float:
        # Where eta falls below its limit by rings of whole pixels
        ring, ring_area = self._ring_light, np.bincount(self._rings, None if self.usable is None else self._weight.ravel())
        # The disc of radius k holds the rings before the k-th, and half of that.
        light, area = np.cumsum(ring) - HALF * ring, np.cumsum(ring_area) - HALF * ring_area
        ratios = ring * area / np.where((light > 0) & (ring_area > 0), light * ring_area, np.inf)
        ratios[(light > 0) & (ring_area == 0)] = np.inf
        below = ratios[1:] < eta
        if not below.any():
            return self.inside_stamp
        at = int(np.argmax(below)) + 1
        before, after = ratios[at - 1], ratios[at]
        return at - (eta - after) / (before - after) if np.isfinite(before) and before > eta else float(at)

    def _ratios(self, radii: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
        # eta at all of these radii, half a pixel apart, but the first and the last
        light, area = self.light(radii), self.area(radii)
        ring, ring_area = light[2:] - light[:-2], area[2:] - area[:-2]
        inner, inner_area = light[1:-1], area[1:-1]
        # No usable pixel in the ring: nothing says that the galaxy has ended there. No light within: it has.
        known, bright = ring_area > 1e-3, inner > 0
        ratios = ring * inner_area / np.where(known & bright, ring_area * inner, 1.0)
        return np.where(bright, np.where(known, ratios, np.inf), -np.inf)

    def _between(self, eta: float, low: float, above: float, below: float) -> float:
        # The radius of this eta, between one where it is larger and one, half a pixel on, where it is smaller
        high = low + HALF
        middle = low + (high - low) * _step(eta, above, below)
        at = float(self._ratios(middle + np.array([-HALF, 0.0, HALF]))[0])
        if at >= eta:
            return middle + (high - middle) * _step(eta, at, below)
        return low + (middle - low) * _step(eta, above, at)


def _step(wanted: float, above: float, below: float) -> float:
    # How far between two values another lies
    return (above - wanted) / (above - below) if math.isfinite(above - below) and above > below else HALF


def _radius_between(light: np.ndarray, low: np.ndarray, inner: np.ndarray, high: np.ndarray, outer: np.ndarray) -> Float[np.ndarray, " n"]:
    # Light grows with area more evenly than with radius
    part = np.clip((light - inner) / np.maximum(outer - inner, TINY), 0.0, 1.0)
    return np.sqrt(low**2 + (high**2 - low**2) * part)
