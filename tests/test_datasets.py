"""Archives: each reads its published layout, says what it saw, and refuses what it cannot read with one sentence."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import hubbleflow.datasets
from hubbleflow.datasets import BAD_PIXEL, ImportReport, archive, archive_names, import_archive
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet


def refused(match: str, *args: object, **options: object) -> None:
    """The import is refused with one sentence that says `match`, and leaves nothing behind."""
    out = Path(str(args[2]))
    with pytest.raises(InputError, match=match) as caught:
        import_archive(*args, **options)
    assert "\n" not in str(caught.value)
    assert not out.exists()
    assert not list(out.parent.glob("*.partial*"))


# -- the registry -----------------------------------------------------------------------------------------------------
def test_every_archive_is_found_under_its_own_name_with_options_that_exist() -> None:
    known = set(hubbleflow.datasets.ImportOptions.__dataclass_fields__)
    assert {"fits", "galaxiesml", "galaxy10", "images", "scenes"} <= set(archive_names())
    for name in archive_names():
        found = archive(name)
        assert found.name == name
        assert found.description
        assert set(found.options) <= known


def test_a_new_archive_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ones.py").write_text(
        "import numpy as np\n"
        "from hubbleflow.datasets import Archive, Block, Reading\n"
        "from hubbleflow.survey import Survey\n"
        "def read(source, options):\n"
        "    block = Block(np.ones((2, 1, 4, 4)), {'redshift': np.array([1.0, -2.0])})\n"
        "    return Reading(Survey.get('hsc-i'), [block, block], 4, ['all ones'])\n"
        "ARCHIVE = Archive('ones', 'anything at all', (), read)\n"
    )
    monkeypatch.setattr(hubbleflow.datasets, "__path__", [*hubbleflow.datasets.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "hubbleflow.datasets.ones", raising=False)
    assert "ones" in archive_names()
    report = import_archive("ones", tmp_path / "ones.py", tmp_path / "set.h5", limit=3)
    assert (report.n, report.notes[0]) == (3, "all ones")
    assert "1 of 3 redshifts are negative" in report.notes[-1]
    np.testing.assert_array_equal(GalaxySet.open(tmp_path / "set.h5").redshift, [1, np.nan, 1])


def test_what_every_archive_refuses(tmp_path: Path) -> None:
    out = tmp_path / "set.h5"
    refused("unknown archive 'sdss': choose one of", "sdss", tmp_path, out)
    for name in archive_names():
        refused("nowhere does not exist: give the path of", name, tmp_path / "nowhere", out)
    (tmp_path / "a.h5").write_bytes(b"")
    refused("--size means nothing to the archive 'galaxiesml'", "galaxiesml", tmp_path / "a.h5", out, size=64)
    refused("--limit must be at least 1, got 0", "galaxiesml", tmp_path / "a.h5", out, limit=0)
    with pytest.raises(InputError, match="is the source itself"):
        import_archive("galaxiesml", tmp_path / "a.h5", tmp_path / "a.h5")
    assert (tmp_path / "a.h5").exists()


# -- GalaxiesML -------------------------------------------------------------------------------------------------------
@pytest.fixture
def galaxiesml(tmp_path: Path) -> Path:
    """600 galaxies (three blocks) in GalaxiesML's published layout, with its traps."""
    rng = np.random.default_rng(1)
    n, path = 600, tmp_path / "galaxiesml.hdf5"
    with h5py.File(path, "w") as file:
        file["image"] = rng.normal(0, 0.1, (n, 5, 8, 8)).astype(np.float32)
        file["image"][5, 4, 2, 3] = -25241
        file["image"][5, 0, 0, 0] = 3648
        file["specz_redshift"] = np.linspace(0.01, 4, n)
        file["specz_flag_homogeneous"] = np.arange(n) % 3 != 0
        file["object_id"] = np.arange(n, dtype=np.int64) + 36_400_000_000_000_000
        file["specz_name"] = np.array([f"VIPERS-{i}" for i in range(n)], object)  # variable-length strings
        file["skymap_id"] = np.array([b"9813"] * n)
        file["ra"], file["dec"] = rng.uniform(0, 360, n), rng.uniform(-5, 5, n)
        file["x_coord"] = np.zeros((n, 2))
        for band in "grizy":
            file[f"{band}_ellipticity"] = rng.uniform(0, 1, n)
            file[f"{band}_isophotal_area"] = rng.integers(5, 500, n).astype(float)
    return path


