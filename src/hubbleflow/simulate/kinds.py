r"""What kind of galaxy: the ten classes of Galaxy10 DECaLS (Leung & Bovy 2019, after Galaxy Zoo), from what a galaxy is.

Galaxies without visible structure ("smooth") are named by their roundness, discs seen from the side by their bulge, the others by arms and
bar. The shares are choices, guided by

- smooth: most of high Sersic index and old stars; of the discs a tenth, more among dwarfs (Willett et al. 2013, MNRAS 435, 2835);
- bars: 35 % of discs today, 15 % at z = 0.8 (Sheth et al. 2008, ApJ 675, 1141), rarer in dwarfs;
- merging: 2 % today, growing as (1 + z)^1.7 (Lotz et al. 2011, ApJ 742, 103); disturbed: 3 % of the discs and, as those become
  irregular, every third disc at z = 2 (Mortlock et al. 2013, MNRAS 433, 1185);
- tight arms with a bulge, loose ones without (Hubble's sequence; Masters et al. 2019, MNRAS 487, 1808, find it weak, so it is here).

A kind is what a galaxy *is*: at z = 1 through ground-based seeing no classifier could tell.
"""

from __future__ import annotations

import numpy as np

from hubbleflow.datasets.galaxy10 import CLASSES

KINDS = CLASSES
SMOOTH = KINDS[2:5]
SPIRAL = KINDS[5:8]
EDGE_ON = KINDS[8:]
EDGE_ON_COS_I = 0.2
_ROUND, _CIGAR = 0.75, 0.45  # axis ratios that part round from in-between, and in-between from cigar-shaped
_EDGE_ON_ROUNDEST = 0.6  # a galaxy seen from the side is hardly ever rounder, bulge and all (`bench/likeness.py` prints how many are)
_ROUNDING = 1e-6  # of axis ratios stored in single precision
_BULGE = 0.12  # bulge-to-total from which an edge-on disc shows a bulge


def smooth_probability(sersic_index: np.ndarray, quiescent: np.ndarray, log_mass: np.ndarray) -> np.ndarray:
    """How likely a galaxy is without structure.

    >>> smooth_probability(np.array([4.0, 1.0]), np.array([True, False]), np.array([11.0, 10.0])).round(2).tolist()
    [0.95, 0.11]
    """
    logit = 0.9 * (np.clip(sersic_index, 0.5, 4) - 2.2) + np.where(quiescent, 1.3, -1.0) + 0.6 * np.clip(9.3 - log_mass, 0, 1.5)
    return 1 / (1 + np.exp(-logit))


def name_kinds(
    u: np.ndarray,
    smooth: np.ndarray,
    redshift: np.ndarray,
    log_mass: np.ndarray,
    bulge_to_total: np.ndarray,
    axis_ratio: np.ndarray,
    cos_i: np.ndarray,
) -> np.ndarray:
    """The kind of each galaxy; u: (3, n) uniform deviates."""
    merging = u[0] < np.minimum(0.02 * (1 + redshift) ** 1.7, 0.2)
    disturbed = u[0] > 1 - np.where(smooth, 0.02, np.minimum(0.03 * (1 + redshift) ** 2.2, 0.4))
    barred = u[1] < np.interp(redshift, [0, 0.8, 2], [0.35, 0.15, 0.05]) * np.clip((log_mass - 8.5) / 1.5, 0.2, 1)
    tight = u[2] < np.clip(0.25 + 1.2 * bulge_to_total, 0, 0.8)
    roundness = _smooth_kind(axis_ratio)
    spiral = np.where(barred, KINDS[5], np.where(tight, KINDS[6], KINDS[7]))
    side = np.where(bulge_to_total > _BULGE, KINDS[9], KINDS[8])
    kind = np.where(smooth, roundness, np.where(cos_i < EDGE_ON_COS_I, side, spiral))
    return np.where(merging, KINDS[1], np.where(disturbed, KINDS[0], kind))


def contradicted(kind: np.ndarray, axis_ratio: np.ndarray) -> np.ndarray:
    """Which kinds a galaxy's axis ratio speaks against: smooth ones of another roundness, and edge-on discs rounder than 0.6.

    >>> kind = np.array(["Round Smooth", "Round Smooth", "Edge-on with Bulge", "Edge-on with Bulge", "Merging"])
    >>> contradicted(kind, np.array([0.9, 0.3, 0.3, 0.9, 0.3])).tolist()
    [False, True, False, True, False]
    """
    names = (_smooth_kind(axis_ratio - _ROUNDING), _smooth_kind(axis_ratio + _ROUNDING))
    misnamed = np.isin(kind, SMOOTH) & (kind != names[0]) & (kind != names[1])
    return misnamed | (np.isin(kind, EDGE_ON) & (axis_ratio > _EDGE_ON_ROUNDEST))


def _smooth_kind(axis_ratio: np.ndarray) -> np.ndarray:
    return np.where(axis_ratio > _ROUND, KINDS[2], np.where(axis_ratio > _CIGAR, KINDS[3], KINDS[4]))
