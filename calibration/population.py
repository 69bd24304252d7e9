"""Fit the mock sky's population to real surveys: writes src/hubbleflow/simulate/population.json (a few kB, committed).

    python calibration/population.py [../shared/data]

What is fitted, and to what (the data stay outside the repository; the numbers are all that the package holds):

- N(z): quantiles of 14,363 GalaxiesML spectroscopic redshifts (`galaxiesml_specz_photoz_test`; Do et al. 2024).
- i magnitude, red fraction and colours in redshift bins up to z = 1.2: zCOSMOS-bright 20k (Lilly et al. 2009; Subaru and
  CFHT photometry), I_AB < 22.5. Red are those redder in g-i than 65 % of the way from spiral to elliptical templates.
- above z = 1.2, the y band, and K corrections: Coleman, Wu & Weedman (1980) and Kinney et al. (1996) spectra through HSC's
  filters, with the mean absorption by intergalactic hydrogen of Madau (1995).

Colours are of type, redshift and one covariance a type; magnitudes AB. Where both exist, the templates are shifted to meet
zCOSMOS at z = 1.2 and the shift fades out by z = 2.
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
EDGES = np.array([0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.3])
HIGH_Z = np.array([1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0])
_RED_SHARE = 0.65
PROBABILITIES = np.linspace(0, 1, 129)
MAGNITUDE_QUANTILES = (0.02, 0.16, 0.5, 0.84, 0.98)


def main(data: Path) -> None:
    z = _csv(data / "galaxiesml_specz_photoz_test.csv.gz")["spect_z_test"]
    redshift_quantiles = np.quantile(z[(z > 0.01) & (z < 4)], PROBABILITIES)
    filters = data.parent / "sed_filters"
    nodes, magnitudes, red_fraction, red_slope, colours = zcosmos(data / "zcosmos_bright20k.csv.gz", filters)
    templates = template_colours(filters, np.r_[nodes, HIGH_Z])
    result = {
        "source": "python calibration/population.py: GalaxiesML, zCOSMOS-bright 20k, CWW + Kinney templates, Madau (1995)",
        "bands": BANDS,
        "redshift_quantiles": np.r_[0.01, redshift_quantiles[1:-1], 4.0],
        "redshift": np.r_[nodes, HIGH_Z],
        "magnitude_probabilities": MAGNITUDE_QUANTILES,
        # above the survey's limit in z: HSC's deeper spectroscopic samples (DEEP2, VVDS, VUDS), a straight line by eye
        "magnitude_quantiles": np.vstack([magnitudes, _deep_magnitudes(HIGH_Z)]),
        "red_fraction": np.r_[red_fraction, 0.5 * red_fraction[-1] * np.exp(-(HIGH_Z - 1.5))],
        "red_slope_per_mag": red_slope,
    }
    for kind in ("red", "blue"):
        mean, std, correlation = colours[kind]
        synthetic = templates[kind]["colours"]
        low = len(nodes)
        mean = np.column_stack([mean, synthetic[:low, 4]])  # zCOSMOS has no y
        fade = np.clip((2.0 - HIGH_Z) / 0.8, 0, 1)[:, None]
        high = synthetic[low:] + fade * (mean[-1] - synthetic[low - 1])
        std = np.column_stack([std, 0.03 + 0.4 * std[:, 3]])
        result[kind] = {
            "colours": np.vstack([mean, high]),
            "scatter": np.vstack([std, np.repeat(std[-3:].mean(axis=0)[None], len(HIGH_Z), axis=0)]),
            "correlation": correlation,
            "k_correction_i": templates[kind]["k_correction_i"],
            "rest_g_i": templates[kind]["rest_g_i"],
        }
    out = ROOT / "src/hubbleflow/simulate/population.json"
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in _rounded(result).items())
    out.write_text(f"{{\n{lines}\n}}\n")
    print(out, out.stat().st_size, "bytes")


def zcosmos(path: Path, filters: Path):
    """Per redshift bin: magnitudes, red fraction, and colour (mean, scatter) of two types; plus one correlation a type."""
    table = _csv(path)
    mag = np.stack([table[f"{band}_photzi25"] for band in "ugriz"], axis=1)
    z = table["zpec"]
    good = (z > EDGES[0]) & (z < EDGES[-1]) & ((mag[:, 1:] > 10) & (mag[:, 1:] < 30)).all(axis=1)
    mag, z = mag[good], z[good]
    colour = mag[:, :-1] - mag[:, 1:]  # u-g, g-r, r-i, i-z
    grid = np.linspace(0.02, 1.3, 65)
    red = is_red(colour, z, template_colours(filters, grid), grid)
    has_u = (mag[:, 0] > 10) & (mag[:, 0] < 30)
    nodes, quantiles, fraction, logit_terms = [], [], [], []
    parts: dict[str, list] = {"red": [], "blue": []}
    for low, high in itertools.pairwise(EDGES):
        rows = (z >= low) & (z < high)
        probability = red[rows].astype(float)
        nodes.append(np.median(z[rows]))
        quantiles.append(np.quantile(mag[rows, 3], MAGNITUDE_QUANTILES))
        fraction.append(probability.mean())
        logit_terms.append((mag[rows, 3] - np.median(mag[rows, 3]), probability))
        for kind, weight in (("red", probability), ("blue", 1 - probability)):
            sure = weight > 0.5
            middle = np.array([np.median(c) for c in colour[rows][sure].T])
            middle[0] = np.median(colour[rows][sure & has_u[rows]][:, 0])
            spread = (np.quantile(colour[rows][sure], 0.84, axis=0) - np.quantile(colour[rows][sure], 0.16, axis=0)) / 2
            spread[0] = np.subtract(*np.quantile(colour[rows][sure & has_u[rows]][:, 0], [0.84, 0.16])) / 2
            residual = (colour[rows][sure & has_u[rows]] - middle) / spread
            parts[kind].append((middle, spread, residual))
        print(f"{low:.2f}-{high:.2f} n={rows.sum():5d} red {fraction[-1]:.2f}", *(parts[k][-1][0].round(2) for k in parts))
    x, p = (np.concatenate(v) for v in zip(*logit_terms, strict=True))
    slope = np.polyfit(x[np.abs(x) < 1.5], p[np.abs(x) < 1.5], 1)[0] / (p.mean() * (1 - p.mean()))
    colours = {}
    for kind, found in parts.items():
        residual = np.concatenate([f[2] for f in found])
        residual = residual[(np.abs(residual) < 4).all(axis=1)]
        correlation = np.eye(5)
        correlation[:4, :4] = np.corrcoef(residual.T)
        correlation[3, 4] = correlation[4, 3] = 0.5  # z-y follows i-z; not measured
        colours[kind] = (np.array([f[0] for f in found]), np.array([f[1] for f in found]), correlation)
    return np.array(nodes), np.array(quantiles), np.array(fraction), float(slope), colours


def is_red(colour: np.ndarray, z: np.ndarray, templates: dict[str, dict[str, np.ndarray]], grid: np.ndarray) -> np.ndarray:
    """Redder in g-i than `_RED_SHARE` of the way from the mean spiral (CWW Sbc, Scd, Im) to the elliptical (CWW E) at that redshift.

    A cut at a fixed rest-frame kind, rather than a mixture fitted bin by bin: zCOSMOS holds too few red galaxies at z < 0.2.
    """
    red, blue = (np.interp(z, grid, templates[kind]["colours"][:, 1:3].sum(axis=1)) for kind in ("red", "blue"))
    return (colour[:, 1] + colour[:, 2] - blue) / (red - blue) > _RED_SHARE


def template_colours(folder: Path, redshifts: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """u-g, g-r, r-i, i-z, z-y, the i-band K correction and the rest-frame g-i of the red and the blue type."""
    names = {"red": ("CWW_E",), "blue": ("CWW_Sbc", "CWW_Scd", "CWW_Im")}
    young = np.loadtxt(folder / "cww_kin" / "CWW_Im_ext.sed").T
    filters = {band: _filter(folder, band) for band in BANDS}
    found = {}
    for kind, members in names.items():
        rows = []
        for member in members:
            wave, flux = np.loadtxt(folder / "cww_kin" / f"{member}_ext.sed").T
            if kind == "red":  # CWW E has no light in the rest UV, where real quiescent galaxies have a few young stars
                young_flux = np.interp(wave, *young)
                flux = flux / np.interp(5500, wave, flux) + 0.03 * young_flux / np.interp(5500, wave, young_flux)
            rest = np.array([_ab(wave, flux, *filters[band]) for band in BANDS])
            at = []
            for z in redshifts:
                observed = wave * (1 + z)
                at.append([_ab(observed, flux * igm(observed, z) / (1 + z), *filters[band]) for band in BANDS])
            at = np.array(at)
            rows.append((at[:, :-1] - at[:, 1:], at[:, 3] - rest[3], rest[1] - rest[3]))
        # what is bright in the rest ultraviolet is young: beyond z = 0.8 the blue type turns from the mean spiral into CWW Im
        late = np.clip((redshifts - 0.8) / 0.7, 0, 1)
        mean, last = ([np.mean([row[j] for row in some], axis=0) for j in range(3)] for some in (rows, rows[-1:]))
        colours = (1 - late)[:, None] * mean[0] + late[:, None] * last[0]
        k, g_i = ((1 - late) * mean[j] + late * last[j] for j in (1, 2))
        found[kind] = {"colours": np.clip(colours, -0.3, 3.5), "k_correction_i": np.clip(k, -2, 3.0), "rest_g_i": g_i}
    return found


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


def _ab(wave: np.ndarray, flux: np.ndarray, filter_wave: np.ndarray, response: np.ndarray) -> float:
    f = np.interp(filter_wave, wave, flux)
    photons = np.trapezoid(f * response * filter_wave, filter_wave)
    reference = np.trapezoid(response / filter_wave, filter_wave)
    return float(-2.5 * np.log10(max(photons / reference, 1e-300)))


def _filter(folder: Path, band: str) -> tuple[np.ndarray, np.ndarray]:
    if band == "u":  # HSC has none: a trapezium like CFHT's u*
        return np.linspace(3200, 4200, 101), np.clip(np.minimum(np.arange(101) / 20, (100 - np.arange(101)) / 20), 0, 1)
    table = Table.read(folder / f"hsc2017-{band}.ecsv")
    return np.array(table["wavelength"], float), np.clip(np.array(table["response"], float), 0, None)


def _deep_magnitudes(z: np.ndarray) -> np.ndarray:
    middle = 22.85 + 0.45 * (z - 1.5)
    return middle[:, None] + np.array([-1.7, -0.75, 0.0, 0.65, 1.1])


def _csv(path: Path) -> dict[str, np.ndarray]:
    table = Table.read(path, format="ascii.csv")
    return {name: np.array(table[name], float) for name in table.colnames if table[name].dtype.kind in "fi"}


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple | float) and not isinstance(value, str):
        array = np.asarray(value)
        return array.round(4).tolist() if array.dtype.kind == "f" else list(value)
    return value


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared/data/catalogs")