def test_galaxiesml_is_copied_as_it_is(galaxiesml: Path, tmp_path: Path) -> None:
    report = import_archive("galaxiesml", galaxiesml, tmp_path / "set.h5")
    given, copied = GalaxySet.open(galaxiesml), GalaxySet.open(tmp_path / "set.h5")
    np.testing.assert_array_equal(copied.images[:], given.images[:])
    for name in given.columns:
        np.testing.assert_array_equal(copied.columns[name], given.columns[name])
    added = set(copied.columns) - set(given.columns)
    assert added == {"n_bad_pixels", "n_outlier_pixels", "flag_redshift", "redshift_as_given"}
    assert copied.survey.name == "hsc-wide"
    assert copied.mask is None
    assert copied.columns["specz_name"][599] == "VIPERS-599"
    assert "survey" in h5py.File(tmp_path / "set.h5").attrs
    assert any("x_coord (600, 2)" in note for note in report.notes)
    assert np.flatnonzero(copied.columns["n_outlier_pixels"]).tolist() == [5]
    assert copied.columns["n_outlier_pixels"][5] == 2
    assert any("pixels reach from -25,241 to 3,648 counts; 2 in 1 galaxies" in note for note in report.notes)
    assert copied.provenance["notes"] == list(report.notes)
    assert str(report).startswith(f"{tmp_path / 'set.h5'}: 600 galaxies, survey hsc-wide")


def test_galaxiesml_secure_limit_and_columns(galaxiesml: Path, tmp_path: Path) -> None:
    report = import_archive("galaxiesml", galaxiesml, tmp_path / "s.h5", secure=True)
    secure = GalaxySet.open(tmp_path / "s.h5")
    expected = np.flatnonzero(np.arange(600) % 3 != 0)
    assert report.n == len(secure) == 400
    np.testing.assert_array_equal(secure.columns["object_id"], expected + 36_400_000_000_000_000)
    np.testing.assert_array_equal(secure.images[:], GalaxySet.open(galaxiesml).images[:][expected])
    assert any("400 of 600 galaxies have a secure redshift" in note for note in report.notes)

    options = {"secure": True, "limit": 7, "columns": ["i_ellipticity"]}
    assert import_archive("galaxiesml", galaxiesml, tmp_path / "c.h5", **options).n == 7
    few = GalaxySet.open(tmp_path / "c.h5")
    np.testing.assert_array_equal(few.columns["object_id"], expected[:7] + 36_400_000_000_000_000)
    assert "i_ellipticity" in few.columns
    assert "g_ellipticity" not in few.columns
    np.testing.assert_allclose(few.redshift, np.linspace(0.01, 4, 600)[expected[:7]])


def test_galaxiesml_column_with_a_name_of_ours_is_called_otherwise(galaxiesml: Path, tmp_path: Path) -> None:
    with h5py.File(galaxiesml, "r+") as file:
        file["measured"], file["redshift"] = np.arange(600), np.full(600, 9.0)
    report = import_archive("galaxiesml", galaxiesml, tmp_path / "set.h5")
    copied = GalaxySet.open(tmp_path / "set.h5")
    assert copied.columns["archive_measured"][599] == 599 and copied.measured == {}
    np.testing.assert_allclose(copied.redshift, np.linspace(0.01, 4, 600))
    assert any("column 'measured' is called 'archive_measured' here" in note for note in report.notes)


def test_bad_pixels_become_zero_masked_and_counted(galaxiesml: Path, tmp_path: Path) -> None:
    with h5py.File(galaxiesml, "r+") as file:
        file["image"][300, 1, 2, 3] = np.nan  # in the second block: the mask begins where it is first needed
        file["image"][300, 1, 2, 4] = np.inf
        file["image"][301, 0, 0, 0] = -np.inf
    report = import_archive("galaxiesml", galaxiesml, tmp_path / "set.h5")
    copied = GalaxySet.open(tmp_path / "set.h5")
    assert report.n == 600
    assert np.isfinite(copied.images[:]).all()
    assert copied.images[300][1, 2, 3] == copied.images[301][0, 0, 0] == 0
    assert copied.mask.shape == copied.images.shape
    flagged = np.argwhere(copied.mask[:] == BAD_PIXEL).tolist()
    assert flagged == [[300, 1, 2, 3], [300, 1, 2, 4], [301, 0, 0, 0]]
    assert copied.mask[:].sum() == 3 * BAD_PIXEL
    assert copied.columns["n_bad_pixels"][[299, 300, 301]].tolist() == [0, 2, 1]
    assert any("3 pixels of 2 galaxies were NaN or infinite: set to 0" in note for note in report.notes)


