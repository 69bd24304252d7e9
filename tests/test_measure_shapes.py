"""Sersic fits and shapes as `measure` gives them: exact answers, the PSF's forms, what is hidden, what is broken, resuming, tables."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

import hubbleflow.measure.block
from hubbleflow.cli import app
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import Flag, Measured, Recipe, SersicFlag, ShapeFlag, is_measured, measure, measure_file
from hubbleflow.measure.columns import SERSIC_COLUMNS, SERSIC_FLUX_COLUMNS, column_table
from hubbleflow.measure.nonparametric import SHAPE_COLUMNS
from hubbleflow.measure.psf_guess import BETA, fwhm_px, guessed_psf
from hubbleflow.measure.unfinished import Unfinished
from hubbleflow.metrics.sample import Sample
from hubbleflow.pixels import IndexedStack
from hubbleflow.survey import Survey
from hubbleflow.tables import write_table
from test_measure import gaussian, same, sky

HSC, HSC_I = Survey.get("hsc-wide"), Survey.get("hsc-i")
KRON, SERSIC = Recipe(sersic=False, shapes=False), Recipe(shapes=False)
HALF_LIGHT = np.sqrt(2 * np.log(2))  # of a Gaussian (a Sersic profile of n = 0.5), in its dispersions
SEEING = 1.5  # dispersion of the Gaussian PSF here, px


def psf_image(sigma: float = SEEING) -> np.ndarray:
    rows, columns = np.mgrid[-12:13, -12:13]
    image = np.exp(-(rows**2 + columns**2) / (2 * sigma**2))
    return image / image.sum()


def seen(a=4.0, b=3.0, degrees=30.0, flux=1000.0, sigma=SEEING, size=64, **where):
    """A Gaussian galaxy of dispersions a and b after a Gaussian PSF: exactly a Gaussian again."""
    return gaussian(size, a=np.hypot(a, sigma), b=np.hypot(b, sigma), degrees=degrees, flux=flux, **where)


def one(image, recipe: Recipe | None = None, psf=None, **planes) -> dict[str, float]:
    """Columns of one stamp in one band, with a PSF of SEEING."""
    planes = {name: np.asarray(plane)[None, None] for name, plane in planes.items()}
    images = np.asarray(image, np.float32)[None, None]
    measured = measure(GalaxySet(images, HSC_I, psf=psf_image()[None] if psf is None else psf, **planes), progress=False, recipe=recipe)
    return {name: values[0] for name, values in measured.columns.items()}


# -- exact answers ---------------------------------------------------------------------------------------------------------------------
def test_a_sersic_profile_is_found_through_the_psf_of_each_band():
    fluxes, seeing = (200.0, 500.0, 1000.0, 1100.0, 1500.0), (2.0, 1.9, 1.4, 1.6, 1.7)
    bands = [
        seen(a=4, b=2.4, flux=flux, sigma=s, x=32.1, y=30.8) + sky(sigma=0.01, seed=b)
        for b, (flux, s) in enumerate(zip(fluxes, seeing, strict=True))
    ]
    galaxies = GalaxySet(np.array([bands], np.float32), HSC, psf=np.stack([psf_image(s) for s in seeing]))
    columns = {name: values[0] for name, values in measure(galaxies, progress=False).columns.items()}
    assert columns["i_sersic_flag"] == 0
    truth = {
        "index": 0.5,
        "radius": 4 * HALF_LIGHT,
        "ellipticity": 0.4,
        "pos_angle": 30.0,
        "flux": 1000.0,
        "x": 32.1,
        "y": 30.8,
        "sky": 0.0,
    }
    for name, value in truth.items():
        error = columns[f"i_sersic_{name}_err"]
        assert abs(columns[f"i_sersic_{name}"] - value) < 4 * error and 0 < error < 0.01 * (abs(value) + 1), name
    assert columns["i_sersic_chi2"] == pytest.approx(1.0, abs=0.1)
    assert columns["i_sersic_mag"] == pytest.approx(27 - 7.5, abs=1e-3)
    assert columns["i_sersic_mag_err"] == pytest.approx(1.0857 * columns["i_sersic_flux_err"] / 1000, rel=1e-3)
    for band, flux in zip(HSC.bands, fluxes, strict=True):
        assert columns[f"{band}_sersic_flux"] == pytest.approx(flux, rel=3e-3)
        assert columns[f"{band}_sersic_mag"] == pytest.approx(27 - 2.5 * np.log10(flux), abs=4e-3)
        assert 0 < columns[f"{band}_sersic_flux_err"] < 2


def test_stated_errors_are_the_scatter():
    truth = seen(size=48, a=2.5, b=2.5, flux=300.0, x=23.5, y=23.5)
    images = np.stack([truth + sky(48, 0.15, seed) for seed in range(200)])[:, None].astype(np.float32)
    columns = measure(GalaxySet(images, HSC_I, psf=psf_image()[None]), progress=False, recipe=SERSIC).columns
    for name in ("index", "radius", "flux", "x"):
        values, errors = columns[f"i_sersic_{name}"], columns[f"i_sersic_{name}_err"]
        assert 0.8 < np.std(values) / np.median(errors) < 1.25, name


def test_shapes_of_a_disc():
    # An exponential disc without PSF: C from the cumulative light 1 - (1 + t) e^-t within 1.5 r_P, r_P = 3.64 scale lengths.
    rows, columns = np.mgrid[:64, :64] - 31.5
    disc = 100 * np.exp(-np.hypot(rows, columns) / 3.5)
    found = one(disc + sky(sigma=0.02), Recipe(sersic=False))
    assert found["i_shape_flag"] == 0
    assert found["i_petro_rad"] == pytest.approx(3.64 * 3.5, rel=0.03)
    assert found["i_concentration"] == pytest.approx(2.7, abs=0.1)
    assert found["i_asymmetry"] == pytest.approx(0.0, abs=0.03)
    assert (found["i_asymmetry_x"], found["i_asymmetry_y"]) == pytest.approx((31.5, 31.5), abs=0.2)
    assert 0.4 < found["i_gini"] < 0.6 and -2.0 < found["i_m20"] < -1.5


# -- columns ---------------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def mixed() -> GalaxySet:
    """40 two-band stamps; the PSF is one for all."""
    rng, survey = np.random.default_rng(3), Survey.get("hsc-wide").with_bands(("r", "i"))
    images = np.empty((40, 2, 32, 32), np.float32)
    for image in images:
        shape = seen(rng.uniform(1, 3), 1.0, rng.uniform(-90, 90), 10 ** rng.uniform(1, 3), size=32, x=15.5, y=15.5)
        image[:] = shape * np.array([0.7, 1.0])[:, None, None] + rng.normal(0, 0.05, (2, 32, 32))
    return GalaxySet(images, survey, psf=np.stack([psf_image()] * 2))


@pytest.fixture(scope="module")
def whole(mixed) -> Measured:
    return measure(mixed, progress=False)


def test_columns_have_the_names_that_are_promised(whole):
    names = {f"i_sersic_{name}" for name in SERSIC_COLUMNS} | {f"r_sersic_{name}" for name in SERSIC_FLUX_COLUMNS}
    names |= {f"i_{name}" for name in SHAPE_COLUMNS} | {"i_sersic_flag", "i_shape_flag"}
    assert names <= set(whole.columns) and names & set(column_table(HSC_I, KRON)) == set()
    assert {"i_sersic_index", "i_sersic_radius_err", "i_sersic_chi2", "i_gini", "i_m20", "i_petro_rad"} <= names
    assert set(whole.columns) == set(whole.units) == set(whole.descriptions)
    assert (whole.units["i_sersic_radius"], whole.units["i_sersic_flux"], whole.units["i_sersic_pos_angle"]) == ("pix", "ct", "deg")
    assert whole.columns["i_sersic_flag"].dtype == np.int32
    assert whole.attrs["sersic_flag_bits"]["PSF_GUESSED"] == SersicFlag.PSF_GUESSED


def test_what_is_not_asked_for_is_left_out_and_the_rest_is_the_same(mixed, whole):
    for recipe in (KRON, SERSIC, Recipe(sersic=False)):
        fewer = measure(mixed, progress=False, recipe=recipe)
        assert list(fewer.columns) == list(column_table(mixed.survey, recipe)) and len(fewer.columns) < len(whole.columns)
        assert all(values.tobytes() == whole.columns[name].tobytes() for name, values in fewer.columns.items())
        assert fewer.attrs == whole.attrs  # two sets of one recipe can be compared in the columns that both have


def test_metrics_do_not_trust_what_the_fit_does_not(whole):
    columns = {name: values.copy() for name, values in whole.columns.items()}
    columns["flag"][:], columns["i_sersic_flag"][:], columns["i_shape_flag"][:] = 0, 0, 0
    columns["i_sersic_flag"][:3] = SersicFlag.AT_BOUND, SersicFlag.PSF_GUESSED, SersicFlag.NO_PSF
    columns["i_shape_flag"][5] = ShapeFlag.LOW_SNR
    sample = Sample(Survey.get("hsc-wide"), measured=columns)
    lost = {
        name: np.flatnonzero(np.isnan(sample.trusted(name)) & np.isfinite(columns[name])).tolist()
        for name in ("i_sersic_index", "i_gini", "i_mag")
    }
    assert lost == {"i_sersic_index": [0, 2], "i_gini": [5], "i_mag": []}


# -- the PSF ---------------------------------------------------------------------------------------------------------------------------
def test_psf_of_the_set_of_the_galaxy_or_shared(tmp_path):
    widths = np.array([1.2, 1.2, 2.0, 1.2])
    images = np.stack([seen(sigma=s) + sky(sigma=0.02, seed=n) for n, s in enumerate(widths)])[:, None].astype(np.float32)
    some = np.stack([psf_image(1.2), psf_image(2.0)])[:, None]
    index = np.array([0, 0, 1, 0])
    each = measure(GalaxySet(images, HSC_I, psf=some[index]), progress=False, recipe=SERSIC)
    assert each.columns["i_sersic_radius"] == pytest.approx(4 * HALF_LIGHT, rel=5e-3)
    shared = GalaxySet(images, HSC_I, psf=IndexedStack(some, index))
    assert same(each, measure(shared, progress=False, recipe=SERSIC))
    assert same(each, measure(shared.write(tmp_path / "set.h5"), progress=False, recipe=SERSIC))
    wrong = measure(GalaxySet(images, HSC_I, psf=some[0]), progress=False, recipe=SERSIC)
    assert wrong.columns["i_sersic_radius"][2] > 1.04 * 4 * HALF_LIGHT


def test_a_set_without_psf_gets_the_surveys_seeing_and_a_flag():
    image = (seen() + sky(sigma=0.02)).astype(np.float32)[None, None]
    guess = guessed_psf(HSC_I)
    guessed, given = (measure(GalaxySet(image, HSC_I, psf=psf), progress=False).columns for psf in (None, guess))
    assert guessed["i_sersic_flag"][0] == given["i_sersic_flag"][0] | SersicFlag.PSF_GUESSED
    assert all(guessed[name].tobytes() == given[name].tobytes() for name in guessed if name != "i_sersic_flag")
    assert np.isfinite(guessed["i_sersic_radius"][0])


def test_the_guess_is_a_moffat_of_the_stated_width():
    survey = Survey.get("decals")
    images = guessed_psf(survey)
    widths = np.array(survey.psf_fwhm_arcsec) / survey.pixel_scale_arcsec
    middle = images.shape[-1] // 2
    assert images.sum(axis=(1, 2)) == pytest.approx(1.0)
    for image, width in zip(images, widths, strict=True):
        profile = image[middle, middle:] / image[middle, middle]
        r = np.arange(len(profile))
        assert 2 * np.interp(-0.5, -profile, r) == pytest.approx(width, rel=0.02)
        assert -np.polyfit(np.log(r[-5:]), np.log(profile[-5:]), 1)[0] == pytest.approx(2 * BETA, rel=0.03)  # its wings
    assert fwhm_px(images) == pytest.approx(widths, rel=1 / 6)


@pytest.mark.parametrize(
    "survey", [Survey.get("sdss-rgb").with_bands(("G",)), Survey.custom("unknown", ("K",)), Survey.get("xdf-rgb").with_bands(("G",))]
)
def test_no_stated_seeing_no_fit(survey):
    image = np.round(seen(flux=8000) + 10 + 3 * sky(sigma=1)).clip(0, 255).astype(np.float32)
    columns = measure(GalaxySet(image[None, None], survey), progress=False).columns
    band = survey.reference_band
    assert columns[f"{band}_sersic_flag"][0] == SersicFlag.NO_PSF
    assert all(np.isnan(columns[f"{band}_sersic_{name}"]).all() for name in SERSIC_COLUMNS)
    assert np.isfinite(columns[f"{band}_gini"][0])


def test_a_psf_without_light_is_no_psf():
    found = one(seen() + sky(), psf=np.zeros((1, 25, 25)))
    assert found["i_sersic_flag"] == SersicFlag.NO_PSF and np.isnan(found["i_sersic_index"])


# -- what is hidden --------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("plane", ["ivar", "mask"])
def test_what_stands_in_hidden_pixels_changes_nothing(plane):
    rng = np.random.default_rng(8)
    hidden = np.zeros((5, 64, 64), bool)
    hidden[:, 36:38, 30:35] = hidden[:, :9, 50:] = True  # in the galaxy, and where no galaxy is
    hidden[1, 40:44] = hidden[4] = True
    clean = np.stack([seen(flux=f) + sky(sigma=0.05, seed=b) for b, f in enumerate((200, 500, 1000, 1100, 1500))])
    weight = np.where(hidden, 0.0, 400.0).astype(np.float32)
    planes = {"ivar": weight[None]} if plane == "ivar" else {"mask": hidden[None].astype(np.uint8)}
    results = []
    for garbage in (0.0, 1e6 * rng.normal(size=hidden.shape), np.nan, -1e20, np.inf):
        images = np.where(hidden, garbage, clean).astype(np.float32)[None]
        results.append(measure(GalaxySet(images, HSC, psf=np.stack([psf_image()] * 5), **planes), progress=False))
    assert all(same(results[0], other) for other in results[1:])
    columns = {name: values[0] for name, values in results[0].columns.items()}
    assert columns["i_sersic_flag"] == 0
    assert columns["i_sersic_radius"] == pytest.approx(4 * HALF_LIGHT, abs=4 * columns["i_sersic_radius_err"])
    assert columns["r_sersic_flux"] == pytest.approx(500, rel=0.01)
    assert np.isnan([columns["y_sersic_flux"], columns["y_sersic_flux_err"], columns["y_sersic_mag"]]).all()


def test_inverse_variances_are_the_weights():
    noise = np.where(np.arange(64) < 32, 0.3, 0.03) * np.ones((64, 1))
    image = seen() + noise * sky(sigma=1.0)
    stated, unstated = one(image, SERSIC, ivar=noise**-2), one(image, SERSIC)
    assert stated["i_sersic_chi2"] == pytest.approx(1.0, abs=0.08)
    assert unstated["i_sersic_chi2"] != pytest.approx(1.0, abs=0.3)
    assert abs(stated["i_sersic_radius"] - 4 * HALF_LIGHT) < 4 * stated["i_sersic_radius_err"]


def test_neighbours_are_left_out():
    alone = seen(a=3, b=2.5, flux=500) + sky()
    crowded = alone + gaussian(x=50, y=42, a=2.5, b=2, flux=800) + gaussian(x=12, y=16, a=2, b=2, flux=1500)
    first, second = one(alone), one(crowded)
    for name, tolerance in (("sersic_radius", 0.01), ("sersic_flux", 0.01), ("sersic_index", 0.02), ("gini", 0.01), ("petro_rad", 0.02)):
        assert second[f"i_{name}"] == pytest.approx(first[f"i_{name}"], rel=tolerance), name


# -- what is broken --------------------------------------------------------------------------------------------------------------------
HOT = sky()
HOT[32, 32] = 50.0
NOTHING = {
    "empty": (np.zeros((64, 64)), SersicFlag.NO_OBJECT),
    "all NaN": (np.full((64, 64), np.nan), SersicFlag.NO_OBJECT | SersicFlag.EMPTY),
    "constant": (np.full((64, 64), 3.7), SersicFlag.NO_OBJECT),
    "blank": (sky(), SersicFlag.NO_OBJECT),
    "negative": (sky() - seen(), SersicFlag.NO_OBJECT),
    "off the edge": (seen(x=0.0, y=31.5) + sky(), SersicFlag.NO_OBJECT),
}
FLAGGED = {
    "hot pixel": (HOT, SersicFlag.UNTRUSTED_OBJECT | SersicFlag.POINT_LIKE, ShapeFlag.TOO_SMALL),
    "star": (gaussian(a=SEEING, b=SEEING, flux=2000) + sky(), SersicFlag.POINT_LIKE | SersicFlag.AT_BOUND, ShapeFlag.TOO_SMALL),
    "saturated": (np.minimum(seen(flux=3000) + sky(), 15.0), SersicFlag.UNTRUSTED_OBJECT | SersicFlag.MASKED_CORE, ShapeFlag(0)),
    "off centre": (seen(1.0, 1.0, flux=50, x=39.5) + sky(), SersicFlag.UNTRUSTED_OBJECT, ShapeFlag(0)),
    "large, from the edge": (
        seen(14, 8, 0, flux=9000, x=5.0) + sky(),
        SersicFlag.UNTRUSTED_OBJECT,
        ShapeFlag.EDGE | ShapeFlag.APERTURE_TRUNCATED,
    ),
    "two equal ones": (seen(1, 1, x=27.0) + seen(1, 1, x=36.0) + sky(sigma=0.02), SersicFlag.UNTRUSTED_OBJECT, ShapeFlag(0)),
    "larger than the stamp": (seen(30, 30, flux=1e5) + sky(), SersicFlag.BEYOND_STAMP, ShapeFlag.EDGE),
}


@pytest.mark.parametrize("what", NOTHING)
def test_nothing_to_measure_is_nan_and_flagged(what):
    image, flag = NOTHING[what]
    found = one(image)
    assert found["i_sersic_flag"] == flag and found["i_shape_flag"] == ShapeFlag.NO_OBJECT
    assert all(np.isnan(found[f"i_sersic_{name}"]) for name in SERSIC_COLUMNS)
    assert all(np.isnan(found[f"i_{name}"]) for name in SHAPE_COLUMNS)


@pytest.mark.parametrize("planes", [{"ivar": np.zeros((64, 64), np.float32)}, {"mask": np.ones((64, 64), np.uint8)}])
def test_no_weight_anywhere(planes):
    found = one(seen() + sky(), **planes)
    assert found["i_sersic_flag"] == SersicFlag.NO_OBJECT | SersicFlag.EMPTY
    assert all(np.isnan(found[f"i_sersic_{name}"]) for name in SERSIC_COLUMNS)


@pytest.mark.parametrize("what", FLAGGED)
def test_what_is_not_a_clean_galaxy_says_so(what):
    image, sersic, shape = FLAGGED[what]
    found = one(image)
    assert SersicFlag(int(found["i_sersic_flag"])) & sersic == sersic
    assert ShapeFlag(int(found["i_shape_flag"])) & shape == shape


def test_a_saturated_core_is_not_fitted():
    found = one(np.minimum(seen(flux=3000) + sky(), 15.0))
    assert found["i_flag"] & Flag.SATURATED
    assert found["i_sersic_radius"] == pytest.approx(4 * HALF_LIGHT, rel=0.02)  # what is left of the profile says as much
    assert found["i_sersic_flux"] == pytest.approx(3000, rel=0.02)


def test_a_galaxy_beside_the_centre_is_measured_where_it_is():
    found = one(seen(x=36.0, y=28.0) + sky())
    assert found["i_sersic_flag"] == 0
    assert (found["i_sersic_x"], found["i_sersic_y"]) == pytest.approx((36.0, 28.0), abs=0.02)


@pytest.mark.parametrize("shape", [(40, 56), (57, 41), (7, 7)])
def test_stamps_of_any_shape(shape):
    size = 57
    y, x = ((side - 1) / 2 for side in shape)
    image = (seen(2.0, 1.5, size=size, x=x, y=y) + sky(size, 0.02))[: shape[0], : shape[1]]
    found = one(image)
    if min(shape) > 8:
        assert found["i_sersic_flag"] == 0
        assert found["i_sersic_radius"] == pytest.approx(2 * HALF_LIGHT, rel=0.02)
    else:
        assert found["i_shape_flag"] == ShapeFlag.NO_OBJECT


# -- resuming --------------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def many() -> GalaxySet:
    """700 small galaxies: three blocks."""
    rng = np.random.default_rng(4)
    truth = seen(1.5, 1.0, size=20, x=9.5, y=9.5, flux=100.0)
    return GalaxySet((truth + rng.normal(0, 0.1, (700, 1, 20, 20))).astype(np.float32), HSC_I)


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """Rows that are really measured, in this process."""
    rows: list[int] = []
    stamp = hubbleflow.measure.block.measure_stamp
    monkeypatch.setattr("hubbleflow.measure.block.measure_stamp", lambda *words: rows.append(1) or stamp(*words))
    return rows


def test_a_killed_run_goes_on(many, tmp_path, counted):
    path = tmp_path / "set.h5"
    many.write(path)
    part = tmp_path / ".set.h5.measuring"
    command = [sys.executable, "-m", "hubbleflow", "measure", str(path), "--no-shapes"]
    run = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while not (part.exists() and part.stat().st_size) and run.poll() is None:
        time.sleep(0.01)
    time.sleep(0.01)  # to its record's end
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL  # it had not ended
    kept = len(Unfinished(path).keys)
    assert 1 <= kept < 3 and not GalaxySet.open(path).measured
    measured = measure_file(path, workers=1, progress=False, recipe=SERSIC)
    assert len(counted) == 700 - 256 * kept and not part.exists()
    assert same(measured, measure(many, workers=1, progress=False, recipe=SERSIC))


def test_old_numbers_never_meet_other_pixels_or_another_recipe(many, tmp_path, counted, monkeypatch):
    monkeypatch.setattr("hubbleflow.measure.block.LARGEST", 50)  # four blocks
    path, some = tmp_path / "set.h5", many[:170]
    some.write(path)
    keep_all(some, path)
    counted.clear()
    measure_file(path, workers=1, progress=False, recipe=KRON, force=True)
    assert len(counted) == 170
    keep_all(some, path)
    counted.clear()
    with h5py.File(path, "r+") as file:
        file["image"][60, 0, 0, 0] += 1.0
        del file["measured"]
    measure_file(path, workers=1, progress=False, recipe=KRON)
    assert len(counted) == 50  # the block of the galaxy that was changed
    keep_all(some, path)
    counted.clear()
    measure_file(path, workers=1, progress=False, recipe=Recipe(sersic=False, shapes=False, threshold=2.0))
    assert len(counted) == 170


def keep_all(galaxies: GalaxySet, path: Path) -> None:
    """What a run leaves that is killed just before it writes."""
    kept = Unfinished(path)
    for number, block in enumerate(hubbleflow.measure.block.blocks(galaxies, KRON, keyed=True)):
        result = hubbleflow.measure.block.measure_block(block)
        kept.add(number, result.key, result.columns)


@pytest.mark.parametrize("harm", ["cut", "turned", "other"])
def test_half_written_blocks_do_not_count(harm, tmp_path):
    kept = Unfinished(tmp_path / "set.h5")
    for number in range(3):
        kept.add(number, f"{number}" * 64, {"a": np.arange(4.0) + number, "flag": np.arange(4, dtype=np.int32)})
    content = bytearray(kept.path.read_bytes())
    if harm == "cut":
        content = content[:-7]
    elif harm == "turned":
        content[-3] ^= 1
    else:
        content[:5] = b"other"
    kept.path.write_bytes(content)
    again = Unfinished(tmp_path / "set.h5")
    assert list(again.keys) == ([] if harm == "other" else [0, 1])
    again.add(2, "2" * 64, {"a": np.arange(4.0)})
    assert list(Unfinished(tmp_path / "set.h5").keys) == [*again.keys, 2]


def test_a_measured_file_is_left_alone_unless_forced(many, tmp_path, counted):
    path = tmp_path / "set.h5"
    many[:20].write(path)
    assert not is_measured(GalaxySet.open(path), KRON)
    first = measure_file(path, progress=False, recipe=KRON)
    assert is_measured(GalaxySet.open(path), KRON) and not is_measured(GalaxySet.open(path))
    counted.clear()
    again = measure_file(path, progress=False, recipe=KRON)
    assert not counted and same(first, again) and list(again.columns) == list(first.columns)
    measure_file(path, progress=False, recipe=KRON, force=True)
    assert len(counted) == 20
    more = measure_file(path, progress=False)  # columns that are not there
    assert len(counted) == 40 and is_measured(GalaxySet.open(path), KRON) and len(more.columns) > len(first.columns)


def test_a_dask_cluster_gives_the_same_bytes(many):
    distributed = pytest.importorskip("distributed", reason="Dask absent: pip install 'hubbleflow[dask]'")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=":0") as cluster:
        measured = measure(many[:300], progress=False, recipe=KRON, dask=cluster.scheduler_address)
    assert same(measured, measure(many[:300], progress=False, recipe=KRON))


# -- the command and its tables --------------------------------------------------------------------------------------------------------
def run(*words: object) -> str:
    result = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_command_measures_what_it_is_asked_for(many, tmp_path):
    path = tmp_path / "set.h5"
    many[:12].write(path)
    assert "12 galaxies measured in i; not to be trusted: 0 galaxies" in run("measure", path, "--no-sersic", "--no-shapes", "--workers", 1)
    assert list(GalaxySet.open(path).measured) and "i_sersic_index" not in GalaxySet.open(path).measured
    run("measure", path, "--table", tmp_path / "t.csv")
    opened = GalaxySet.open(path)
    assert {"i_sersic_index", "i_gini"} <= set(opened.measured) and opened.measured_units["i_sersic_radius"] == "pix"
    assert "i_sersic_index" in (tmp_path / "t.csv").read_text().splitlines()[0]
    assert "--force" in run("measure", path)
    assert "--force" not in run("measure", path, "--force", "--no-sersic", "--no-shapes")


def test_a_table_in_parquet_keeps_units(mixed, whole, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow absent: pip install 'hubbleflow[parquet]'")
    path = write_table(whole.added_to(mixed), tmp_path / "t.parquet")
    stored = parquet.read_table(path)
    np.testing.assert_array_equal(stored["i_sersic_radius"].to_numpy(), whole.columns["i_sersic_radius"])
    assert "unit: pix" in stored.schema.metadata[b"table_meta_yaml"].decode()


def test_parquet_without_pyarrow_is_said_before_the_work(many, tmp_path, monkeypatch, counted):
    monkeypatch.setattr("hubbleflow.tables.find_spec", lambda name: None)
    many[:4].write(tmp_path / "set.h5")
    with pytest.raises(InputError, match=r"pip install 'hubbleflow\[parquet\]'"):
        run("measure", tmp_path / "set.h5", "--table", tmp_path / "t.parquet")
    assert not counted
