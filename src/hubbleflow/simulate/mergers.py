r"""Galaxies that are being pulled about: companions, tidal tails and bridges, shells, lopsided discs.

A merging galaxy has a companion of a quarter to the whole of its light (a major merger by the usual limit of 1:4), at 0.5 to 2.5 of
its half-light radii. Tides draw a tail out of the far side of each and a bridge between them (Toomre & Toomre 1972, ApJ 178, 623); tails
carry a few to twenty per cent of the light, with the colours of the discs they came from (Schombert, Wallin & Struck-Marcell 1990,
AJ 99, 497). A tail is here a row of Gaussian blobs along

    r(s) = r_0 + (L - r_0) s,   phi(s) = phi_0 + c (1 - (1 - s)^2),   0 < s < 1,

which leaves the disc nearly along its edge and straightens outwards; both tails of a pair turn the same way.

A disturbed galaxy, whose companion is gone, has one of two things: a stream as above, with a shorter one opposite; or shells, the arcs
that stars from a radial orbit pile up in on alternate sides, further and further out (Quinn 1984, ApJ 279, 596; Malin & Carter 1983, ApJ
274, 534). Shapes and shares are our choice within those papers' ranges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.simulate.population import Galaxies

_TAIL, _COUNTER, _BRIDGE = 26, 22, 12
TIDAL = _TAIL + _COUNTER + _BRIDGE
_RESOLVED_ARCSEC = 1.0  # nearer companions would be blended
_FARTHEST_ARCSEC = 4.0  # farther ones would stand outside a stamp of 64 HSC pixels
_SHELLS = 3


@dataclass(frozen=True)
class Tides:
    """What tides do to n galaxies, arcsec from each galaxy's centre; `weight` sums to one per galaxy.

    `share` is the part of the light in the blobs. `separation`, `direction` (radians), `flux_ratio`, `bulge_to_total`, `bulge_radius`,
    `disc_radius`, `bulge_q`, `disc_q`, `position_angle` and `reddening` (of the companion's colours against the galaxy's, the exponent of
    the wavelength) describe the companion.
    """

    x: Float[np.ndarray, "n blob"]
    y: Float[np.ndarray, "n blob"]
    sigma: Float[np.ndarray, "n blob"]
    weight: Float[np.ndarray, "n blob"]
    share: np.ndarray
    separation: np.ndarray
    direction: np.ndarray
    flux_ratio: np.ndarray
    bulge_to_total: np.ndarray
    bulge_radius: np.ndarray
    disc_radius: np.ndarray
    bulge_q: np.ndarray
    disc_q: np.ndarray
    position_angle: np.ndarray
    reddening: np.ndarray


def draw_tides(rng: np.random.Generator, galaxies: Galaxies) -> Tides:
    """A companion and tidal blobs for every galaxy, the same number of deviates each; the caller uses them where the kind says so."""
    n = len(galaxies)
    once = rng.random((n, 24))
    uniform = rng.random((n, TIDAL))
    normal = rng.standard_normal((n, TIDAL, 4))
    merging = galaxies.kind == "Merging"
    radius = galaxies.radius

    flux_ratio = 0.25 * 4.0 ** once[:, 0]  # even steps of ln: minor partners are the more common
    size = radius * np.sqrt(flux_ratio) * np.exp(0.5 * (once[:, 1] - 0.5))
    bulge_to_total = np.where(once[:, 2] < 0.3, 0.6, 0.35) * np.sqrt(once[:, 3])
    distance = np.hypot(_RESOLVED_ARCSEC * (1 + 0.4 * once[:, 23]), (0.5 + 2.0 * once[:, 4]) * radius)
    distance = np.minimum(distance, np.maximum(_FARTHEST_ARCSEC, 0.5 * radius))
    direction = 2 * np.pi * once[:, 5]
    disc_q = np.sqrt(once[:, 6] ** 2 + 0.35**2 * (1 - once[:, 6] ** 2))

    # tails in units of the radius, about each one's own host, in the plane of the orbit
    hand = np.where(once[:, 7] < 0.5, -1.0, 1.0)[:, None]
    steps = np.concatenate([(np.arange(m) + uniform[:, a : a + m]) / m for a, m in _ranges()], axis=1)
    tail, counter, bridge = (np.s_[:, a : a + m] for a, m in _ranges())
    r, phi = np.zeros((n, TIDAL)), np.zeros((n, TIDAL))  # the bridge's are set below
    for part, reach, curl, start in (
        (tail, 2.2 + 2.3 * once[:, 8], 0.5 + 1.3 * once[:, 9], direction + np.pi),
        (counter, 1.8 + 1.8 * once[:, 10], 0.5 + 1.3 * once[:, 11], direction),
    ):
        s = steps[part]
        r[part] = 0.7 + (reach[:, None] - 0.7) * s
        phi[part] = (start - 0.5 * hand[:, 0])[:, None] + hand * curl[:, None] * (1 - (1 - s) ** 2)
    scale = np.broadcast_to(radius[:, None], r.shape).copy()
    scale[counter] = np.where(merging, size, 0.8 * radius)[:, None]
    width = scale * (0.17 + 0.25 * steps)
    x, y = scale * r * np.cos(phi), scale * r * np.sin(phi)
    offset = np.stack([distance * np.cos(direction), distance * np.sin(direction)])
    x[counter] += (merging * offset[0])[:, None]
    y[counter] += (merging * offset[1])[:, None]
    along = steps[bridge]
    bend = 0.25 * hand * np.sin(np.pi * along) * (once[:, 12:13] + 0.2)
    x[bridge] = offset[0][:, None] * along - offset[1][:, None] * bend
    y[bridge] = offset[1][:, None] * along + offset[0][:, None] * bend
    width[bridge] = 0.22 * radius[:, None]
    weight = np.exp(-1.0 * steps + 0.2 * normal[..., 2]) * np.clip((1 - steps) / 0.5, 0.05, 1)
    part_share = np.stack([np.ones(n), np.where(merging, flux_ratio, 0.5 * once[:, 13]), np.where(merging, 0.35 * (1 + flux_ratio), 0.0)])
    for part, portion in zip((tail, counter, bridge), part_share, strict=True):
        weight[part] *= portion[:, None] / weight[part].sum(axis=1, keepdims=True)

    # shells: arcs on alternate sides of the axis along which the victim fell
    shells = ~merging & (galaxies.bulge_to_total > 0.35) & (once[:, 14] < 0.7)
    of_shell = np.arange(TIDAL) % _SHELLS
    side = np.where(of_shell % 2 == 0, 0.0, np.pi) + direction[:, None]
    shell_r = (1.0 + 0.5 * once[:, 15:16]) * (1 + 0.45 * of_shell) * (1 - 0.1 * np.abs(normal[..., 1]))  # sharp outside, soft inside
    opening = (0.6 + 0.5 * once[:, 16:17]) * (2 * uniform - 1)
    where = shells[:, None]
    x = np.where(where, radius[:, None] * shell_r * np.cos(side + opening), x)
    y = np.where(where, radius[:, None] * shell_r * np.sin(side + opening), y)
    width = np.where(where, 0.13 * shell_r * radius[:, None], width)
    weight = np.where(where, np.cos(1.3 * opening) * 0.75**of_shell * np.exp(0.15 * normal[..., 2]), weight)

    # the orbit's plane is tilted too: squeeze across a random axis, about the galaxy; companions stay where they were drawn
    tilt, q = np.pi * once[:, 17:18], np.where(shells, 1.0, 0.5 + 0.5 * once[:, 18])[:, None]
    across = (1 - q) * (-np.sin(tilt) * x + np.cos(tilt) * y)
    squeeze = np.concatenate([np.ones((n, _TAIL)), np.where(merging, 0.0, 1.0)[:, None] * np.ones((1, _COUNTER + _BRIDGE))], axis=1)
    x, y = x + squeeze * across * np.sin(tilt), y - squeeze * across * np.cos(tilt)
    x, y = x + 0.35 * width * normal[..., 0], y + 0.35 * width * normal[..., 1]
    return Tides(
        x=x,
        y=y,
        sigma=np.maximum(width * np.exp(0.15 * normal[..., 3]), 1e-3),
        weight=weight / weight.sum(axis=1, keepdims=True),
        share=np.where(shells, 0.04 + 0.06 * once[:, 19], 0.05 + np.where(merging, 0.15, 0.08) * once[:, 19] ** 1.5),
        separation=distance,
        direction=direction,
        flux_ratio=flux_ratio,
        bulge_to_total=bulge_to_total,
        bulge_radius=0.3 * size,
        disc_radius=1.1 * size,
        bulge_q=0.7 + 0.3 * once[:, 20],
        disc_q=disc_q,
        position_angle=180 * once[:, 21] - 90,
        reddening=0.8 * (once[:, 22] - 0.5),
    )


def _ranges() -> tuple[tuple[int, int], ...]:
    """First blob and number of blobs of the tail, the counter-tail (the companion's) and the bridge."""
    return (0, _TAIL), (_TAIL, _COUNTER), (_TAIL + _COUNTER, _BRIDGE)