def test_unusable_redshifts_become_nan_and_are_flagged(galaxiesml: Path, tmp_path: Path) -> None:
    with h5py.File(galaxiesml, "r+") as file:
        file["specz_redshift"][[0, 1, 2, 3]] = [np.nan, -9.99, np.inf, 0.0]
    report = import_archive("galaxiesml", galaxiesml, tmp_path / "set.h5")
    columns = GalaxySet.open(tmp_path / "set.h5").columns
    np.testing.assert_array_equal(columns["redshift"][:4], [np.nan, np.nan, np.nan, 0])
    np.testing.assert_array_equal(columns["redshift_as_given"][:4], [np.nan, -9.99, np.inf, 0])
    assert columns["flag_redshift"].tolist() == [1, 2, 2, *[0] * 597]
    assert any("1 of 600 galaxies have no redshift" in note for note in report.notes)
    assert any("2 of 600 redshifts are negative or infinite: set to NaN" in note for note in report.notes)


def test_an_imported_set_can_be_imported_again(galaxiesml: Path, tmp_path: Path) -> None:
    with h5py.File(galaxiesml, "r+") as file:
        file["image"][3, 0, 0, 0] = np.nan
        file["specz_redshift"][1] = -9.99
    import_archive("galaxiesml", galaxiesml, tmp_path / "once.h5")
    import_archive("galaxiesml", tmp_path / "once.h5", tmp_path / "twice.h5")
    once, twice = GalaxySet.open(tmp_path / "once.h5"), GalaxySet.open(tmp_path / "twice.h5")
    np.testing.assert_array_equal(once.mask[:], twice.mask[:])
    for name in ("n_bad_pixels", "redshift", "redshift_as_given", "flag_redshift"):
        np.testing.assert_array_equal(once.columns[name], twice.columns[name])


def test_example_on_a_tiny_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    example = Path(__file__).resolve().parents[1] / "examples" / "02_galaxiesml.py"
    monkeypatch.setattr(sys, "argv", [str(example), "--out", str(tmp_path)])
    runpy.run_path(str(example), run_name="__main__")
    printed = capsys.readouterr().out
    secure = GalaxySet.open(tmp_path / "secure.h5")
    assert secure.columns["specz_flag_homogeneous"].all()
    assert f"{len(secure)} of 300 galaxies have a secure redshift" in printed
    few = GalaxySet.open(tmp_path / "secure_below_1.h5")
    assert len(few) == 100
    assert few.redshift.max() < 1


def remake(path: Path, name: str, values: np.ndarray | None) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        if values is not None:
            file[name] = values


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("image", None, "no dataset 'image'"),
        ("image", np.zeros((600, 5, 8)), r"shape \(600, 5, 8\), expected"),
        ("image", np.zeros((600, 5, 8, 6)), r"shape \(600, 5, 8, 6\), expected .* square"),
        ("image", np.zeros((600, 5, 8, 8), np.complex64), "complex64, expected numbers"),
        ("image", np.zeros((0, 5, 8, 8)), "no galaxies: 'image' has zero rows"),
        ("image", np.zeros((600, 4, 8, 8)), "names no survey and has 4 band"),
        ("ra", np.zeros(599), "column 'ra' has 599 rows but 'image' has 600"),
    ],
)
def test_galaxiesml_that_is_none(galaxiesml: Path, tmp_path: Path, name: str, values: np.ndarray | None, sentence: str) -> None:
    remake(galaxiesml, name, values)
    refused(sentence, "galaxiesml", galaxiesml, tmp_path / "set.h5")


