"""Fit the mock sky's population to real surveys: writes src/hubbleflow/simulate/population.json (committed, some 80 kB).

    python calibration/population.py [../shared/data]

What is fitted, and to what (the data stay outside the repository; the numbers are all that the package holds):

- N(z): quantiles of 14,363 GalaxiesML spectroscopic redshifts (`galaxiesml_specz_photoz_test`; Do et al. 2024).
- Spectral types, magnitudes, offsets and scatter of colours: zCOSMOS-bright 20k (Lilly et al. 2009; Subaru and CFHT photometry),
  I_AB < 22.5, 0.05 < z < 1.3. Each galaxy gets the type (`calibration/spectra.py`) that fits its g-i, r-i and z-i; what is left over gives
  the offsets per redshift and the covariance. Types are kept as quantiles per redshift and absolute magnitude M = i - DM - K(Sbc).
  Brighter than zCOSMOS's volume holds: the 2,530 massive galaxies of HSC S16A at z 0.19-0.50 (Huang et al. 2018); where neither has a
  cell, the next redshift's at that M.
- Sizes and Sersic indices per redshift and mass, and how they hang together with star formation (rank correlations): GALFIT and FAST of
  3D-HST / CANDELS COSMOS (van der Wel et al. 2012, 2014; Skelton et al. 2014), at the band nearest to rest 5000 A: F125W to z = 1.5,
  F160W beyond.
- Beyond z = 1.2, types; and at all redshifts, star formation per type and mass, and what to take from Taylor's masses: 3D-HST
  (`calibration/infrared.py`).
- Ranks of types within a mass and a redshift: from the mock population itself, drawn with all of the above.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import infrared
import numpy as np
from astropy.table import Table
from cells import MASS, TYPE_P, fill
from scipy.stats import norm, rankdata

from hubbleflow.simulate.cosmology import distance_modulus, kpc_per_arcsec
from hubbleflow.simulate.quantiles import QuantileGrid, bilinear
from hubbleflow.simulate.spectra import spectra

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "src/hubbleflow/simulate/population.json"
EDGES = np.r_[0.05, np.arange(0.1, 1.25, 0.1), 1.3]
DEEP_Z = np.array([1.6, 2.0, 2.5, 3.0, 4.0])
MAGNITUDE_P = np.array([0.02, 0.16, 0.5, 0.84, 0.98])
OFFSET_TYPE = np.array([0.3, 1.5, 2.5])  # old, middling, young
ABSOLUTE = np.arange(-29.0, -14.4, 0.5)
STRUCTURE_EDGES = np.array([0.2, 0.35, 0.5, 0.8, 1.2, 1.6, 2.0, 2.5, 3.0, 4.0])
STRUCTURE_P = np.array([0, 0.05, 0.16, 0.3, 0.5, 0.7, 0.84, 0.95, 1])
EPOCHS = np.array([0.2, 1.2, 2.0, 4.0])  # within which the rare, massive galaxies are taken together
LEAST = 40  # galaxies a cell


def main(data: Path) -> None:
    z = _csv(data / "galaxiesml_specz_photoz_test.csv.gz")["spect_z_test"]
    z = np.quantile(z[(z > 0.01) & (z < 4)], np.linspace(0, 1, 129))
    result = {"source": "python calibration/population.py: GalaxiesML, zCOSMOS-bright 20k, HSC S16A massive, 3D-HST / CANDELS COSMOS"}
    result["redshift_quantiles"] = np.r_[0.01, z[1:-1], 4.0]
    beside = data.parent if data.name == "catalogs" else data
    hst = infrared.Infrared.read(_csv(data / "cosmos_3dhst_galfit_fast.csv.gz"), beside / "sed_filters")
    result |= photometry(data, hst)
    result["mass_offset"], result["specific_sfr"] = infrared.mass_offset(hst), infrared.specific_sfr(hst)
    result["log_radius_kpc"], result["sersic_index"], result["rank_correlation"] = structure(data)
    write(result)
    result["type_rank"] = type_ranks()
    write(result)


def photometry(data: Path, hst: infrared.Infrared) -> dict[str, object]:
    """Magnitudes per redshift; types per redshift and absolute magnitude; offsets and scatter of colours."""
    mag, z = zcosmos(data)
    offset_z = np.array([np.median(z[(z >= a) & (z < b)]) for a, b in itertools.pairwise(EDGES)])
    offset = np.zeros((len(offset_z), 3))  # g-i, r-i, z-i
    for _ in range(4):
        at = np.stack([np.interp(z, offset_z, column) for column in offset.T], axis=1)
        t, residual = fit_type(mag, z, at)
        offset += np.array([np.median(residual[(z >= a) & (z < b)], axis=0) for a, b in itertools.pairwise(EDGES)])
    print("offsets g-i, r-i, z-i:\n", np.column_stack([offset_z, offset]).round(3))
    bright = Table.read(data / "hsc_s16a_massive_griz.fits")
    bright_mag = np.stack([np.array(bright[f"{band}cmodel_mag"], float) for band in "griz"], axis=1)
    bright_z = np.array(bright["z_best"], float)
    luminous = bright_mag[:, 2] - distance_modulus(bright_z) - spectra().k_correction(np.ones_like(bright_z), bright_z) < -22.9
    bright_mag, bright_z = bright_mag[luminous], bright_z[luminous]  # fainter, a sample by mass is too red for its magnitude
    bright_t, _ = fit_type(bright_mag, bright_z, np.stack([np.interp(bright_z, offset_z, column) for column in offset.T], axis=1))
    cells = list(itertools.pairwise(EDGES))
    by_type = np.array([_by_type(residual[(z >= a) & (z < b)], t[(z >= a) & (z < b)]) for a, b in cells])
    residual = residual - bilinear(offset_z, OFFSET_TYPE, by_type, z, t)
    covariance = np.array([_covariance(residual[(z >= a) & (z < b)]) for a, b in cells])
    magnitudes = np.array([np.quantile(mag[(z >= a) & (z < b), 2], MAGNITUDE_P) for a, b in cells])
    middles = (EDGES[1:] + EDGES[:-1]) / 2
    types = type_table(np.r_[z, bright_z], np.r_[mag[:, 2], bright_mag[:, 2]], np.r_[t, bright_t], middles, hst)
    print("type medians (rows z, columns M):\n", ABSOLUTE, "\n", np.column_stack([types["x"], types["values"][:, :, 4]]).round(2))
    return {
        "magnitude_redshift": np.r_[offset_z, DEEP_Z],
        "magnitude_probabilities": MAGNITUDE_P,
        # above zCOSMOS's limit in z: HSC's deeper spectroscopic samples (DEEP2, VVDS, VUDS), a straight line by eye
        "magnitude_quantiles": np.vstack([magnitudes, (22.9 + 0.5 * (DEEP_Z - 1.5))[:, None] + np.array([-1.2, -0.6, 0.0, 0.55, 0.95])]),
        "spectral_type": types,
        "offset_redshift": np.r_[offset_z, 2.2],  # what zCOSMOS's photometry asks for fades out above it
        "offset_type": OFFSET_TYPE,
        "offset": np.concatenate([offset[:, None] + by_type, np.zeros((1, len(OFFSET_TYPE), 3))]),  # (redshift, type, g-i | r-i | z-i)
        "covariance": np.concatenate([covariance, covariance[-4:].mean(axis=0, keepdims=True)]),
    }


def zcosmos(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """griz magnitudes and redshift of zCOSMOS galaxies (no stars, no broad-line nuclei) with photometry in all four bands."""
    table = _csv(data / "zcosmos_bright20k.csv.gz")
    mag = np.stack([table[f"{band}_photzi25"] for band in "griz"], axis=1)
    good = (table["zpec"] > EDGES[0]) & (table["zpec"] < EDGES[-1]) & (table["cc"] < 10) & ((mag > 10) & (mag < 30)).all(axis=1)
    return mag[good], table["zpec"][good]


def fit_type(mag: np.ndarray, z: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The type whose g-i, r-i, z-i come nearest (in units of 0.08, 0.05, 0.05 mag), and what is left over."""
    colour = mag[:, [0, 1, 3]] - mag[:, 2:3] - offset
    best, t, left = np.full(len(z), np.inf), np.zeros(len(z)), np.zeros((len(z), 3))
    for trial in np.arange(0, 5.001, 0.02):
        residual = colour - spectra().colours(np.full(len(z), trial), z)[:, [1, 2, 4]]
        chi2 = ((residual / (0.08, 0.05, 0.05)) ** 2).sum(axis=1)
        better = chi2 < best
        best[better], t[better], left[better] = chi2[better], trial, residual[better]
    return t, left


