"""Everything real at hand, measured: no crash, no row lost, a table of what is flagged; and twenty fits to look at.

    OMP_NUM_THREADS=1 python bench/real_sky.py [--data ../shared/data] [--figure docs/figures/fits.png]

Sets: stamps at the 756 peaks of 100 HSC UltraDeep scenes (with weights, zero where there is no data, and their PSF), 100 HST galaxies
as HSC would see them (with their PSF; needs GalSim), 600 HSC galaxies at Wide and at Deep depth (no PSF: guessed), 700 SDSS pictures
(8 bits: not linear, so no fit).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from in_words import in_words

from hubbleflow.datasets import import_archive
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import Measured, measure, sersic_flags, shape_flags
from hubbleflow.measure import flags as object_flags
from hubbleflow.measure.psf_guess import guessed_psf
from hubbleflow.measure.sersic_image import fit_of_columns, sersic_images
from hubbleflow.simulate.hst import simulate_hst
from hubbleflow.survey import Survey

ROOT = Path(__file__).resolve().parents[1]
MARGINS = {"left": 0.01, "right": 0.99, "bottom": 0.01, "top": 0.9, "wspace": 0.03, "hspace": 0.03}
KINDS = (("", object_flags), ("sersic_", sersic_flags), ("shape_", shape_flags))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sets = read(arguments.data, Path(folder))
        measured = {name: measure(galaxies, progress=False) for name, galaxies in sets.items()}
        for name, galaxies in sets.items():
            assert len(measured[name]) == len(galaxies), f"rows of {name} were lost"
        report(sets, measured)
        if arguments.figure:
            draw(sets, measured, arguments.figure)


def read(data: Path, folder: Path) -> dict[str, GalaxySet]:
    """The sets, by name."""
    import_archive("scenes", data / "hsc_cosmos_scenes", folder / "scenes.h5", size=64)
    simulate_hst(data / "hst_cosmos", folder / "hst.h5", progress=False)
    with np.load(data / "hsc_two_depths/hsc_wide_deep_64.npz") as archive:
        wide, deep = (GalaxySet(archive[name][:, None], Survey.get("hsc-i")) for name in ("wide", "deep"))
    import_archive("images", data / "gz2_rgb64/gz2_four_classes.npz", folder / "sdss.h5", survey="sdss-rgb")
    return {
        "HSC scenes": GalaxySet.open(folder / "scenes.h5"),
        "HST as HSC": GalaxySet.open(folder / "hst.h5"),
        "HSC Wide": wide,
        "HSC Deep": deep,
        "SDSS 8-bit": GalaxySet.open(folder / "sdss.h5"),
    }


def report(sets: dict[str, GalaxySet], measured: dict[str, Measured]) -> None:
    """Rows and, per set, how many have each bit."""
    print("| | " + " | ".join(sets) + " |\n|---|" + "---|" * len(sets))
    print("| galaxies | " + " | ".join(str(len(g)) for g in sets.values()) + " |")
    for prefix, module in KINDS:
        columns = {name: flag_column(sets[name], measured[name], prefix) for name in sets}
        print(f"| **{prefix}flag trusted** | " + " | ".join(str(int(module.trusted(f).sum())) for f in columns.values()) + " |")
        for bit in module.DESCRIPTIONS:
            counts = [int(((f & int(bit)) != 0).sum()) for f in columns.values()]
            if any(counts):
                note = "" if int(bit) & int(module.UNTRUSTED) else " (note)"
                print(f"| {bit.name}{note} | " + " | ".join(str(c) if c else "" for c in counts) + " |")


def flag_column(galaxies: GalaxySet, measured: Measured, prefix: str) -> np.ndarray:
    name = f"{galaxies.survey.reference_band}_{prefix}flag" if prefix else "flag"
    return measured.columns[name].astype(np.int64)


def draw(sets: dict[str, GalaxySet], measured: dict[str, Measured], path: Path) -> None:
    """Twenty galaxies with a fit, ranked by S/N within each set: image, model, residual in sigmas."""
    picks = [("HSC scenes", 8), ("HST as HSC", 6), ("HSC Wide", 6)]
    figure = plt.figure(figsize=(8.4, 18.4))
    axes = np.concatenate([part.subplots(3, 5, gridspec_kw=MARGINS) for part in figure.subfigures(4, 1)])
    place = 0
    for name, number in picks:
        galaxies, columns = sets[name], measured[name].columns
        band = galaxies.survey.reference_band
        b = galaxies.survey.band_index(band)
        fitted = np.flatnonzero(np.isfinite(columns[f"{band}_sersic_radius"]) & (columns[f"{band}_sersic_snr"] > 20))
        ranked = fitted[np.argsort(columns[f"{band}_sersic_snr"][fitted])]
        for row in ranked[(np.linspace(0.05, 0.97, number) * len(ranked)).astype(int)]:
            one = {key: value[row : row + 1] for key, value in columns.items()}
            image = galaxies.images[row : row + 1][0, b] - one[f"{band}_sky"]
            psf = guessed_psf(galaxies.survey) if galaxies.psf is None else np.asarray(galaxies[row : row + 1].psf[:])
            kernel = psf[b] if psf.ndim == 3 else psf[0, b]
            model = sersic_images(fit_of_columns(one, band), kernel, image.shape[-1])[0]
            noise = float(one[f"{band}_noise"][0])
            top = np.arcsinh(model.max() / noise)
            column, triple = place % 5, 3 * (place // 5)
            shown = (np.arcsinh(image / noise), np.arcsinh(model / noise), (image - model) / noise)
            for k, (picture, limits, cmap) in enumerate(
                zip(shown, ((-1, top), (-1, top), (-6, 6)), ("gray", "gray", "RdBu_r"), strict=True)
            ):
                axis = axes[triple + k, column]
                axis.imshow(picture, origin="lower", vmin=limits[0], vmax=limits[1], cmap=cmap)
                axis.set_axis_off()
            snr, index, radius = (one[f"{band}_sersic_{quantity}"][0] for quantity in ("snr", "index", "radius"))
            words = f"{name}, S/N {snr:.0f}\nn {index:.2f}  R {radius:.1f}"
            note = " ".join(sersic_flags.names(int(one[f"{band}_sersic_flag"][0]) & ~int(sersic_flags.SersicFlag.PSF_GUESSED)))
            axes[triple, column].set_title(words + "\n" + note.lower(), fontsize=7)
            place += 1
    figure.savefig(path, dpi=70)


if __name__ == "__main__":
    in_words(main)
