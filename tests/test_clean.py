"""Cleaning: each fault is planted in a good set, and found for its own reason; nothing else is left out and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from hubbleflow.clean import REASONS, Limits, clean, inspect
from hubbleflow.datasets import import_archive
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.survey import Survey

SIZE = 48
SURVEY = Survey.custom("three", ("g", "r", "i"), 0.2, 27.0)
Y, X = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
COLOUR = np.array([0.5, 1.0, 1.5])


def blob(flux: float, x: float = 0.0, y: float = 0.0, sigma: float = 3.0) -> np.ndarray:
    return flux * np.exp(-((X - x) ** 2 + (Y - y) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def stamps(n: int, seed: int = 0) -> np.ndarray:
    """Galaxies of one colour and some sizes, each with a faint neighbour, in white noise of sigma 1."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0, 1, (n, 3, SIZE, SIZE))
    for image in images:
        galaxy = blob(rng.uniform(1500, 4000), sigma=rng.uniform(2, 4)) + blob(400, rng.uniform(12, 18), rng.uniform(-15, 15), 1.5)
        image += COLOUR[:, None, None] * galaxy
    return images


def planted() -> tuple[np.ndarray, np.ndarray, dict[int, set[str]]]:
    """Images, categories, and the faults: row -> reasons."""
    images, category = stamps(30), np.full(30, "spiral", "<U12")
    colour = COLOUR[:, None, None]
    images[2] = np.random.default_rng(5).normal(0, 1, images[2].shape)  # no galaxy
    images[5] = np.random.default_rng(6).normal(0, 1, images[5].shape) + colour * blob(95, sigma=2)
    images[7] += np.random.default_rng(7).normal(0, 5, images[7].shape)
    images[9, 0] += 8  # a glow in g
    images[11, 2, -14:] += 15  # a flare in i
    images[13] += colour * blob(9000, -15, 5)  # a brighter neighbour
    for x, y in ((-15, -15), (-15, 15), (15, -15)):
        images[15] += colour * blob(1150, x, y, 2)
    images[17] += colour * blob(9000, -15, 5)
    category[17] = "Merging"  # its companion is no fault
    images[19] += colour * blob(80_000, -15, 5)
    category[19] = "Disturbed"  # outshone by far
    images[21, :, 12:36, 12:36] = np.minimum(images[21, :, 12:36, 12:36], 10.0)  # flat on top
    reasons = {2: {"flagged"}, 5: {"faint"}, 7: {"noisy"}, 9: {"sky_colour"}, 11: {"one_band_light"}, 13: {"neighbour_flux", "other_light"}}
    return images.astype(np.float32), category, reasons | {15: {"other_light"}, 19: {"neighbour_flux"}, 21: {"flagged"}}


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images, category, _ = planted()
    path = tmp_path_factory.mktemp("clean") / "dirty.h5"
    GalaxySet(images, SURVEY, {"category": category, "object_id": np.arange(100, 130)}, provenance={"made_by": "a test"}).write(path)
    return path


def test_each_fault_is_found_for_its_own_reason(dirty: Path) -> None:
    found = inspect(GalaxySet.open(dirty))
    reasons = {row: {REASONS[i] for i in np.flatnonzero(found.crossed[:, row])} for row in np.flatnonzero(~found.kept)}
    assert reasons == planted()[2]
    assert found.counts == {
        reason: sum(reason in those for those in reasons.values()) for reason in REASONS if any(reason in r for r in reasons.values())
    }
    for name, row, expected, tolerance in (("noise", 7, 26**0.5, 0.5), ("neighbour_flux", 13, 9000 / 3000, 2), ("sky_colour", 9, 8, 1.5)):
        assert found.numbers[name][row] == pytest.approx(expected, abs=tolerance)
    assert found.numbers["one_band_light"][11] == pytest.approx(14 / 48, abs=0.05)
    assert found.numbers["noise"][[0, 1, 3, 4]] == pytest.approx([1, 1, 1, 1], abs=0.1)
    assert found.why(2)[0].startswith("flagged NOT_DETECTED") and found.why(21)[0].startswith("flagged SATURATED")
    assert found.why(5)[0].startswith("faint ") and found.why(5)[0].endswith(" < 10")


def test_the_file_the_table_and_the_original(dirty: Path, tmp_path: Path) -> None:
    before = dirty.read_bytes()
    seen: list[int] = []
    found = clean(dirty, tmp_path / "clean.h5", tmp_path / "removed.ecsv", on_progress=seen.append)
    assert dirty.read_bytes() == before and sum(seen) == 30
    kept, whole = GalaxySet.open(tmp_path / "clean.h5"), GalaxySet.open(dirty)
    rows = np.flatnonzero(found.kept)
    assert np.array_equal(kept.images[:], whole.images[rows]) and np.array_equal(kept.columns["object_id"], rows + 100)
    assert kept.provenance["made_by"] == "a test" and kept.provenance["cleaned"]["left_out"] == found.counts
    assert kept.provenance["cleaned"]["limits"]["min_snr"] == 10 and kept.provenance["cleaned"]["of"] == 30
    table = Table.read(tmp_path / "removed.ecsv")
    assert sorted([*table["object_id"], *kept.columns["object_id"]]) == list(range(100, 130))
    reasons = {int(row["row"]): set(row["reasons"].split()) for row in table}
    assert reasons == planted()[2] and set(table["category"]) == {"spiral", "Disturbed"}
    row = table[table["row"] == 13][0]
    assert row["why"].startswith(f"neighbour_flux {row['neighbour_flux']:.3g} > 0.6; other_light")
    clean(dirty, tmp_path / "again.h5", tmp_path / "removed.fits")
    assert len(Table.read(tmp_path / "removed.fits")) == len(table)