def test_galaxiesml_options_that_do_not_fit(galaxiesml: Path, tmp_path: Path) -> None:
    out = tmp_path / "set.h5"
    refused("has no column 'mass': it has ", "galaxiesml", galaxiesml, out, columns=["mass"])
    refused("images of 5 bands but survey 'decals' has 3", "galaxiesml", galaxiesml, out, survey="decals")
    refused("unknown survey 'hst'", "galaxiesml", galaxiesml, out, survey="hst")
    remake(galaxiesml, "specz_flag_homogeneous", np.zeros(600, bool))
    refused("no secure redshift: .* none of its 600", "galaxiesml", galaxiesml, out, secure=True)
    remake(galaxiesml, "specz_flag_homogeneous", None)
    refused("no column 'specz_flag_homogeneous': leave out --secure", "galaxiesml", galaxiesml, out, secure=True)


@pytest.mark.parametrize("name", ["galaxiesml", "galaxy10"])
def test_truncated_hdf5(galaxiesml: Path, tmp_path: Path, name: str) -> None:
    short = tmp_path / "short.h5"
    short.write_bytes(galaxiesml.read_bytes()[:100_000])
    refused("short.h5: it is truncated", name, short, tmp_path / "set.h5")
    short.write_bytes(b"not HDF5 at all")
    refused("short.h5: it is damaged, or not an HDF5 file", name, short, tmp_path / "set.h5")


def test_damage_in_the_middle_of_the_pixels_is_said_to_be_the_sources(tmp_path: Path) -> None:
    path, out = tmp_path / "damaged.h5", tmp_path / "set.h5"
    with h5py.File(path, "w") as file:
        images = np.random.default_rng(0).normal(size=(600, 5, 8, 8)).astype(np.float32)
        stored = file.create_dataset("image", data=images, chunks=(1, 5, 8, 8), compression="gzip")
        where = stored.id.get_chunk_info(400).byte_offset
    with open(path, "r+b") as file:
        file.seek(where)
        file.write(b"\xff" * 200)
    out.write_text("the old file")
    with pytest.raises(InputError, match=r"cannot read .*damaged.h5: .* damaged or incomplete"):
        import_archive("galaxiesml", path, out)
    assert out.read_text() == "the old file"
    assert not list(tmp_path.glob("*.partial*"))


# -- Galaxy10 ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def galaxy10(tmp_path: Path) -> Path:
    """300 pictures in Galaxy10 DECaLS's published layout, three of them repeated (row 290 with another class)."""
    rng = np.random.default_rng(2)
    n, path = 300, tmp_path / "Galaxy10_DECals.h5"
    images = rng.integers(0, 256, (n, 32, 32, 3), np.uint8)
    answer = np.arange(n, dtype=np.uint8) % 10
    images[290], answer[290] = images[0], 5  # row 0 is class 0: a conflict, across blocks
    images[291], answer[291] = images[0], 0  # agrees with row 0, but 290 does not
    images[7], answer[7] = images[6], 6  # agrees
    with h5py.File(path, "w") as file:
        file["images"], file["ans"] = images, answer
        file["ra"], file["dec"] = rng.uniform(0, 360, n), rng.uniform(-20, 30, n)
        file["redshift"] = np.where(np.arange(n) % 4 == 0, np.nan, 0.1)
        file["pxscale"] = np.full(n, 0.262)
    return path


def test_galaxy10_has_names_repeats_and_display_values(galaxy10: Path, tmp_path: Path) -> None:
    report = import_archive("galaxy10", galaxy10, tmp_path / "set.h5")
    galaxies = GalaxySet.open(tmp_path / "set.h5")
    with h5py.File(galaxy10) as file:
        np.testing.assert_array_equal(galaxies.images[:], np.moveaxis(file["images"][:], 3, 1))
    assert (galaxies.survey.name, galaxies.survey.unit, galaxies.survey.linear) == (
        "decals-rgb",
        "display value",
        False,
    )
    assert galaxies.survey.pixel_scale_arcsec == pytest.approx(0.262)
    assert galaxies.category[[0, 1, 9]].tolist() == ["Disturbed", "Merging", "Edge-on with Bulge"]
    assert galaxies.category[4] == "Cigar Shaped Smooth"
    duplicate_of = galaxies.columns["duplicate_of"]
    assert {int(row): int(duplicate_of[row]) for row in np.flatnonzero(duplicate_of >= 0)} == {7: 6, 290: 0, 291: 0}
    assert np.flatnonzero(galaxies.columns["flag_conflicting_label"]).tolist() == [0, 290, 291]
    assert report.n == len(galaxies) == 300
    assert any("3 pictures repeat an earlier one" in note and "3 pictures belong" in note for note in report.notes)
    assert any("75 of 300 galaxies have no redshift" in note for note in report.notes)
    assert galaxies.columns["pixel_scale_arcsec"].tolist() == [0.262] * 300


