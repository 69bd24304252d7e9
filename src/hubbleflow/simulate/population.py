r"""Who lives in the mock sky: redshifts, magnitudes, colours, kinds, shapes and sizes, drawn from fits to real surveys.

One galaxy is drawn in this order, each step given those before it:

1. redshift: the quantiles of 14,363 GalaxiesML spectroscopic redshifts, 0.01-4;
2. i magnitude: quantiles of zCOSMOS-bright (I < 22.5) per redshift, continued by a straight line above z = 1.2; up to z = 0.9
   a share `BRIGHT` comes from samples like SDSS's and BOSS's, which GalaxiesML holds too: i = 17.0 + 3.7 log10(z / 0.1);
3. red (quiescent) or blue: the share of zCOSMOS galaxies near the elliptical template's g-i at that redshift, and its slope
   with magnitude;
4. colours: mean and covariance of that type at that redshift (zCOSMOS to z = 1.2; CWW templates with Madau's intergalactic
   absorption above, so that u and then g drop out);
5. stellar mass, ROUGH (0.3 dex; Taylor et al. 2011, MNRAS 418, 1587, eq. 8): log M = 1.15 + 0.70 (g-i)_0 - 0.4 M_i, with the
   type's template colour and K correction;
6. semi-major half-light radius of the total light at rest 5000 A, van der Wel et al. 2014 (ApJ 788, 28, fig. 6, eq. 3, table 1):
   late 8.9 (1+z)^-0.75 (M / 5e10)^0.22 kpc, 0.18 dex; early 5.6 (1+z)^-1.48 (M / 5e10)^0.75 kpc, 0.13 dex, flat below 2e10;
7. bulge-to-total, Sersic n of the bulge (disc: n = 1), the bulge's size against the disc's: our choice, made so that the
   flux-weighted n is about 1.2 for blue and 3.5 for red galaxies, as in van der Wel et al. 2012;
8. axis ratios: oblate spheroids of thickness c, seen from a random direction: q^2 = cos^2 i + c^2 sin^2 i, cos i uniform
   (Hubble 1926); discs c = 0.2, spheroids 0.65.

`category` then is "elliptical" (bulge-to-total above one half), "edge-on" (a disc with cos i < 0.2) or "spiral".
All numbers of steps 1-4 are in `population.json`, which `calibration/population.py` writes from the catalogues it names.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import gammainc

from hubbleflow.sersic import b_n

if TYPE_CHECKING:
    from jaxtyping import Float

BANDS = ("u", "g", "r", "i", "z", "y")
CATEGORIES = ("elliptical", "spiral", "edge-on")
BRIGHT = 0.35  # share of SDSS- and BOSS-like bright targets below z = 0.7, fading to none at 0.9
EDGE_ON_COS_I = 0.2
_NEIGHBOUR_LIMIT = 25.0  # i magnitude of the faintest neighbours drawn
_NEIGHBOURS_PER_ARCMIN2 = 31.0  # HSC: 22 galaxies / arcmin2 at i < 24.5 (Mandelbaum et al. 2018), counts rising 0.3 dex a mag
_COUNT_SLOPE = 0.30  # dex of number per magnitude


@dataclass(frozen=True)
class Galaxies:
    """Drawn galaxies, one array (n,) a quantity; `mag` is (n, 6) AB in `BANDS`.

    Radii are semi-major half-light radii in arcsec, angles degrees from +x towards +y. `radius` is where the ellipses of bulge
    and disc, each of its own axis ratio, together hold half of the total i-band light.
    """

    redshift: np.ndarray
    red: np.ndarray
    mag: Float[np.ndarray, "n 6"]
    log_mass: np.ndarray
    radius: np.ndarray
    bulge_to_total: np.ndarray
    bulge_n: np.ndarray
    bulge_radius: np.ndarray
    bulge_q: np.ndarray
    disc_radius: np.ndarray
    disc_q: np.ndarray
    position_angle: np.ndarray
    cos_i: np.ndarray
    bulge_mag: Float[np.ndarray, "n 6"] = field(repr=False)

    def __len__(self) -> int:
        return len(self.redshift)

    @property
    def sersic_index(self) -> np.ndarray:
        """Flux-weighted mean of the bulge's and the disc's (n = 1) indices in the i band."""
        return self.bulge_to_total * self.bulge_n + (1 - self.bulge_to_total)

    @property
    def axis_ratio(self) -> np.ndarray:
        """Flux-weighted mean of the bulge's and the disc's axis ratios in the i band."""
        return self.bulge_to_total * self.bulge_q + (1 - self.bulge_to_total) * self.disc_q

    @property
    def category(self) -> np.ndarray:
        """ "elliptical", "spiral" or "edge-on"."""
        disc = np.where(self.cos_i < EDGE_ON_COS_I, "edge-on", "spiral")
        return np.where(self.bulge_to_total > 0.5, "elliptical", disc)


def draw_galaxies(rng: np.random.Generator, n: int) -> Galaxies:
    """`n` galaxies as GalaxiesML's spectroscopic sample would have them.

    Example:
        >>> galaxies = draw_galaxies(np.random.default_rng(1), 1000)
        >>> bool(0.4 < np.median(galaxies.redshift) < 0.6)
        True
    """
    table = _table()
    z = np.interp(rng.random(n), np.linspace(0, 1, len(table["redshift_quantiles"])), table["redshift_quantiles"])
    mag_i = _magnitude(z, rng.random(n))
    bright = rng.random(n) < BRIGHT * np.clip((0.9 - z) / 0.2, 0, 1)
    target = 17.0 + 3.7 * np.log10(z / 0.1) + 0.6 * rng.standard_normal(n)
    return _furnish(rng, z, np.where(bright, np.minimum(target, mag_i), mag_i))


def draw_neighbours(rng: np.random.Generator, n: int, side_arcsec: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, Galaxies]:
    """Field galaxies that happen to stand on `n` square stamps: index of the stamp, x, y (arcsec from its centre), galaxies.

    Poisson numbers at HSC's density to i = 25, number counts rising 0.3 dex a magnitude; redshifts as deep fields have them at
    that magnitude (a gamma distribution of mean 0.65 + 0.13 (i - 22)).
    """
    counts = rng.poisson(_NEIGHBOURS_PER_ARCMIN2 * (side_arcsec / 60) ** 2, n)
    stamp = np.repeat(np.arange(n), counts)
    x, y = rng.uniform(-side_arcsec / 2, side_arcsec / 2, (2, len(stamp)))
    mag_i = np.maximum(_NEIGHBOUR_LIMIT + np.log10(1 - rng.random(len(stamp))) / _COUNT_SLOPE, 17.0)
    z = np.clip(rng.gamma(3.0, (0.65 + 0.13 * np.clip(mag_i - 22, -3.5, 3)) / 3.0), 0.05, 4.0)
    return stamp, x, y, _furnish(rng, z, mag_i)


def distance_modulus(z: np.ndarray) -> np.ndarray:
    """5 log10(d_L / 10 pc), Planck18."""
    return 5 * np.log10(luminosity_distance(z)) + 25


def luminosity_distance(z: np.ndarray) -> np.ndarray:
    """Luminosity distance, Mpc (Planck18; interpolated, to 1e-5)."""
    grid, distance, _ = _cosmology()
    return np.exp(np.interp(np.log(z), grid, distance))


def lookback_time(z: np.ndarray) -> np.ndarray:
    """Lookback time, Gyr (Planck18; interpolated)."""
    grid, _, time = _cosmology()
    return np.interp(np.log(z), grid, time)


def _furnish(rng: np.random.Generator, z: np.ndarray, mag_i: np.ndarray) -> Galaxies:
    """Steps 3-8: everything that follows from redshift and magnitude."""
    n, table = len(z), _table()
    red = rng.random(n) < _red_probability(z, mag_i)
    mag, bulge_mag, residual = _colours(rng, z, mag_i, red)
    k, rest_g_i = (
        np.where(red, *(np.interp(z, table["redshift"], table[kind][name]) for kind in ("red", "blue")))
        for name in ("k_correction_i", "rest_g_i")
    )
    rest_g_i = rest_g_i + 0.15 * residual
    # the K correction of an old template exaggerates beyond z = 1.5: no galaxy there is heavier than 10^11.8
    log_mass = np.minimum(1.15 + 0.70 * rest_g_i - 0.4 * (mag_i - distance_modulus(z) - k), 11.8)
    radius = _size_kpc(rng, z, log_mass, red) / (luminosity_distance(z) / (1 + z) ** 2 * 1e3 / 206264.806)

    bulge_to_total = np.where(red, rng.beta(5.0, 2.0, n), rng.beta(1.3, 6.0, n))
    spheroid = bulge_to_total > 0.5
    bulge_n = np.clip(np.where(spheroid, 4.0, 2.2) * np.exp(0.25 * rng.standard_normal(n)), 0.8, 6.0)
    ratio = np.where(spheroid, 0.7, 0.25) * np.exp(0.25 * rng.standard_normal(n))
    disc_radius = radius / _joint_half_light(bulge_to_total, bulge_n, ratio)
    cos_i = rng.random(n)
    thick = np.clip(0.65 + 0.12 * rng.standard_normal(n), 0.35, 0.95)
    thin = np.where(spheroid, thick, np.clip(0.20 + 0.04 * rng.standard_normal(n), 0.1, 0.35))
    bulge_mag = np.where(red[:, None], mag, bulge_mag) - 2.5 * np.log10(np.maximum(bulge_to_total, 1e-4))[:, None]
    return Galaxies(
        redshift=z,
        red=red,
        mag=mag,
        log_mass=log_mass,
        radius=radius,
        bulge_to_total=bulge_to_total,
        bulge_n=bulge_n,
        bulge_radius=ratio * disc_radius,
        bulge_q=apparent_axis_ratio(thick, cos_i),
        disc_radius=disc_radius,
        disc_q=apparent_axis_ratio(thin, cos_i),
        position_angle=rng.uniform(-90, 90, n),
        cos_i=cos_i,
        bulge_mag=np.maximum(bulge_mag, mag + 0.05),  # a bulge has less light than its galaxy, in every band
    )


def apparent_axis_ratio(thickness: np.ndarray, cos_i: np.ndarray) -> np.ndarray:
    """q of an oblate spheroid of that thickness seen at inclination i: q^2 = cos^2 i + c^2 sin^2 i."""
    return np.sqrt(cos_i**2 + thickness**2 * (1 - cos_i**2))


def _magnitude(z: np.ndarray, probability: np.ndarray) -> np.ndarray:
    table = _table()
    quantiles = np.array([np.interp(z, table["redshift"], q) for q in table["magnitude_quantiles"].T])
    p = table["magnitude_probabilities"]
    at = np.clip(np.searchsorted(p, probability) - 1, 0, len(p) - 2)
    fraction = (probability - p[at]) / (p[at + 1] - p[at])  # below the first and above the last quantile: extrapolated
    rows = np.arange(len(z))
    return quantiles[at, rows] * (1 - fraction) + quantiles[at + 1, rows] * fraction


def _red_probability(z: np.ndarray, mag_i: np.ndarray) -> np.ndarray:
    table = _table()
    share = np.interp(z, table["redshift"], table["red_fraction"])
    middle = np.interp(z, table["redshift"], table["magnitude_quantiles"][:, 2])
    logit = np.log(share / (1 - share)) + table["red_slope_per_mag"] * np.clip(mag_i - middle, -3, 2.5)
    return 1 / (1 + np.exp(-logit))


def _colours(rng: np.random.Generator, z: np.ndarray, mag_i: np.ndarray, red: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Magnitudes in `BANDS` of the galaxies and of a red population in their place, and the g-r residual in sigmas."""
    table = _table()
    normal = np.clip(rng.standard_normal((len(z), 5)), -2.5, 2.5)
    mags, residual = [], []
    for name in ("blue", "red"):
        kind = table[name]
        deviate = normal @ np.linalg.cholesky(kind["correlation"]).T
        mean = np.stack([np.interp(z, table["redshift"], c) for c in kind["colours"].T], axis=1)
        scatter = np.stack([np.interp(z, table["redshift"], c) for c in kind["scatter"].T], axis=1)
        # a colour is bluer band minus redder band: magnitudes are sums from the i band (index 3) outwards
        colour = mean + scatter * deviate
        u_to_r = mag_i[:, None] + np.cumsum(colour[:, 2::-1], axis=1)[:, ::-1]
        z_y = mag_i[:, None] - np.cumsum(colour[:, 3:], axis=1)
        mags.append(np.column_stack([u_to_r, mag_i, z_y]))
        residual.append(deviate[:, 1])
    return np.where(red[:, None], mags[1], mags[0]), mags[1], np.where(red, residual[1], residual[0])


