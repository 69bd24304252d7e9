"""Asymmetry: the light that a galaxy has too much, or too little, opposite to every point; and the centre that makes it least.

Conselice (2003, ApJS 147, 1), Lotz, Primack & Madau (2004, AJ 128, 163, eq. 10): with the image turned by 180 degrees about c,

    A(c) = (sum |I(p) - I(2 c - p)| - B) / sum |I(p)|,    A = min over c,

over a circle around c of 1.5 Petrosian radii. B is what the sky alone would give: for Gaussian noise the mean of |n1 - n2| is
2 sigma / sqrt(pi) a pixel. It uses no more of the noise than its sigma, where a sample of sky as small as a stamp can spare would be noisy.
As in statmorph, the turned image is interpolated linearly, which smooths its noise a little, so that B is too large and A, at low
signal-to-noise, too small. A pixel has a say where it and all pixels opposite are usable and on the stamp.

Turned about c, a pixel falls between the four around 2 c - p, the same way for all p: I(2 c - p) = sum_k w_k I(k - p) with bilinear
weights w_k of the points k around 2 c. With the nine differences I(k - p) - I(p) of a 3 x 3 block of points k at hand, the sum at many
centres is one product of two small matrices. The search goes to the best block of integer 2 c, then compares a centre with its eight
neighbours, moves to the best, and where that is the middle one comes closer, to 1/30 px; it counts the pixels of the circle around its
start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import sep

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32

SKY = 2.0 / np.sqrt(np.pi)  # mean |n1 - n2| of two Gaussian numbers of unit dispersion
CLOSER, CLOSEST = 0.25, 0.05  # factor, and last, of the steps in 2 c
THREE = np.array([-1.0, 0.0, 1.0])
NEIGHBOURS = np.stack(np.meshgrid(THREE, THREE), axis=-1).reshape(9, 2)  # x fastest
MIDDLE, AFTER = 4, (4, 5, 7, 8)  # of the nine: the middle one; it and those right of it, above it
ROUNDS = 64  # moves after which the search is given up


class Asymmetry:
    """A(c) of one stamp for centres near (x, y).

    Args:
        data: sky-subtracted image, 0 where not usable.
        usable: where there is data; None = everywhere.
        noise: standard deviation of the sky in a pixel.
        x, y: where to start, on the stamp; 0 in the middle of the first pixel.
        radius: of the aperture (px).
        reach: how far from (x, y) a centre may be (px).

    Example:
        >>> y, x = np.mgrid[:48, :48]
        >>> image = np.exp(-np.hypot(x - 23.2, y - 23.9) / 3).astype(np.float32)
        >>> asymmetry = Asymmetry(image, None, 0.0, 23.5, 23.5, 15.0, 3.0)
        >>> [round(c, 1) for c in asymmetry.centre()]
        [23.2, 23.9]
    """

    def __init__(
        self,
        data: Float32[np.ndarray, "y x"],
        usable: Bool[np.ndarray, "y x"] | None,
        noise: float,
        x: float,
        y: float,
        radius: float,
        reach: float,
    ) -> None:
        self.noise, self.radius, self.reach = noise, radius, reach
        # A square with every pixel, and every pixel opposite, for any centre within reach; nothing is usable beyond the stamp.
        half = int(radius + 2.0 * reach) + 6
        self._left, self._top, self._side = round(x) - half, round(y) - half, 2 * half + 1
        self._image = self._square(data)
        self._usable = self._square(np.ones(data.shape, bool) if usable is None else usable)
        self._whole = bool(self._usable.all())
        self._start = np.array([x - self._left, y - self._top])

    def centre(self) -> tuple[float, float] | None:
        """The centre of least asymmetry; None where the search leaves the reach, or meets nothing but masked pixels."""
        window, weight = self._circle()
        image, start = self._image[window], 2.0 * self._start
        at, step, middle = np.rint(start), 1.0, None
        for _ in range(ROUNDS):
            if np.hypot(*(at - start)) > 2.0 * self.reach + 1.0:
                return None
            if middle is None:
                middle = np.rint(at)
                differences = np.stack([piece - image for piece in self._opposite(self._image, window, middle)]).reshape(9, -1)
                say = weight
                if not self._whole:
                    say = weight * np.logical_and.reduce(self._opposite(self._usable, window, middle)).ravel()
                if not say.any():
                    return None
            if step == 1.0:  # integers: all nine are at hand
                values = np.abs(differences) @ say
            else:
                values = np.abs(_hats(at - middle, step) @ differences) @ say
            best = int(np.argmin(values))
            if values[best] < values[MIDDLE]:
                at = at + step * NEIGHBOURS[best]
            else:
                step *= CLOSER
                if step < CLOSEST:
                    break
            if np.abs(at - middle).max() + step > 1.0:
                middle = None
        if np.hypot(*(at - start)) > 2.0 * self.reach:
            return None
        return float(at[0] / 2.0) + self._left, float(at[1] / 2.0) + self._top

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A for this centre, summed over the exact circle around it, and the share of the circle that has a say in it.

        NaN where no light has.
        """
        x, y = x - self._left, y - self._top
        window = self._window(x, y)
        image, corner = self._image[window], np.floor(np.array([2.0 * x, 2.0 * y]))
        weights, around = _hats(np.array([2.0 * x, 2.0 * y]) - corner, 0.0)[MIDDLE], self._opposite(self._image, window, corner)
        turned = sum(weights[k] * around[k] for k in AFTER)
        sums = [np.abs(turned - image), np.abs(image)]
        circle, full = (np.array([x - window[1].start]), np.array([y - window[0].start]), self.radius), float(np.pi * self.radius**2)
        area = full
        if not self._whole:
            pieces = self._opposite(self._usable, window, corner)
            say = np.logical_and.reduce([pieces[k] for k in AFTER]) & self._usable[window]
            if not say.all():
                sums = [one * say for one in sums]
                area = float(sep.sum_circle(say.astype(np.float32), *circle, subpix=0)[0][0])
        difference, light = (float(sep.sum_circle(one, *circle, subpix=0)[0][0]) for one in sums)
        return ((difference - SKY * self.noise * area) / light if light > 0 else np.nan), area / full

    def _square(self, image: np.ndarray) -> np.ndarray:
        square = np.zeros((self._side, self._side), image.dtype)
        (top, y0, rows), (left, x0, columns) = (
            (max(-first, 0), max(first, 0), min(first + self._side, n) - max(first, 0))
            for first, n in ((self._top, image.shape[0]), (self._left, image.shape[1]))
        )
        square[top : top + rows, left : left + columns] = image[y0 : y0 + rows, x0 : x0 + columns]
        return square

    def _window(self, x: float, y: float) -> tuple[slice, slice]:
        # Rows and columns of the circle's pixels
        first_y, first_x = (int(c - self.radius) for c in (y, x))
        return slice(first_y, int(y + self.radius) + 2), slice(first_x, int(x + self.radius) + 2)

    def _circle(self) -> tuple[tuple[slice, slice], Float32[np.ndarray, " p"]]:
        # A pixel on the rim counts by the part of it inside; this is that part within 0.1, good enough to search with.
        window = self._window(*self._start)
        dy, dx = (
            np.arange(one.start, one.stop, dtype=np.float32) - np.float32(c) for one, c in zip(window, self._start[::-1], strict=True)
        )
        part = np.clip(np.float32(self.radius + 0.5) - np.sqrt(dx * dx + (dy * dy)[:, None]), 0.0, 1.0)
        return window, (part if self._whole else part * self._usable[window]).ravel()

    def _opposite(self, square: np.ndarray, window: tuple[slice, slice], middle: Float[np.ndarray, " 2"]) -> list[np.ndarray]:
        # square[k - p] for the pixels p of the window, and the nine k around (x, y) = middle, x fastest
        (y, rows), (x, columns) = (
            (self._side - 1 - int(k) + one.start, one.stop - one.start) for one, k in zip(window, middle[::-1], strict=True)
        )
        backwards = square[::-1, ::-1]
        return [backwards[y - j : y - j + rows, x - i : x - i + columns] for j in (-1, 0, 1) for i in (-1, 0, 1)]


def _hats(offset: Float[np.ndarray, " 2"], step: float) -> Float32[np.ndarray, "9 9"]:
    # Bilinear weights of the nine points around 0, for the nine places around this offset, all within 1
    places = offset[:, None, None] + step * THREE[:, None]
    x, y = np.maximum(1.0 - np.abs(places - THREE), 0.0).astype(np.float32)
    return (y[:, None, :, None] * x[None, :, None, :]).reshape(9, 9)
