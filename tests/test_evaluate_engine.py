"""The engine of `evaluate`: tables without images, a cache, workers that change no number, and bad input that gets a sentence."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table
from typer.testing import CliRunner

from hubbleflow.asking import parse_names
from hubbleflow.cache import ALONE, Cache, block_hashes, default_folder, source_hash
from hubbleflow.cli import app
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.judge import CategoryJudge, RedshiftJudge
from hubbleflow.measure import measure
from hubbleflow.measured_input import open_both
from hubbleflow.measured_table import MeasuredTable
from hubbleflow.metrics import evaluate
from hubbleflow.metrics.alike import RECIPE
from hubbleflow.metrics.bins import choose_bins
from hubbleflow.metrics.judging import judge_all
from hubbleflow.metrics.metric import all_metrics
from hubbleflow.metrics.sample import Sample
from hubbleflow.metrics.streaming import Streaming
from hubbleflow.simulate import simulate
from hubbleflow.survey import Survey
from hubbleflow.tables import write_table

HSC = Survey.get("hsc-wide")
GRI = HSC.with_bands(("g", "r", "i"))


def sky(n: int, seed: int, survey: Survey = HSC, size: int = 32, **columns: np.ndarray) -> GalaxySet:
    """Spots of light, larger and brighter at low redshift, on noise; not measured."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.1, 2, n)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    width = (3 - z)[:, None, None, None] * rng.uniform(0.8, 1.2, (n, 1, 1, 1))
    colour = np.linspace(0.6, 1.4, len(survey.bands))[:, None, None]
    images = rng.normal(0, 0.05, (n, len(survey.bands), size, size)) + colour * np.exp(-(x**2 + y**2) / (2 * width**2))
    return GalaxySet(images.astype("f4"), survey, {"redshift": z, **columns})


def numbers(n: int, seed: int, shift: float = 0.0) -> dict[str, np.ndarray]:
    """Measured columns as somebody may have them."""
    rng = np.random.default_rng(seed)
    z = rng.gamma(3, 0.25, n)
    size = 8 / (1 + z) * rng.lognormal(0, 0.3, n)
    return {
        "redshift": z,
        "i_major_axis": size,
        "i_isophotal_area": 12 * size**2,
        "i_ellipticity": rng.beta(2, 3, n),
        "i_mag": 20 + z + rng.normal(shift, 0.5, n),
        "g_r": 0.5 + 0.5 * z + rng.normal(0, 0.1, n),
    }


def run(*words: object) -> str:
    """The command; an error is raised as it is."""
    return CliRunner().invoke(app, ["evaluate", *map(str, words)], catch_exceptions=False, standalone_mode=False).output


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without figures, which take longest."""
    for name in ("plots", "pictures"):
        monkeypatch.setattr(f"hubbleflow.report.page.{name}", lambda report: [])


def found(report: Path) -> dict:
    return json.loads((report / "metrics.json").read_text())


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small sets with images on disk, not measured."""
    folder = tmp_path_factory.mktemp("engine")
    sky(90, 1).write(folder / "real.h5")
    sky(70, 2).write(folder / "made.h5")
    return folder


# -- tables -------------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".ecsv", ".csv", ".fits", ".parquet", ".csv.gz", ".h5"])
def test_every_kind_of_table_is_read_alike(tmp_path: Path, suffix: str) -> None:
    columns = numbers(60, 1) | {"category": np.array(["spiral", "merger"] * 30)}
    path = tmp_path / f"real{suffix}"
    if suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, values in columns.items():
                file[{"redshift": "specz_redshift"}.get(name, name)] = values.astype("S") if name == "category" else values
    elif suffix == ".csv.gz":
        Table(columns).write(tmp_path / "plain.csv", format="ascii.csv")
        path.write_bytes(gzip.compress((tmp_path / "plain.csv").read_bytes()))
    else:
        Table(columns).write(path, format={".ecsv": "ascii.ecsv", ".csv": "ascii.csv"}.get(suffix, suffix[1:]))
    one, other, notes = open_both(path, path, "hsc-wide")
    assert isinstance(one, MeasuredTable) and notes == ()
    assert set(one.measured) == set(columns) - {"redshift", "category"}
    for name, values in columns.items():
        read = one.measured.get(name, one.columns.get(name))
        assert np.array_equal(read, values) if name == "category" else np.allclose(read, values), name
    assert one.content_hash() == other.content_hash() and len(one) == 60


