r"""Where the young light of a disc is: spiral arms, rings and star-forming knots, as many small Gaussian blobs.

In the plane of the disc, with lengths in its half-light radius R, an arm is a logarithmic spiral (Danver 1942; Kennicutt 1981,
AJ 86, 1847)

    r = r_0 exp(+- (theta - theta_0) tan p),      p the pitch angle,

followed by blobs at equal steps of ln r, each carrying r^2 exp(-b r^{1/n}) of the light: the disc's own profile per ln r, so that
winding the light up leaves the profile nearly as it was. An arm is no wire: its crest wanders, its width grows outwards, its light
is patchy along it, it fades at both ends and the two ends differ from arm to arm. Star clusters sit close to the crest, with a
luminosity function L^-2.4 (HII regions: L^-2 +- 0.5; Kennicutt, Edgar & Hodge 1989, ApJ 337, 761). Knots are spread over the whole
disc; they are few, large and bright at high redshift, where discs are clumpy (Elmegreen et al. 2007, ApJ 658, 763; Guo et al. 2015,
ApJ 800, 39).

Two arms in most galaxies, three or four in some (Willett et al. 2013, MNRAS 435, 2835: 60 % of the spirals have two); a ring at the
bar's end or in the inner disc in a third of the barred and a fifth of the tightly wound (Comeron et al. 2014, A&A 562, A121: 35 % of
the discs). Widths, patchiness and wandering are our choice, made by eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import digamma

from hubbleflow.sersic import b_n

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.simulate.population import Galaxies

DIFFUSE, CLUSTERS, KNOTS = 170, 30, 40  # blobs of smooth arm light, of star clusters on the arms, of knots anywhere
_ON_ARMS = DIFFUSE + CLUSTERS
YOUNG = _ON_ARMS + KNOTS
_TAU = np.float32(2 * np.pi)
BAR_END = 1.6  # of its half-light radius
_BAR_INSIDE = 0.5  # ln of a bar's half-light radius less its mean ln r: n = 0.6, axis ratio 0.3
_CLUSTER_SHARE = 0.16  # of an arm's light
_FAINTEST = 5.0  # the disc's exponent at which arms end at the latest
_TURNS = 3.0  # of all arms of a galaxy together, at most
_RING_BLOBS = 3  # every third blob of an arm's smooth light stands on the ring, where there is one
_RING_PROBABILITY = {"Barred Spiral": 0.35, "Unbarred Tight Spiral": 0.2, "Unbarred Loose Spiral": 0.05}
_PITCH_DEG = {"Unbarred Tight Spiral": (8, 15), "Unbarred Loose Spiral": (18, 35), "Barred Spiral": (10, 28)}
_OTHER_PITCH_DEG = (15, 35)


@dataclass(frozen=True)
class Pattern:
    """The blobs of n galaxies, in arcsec from each galaxy's centre; `weight` sums to one per galaxy.

    `scale` is the factor by which the pattern was drawn larger or smaller to fit the disc; a bar goes with it. `pitch_deg`, `arms` and
    `ring` (bool) say what was drawn.
    """

    x: Float[np.ndarray, "n blob"]
    y: Float[np.ndarray, "n blob"]
    sigma: Float[np.ndarray, "n blob"]
    weight: Float[np.ndarray, "n blob"]
    scale: np.ndarray
    pitch_deg: np.ndarray
    arms: np.ndarray
    ring: np.ndarray


def draw_pattern(
    rng: np.random.Generator,
    galaxies: Galaxies,
    start_angle: np.ndarray,
    hand: np.ndarray,
    bar_radius: np.ndarray,
    bar_weight: np.ndarray,
    knot_share: np.ndarray,
    lopsided: np.ndarray,
) -> Pattern:
    """Blobs of the young light of each galaxy.

    Args:
        rng: takes the same number of deviates for every galaxy.
        start_angle: (n,) where the first arm begins, radians in the plane from the line of nodes: the bar's angle
            (with `hand` -1: mirrored at the line of nodes).
        hand: (n,) 1 or -1, which way the arms wind.
        bar_radius: (n,) half-light radius of the bar, in disc half-light radii; arms begin at `BAR_END` times it.
        bar_weight: (n,) the bar's light over bar's and young light's together; 0 without a bar.
        knot_share: (n,) share of the young light in knots, the rest is in the arms.
        lopsided: (n,) amplitude 0-1 of the light's m = 1 asymmetry.
    """
    n = len(galaxies)
    once, per_arm = rng.random((n, 6)), rng.random((n, 4, 7), dtype=np.float32)
    uniform = rng.random((n, YOUNG, 3), dtype=np.float32)
    normal = rng.standard_normal((n, YOUNG, 5), dtype=np.float32)
    barred, tight = bar_weight > 0, galaxies.kind == "Unbarred Tight Spiral"
    low, high = np.array([_PITCH_DEG.get(kind, _OTHER_PITCH_DEG) for kind in galaxies.kind]).reshape(n, 2).T
    pitch = np.radians(low + (high - low) * once[:, 0])
    arms = np.where(barred, 2, 2 + (once[:, 1] > np.where(tight, 0.85, 0.7)) + (once[:, 1] > np.where(tight, 1.0, 0.9)))
    ring = once[:, 2] < np.array([_RING_PROBABILITY.get(kind, 0.0) for kind in galaxies.kind])

    # float32, a column a galaxy: half of decorate's time is spent on the sines and exponentials below
    disc_n, b, tan_p, start, bar, skew, z = (
        np.asarray(value, np.float32)[:, None]
        for value in (
            galaxies.disc_n,
            b_n(galaxies.disc_n),
            np.tan(pitch),
            start_angle,
            np.where(barred, BAR_END * bar_radius, 0.0),
            lopsided,
            np.clip(galaxies.redshift, 0, 3),
        )
    )
    first = np.log(np.where(bar > 0, bar, 0.3 + 0.3 * once[:, 3:4]), dtype=np.float32)
    last = disc_n * np.log(_FAINTEST / b)
    on, off = np.s_[:, :_ON_ARMS], np.s_[:, _ON_ARMS:]

    # arms: blob k is on arm k modulo their number, so that each has its blobs at even steps of ln r
    of_arm = np.arange(_ON_ARMS) % arms[:, None]
    own = np.moveaxis(per_arm, 2, 0)[:, np.arange(n)[:, None], of_arm]  # (7, n, blob) the deviates of each blob's arm
    steps = np.concatenate([(np.arange(m) + uniform[:, a : a + m, 0]) / m for a, m in ((0, DIFFUSE), (DIFFUSE, CLUSTERS))], axis=1)
    steps = steps.astype(np.float32)
    width = 0.08 + 0.44 * tan_p / arms[:, None].astype(np.float32)  # of the radius; the gap between arms grows alike
    wound = _TAU * _TURNS / arms[:, None] * tan_p  # more would be no arms, but a disc
    span = np.minimum(last - first, wound * (0.8 + 0.4 * own[0])).astype(np.float32) * steps
    wander = np.sin(_TAU * (1.6 * steps + own[1])) + 0.6 * np.sin(_TAU * (3.7 * steps + own[2]))
    scatter = np.where(np.arange(_ON_ARMS) < DIFFUSE, np.float32(0.5), np.float32(0.4)) * normal[on][..., 0]
    ln_r, theta = np.empty((2, n, YOUNG), np.float32)
    ln_r[on] = first + span + width * (scatter + 0.35 * wander * (1 + 2 * skew))
    theta[on] = start + _TAU * of_arm / arms[:, None] + span / tan_p + (own[3] - 0.5) * np.where(bar > 0, 0.15, 0.5)
    light = np.minimum(steps / 0.06, 1) * np.clip((1 - steps) / 0.3, 0, 1) * (0.7 + 0.6 * own[4])
    light *= np.exp(0.5 * np.sin(_TAU * (2.3 * steps + own[5])) + 0.3 * np.sin(_TAU * (6.1 * steps + own[6])))

    # a ring, an oval along the bar
    on_ring = ring[:, None] & (np.arange(_ON_ARMS) % _RING_BLOBS == 0)
    around = _TAU * np.arange(_ON_ARMS, dtype=np.float32) / _ON_ARMS + 0.1 * normal[on][..., 3]
    ring_r = np.log(np.where(bar > 0, 1.05 * bar, 0.6 + 0.4 * once[:, 4:5]))
    ln_r[on] = np.where(on_ring, ring_r + 0.12 * np.cos(2 * around) + 0.09 * normal[on][..., 0], ln_r[on])
    theta[on] = np.where(on_ring, start + around, theta[on])

    # knots: the disc's profile (exact for n = 1), at any angle
    gamma = -np.log(np.maximum(uniform[off][..., 0] * uniform[off][..., 1], 1e-9))
    ln_r[off] = disc_n * np.log(np.clip(gamma, 0.05, 4.0) / b)
    theta[off] = 4 * np.pi * normal[off][..., 0]

    # sizes, in disc radii, and light: smooth, clusters, knots
    r = np.exp(ln_r)
    sigma, weight = np.empty((2, n, YOUNG), np.float32)
    s, c = np.s_[:, :DIFFUSE], np.s_[:, DIFFUSE:_ON_ARMS]
    light *= r[on] ** 2 * np.exp(-b * np.exp(ln_r[on] / disc_n))
    sigma[s] = 0.95 * np.where(on_ring[s], np.float32(0.10), width) * np.maximum(r[s], 0.35) * np.exp(0.25 * normal[s][..., 1])
    weight[s] = light[s] * np.exp(0.3 * normal[s][..., 2])
    bright = np.maximum(uniform[c][..., 1], 0.04) ** np.float32(-0.7)
    sigma[c] = 0.05 * np.exp(0.45 * normal[c][..., 1]) * bright**0.2
    weight[c] = light[c] * bright
    bright = np.maximum(uniform[off][..., 2], 0.03) ** -(0.6 + 0.3 * z)
    sigma[off] = np.minimum(0.07 * (1 + z) ** 0.6, 0.14) * np.exp(0.4 * normal[off][..., 1]) * bright**0.15
    weight[off] = bright * np.exp(-0.6 * b * np.exp(ln_r[off] / disc_n))  # fainter in the outskirts
    weight *= 1 + skew * np.cos(theta - _TAU * once[:, 5:6].astype(np.float32))
    exact = weight.astype(float)  # so that no light is lost to rounding
    in_arms = (1 - knot_share)[:, None]
    for part, portion in ((s, in_arms * (1 - _CLUSTER_SHARE)), (c, in_arms * _CLUSTER_SHARE), (off, knot_share[:, None])):
        exact[part] *= portion / exact[part].sum(axis=1, keepdims=True)

    # the whole pattern is drawn to the disc's size: its mean ln r, the bar's with it, is that of the profile, n (digamma(2 n) - ln b)
    mean = (1 - bar_weight) * (exact * ln_r).sum(axis=1) + bar_weight * (np.log(bar_radius) - _BAR_INSIDE)
    excess = mean - galaxies.disc_n * (digamma(2 * galaxies.disc_n) - np.log(b[:, 0]))
    scale = np.exp(-np.clip(excess, -0.35, 0.35))
    r *= scale.astype(np.float32)[:, None]
    height = 0.4 * galaxies.disc_thickness[:, None] * normal[..., 4]  # the young layer is thinner than the disc
    x, y = project(r * np.cos(theta), hand[:, None] * r * np.sin(theta), height, galaxies)
    # blobs are round on the sky: in an inclined disc they are smaller, and the scatter above does the rest
    size = galaxies.disc_radius[:, None]
    sigma = sigma * (size * np.sqrt(galaxies.disc_q[:, None]))
    return Pattern(x * size, y * size, sigma, exact, scale, np.degrees(pitch), arms, ring)


def project(
    x: Float[np.ndarray, "n k"], y: Float[np.ndarray, "n k"], z: Float[np.ndarray, "n k"], galaxies: Galaxies
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """The sky's (x, y) of points (x along the line of nodes, y in the disc's plane, z above it).

    The tilt is that of a round disc of the galaxy's axis ratio and thickness, q^2 = cos^2 i + c^2 sin^2 i: blobs then fill the smooth
    disc's ellipse, ovals included.
    """
    c2 = galaxies.disc_thickness**2
    cos2 = np.clip((galaxies.disc_q**2 - c2) / (1 - c2), 0, 1)[:, None]
    minor = y * np.sqrt(cos2) + z * np.sqrt(1 - cos2)
    angle = np.radians(galaxies.position_angle)[:, None]
    cos, sin = np.cos(angle), np.sin(angle)
    return x * cos - minor * sin, x * sin + minor * cos
