"""How good is a generator that ships, line by line of what was asked of it? It writes the table of docs/hsc.md.

    OMP_NUM_THREADS=2 python bench/quality.py hsc runs/hsc/test.h5 --reader hsc-redshift [--n 2000] [--out runs/quality]

TEST is a measured set with redshifts that neither has seen (training/hsc.py leaves one). As many galaxies as --n are drawn at the
redshifts of its first ones, everything else from the model's prior, measured, and held against the whole of TEST by `evaluate`. Of
medians per redshift bin the worst bin stands in the table with its error (bootstrap), beside the worst of real against real: halves of
TEST; and once more for galaxies that are drawn with all the numbers of TEST's first ones. Drawn galaxies bring no PSF. Those of TEST are
measured once more without theirs, so that both sides' Sersic profiles are fitted through the survey's stated seeing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from in_words import in_words
from papers import around_section, write_section

from hubbleflow.counting import counting
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.judge import RedshiftJudge
from hubbleflow.measure import measure_file
from hubbleflow.metrics import Report, evaluate
from hubbleflow.metrics.noise import sky_columns
from hubbleflow.report import sheet, write_report
from hubbleflow.simulate.numbers import with_numbers

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "hsc.md"
BINS = 5
BOOTSTRAPS = 200
COLOURS = ("g_r", "r_i", "i_z", "z_y")
BLOCK = 500
WORST = 8


@dataclass(frozen=True)
class Line:
    """One thing that was asked.

    Attributes:
        what: in words.
        asked: the most that it may be.
        found, error, floor: its value for the drawn galaxies, that value's error, and the value of real against real.
        form: how the numbers are written.
    """

    what: str
    asked: float
    found: float
    error: float
    floor: float
    form: str = ".3g"

    def row(self) -> str:
        numbers = " | ".join(format(value, self.form) if np.isfinite(value) else "-" for value in (self.asked, self.floor, self.found))
        error = f" ± {format(self.error, self.form)}" if np.isfinite(self.error) else ""
        return f"| {self.what} | {numbers}{error} | {'yes' if self.found <= self.asked else '**no**'} |"


def drawn(generator: Generator, test: GalaxySet, names: Sequence[str], steps: int | None, path: Path) -> GalaxySet:
    """Galaxies that share these conditions with those of TEST, measured."""
    if not path.exists():
        asked = {name: test.column(name) for name in names}
        with counting("drawing galaxies", len(test)) as on_progress:
            generator.generate(path, asked, seed=0, steps=steps, extrapolate=True, on_progress=on_progress)
    if not GalaxySet.open(path).measured:
        measure_file(path)
    return GalaxySet.open(path)


def without_psf(test: GalaxySet, folder: Path) -> GalaxySet:
    """TEST as if nothing were known of how it was seen, measured."""
    path = folder / "real.h5"
    if not path.exists():
        GalaxySet(test.images[:], test.survey, dict(test.columns)).write(path)
    if not GalaxySet.open(path).measured:
        measure_file(path)
    return GalaxySet.open(path)


def metrics_lines(report: Report) -> list[Line]:
    """What `evaluate` answers."""
    result = report.results
    kl, frechet, loss, fit = (result[name] for name in ("galaxy_kl", "frechet_redshift_cnn", "redshift_loss", "galaxy_fitting_loss"))
    assert kl.floor and frechet.floor and loss.real and fit.real and fit.floor is not None and loss.floor is not None
    return [
        Line("galaxy KL over that of real against real", 2.0, kl.value / kl.floor, kl.error / kl.floor, 1.0),
        Line("redshift loss over the real galaxies'", 1.2, loss.value / loss.real, loss.error / loss.real, 1 + loss.floor / loss.real),
        Line(
            "galaxy fitting loss, distance from the real galaxies' (%)",
            2.0,
            100 * abs(fit.value / fit.real - 1),
            100 * fit.error / abs(fit.real),
            100 * fit.floor / abs(fit.real),
        ),
        Line(
            "Fréchet distance, features of the reader, over real against real",
            3.0,
            frechet.value / frechet.floor,
            frechet.error / frechet.floor,
            1.0,
        ),
        *(
            Line(f"C2ST on {what}", most, result[name].value, result[name].error, result[name].floor or np.nan)
            for name, what, most in (("c2st_table", "measured tables", 0.55), ("c2st_images", "images", 0.70))
        ),
    ]


def noise_line(real: GalaxySet, made: GalaxySet) -> Line:
    """The worst band's sky rms; each set's is the median over its stamps."""

    def rms(galaxies: GalaxySet) -> np.ndarray:
        blocks = [sky_columns(galaxies.images[first : first + BLOCK], galaxies.survey) for first in range(0, len(galaxies), BLOCK)]
        return np.stack([np.concatenate([block[f"{band}_sky_rms"] for block in blocks]) for band in galaxies.survey.bands])

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        return float(100 * np.abs(np.nanmedian(b, axis=1) / np.nanmedian(a, axis=1) - 1).max())

    ours, theirs = rms(real), rms(made)
    rng = np.random.default_rng(0)
    again = [apart(ours, theirs[:, rng.integers(0, theirs.shape[1], theirs.shape[1])]) for _ in range(BOOTSTRAPS)]
    halves = rng.permutation(ours.shape[1])
    return Line(
        "noise rms, worst band (%)",
        2.0,
        apart(ours, theirs),
        float(np.std(again)),
        apart(ours[:, halves[::2]], ours[:, halves[1::2]]),
        ".2f",
    )


def medians_line(
    what: str, asked: float, of: Callable[[GalaxySet], np.ndarray], real: GalaxySet, made: GalaxySet, form: str = ".3f"
) -> Line:
    """The worst redshift bin's distance between medians of a quantity."""
    edges = np.quantile(real.redshift, np.linspace(0, 1, BINS + 1)[1:-1])

    def binned(galaxies: GalaxySet) -> list[np.ndarray]:
        values, place = of(galaxies), np.searchsorted(edges, galaxies.redshift)
        return [values[(place == number) & np.isfinite(values)] for number in range(BINS)]

    def error(a: np.ndarray) -> float:
        return float(np.std([np.median(a[rng.integers(0, len(a), len(a))]) for _ in range(BOOTSTRAPS)]))

    rng = np.random.default_rng(1)
    ours, theirs = binned(real), binned(made)
    apart = [abs(float(np.median(a) - np.median(b))) for a, b in zip(ours, theirs, strict=True)]
    worst = int(np.argmax(apart))
    halves = [rng.permutation(values) for values in ours]
    floor = max(abs(float(np.median(values[::2]) - np.median(values[1::2]))) for values in halves)
    return Line(what, asked, apart[worst], float(np.hypot(error(ours[worst]), error(theirs[worst]))), floor, form)


