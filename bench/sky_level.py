"""How much of a galaxy is taken for sky, and how much of its light the Kron ellipse holds: GalSim galaxies alone on their stamps.

    OMP_NUM_THREADS=1 python bench/sky_level.py

R_e = 5 px, q 0.7, 64-px stamps of 0.168 arcsec, a Moffat PSF of 0.6 arcsec, noise 0.06 counts at zero point 27; 12 position angles each.
"""

from __future__ import annotations

import galsim
import numpy as np
from in_words import in_words

from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import Flag, Recipe, measure
from hubbleflow.survey import Survey

PIXEL, SIZE, NOISE, ANGLES, SIGMA_PSF = 0.168, 64, 0.06, 12, 0.6


def main() -> None:
    survey, rng = Survey.get("hsc-i"), np.random.default_rng(1)
    psf = galsim.Moffat(beta=2.5, fwhm=SIGMA_PSF)
    print(f"{'n':>4s} {'i':>6s} {'sky left, sigmas':>17s} {'Kron / total':>13s} {'FILLED':>7s} {'EDGE':>5s}")
    for index in (1.0, 4.0):
        for mag in (20.8, 18.3, 15.8):
            flux = float(survey.flux(mag))
            galaxy = galsim.Sersic(index, half_light_radius=5 * PIXEL * np.sqrt(0.7), flux=flux)
            turned = [galaxy.shear(q=0.7, beta=k * 180 / ANGLES * galsim.degrees) for k in range(ANGLES)]
            images = np.stack([galsim.Convolve(g, psf).drawImage(nx=SIZE, ny=SIZE, scale=PIXEL, dtype=float).array for g in turned])
            images += NOISE * rng.normal(size=images.shape)
            columns = measure(
                GalaxySet(images[:, None].astype(np.float32), survey), progress=False, recipe=Recipe(sersic=False, shapes=False)
            ).columns
            sky, kron = np.mean(columns["i_sky"]) / NOISE, np.mean(columns["i_flux"]) / flux
            filled, edge = (int(((columns["flag"] & int(bit)) != 0).sum()) for bit in (Flag.FILLED, Flag.EDGE))
            print(f"{index:4.0f} {mag:6.1f} {sky:17.2f} {kron:13.2f} {filled:7d} {edge:5d}")


if __name__ == "__main__":
    in_words(main)
