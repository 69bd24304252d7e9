"""The verdict where the real sky knows the answer: sets that are alike must agree, sets that are not must not.

    python bench/real_verdicts.py [--data ../shared/data] [--mocks 3000] [--document docs/real_verdicts.md]

1. 600 HSC galaxies at Wide depth against the same at Deep depth: as they are (must differ), with white noise added up to Wide's, and
   brought to one seeing and one noise (must agree), each pair its own, as is written in alike.py.
2. GalaxiesML's measured table, its halves (must agree), and against the table of a mock sky drawn on 127-px stamps and measured here: once
   with its "Sersic index", which is no fit but ln 2 / ln((1 + e) / (1 - e)) of the ellipticity (must differ), and once without.
3. The four SDSS classes of Galaxy Zoo: halves of each (must agree), and halves of different classes (must not).
4. Catalogues that others have measured: 3D-HST's GALFIT sizes in F160W, their halves (must agree), and the same galaxies in F125W (where
   galaxies are larger and fainter); GalaxiesML redshifts and a published network's estimates of them, halves (must agree).

How many halves: --splits of each, at random; a report in which any metric differs (p < 1 % after Holm's correction) counts as "differs".
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from alike import alike
from astropy.table import Table
from in_words import in_words

from hubbleflow.datasets import import_archive
from hubbleflow.files import atomic_path
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import measure, measure_file
from hubbleflow.measured_input import measured_table
from hubbleflow.measured_table import MeasuredTable
from hubbleflow.metrics import Report, evaluate
from hubbleflow.simulate import simulate
from hubbleflow.survey import Survey

ROOT = Path(__file__).resolve().parents[1]
WIDE_NOISE, DEEP_NOISE = 0.064, 0.025  # counts a pixel, of the stamps' edges (the set's own description)
LARGEST = 4  # metrics shown of a report
RENAMED = {
    "isophotal_area_px": "i_isophotal_area",
    "semi_major_px": "i_major_axis",
    "ellipticity": "i_ellipticity",
    "sersic_index": "i_sersic_index",
}


def judged(real: GalaxySet | MeasuredTable, generated: GalaxySet | MeasuredTable, seed: int = 0) -> Report:
    """The report on two sets, without networks."""
    return evaluate(real, generated, seed=seed, progress=False)


def differing(report: Report) -> list[str]:
    """Names of the metrics that differ, the largest z first."""
    known = [(result.z or 0.0, name) for name, result in report.results.items() if result.differs]
    return [name for _, name in sorted(known, reverse=True)]


def counted(report: Report) -> int:
    """How many metrics could be judged."""
    return sum(result.z is not None for result in report.results.values())


def row(title: str, report: Report) -> str:
    """One row of a table: how many metrics differ, and the largest z."""
    zs = sorted(((result.z, name) for name, result in report.results.items() if result.z is not None), reverse=True)
    largest = ", ".join(f"`{name}` {z:.1f}" for z, name in zs[:LARGEST])
    line = f"| {title} | {len(differing(report))} of {len(zs)} | {largest} |"
    print(line, flush=True)
    return line


HEAD = ["| real against generated | metrics that differ | largest z |", "|---|---|---|"]


def halves(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two disjoint random halves, sorted."""
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[: n // 2]), np.sort(order[n // 2 : 2 * (n // 2)])


def row_of_halves(title: str, table: GalaxySet | MeasuredTable, splits: int) -> str:
    """One row: how often halves of one set differ."""
    reports = []
    for seed in range(splits):
        a, b = halves(len(table), seed)
        reports.append(judged(taken(table, a), taken(table, b), seed))
    differ = [name for report in reports for name in differing(report)]
    zs = [(result.z, name) for report in reports for name, result in report.results.items() if result.z is not None]
    over = sum(z > 3 for z, _ in zs)
    largest = f"{over} of {len(zs)} z above 3; largest `{max(zs)[1]}` {max(zs)[0]:.1f}"
    line = f"| {title}, {splits} times | {len(differ)} of {sum(map(counted, reports))} | {largest} |"
    print(line, flush=True)
    return line


def taken(table: GalaxySet | MeasuredTable, rows: np.ndarray) -> GalaxySet | MeasuredTable:
    """Some rows of a set or of a table."""
    if isinstance(table, GalaxySet):
        return table[rows]
    cut = lambda columns: {name: values[rows] for name, values in columns.items()}  # noqa: E731
    return MeasuredTable(table.survey, cut(table.columns), cut(table.measured), table.measured_attrs, table.provenance, table.path)


# -- 1 ---------------------------------------------------------------------------------------------------------------------------
def two_depths(path: Path) -> list[str]:
    with np.load(path) as archive:
        wide, deep = archive["wide"].astype(float), archive["deep"].astype(float)
    rng = np.random.default_rng(1)
    sets = {
        "wide": wide,
        "deep": deep,
        "noisy": deep + rng.normal(0, np.sqrt(WIDE_NOISE**2 - DEEP_NOISE**2), wide.shape),
    }
    sets["wide alike"], sets["deep alike"] = alike(wide, deep, (WIDE_NOISE, DEEP_NOISE), seed=1)
    made = {name: GalaxySet(images[:, None].astype(np.float32), Survey.get("hsc-i")) for name, images in sets.items()}
    for galaxies in made.values():
        measured = measure(galaxies, progress=False)
        galaxies.measured, galaxies.measured_attrs = measured.columns, measured.attrs
    return [
        *HEAD,
        row("Wide against Deep, as they are", judged(made["wide"], made["deep"])),
        row("Wide against Deep with white noise up to Wide's", judged(made["wide"], made["noisy"])),
        row("Wide against Deep with one seeing and one noise", judged(made["wide alike"], made["deep alike"])),
    ]


# -- 2 ---------------------------------------------------------------------------------------------------------------------------
def galaxiesml(path: Path, mocks: int, splits: int, folder: Path) -> list[str]:
    survey = Survey.get("hsc-wide")
    table = Table.read(path, format="ascii.csv")
    table = table[np.array(table["isophotal_area_px"]) > 0]  # 22 rows are all zero: nothing was found
    real = measured_table(table, survey, RENAMED, path)
    simulate(folder / "mock.h5", mocks, seed=11, image_size=127, progress=False)
    measure_file(folder / "mock.h5", progress=False)
    galaxies = GalaxySet.open(folder / "mock.h5")
    mock = MeasuredTable(survey, {}, {name: galaxies.measured[name] for name in (*RENAMED.values(), "flag", "i_sersic_flag")})
    found = [
        row_of_halves("halves of GalaxiesML's table", real, splits),
        row(f"GalaxiesML against {mocks:,} mocks", judged(real, mock)),
    ]
    for table in (real, mock):
        del table.measured["i_sersic_index"]
    report = judged(real, mock)
    found.append(row("the same without the Sersic index", report))
    shown = ["", "| metric | value | floor | z |", "|---|---|---|---|"]
    for name, result in report.results.items():
        if result.z is not None and result.floor is not None:
            shown.append(f"| `{name}` | {result.value:.3f} | {result.floor:.3f} | {result.z:.1f} |")
    return [*HEAD, *found, *shown]


# -- 3 ---------------------------------------------------------------------------------------------------------------------------
def classes(path: Path, splits: int, folder: Path) -> list[str]:
    import_archive("images", path, folder / "sdss.h5", images="images", category="label", survey="sdss-rgb")
    measure_file(folder / "sdss.h5", progress=False)
    galaxies = GalaxySet.open(folder / "sdss.h5")
    names = sorted(set(galaxies.category))
    kinds = {}
    for name in names:
        kinds[name] = galaxies[np.flatnonzero(galaxies.category == name)]
        kinds[name].columns = {key: values for key, values in kinds[name].columns.items() if key != "category"}
    lines = [
        "Metrics that differ, of those that could be judged, between halves of the classes "
        f"(mean of {splits} splits; {len(next(iter(kinds.values()))) // 2} galaxies a side)",
        "",
        "| real | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    cells = {}
    for one, other in itertools.product(names, names):
        reports = []
        for seed in range(splits):
            first, second = halves(len(kinds[one]), seed)
            others = second if one == other else halves(len(kinds[other]), seed)[1]
            reports.append(judged(kinds[one][first], kinds[other][others], seed))
        cells[one, other] = f"{np.mean([len(differing(r)) for r in reports]):.1f} of {np.mean([counted(r) for r in reports]):.0f}"
        print(one, other, cells[one, other], flush=True)
    return [*lines, *(f"| {one} | " + " | ".join(cells[one, other] for other in names) + " |" for one in names)]


# -- 4 ---------------------------------------------------------------------------------------------------------------------------
def catalogues(folder: Path, splits: int) -> list[str]:
    table = Table.read(folder / "cosmos_3dhst_galfit_fast.csv.gz", format="ascii.csv")
    good = (np.array(table["mag_f160w"]) < 23.5) & (np.array(table["z"]) > 0.1) & (np.array(table["z"]) < 3)
    bands = {}
    for band in ("f160w", "f125w"):
        fitted = np.array(table[f"re_{band}"], float)
        good &= (fitted > 0) & (np.array(table[f"n_{band}"], float) > 0) & (np.array(table[f"mag_{band}"], float) > 0)
    for band in ("f160w", "f125w"):
        columns = {
            "redshift": np.array(table["z"], float)[good],
        }
        measured = {
            "h_mag": np.array(table[f"mag_{band}"], float)[good],
            "h_half_light_radius": np.array(table[f"re_{band}"], float)[good],
            "h_sersic_index": np.array(table[f"n_{band}"], float)[good],
            "h_ellipticity": 1 - np.array(table[f"q_{band}"], float)[good],
            "flag": np.zeros(good.sum(), int),
        }
        bands[band] = MeasuredTable(Survey.custom("3d-hst", ("h",), 0.06, 25.9), columns, measured)
    ratio = np.median(bands["f125w"].measured["h_half_light_radius"] / bands["f160w"].measured["h_half_light_radius"])
    photoz = Table.read(folder / "galaxiesml_specz_photoz_test.csv.gz", format="ascii.csv")
    predicted = measured_table(
        photoz, Survey.get("hsc-wide"), {"spect_z_test": "redshift", "photo_z_test": "predicted_redshift"}, folder / "photo-z"
    )
    a, b = halves(len(predicted), 0)
    report = judged(taken(predicted, a), taken(predicted, b))
    scatter = report.results["redshift_sigma_nmad"]
    return [
        *HEAD,
        row_of_halves(f"halves of 3D-HST's {good.sum():,} galaxies, F160W", bands["f160w"], splits),
        row("3D-HST: F160W against the same galaxies in F125W", judged(bands["f160w"], bands["f125w"])),
        row_of_halves("halves of GalaxiesML's redshifts with published estimates", predicted, splits),
        "",
        f"Median of the same galaxies' half-light radii, F125W over F160W: {ratio:.3f}. "
        f"Published estimates, one half: sigma_NMAD {scatter.value:.4f} ± {scatter.error:.4f} (their authors': 0.024).",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--mocks", type=int, default=3000)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--document", type=Path, default=ROOT / "docs" / "real_verdicts.md")
    asked = parser.parse_args()
    catalogs = asked.data / "catalogs"
    with TemporaryDirectory() as made:
        folder = Path(made)
        sections = {
            "The same galaxies at two depths": two_depths(asked.data / "hsc_two_depths" / "hsc_wide_deep_64.npz"),
            "Classes of SDSS galaxies": classes(asked.data / "gz2_rgb64" / "gz2_four_classes.npz", asked.splits, folder),
            "Catalogues that others have measured": catalogues(catalogs, asked.splits),
            "GalaxiesML's measurements": galaxiesml(catalogs / "galaxiesml_morphology_test.csv.gz", asked.mocks, asked.splits, folder),
        }
    text = ["# The verdict where the sky knows the answer", "", "    python bench/real_verdicts.py", ""]
    explained = (__doc__ or "").split("\n\n")[2:]
    text += ["\n\n".join(explained).strip(), ""]
    for title, lines in sections.items():
        text += [f"## {title}", "", *lines, ""]
    with atomic_path(asked.document) as temporary:
        temporary.write_text("\n".join(text), encoding="utf-8")
    print(asked.document)


if __name__ == "__main__":
    in_words(main)