def paired_line(
    what: str, asked: float, of: Callable[[GalaxySet], np.ndarray], real: GalaxySet, made: GalaxySet, form: str = ".3f"
) -> Line:
    """As :func:`medians_line`, of galaxies one by one as the real ones, of which both sides' bootstrap takes the same."""
    ours, theirs = of(real), of(made)
    known = np.isfinite(ours) & np.isfinite(theirs)
    place = np.searchsorted(np.quantile(real.redshift, np.linspace(0, 1, BINS + 1)[1:-1]), real.redshift)
    rng = np.random.default_rng(2)

    def apart(rows: np.ndarray) -> float:
        return abs(float(np.median(ours[rows]) - np.median(theirs[rows])))

    bins = [np.flatnonzero(known & (place == number)) for number in range(BINS)]
    worst = max(bins, key=apart)
    error = float(np.std([apart(worst[rng.integers(0, len(worst), len(worst))]) for _ in range(BOOTSTRAPS)]))
    return Line(what, asked, apart(worst), error, np.nan, form)


def column(name: str) -> Callable[[GalaxySet], np.ndarray]:
    """A measured column, of galaxies that are not flagged."""
    return lambda galaxies: np.where(np.asarray(galaxies.measured["flag"]) == 0, galaxies.measured[name], np.nan)


def per_cent_of_size(galaxies: GalaxySet) -> np.ndarray:
    """100 ln of the half-light radius: differences are per cent."""
    return 100 * np.log(column("i_half_light_radius")(galaxies))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("test", type=Path)
    parser.add_argument("--reader", required=True, help="a model that reads redshifts")
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--steps", type=int, help="of the sampler; the model's own where not given")
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    parser.add_argument("--figure", type=Path, help="a sheet of drawn galaxies")
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    given = parser.parse_args()
    around_section(given.document, "quality")
    given.out.mkdir(parents=True, exist_ok=True)
    test = without_psf(GalaxySet.open(given.test), given.out)
    generator, first = Generator.from_pretrained(given.model), with_numbers(test[: given.n])
    made = drawn(generator, first, ("redshift",), given.steps, given.out / "generated.h5")
    alike = drawn(generator, first, generator.conditions.names, given.steps, given.out / "alike.h5")
    judge = RedshiftJudge.of(test, made, given.out, model=given.reader)
    report = evaluate(judge.read(test), judge.read(made), features=judge.features, seed=0)
    write_report(report, given.out / "report")
    if given.figure:
        order = np.argsort(made.redshift)
        sheet(made[order[np.linspace(0, len(order) - 1, 64).astype(int)]], given.figure, columns=16)
    quantities = [
        ("median size in a redshift bin, worst (%)", 5.0, per_cent_of_size, ".1f"),
        ("median magnitude, likewise (mag)", 0.05, column("i_mag"), ".3f"),
        *((f"median {name.replace('_', ' - ')}, likewise (mag)", 0.03, column(name), ".3f") for name in COLOURS),
    ]
    lines = [
        *metrics_lines(report),
        noise_line(test, made),
        *(medians_line(what, asked, of, test, made, form) for what, asked, of, form in quantities),
    ]
    pairs = [paired_line(what, asked, of, first, alike, form) for what, asked, of, form in quantities]
    within = [result for result in report.results.values() if result.z is not None]
    furthest = sorted(within, key=lambda result: -(result.z or 0.0))[:WORST]
    text = [
        f"{given.n:,} galaxies drawn at held-out redshifts, {len(test):,} real ones (mock) to judge by:",
        "",
        "| | at most | real against real | found | met |",
        "|---|---|---|---|---|",
        *(line.row() for line in lines),
        "",
        f"Of {len(within)} metrics {sum(result.differs for result in within)} tell the sets apart; furthest off, in standard deviations "
        f"of real against real: {', '.join(f'`{result.name}` {result.z:.0f}' for result in furthest)}.",
        "",
        f"Medians of {given.n:,} galaxies differ by chance, as those of real against real show. Drawn with all numbers of as many held-out "
        "ones, pair by pair:",
        "",
        "| | at most | real against real | found | met |",
        "|---|---|---|---|---|",
        *(line.row() for line in pairs),
    ]
    write_section(given.document, "quality", "\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    in_words(main)
