r"""Spectral types of 3D-HST's galaxies from J - H, and what FAST says of their masses and star formation.

zCOSMOS ends at z = 1.2. Beyond, F125W - F160W lies across the 4000 A break, and the type of `calibration/spectra.py` whose J - H is
nearest also says how bright a galaxy is in i: so 3D-HST gives types at a redshift and an i magnitude there, too. From z = 0.8 on the same
types are set against FAST's masses and star-formation rates (Skelton et al. 2014; Chabrier's stars):

- `mass_offset`: log M by Taylor et al. (2011), whose galaxies have z < 0.65, less FAST's, of old and of young types. Masses in the mock sky
  are FAST's, because its sizes are tied to them.
- `specific_sfr`: quantiles of log sSFR per type and mass. Colour alone does not tell dusty from old.
- `deep_types`: quantiles of the type per redshift and absolute magnitude for z > 1.2.

The two filters are taken as boxes, 1.10-1.40 and 1.40-1.70 um.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import spectra as templates
from cells import TYPE_P, fill
from scipy.interpolate import RegularGridInterpolator

from hubbleflow.simulate.cosmology import distance_modulus
from hubbleflow.simulate.spectra import spectra

DEEP_EDGES = np.array([1.2, 1.5, 2.0, 2.5, 3.6])
SFR_P = np.array([0.02, 0.16, 0.35, 0.5, 0.65, 0.84, 0.98])
SFR_TYPES = (0.3, 0.9, 1.6, 2.5, 4.0)
SFR_TYPE_EDGES = (0.0, 0.6, 1.2, 2.0, 3.0, 5.1)
SFR_MASSES = (9.0, 9.9, 10.4, 10.8)
LEAST_SSFR, MOST_SSFR = -12.5, -8.0  # FAST's floor has no lower end
COMPLETE_I = 24.3  # fainter in i, H < 24.5 holds the red ones alone
LEAST = 25  # galaxies a cell


@dataclass(frozen=True)
class Infrared:
    """3D-HST's galaxies, one array (n,) a quantity; mag_i is what the type and H say."""

    z: np.ndarray
    spectral_type: np.ndarray
    mag_i: np.ndarray
    log_mass: np.ndarray
    log_ssfr: np.ndarray

    @classmethod
    def read(cls, table: dict[str, np.ndarray], sed_filters: Path) -> Infrared:
        """Galaxies of 0.5 < z < 3.6, H < 24.5, both bands well measured."""
        good = (table["mag_f160w"] < 24.5) & (table["sn"] > 10) & (table["f_f125w"] <= 1) & (table["z"] > 0.5) & (table["z"] < 3.6)
        good &= (table["mag_f125w"] > 10) & (table["mag_f125w"] < 30)
        z, mag_h = table["z"][good], table["mag_f160w"][good]
        colour = table["mag_f125w"][good] - mag_h
        j_h, i_h = colours(sed_filters)
        trial = np.arange(0, 5.001, 0.02)
        distance = np.stack([np.abs(j_h((np.full(len(z), t), z)) - colour) for t in trial])
        t = trial[distance.argmin(axis=0)]
        ssfr = np.clip(table["lsfr"][good] - table["lmass"][good], LEAST_SSFR, MOST_SSFR)
        return cls(z, t, mag_h + i_h((t, z)), table["lmass"][good], ssfr)


def colours(sed_filters: Path) -> tuple[RegularGridInterpolator, RegularGridInterpolator]:
    """J - H and i - H of a type at a redshift."""
    sequence = templates.sequence(sed_filters / "cww_plus")
    i = templates.read_filter(sed_filters, "i")
    j, h = ((np.linspace(a, b, 121), np.ones(121)) for a, b in ((11000, 14000), (14000, 17000)))
    z, types = np.arange(0.45, 3.71, 0.05), np.linspace(0, 5, len(sequence))
    mag = np.array([[[templates.ab(f, at, *band) for band in (i, j, h)] for at in z] for f in sequence])
    return tuple(RegularGridInterpolator((types, z), mag[..., k] - mag[..., 2]) for k in (1, 0))


def mass_offset(galaxies: Infrared) -> dict[str, list[float]]:
    """Median of Taylor's log M less FAST's, of types below and above 1.6."""
    massive = (galaxies.log_mass > 9.8) & (galaxies.z < 3)
    more = spectra().log_mass(galaxies.spectral_type, galaxies.z, galaxies.mag_i) - galaxies.log_mass
    old = galaxies.spectral_type < 1.6
    result = {"type": [1.0, 2.2], "dex": [float(np.median(more[massive & kind])) for kind in (old, ~old)]}
    print("Taylor's log M - FAST's, old and young types:", np.round(result["dex"], 3))
    return result


def specific_sfr(galaxies: Infrared) -> dict[str, object]:
    """Quantiles of log sSFR per type and mass, 0.8 < z < 2.2."""
    near = (galaxies.z > 0.8) & (galaxies.z < 2.2)
    values = np.full((len(SFR_TYPES), len(SFR_MASSES), len(SFR_P)), np.nan)
    for i, (low, high) in enumerate(itertools.pairwise(SFR_TYPE_EDGES)):
        for j, mass in enumerate(SFR_MASSES):
            cell = near & (galaxies.spectral_type >= low) & (galaxies.spectral_type < high) & (np.abs(galaxies.log_mass - mass) < 0.3)
            if cell.sum() >= LEAST:
                values[i, j] = np.quantile(galaxies.log_ssfr[cell], SFR_P)
            elif j:
                values[i, j] = values[i, j - 1]
    print("median log sSFR (rows types, columns masses):\n", values[:, :, 3].round(2))
    return {"x": SFR_TYPES, "y": SFR_MASSES, "p": SFR_P, "values": values}


def deep_types(galaxies: Infrared, absolute_nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Redshifts, and quantiles of the type (redshift, absolute magnitude, p) beyond z = 1.2; empty cells take the nearest magnitude's."""
    absolute = galaxies.mag_i - distance_modulus(galaxies.z) - spectra().k_correction(np.ones_like(galaxies.z), galaxies.z)
    middles, values = [], np.full((len(DEEP_EDGES) - 1, len(absolute_nodes), len(TYPE_P)), np.nan)
    for i, (low, high) in enumerate(itertools.pairwise(DEEP_EDGES)):
        at = (galaxies.z >= low) & (galaxies.z < high) & (galaxies.mag_i < COMPLETE_I)
        middles.append(float(np.median(galaxies.z[at])))
        for j, middle in enumerate(absolute_nodes):
            cell = at & (np.abs(absolute - middle) < 0.6)
            if cell.sum() >= LEAST:
                values[i, j] = np.quantile(galaxies.spectral_type[cell], TYPE_P)
    fill(values, axes=(1,))
    return np.array(middles), values
