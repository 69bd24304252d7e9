r"""Who lives in the mock sky: redshifts, magnitudes, spectral types, masses, sizes, shapes and kinds, drawn from fits to real surveys.

One galaxy is drawn in this order, each step given those before it:

1. redshift: the quantiles of 14,363 GalaxiesML spectroscopic redshifts, 0.01-4;
2. i magnitude: quantiles of zCOSMOS-bright (I < 22.5) per redshift, continued by a straight line above z = 1.2; a share of bright targets
   comes from samples like SDSS's and BOSS's, which GalaxiesML holds too (`_TARGETS`: our choice, made so that the isophotal areas of the
   mocks are distributed as GalaxiesML's);
3. spectral type: its quantiles per redshift and absolute magnitude in zCOSMOS and, for the most luminous, HSC's massive galaxies; beyond
   z = 1.2 those of 3D-HST, whose types follow from J - H;
4. magnitudes: the type's (`simulate.spectra`), plus zCOSMOS's offsets and scatter about the templates;
5. stellar mass: of the type and the luminosity (`simulate.spectra`), on FAST's scale, which the sizes of step 6 are tied to; star-formation
   rate: quantiles of FAST's sSFR per type and mass (a red galaxy may be dusty instead of old), fading as (1 + z)^2.5 below z = 0.75 (the
   main sequence's: Speagle et al. 2014, ApJS 214, 15); quiescent is what forms fewer stars than 0.3 of its mass a Hubble time (Franx et
   al. 2008, ApJ 688, 770);
6. semi-major half-light radius and Sersic index: quantiles of 3D-HST's GALFIT table per redshift and mass (van der Wel et al. 2012, 2014),
   at ranks that hang together with each other and with the ranks of the galaxy's type and star formation as sSFR, n and R_e do there;
7. solid shape and direction (`simulate.shapes`): discs 1 : b : c with b near 0.9 and c near 0.2 (Ryden 2004, ApJ 601, 214), spheroids
   c near 0.6 (Padilla & Strauss 2008, MNRAS 388, 1321);
8. kind (`simulate.kinds`); smooth galaxies are one Sersic component, the others a disc of n <= 1 and a bulge that takes the rest, so that
   the mean n weighted with the i-band light is the galaxy's; bulges have the colours of an older type.

All numbers of steps 1-6 are in `population.json`, which `calibration/population.py` writes from the catalogues it names.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr, ndtri

from hubbleflow.simulate.cosmology import distance_modulus, kpc_per_arcsec, lookback_time
from hubbleflow.simulate.kinds import name_kinds, smooth_probability
from hubbleflow.simulate.quantiles import QuantileGrid, bilinear
from hubbleflow.simulate.shapes import apparent_axis_ratio, joint_half_light
from hubbleflow.simulate.spectra import BANDS, spectra

if TYPE_CHECKING:
    from jaxtyping import Float

# bright targets (SDSS main, LRG and BOSS): redshifts and their share there; i = a + b log10(z / 0.1), with that scatter
_TARGETS = ((0.0, 0.3, 0.6, 0.9), (0.38, 0.38, 0.40, 0.0))
_TARGET_I_MAG = (17.2, 3.6, 0.6)
_NEIGHBOUR_LIMIT = 25.0  # i magnitude of the faintest neighbours drawn
_NEIGHBOURS_PER_ARCMIN2 = 31.0  # HSC: 22 galaxies / arcmin2 at i < 24.5 (Mandelbaum et al. 2018), counts rising 0.3 dex a mag
_COUNT_SLOPE = 0.30  # dex of number per magnitude
_MAIN_SEQUENCE = (0.75, 2.5)  # redshift below which star formation fades, and as which power of 1 + z
_AGE_OF_UNIVERSE = 13.787  # Gyr, Planck18


@dataclass(frozen=True)
class Photometry:
    """Steps 1-5: arrays (n,); `mag` is (n, 6) AB of the total light in `BANDS`, `sfr_rank` the sSFR's among its like."""

    redshift: np.ndarray
    spectral_type: np.ndarray
    mag: Float[np.ndarray, "n 6"]
    log_mass: np.ndarray
    log_sfr: np.ndarray
    quiescent: np.ndarray
    sfr_rank: np.ndarray