def test_astropys_own_hdf5_table_and_one_that_is_no_table(tmp_path: Path) -> None:
    Table(numbers(40, 1)).write(tmp_path / "t.h5", path="data")
    table, _, _ = open_both(tmp_path / "t.h5", tmp_path / "t.h5", "hsc-wide")
    assert isinstance(table, MeasuredTable) and len(table) == 40 and "i_mag" in table.measured
    with h5py.File(tmp_path / "cube.h5", "w") as file:
        file["cube"] = np.zeros((2, 3, 4))
    with pytest.raises(InputError, match="has no dataset 'image'"):
        open_both(tmp_path / "cube.h5", tmp_path / "t.h5")


def test_units_become_ours_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    table = QTable(
        {
            "i_major_axis": [0.168, 0.336] * u.arcsec,
            "i_isophotal_area": [0.168**2, 1.0] * u.arcsec**2,
            "i_pos_angle": [np.pi / 2, 0.0] * u.rad,
            "i_mag": [20.0, 21.0] * u.ABmag,
            "i_flag": np.array([0.0, 256.0]),
        }
    )
    table.write(tmp_path / "t.ecsv")
    measured = open_both(tmp_path / "t.ecsv", tmp_path / "t.ecsv", "hsc-wide")[0].measured
    assert measured["i_major_axis"] == pytest.approx([1, 2]) and measured["i_isophotal_area"] == pytest.approx([1, 1 / 0.168**2])
    assert measured["i_pos_angle"] == pytest.approx([90, 0]) and measured["i_mag"].tolist() == [20, 21]
    assert measured["i_flag"].dtype.kind == "i"
    QTable({"i_mag": [1.0] * u.m}).write(tmp_path / "bad.ecsv")
    with pytest.raises(InputError, match="'i_mag' of .* is in m, expected mag"):
        open_both(tmp_path / "bad.ecsv", tmp_path / "bad.ecsv", "hsc-wide")


def test_what_measure_wrote_knows_how_it_was_measured(tmp_path: Path) -> None:
    made = sky(30, 1)
    made = measure(made, progress=False, recipe=RECIPE).added_to(made)
    made.columns["i_mag"] = np.full(30, 5.0)  # the archive's own
    write_table(made, tmp_path / "made.ecsv")
    table = open_both(tmp_path / "made.ecsv", tmp_path / "made.ecsv")[0]
    assert isinstance(table, MeasuredTable) and table.survey == HSC and table.recipe["recipe_number"] == made.recipe["recipe_number"]
    assert np.allclose(table.measured["i_mag"], made.measured["i_mag"], equal_nan=True) and (table.columns["i_mag"] == 5).all()
    report = evaluate(table, made, progress=False, splits=3)
    assert not any("recipe" in note for note in report.notes)
    assert evaluate(MeasuredTable(HSC, {}, numbers(60, 1)), made, progress=False, splits=3).notes[1].startswith("the two sets were not")


def test_a_fit_through_the_psf_beside_one_through_a_guess_is_told() -> None:
    known, unknown = sky(20, 1), sky(20, 2)
    psf = np.zeros((3, 5, 5), np.float32)
    psf[:, 2, 2] = 1.0
    brings = GalaxySet(known.images, known.survey, known.columns, psf=np.repeat(psf[:1], len(HSC.bands), axis=0))
    fitted = {"i_sersic_index": np.ones(20)}

    def notes(*pair: GalaxySet, **columns: np.ndarray) -> str:
        measured = [measure(galaxies, progress=False, recipe=RECIPE).added_to(galaxies) for galaxies in pair]
        for galaxies in measured:
            galaxies.measured.update(columns)
        return " ".join(evaluate(*measured, progress=False, splits=3).notes)

    assert "the real set brings its PSF and the generated one does not" in notes(brings, unknown, **fitted)
    assert "the generated set brings its PSF and the real one does not" in notes(unknown, brings, **fitted)
    assert "PSF" not in notes(brings, unknown) and "PSF" not in notes(known, unknown, **fitted)