def _by_type(residual: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Median residual of old, middling and young galaxies, (type, colour); classes of fewer than 15 have none."""
    classes = np.digitize(t, (0.9, 2.0))
    return np.array([np.median(residual[classes == k], axis=0) if (classes == k).sum() >= 15 else np.zeros(3) for k in range(3)])


def _covariance(residual: np.ndarray) -> np.ndarray:
    """Covariance without the outliers: those within 3 times half the 16-84 % range, scaled to that range."""
    low, middle, high = np.quantile(residual, (0.16, 0.5, 0.84), axis=0)
    half = (high - low) / 2
    inside = (np.abs(residual - middle) < 3 * half).all(axis=1)
    return np.corrcoef(residual[inside].T) * half[:, None] * half


def type_table(z: np.ndarray, mag_i: np.ndarray, t: np.ndarray, nodes: np.ndarray, hst: infrared.Infrared) -> dict[str, np.ndarray]:
    """Quantiles of the type per redshift and M: zCOSMOS's and HSC's, beyond them 3D-HST's."""
    absolute = mag_i - distance_modulus(z) - spectra().k_correction(np.ones_like(z), z)
    values = np.full((len(nodes), len(ABSOLUTE), len(TYPE_P)), np.nan)
    for i, (low, high) in enumerate(itertools.pairwise(EDGES)):
        for j, middle in enumerate(ABSOLUTE):
            cell = (z >= low) & (z < high) & (np.abs(absolute - middle) < 0.35)
            if cell.sum() >= LEAST:
                values[i, j] = np.quantile(t[cell], TYPE_P)
    # nearby, an empty cell is like that of the same luminosity at another redshift; from z = 0.6 on, where HSC's massive galaxies say
    # nothing, like the nearest luminosity at its own
    for far in (nodes < 0.6, nodes >= 0.6):
        fill(values, axes=(0, 1) if far[0] else (1, 0), rows=far)
    # straight lines between the nodes blur what changes fast: move each node until types drawn across its bin,
    # at the real galaxies' M, are theirs
    rng = np.random.default_rng(2)
    bin_of = np.clip(np.digitize(z, EDGES) - 1, 0, len(nodes) - 1)
    across = EDGES[bin_of].repeat(5) + np.diff(EDGES)[bin_of].repeat(5) * rng.random(5 * len(z))
    for _ in range(4):
        drawn = QuantileGrid(nodes, ABSOLUTE, TYPE_P, values).value(across, np.repeat(absolute, 5), rng.random(5 * len(z)))
        for i, (low, high) in enumerate(itertools.pairwise(EDGES)):
            real = (z >= low) & (z < high)
            values[i] += np.quantile(t[real], TYPE_P) - np.quantile(drawn[np.repeat(real, 5)], TYPE_P)
        values[:] = np.sort(values.clip(0, 5), axis=-1)
    deep_z, deep = infrared.deep_types(hst, ABSOLUTE)
    return {"x": np.r_[nodes, deep_z], "y": ABSOLUTE, "p": TYPE_P, "values": np.concatenate([values, deep])}


def structure(data: Path) -> tuple[dict, dict, np.ndarray]:
    """Quantiles of log10 R_e / kpc and of n per redshift and mass; correlations of the normal scores of (-sSFR, n, R_e)."""
    z, mass, radius, n, _, ssfr = candels(data)
    nodes = np.array([np.median(z[(z >= a) & (z < b)]) for a, b in itertools.pairwise(STRUCTURE_EDGES)])
    nodes = np.r_[0.05, nodes]  # 3D-HST's volume is empty there: filled by the trend
    shape = (len(nodes), len(MASS), len(STRUCTURE_P))
    sizes, indices, scores = np.full(shape, np.nan), np.full(shape, np.nan), []
    for i, (low, high) in enumerate(itertools.pairwise(STRUCTURE_EDGES), start=1):
        epoch = np.searchsorted(EPOCHS, low, side="right") - 1
        for j, middle in enumerate(MASS):
            cell = (z >= low) & (z < high) & (np.abs(mass - middle) < 0.22)
            rare = (z >= EPOCHS[epoch]) & (z < EPOCHS[epoch + 1]) & (mass > 10.6)
            if middle >= 10.75 and cell.sum() < LEAST:
                # the rarest: all massive ones of an epoch, moved along the slope of the relation
                sizes[i, j] = np.quantile((np.log10(radius) + 0.6 * (middle - mass))[rare], STRUCTURE_P.clip(0.02, 0.98))
                indices[i, j] = np.quantile(n[rare].clip(0.3, 6.0), STRUCTURE_P.clip(0.02, 0.98))
            if cell.sum() >= LEAST:
                sizes[i, j] = np.quantile(np.log10(radius[cell]), STRUCTURE_P.clip(0.01, 0.99))
                indices[i, j] = np.quantile(n[cell].clip(0.3, 6.0), STRUCTURE_P.clip(0.01, 0.99))
                if middle >= 10 and z[cell].mean() < 2:
                    scores.append(norm.ppf([(rankdata(v) - 0.5) / cell.sum() for v in (-ssfr[cell], n[cell], radius[cell])]))
    # empty cells take their neighbour's along van der Wel et al.'s (2014) evolution and slopes (late below 10^10.7, towards early above)
    heavy = MASS - 10.7
    trend = -0.9 * np.log10(1 + nodes)[:, None] + np.where(heavy < 0, 0.22, 0.6) * heavy
    sizes -= trend[:, :, None]
    for values in (sizes, indices):
        fill(values)
    sizes += trend[:, :, None]
    correlation = np.corrcoef(np.concatenate(scores, axis=1))
    print("rank correlation of (-sSFR, n, R_e):\n", correlation.round(2))
    print(
        "median log R_e:\n",
        np.column_stack([nodes, sizes[:, :, 4]]).round(2),
        "\nmedian n:\n",
        np.column_stack([nodes, indices[:, :, 4]]).round(2),
    )
    table = {"x": nodes, "y": MASS, "p": STRUCTURE_P}
    return table | {"values": sizes}, table | {"values": indices}, correlation


def candels(data: Path) -> tuple[np.ndarray, ...]:
    """z, log mass, R_e (kpc, semi-major), n, q, log sSFR of well-measured 3D-HST galaxies."""
    table = _csv(data / "cosmos_3dhst_galfit_fast.csv.gz")
    z = table["z"]
    near = z < 1.5
    radius, n, q = (np.where(near, table[f"{name}_f125w"], table[f"{name}_f160w"]) for name in ("re", "n", "q"))
    good = (table["mag_f160w"] < 24.5) & (table["sn"] > 10) & (radius > 0.02) & (n > 0.2) & (n < 7.9) & (q > 0.05)
    good &= ~near | (table["f_f125w"] <= 1)  # 1 is "suspicious" to GALFIT and holds most compact galaxies; 2 is a failed fit
    ssfr = np.where(table["lsfr"] > -90, table["lsfr"] - table["lmass"], -14)
    return tuple(v[good] for v in (z, table["lmass"], radius * kpc_per_arcsec(np.maximum(z, 0.006)), n, q, ssfr))


def type_ranks() -> dict[str, np.ndarray]:
    """Quantiles of the mock galaxies' types per redshift and mass."""
    from hubbleflow.simulate.population import draw_photometry

    drawn = draw_photometry(np.random.default_rng(1), 1_000_000)
    # closely spaced: where a magnitude limit cuts the red galaxies off, the rank is that among those which are left
    nodes = np.r_[0.05, 0.12:2.02:0.1, 2.3, 2.7, 3.2]
    edges = np.r_[0, (nodes[1:] + nodes[:-1]) / 2, 5]
    values = np.full((len(nodes), len(MASS), len(TYPE_P)), np.nan)
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        for j, middle in enumerate(MASS):
            cell = (drawn.redshift >= low) & (drawn.redshift < high) & (np.abs(drawn.log_mass - middle) < 0.125)
            if cell.sum() >= LEAST:
                values[i, j] = np.quantile(drawn.spectral_type[cell], TYPE_P)
    fill(values, axes=(1, 0))
    return {"x": nodes, "y": MASS, "p": TYPE_P, "values": values.round(2)}


def write(result: dict[str, object]) -> None:
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(_rounded(value), separators=(',', ':'))}" for key, value in result.items())
    OUT.write_text(f"{{\n{lines}\n}}\n")
    print(OUT.name, OUT.stat().st_size, "bytes")


def _csv(path: Path) -> dict[str, np.ndarray]:
    folder = path.parent / "catalogs" if not path.exists() else path.parent
    table = Table.read(folder / path.name, format="ascii.csv")
    return {name: np.array(table[name], float) for name in table.colnames if table[name].dtype.kind in "fi"}


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return np.asarray(value).round(4).tolist() if not isinstance(value, str) else value


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared/data/catalogs")
