"""Our detection against the SExtractor program: the same objects, with the same area and axes?

    apt-get install -y source-extractor      # for this benchmark only
    OMP_NUM_THREADS=1 python bench/sextractor.py [--n 2000] [--seed 0]

The galaxies are those of `sersic_mocks.py`, alone and with a neighbour each. Both programs are given the same pixels, less our sky, and the
same noise. The stamps become one mosaic, so that SExtractor starts once. A mosaic has pixels beyond a stamp's edge, onto which the filter
spreads the light of objects cut by it: each stamp is framed by two pixels of zero, for both. An object is the stamp's central one as we
have it, and SExtractor's nearest to it within 2 px.

Where an object is deblended, SExtractor deals its faint pixels out to the pieces by random numbers (`gatherup` in its deblend.c), so that
no two runs agree in which the sequence of objects differs. "SExtractor against itself" is the share of its deblended objects that agree
with its own run on the same stamps in reversed order: nobody can be asked to be nearer to it than that.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from in_words import in_words
from sersic_mocks import NOISE, mock

from hubbleflow.measure import Flag, Recipe, measure_stamp
from hubbleflow.survey import Survey

ASKED, WITHIN = 0.97, 1e-3  # of the objects must agree within 0.1 %
FRAME, GAP, NEAR = 2, 64, 2.0  # px
DEBLENDED = 2  # SExtractor's flag
UNUSABLE = 1e31  # as an rms: SExtractor leaves out what is above 1e30
BINARIES = ("source-extractor", "sex", "sextractor")


def binary() -> str:
    """Path of the program; stops with a sentence where there is none."""
    found = next((path for name in BINARIES if (path := shutil.which(name))), None)
    if found is None:
        raise SystemExit("this benchmark compares with the SExtractor program, and there is none here: apt-get install -y source-extractor")
    return found


def settings_of(recipe: Recipe) -> dict[str, str]:
    """SExtractor's settings that say what the recipe says; the sky is subtracted beforehand, and its noise given as a map."""
    return {
        "DETECT_TYPE": "CCD",
        "DETECT_MINAREA": str(recipe.minarea),
        "DETECT_THRESH": str(recipe.threshold),
        "ANALYSIS_THRESH": str(recipe.threshold),
        "FILTER": "Y",
        "DEBLEND_NTHRESH": str(recipe.deblend_nthresh),
        "DEBLEND_MINCONT": str(recipe.deblend_cont),
        "CLEAN": "Y",
        "CLEAN_PARAM": "1.0",
        "MASK_TYPE": "CORRECT",
        "PHOT_AUTOPARAMS": f"{recipe.kron_factor},{recipe.kron_minimum}",
        "BACK_TYPE": "MANUAL",
        "BACK_VALUE": "0.0",
        "WEIGHT_TYPE": "MAP_RMS",
        "RESCALE_WEIGHTS": "N",
        "INTERP_TYPE": "NONE",
        "GAIN": "0.0",
        "SATUR_LEVEL": "1e9",
        "NTHREADS": "1",
        "VERBOSE_TYPE": "QUIET",
        "MEMORY_OBJSTACK": "20000",
        "MEMORY_PIXSTACK": "3000000",
        "MEMORY_BUFSIZE": "4096",
    }


