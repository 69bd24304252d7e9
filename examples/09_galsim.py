"""Galaxies of an asked redshift, drawn into a survey image by GalSim: sheared, in other pixels, through another PSF.

New here: `GalSimCatalogue`, which has the face of GalSim's COSMOSCatalog, and an account of noise. A galaxy brings its own sky along, which
shear and PSF make smooth; GalSim knows by how much. Each stamp is made white again, and then the whole image gets just the noise that is
missing to the depth that is wanted.

    python examples/09_galsim.py [SOURCE] [--redshift 0.5] [--out FOLDER]

SOURCE is a generator (its folder or name) or a set of galaxies (HDF5), of which those within 0.1 of the redshift are taken; without one, a
mock sky is made. Needs `pip install 'hubbleflow[galsim]'`.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import galsim
import numpy as np

from hubbleflow.adaptors.galsim import GalSimCatalogue
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.simulate import simulate

SIZE, SCALE, ZERO_POINT, DEPTH = 480, 0.2, 27.0, 0.3  # of the image: pixels, arcsec, AB, counts of noise a pixel
SHEAR, SEEING = 0.05, 0.9
ON_A_SIDE = 4  # galaxies


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", nargs="?", help="a generator's folder or name, or an HDF5 file of galaxies (none: a mock sky)")
    parser.add_argument("--redshift", type=float, default=0.5)
    parser.add_argument("--out", type=Path, default=Path("runs/09_galsim"))
    parser.add_argument("--n", type=int, default=300, help="galaxies of the mock sky")
    arguments = parser.parse_args()

    image_is = {"zero_point": ZERO_POINT, "pixel_scale": SCALE}
    path = simulate(arguments.out / "sky.h5", n=arguments.n, seed=1).path if arguments.source is None else Path(arguments.source)
    if path and path.is_file():
        galaxies = GalaxySet.open(path)
        catalogue = GalSimCatalogue(galaxies[np.abs(galaxies.redshift - arguments.redshift) < 0.1], **image_is)
    else:
        catalogue = GalSimCatalogue(Generator.from_pretrained(path), {"redshift": arguments.redshift}, n=64, **image_is)
    print(f"{catalogue.nobjects} galaxies at z = {arguments.redshift} to choose from")

    rng = galsim.BaseDeviate(1)
    psf = galsim.Convolve(galsim.Moffat(beta=3, fwhm=SEEING), galsim.Pixel(SCALE))
    image = galsim.ImageD(SIZE, SIZE, scale=SCALE)
    variance = galsim.ImageD(SIZE, SIZE, scale=SCALE)  # of the noise that galaxies have brought
    size = int(0.8 * catalogue.source.image_size * catalogue.source.survey.pixel_scale_arcsec / SCALE)  # what a sheared stamp surely fills
    drawn = asked = 0.0
    for x, y in product(np.linspace(1, SIZE + 1 - size, ON_A_SIDE).astype(int).tolist(), repeat=2):
        galaxy = galsim.Convolve(catalogue.makeGalaxy(rng=rng).shear(g1=SHEAR), psf)
        stamp = galaxy.drawImage(galsim.ImageD(galsim.BoundsI(x, x + size - 1, y, y + size - 1), scale=SCALE), method="no_pixel")
        drawn, asked = drawn + stamp.array.sum(), asked + galaxy.flux
        brought = stamp.whitenNoise(galaxy.noise) if galaxy.noise is not None else 0.0
        image[stamp.bounds] += stamp
        variance[stamp.bounds] += galsim.ImageD(stamp.bounds, init_value=brought)
    missing = galsim.ImageD(np.maximum(DEPTH**2 - variance.array, 0), scale=SCALE)
    image.addNoise(galsim.VariableGaussianNoise(rng, missing))

    arguments.out.mkdir(parents=True, exist_ok=True)
    image.write(str(arguments.out / "image.fits"))
    print(f"{ON_A_SIDE**2} galaxies, sheared by {SHEAR}: {drawn:.0f} of {asked:.0f} counts fell on their stamps")
    print(f"they brought noise of {np.sqrt(variance.array.max()):.3f} counts a pixel; the image has {DEPTH} everywhere")
    print(f"{arguments.out / 'image.fits'}")


if __name__ == "__main__":
    main()