def test_limits_are_the_users(dirty: Path) -> None:
    galaxies = GalaxySet.open(dirty)
    lax = Limits(0.0, 1e9, 1e9, 1.0, 1e9, 1.0, 1e9)
    assert set(inspect(galaxies, lax).counts) == {"flagged"}
    assert 17 in np.flatnonzero(~inspect(galaxies, Limits(companions=())).kept)
    assert inspect(galaxies, Limits(min_snr=1e6)).counts["faint"] >= 28


def test_workers_change_nothing(dirty: Path) -> None:
    galaxies = GalaxySet.open(dirty)
    here, there = inspect(galaxies), inspect(galaxies, workers=2)
    assert np.array_equal(here.limits, there.limits, equal_nan=True) and np.array_equal(here.crossed, there.crossed)
    assert all(np.array_equal(values, there.numbers[name], equal_nan=True) for name, values in here.numbers.items())


def test_a_galaxy_that_deblending_cuts_is_not_its_own_neighbour() -> None:
    images = stamps(12)
    arms = sum(blob(1800, 9 * np.cos(angle), 9 * np.sin(angle), 2.8) for angle in np.arange(6) * np.pi / 3)
    images[3] = np.random.default_rng(3).normal(0, 1, images[3].shape) + COLOUR[:, None, None] * (arms + blob(2000, sigma=2.8))
    found = inspect(GalaxySet(images.astype(np.float32), SURVEY))
    assert found.numbers["n_neighbours"][3] >= 3, "deblending has cut it, or this tests nothing"
    assert found.kept.all()


def test_one_band_and_no_category() -> None:
    images, _, _ = planted()
    found = inspect(GalaxySet(images[:, 1:2], Survey.get("hsc-i")))
    assert np.isnan(found.numbers["sky_colour"]).all() and np.isnan(found.numbers["one_band_light"]).all()
    assert {2, 7, 13, 17} <= set(np.flatnonzero(~found.kept)) and not {9, 11} & set(np.flatnonzero(~found.kept))


def test_stamps_without_a_single_number_are_left_out_without_a_warning() -> None:
    images, _, _ = planted()
    images[0], images[1, 1], images[3, 0] = np.nan, 0.0, np.nan
    found = inspect(GalaxySet(images, SURVEY))
    assert not found.kept[0] and "flagged" in found.why(0)[0] and not found.kept[1]
    everything = GalaxySet(np.zeros((3, 3, SIZE, SIZE), np.float32), SURVEY)
    assert not inspect(everything).kept.any()


def test_what_is_refused(dirty: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the original is kept"):
        clean(dirty, dirty)
    with pytest.raises(InputError, match="must end in"):
        clean(dirty, tmp_path / "clean.h5", tmp_path / "removed.txt")
    with pytest.raises(InputError, match=r"none of the 30 galaxies .* would be left \(.*29 faint"):
        clean(dirty, tmp_path / "clean.h5", limits=replace(Limits(), min_snr=1e9))
    assert not (tmp_path / "clean.h5").exists()


def test_the_command(dirty: Path, tmp_path: Path) -> None:
    words = ("clean", dirty, tmp_path / "clean.h5", "--table", tmp_path / "removed.ecsv", "--sheet", tmp_path / "removed.png")
    run = subprocess.run([sys.executable, "-m", "hubbleflow", *map(str, words)], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert "21 of 30 galaxies; 9 left out" in run.stdout
    counts = {line.split()[0]: int(line.split()[1]) for line in run.stdout.splitlines() if line.startswith("  ")}
    assert counts == inspect(GalaxySet.open(dirty)).counts
    assert (tmp_path / "removed.png").read_bytes()[:4] == b"\x89PNG" and len(Table.read(tmp_path / "removed.ecsv")) == 9


def test_real_sdss_pictures(shared_data: Path, tmp_path: Path) -> None:
    """What an astronomer would leave out of the SDSS set by eye, and nothing of a plain part of it."""
    import_archive(
        "images",
        shared_data / "gz2_rgb64" / "gz2_four_classes.npz",
        tmp_path / "sdss.h5",
        images="images",
        survey="sdss-rgb",
        category="label",
    )
    glow, flare, star, outshone = [222, 279, 428, 622], [172, 469, 594], [458, 498], [286, 304, 387]
    plain = [0, 5, 7, 8, 11, 15, 16, 23, 25, 28, 29, 33, 38, 41, 43, 45, 52, 58, 59, 75, 84, 85, 89, 92, 105, 117, 123, 129, 131, 147]
    merging = [116, 66, 382, 511, 626, 674]  # whose companions are what they are about
    rows = sorted([*range(150, 200), *glow, *flare, *star, *outshone, *plain, *merging])
    rows = sorted(set(rows))
    found = inspect(GalaxySet.open(tmp_path / "sdss.h5")[rows])
    gone = dict(zip([rows[i] for i in np.flatnonzero(~found.kept)], found.crossed.T[~found.kept], strict=True))
    for those, reason in ((glow, "sky_colour"), (flare, "one_band_light"), (star, "neighbour_flux"), (outshone, "neighbour_flux")):
        assert all(row in gone and gone[row][REASONS.index(reason)] for row in those), reason
    assert not set(gone) & {*plain, *merging}