def _size_kpc(rng: np.random.Generator, z: np.ndarray, log_mass: np.ndarray, red: np.ndarray) -> np.ndarray:
    """van der Wel et al. 2014; masses outside 7-12 take the size at that end."""
    log_m = np.clip(log_mass, 7.0, 12.0) - np.log10(5e10)
    late = np.log10(8.9) - 0.75 * np.log10(1 + z) + 0.22 * log_m
    early = np.log10(5.6) - 1.48 * np.log10(1 + z) + 0.75 * np.maximum(log_m, np.log10(2e10 / 5e10))
    deviate = np.clip(rng.standard_normal(len(z)), -3, 3)
    return 10 ** np.where(red, early + 0.13 * deviate, late + 0.18 * deviate)


def _joint_half_light(bulge_to_total: np.ndarray, bulge_n: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Half-light radius of bulge plus exponential disc, in disc half-light radii, by bisection.

    ratio: the bulge's half-light radius over the disc's.
    """
    low, high = np.minimum(ratio, 1.0), np.maximum(ratio, 1.0)
    b_bulge, b_disc = b_n(bulge_n), float(b_n(1.0))
    for _ in range(16):
        middle = 0.5 * (low + high)
        bulge = gammainc(2 * bulge_n, b_bulge * (middle / ratio) ** (1 / bulge_n))
        disc = 1 - (1 + b_disc * middle) * np.exp(-b_disc * middle)
        inside = bulge_to_total * bulge + (1 - bulge_to_total) * disc > 0.5
        low, high = np.where(inside, low, middle), np.where(inside, middle, high)
    return 0.5 * (low + high)


@functools.lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    return _arrays(json.loads((files("hubbleflow.simulate") / "population.json").read_text()))


def _arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _arrays(item) for name, item in value.items()}
    return np.array(value) if isinstance(value, list) else value


@functools.lru_cache(maxsize=1)
def _cosmology() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from astropy.cosmology import Planck18

    ln_z = np.linspace(np.log(0.005), np.log(5.0), 512)
    z = np.exp(ln_z)
    return ln_z, np.log(Planck18.luminosity_distance(z).value), Planck18.lookback_time(z).value
