"""A GalaxiesML file, opened as it is.

New here: `GalaxySet.open` on somebody else's file. GalaxiesML (Zenodo 11117528: 286,401 HSC galaxies with
spectroscopic redshifts) needs no conversion: its HDF5 layout is this package's own. Nothing is read but the table
until pixels are asked for, so the 17 GB training file opens as fast as a small one.

    python examples/02_galaxiesml.py [5x64x64_testing_with_morphology.hdf5] [--out FOLDER]

Without a file, a tiny one of GalaxiesML's layout is made first: 300 smooth blobs that fade with redshift. They are no
galaxies, and nothing should be concluded from them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import h5py
import numpy as np

from hubbleflow.datasets import import_archive
from hubbleflow.galaxies import GalaxySet
from hubbleflow.survey import Survey


def make_tiny(path: Path, n: int = 300, size: int = 64, seed: int = 1) -> None:
    """Write a file of GalaxiesML's layout: its names, its types, its five bands, invented contents."""
    rng = np.random.default_rng(seed)
    survey = Survey.get("hsc-wide")
    redshift = rng.gamma(2.0, 0.3, n).clip(0.01, 4)
    magnitude = 19 + 3 * np.log10(1 + 3 * redshift) + rng.normal(0, 0.5, n)
    radius = rng.uniform(1.5, 5, n)  # px
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    blobs = np.exp(-0.5 * (x**2 + y**2) / radius[:, None, None] ** 2) / (2 * np.pi * radius[:, None, None] ** 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        image = file.create_dataset("image", (n, 5, size, size), np.float32, chunks=(1, 5, size, size))
        for number, (band, noise) in enumerate(zip(survey.bands, survey.noise or (), strict=True)):
            band_magnitude = magnitude + (2 - number) * (0.2 + 0.4 * redshift)  # redder when farther
            flux = survey.flux(band_magnitude)[:, None, None] * blobs
            image[:, number] = flux + rng.normal(0, noise, blobs.shape)
            file[f"{band}_cmodel_mag"] = band_magnitude
            file[f"{band}_half_light_radius"] = 1.1774 * radius
        file["specz_redshift"] = redshift
        file["specz_flag_homogeneous"] = rng.random(n) < 0.9
        file["object_id"] = 36_407_046_000_000_000 + np.arange(n, dtype=np.int64)
        file["ra"], file["dec"] = rng.uniform(30, 39, n), rng.uniform(-6, -2, n)
        file["x_coord"] = np.zeros((n, 2))  # the real files have such coordinates too: they are no columns


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", nargs="?", type=Path, help="a GalaxiesML HDF5 file (none: a tiny one is made)")
    parser.add_argument("--out", type=Path, default=Path("runs/02_galaxiesml"), help="folder for what is written")
    arguments = parser.parse_args()
    path = arguments.path
    if path is None:
        path = arguments.out / "galaxiesml_tiny.hdf5"
        make_tiny(path)

    galaxies = GalaxySet.open(path)
    print(galaxies)
    survey = galaxies.survey
    print(f"bands {', '.join(survey.bands)}; {survey.pixel_scale}; 1 count = {survey.count_nanojansky:.3f} nJy")

    # The table is an astropy QTable: sort it, join it, write it as ECSV or FITS.
    wanted = ("object_id", "redshift", "specz_flag_homogeneous", "i_cmodel_mag")
    shown = [name for name in wanted if name in galaxies.columns]
    print(galaxies.table[shown][:5])

    # Selections are by mask, and still read no pixel.
    secure = galaxies[galaxies.column("specz_flag_homogeneous").astype(bool) & (galaxies.redshift < 1)]
    print(f"{len(secure)} of {len(galaxies)} have a secure redshift below 1")
    subset = secure[:100].write(arguments.out / "secure_below_1.h5")
    print(f"wrote {subset}; brightest i pixel of the first: {subset.images[0][2].max():.2f} counts")

    # Importing makes a checked copy instead: bad pixels masked, unusable redshifts flagged, outliers counted.
    print(import_archive("galaxiesml", path, arguments.out / "secure.h5", secure=True, progress=True))


if __name__ == "__main__":
    main()
