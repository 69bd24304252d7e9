"""The kinds of galaxies of the mock sky, nearby and far: docs/figures/structure.png.

    python docs/figures/structure.py [folder of real SDSS pictures, gz2_rgb64]

Each row is a kind. First two as they are (0.08" pixels, 0.18" seeing, no noise), then as HSC-Wide sees them: four near ones (z = 0.02-0.12,
21" wide), three at z = 0.2-0.4 and two at z = 1-2 (11" wide). Galaxies are the mock's own, of the brighter half in a range of sizes. With
the folder at hand (Galaxy Zoo 2; ../shared/data/gz2_rgb64 beside the checkout), a last row shows real SDSS spirals, edge-ons, mergers and
ellipticals.
"""

from __future__ import annotations

import io
import sys
from dataclasses import fields
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from astropy.visualization import make_lupton_rgb
from PIL import Image

from hubbleflow.simulate.kinds import KINDS
from hubbleflow.simulate.population import BANDS, Galaxies, draw_galaxies
from hubbleflow.simulate.psf import Moffat
from hubbleflow.simulate.render import Components, Renderer
from hubbleflow.simulate.structure import decorate
from hubbleflow.survey import Survey

HERE = Path(__file__).resolve().parent
HSC = Survey.get("hsc-wide")
# how many a row, redshifts, half-light radii (arcsec), pixels on a side, arcsec a pixel, seeing, noise (1: HSC-Wide's)
PANELS = (
    (2, (0.02, 0.12), (2.5, 4.0), 256, 0.084, (0.18,) * 5, 0.0),
    (4, (0.02, 0.12), (2.5, 4.0), 128, 0.168, HSC.psf_fwhm_arcsec, 1.0),
    (3, (0.2, 0.4), (0.9, 1.6), 64, 0.168, HSC.psf_fwhm_arcsec, 1.0),
    (2, (1.0, 2.0), (0.4, 0.8), 64, 0.168, HSC.psf_fwhm_arcsec, 1.0),
)
WEIGHTS = (1.0, 1.15, 1.5)  # of red, green and blue, about as in SDSS's pictures


def pick(sky: Galaxies, kind: str, redshift: tuple[float, float], radius: tuple[float, float], count: int, skip: int) -> Galaxies:
    """`count` galaxies of the brighter half of a kind, a range of redshift and a range of size, after the first `skip`."""
    fit = (sky.kind == kind) & (sky.redshift > redshift[0]) & (sky.redshift < redshift[1])
    rows = np.flatnonzero(fit & (sky.radius > radius[0]) & (sky.radius < radius[1]))
    brightness = sky.mag[rows, BANDS.index("i")]
    rows = rows[brightness <= np.median(brightness)][skip : skip + count]
    return Galaxies(**{field.name: getattr(sky, field.name)[rows] for field in fields(sky)})


def pictures(
    galaxies: Galaxies, rng: np.random.Generator, size: int, scale: float, seeing: tuple[float, ...], noisy: float
) -> list[np.ndarray]:
    """Colour pictures of galaxies; the softening follows the brightness, as one would set it in a viewer."""
    centre = np.zeros(len(galaxies))
    bands = [BANDS.index(band) for band in HSC.bands]
    flux, bulge = HSC.flux(galaxies.mag)[:, bands], HSC.flux(galaxies.bulge_mag)[:, bands]
    drawn = decorate(rng, galaxies, centre, centre, flux, bulge, HSC.bands)
    components = Components(**{name: torch.as_tensor(value, dtype=torch.float32) for name, value in drawn.parts.items()})
    images = Renderer(size, scale, Moffat(seeing))(components, drawn.blobs).numpy()
    images += noisy * np.array(HSC.noise)[:, None, None] * rng.standard_normal(images.shape)
    shown = []
    for image in images:
        bright = max(float(np.percentile(image[2], 97)), 5 * noisy * HSC.noise[2])
        shown.append(
            make_lupton_rgb(
                *(weight * image[HSC.band_index(band)] for weight, band in zip(WEIGHTS, HSC.rgb, strict=True)),
                minimum=-0.02 * bright - 0.1 * noisy,
                stretch=0.7 * bright,
                Q=6,
            )
        )
    return shown


def main(real: Path) -> None:
    rng = np.random.default_rng(5)
    sky = draw_galaxies(rng, 100_000)
    columns = sum(panel[0] for panel in PANELS)
    figure, axes = plt.subplots(len(KINDS) + real.exists(), columns, figsize=(columns, len(KINDS) + real.exists()), facecolor="black")
    for axis in axes.flat:
        axis.axis("off")
    for row, kind in enumerate(KINDS):
        column = 0
        for index, (count, redshift, radius, *look) in enumerate(PANELS):
            some = pick(sky, kind, redshift, radius, count, PANELS[0][0] if index == 1 else 0)
            for place, picture in enumerate(pictures(some, rng, *look) if len(some) else ()):
                axes[row, column + place].imshow(picture, origin="lower")
                axes[row, column + place].text(
                    0.03, 0.03, f"{some.redshift[place]:.2f}", color="w", fontsize=5, transform=axes[row, column + place].transAxes
                )
            column += count
        axes[row, 0].text(0.03, 0.9, kind, color="w", fontsize=6, transform=axes[row, 0].transAxes)
    if real.exists():
        with np.load(real / "gz2_four_classes.npz") as file:
            images, label = file["images"], file["label"]
        chosen = [
            i
            for name, n in (("spiral", 4), ("edge-on", 2), ("merger", 3), ("elliptical", 2))
            for i in np.flatnonzero(label == name)[5 : 5 + n]
        ]
        for axis, i in zip(axes[-1], chosen, strict=True):
            axis.imshow(images[i])
        axes[-1, 0].text(0.03, 0.9, "real: SDSS", color="w", fontsize=6, transform=axes[-1, 0].transAxes)
    figure.subplots_adjust(left=0.002, right=0.998, bottom=0.002, top=0.998, wspace=0.02, hspace=0.02)
    with io.BytesIO() as buffer:
        figure.savefig(buffer, dpi=84)
        picture = Image.open(buffer).convert("RGB")  # noise does not compress: a palette keeps the file small
        picture.quantize(palette=picture.quantize(96, kmeans=2), dither=Image.Dither.FLOYDSTEINBERG).save(
            HERE / "structure.png", optimize=True
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[2] / "shared/data/gz2_rgb64")
