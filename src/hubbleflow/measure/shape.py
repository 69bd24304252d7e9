"""The non-parametric shape of one galaxy, step by step: its segment, its centre, its radii, its light, its isophote (`nonparametric`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from hubbleflow.measure.asymmetry import Asymmetry
from hubbleflow.measure.gini import Pixels, gini, m20
from hubbleflow.measure.growth import Growth
from hubbleflow.measure.shape_flags import ShapeFlag

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32

TOUCHING = np.ones((3, 3), int)  # corners touch too
LEAST_SKY = 64  # pixels of sky, below which B_S is that of independent Gaussian pixels
POSITIVE_PART = 1.0 / np.sqrt(2.0 * np.pi)  # mean of max(n, 0) of a Gaussian number of unit dispersion
RING, RING_SIGNS = np.array([-0.5, 0.5]), np.array([-1.0, 1.0])
NO_FLAG = ShapeFlag(0)


@dataclass(frozen=True)
class ShapeRecipe:
    """Every choice that the numbers rest on; the defaults are the papers'.

    Attributes:
        eta: ratio of brightness that defines the Petrosian radius.
        aperture: radius of the circle for C, A and S, in r_P.
        smoothing: box of S and its inner radius, in r_P; also how far the centre may move.
        isophote: dispersion of the Gaussian before the Petrosian isophote, in a_P.
        threshold, minarea: of the galaxy's segment: sigmas of the sky on the convolved image, and least number of pixels.
        tolerance_px: how far from the centre given the segment may lie when it does not cover it.
        low_snr: mean signal-to-noise ratio of the isophote's pixels below which numbers are flagged (Lotz et al. 2004).
        masked_fraction: of the aperture, beyond which it is flagged.
    """

    eta: float = 0.2
    aperture: float = 1.5
    smoothing: float = 0.25
    isophote: float = 0.2
    threshold: float = 1.5
    minarea: int = 5
    tolerance_px: float = 8.0
    low_snr: float = 2.5
    masked_fraction: float = 0.2


@dataclass(frozen=True)
class Stamp:
    """One galaxy's pixels: sky-subtracted and 0 where not usable; where they are usable (None: everywhere); the sky's sigma."""

    data: Float32[np.ndarray, "y x"]
    usable: Bool[np.ndarray, "y x"] | None
    noise: float
    recipe: ShapeRecipe

    def shape(
        self, x: float, y: float, segment: Bool[np.ndarray, "y x"] | None = None, psf_fwhm: float = 0.0
    ) -> tuple[dict[str, float], ShapeFlag]:
        """Values by name, without those that there are none of, and what is wrong with them.

        Args:
            x, y: where the galaxy is.
            segment: its own usable pixels, where they are known.
            psf_fwhm: of the PSF (px); 0 = unknown.
        """
        recipe = self.recipe
        if not (0 < self.noise < np.inf and np.isfinite(x + y)):
            return {}, ShapeFlag.NO_OBJECT
        if segment is None:
            segment = self.segment(x, y)
        if segment is None or not segment.any():
            return {}, ShapeFlag.NO_OBJECT
        own = Pixels.of(self.data, segment)
        if not own.light > 0:
            return {}, ShapeFlag.NO_FLUX
        height, width = self.data.shape
        x, y = own.barycentre()
        x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
        start = Growth(self.data, self.usable, x, y)
        radius = start.petrosian(recipe.eta, refined=False)
        if not radius > 0:
            why = ShapeFlag.MASKED if not self._has(x, y) else ShapeFlag.TOO_SMALL if radius == 0 else NO_FLAG
            return {}, ShapeFlag.NO_PETROSIAN | why
        x, y, asymmetry, flag = self._centre(x, y, radius, own)

        circle = Growth(self.data, self.usable, x, y)
        ellipse = Growth(self.data, self.usable, x, y, *own.ellipse(x, y))
        radius, major = circle.petrosian(recipe.eta, near=radius), ellipse.petrosian(recipe.eta)
        if not (radius > 0 and major > 0):
            return {}, flag | ShapeFlag.NO_PETROSIAN
        if min(circle.covered(radius), ellipse.covered(major)) < 0.5:
            flag |= ShapeFlag.BEYOND_STAMP
        aperture = recipe.aperture * radius
        rim = np.array([recipe.smoothing * radius, aperture])
        inner, total = circle.light(rim).tolist()
        if not total > 0:
            return {}, flag | ShapeFlag.NO_FLUX
        parts = np.array([0.2, 0.8]) * total
        r20, r80 = circle.radii_of(parts, start.rough_radii_of(parts), aperture).tolist()
        if not r80 > r20 > 0:
            return {}, flag | ShapeFlag.NO_FLUX
        if aperture > circle.inside_stamp:
            flag |= ShapeFlag.APERTURE_TRUNCATED
        if r20 < max(1.0, 0.5 * psf_fwhm):
            flag |= ShapeFlag.TOO_SMALL
        values = {"asymmetry": asymmetry, "asymmetry_x": x, "asymmetry_y": y, "petro_rad": major, "petro_rad_circular": radius}
        values |= {"r20": r20, "r80": r80, "concentration": float(5.0 * np.log10(r80 / r20))}
        values["smoothness"] = self._smoothness(circle, rim, total - inner, int(rim[0]), segment)
        if not np.isfinite(values["smoothness"]):
            flag |= ShapeFlag.NO_SMOOTHNESS
        found, remark = self._isophote(ellipse, major)
        return values | found, flag | remark

    def segment(self, x: float, y: float) -> Bool[np.ndarray, "y x"] | None:
        """The connected pixels above the threshold that cover (x, y), else the nearest; None where there are none.

        The image is convolved with the pyramid [[1, 2, 1], [2, 4, 2], [1, 2, 1]] / 16, as in `detect`.
        """
        height, width = self.data.shape
        padded = np.zeros((height + 2, width + 2), np.float32)
        padded[1:-1, 1:-1] = self.data
        rows = padded[:-2] + padded[2:] + 2 * padded[1:-1]
        smooth = rows[:, :-2] + rows[:, 2:] + 2 * rows[:, 1:-1]
        above = smooth > 16 * self.recipe.threshold * self.noise
        if self.usable is not None:
            above &= self.usable
        pieces, _ = ndimage.label(above, TOUCHING)
        number = pieces[min(max(round(y), 0), height - 1), min(max(round(x), 0), width - 1)]
        if not number:
            at_y, at_x = np.nonzero(above)
            distance = np.hypot(at_x - x, at_y - y)
            if not distance.size or distance.min() > self.recipe.tolerance_px:
                return None
            nearest = int(np.argmin(distance))
            number = pieces[at_y[nearest], at_x[nearest]]
        segment = pieces == number
        return segment if np.count_nonzero(segment) >= self.recipe.minarea else None

    def _centre(self, x: float, y: float, radius: float, own: Pixels) -> tuple[float, float, float, ShapeFlag]:
        # The centre of least asymmetry, looked for around (x, y), then around the brightest pixel; the asymmetry about it
        recipe, flag = self.recipe, NO_FLAG
        reach, aperture = recipe.smoothing * radius, recipe.aperture * radius
        around = Asymmetry(self.data, self.usable, self.noise, x, y, aperture, reach)
        found = around.centre()
        if found is None:
            again = Asymmetry(self.data, self.usable, self.noise, *own.brightest(), aperture, reach)
            found = again.centre()
            if found is None:
                found, flag = (x, y), ShapeFlag.CENTRE_MOVED
            else:
                around = again
        asymmetry, share = around.at(*found)
        if share < 1.0 - recipe.masked_fraction or not self._has(*found):
            flag |= ShapeFlag.MASKED
        return *found, asymmetry, flag

    def _has(self, x: float, y: float) -> bool:
        # Whether the pixel is there and usable
        row, column, (height, width) = round(y), round(x), self.data.shape
        return 0 <= row < height and 0 <= column < width and (self.usable is None or bool(self.usable[row, column]))

    def _smoothness(self, circle: Growth, rim: Float[np.ndarray, " 2"], light: float, size: int, segment: Bool[np.ndarray, "y x"]) -> float:
        if size < 2 or not light > 0:
            return np.nan
        smooth, sky = ndimage.uniform_filter(self.data, size), ~segment
        if self.usable is not None:
            smooth /= np.maximum(ndimage.uniform_filter(self.usable.astype(np.float32), size), 0.5 / size**2)
            sky &= self.usable
        rough = np.maximum(self.data - smooth, 0.0)
        if self.usable is not None:
            rough *= self.usable
        sky = ndimage.uniform_filter(sky.astype(np.float32), size) > 1.0 - 0.5 / size**2
        if np.count_nonzero(sky) >= LEAST_SKY:
            expected = float(rough[sky].mean())
        else:
            expected = self.noise * POSITIVE_PART * np.sqrt(1.0 - 1.0 / size**2)
        clumps = circle.sum(rough, rim) - expected * circle.area(rim)
        return float(clumps[1] - clumps[0]) / light

    def _isophote(self, ellipse: Growth, major: float) -> tuple[dict[str, float], ShapeFlag]:
        # Gini, M20 and the signal-to-noise ratio, of the Petrosian isophote
        smooth, flag = blurred(self.data, self.recipe.isophote * major), NO_FLAG
        ring = major + RING
        inner, outer = (ellipse.sum(smooth, ring) / (ellipse.full_area(ring) @ RING_SIGNS)).tolist()
        above = smooth >= outer - inner
        pieces, how_many = ndimage.label(above, TOUCHING)
        if how_many > 1:
            above, flag = pieces == pieces.flat[int(np.argmax(smooth))], ShapeFlag.FRAGMENTED
        if above[0].any() or above[-1].any() or above[:, 0].any() or above[:, -1].any():
            flag |= ShapeFlag.EDGE
        if self.usable is not None:
            above &= self.usable
        pixels = Pixels.of(self.data, above)
        positive = pixels.values[pixels.values >= 0]
        values = {"gini": gini(pixels.values), "m20": m20(pixels)}
        values["snr_per_pixel"] = float(positive.mean()) / self.noise if positive.size else np.nan
        if not np.isfinite(values["gini"] + values["m20"]):
            flag |= ShapeFlag.NO_GINI
        return values, flag if values["snr_per_pixel"] >= self.recipe.low_snr else flag | ShapeFlag.LOW_SNR


def blurred(image: Float32[np.ndarray, "y x"], sigma: float) -> Float32[np.ndarray, "y x"]:
    """Convolved with a Gaussian, cut at 4 sigma, nothing around the image: what ndimage.gaussian_filter does in twice the time.

    Example:
        >>> image = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)
        >>> bool(np.allclose(blurred(image, 2.0), ndimage.gaussian_filter(image, 2.0, mode="constant"), atol=1e-6))
        True
    """
    reach = int(4.0 * sigma + 0.5)
    half = np.exp(-0.5 * (np.arange(reach + 1) / max(sigma, 1e-6)) ** 2)
    half /= 2.0 * half.sum() - half[0]
    rows = _banded(half, image.shape[0])
    return rows @ image @ (rows if image.shape[0] == image.shape[1] else _banded(half, image.shape[1]))


def _banded(half: Float[np.ndarray, " k"], n: int) -> Float32[np.ndarray, "n n"]:
    # The symmetric matrix whose diagonals these are, from the middle one out
    line, reach = np.zeros(2 * n - 1, np.float32), min(len(half), n)
    line[n - 1 : n - 1 + reach] = half[:reach]
    line[n - reach : n] = half[:reach][::-1]
    return np.ascontiguousarray(sliding_window_view(line, n)[::-1])