def test_two_tables_through_the_command(tmp_path: Path) -> None:
    theirs = numbers(300, 1)
    Table({"area_px": theirs.pop("i_isophotal_area"), "z": theirs.pop("redshift"), **theirs}).write(tmp_path / "real.csv")
    Table(numbers(200, 2, shift=1.0)).write(tmp_path / "made.fits")
    names = "area_px=i_isophotal_area, z=redshift"
    said = run(tmp_path / "real.csv", tmp_path / "made.fits", tmp_path / "report", "--survey", "hsc-wide", "--columns", names)
    assert "w1_magnitude" in said and "(p < 1 %" in said.replace("\n", " ")
    report = found(tmp_path / "report")
    metrics = report["metrics"]
    assert report["bins"]["kind"] == "redshift" and metrics["w1_isophotal_area"]["value"] < metrics["w1_magnitude"]["value"]
    assert {path.stem for path in (tmp_path / "report" / "figures").iterdir()} <= {"histograms", "means", "heat_map"}
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<img" not in page and "came as a table" in page
    for name in ("noise_correlation", "frechet_redshift_cnn", "c2st_images", "power_spectrum_sky", "redshift_pit_ks", "redshift_loss"):
        note = metrics[name]["note"]
        assert metrics[name]["value"] is None and note.endswith("the real and the generated set is a table and has no images"), note


def test_a_table_beside_images_has_the_images_measured(sets: Path, tmp_path: Path) -> None:
    measured = measure(sky(90, 1), progress=False, recipe=RECIPE).columns
    names = ("i_mag", "i_ellipticity", "flag")
    Table({name: measured[name] for name in names} | {"i_sersic_index": np.ones(90)}).write(tmp_path / "t.csv")
    run(tmp_path / "t.csv", sets / "made.h5", tmp_path / "report")
    report = found(tmp_path / "report")
    assert report["metrics"]["w1_magnitude"]["value"] is not None
    text = " ".join(report["notes"])
    assert "t.csv names no survey: it is taken to be of the other side's, hsc-wide" in text
    assert "not read from images: the real set is a table" in text and "only one of the two sets has redshifts" in text
    assert "<img" not in (tmp_path / "report" / "report.html").read_text()
    table, made, _ = open_both(tmp_path / "t.csv", sets / "made.h5")
    evaluated = evaluate(table, made, progress=False, splits=3)
    assert "i_sersic_index" in evaluated.generated.measured and "i_asymmetry" not in evaluated.generated.measured
    assert not evaluated.generated.pixels and evaluated.generated.images is None


@pytest.mark.parametrize(
    ("names", "survey", "says"),
    [
        ("mag=i_mag", None, "does not say of which survey it is: name it with --survey"),
        ("mag=i_mag", "euclid", "unknown survey 'euclid'"),
        (None, "hsc-wide", "no column that is measured here, such as i_isophotal_area"),
        ("nothing=i_mag", "hsc-wide", "no column 'nothing' to rename"),
        ("mag", "hsc-wide", "'mag' is not THEIRS=OURS"),
        ("mag=i_mag,kind=i_ellipticity", "hsc-wide", "column 'kind' of .* must hold numbers for i_ellipticity"),
        ("mag=i_mag,other=i_mag", "hsc-wide", "names two columns i_mag"),
    ],
)
def test_a_table_that_cannot_be_used_gets_a_sentence(tmp_path: Path, names: str | None, survey: str | None, says: str) -> None:
    Table({"mag": [20.0, 21.0], "other": [1.0, 2.0], "kind": ["a", "b"]}).write(tmp_path / "t.csv")
    options = [*(("--columns", names) if names else ()), *(("--survey", survey) if survey else ())]
    with pytest.raises(InputError, match=says):
        run(tmp_path / "t.csv", tmp_path / "t.csv", tmp_path / "report", *options)
    assert not (tmp_path / "report").exists()