def test_galaxy10_block_mean(galaxy10: Path, tmp_path: Path) -> None:
    import_archive("galaxy10", galaxy10, tmp_path / "set.h5", size=8, limit=5)
    galaxies = GalaxySet.open(tmp_path / "set.h5")
    with h5py.File(galaxy10) as file:
        picture = file["images"][3].astype(float)
    assert galaxies.images.shape == (5, 3, 8, 8)
    for band in range(3):
        assert galaxies.images[3][band, 2, 5] == pytest.approx(picture[8:12, 20:24, band].mean(), rel=1e-6)
    assert galaxies.survey.pixel_scale_arcsec == pytest.approx(4 * 0.262)
    assert galaxies.columns["pixel_scale_arcsec"][0] == pytest.approx(4 * 0.262)


def test_galaxy10_pixel_scales_that_differ_are_kept_and_said(galaxy10: Path, tmp_path: Path) -> None:
    scale = np.full(300, 0.262)
    scale[3] = 0.524
    remake(galaxy10, "pxscale", scale)
    report = import_archive("galaxy10", galaxy10, tmp_path / "set.h5")
    galaxies = GalaxySet.open(tmp_path / "set.h5")
    assert galaxies.survey.pixel_scale_arcsec is None
    assert galaxies.columns["pixel_scale_arcsec"][3] == 0.524
    assert any("from 0.262 to 0.524 arcsec" in note for note in report.notes)


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("images", None, "no dataset 'images', so it is no Galaxy10 file"),
        ("images", np.zeros((300, 32, 32), np.uint8), r"shape \(300, 32, 32\), expected \(n, 256, 256, 3\)"),
        ("images", np.zeros((300, 4, 4, 3), np.float32), "float32, expected 8-bit"),
        ("images", np.zeros((0, 4, 4, 3), np.uint8), "zero rows"),
        ("ans", None, "no column 'ans': it has"),
        ("ans", np.full(300, 10), "whole numbers from 0 to 9, .* got int64 from 10 to 10"),
        ("ans", np.zeros(300), "whole numbers"),
        ("ra", np.zeros(3), "column 'ra' has 3 rows but 'images' has 300"),
    ],
)
def test_galaxy10_that_is_none(galaxy10: Path, tmp_path: Path, name: str, values: np.ndarray | None, sentence: str) -> None:
    remake(galaxy10, name, values)
    refused(sentence, "galaxy10", galaxy10, tmp_path / "set.h5")


def test_galaxy10_options_that_do_not_fit(galaxy10: Path, tmp_path: Path) -> None:
    refused("--size 5 does not divide the pictures' 32 px", "galaxy10", galaxy10, tmp_path / "set.h5", size=5)
    refused("--size 64 does not divide", "galaxy10", galaxy10, tmp_path / "set.h5", size=64)
    refused("no column 'mass'", "galaxy10", galaxy10, tmp_path / "set.h5", columns=["mass"])


# -- streaming --------------------------------------------------------------------------------------------------------
def test_import_streams(tmp_path: Path) -> None:
    """Peak memory of importing 80 MB of images stays far below 80 MB (numpy reports its arrays to tracemalloc)."""
    import tracemalloc

    path = tmp_path / "big.h5"
    with h5py.File(path, "w") as file:
        image = file.create_dataset("image", (4096, 5, 32, 32), np.float32, chunks=(1, 5, 32, 32))
        image[:] = np.ones(image.shape, np.float32)
        file["specz_redshift"] = np.full(4096, 0.5)
    archive("galaxiesml")  # imports are not counted
    tracemalloc.start()
    report: ImportReport = import_archive("galaxiesml", path, tmp_path / "set.h5")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.n == 4096
    assert peak < 30e6
    attributes = h5py.File(tmp_path / "set.h5").attrs
    assert json.loads(attributes["provenance"])["command"] == "import galaxiesml"
