"""The page of `hubbleflow explore`, as docs/explore.md shows it: started, put at a redshift and a kind, and photographed by Chromium.

python docs/figures/explore.py hsc --population runs/quality/real.h5

The population is left by bench/quality.py; any set that `hubbleflow measure` has measured will do.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

OUT = Path(__file__).with_suffix(".png")
WAIT = 600_000  # ms, on a machine that does other things, too


def photograph(url: str, redshift: str, kind: str, galaxy: int, dark: bool, width: int) -> bytes:
    """The whole page at rest."""
    chromium = next(path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name)))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light")
        page.goto(url)
        page.get_by_label("redshift, as a number").fill(redshift)
        page.keyboard.press("Enter")
        page.get_by_role("radio", name=kind, exact=True).check(force=True)
        page.get_by_role("radio", name=f"seed {galaxy}", exact=True).check(force=True)
        page.evaluate("document.activeElement.blur()")
        page.wait_for_selector("body[data-state=rest]", timeout=WAIT)
        return page.screenshot(full_page=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="folder, or the name of one that ships")
    parser.add_argument("--population", type=Path, required=True)
    parser.add_argument("--redshift", default="0.35")
    parser.add_argument("--kind", default="Unbarred Loose Spiral")
    parser.add_argument("--galaxy", type=int, default=2, help="seed of the one that is shown large")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1120)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    command = [sys.executable, "-m", "hubbleflow", "explore", given.model, "--population", given.population, "--port", "0", "--no-browser"]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[0]
            png = photograph(url, given.redshift, given.kind, given.galaxy, given.dark, given.width)
        finally:
            server.send_signal(signal.SIGINT)
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    picture.save(given.out, optimize=True)
    print(f"{given.out}: {given.out.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