@dataclass(frozen=True)
class Galaxies:
    """Drawn galaxies, one array (n,) a quantity; `mag` and `bulge_mag` are (n, 6) AB in `BANDS`.

    Radii are semi-major half-light radii in arcsec, angles degrees from +x towards +y. `radius` is where the ellipses of bulge
    and disc, each of its own axis ratio, together hold half of the total i-band light.
    """

    redshift: np.ndarray
    spectral_type: np.ndarray
    quiescent: np.ndarray
    kind: np.ndarray
    mag: Float[np.ndarray, "n 6"]
    log_mass: np.ndarray
    log_sfr: np.ndarray
    radius: np.ndarray
    sersic_index: np.ndarray
    bulge_to_total: np.ndarray
    bulge_n: np.ndarray
    bulge_radius: np.ndarray
    bulge_q: np.ndarray
    disc_n: np.ndarray
    disc_radius: np.ndarray
    disc_q: np.ndarray
    disc_thickness: np.ndarray
    position_angle: np.ndarray
    cos_i: np.ndarray
    bulge_mag: Float[np.ndarray, "n 6"] = field(repr=False)

    def __len__(self) -> int:
        return len(self.redshift)

    @property
    def axis_ratio(self) -> np.ndarray:
        """Mean of the bulge's and the disc's axis ratios, weighted with their i-band light."""
        return self.bulge_to_total * self.bulge_q + (1 - self.bulge_to_total) * self.disc_q

    def rest_colour(self, blue: str, red: str) -> np.ndarray:
        """A rest-frame colour of the spectral type, AB mag."""
        rest = spectra().colours(self.spectral_type, np.zeros(len(self)))
        return rest[:, BANDS.index(blue)] - rest[:, BANDS.index(red)]


def draw_galaxies(rng: np.random.Generator, n: int) -> Galaxies:
    """`n` galaxies as GalaxiesML's spectroscopic sample would have them.

    Example:
        >>> galaxies = draw_galaxies(np.random.default_rng(1), 1000)
        >>> bool(0.4 < np.median(galaxies.redshift) < 0.6)
        True
    """
    return _furnish(rng, draw_photometry(rng, n))


def draw_photometry(rng: np.random.Generator, n: int) -> Photometry:
    """Steps 1-5 alone."""
    table = _table()
    z = np.interp(rng.random(n), np.linspace(0, 1, len(table["redshift_quantiles"])), table["redshift_quantiles"])
    mag_i = _magnitude(z, rng.random(n))
    bright = rng.random(n) < np.interp(z, *_TARGETS)
    at_a_tenth, slope, scatter = _TARGET_I_MAG
    target = at_a_tenth + slope * np.log10(z / 0.1) + scatter * rng.standard_normal(n)
    return _photometry(rng, z, np.where(bright, np.minimum(target, mag_i), mag_i))


def quiescent_below(z: np.ndarray) -> Float[np.ndarray, " n"]:
    """log10 of the star formation per mass (1 / yr) below which a galaxy is quiescent: 0.3 of its mass a Hubble time.

    >>> quiescent_below(np.array([0.01, 2.0])).round(1).tolist()
    [-10.7, -10.0]
    """
    return np.log10(0.3 / (_AGE_OF_UNIVERSE - lookback_time(z))) - 9


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
    return stamp, x, y, _furnish(rng, _photometry(rng, z, mag_i))


def _photometry(rng: np.random.Generator, z: np.ndarray, mag_i: np.ndarray) -> Photometry:
    """Steps 3-5: everything that follows from redshift and i magnitude."""
    table = _table()
    absolute = mag_i - distance_modulus(z) - spectra().k_correction(np.ones_like(z), z)
    t = np.clip(table["spectral_type"].value(z, absolute, rng.random(len(z))), 0, 5)
    normal = np.clip(rng.standard_normal((len(z), 5)), -3, 3)
    nearest = np.abs(table["offset_redshift"] - z[:, None]).argmin(axis=1)
    factor = np.linalg.cholesky(table["covariance"])[nearest]
    offset = bilinear(table["offset_redshift"], table["offset_type"], table["offset"], z, t)
    g_r_z = offset + np.einsum("nij,nj->ni", factor, normal[:, :3])
    # neither u nor y has been measured: they follow their neighbours, with a little of their own
    extra = np.zeros((len(z), len(BANDS)))
    extra[:, [1, 2, 4]] = g_r_z
    extra[:, 0], extra[:, 5] = g_r_z[:, 0] + 0.08 * normal[:, 3], g_r_z[:, 2] + 0.03 * normal[:, 4]
    log_mass = spectra().log_mass(t, z, mag_i) - np.interp(t, table["mass_offset"]["type"], table["mass_offset"]["dex"])
    sfr_rank = rng.random(len(z))
    since, power = _MAIN_SEQUENCE
    specific = table["specific_sfr"].value(t, log_mass, sfr_rank) + power * np.log10(np.minimum(1 + z, 1 + since) / (1 + since))
    return Photometry(
        redshift=z,
        spectral_type=t,
        mag=mag_i[:, None] + spectra().colours(t, z) + extra,
        log_mass=log_mass,
        log_sfr=log_mass + specific,
        quiescent=specific < quiescent_below(z),
        sfr_rank=sfr_rank,
    )


