"""Fluxes and sizes in apertures, with neighbours taken out.

Kron (1980, ApJS 43, 305): r_K = sum r I / sum I over an ellipse of 6 (a, b), r in units of the ellipse; the aperture
is 2.5 r_K (a, b), at least 3.5 (a, b), and holds more than 90 % of a galaxy's light (SExtractor's MAG_AUTO). One
aperture, the reference band's, is laid on all bands, so that a colour compares the same part of a galaxy; the PSFs
are not matched.

A pixel of a neighbour, or an unusable one, is replaced by the pixel mirrored through the galaxy's centre, or by sky
where that is none of the galaxy's either (SExtractor's MASK_TYPE CORRECT).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import sep

from hubbleflow.measure.flags import Flag
from hubbleflow.measure.recipe import Recipe

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32

# Fractions of the bracket tried at each step of the half-light radius. Large circles are dear and rarely needed: they
# come last.
COARSE_STEPS = (np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.3]), np.array([0.35, 0.4, 0.5, 0.6]), np.array([0.8, 1.0]))
FINE_STEPS = (np.linspace(0.2, 1.0, 5), np.linspace(0.2, 1.0, 5))


@dataclass(frozen=True)
class Aperture:
    """An ellipse: centre and semi-axes in pixels, theta in radians from +x towards +y."""

    x: float
    y: float
    a: float
    b: float
    theta: float

    @staticmethod
    def of(found: np.void, scale: float = 1.0) -> Aperture:
        """The ellipse of an object of sep's, its axes times `scale`."""
        theta = min(max(float(found["theta"]), -np.pi / 2), np.pi / 2)
        return Aperture(float(found["x"]), float(found["y"]), scale * float(found["a"]), scale * float(found["b"]), theta)

    def scaled(self, scale: float) -> Aperture:
        """The same ellipse with its axes times `scale`."""
        return Aperture(self.x, self.y, scale * self.a, scale * self.b, self.theta)

    @property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return tuple(np.array([value]) for value in (self.x, self.y, self.a, self.b, self.theta))

    def sum(self, data: Float32[np.ndarray, "y x"], error: Any) -> tuple[float, float, Flag]:
        """Flux, its error from `error` (noise of a pixel), and whether the ellipse leaves the stamp."""
        flux, flux_err, bits = sep.sum_ellipse(data, *self._arrays, 1.0, err=error, subpix=0)
        return float(flux[0]), float(flux_err[0]), Flag.APERTURE_TRUNCATED if bits[0] & sep.APER_TRUNC else Flag(0)

    def inside(self, shape: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
        """Pixels whose middle lies in the ellipse."""
        pixels = np.zeros(shape, bool)
        sep.mask_ellipse(pixels, *self._arrays, r=1.0)
        return pixels


def without(data: Float32[np.ndarray, "y x"], hidden: Bool[np.ndarray, "y x"], x: float, y: float) -> Float32[np.ndarray, "y x"]:
    """The image with hidden pixels replaced by those mirrored through (x, y); by 0 where these are no better."""
    rows, columns = np.nonzero(hidden)
    if not rows.size:
        return data
    mirrored_rows, mirrored_columns = np.rint(2 * y - rows).astype(int), np.rint(2 * x - columns).astype(int)
    height, width = data.shape
    there = (mirrored_rows >= 0) & (mirrored_rows < height) & (mirrored_columns >= 0) & (mirrored_columns < width)
    there[there] = ~hidden[mirrored_rows[there], mirrored_columns[there]]
    cleaned = data.copy()
    cleaned[rows, columns] = 0.0
    cleaned[rows[there], columns[there]] = data[mirrored_rows[there], mirrored_columns[there]]
    return cleaned


def kron_aperture(data: Float32[np.ndarray, "y x"], ellipse: Aperture, recipe: Recipe) -> Aperture:
    """The Kron aperture around an object's ellipse (a, b); the least one where its light defines no Kron radius."""
    radius, bits = sep.kron_radius(data, *ellipse._arrays, np.array([recipe.kron_reach]))
    defined = np.isfinite(radius[0]) and radius[0] > 0 and not bits[0] & sep.APER_NONPOSITIVE
    scale = max(recipe.kron_factor * float(radius[0]), recipe.kron_minimum) if defined else recipe.kron_minimum
    # Noise can make the denominator nearly zero: nothing is larger than the ellipse that the radius was computed over.
    return ellipse.scaled(min(scale, recipe.kron_factor * recipe.kron_reach))


def half_light_radius(data: Float32[np.ndarray, "y x"], kron: Aperture, flux: float) -> float:
    """Radius (px) of the circle around the barycentre with half of the Kron flux; NaN where that is not positive."""
    if not flux > 0:
        return np.nan
    # sep.flux_radius bins the light in rings and is 2 % off for small galaxies: exact circles, closing in on half of
    # the flux, are not.
    inner, outer, inside, beyond = 0.0, kron.a, 0.0, np.nan
    for steps in COARSE_STEPS:
        inner, outer, inside, beyond = _bracket(data, kron, steps * kron.a, 0.5 * flux, inner, inside)
        if np.isfinite(beyond):
            break
    for steps in FINE_STEPS:
        if np.isfinite(beyond):
            inner, outer, inside, beyond = _bracket(data, kron, inner + (outer - inner) * steps, 0.5 * flux, inner, inside)
    return inner + (outer - inner) * (0.5 * flux - inside) / (beyond - inside)


def _bracket(
    data: Float32[np.ndarray, "y x"], centre: Aperture, radii: np.ndarray, wanted: float, inner: float, inside: float
) -> tuple[float, float, float, float]:
    # The radii between which the light in a circle passes `wanted`, and the light in both; the second light is NaN
    # where it never does.
    light, _, _ = sep.sum_circle(data, np.array([centre.x]), np.array([centre.y]), radii, subpix=0)
    above = np.flatnonzero(light >= wanted)
    if not above.size:
        return float(radii[-1]), np.nan, float(light[-1]), np.nan
    first = int(above[0])
    if first:
        inner, inside = float(radii[first - 1]), float(light[first - 1])
    return inner, float(radii[first]), inside, float(light[first])