def side_by_side(stamps: np.ndarray, gap: int, fill: float = 0.0) -> np.ndarray:
    """One image of all stamps (n, y, x), rows of them, each with `gap` pixels of `fill` around."""
    n, size = stamps.shape[0], stamps.shape[-1]
    across, cell = _across(n), size + gap
    image = np.full((-(-n // across) * cell, across * cell), fill, np.float32)
    for i, stamp in enumerate(stamps):
        row, column = (i // across) * cell + gap // 2, (i % across) * cell + gap // 2
        image[row : row + size, column : column + size] = stamp
    return image


def sextract(
    stamps: np.ndarray,
    rms: np.ndarray,
    parameters: tuple[str, ...],
    settings: dict[str, str],
    gap: int,
    gap_rms: float,
    psf: Path | None = None,
) -> tuple[np.ndarray, float]:
    """Run the program on stamps (n, y, x) and noise maps of that shape.

    Returns: the catalogue, with the columns asked for and `stamp`, `x`, `y` (the object's stamp and 0-based position in it); and the CPU
    seconds of the run.
    """
    parameters = ("X_IMAGE", "Y_IMAGE", *(name for name in parameters if name not in ("X_IMAGE", "Y_IMAGE")))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fits.writeto(folder / "image.fits", side_by_side(stamps, gap))
        fits.writeto(folder / "rms.fits", side_by_side(rms, gap, gap_rms))
        (folder / "wanted.param").write_text("\n".join(parameters) + "\n")
        (folder / "pyramid.conv").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
        files = {"CATALOG_NAME": "out.cat", "CATALOG_TYPE": "ASCII", "PARAMETERS_NAME": "wanted.param", "FILTER_NAME": "pyramid.conv"}
        options = settings | files | {"WEIGHT_IMAGE": "rms.fits"} | ({} if psf is None else {"PSF_NAME": str(psf.resolve())})
        (folder / "empty.sex").write_text("")
        words = [binary(), "image.fits", "-c", "empty.sex", *(word for key, value in options.items() for word in (f"-{key}", value))]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(words, cwd=folder, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        rows = np.loadtxt(folder / "out.cat", ndmin=2)
    rows = rows.reshape(-1, len(parameters))
    names = [*parameters, "stamp", "x", "y"]
    catalogue = np.zeros(len(rows), [(name, float) for name in names])
    for name, column in zip(parameters, rows.T, strict=True):
        catalogue[name] = column
    cell, across = stamps.shape[-1] + gap, _across(len(stamps))
    x, y = catalogue["X_IMAGE"] - 1, catalogue["Y_IMAGE"] - 1
    catalogue["stamp"] = (np.rint(y) // cell) * across + np.rint(x) // cell
    catalogue["x"], catalogue["y"] = x % cell - gap // 2, y % cell - gap // 2
    return catalogue, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def parity(n: int = 2000, seed: int = 0) -> dict[str, dict[str, float]]:
    """Shares of the objects whose ISOAREA_IMAGE, A_IMAGE (and both) agree within 0.1 %, and what is needed to judge them.

    Returns: for galaxies "alone" and "with neighbours", the number of objects that we "detected", those "matched", the "deblended" ones of
    these, and the shares of "all", of "whole" (not deblended) and of "deblended" objects, and of SExtractor's deblended ones that agree
    with "itself".
    """
    drawn = mock(n)
    noise = np.random.default_rng(seed).normal(0.0, NOISE, drawn["galaxies"].shape)
    images = {"alone": drawn["galaxies"] + noise}
    images["with neighbours"] = images["alone"] + drawn["neighbours"]
    return {name: _agreement(np.pad(stamps, ((0, 0), (FRAME, FRAME), (FRAME, FRAME)))) for name, stamps in images.items()}


def _agreement(stamps: np.ndarray) -> dict[str, float]:
    n, ivar, survey = len(stamps), np.full((1, *stamps.shape[1:]), NOISE**-2), Survey.get("hsc-i")
    ours = [measure_stamp(stamp[None], survey, ivar=ivar) for stamp in stamps]
    rows = [one.rows[0] for one in ours]
    detected = np.array([np.isfinite(row.major_axis) for row in rows])
    flat = np.stack([np.where(np.isfinite(row.sky), stamp - row.sky, stamp) for stamp, row in zip(stamps, rows, strict=True)])
    first, again = _nearest(flat, rows), _nearest(flat[::-1], rows[::-1])[::-1]
    mine = np.array([(row.isophotal_area, row.major_axis) for row in rows])
    matched = detected & np.isfinite(first).all(axis=1)
    twice = matched & np.isfinite(again).all(axis=1)
    flags = np.array([int(one.flag) for one in ours])
    deblended = (flags & int(Flag.BLENDED) != 0) | (np.nan_to_num(first[:, 2]).astype(int) & DEBLENDED != 0)

    def shares(name: str, one: np.ndarray, other: np.ndarray, some: np.ndarray) -> dict[str, float]:
        near = np.abs(one[some, :2] / other[some, :2] - 1) <= WITHIN
        values = (near[:, 0], near[:, 1], near.all(axis=1))
        return {
            f"{name}, {what}": float(v.mean()) if some.any() else np.nan for what, v in zip(("area", "axis", "both"), values, strict=True)
        }

    return (
        {"n": n, "detected": int(detected.sum()), "matched": int(matched.sum()), "deblended": int((matched & deblended).sum())}
        | shares("all", first, mine, matched)
        | shares("whole", first, mine, matched & ~deblended)
        | shares("deblended", first, mine, matched & deblended)
        | shares("itself", first, again, twice & deblended)
    )


def _nearest(flat: np.ndarray, rows: list) -> np.ndarray:
    # SExtractor's ISOAREA_IMAGE, A_IMAGE and FLAGS of the object nearest to ours in each stamp; NaN where there is none
    rms = np.full(flat.shape, NOISE, np.float32)
    catalogue, _ = sextract(flat, rms, ("ISOAREA_IMAGE", "A_IMAGE", "FLAGS"), settings_of(Recipe()), GAP, NOISE)
    found = np.full((len(rows), 3), np.nan)
    for k, row in enumerate(rows):
        here = catalogue[catalogue["stamp"] == k]
        distance = np.hypot(here["x"] - row.centroid_x, here["y"] - row.centroid_y)
        if len(here) and distance.min() <= NEAR:
            found[k] = [here[int(np.argmin(distance))][name] for name in ("ISOAREA_IMAGE", "A_IMAGE", "FLAGS")]
    return found


def write_psf(path: Path, image: np.ndarray, step: float, fwhm: float) -> None:
    """A constant PSF in PSFEx's format: an effective PSF image sampled every `step` pixels; fwhm in pixels."""
    side = image.shape[0]
    column = fits.Column(
        "PSF_MASK", f"{side * side}E", dim=f"({side},{side},1)", array=(image / image.sum())[None, None].astype(np.float32)
    )
    table = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    header = {"LOADED": 1, "ACCEPTED": 1, "CHI2": 1.0, "POLNAXIS": 0, "POLNGRP": 0, "PSF_FWHM": fwhm, "PSF_SAMP": step}
    header |= {"PSFNAXIS": 3, "PSFAXIS1": side, "PSFAXIS2": side, "PSFAXIS3": 1}
    table.header.update(header)
    table.writeto(path, overwrite=True)


def _across(n: int) -> int:
    return int(np.ceil(np.sqrt(n)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=2000, help="galaxies")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    asked = parser.parse_args()
    binary()
    found = parity(asked.n, asked.seed)
    print("| galaxies | detected | matched | objects | number | ISOAREA within 0.1 % | A within 0.1 % | both |")
    print("|---|---|---|---|---|---|---|---|")
    kinds = {"all": "all", "whole": "not deblended", "deblended": "deblended", "itself": "SExtractor against itself"}
    for name, one in found.items():
        pieces = one["deblended"]
        for kind, n in zip(kinds, (one["matched"], one["matched"] - pieces, pieces, pieces), strict=True):
            values = " | ".join(f"{one[f'{kind}, {what}']:.1%}" for what in ("area", "axis", "both"))
            print(f"| {name} | {one['detected']} | {one['matched']} | {kinds[kind]} | {n} | {values} |")
    for name, kind in (("alone", "all"), ("with neighbours", "whole")):
        share = min(found[name][f"{kind}, {what}"] for what in ("area", "axis"))
        verdict = "met" if share >= ASKED else "NOT MET"
        print(f"galaxies {name}, {kinds[kind]}: {share:.1%} agree, asked for {ASKED:.0%}: {verdict}")


if __name__ == "__main__":
    in_words(main)