def _furnish(rng: np.random.Generator, photometry: Photometry) -> Galaxies:
    """Steps 6-8."""
    z, log_mass, t, mag = photometry.redshift, photometry.log_mass, photometry.spectral_type, photometry.mag
    n = len(z)
    log_radius, index = _size_and_index(rng, photometry)
    radius = np.clip(10**log_radius / kpc_per_arcsec(z), 0.02, 30.0)
    smooth = rng.random(n) < smooth_probability(index, photometry.quiescent, log_mass)

    bulge_n = np.where(smooth, index, np.clip(1.5 * index + 0.5, 1.5, 4.5))
    disc_n = np.clip(index, 0.4, 1.0)
    # a bulge of at most 70 %: discs of higher n have a steeper bulge instead
    bulge_n = np.where(smooth, bulge_n, np.clip(np.maximum(bulge_n, 1 + (index - 1) / 0.7), 1.5, 6.0))
    bulge_to_total = np.where(smooth, 1.0, np.clip((index - disc_n) / np.maximum(bulge_n - disc_n, 0.1), 0, 1))
    ratio = np.where(smooth, 1.0, 0.3 * np.exp(0.25 * rng.standard_normal(n)))
    disc_radius = radius / joint_half_light(bulge_to_total, bulge_n, disc_n, ratio)

    cos_i, phi, normal = rng.random(n), rng.uniform(0, 2 * np.pi, n), np.clip(rng.standard_normal((3, n)), -2.5, 2.5)
    # smooth galaxies of low n are thick discs, of high n spheroids
    spheroid = np.clip(0.3 + 0.2 * (index - 1), 0.25, 0.62) + 0.12 * normal[0]
    thin = np.clip(0.22 + 0.05 * normal[1] + 0.04 * np.clip(z, 0, 2), 0.08, 0.5)
    oval = np.clip(1 - 0.10 * np.exp(0.8 * normal[2]), 0.45, 1)
    disc_q = apparent_axis_ratio(np.minimum(thin, oval), cos_i, oval, phi)
    bulge_q = apparent_axis_ratio(np.clip(np.where(smooth, spheroid, 0.6), 0.15, 0.95), cos_i)

    # a bulge is as old as the oldest stars of its galaxy: two templates redder, and never bluer than the whole
    older = spectra().colours(np.clip(t - 2.0, 0, None), z) - spectra().colours(t, z)
    bulge_mag = mag + np.where(smooth[:, None], 0, older) - 2.5 * np.log10(np.maximum(bulge_to_total, 1e-4))[:, None]
    return Galaxies(
        redshift=z,
        spectral_type=t,
        quiescent=photometry.quiescent,
        kind=name_kinds(rng.random((3, n)), smooth, z, log_mass, bulge_to_total, np.where(smooth, bulge_q, disc_q), cos_i),
        mag=mag,
        log_mass=log_mass,
        log_sfr=photometry.log_sfr,
        radius=radius,
        sersic_index=index,
        bulge_to_total=bulge_to_total,
        bulge_n=bulge_n,
        bulge_radius=ratio * disc_radius,
        bulge_q=bulge_q,
        disc_n=disc_n,
        disc_radius=disc_radius,
        disc_q=disc_q,
        disc_thickness=thin,
        position_angle=rng.uniform(-90, 90, n),
        cos_i=cos_i,
        # a bulge has less light than its galaxy, in every band
        bulge_mag=np.maximum(bulge_mag, mag + np.where(smooth, 0, 0.05)[:, None]),
    )


def _magnitude(z: np.ndarray, probability: np.ndarray) -> np.ndarray:
    table = _table()
    values = table["magnitude_quantiles"][:, None, :]
    return QuantileGrid(table["magnitude_redshift"], np.zeros(1), table["magnitude_probabilities"], values).value(
        z, np.zeros_like(z), probability
    )


def _size_and_index(rng: np.random.Generator, photometry: Photometry) -> tuple[np.ndarray, np.ndarray]:
    """log10 R_e / kpc and n, by a Gaussian copula of (old stars, n, R_e); the ranks of type and of star formation say how old."""
    table, z, mass = _table(), photometry.redshift, photometry.log_mass
    ranks = np.stack([table["type_rank"].rank(z, mass, photometry.spectral_type), photometry.sfr_rank])
    old = ndtri(np.clip(1 - ranks, 1e-3, 1 - 1e-3)).sum(axis=0) / np.sqrt(2)
    factor = np.linalg.cholesky(table["rank_correlation"])
    score = np.column_stack([old, rng.standard_normal((len(z), 2))]) @ factor.T
    rank_n, rank_size = ndtr(score[:, 1]), ndtr(score[:, 2])
    return table["log_radius_kpc"].value(z, mass, rank_size), np.clip(table["sersic_index"].value(z, mass, rank_n), 0.4, 6.0)


@functools.lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    found = json.loads((files("hubbleflow.simulate") / "population.json").read_text())
    return {name: _entry(value) for name, value in found.items()}


def _entry(value: Any) -> Any:
    """A table of quantiles, a relation or plain numbers."""
    if not isinstance(value, dict):
        return np.array(value)
    return QuantileGrid.read(value) if "values" in value else {name: np.array(v) for name, v in value.items()}
