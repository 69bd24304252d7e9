"""Bring the pictures that the demo and the examples drew into docs/gallery, with 256 colours so that they stay small.

make demo && for n in 03 04 05 06; do .venv/bin/python examples/$n*.py; done
.venv/bin/python docs/gallery.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PICTURES = {
    "mock_sky": "demo/mock_sky.png",
    "demo_side_by_side": "demo/side_by_side.png",
    "demo_redshift": "demo/report/figures/redshift.png",
    "demo_means": "demo/report/figures/means.png",
    "demo_histograms": "demo/report/figures/histograms.png",
    "demo_bands": "demo/report/figures/bands.png",
    "sdss_side_by_side": "runs/03_sdss_categories/sheets/side_by_side.png",
    **{
        f"sdss_{which}_{kind}": f"runs/03_sdss_categories/sheets/{which}_{kind}.png"
        for kind in ("edge-on", "elliptical", "merger", "spiral")
        for which in ("generated", "real")
    },
    "hsc_flux_side_by_side": "runs/04_hsc_flux/sheets/side_by_side.png",
    "hsc_flux_histograms": "runs/04_hsc_flux/report/figures/histograms.png",
    "xdf_generated": "runs/05_xdf_redshift/sheets/generated_by_redshift.png",
    "xdf_real": "runs/05_xdf_redshift/sheets/real_by_redshift.png",
    "hsc_scenes": "runs/06_hsc_scenes/sheets/scenes.png",
}


def main() -> None:
    folder = ROOT / "docs" / "gallery"
    folder.mkdir(exist_ok=True)
    for name, source in PICTURES.items():
        if not (ROOT / source).exists():
            print(f"{source} is not there: run what draws it first")
            continue
        picture = Image.open(ROOT / source).convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
        picture.save(folder / f"{name}.png", optimize=True)
        print(f"{name}.png {(folder / f'{name}.png').stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