def test_columns_are_renamed_in_tables_only(sets: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--columns renames columns of tables"):
        run(sets / "real.h5", sets / "made.h5", tmp_path / "report", "--columns", "a=i_mag")
    assert parse_names(None) == {} and parse_names("a = b,") == {"a": "b"}
    with pytest.raises(InputError, match="two columns for i_mag: rename one of them|names two"):
        Table({"mag": [1.0], "i_mag": [2.0]}).write(tmp_path / "t.csv")
        open_both(tmp_path / "t.csv", tmp_path / "t.csv", "hsc-wide", {"mag": "i_mag"})


def test_galaxiesmls_published_measurements_against_a_mock_table(shared_data: Path, tmp_path: Path, undrawn: None) -> None:
    real = shared_data / "catalogs" / "galaxiesml_morphology_test.csv.gz"
    made = simulate(tmp_path / "mock.h5", 100, seed=3)
    write_table(measure(made, progress=False, recipe=replace(RECIPE, sersic=True)).added_to(made), tmp_path / "mock.ecsv")
    names = (
        "orientation_deg=i_pos_angle,semi_major_px=i_major_axis,semi_minor_px=i_minor_axis,"
        "isophotal_area_px=i_isophotal_area,sersic_index=i_sersic_index,ellipticity=i_ellipticity"
    )
    run(real, tmp_path / "mock.ecsv", tmp_path / "report", "--columns", names)
    report = found(tmp_path / "report")
    assert report["real"]["n"] == 20_618 and report["generated"]["n"] == 100
    for name in ("w1_isophotal_area", "w1_major_axis", "w1_ellipticity", "w1_sersic_index", "ks_ellipticity", "galaxy_kl"):
        assert report["metrics"][name]["value"] > 0, name
    assert report["metrics"]["w1_sersic_index"]["z"] > 3, "the mock's indices are fitted by other code than the archive's"
    for name, metric in report["metrics"].items():
        assert metric["value"] is not None or len(metric["note"]) > 20, name


# -- the cache ----------------------------------------------------------------------------------------------------------------------------
def test_a_second_run_takes_from_the_cache_and_finds_the_same(sets: Path, tmp_path: Path, undrawn: None) -> None:
    first = run(sets / "real.h5", sets / "made.h5", tmp_path / "one", "--cache", tmp_path / "cache")
    second = run(sets / "real.h5", sets / "made.h5", tmp_path / "two", "--cache", tmp_path / "cache")
    assert "from the cache" not in first
    said = second.replace("\n", " ")
    assert "real set: measurements" in said and "generated set: measurements" in said and "noise" in said
    assert (tmp_path / "one" / "metrics.json").read_bytes() == (tmp_path / "two" / "metrics.json").read_bytes()
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    without = run(sets / "real.h5", sets / "made.h5", tmp_path / "three", "--no-cache")
    assert "from the cache" not in without and before == {p.name: p.stat().st_mtime_ns for p in (tmp_path / "cache").iterdir()}
    assert (tmp_path / "one" / "metrics.json").read_bytes() == (tmp_path / "three" / "metrics.json").read_bytes()


def test_a_damaged_entry_is_made_again(tmp_path: Path) -> None:
    real = sky(40, 1)
    streaming = [Streaming(Cache(tmp_path), progress=False) for _ in range(3)]
    whole = streaming[0].measured(real, "real", RECIPE).measured
    columns = streaming[0].pixel_columns(real, "real")
    entries = sorted(tmp_path.glob("*.npz"))
    assert len(entries) >= 2 and all(not np.load(path)["names"].dtype.hasobject for path in entries)
    for number, path in enumerate(entries):
        data = path.read_bytes()
        path.write_bytes([data[: len(data) // 2], b"", b"PK nonsense", data[:-200] + bytes(200)][number % 4])
    again = streaming[1].measured(real, "real", RECIPE).measured
    assert streaming[1].cache.taken == [] and all(np.array_equal(again[name], whole[name], equal_nan=True) for name in whole)
    assert streaming[1].pixel_columns(real, "real").keys() == columns.keys() and streaming[1].cache.taken == []
    streaming[2].measured(real, "real", RECIPE)
    assert streaming[2].cache.taken == [("measurements", "real set")], "what was made again is kept again"
    flipped = sorted(tmp_path.glob("measurements*.npz"))[0]
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1  # one bit
    flipped.write_bytes(bytes(data))
    assert Cache(tmp_path).get("measurements", "real set", []) is None


def test_other_pixels_psfs_recipes_and_code_are_other_entries(tmp_path: Path) -> None:
    real, cache = sky(20, 1), Cache(tmp_path)
    known = cache.hash_of(real)
    assert cache.hash_of(real.with_columns({"x": np.arange(20)})) == known, "columns play no part"
    changed = real.images[:].copy()
    changed[3, 2, 5, 5] += 1e-3
    others = [
        GalaxySet(changed, HSC, real.columns),
        GalaxySet(real.images[:], HSC, real.columns, psf=np.ones((5, 3, 3), "f4")),
        GalaxySet(real.images[:], HSC, real.columns, ivar=np.ones(real.images.shape, "f4")),
        GalaxySet(real.images[:], replace(HSC, zero_point=26.0), real.columns),
        real[::-1],
    ]
    assert len({known, *(cache.hash_of(other) for other in others)}) == 6
    assert cache.content_hash(real) == real.content_hash()
    streaming = Streaming(cache, progress=False)
    streaming.measured(real, "real", RECIPE)
    streaming.measured(real, "real", replace(RECIPE, threshold=3.0))
    assert len(list(tmp_path.glob("measurements-*.npz"))) == 2 and cache.taken == []
    assert source_hash(block_hashes) != source_hash(choose_bins)


def test_features_are_kept_where_their_weights_are_known(tmp_path: Path) -> None:
    real, calls = sky(20, 1), []

    def features(galaxies: GalaxySet) -> np.ndarray:
        calls.append(1)
        return np.ones((len(galaxies), 3)) * len(calls)

    for _ in range(2):
        Streaming(Cache(tmp_path), progress=False).features(real, "real", "net", features)
    assert len(calls) == 2
    features.made_of = "weights 1"  # type: ignore[attr-defined]
    values = [Streaming(Cache(tmp_path), progress=False).features(real, "real", "net", features) for _ in range(2)]
    assert len(calls) == 3 and np.array_equal(*values)
    features.made_of = "weights 2"  # type: ignore[attr-defined]
    Streaming(Cache(tmp_path), progress=False).features(real, "real", "net", features)
    assert len(calls) == 4
    with pytest.raises(InputError, match=r"expected \(20, d\)"):
        Streaming(progress=False).features(real, "real", "net", lambda galaxies: np.ones(20))


def test_a_cache_that_cannot_be_written_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write"):
        Cache.opened(tmp_path / "file")
    monkeypatch.setenv("HUBBLEFLOW_CACHE", str(tmp_path / "file"))
    cache = Cache.opened()
    assert not cache and "cannot write" in cache.trouble and not Cache.opened(kept=False).trouble
    monkeypatch.delenv("HUBBLEFLOW_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "hubbleflow"
    full = Cache(tmp_path / "cache")
    monkeypatch.setattr(np, "savez", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert full.arrays("a", "b", ["c"], lambda: {"x": np.arange(3)})["x"].tolist() == [0, 1, 2]
    assert "No space left" in full.trouble and not list((tmp_path / "cache").iterdir())


def test_one_judge_for_several_generators(tmp_path: Path) -> None:
    kinds = np.array(["spiral", "merger"] * 210)
    real, cache = sky(420, 1, GRI, category=kinds), tmp_path / "cache"
    made = [sky(24, seed, GRI, category=kinds[:24]) for seed in (2, 3)]
    caches = [Cache(cache) for _ in range(4)]
    for judge, trained in ((RedshiftJudge, "judge of redshifts"), (CategoryJudge, "judge of categories")):
        first, second = (judge.of(real, made[i], tmp_path / "report", steps=3, cache=caches[i]) for i in (0, 1))
        assert ("trained", trained) not in caches[0].taken and ("trained", trained) in caches[1].taken
        assert first.predictor.weights_hash() == second.predictor.weights_hash() and first.note == second.note
        assert np.array_equal(first.seen, second.seen) and len(first.seen) == 210
        one, other = first.read(real).columns, second.read(real).columns
        assert ("redshift readings" if judge is RedshiftJudge else "category readings", "real set") in caches[1].taken
        name = f"predicted_{judge.condition}"
        assert np.array_equal(one[name], other[name], equal_nan=judge is RedshiftJudge)
        blank = np.isnan(one[name]) if judge is RedshiftJudge else one[name] == ""
        assert set(np.flatnonzero(blank)) == set(first.seen.tolist())
    assert not (tmp_path / "report").exists()
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 2
    another = RedshiftJudge.of(real, made[0], tmp_path / "report", steps=3, seed=1, cache=caches[2])
    assert ("trained", "judge of redshifts") not in caches[2].taken and another.predictor is not None
    folder = next(path for path in cache.glob("redshift-cnn-*"))
    for path in folder.iterdir():
        path.write_bytes(b"damaged")
    again = RedshiftJudge.of(real, made[0], tmp_path / "report", steps=3, seed=int("seed" in folder.name), cache=caches[3])
    assert again.predictor is not None


# -- workers ------------------------------------------------------------------------------------------------------------------------------
def test_the_number_of_workers_changes_no_number(tmp_path: Path) -> None:
    n = ALONE // 2 + 50
    samples = []
    for seed in (1, 2):
        columns = numbers(n, seed)
        rng = np.random.default_rng(seed)
        columns |= {"flag": rng.integers(0, 2, n) * 256, "i_half_light_radius": columns["i_major_axis"] * 1.2}
        z = columns["redshift"]
        features = np.tanh(rng.normal(size=(n, 24)) @ np.random.default_rng(0).normal(size=(24, 24)) + z[:, None])
        names = np.array(["a", "b"])[rng.integers(0, 2, n)]
        samples.append(Sample(HSC, {"redshift": z, "category": names}, columns, {}, z + rng.normal(0, 0.1, n), {"redshift-cnn": features}))
    metrics = [metric for metric in all_metrics() if metric.name not in ("c2st_images",)]
    bins = choose_bins(*samples)
    one, two = (judge_all(metrics, *samples, bins, 3, 2, workers, progress=False) for workers in (1, 2))
    assert list(one) == list(two) == [metric.name for metric in metrics]
    computed = 0
    for name, (result, seconds) in one.items():
        assert json.dumps(result.to_dict()) == json.dumps(two[name][0].to_dict()), name
        assert seconds >= 0
        computed += result.computed
    assert computed > 15
    with pytest.raises(InputError, match="at least 1"):
        judge_all(metrics[:1], *samples, bins, 3, 2, 0, progress=False)


def test_pixels_are_looked_at_by_any_number_of_workers_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubbleflow.cache.ALONE", 100)
    real = sky(600, 1, GRI, size=16).write(tmp_path / "real.h5")
    alone, several = (Streaming(workers=workers, progress=False).pixel_columns(real, "real") for workers in (1, 2))
    assert list(alone) == list(several) and len(alone) > 5
    for name, values in alone.items():
        assert len(values) == 600 and np.array_equal(values, several[name], equal_nan=True), name
    assert block_hashes(real, 1) == block_hashes(real, 2)
    assert Cache().content_hash(real, 2) == real.content_hash()


# -- bad input, through the command -------------------------------------------------------------------------------------------------------
def test_different_bands_are_compared_where_they_are_common(sets: Path, tmp_path: Path, undrawn: None) -> None:
    sky(70, 3, GRI).write(tmp_path / "gri.h5")
    run(sets / "real.h5", tmp_path / "gri.h5", tmp_path / "report")
    report = found(tmp_path / "report")
    assert any("only those in common are compared" in note for note in report["notes"])
    assert report["metrics"]["w1_magnitude"]["value"] is not None
    assert report["metrics"]["noise_rms"]["per_bin"]["quantities"] == ["g", "r", "i"]
    sky(20, 1, Survey.get("sdss-rgb")).write(tmp_path / "rgb.h5")
    with pytest.raises(InputError, match="none in common to compare"):
        run(sets / "real.h5", tmp_path / "rgb.h5", tmp_path / "none")


def test_other_pixel_scales_and_stamps_are_said(sets: Path, tmp_path: Path, undrawn: None) -> None:
    sky(70, 3, replace(HSC, pixel_scale_arcsec=0.2), size=40).write(tmp_path / "wide.h5")
    run(sets / "real.h5", tmp_path / "wide.h5", tmp_path / "report")
    report = found(tmp_path / "report")
    text = " ".join(report["notes"])
    assert "pixels are 0.168 arcsec in the real set and 0.2 arcsec" in text and "stamps are 32x32 px in the real set and 40x40" in text
    assert report["metrics"]["w1_colours"]["value"] is not None and report["metrics"]["noise_rms"]["value"] is not None


def test_too_few_galaxies_are_counted_in_a_sentence(sets: Path, tmp_path: Path) -> None:
    sky(5, 3).write(tmp_path / "few.h5")
    said = run(sets / "real.h5", tmp_path / "few.h5", tmp_path / "report")
    report = found(tmp_path / "report")
    assert (tmp_path / "report" / "report.html").exists() and "No metric could be held against a floor" in said.replace("\n", " ")
    for name, metric in report["metrics"].items():
        assert metric["value"] is not None or metric["note"], name
    assert "needs 40 usable real and 20 usable generated galaxies" in report["metrics"]["w1_magnitude"]["note"]


def test_where_all_are_flagged_pixels_are_still_compared(sets: Path, tmp_path: Path, undrawn: None) -> None:
    rng = np.random.default_rng(0)
    empty = GalaxySet(rng.normal(0, 0.05, (70, 5, 32, 32)).astype("f4"), HSC, {"redshift": rng.uniform(0.1, 2, 70)})
    empty.write(tmp_path / "empty.h5")
    run(sets / "real.h5", tmp_path / "empty.h5", tmp_path / "report")
    report = found(tmp_path / "report")
    assert report["generated"]["flagged"] == 70 and report["metrics"]["flagged_fraction"]["value"] == 1
    assert report["metrics"]["flagged_fraction"]["z"] > 3 and report["metrics"]["noise_rms"]["value"] is not None
    assert report["metrics"]["w1_magnitude"]["value"] is None and len(report["metrics"]["w1_magnitude"]["note"]) > 20


def test_a_generated_set_without_conditions_is_compared_as_a_whole(sets: Path, tmp_path: Path, undrawn: None) -> None:
    made = sky(70, 3)
    del made.columns["redshift"]
    made.write(tmp_path / "unasked.h5")
    run(sets / "real.h5", tmp_path / "unasked.h5", tmp_path / "report")
    report = found(tmp_path / "report")
    text = " ".join(report["notes"])
    assert report["bins"]["kind"] == "all" and "only one of the two sets has redshifts" in text
    assert "redshifts were not judged: the generated galaxies were not asked for at a redshift" in text
    assert "no redshifts" in report["metrics"]["redshift_loss"]["note"] or "redshift model" in report["metrics"]["redshift_loss"]["note"]
    assert report["metrics"]["w1_magnitude"]["value"] is not None
