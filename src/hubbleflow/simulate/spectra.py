r"""Magnitudes of a spectral type at a redshift, and what the type says of the mass.

A type t runs from 0 (an old elliptical) over 1 (Sbc), 2 (Scd), 3 (irregular) and 4 (starburst) to 5 (25 Myr old): the templates of
Benitez et al. (2004, ApJS 150, 1) through HSC's filters, behind Madau's (1995) intergalactic hydrogen, so that g fades from z = 2.9 on
and is gone at 4. `calibration/spectra.py` writes the table; magnitudes are linear in t and z between its nodes.

Stellar mass (Chabrier's stars; Taylor et al. 2011, MNRAS 418, 1587, eq. 8, from galaxies of z < 0.65; 0.1 dex):

    log M = 1.15 + 0.70 (g-i)_0 - 0.4 M_i.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.simulate.cosmology import distance_modulus
from hubbleflow.simulate.quantiles import bilinear

if TYPE_CHECKING:
    from jaxtyping import Float

BANDS = ("u", "g", "r", "i", "z", "y")


@dataclass(frozen=True)
class Spectra:
    """The table: types, redshifts, m_b - m_i (type, redshift, band) and the i band's K correction (type, redshift)."""

    types: Float[np.ndarray, " t"]
    redshift: Float[np.ndarray, " z"]
    band_minus_i: Float[np.ndarray, "t z band"]
    k_correction_i: Float[np.ndarray, "t z"]

    def colours(self, t: np.ndarray, z: np.ndarray) -> Float[np.ndarray, "n band"]:
        """m_b - m_i in `BANDS` of each galaxy.

        >>> colours = spectra().colours(np.array([0.0, 3.0]), np.array([0.5, 0.5]))
        >>> (colours[:, 1] - colours[:, 2]).round(1).tolist()       # g-r, elliptical and irregular
        [1.5, 0.8]
        """
        return bilinear(self.types, self.redshift, self.band_minus_i, t, z)

    def k_correction(self, t: np.ndarray, z: np.ndarray) -> Float[np.ndarray, " n"]:
        """K_i: M_i = m_i - distance modulus - K_i, M_i in the rest-frame i band."""
        return bilinear(self.types, self.redshift, self.k_correction_i[..., None], t, z)[:, 0]

    def log_mass(self, t: np.ndarray, z: np.ndarray, mag_i: np.ndarray) -> Float[np.ndarray, " n"]:
        """log10 stellar mass / solar masses, by Taylor et al.; `population.json` says what 3D-HST's masses are less than that."""
        rest = self.colours(t, np.zeros_like(z))
        absolute = mag_i - distance_modulus(z) - self.k_correction(t, z)
        return 1.15 + 0.70 * rest[:, BANDS.index("g")] - 0.4 * absolute


@functools.lru_cache(maxsize=1)
def spectra() -> Spectra:
    """The one table, read once."""
    table = json.loads((files("hubbleflow.simulate") / "spectra.json").read_text())
    return Spectra(*(np.array(table[name]) for name in ("type", "redshift", "band_minus_i", "k_correction_i")))
