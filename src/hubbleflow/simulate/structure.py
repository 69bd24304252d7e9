r"""What makes a galaxy more than a bulge and a disc: bars, arms, rings, knots, dust lanes, companions and tides, by its kind.

A block of `Galaxies` becomes Sersic components (`SLOTS`) and two colour families of Gaussian blobs (`simulate.blobs`): the young
light (`simulate.arms`) and what tides have pulled out (`simulate.mergers`). A galaxy's light is divided, never added to: in every band

    bulge + disc + feature + young + tidal = flux,

a companion excepted, whose light is its own (`companion_flux`). Of the disc's light in a band of rest-frame wavelength l

- young stars have the share  Y(l) = 1 / (1 + (1/Y_0 - 1) (l / 0.6 um)^1.5): bluer than the rest by 3.75 log10(0.77 / 0.48) = 0.77
  mag in g-i, as stars of a few 100 Myr are than an old disc (Bruzual & Charlot 2003, MNRAS 344, 1000). Y_0 is chosen by kind
  (`_YOUNG_SHARE`), for arms that stand out as in Elmegreen et al. 2011 (ApJ 737, 32). Knots have 0.05 (1 + z) of the disc, with a
  scatter of 0.2 dex: a twentieth nearby, a seventh at z = 2, where clumps carry 20-30 % of a clumpy galaxy's ultraviolet light (Guo et
  al. 2015, ApJ 800, 39). Quiescent discs have a third of the arms and a tenth of the knots; edge-on discs, whose dust is in front, half
  of the knots;
- a bar has 10-23 %, redder ((l / 0.6 um)^0.4): n = 0.5-0.7 and an axis ratio of 0.25-0.4, flat profiles of thin bars as in Gadotti 2011
  (MNRAS 415, 3308), half-light radius 0.3-0.6 of the disc's, a little more or less with its arms (below). An ellipse in the disc's
  plane, and so an ellipse on the sky;
- a dust lane takes light away: a component of negative flux with the disc's profile, half its thickness (Xilouris et al. 1999, A&A
  344, 868) and a central surface brightness of -(1 - exp(-tau)) times the smooth disc's, tau ~ l^-0.7 (Charlot & Fall 2000, ApJ 539,
  718), so that 0.35-0.65 are gone at 0.77 um. The disc is made brighter by as much: the lane costs no light;
- in a disturbed galaxy a plume beside the disc has 8-25 % of the old light.

The smooth disc then gets the half-light radius at which disc, arms and bar together hold within the galaxy's half-light radius
what the plain disc would: the size that was drawn is the size that is seen, within some 5 %. (Of disturbed galaxies it is not.)

Smooth kinds pass through as they came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import gammaincinv, ndtr

from hubbleflow.errors import InputError
from hubbleflow.sersic import N_MAX, N_MIN, b_n, flux_within
from hubbleflow.simulate.arms import Pattern, draw_pattern
from hubbleflow.simulate.blobs import Blobs
from hubbleflow.simulate.kinds import EDGE_ON, SPIRAL
from hubbleflow.simulate.mergers import draw_tides

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.simulate.population import Galaxies

SLOTS = ("bulge", "disc", "feature", "companion bulge", "companion disc")  # feature: a bar, a dust lane or a plume
_WAVELENGTH_UM = {"u": 0.37, "g": 0.48, "r": 0.62, "i": 0.77, "z": 0.89, "y": 0.98}
_BLUER = 1.5  # exponent of the wavelength in the ratio of old to young light
_SHARES_UM = 0.6  # rest-frame wavelength at which Y_0 and the bar's share are meant
_BAR_MOST, _YOUNG_MOST = 0.4, 0.6  # of the disc's light at that wavelength
_LANE_THICKNESS, _LANE_RADIUS = 0.5, 0.9  # of the disc's
_LANE_SHIFT = 0.08  # of the disc's half-light radius, times cos i or its axis ratio
_YOUNG_SHARE = {  # least and largest Y_0 of a star-forming disc's arms; other kinds have none
    "Barred Spiral": (0.25, 0.45),
    "Unbarred Tight Spiral": (0.25, 0.45),
    "Unbarred Loose Spiral": (0.30, 0.55),
    "Edge-on without Bulge": (0.10, 0.25),
    "Edge-on with Bulge": (0.08, 0.18),
    "Disturbed": (0.25, 0.50),
    "Merging": (0.15, 0.40),
}


@dataclass(frozen=True)
class Structure:
    """What to draw for a block of galaxies, and the truth about it.

    Attributes:
        parts: the fields of `render.Components` as arrays (n, slot), `flux` (n, slot, band); the slots are `SLOTS`.
        blobs: the young light's and the tidal light's.
        columns: `true_*` arrays (n,), see `decorate`.
        companion_flux: (n, band) light added to the stamp by a companion; zero elsewhere.
    """

    parts: dict[str, np.ndarray]
    blobs: list[Blobs]
    columns: dict[str, np.ndarray]
    companion_flux: Float[np.ndarray, "n band"]


def decorate(
    rng: np.random.Generator,
    galaxies: Galaxies,
    x: np.ndarray,
    y: np.ndarray,
    flux: Float[np.ndarray, "n band"],
    bulge_flux: Float[np.ndarray, "n band"],
    bands: Sequence[str] = ("g", "r", "i", "z", "y"),
) -> Structure:
    """Components and blobs of a block of galaxies.

    Args:
        rng: the block's own stream; every galaxy takes the same number of deviates, whatever its kind.
        x, y: (n,) the galaxies' centres, arcsec from the stamp's.
        flux, bulge_flux: all light and the bulge's, per band, in the survey's unit; a bulge has no more than its galaxy.
        bands: names of the bands, letters of ugrizy.

    Returns: the structure, with the columns (fractions in the i band, or the middle one of `bands`)
        true_bar_fraction, true_arm_fraction, true_knot_fraction, true_tidal_fraction (of the galaxy's light), true_arms (0: none),
        true_pitch_angle (degrees; NaN without arms), true_ring (0 or 1), true_clumpiness (knots' share of the disc's light),
        true_dust_lane (fraction of the disc's midplane brightness taken away), true_companion_flux_ratio,
        true_companion_separation (arcsec; NaN without one).

    Raises:
        InputError: an unknown band, or fluxes of another shape than (galaxy, band).
    """
    n = len(galaxies)
    wavelength = _rest_wavelength(bands, galaxies.redshift)
    for name, value in (("flux", flux), ("bulge_flux", bulge_flux)):
        if value.shape != wavelength.shape:
            raise InputError(f"{name} must be (galaxy, band) = {wavelength.shape}, but has shape {value.shape}.")
    reference = bands.index("i") if "i" in bands else len(bands) // 2
    draw, clumps = rng.random((n, 20)), rng.standard_normal(n)
    kind = galaxies.kind
    disturbed, merging, edge_on = kind == "Disturbed", kind == "Merging", np.isin(kind, EDGE_ON)
    share = _shares(galaxies, wavelength, draw, clumps)

    # in the plane of the disc, lengths in its half-light radius: the bar, and the arms that start at its ends
    bar_radius, bar_n, bar_q = 0.3 + 0.3 * draw[:, 2], 0.5 + 0.2 * draw[:, 3], 0.25 + 0.15 * draw[:, 4]
    start, hand = 2 * np.pi * draw[:, 5], np.where(draw[:, 6] < 0.5, -1.0, 1.0)
    lopsided = np.where(disturbed, 0.5 + 0.45 * draw[:, 7], np.where(merging, 0.5, 0.25) * draw[:, 7])
    bar_share, young_share = share.bar[:, reference], share.young[:, reference]
    bar_weight = bar_share / np.maximum(bar_share + young_share, 1e-9)
    pattern = draw_pattern(rng, galaxies, start, hand, bar_radius, bar_weight, share.knot_of_young, lopsided)
    bar_radius *= pattern.scale
    tides = draw_tides(rng, galaxies)

    # tides take from bulge and disc alike; what they leave of the disc is divided
    tidal = np.where(disturbed | merging, tides.share, 0.0)[:, None]
    tilt = (wavelength / wavelength[:, [reference]]) ** tides.reddening[:, None]
    companion = flux * tilt * np.where(merging, tides.flux_ratio, 0.0)[:, None]
    left = (1 - tidal) * (flux - bulge_flux)
    plume = np.where(disturbed, 0.08 + 0.17 * draw[:, 8], 0.0)[:, None] * (1 - share.young)
    lane = np.where(edge_on, 0.35 + 0.3 * draw[:, 9], 0.0)[:, None]
    observed = np.array([_WAVELENGTH_UM[band] for band in bands])
    lane = 1 - (1 - lane) ** ((observed / _WAVELENGTH_UM["i"]) ** -0.7)
    taken = lane * _LANE_RADIUS**2 * _LANE_THICKNESS  # of the disc's light
    disc = left * (1 - share.bar - share.young - plume) / (1 - taken)

    parts = {
        "sersic_index": _columns(galaxies.bulge_n, galaxies.disc_n, galaxies.disc_n, 2.5, 1.0),
        "half_light_radius": _columns(
            galaxies.bulge_radius, galaxies.disc_radius, _LANE_RADIUS * galaxies.disc_radius, tides.bulge_radius, tides.disc_radius
        ),
        "axis_ratio": _columns(galaxies.bulge_q, galaxies.disc_q, _LANE_THICKNESS * galaxies.disc_q, tides.bulge_q, tides.disc_q),
        "position_angle": _columns(*3 * (galaxies.position_angle,), *2 * (tides.position_angle,)),
        "x": _columns(*3 * (x,), *2 * (x + tides.separation * np.cos(tides.direction),)),
        "y": _columns(*3 * (y,), *2 * (y + tides.separation * np.sin(tides.direction),)),
    }
    in_companion = tides.bulge_to_total[:, None]
    parts["flux"] = np.stack(
        [
            (1 - tidal) * bulge_flux,
            disc,
            left * (share.bar + plume) - disc * taken,  # a galaxy has one of the three at most
            (1 - tidal) * companion * in_companion,
            (1 - tidal) * companion * (1 - in_companion),
        ],
        axis=1,
    )
    feature, middle = SLOTS.index("feature"), SLOTS.index("disc")

    def reshape(rows: np.ndarray, slot: int, **values: np.ndarray) -> None:
        for name, value in values.items():
            parts[name][rows, slot] = value[rows]

    size, q, angle = _projected(bar_radius * galaxies.disc_radius, bar_q, hand * start, galaxies)
    reshape(kind == "Barred Spiral", feature, sersic_index=bar_n, half_light_radius=size, axis_ratio=q, position_angle=angle)
    # lopsided: the disc off the bulge, and a plume off the disc on the same side
    size, offset = (0.35 + 0.35 * draw[:, 10]) * galaxies.disc_radius, (0.4 + 0.6 * draw[:, 11]) * galaxies.disc_radius
    reshape(disturbed, feature, sersic_index=0.5 + 0.5 * draw[:, 12], half_light_radius=size, axis_ratio=0.4 + 0.5 * draw[:, 13])
    reshape(disturbed, feature, position_angle=180 * draw[:, 14] - 90, x=x + offset * np.cos(start), y=y + offset * np.sin(start))
    off = 0.25 * draw[:, 15]
    reshape(disturbed, middle, x=x + off * offset * np.cos(start), y=y + off * offset * np.sin(start))
    patterned = ~disturbed & (share.arm + share.knot > 0)
    others = (
        (bar_share, bar_radius * galaxies.disc_radius, bar_n),
        (-(disc * taken)[:, reference] / np.maximum(left[:, reference], 1e-30), _LANE_RADIUS * galaxies.disc_radius, galaxies.disc_n),
    )
    reshape(patterned, middle, half_light_radius=_smooth_radius(galaxies, pattern, young_share, others))
    # a lane is in front of the near half: shifted across the disc, by so little that it is nowhere brighter than the disc is
    smooth = parts["half_light_radius"][:, middle]
    across, angle = _LANE_SHIFT * np.minimum(galaxies.cos_i, galaxies.disc_q) * smooth * hand, np.radians(galaxies.position_angle)
    reshape(edge_on, feature, half_light_radius=_LANE_RADIUS * smooth, x=x - across * np.sin(angle), y=y + across * np.cos(angle))
    parts["sersic_index"] = np.clip(parts["sersic_index"], N_MIN, N_MAX)

    young = left * share.young
    blobs = [
        Blobs(*map(torch.as_tensor, (family.x + x[:, None], family.y + y[:, None], family.sigma, family.weight, light)))
        for family, light in ((pattern, young), (tides, tidal * (flux + companion)))
    ]
    in_reference = (left / np.maximum(flux, 1e-30))[:, reference]
    armed = np.isin(kind, SPIRAL)
    columns = {
        "true_bar_fraction": in_reference * bar_share,
        "true_arm_fraction": in_reference * young_share * (1 - share.knot_of_young),
        "true_knot_fraction": in_reference * young_share * share.knot_of_young,
        "true_tidal_fraction": tidal[:, 0],
        "true_arms": np.where(armed, pattern.arms, 0),
        "true_pitch_angle": np.where(armed, pattern.pitch_deg, np.nan),
        "true_ring": (pattern.ring & armed).astype(np.uint8),
        "true_clumpiness": young_share * share.knot_of_young,
        "true_dust_lane": lane[:, reference],
        "true_companion_flux_ratio": np.where(merging, tides.flux_ratio, 0.0),
        "true_companion_separation": np.where(merging, tides.separation, np.nan),
    }
    return Structure(parts, blobs, columns, companion)


@dataclass(frozen=True)
class _Shares:
    """Of the disc's light: Y_0 of arms and of knots (n,), the bar's and the young share per band, the knots' share of the young light."""

    arm: np.ndarray
    knot: np.ndarray
    bar: Float[np.ndarray, "n band"]
    young: Float[np.ndarray, "n band"]

    @property
    def knot_of_young(self) -> np.ndarray:
        return self.knot / np.maximum(self.arm + self.knot, 1e-9)


def _shares(galaxies: Galaxies, wavelength: np.ndarray, draw: np.ndarray, clumps: np.ndarray) -> _Shares:
    low, high = np.array([_YOUNG_SHARE.get(kind, (0.0, 0.0)) for kind in galaxies.kind]).reshape(len(galaxies), 2).T
    arm = (low + (high - low) * draw[:, 0]) * np.where(galaxies.quiescent, 0.33, 1.0)
    knot = np.minimum(0.05 * (1 + np.clip(galaxies.redshift, 0, 3)) * 10 ** (0.2 * clumps), 0.35)
    knot *= (high > 0) * np.where(galaxies.quiescent, 0.1, 1.0) * np.where(np.isin(galaxies.kind, EDGE_ON), 0.5, 1.0)
    longer = np.maximum(wavelength / _SHARES_UM, 0.5)  # below 0.3 um hot stars outshine all others anyway
    bar = np.where(galaxies.kind == "Barred Spiral", 0.10 + 0.13 * draw[:, 1], 0.0)[:, None] * longer**0.4
    bar = np.minimum(bar, _BAR_MOST)
    y_0 = np.minimum(arm + knot, _YOUNG_MOST)[:, None]
    # Y as above, for Y_0 = 0 too
    return _Shares(arm, knot, bar, (1 - bar) * y_0 / (y_0 + (1 - y_0) * longer**_BLUER))


def _rest_wavelength(bands: Sequence[str], redshift: np.ndarray) -> Float[np.ndarray, "n band"]:
    for band in bands:
        if band not in _WAVELENGTH_UM:
            raise InputError(f"a mock galaxy's structure is known in the bands {', '.join(_WAVELENGTH_UM)}, but {band!r} was asked for.")
    return np.array([_WAVELENGTH_UM[band] for band in bands]) / (1 + redshift[:, None])


def _columns(*values: np.ndarray | float) -> np.ndarray:
    """(n, slot) from one array or number a slot."""
    return np.stack(np.broadcast_arrays(*values), axis=1).astype(float)


def _projected(radius: np.ndarray, q: np.ndarray, angle: np.ndarray, galaxies: Galaxies) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An ellipse (semi-major radius, axis ratio, radians from the line of nodes) in the disc's plane, on the sky: radius, q, degrees.

    Its matrix R diag(a^2, b^2) R^T, squeezed by the disc's axis ratio across the line of nodes; the roots of the result are the axes.
    """
    a2, b2, cos, sin, squeeze = radius**2, (q * radius) ** 2, np.cos(angle), np.sin(angle), galaxies.disc_q
    xx, yy = a2 * cos**2 + b2 * sin**2, squeeze**2 * (a2 * sin**2 + b2 * cos**2)
    xy = squeeze * (a2 - b2) * cos * sin
    mean, half = 0.5 * (xx + yy), np.hypot(0.5 * (xx - yy), xy)
    major, minor = np.sqrt(mean + half), np.sqrt(np.maximum(mean - half, 1e-6 * mean))
    return major, minor / major, galaxies.position_angle + np.degrees(0.5 * np.arctan2(2 * xy, xx - yy))


def _smooth_radius(
    galaxies: Galaxies, pattern: Pattern, young: np.ndarray, others: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Half-light radius of the smooth disc: with blobs, bar and lane it holds within the galaxy's what the plain disc would.

    All light is counted within the ellipse of the disc's axis ratio and the galaxy's half-light radius. A blob, narrow against
    that ellipse, is cut by it as by a straight edge.
    """
    edge, q = galaxies.radius, galaxies.disc_q[:, None]
    angle = np.radians(galaxies.position_angle)[:, None]
    cos, sin = np.cos(angle), np.sin(angle)
    width2 = 0.5 * pattern.sigma**2 * (1 + 1 / q**2)
    reach = np.sqrt((pattern.x * cos + pattern.y * sin) ** 2 + ((pattern.y * cos - pattern.x * sin) / q) ** 2 + width2)
    held = flux_within(edge / galaxies.disc_radius, galaxies.disc_n)
    held -= young * (pattern.weight * ndtr((edge[:, None] - reach) / np.sqrt(width2))).sum(axis=1)
    smooth = 1 - young
    for share, radius, n in others:
        # half as thick as the ellipse or less: more of it is inside than of its own ellipse
        held -= share * flux_within(edge / (0.75 * radius), n)
        smooth = smooth - share
    held = np.clip(held / smooth, 0.05, 0.95)
    radius = edge / (gammaincinv(2 * galaxies.disc_n, held) / b_n(galaxies.disc_n)) ** galaxies.disc_n
    return np.clip(radius, 0.5 * galaxies.disc_radius, 1.7 * galaxies.disc_radius)
