r"""Galaxy spectra through HSC's filters: writes src/hubbleflow/simulate/spectra.json (committed).

    python calibration/spectra.py [../shared/data]

A galaxy's spectral type t runs from 0 (old and red) to 5 (a young burst) along real templates, those of Benitez et al. (2004, ApJS
150, 1: the empirical spectra of Coleman, Wu & Weedman 1980 and Kinney et al. 1996, recalibrated) and, last, a stellar population
25 Myr old; in between, fluxes are mixed linearly, each template having the same flux at 5500 A. Seen from redshift z,

    m_b = -2.5 log10( int f(lambda / (1 + z)) T(lambda, z) / (1 + z) R_b(lambda) lambda dlambda / int R_b / lambda dlambda ),

T being the mean transmission of intergalactic hydrogen (Madau 1995, ApJ 441, 18), R_b the filter (HSC's as measured, Kawanomoto et
al. 2018, in speclite's files; HSC has no u band: a trapezium, 3200-4200 A).

The file holds, per type and redshift, m_b - m_i and the K correction of the i band, K = m_i(z) - m_i(0).
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table

ROOT = Path(__file__).resolve().parents[1]
BANDS = ("u", "g", "r", "i", "z", "y")
SEQUENCE = ("El_B2004a", "Sbc_B2004a", "Scd_B2004a", "Im_B2004a", "SB2_B2004a", "ssp_25Myr_z008")
STEPS = 5  # interpolated types between two templates
REDSHIFT = np.r_[0:2:41j, 2.1:4.41:0.1]
WAVE = np.arange(500.0, 12000.0, 5.0)  # rest frame, A


def main(data: Path) -> None:
    spectra = sequence(data / "sed_filters" / "cww_plus")
    filters = {band: read_filter(data / "sed_filters", band) for band in BANDS}
    magnitude = np.array([[[ab(f, z, *filters[band]) for band in BANDS] for z in REDSHIFT] for f in spectra])  # (type, z, band)
    i = BANDS.index("i")
    result = {
        "source": "python calibration/spectra.py: Benitez et al. 2004 templates through HSC's filters, Madau (1995) absorption",
        "bands": BANDS,
        "templates": SEQUENCE,
        "type": np.linspace(0, len(SEQUENCE) - 1, len(spectra)).round(3).tolist(),
        "redshift": REDSHIFT.round(3).tolist(),
        "band_minus_i": np.clip(magnitude - magnitude[..., i : i + 1], -5, 15).round(3).tolist(),
        "k_correction_i": (magnitude[..., i] - magnitude[:, :1, i]).round(3).tolist(),
    }
    out = ROOT / "src/hubbleflow/simulate/spectra.json"
    out.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in result.items()) + "\n}\n")
    print(out, out.stat().st_size, "bytes")
    for t, row in zip(result["type"], magnitude[:, 0], strict=True):
        if t == int(t):
            print(SEQUENCE[int(t)], "rest u-g, g-r, r-i, i-z, z-y:", -np.diff(row).round(2))


def sequence(folder: Path) -> list[np.ndarray]:
    """f_lambda of every type on `WAVE`, 1 at 5500 A."""
    pure = []
    for name in SEQUENCE:
        wave, flux = np.loadtxt(folder / f"{name}.sed")[:, :2].T
        flux = np.interp(WAVE, wave, flux)
        pure.append(flux / np.interp(5500, WAVE, flux))
    mixed = [a + (b - a) * s / STEPS for a, b in itertools.pairwise(pure) for s in range(STEPS)]
    return [*mixed, pure[-1]]


def ab(flux: np.ndarray, z: float, filter_wave: np.ndarray, response: np.ndarray) -> float:
    """AB magnitude (up to a constant) of a rest-frame spectrum at redshift z."""
    seen = np.interp(filter_wave / (1 + z), WAVE, flux) / (1 + z) * igm(filter_wave, z)
    photons = np.trapezoid(seen * response * filter_wave, filter_wave)
    reference = np.trapezoid(response / filter_wave, filter_wave)
    return float(-2.5 * np.log10(max(photons / reference, 1e-300)))


def igm(wave: np.ndarray, z: float) -> np.ndarray:
    """Mean transmission of intergalactic hydrogen (Madau 1995, eqs. 12, 15, 16; Lyman alpha to delta, Lyman limit)."""
    tau = np.zeros_like(wave)
    for line, strength in ((1215.67, 0.0036), (1025.72, 1.7e-3), (972.537, 1.2e-3), (949.743, 9.3e-4)):
        tau += np.where(wave < line * (1 + z), strength * (wave / line) ** 3.46, 0)
    x, limit = wave / 911.75, 1 + z
    with np.errstate(over="ignore", invalid="ignore"):
        continuum = (
            0.25 * x**3 * (limit**0.46 - x**0.46)
            + 9.4 * x**1.5 * (limit**0.18 - x**0.18)
            - 0.7 * x**3 * (x**-1.32 - limit**-1.32)
            - 0.023 * (limit**1.68 - x**1.68)
        )
    tau += np.where(x < limit, np.clip(continuum, 0, None), 0)
    return np.exp(-tau)


def read_filter(folder: Path, band: str) -> tuple[np.ndarray, np.ndarray]:
    """Wavelength (A) and response of a filter."""
    if band == "u":
        return np.linspace(3200, 4200, 101), np.clip(np.minimum(np.arange(101) / 20, (100 - np.arange(101)) / 20), 0, 1)
    table = Table.read(folder / f"hsc2017-{band}.ecsv")
    return np.array(table["wavelength"], float), np.clip(np.array(table["response"], float), 0, None)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared/data")
